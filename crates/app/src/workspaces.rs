//! Workspaces: asked for here, made by the job `reconcile-workspace`.

use hexabase_backends::store::StoreError;
use hexabase_backends::store::groups::{self, Group};
use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::workspace_steps::{self, StepRecord};
use hexabase_backends::store::workspaces::{self, NewWorkspace, Workspace, WorkspaceScope};
use hexabase_backends::store::{Tx, plans as plan_rows, spare_workspaces, workspace_members};
use hexabase_core::groups::{WORKSPACE_MEMBERS, WS_ADMINS, WS_USERS};
use hexabase_core::ids::{GroupId, OrganizationId, WorkspaceId};
use hexabase_core::names::WorkspaceName;
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::plans::Price;
use hexabase_core::roles::PresetClusterRole;
use hexabase_core::sleep::SleepRule;

use crate::authz::{self, OrganizationAction, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::jobs::{follow, version_of_spares};
use crate::plans::PlanChoice;
use crate::{members, organization_quota, plans};

pub use crate::plan_change::change_plan;

/// Longest time for which a deletion can be undone: a month.
pub const MOST_GRACE_MINUTES: u32 = 30 * 24 * 60;

/// What the groups of every new workspace may do in it.
pub(crate) const DEFAULT_ROLES: [(&str, PresetClusterRole); 2] =
    [(WS_ADMINS, PresetClusterRole::WorkspaceAdmin), (WORKSPACE_MEMBERS, PresetClusterRole::WorkspaceViewer)];

/// A workspace and how far its creation has come.
#[derive(Debug, Clone)]
pub struct WorkspaceDetails {
    /// The row.
    pub workspace: Workspace,
    /// Its steps, in order.
    pub steps: Vec<StepRecord>,
    /// What it costs per month by the version of the plan that it has, whether or not that is still offered; for admins of its
    /// organisation only, and until it is deleted.
    pub price: Option<Price>,
}

/// Asks for a workspace: the row, its default groups with the caller as administrator, and the job, in one commit. Where one
/// was made ahead, it is taken, and has only to be woken.
pub async fn create<'a>(
    app: &App,
    ctx: &OpContext,
    organization: &OrganizationId,
    name: &str,
    plan: impl Into<PlanChoice<'a>>,
) -> Result<WorkspaceDetails> {
    let (name, plan): (WorkspaceName, PlanChoice<'_>) = (name.parse()?, plan.into());
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, organization, OrganizationAction::CreateWorkspace).await?;
    let plan = plans::choose(&tx, plan).await?;
    let living = workspaces::count_living(&tx, &scope, &plan.id).await?;
    if living >= u64::from(plan.limits.workspaces) {
        return Err(plans::too_many_workspaces(&plan, living));
    }
    // Those that were made ahead have the installation's own Kubernetes.
    let spare = match version_of_spares(&tx).await? {
        // Another one takes its place soon; nobody waits here for the job that sees to that.
        Some(version) if plan.kubernetes.is_none() => spare_workspaces::take(&tx, &version).await?,
        _ => None,
    };
    let made_ahead = spare.is_some();
    let id: WorkspaceId = spare.map_or_else(|| app.new_id(), Ok)?;
    organization_quota::check(&tx, &scope, &id, &plan).await?;
    let new = NewWorkspace { id, name, plan_id: plan.id.clone(), plan_version: plan.version };
    let scope = workspaces::insert(&tx, &scope, &new, ctx.now).await.map_err(|error| match error {
        StoreError::NotUnique(_) => {
            Error::conflict("name_taken", format!("the organization already has a workspace called {}", new.name))
        }
        error => error.into(),
    })?;
    if let Some(minutes) = plan.sleep_after_minutes {
        // Whoever administers it may say sooner.
        let rule = SleepRule { after_minutes: Some(minutes), ..SleepRule::default() };
        workspaces::set_sleep_rule(&tx, &scope, &rule, ctx.now).await?;
    }
    workspace_members::add(&tx, &scope, &ctx.user, ctx.now).await?;
    default_groups(app, ctx, &tx, &scope).await?;
    let after = serde_json::json!({ "name": new.name.as_str(), "plan": plan.id });
    follow::commit(app, ctx, tx, &scope, "workspace.created", new.id.as_str(), (None, Some(after))).await?;
    tracing::info!(
        workspace.id = %new.id, organization.id = %organization, plan = %plan.id, made_ahead, "workspace asked for"
    );
    details(app, &scope).await
}

/// Where the workspace's API server answers, as `host:port`, and the PEM of the authority behind its certificate.
///
/// # Errors
/// [`Error::Unavailable`] while that is not known yet.
pub(crate) fn endpoint_of(row: Workspace) -> Result<(String, String)> {
    let not_ready =
        || Error::Unavailable(format!("the workspace is not ready yet, it is {}; try again in a moment", row.phase));
    row.endpoint.zip(row.ca_pem).ok_or_else(not_ready)
}

/// `WorkspaceMembers` with `WSAdmins` and `WSUsers` below it, the creator in `WSAdmins`, and what they may do.
async fn default_groups(app: &App, ctx: &OpContext, tx: &Tx, scope: &WorkspaceScope) -> Result<()> {
    let top: GroupId = app.new_id()?;
    let admins: GroupId = app.new_id()?;
    let users: GroupId = app.new_id()?;
    for (id, name, display_name, parent) in [
        (&top, WORKSPACE_MEMBERS, "Workspace members", None),
        (&admins, WS_ADMINS, "Administrators", Some(&top)),
        (&users, WS_USERS, "Users", Some(&top)),
    ] {
        let group = Group {
            id: id.clone(),
            name: name.parse()?,
            display_name: display_name.parse()?,
            parent_id: parent.cloned(),
            is_default: true,
        };
        groups::insert(tx, scope, &group).await?;
    }
    groups::add_member(tx, scope, &admins, &ctx.user).await?;
    for (name, role) in DEFAULT_ROLES {
        let group = if name == WS_ADMINS { &admins } else { &top };
        let assignment = RoleAssignment {
            id: app.new_id()?,
            group_id: group.clone(),
            project_id: None,
            role: role.to_string(),
            created_at: ctx.now,
            expires_at: None,
        };
        role_assignments::insert(tx, scope, &assignment).await?;
    }
    Ok(())
}

/// One workspace. Deleted ones stay visible to admins of the organisation, with their receipt.
pub async fn get(app: &App, ctx: &OpContext, id: &WorkspaceId) -> Result<WorkspaceDetails> {
    let scope = authz::workspace(&app.store, ctx, id, WorkspaceAction::View).await?;
    details(app, &scope).await
}

pub(crate) async fn details(app: &App, scope: &WorkspaceScope) -> Result<WorkspaceDetails> {
    let workspace = workspaces::get(&app.store, scope).await?.ok_or(Error::NotFound("workspace"))?;
    let mut steps = workspace_steps::list(&app.store, scope).await?;
    if workspace.desired == workspaces::Desired::Absent {
        // They tell how it once came, which is of no use any more.
        steps.clear();
    }
    let price = match workspace.deleted_at.is_none() && authz::may_see_price(scope) {
        true => plan_rows::get_version(&app.store, &workspace.plan_id, workspace.plan_version).await?,
        false => None,
    };
    Ok(WorkspaceDetails { workspace, steps, price: price.map(|plan| plan.price) })
}

/// Living workspaces of an organisation that the caller may see, by id; up to `limit` after `after`.
pub async fn list(
    app: &App,
    ctx: &OpContext,
    organization: &OrganizationId,
    after: Option<&WorkspaceId>,
    limit: u64,
) -> Result<Vec<Workspace>> {
    let scope = authz::organization(&app.store, ctx, organization, OrganizationAction::View).await?;
    Ok(workspaces::list(&app.store, &scope, after, limit).await?)
}

/// Living workspaces that the caller is a member of, or whose organisation the caller administers, by id; with `name` only
/// those called exactly so.
pub async fn list_mine(
    app: &App,
    ctx: &OpContext,
    name: Option<&str>,
    after: Option<&WorkspaceId>,
    limit: u64,
) -> Result<Vec<Workspace>> {
    let Some(only) = ctx.credential.scope().and_then(|scope| scope.workspace.as_ref()) else {
        return Ok(workspaces::list_for_user(&app.store, &ctx.user, name, after, limit).await?);
    };
    // A token for one workspace sees a list of one, on the first page.
    let Some(scope) = workspaces::scope_for(&app.store, &ctx.user, only).await? else { return Ok(Vec::new()) };
    let row = workspaces::get(&app.store, &scope).await?;
    let fits = |row: &Workspace| {
        row.phase != WorkspacePhase::Deleted && name.is_none_or(|name| row.name.as_str() == name) && after.is_none()
    };
    Ok(row.into_iter().filter(fits).collect())
}

/// Asks for a workspace to be removed at once, also one that was to be removed later. Access ends with the commit; the rest
/// is the job's. Asking twice changes nothing.
pub async fn delete(app: &App, ctx: &OpContext, id: &WorkspaceId) -> Result<WorkspaceDetails> {
    let tx = app.store.begin().await?;
    let scope = authz::workspace(&tx, ctx, id, WorkspaceAction::Delete).await?;
    if workspaces::request_deletion(&tx, &scope, ctx.now).await? {
        follow::commit(app, ctx, tx, &scope, "workspace.deleting", id.as_str(), (None, None)).await?;
        // Open streams end with the right to open new ones.
        app.bell.ring(members::topic(id));
        tracing::info!(workspace.id = %id, "workspace deletion asked for");
    } else {
        tx.rollback().await?;
    }
    details(app, &scope).await
}

/// Asks for a workspace to be removed after so many minutes, until when [`restore`] takes that back. Access ends with the
/// commit, and it sleeps with all it has. Asking twice changes nothing, the time neither.
///
/// # Errors
/// As for [`delete`]; [`Error::Invalid`] for a time that is too long.
pub async fn delete_later(app: &App, ctx: &OpContext, id: &WorkspaceId, minutes: u32) -> Result<WorkspaceDetails> {
    let tx = app.store.begin().await?;
    let scope = authz::workspace(&tx, ctx, id, WorkspaceAction::Delete).await?;
    if minutes > MOST_GRACE_MINUTES {
        let sentence = format!("a deletion can be undone for at most {MOST_GRACE_MINUTES} minutes");
        return Err(Error::invalid("grace_minutes", sentence));
    }
    let removal_at = ctx.now.plus_seconds(i64::from(minutes) * 60);
    if workspaces::request_deletion_at(&tx, &scope, removal_at, ctx.now).await? {
        let after = serde_json::json!({ "removal_at": removal_at });
        follow::commit(app, ctx, tx, &scope, "workspace.to_be_deleted", id.as_str(), (None, Some(after))).await?;
        app.bell.ring(members::topic(id));
        tracing::info!(workspace.id = %id, removal_at = %removal_at, "workspace deletion asked for");
    } else {
        tx.rollback().await?;
    }
    details(app, &scope).await
}

/// Takes a deletion back that has not begun: the workspace wakes, with everything and everybody it had.
///
/// # Errors
/// [`Error::Conflict`] when there is none, or its removal has begun.
pub async fn restore(app: &App, ctx: &OpContext, id: &WorkspaceId) -> Result<WorkspaceDetails> {
    let tx = app.store.begin().await?;
    let scope = authz::workspace(&tx, ctx, id, WorkspaceAction::Restore).await?;
    if !workspaces::undo_deletion(&tx, &scope, ctx.now).await? {
        let row = workspaces::get(&tx, &scope).await?.ok_or(Error::NotFound("workspace"))?;
        let sentence = format!("the workspace is {}; there is no deletion of it that can be undone", row.phase);
        return Err(Error::conflict("not_restorable", sentence));
    }
    follow::commit(app, ctx, tx, &scope, "workspace.restored", id.as_str(), (None, None)).await?;
    tracing::info!(workspace.id = %id, "workspace deletion undone");
    details(app, &scope).await
}
