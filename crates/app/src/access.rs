//! Why somebody may do something in a workspace, and who may. Kubernetes decides; our own rows say through which group, role
//! and rule.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hexabase_backends::store::groups;
use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::roles::{self, Role};
use hexabase_backends::store::workspace_members::{self, WorkspaceMember};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_core::groups::{Forest, GroupNode, WS_ADMINS};
use hexabase_core::ids::{GroupId, UserId, WorkspaceId};
use hexabase_core::names::GroupName;
use hexabase_core::roles::{self as rules, Access, ClusterRoleRef, ProjectRole, ProjectRoleRef, Rule, ServedResource};
use hexabase_reconcile::{Question, ReconcileError, TenantUser};

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::projects::{self, Project, chain};
use crate::{members, tenant};

/// What is asked about.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The verb, such as `delete`.
    pub verb: String,
    /// The resource as people write it: `pods`, `deploy`, `deployments.apps`, `pods/log`.
    pub resource: String,
    /// The namespace; all of them when absent.
    pub namespace: Option<String>,
    /// The object; all of them when absent.
    pub name: Option<String>,
}

/// The same as Kubernetes knows it.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The verb.
    pub verb: String,
    /// The API group; empty for the core group.
    pub api_group: String,
    /// The plural name, with the subresource after a slash.
    pub resource: String,
    /// The namespace; absent for what is in none.
    pub namespace: Option<String>,
    /// The object.
    pub name: Option<String>,
}

/// A role given to a group, where it is asked about.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The assignment.
    pub assignment: RoleAssignment,
    /// The group's name.
    pub group: GroupName,
    /// The name of the project in which it is given, which may be one above.
    pub project: Option<String>,
    /// The rule that allows what is asked; nothing when the caller may not read what the role allows.
    pub rule: Option<Rule>,
}

/// Why somebody may.
#[derive(Debug, Clone)]
pub struct Reason {
    /// From a group the person was put into up to the one with the role.
    pub path: Vec<GroupName>,
    /// The role.
    pub grant: Grant,
}

/// Whether somebody may, and why.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Who.
    pub user: UserId,
    /// What.
    pub asked: Resolved,
    /// Kubernetes' verdict.
    pub allowed: bool,
    /// Kubernetes' own reason: the binding that allows it, which may be one that we know nothing of.
    pub kubernetes: Option<String>,
    /// What our own rows give for it.
    pub because: Vec<Reason>,
    /// What they give that may allow it or not: the caller may not read the roles' rules.
    pub unread: Vec<Reason>,
}

/// Who may, by what is given through us.
#[derive(Debug, Clone)]
pub struct Holders {
    /// What.
    pub asked: Resolved,
    /// Roles that allow it.
    pub grants: Vec<Grant>,
    /// Roles that may allow it or not: the caller may not read their rules.
    pub unread: Vec<Grant>,
    /// Everybody who is in a group with a role that allows it.
    pub people: Vec<Holder>,
}

/// Somebody who may, by what is given through us.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The person.
    pub row: WorkspaceMember,
    /// Names of the groups through which.
    pub groups: Vec<GroupName>,
    /// Kubernetes' verdict; nothing when the caller may not ask about others, or there are more than [`MOST_ASKED`].
    pub allowed: Option<bool>,
}

/// Most people about whom Kubernetes is asked one by one.
pub const MOST_ASKED: usize = 500;

/// Whether `user`, or else the caller, may do it, and why.
pub async fn explain(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    user: Option<&UserId>,
    asked: &Asked,
) -> Result<Explanation> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    let user = user.unwrap_or(&ctx.user);
    let other = *user != ctx.user;
    if other && !workspace_members::is_member(&app.store, &scope, user).await? {
        return Err(Error::NotFound("member"));
    }
    check_words(asked)?;
    let tenant = tenant::as_caller(app, &scope).await?;
    let asked = resolve(&tenant, asked).await?;
    let verdict = match other {
        false => tenant.may_i(&asked.question()).await.map_err(tenant::refusal)?,
        true => {
            let held = groups::effective(&app.store, &scope, user).await?;
            let held: Vec<&GroupName> = held.iter().collect();
            tenant.may(user, &held, &asked.question()).await.map_err(not_about_others)?
        }
    };
    let nodes = groups::nodes(&app.store, &scope).await?;
    let forest = Forest::new(&nodes);
    let grants = grants(app, ctx, &scope, &forest, &tenant, &asked).await?;
    let direct = groups::memberships_of(&app.store, &scope, [user]).await?;
    let mut reasons = Vec::new();
    for grant in grants {
        for path in direct.iter().filter_map(|(group, _)| forest.path(group, &grant.assignment.group_id)) {
            reasons.push(Reason { path: path.into_iter().cloned().collect(), grant: grant.clone() });
        }
    }
    let (because, unread) = reasons.into_iter().partition(|reason| reason.grant.rule.is_some());
    let (user, allowed, kubernetes) = (user.clone(), verdict.allowed, verdict.reason);
    Ok(Explanation { user, asked, allowed, kubernetes, because, unread })
}

fn not_about_others(error: ReconcileError) -> Error {
    match tenant::refusal(error) {
        Error::Forbidden(_) => Error::Forbidden(format!(
            "you may ask what you may do yourself; what others may do is told to members of {WS_ADMINS}"
        )),
        error => error,
    }
}

/// Who may do it, as far as it was given through us. What else somebody has bound inside the workspace is not told.
///
/// Every member may ask: who is in which group, what is given to it, and what roles allow is theirs to read in any case, and
/// nothing else is told. What Kubernetes says of each person is told to those only who may review access there.
pub async fn who_can(app: &App, ctx: &OpContext, workspace: &WorkspaceId, asked: &Asked) -> Result<Holders> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    check_words(asked)?;
    let tenant = tenant::as_caller(app, &scope).await?;
    let asked = resolve(&tenant, asked).await?;
    let nodes = groups::nodes(&app.store, &scope).await?;
    let forest = Forest::new(&nodes);
    let found = grants(app, ctx, &scope, &forest, &tenant, &asked).await?;
    let (grants, unread): (Vec<Grant>, Vec<Grant>) = found.into_iter().partition(|grant| grant.rule.is_some());
    let mut people = through(app, &scope, &forest, &grants).await?;
    let verdicts = verdicts(app, &scope, &forest, &tenant, &asked, people.keys()).await?;
    let mut rows = workspace_members::list_among(&app.store, &scope, people.keys()).await?;
    members::hide_addresses(app, ctx, &scope, &mut rows).await?;
    let holder = |row: WorkspaceMember| {
        let groups = people.remove(&row.user.id).unwrap_or_default();
        Holder { allowed: verdicts.get(&row.user.id).copied(), groups, row }
    };
    Ok(Holders { asked, grants, unread, people: rows.into_iter().map(holder).collect() })
}

/// Everybody who is in a group with one of these roles, with the names of those groups.
async fn through(
    app: &App,
    scope: &WorkspaceScope,
    forest: &Forest<'_>,
    grants: &[Grant],
) -> Result<BTreeMap<UserId, Vec<GroupName>>> {
    let given: BTreeSet<&GroupId> = grants.iter().map(|grant| &grant.assignment.group_id).collect();
    let within: Vec<&GroupNode> = given.iter().flat_map(|id| forest.within(id)).collect();
    let mut people: BTreeMap<UserId, Vec<GroupName>> = BTreeMap::new();
    for (group, user) in groups::memberships_in(&app.store, scope, within.iter().map(|group| &group.id)).await? {
        let names = people.entry(user).or_default();
        for above in forest.chain(&group).into_iter().filter(|above| given.contains(&above.id)) {
            if !names.contains(&above.name) {
                names.push(above.name.clone());
            }
        }
    }
    Ok(people)
}

/// What Kubernetes says of each of these people; nothing when the caller may not ask, or they are too many.
async fn verdicts(
    app: &App,
    scope: &WorkspaceScope,
    forest: &Forest<'_>,
    tenant: &TenantUser,
    asked: &Resolved,
    people: impl ExactSizeIterator<Item = &UserId>,
) -> Result<HashMap<UserId, bool>> {
    if people.len() == 0 || people.len() > MOST_ASKED {
        return Ok(HashMap::new());
    }
    let memberships = groups::memberships_of(&app.store, scope, people).await?;
    let held: Vec<(&UserId, Vec<&GroupName>)> = forest.everybody(&memberships);
    match tenant.may_each(&held, &asked.question()).await {
        Ok(allowed) => Ok(held.into_iter().map(|(user, _)| user.clone()).zip(allowed).collect()),
        Err(ReconcileError::Refused { code: 403, .. }) => Ok(HashMap::new()),
        Err(error) => Err(tenant::refusal(error)),
    }
}

impl Resolved {
    fn question(&self) -> Question<'_> {
        Question {
            verb: &self.verb,
            api_group: &self.api_group,
            resource: &self.resource,
            namespace: self.namespace.as_deref(),
            name: self.name.as_deref(),
        }
    }

    fn access(&self) -> Access<'_> {
        let Self { verb, api_group, resource, name, .. } = self;
        Access { verb, api_group, resource, name: name.as_deref() }
    }
}

/// Nothing that could be anything but words goes to a workspace's API server.
fn check_words(asked: &Asked) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte);
    let fields = [
        ("verb", Some(&asked.verb)),
        ("resource", Some(&asked.resource)),
        ("namespace", asked.namespace.as_ref()),
        ("name", asked.name.as_ref()),
    ];
    for (field, text) in fields {
        if text.is_some_and(|text| text.is_empty() || text.len() > 253 || !text.bytes().all(plain)) {
            return Err(Error::invalid(field, format!("this is no {field} of Kubernetes")));
        }
    }
    Ok(())
}

/// Finds the resource that people mean among those the workspace serves.
async fn resolve(tenant: &TenantUser, asked: &Asked) -> Result<Resolved> {
    let served = tenant.resources().await.map_err(tenant::refusal)?;
    let found = find(&served, &asked.resource)
        .ok_or_else(|| Error::invalid("resource", format!("this workspace serves no resource {}", asked.resource)))?;
    Ok(Resolved {
        verb: asked.verb.clone(),
        api_group: found.api_group.clone(),
        resource: found.name.clone(),
        namespace: asked.namespace.clone().filter(|_| found.namespaced),
        name: asked.name.clone(),
    })
}

/// `TYPE`, `TYPE.GROUP` or `TYPE/SUBRESOURCE`; a type is a plural, a singular or a short name.
fn find<'a>(served: &'a [ServedResource], text: &str) -> Option<&'a ServedResource> {
    let text = text.to_ascii_lowercase();
    let (kind, below) = match text.split_once('/') {
        Some((kind, below)) => (kind, Some(below)),
        None => (text.as_str(), None),
    };
    let is_called =
        |one: &&ServedResource, kind: &str| one.name == kind || one.aliases.iter().any(|alias| alias == kind);
    let (plain, grouped) = (kind, kind.split_once('.'));
    let found = served.iter().find(|one| is_called(one, plain)).or_else(|| {
        let (kind, group) = grouped?;
        served.iter().find(|one| one.api_group == group && is_called(one, kind))
    })?;
    let Some(below) = below else { return Some(found) };
    let name = format!("{}/{below}", found.name);
    served.iter().find(|one| one.api_group == found.api_group && one.name == name)
}

/// The roles given through us that allow it where it is asked about, and those of which the caller may not know it.
async fn grants(
    app: &App,
    ctx: &OpContext,
    scope: &WorkspaceScope,
    forest: &Forest<'_>,
    tenant: &TenantUser,
    asked: &Resolved,
) -> Result<Vec<Grant>> {
    let living = projects::living(&app.store, scope).await?;
    let here = living.iter().find(|project| asked.namespace.as_deref() == Some(project.name.as_str()));
    let above: Vec<&Project> = here.map(|project| chain(&living, &project.id)).unwrap_or_default();
    let custom = roles::list(&app.store, scope).await?;
    let mut book = Book { tenant, custom: &custom, living: &living, read: HashMap::new() };
    let mut found = Vec::new();
    for assignment in role_assignments::all(&app.store, scope).await?.into_iter().filter(|given| given.holds(ctx.now)) {
        let project = match &assignment.project_id {
            None => None,
            Some(id) => match above.iter().find(|project| project.id == *id) {
                Some(project) => Some(project.name.to_string()),
                None => continue,
            },
        };
        let Some(group) = forest.get(&assignment.group_id) else { continue };
        let rule = match book.rules(&assignment).await? {
            None => None,
            Some(rules) => match rules.into_iter().find(|rule| rule.allows(&asked.access())) {
                Some(rule) => Some(rule),
                None => continue,
            },
        };
        found.push(Grant { assignment, group: group.name.clone(), project, rule });
    }
    Ok(found)
}

/// What each role allows: ours by our own rows, Kubernetes' own as the workspace has them.
struct Book<'a> {
    tenant: &'a TenantUser,
    custom: &'a [Role],
    living: &'a [Project],
    /// Nothing for a role that the caller may not read.
    read: HashMap<ProjectRole, Option<Vec<Rule>>>,
}

impl Book<'_> {
    /// The rules of the role; nothing when the caller may not read them.
    async fn rules(&mut self, given: &RoleAssignment) -> Result<Option<Vec<Rule>>> {
        let Some(project) = &given.project_id else {
            return Ok(Some(match given.role.parse() {
                Ok(ClusterRoleRef::Preset(preset)) => rules::rules(preset),
                Ok(ClusterRoleRef::Custom(name)) => {
                    let found = self.custom.iter().find(|role| role.project_id.is_none() && role.name == name);
                    found.and_then(|role| role.accepted.clone()).unwrap_or_default()
                }
                Err(_) => Vec::new(),
            }));
        };
        match given.role.parse() {
            Ok(ProjectRoleRef::Preset(preset)) => {
                if let Some(rules) = self.read.get(&preset) {
                    return Ok(rules.clone());
                }
                let rules = match self.tenant.cluster_role(preset.as_str()).await {
                    Ok(rules) => Some(rules.unwrap_or_default()),
                    Err(ReconcileError::Refused { code: 403, .. }) => None,
                    Err(error) => return Err(tenant::refusal(error)),
                };
                Ok(self.read.entry(preset).or_insert(rules).clone())
            }
            Ok(ProjectRoleRef::Custom(name)) => {
                let above = chain(self.living, project);
                let here = |role: &&Role| {
                    role.name == name && above.iter().any(|project| role.project_id.as_ref() == Some(&project.id))
                };
                Ok(Some(self.custom.iter().find(here).and_then(|role| role.accepted.clone()).unwrap_or_default()))
            }
            Err(_) => Ok(Some(Vec::new())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_found_by_every_name_people_have_for_it() {
        let one = |api_group: &str, name: &str, aliases: &[&str]| ServedResource {
            api_group: api_group.to_owned(),
            name: name.to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            namespaced: true,
            verbs: Vec::new(),
        };
        let served = [
            one("", "pods/log", &[]),
            one("", "pods", &["pod", "po"]),
            one("apps", "deployments/scale", &[]),
            one("apps", "deployments", &["deployment", "deploy"]),
            one("metrics.k8s.io", "pods", &["pod"]),
        ];
        let found = |text| find(&served, text).map(|one| (one.api_group.as_str(), one.name.as_str()));
        for text in ["pods", "pod", "po", "Pods"] {
            assert_eq!(found(text), Some(("", "pods")), "{text}");
        }
        assert_eq!(found("pods/log"), Some(("", "pods/log")));
        assert_eq!(found("deploy/scale"), Some(("apps", "deployments/scale")));
        assert_eq!(found("deployments.apps"), Some(("apps", "deployments")));
        assert_eq!(found("pods.metrics.k8s.io"), Some(("metrics.k8s.io", "pods")));
        for text in ["", "pods.apps", "pods/exec", "unicorns", "deployments.apps/x"] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
