//! Roles given to groups: in the whole workspace, or in a project and those below it; for good or for a time.

use std::collections::HashMap;

use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Db, StoreError, Tx, groups, roles};
use hexabase_core::groups::WS_ADMINS;
use hexabase_core::ids::{GroupId, OrganizationId, ProjectId, RoleAssignmentId, WorkspaceId};
use hexabase_core::names::RoleName;
use hexabase_core::roles::{
    ClusterRoleRef, MAX_BINDINGS, MAX_ROLE_ASSIGNMENTS, PresetClusterRole, ProjectRoleRef, RolePhase,
};
use hexabase_core::time::Timestamp;
use serde_json::{Value, json};

use crate::authz::{self, While, WorkspaceAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};
use crate::jobs::follow;
use crate::members;
use crate::projects::{self, Project};

/// What the audit log calls it when a role is taken away.
const DELETED: &str = "role_assignment.deleted";

/// A role to be given.
#[derive(Debug, Clone)]
pub struct NewAssignment {
    /// To which group.
    pub group: GroupId,
    /// The role's name in the workspace.
    pub role: String,
    /// In which project, and below which; in the whole workspace when absent.
    pub project: Option<ProjectId>,
    /// When it ends.
    pub end: End,
}

/// From when on a role gives nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Never by itself.
    Never,
    /// From this moment on.
    At(Timestamp),
    /// So many seconds from now, by our clock and nobody else's.
    In(u32),
}

/// A role given to a group, with the names that people know both by.
#[derive(Debug, Clone)]
pub struct AssignmentDetails {
    /// The row.
    pub row: RoleAssignment,
    /// The group's name.
    pub group: String,
    /// The project's name.
    pub project: Option<String>,
}

async fn with_names(db: &impl Db, scope: &WorkspaceScope, rows: Vec<RoleAssignment>) -> Result<Vec<AssignmentDetails>> {
    let nodes = groups::nodes(db, scope).await?;
    let groups: HashMap<&GroupId, &str> = nodes.iter().map(|node| (&node.id, node.name.as_str())).collect();
    let living = projects::living(db, scope).await?;
    let projects: HashMap<&ProjectId, &str> =
        living.iter().map(|project| (&project.id, project.name.as_str())).collect();
    let details = |row: RoleAssignment| AssignmentDetails {
        group: groups.get(&row.group_id).copied().unwrap_or_default().to_owned(),
        project: row.project_id.as_ref().and_then(|project| projects.get(project)).map(|name| (*name).to_owned()),
        row,
    };
    Ok(rows.into_iter().map(details).collect())
}

/// The roles given in a workspace, by id; up to `limit` after `after`. One whose time is over may still be there for a
/// moment, and gives nothing.
pub async fn list(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    after: Option<&RoleAssignmentId>,
    limit: u64,
) -> Result<Vec<AssignmentDetails>> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    let rows = role_assignments::list(&app.store, &scope, after, limit).await?;
    with_names(&app.store, &scope, rows).await
}

/// One of them.
pub async fn get(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    id: &RoleAssignmentId,
) -> Result<AssignmentDetails> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    let row = find(&app.store, &scope, id).await?;
    with_names(&app.store, &scope, vec![row]).await?.pop().ok_or(Error::NotFound("role assignment"))
}

async fn find(db: &impl Db, scope: &WorkspaceScope, id: &RoleAssignmentId) -> Result<RoleAssignment> {
    role_assignments::get(db, scope, id).await?.ok_or(Error::NotFound("role assignment"))
}

/// Gives a role to a group. It holds as soon as the workspace's bindings follow, which takes seconds.
pub async fn create(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    new: NewAssignment,
) -> Result<AssignmentDetails> {
    let NewAssignment { group, role, project, end } = new;
    let expires_at = match end {
        End::Never => None,
        End::At(end) if end <= ctx.now => return Err(Error::invalid("expires_at", "must be in the future")),
        End::At(end) => Some(end),
        End::In(0) => return Err(Error::invalid("expires_in", "must be 1 second or more")),
        End::In(seconds) => Some(ctx.now.plus_seconds(seconds.into())),
    };
    let custom = parse_role(&role, project.is_some())?;
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace_while(&tx, ctx, workspace, WorkspaceAction::GiveAccess, While::Living).await?;
    forget_expired(app, &tx, scope.organization(), workspace, ctx.now).await?;
    if role_assignments::count(&tx, &scope).await? >= MAX_ROLE_ASSIGNMENTS {
        let detail = format!(
            "a workspace has at most {MAX_ROLE_ASSIGNMENTS} roles given, which nobody can raise; take one away first"
        );
        return Err(Error::LimitReached(detail));
    }
    if groups::get(&tx, &scope, &group).await?.is_none() {
        return Err(Error::invalid("group", "there is no such group in this workspace"));
    }
    let living = projects::living(&tx, &scope).await?;
    let chain = match &project {
        Some(id) => projects::chain(&living, id),
        None => Vec::new(),
    };
    if project.is_some() && !chain.first().is_some_and(|project| projects::is_wanted(project)) {
        return Err(Error::invalid("project", "there is no such project in this workspace"));
    }
    if let Some(name) = custom {
        check_custom(&tx, &scope, &name, &chain).await?;
    }
    let given = role_assignments::all(&tx, &scope).await?;
    check_bindings(bindings(&given, &living) + reach(&living, project.as_ref()))?;
    let row = RoleAssignment {
        id: app.new_id()?,
        group_id: group,
        project_id: project,
        role,
        created_at: ctx.now,
        expires_at,
    };
    role_assignments::insert(&tx, &scope, &row).await.map_err(|error| match error {
        StoreError::NotUnique(_) => {
            let there = given.iter().find(|given| {
                (&given.group_id, &given.project_id, &given.role) == (&row.group_id, &row.project_id, &row.role)
            });
            let id = there.map(|there| format!(" ({})", there.id)).unwrap_or_default();
            let detail =
                format!("the group has this role there already{id}; take that away first to give it another end");
            Error::conflict("already_given", detail)
        }
        error => error.into(),
    })?;
    let details = with_names(&tx, &scope, vec![row]).await?.pop().ok_or(Error::NotFound("role assignment"))?;
    let after = told(&details);
    // The job itself looks when the next role ends, and runs again then.
    let said = (None, Some(after));
    follow::commit(app, ctx, tx, &scope, "role_assignment.created", details.row.id.as_str(), said).await?;
    Ok(details)
}

/// The custom role that `role` names, if it names one.
fn parse_role(role: &str, in_project: bool) -> Result<Option<RoleName>> {
    let invalid = |cause: hexabase_core::roles::InvalidRole| Error::invalid("role", cause.to_string());
    Ok(match in_project {
        true => match role.parse().map_err(invalid)? {
            ProjectRoleRef::Custom(name) => Some(name),
            ProjectRoleRef::Preset(_) => None,
        },
        false => match role.parse().map_err(invalid)? {
            ClusterRoleRef::Custom(name) => Some(name),
            ClusterRoleRef::Preset(_) => None,
        },
    })
}

/// In how many places a role holds that is given there: in the whole workspace, or in a project and those below it.
pub(crate) fn reach(living: &[Project], project: Option<&ProjectId>) -> usize {
    project.map_or(1, |id| projects::within(living, id).len())
}

/// How many bindings these come to.
pub(crate) fn bindings(given: &[RoleAssignment], living: &[Project]) -> usize {
    let reaches: HashMap<&ProjectId, usize> =
        living.iter().map(|project| (&project.id, reach(living, Some(&project.id)))).collect();
    let reach = |given: &RoleAssignment| match &given.project_id {
        None => 1,
        Some(id) => reaches.get(id).copied().unwrap_or_default(),
    };
    given.iter().map(reach).sum()
}

/// Refuses more bindings than a workspace's API server and we look through every half minute without anybody noticing.
pub(crate) fn check_bindings(wanted: usize) -> Result<()> {
    if wanted <= MAX_BINDINGS {
        return Ok(());
    }
    Err(Error::LimitReached(format!(
        "the roles given here would come to {wanted} bindings, one in each project in which a role holds, and a workspace has \
         at most {MAX_BINDINGS}, which nobody can raise; take some away, or give them to fewer groups further up"
    )))
}

/// A custom role is one of the workspace, or of the project or one above it. One that Kubernetes has refused and never
/// accepted gives nothing to anybody.
async fn check_custom(tx: &Tx, scope: &WorkspaceScope, name: &RoleName, chain: &[&Project]) -> Result<()> {
    let known = roles::list(tx, scope).await?;
    let here = |project: &Option<ProjectId>| match project {
        None => chain.is_empty(),
        Some(id) => chain.iter().any(|project| project.id == *id),
    };
    let Some(role) = known.iter().find(|role| role.name == *name && here(&role.project_id)) else {
        return Err(Error::invalid("role", format!("there is no custom role \"{name}\" there")));
    };
    if role.phase != RolePhase::Refused || role.accepted.is_some() {
        return Ok(());
    }
    let why = role.message.as_deref().unwrap_or("without a reason");
    let detail = format!("the role {name} was refused, so that it gives nothing; give it other rules first: {why}");
    Err(Error::conflict("role_refused", detail))
}

fn told(details: &AssignmentDetails) -> Value {
    let AssignmentDetails { row, group, project } = details;
    json!({ "group": group, "role": row.role, "project": project, "expires_at": row.expires_at })
}

/// Takes a role away from a group.
pub async fn delete(app: &App, ctx: &OpContext, workspace: &WorkspaceId, id: &RoleAssignmentId) -> Result<()> {
    let tx = app.store.begin().await?;
    let scope =
        authz::locked_workspace_while(&tx, ctx, workspace, WorkspaceAction::ManageMembers, While::Restorable).await?;
    let row = find(&tx, &scope, id).await?;
    let details = with_names(&tx, &scope, vec![row]).await?.pop().ok_or(Error::NotFound("role assignment"))?;
    let whole = details.row.project_id.is_none();
    if whole && details.group == WS_ADMINS && details.row.role == PresetClusterRole::WorkspaceAdmin.as_str() {
        let detail = format!("{WS_ADMINS} always has this role: without it nobody could administer the workspace");
        return Err(Error::conflict("default_assignment", detail));
    }
    role_assignments::delete(&tx, &scope, id).await?;
    let said = (Some(told(&details)), None);
    follow::commit(app, ctx, tx, &scope, DELETED, details.row.id.as_str(), said).await?;
    app.bell.ring(members::topic(workspace));
    Ok(())
}

/// Takes away every role given in a project, which is going, each with its line in the audit log.
pub(crate) async fn delete_of_project(
    app: &App,
    ctx: &OpContext,
    tx: &Tx,
    scope: &WorkspaceScope,
    project: &ProjectId,
) -> Result<()> {
    let rows = role_assignments::take_of_project(tx, scope, project).await?;
    let all = with_names(tx, scope, rows).await?;
    for details in &all {
        app.change_in(tx, ctx, scope, DELETED, details.row.id.as_str(), (Some(told(details)), None))?;
    }
    Ok(())
}

/// Forgets roles whose time is over, each with its line in the audit log. What they gave, the bindings, is not asked here:
/// they count for nothing from their end on.
pub(crate) async fn forget_expired(
    app: &App,
    tx: &Tx,
    organization: &OrganizationId,
    workspace: &WorkspaceId,
    now: Timestamp,
) -> Result<()> {
    for row in role_assignments::take_expired(tx, workspace, now).await? {
        let before = json!({
            "group": row.group_id, "role": row.role, "project": row.project_id, "expires_at": row.expires_at,
        });
        let gone = Change {
            organization: Some(organization),
            workspace: Some(workspace),
            action: "role_assignment.expired",
            subject: row.id.as_str(),
            before: Some(before),
            after: None,
        };
        app.change_by_itself(tx, organization, gone)?;
    }
    Ok(())
}
