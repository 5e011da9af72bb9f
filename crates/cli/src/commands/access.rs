//! `hxb access`.

use std::time::Duration;

use hexabase_api::access::{AccessAsked, AccessExplanation, AccessGrant, AccessHolders};
use hexabase_api::roles::{Role, RoleAssignment, RoleAssignmentCreate};
use hexabase_core::time::Timestamp;

use super::roles::Place;
use crate::args;
use crate::client::Api;
use crate::clock;
use crate::context::Context;
use crate::error::Result;
use crate::output::{age, say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Access) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Access::Grant { role, group, within, time } => grant(context, &api, &role, &group, &within, time).await,
        args::Access::Revoke { assignment, place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            api.delete(&["workspaces", workspace.as_str(), "role-assignments", &assignment]).await?;
            say("The role is taken away.");
            Ok(())
        }
        args::Access::List { place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let path = ["workspaces", workspace.as_str(), "role-assignments"];
            let all = api.list::<RoleAssignment>(&path, &[]).await?;
            context.format.show(&all.raw, || {
                let now = clock::now();
                let rows = all.value.into_iter().map(|given| {
                    let place = given.project_name.unwrap_or_else(|| "(workspace)".to_owned());
                    let end = given.expires_at.map(|end| ends(end, now)).unwrap_or_default();
                    [given.group_name, given.role, place, end, given.id.to_string()]
                });
                table(["GROUP", "ROLE", "IN", "ENDS", "ID"], "No group has a role.", rows)
            })
        }
        args::Access::Explain { verb, resource, name, place, namespace, user } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let user = match user {
                Some(user) => Some(resolve::member_id(&api, &workspace, &user).await?.to_string()),
                None => None,
            };
            let mut query = question(&verb, &resource, namespace.as_deref(), name.as_deref());
            query.extend(user.as_deref().map(|user| ("user", user)));
            let path = ["workspaces", workspace.as_str(), "access", "explain"];
            let told = api.get_with::<AccessExplanation>(&path, &query).await?;
            context.format.show(&told.raw, || explained(&told.value))
        }
        args::Access::WhoCan { verb, resource, name, place, namespace } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let query = question(&verb, &resource, namespace.as_deref(), name.as_deref());
            let path = ["workspaces", workspace.as_str(), "access", "who-can"];
            let told = api.get_with::<AccessHolders>(&path, &query).await?;
            context.format.show(&told.raw, || holders(&told.value))
        }
    }
}

async fn grant(
    context: &Context,
    api: &Api,
    role: &str,
    group: &str,
    within: &args::Within,
    time: Option<Duration>,
) -> Result<()> {
    let place = Place::resolve(api, within).await?;
    let group = resolve::group(api, &place.workspace, group).await?;
    let roles = api.list::<Role>(&place.roles(), &[]).await?;
    let role = resolve::role_among(&roles.value, role)?.kubernetes_name.clone();
    let body = RoleAssignmentCreate {
        group: group.id.to_string(),
        role,
        project: place.project.as_ref().map(ToString::to_string),
        expires_at: None,
        // Not a moment: this machine's clock may be another than the server's.
        expires_in: time.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX)),
    };
    let path = ["workspaces", place.workspace.as_str(), "role-assignments"];
    let given = api.post::<RoleAssignment>(&path, &body).await?;
    context.format.show(&given.raw, || {
        let RoleAssignment { group_name, role, project_name, expires_at, id, .. } = &given.value;
        let place = match project_name {
            Some(project) => format!("in project {project} and below"),
            None => "in the whole workspace".to_owned(),
        };
        let end = expires_at.map(|end| format!(" until {end}")).unwrap_or_default();
        format!("Group {group_name} has the role {role} {place}{end} ({id}).")
    })
}

fn ends(end: Timestamp, now: Timestamp) -> String {
    if end <= now { "over".to_owned() } else { format!("in {}", age(now, end)) }
}

fn question<'a>(
    verb: &'a str,
    resource: &'a str,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    let mut query = vec![("verb", verb), ("resource", resource)];
    query.extend(namespace.map(|namespace| ("namespace", namespace)));
    query.extend(name.map(|name| ("name", name)));
    query
}

fn sentence(asked: &AccessAsked) -> String {
    let AccessAsked { verb, api_group, resource, namespace, name } = asked;
    let group = if api_group.is_empty() { String::new() } else { format!(".{api_group}") };
    let name = name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let place = namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    format!("{verb} {resource}{group}{name}{place}")
}

fn source(grant: &AccessGrant) -> String {
    let AccessGrant { role, project, expires_at, assignment, rule, .. } = grant;
    let place = project.as_ref().map(|project| format!(" in project {project}")).unwrap_or_default();
    let end = expires_at.map(|end| format!(", until {end}")).unwrap_or_default();
    let rule = match rule {
        Some(rule) => format!("{} {}", rule.verbs.join(","), rule.resources.join(",")),
        None => "what it allows, you may not read".to_owned(),
    };
    format!("role {role}{place} ({assignment}{end}): {rule}")
}

fn explained(told: &AccessExplanation) -> String {
    let verdict = if told.allowed { "yes" } else { "no" };
    let mut lines = vec![format!(
        "{verdict}: {} may{} {}",
        told.user,
        if told.allowed { "" } else { " not" },
        sentence(&told.asked)
    )];
    for reason in &told.because {
        lines.push(format!("  {} has the {}", reason.path.join(" < "), source(&reason.grant)));
    }
    for reason in &told.unread {
        lines.push(format!("  perhaps: {} has the {}", reason.path.join(" < "), source(&reason.grant)));
    }
    match (told.allowed, told.because.is_empty()) {
        (true, true) if !told.unread.is_empty() => {}
        (true, true) => lines.push("  not given through Hexabase, but inside the workspace".to_owned()),
        (false, false) => lines.push("  not in effect: given or taken a moment ago, or refused there".to_owned()),
        _ => {}
    }
    lines.extend(told.kubernetes.as_ref().map(|reason| format!("  Kubernetes: {reason}")));
    lines.join("\n")
}

fn holders(told: &AccessHolders) -> String {
    if !told.note.is_empty() {
        say(&told.note);
    }
    let has = |grant: &AccessGrant| format!("{} has the {}", grant.group, source(grant));
    let mut text: Vec<String> = told.grants.iter().map(has).collect();
    text.extend(told.unread.iter().map(|grant| format!("perhaps: {}", has(grant))));
    if told.grants.is_empty() {
        say(&format!("No group is given a role that is known to allow to {}.", sentence(&told.asked)));
        return text.join("\n");
    }
    let rows = told.people.iter().map(|person| {
        let email = person.email.clone().unwrap_or_default();
        let verdict = person.allowed.map_or("", |allowed| if allowed { "yes" } else { "no" });
        let through = person.groups.join(", ");
        [person.display_name.clone(), email, through, verdict.to_owned(), person.user.to_string()]
    });
    text.push(String::new());
    text.push(table(["NAME", "E-MAIL", "THROUGH", "KUBERNETES SAYS", "ID"], "Nobody is in these groups.", rows));
    text.join("\n")
}
