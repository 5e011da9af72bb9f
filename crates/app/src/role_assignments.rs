//! Roles given to groups: in the whole workspace, or in a project and those below it; for good or for a time.

use std::collections::HashMap;

use hexabase_backends::bell::Topic;
use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Db, StoreError, Tx, groups, jobs, roles};
use hexabase_core::groups::WS_ADMINS;
use hexabase_core::ids::{GroupId, OrganizationId, ProjectId, RoleAssignmentId, WorkspaceId};
use hexabase_core::names::RoleName;
use hexabase_core::roles::{ClusterRoleRef, MAX_ROLE_ASSIGNMENTS, PresetClusterRole, ProjectRoleRef};
use hexabase_core::time::Timestamp;
use serde_json::{Value, json};

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};
use crate::jobs::RECONCILE_WORKSPACE;
use crate::members;
use crate::projects::{self, Project};

/// A role to be given.
#[derive(Debug, Clone)]
pub struct NewAssignment {
    /// To which group.
    pub group: GroupId,
    /// The role's name in the workspace.
    pub role: String,
    /// In which project, and below which; in the whole workspace when absent.
    pub project: Option<ProjectId>,
    /// The moment from which on it gives nothing any more.
    pub expires_at: Option<Timestamp>,
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
    let NewAssignment { group, role, project, expires_at } = new;
    if expires_at.is_some_and(|end| end <= ctx.now) {
        return Err(Error::invalid("expires_at", "must be in the future"));
    }
    let custom = parse_role(&role, project.is_some())?;
    let tx = app.store.begin().await?;
    let scope = authz::locked_living_workspace(&tx, ctx, workspace, WorkspaceAction::ManageMembers).await?;
    forget_expired(app, &tx, scope.organization(), workspace, ctx.now).await?;
    if role_assignments::count(&tx, &scope).await? >= MAX_ROLE_ASSIGNMENTS {
        let detail = format!("a workspace has at most {MAX_ROLE_ASSIGNMENTS} roles given; take one away first");
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
    let row = RoleAssignment {
        id: app.new_id()?,
        group_id: group,
        project_id: project,
        role,
        created_at: ctx.now,
        expires_at,
    };
    role_assignments::insert(&tx, &scope, &row).await.map_err(|error| match error {
        StoreError::NotUnique(_) => Error::conflict("already_given", "the group has this role there already"),
        error => error.into(),
    })?;
    let details = with_names(&tx, &scope, vec![row]).await?.pop().ok_or(Error::NotFound("role assignment"))?;
    let after = told(&details);
    change(app, ctx, &tx, &scope, "role_assignment.created", &details.row.id, (None, Some(after)))?;
    follow(&tx, ctx, workspace).await?;
    tx.commit().await?;
    app.bell.ring(topic(workspace));
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

/// A custom role is one of the workspace, or of the project or one above it.
async fn check_custom(tx: &Tx, scope: &WorkspaceScope, name: &RoleName, chain: &[&Project]) -> Result<()> {
    let known = roles::list(tx, scope).await?;
    let here = |project: &Option<ProjectId>| match project {
        None => chain.is_empty(),
        Some(id) => chain.iter().any(|project| project.id == *id),
    };
    if known.iter().any(|role| role.name == *name && here(&role.project_id)) {
        return Ok(());
    }
    Err(Error::invalid("role", format!("there is no custom role \"{name}\" there")))
}

fn told(details: &AssignmentDetails) -> Value {
    let AssignmentDetails { row, group, project } = details;
    json!({ "group": group, "role": row.role, "project": project, "expires_at": row.expires_at })
}

fn change(
    app: &App,
    ctx: &OpContext,
    tx: &Tx,
    scope: &WorkspaceScope,
    action: &str,
    id: &RoleAssignmentId,
    (before, after): (Option<Value>, Option<Value>),
) -> Result<()> {
    let (organization, workspace) = (Some(scope.organization()), Some(scope.workspace()));
    app.change(tx, ctx, Change { organization, workspace, action, subject: id.as_str(), before, after })
}

async fn follow(tx: &Tx, ctx: &OpContext, workspace: &WorkspaceId) -> Result<()> {
    // The job itself looks when the next role ends, and runs again then.
    Ok(jobs::enqueue(tx, RECONCILE_WORKSPACE, workspace.as_str(), ctx.now, ctx.now).await?)
}

fn topic(workspace: &WorkspaceId) -> Topic {
    Topic { kind: RECONCILE_WORKSPACE.to_owned(), subject: workspace.to_string() }
}

/// Takes a role away from a group.
pub async fn delete(app: &App, ctx: &OpContext, workspace: &WorkspaceId, id: &RoleAssignmentId) -> Result<()> {
    let tx = app.store.begin().await?;
    let scope = authz::locked_living_workspace(&tx, ctx, workspace, WorkspaceAction::ManageMembers).await?;
    let row = find(&tx, &scope, id).await?;
    let details = with_names(&tx, &scope, vec![row]).await?.pop().ok_or(Error::NotFound("role assignment"))?;
    let whole = details.row.project_id.is_none();
    if whole && details.group == WS_ADMINS && details.row.role == PresetClusterRole::WorkspaceAdmin.as_str() {
        let detail = format!("{WS_ADMINS} always has this role: without it nobody could administer the workspace");
        return Err(Error::conflict("default_assignment", detail));
    }
    role_assignments::delete(&tx, &scope, id).await?;
    let before = told(&details);
    change(app, ctx, &tx, &scope, "role_assignment.deleted", id, (Some(before), None))?;
    follow(&tx, ctx, workspace).await?;
    tx.commit().await?;
    app.bell.ring(topic(workspace));
    app.bell.ring(members::topic(workspace));
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
