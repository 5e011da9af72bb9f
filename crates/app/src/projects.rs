//! Projects: namespaces with a quota inside a workspace.

use hexabase_backends::bell::Topic;
use hexabase_backends::store::StoreError;
use hexabase_backends::store::projects::{self, NewProject};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Tx, jobs};
use hexabase_core::ids::{ProjectId, WorkspaceId};
use hexabase_core::names::ProjectName;
use hexabase_core::plans::{Limits, ProjectLimits};
use hexabase_core::quantity::InvalidQuantity;

pub use hexabase_backends::store::projects::Project;

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};
use crate::jobs::RECONCILE_WORKSPACE;
use crate::plans::plan_of;

/// What a project may use, as asked for; what is absent comes from the plan.
#[derive(Debug, Clone, Default)]
pub struct QuotaRequest {
    /// CPU.
    pub cpu: Option<String>,
    /// Memory.
    pub memory: Option<String>,
    /// Storage.
    pub storage: Option<String>,
    /// Pods.
    pub pods: Option<u32>,
}

impl QuotaRequest {
    /// The limits, none above the plan's.
    fn within(&self, plan: &Limits) -> Result<ProjectLimits> {
        let pods = self.pods.unwrap_or(plan.pods);
        if pods == 0 || pods > plan.pods {
            return Err(Error::invalid(
                "quota.pods",
                format!("must be from 1 to {}, which the plan allows", plan.pods),
            ));
        }
        Ok(ProjectLimits {
            cpu: amount("quota.cpu", self.cpu.as_deref(), plan.cpu)?,
            memory: amount("quota.memory", self.memory.as_deref(), plan.memory)?,
            storage: amount("quota.storage", self.storage.as_deref(), plan.storage)?,
            pods,
        })
    }
}

fn amount<T>(field: &'static str, text: Option<&str>, plan: T) -> Result<T>
where
    T: std::str::FromStr<Err = InvalidQuantity> + PartialOrd + std::fmt::Display,
{
    let Some(text) = text else { return Ok(plan) };
    let asked: T = text.parse().map_err(|cause: InvalidQuantity| Error::invalid(field, cause.to_string()))?;
    if asked > plan {
        return Err(Error::invalid(field, format!("{text} is more than the plan allows, which is {plan}")));
    }
    Ok(asked)
}

/// Asks for a project.
pub async fn create(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    name: &str,
    quota: &QuotaRequest,
) -> Result<Project> {
    let name: ProjectName = name.parse()?;
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace(&tx, ctx, workspace, WorkspaceAction::ManageProjects).await?;
    let plan = plan_of(&tx, &scope).await?;
    let living = projects::count_living(&tx, &scope).await?;
    if living >= u64::from(plan.limits.projects) {
        return Err(Error::LimitReached(format!(
            "the plan {} allows {} projects in a workspace and {living} exist; delete one, or make a workspace under a larger plan",
            plan.id, plan.limits.projects
        )));
    }
    let new = NewProject { id: app.new_id()?, name, limits: quota.within(&plan.limits)? };
    projects::insert(&tx, &scope, &new, ctx.now).await.map_err(|error| match error {
        StoreError::NotUnique(_) => {
            Error::conflict("name_taken", format!("the workspace already has a project called {}", new.name))
        }
        error => error.into(),
    })?;
    let after = serde_json::json!({ "name": new.name.as_str(), "limits": new.limits });
    enqueue(app, ctx, tx, &scope, "project.created", &new.id, (None, Some(after))).await?;
    get(app, ctx, workspace, &new.id).await
}

/// Writes the job and the audit entry beside the change, commits, and rings.
async fn enqueue(
    app: &App,
    ctx: &OpContext,
    tx: Tx,
    scope: &WorkspaceScope,
    action: &str,
    id: &ProjectId,
    (before, after): (Option<serde_json::Value>, Option<serde_json::Value>),
) -> Result<()> {
    let (organization, workspace) = (scope.organization(), scope.workspace());
    jobs::enqueue(&tx, RECONCILE_WORKSPACE, workspace.as_str(), ctx.now, ctx.now).await?;
    let (organization, place) = (Some(organization), Some(workspace));
    app.change(&tx, ctx, Change { organization, workspace: place, action, subject: id.as_str(), before, after })?;
    tx.commit().await?;
    app.bell.ring(Topic { kind: RECONCILE_WORKSPACE.to_owned(), subject: workspace.to_string() });
    Ok(())
}

/// One project.
pub async fn get(app: &App, ctx: &OpContext, workspace: &WorkspaceId, id: &ProjectId) -> Result<Project> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    projects::get(&app.store, &scope, id).await?.ok_or(Error::NotFound("project"))
}

/// Living projects of a workspace, by id; up to `limit` after `after`.
pub async fn list(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    after: Option<&ProjectId>,
    limit: u64,
) -> Result<Vec<Project>> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    Ok(projects::list(&app.store, &scope, after, limit).await?)
}

/// Asks for a project to be removed with everything in it. Asking twice changes nothing.
pub async fn delete(app: &App, ctx: &OpContext, workspace: &WorkspaceId, id: &ProjectId) -> Result<Project> {
    let tx = app.store.begin().await?;
    let scope = authz::workspace(&tx, ctx, workspace, WorkspaceAction::ManageProjects).await?;
    let project = projects::get(&tx, &scope, id).await?.ok_or(Error::NotFound("project"))?;
    if projects::request_deletion(&tx, &scope, id).await? {
        let before = serde_json::json!({ "name": project.name.as_str() });
        enqueue(app, ctx, tx, &scope, "project.deleting", id, (Some(before), None)).await?;
    } else {
        tx.rollback().await?;
    }
    get(app, ctx, workspace, id).await
}
