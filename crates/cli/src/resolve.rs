//! From the names that people write to ids.

use std::str::FromStr;

use hexabase_api::groups::Group;
use hexabase_api::identities::Identity;
use hexabase_api::invitations::Invitation;
use hexabase_api::members::Member;
use hexabase_api::organizations::{Organization, OrganizationMember};
use hexabase_api::projects::Project;
use hexabase_api::roles::Role;
use hexabase_api::service_accounts::ServiceAccount;
use hexabase_api::tokens::ApiToken;
use hexabase_api::workspaces::Workspace;
use hexabase_core::ids::{ApiTokenId, IdentityId, InvitationId, OrganizationId, ProjectId, UserId, WorkspaceId};
use hexabase_core::phases::{ProjectPhase, WorkspacePhase};
use serde::de::DeserializeOwned;

use crate::client::{Api, Fetched};
use crate::error::{Error, Kind, Result};
use crate::output::say;

const MOST_NAMES: usize = 20;

/// "not found; you can see: …"
fn not_found(what: &str, text: &str, visible: impl IntoIterator<Item = String>) -> Error {
    let mut names: Vec<_> = visible.into_iter().collect();
    let more = if names.len() > MOST_NAMES { ", …" } else { "" };
    names.truncate(MOST_NAMES);
    let visible = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    // A variable of a script, most likely, in which nothing is.
    if text.is_empty() {
        return Error::new(Kind::Usage, format!("the name of the {what} is empty; you can see: {visible}{more}"));
    }
    Error::new(Kind::NotFound, format!("{what} {text} not found; you can see: {visible}{more}"))
}

fn choose_organization(organizations: Vec<Organization>, wanted: Option<&str>) -> Result<Organization> {
    let visible: Vec<_> = organizations.iter().map(|organization| organization.name.clone()).collect();
    let Some(wanted) = wanted else {
        let only = organizations.len() == 1;
        let mut candidates = organizations.into_iter().filter(|organization| only || organization.personal);
        return match (candidates.next(), candidates.next()) {
            (Some(one), None) => Ok(one),
            _ if visible.is_empty() => {
                Err(Error::new(Kind::NotFound, "you are in no organization").hint("make one with: hxb org create NAME"))
            }
            _ => Err(Error::new(Kind::Usage, "you are in several organizations")
                .hint(format!("choose one with --org: {}", visible.join(", ")))),
        };
    };
    let matches = organizations
        .into_iter()
        .filter(|organization| organization.id.as_str() == wanted || organization.name == wanted);
    let mut matches: Vec<_> = matches.collect();
    match matches.len() {
        0 => Err(not_found("organization", wanted, visible)),
        1 => Ok(matches.remove(0)),
        _ => {
            let ids: Vec<_> = matches.iter().map(|organization| organization.id.as_str()).collect();
            Err(Error::new(Kind::Usage, format!("several organizations are named {wanted}"))
                .hint(format!("give the id: {}", ids.join(", "))))
        }
    }
}

/// The organisation of that name or id; without one, the only one or the personal one. One that is not listed may still be
/// found by its id: break-glass gives access without membership.
pub(crate) async fn organization(api: &Api, wanted: Option<&str>) -> Result<Organization> {
    let mine: Vec<Organization> = api.list(&["organizations"], &[]).await?.value;
    match wanted.and_then(|wanted| wanted.parse::<OrganizationId>().ok()) {
        Some(id) if mine.iter().all(|one| one.id != id) => Ok(api.get(&["organizations", id.as_str()]).await?.value),
        _ => choose_organization(mine, wanted),
    }
}

/// The id of the organisation of that name or id; without one, of the only one or the personal one. An id is taken as it is: the
/// log of an organisation that was deleted is found by nothing else.
pub(crate) async fn organization_id(api: &Api, wanted: Option<&str>) -> Result<OrganizationId> {
    match wanted.and_then(|wanted| wanted.parse().ok()) {
        Some(id) => Ok(id),
        None => Ok(organization(api, wanted).await?.id),
    }
}

fn living(workspaces: Fetched<Vec<Workspace>>) -> Vec<Workspace> {
    workspaces.value.into_iter().filter(|workspace| workspace.phase != WorkspacePhase::Deleted).collect()
}

/// The id of the workspace given as NAME, ORG/NAME or id. An id is taken as it is.
pub(crate) async fn workspace_id(api: &Api, wanted: &str) -> Result<WorkspaceId> {
    match wanted.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(workspace_by_name(api, wanted).await?.id),
    }
}

/// The same, of one that is going to be looked into: says that this wakes it, where that is known without another request.
pub(crate) async fn workspace_to_look_into(api: &Api, wanted: &str) -> Result<WorkspaceId> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let Workspace { id, name, phase, .. } = workspace_by_name(api, wanted).await?;
    if matches!(phase, WorkspacePhase::Asleep | WorkspacePhase::FallingAsleep) {
        say(&format!("Workspace {name} is {phase}; this wakes it."));
    }
    Ok(id)
}

async fn workspace_by_name(api: &Api, wanted: &str) -> Result<Workspace> {
    let (organization_wanted, name) = match wanted.split_once('/') {
        Some((organization, name)) => (Some(organization), name),
        None => (None, wanted),
    };
    let within = match organization_wanted {
        Some(wanted) => Some(organization(api, Some(wanted)).await?.id),
        None => None,
    };
    let mut matches = living(api.list(&["workspaces"], &[("name", name)]).await?);
    matches.retain(|workspace| {
        workspace.name == name && within.as_ref().is_none_or(|within| workspace.organization == *within)
    });
    match matches.len() {
        0 => {
            let all = living(api.list(&["workspaces"], &[]).await?);
            Err(not_found("workspace", wanted, all.into_iter().map(|workspace| workspace.name)))
        }
        1 => Ok(matches.remove(0)),
        _ => {
            let places: Vec<_> = matches.iter().map(|workspace| format!("{}/{name}", workspace.organization)).collect();
            Err(Error::new(Kind::Usage, format!("several workspaces are named {name}"))
                .hint(format!("give one of: {}", places.join(", "))))
        }
    }
}

/// The workspace given as NAME, ORG/NAME or id.
pub(crate) async fn workspace(api: &Api, wanted: &str) -> Result<Fetched<Workspace>> {
    let id = workspace_id(api, wanted).await?;
    api.get(&["workspaces", id.as_str()]).await
}

/// The id of the project given as name or id.
pub(crate) async fn project_id(api: &Api, workspace: &WorkspaceId, wanted: &str) -> Result<ProjectId> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let projects: Fetched<Vec<Project>> = api.list(&["workspaces", workspace.as_str(), "projects"], &[]).await?;
    let projects: Vec<_> =
        projects.value.into_iter().filter(|project| project.phase != ProjectPhase::Deleted).collect();
    match projects.iter().find(|project| project.name == wanted) {
        Some(project) => Ok(project.id.clone()),
        None => Err(not_found("project", wanted, projects.into_iter().map(|project| project.name))),
    }
}

/// The id of the caller's identity given by id, or by its provider where there is one of it.
pub(crate) async fn identity_id(api: &Api, wanted: &str) -> Result<IdentityId> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let all: Fetched<Vec<Identity>> = api.list(&["me", "identities"], &[]).await?;
    let mut matches = all.value.iter().filter(|one| one.provider.as_deref() == Some(wanted));
    match (matches.next(), matches.next()) {
        (Some(one), None) => Ok(one.id.clone()),
        (Some(_), Some(_)) => Err(Error::new(Kind::Usage, format!("you have several identities of {wanted}"))
            .hint("give the id: hxb identity list shows it")),
        (None, _) => {
            let visible = all.value.into_iter().map(|one| one.provider.unwrap_or_else(|| one.id.to_string()));
            Err(not_found("identity", wanted, visible))
        }
    }
}

/// The id of the member given by address or id.
pub(crate) async fn member_id(api: &Api, workspace: &WorkspaceId, wanted: &str) -> Result<UserId> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let members: Fetched<Vec<Member>> = api.list(&["workspaces", workspace.as_str(), "members"], &[]).await?;
    let same = |member: &&Member| member.email.as_ref().is_some_and(|email| email.eq_ignore_ascii_case(wanted));
    match members.value.iter().find(same) {
        Some(member) => Ok(member.user.clone()),
        None => {
            let visible =
                members.value.into_iter().map(|member| member.email.unwrap_or_else(|| member.user.to_string()));
            Err(not_found("member", wanted, visible))
        }
    }
}

/// All groups of the workspace.
pub(crate) async fn groups(api: &Api, workspace: &WorkspaceId) -> Result<Vec<Group>> {
    Ok(api.list(&["workspaces", workspace.as_str(), "groups"], &[]).await?.value)
}

/// The group given by name or id.
pub(crate) async fn group(api: &Api, workspace: &WorkspaceId, wanted: &str) -> Result<Group> {
    group_among(&groups(api, workspace).await?, wanted).cloned()
}

/// The same, among these.
pub(crate) fn group_among<'a>(all: &'a [Group], wanted: &str) -> Result<&'a Group> {
    let found = all.iter().find(|group| group.name == wanted || group.id.as_str() == wanted);
    found.ok_or_else(|| not_found("group", wanted, all.iter().map(|group| group.name.clone())))
}

/// The role given by its own name, its name in Kubernetes, or id, among these.
pub(crate) fn role_among<'a>(all: &'a [Role], wanted: &str) -> Result<&'a Role> {
    let is_meant = |role: &&Role| {
        let id = role.id.as_ref().is_some_and(|id| id.as_str() == wanted);
        id || role.name == wanted || role.kubernetes_name == wanted
    };
    let found = all.iter().find(is_meant);
    found.ok_or_else(|| not_found("role", wanted, all.iter().map(|role| role.name.clone())))
}

/// The id of the organisation's member given by address or id.
pub(crate) async fn organization_member_id(api: &Api, organization: &OrganizationId, wanted: &str) -> Result<UserId> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let path = ["organizations", organization.as_str(), "members"];
    let members: Fetched<Vec<OrganizationMember>> = api.list(&path, &[("search", wanted)]).await?;
    let same =
        |member: &&OrganizationMember| member.email.as_ref().is_some_and(|email| email.eq_ignore_ascii_case(wanted));
    match members.value.iter().find(same) {
        Some(member) => Ok(member.user.clone()),
        None => {
            let members: Fetched<Vec<OrganizationMember>> = api.list(&path, &[]).await?;
            let name = |member: OrganizationMember| member.email.unwrap_or_else(|| member.user.to_string());
            Err(not_found("member", wanted, members.value.into_iter().map(name)))
        }
    }
}

/// The id of the newest invitation for an address, or the id itself.
pub(crate) async fn invitation_id(api: &Api, organization: &OrganizationId, wanted: &str) -> Result<InvitationId> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let path = ["organizations", organization.as_str(), "invitations"];
    let all: Fetched<Vec<Invitation>> = api.list(&path, &[]).await?;
    match all.value.iter().rfind(|one| one.email.eq_ignore_ascii_case(wanted)) {
        Some(one) => Ok(one.id.clone()),
        None => Err(not_found("invitation", wanted, all.value.into_iter().map(|one| one.email))),
    }
}

/// The id of the token below `place` that is given by name or id.
pub(crate) async fn token_id(api: &Api, place: &[&str], wanted: &str) -> Result<ApiTokenId> {
    let called = |token: ApiToken| (token.name, token.id);
    below(api, "token", place, wanted, called).await
}

/// The id of the service account below `place` that is given by name or id.
pub(crate) async fn service_account_id(api: &Api, place: &[&str], wanted: &str) -> Result<UserId> {
    let called = |account: ServiceAccount| (account.name, account.id);
    below(api, "service account", place, wanted, called).await
}

/// The id of one thing in the list at `place`, where names need not be unique.
async fn below<T, I>(
    api: &Api,
    what: &str,
    place: &[&str],
    wanted: &str,
    called: impl Fn(T) -> (String, I),
) -> Result<I>
where
    T: DeserializeOwned,
    I: FromStr + ToString,
{
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let all: Vec<(String, I)> = api.list::<T>(place, &[]).await?.value.into_iter().map(called).collect();
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    let mut matches: Vec<I> = all.into_iter().filter(|(name, _)| name == wanted).map(|(_, id)| id).collect();
    match matches.len() {
        0 => Err(not_found(what, wanted, names)),
        1 => Ok(matches.remove(0)),
        _ => {
            let ids: Vec<_> = matches.iter().map(ToString::to_string).collect();
            Err(Error::new(Kind::Usage, format!("several of the kind {what} are named {wanted}"))
                .hint(format!("give the id: {}", ids.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn organizations(all: &[(&str, bool)]) -> Vec<Organization> {
        let one = |(place, (name, personal)): (usize, &(&str, bool))| {
            let id = format!("org-{place:020}");
            let object = json!({ "id": id, "name": name, "personal": personal, "role": "admin", "created_at": "2026-01-01T00:00:00Z" });
            serde_json::from_value(object).unwrap()
        };
        all.iter().enumerate().map(one).collect()
    }

    fn choose(all: &[(&str, bool)], wanted: Option<&str>) -> Result<String, Kind> {
        choose_organization(organizations(all), wanted)
            .map(|organization| organization.name)
            .map_err(|error| error.kind())
    }

    #[test]
    fn without_a_word_it_is_the_only_organisation_or_ones_own() {
        assert_eq!(choose(&[("acme", false)], None), Ok("acme".to_owned()));
        assert_eq!(choose(&[("acme", false), ("mine", true)], None), Ok("mine".to_owned()));
        assert_eq!(choose(&[("acme", false), ("umbrella", false)], None), Err(Kind::Usage));
        assert_eq!(choose(&[], None), Err(Kind::NotFound));
    }

    #[test]
    fn an_organisation_is_found_by_name_or_id_unless_the_name_is_ambiguous() {
        let all = [("acme", false), ("acme", false), ("mine", true)];
        assert_eq!(choose(&all, Some("mine")), Ok("mine".to_owned()));
        assert_eq!(choose(&all, Some("acme")), Err(Kind::Usage));
        assert_eq!(choose(&all, Some("org-00000000000000000001")), Ok("acme".to_owned()));
        let error = choose_organization(organizations(&all), Some("other")).unwrap_err();
        assert_eq!(error.to_string(), "organization other not found; you can see: acme, acme, mine");
    }
}
