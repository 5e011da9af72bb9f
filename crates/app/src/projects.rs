//! Projects: namespaces with a quota inside a workspace.

use hexabase_backends::store::StoreError;
use hexabase_backends::store::projects::{self, NewProject};
use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Db, MAX_PAGE, Tx};
use hexabase_core::ids::{ProjectId, WorkspaceId};
use hexabase_core::names::ProjectName;
use hexabase_core::phases::ProjectPhase;
use hexabase_core::plans::{Limits, ProjectLimits};
use hexabase_core::quantity::InvalidQuantity;
use hexabase_core::time::Timestamp;

pub use hexabase_backends::store::projects::Project;

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::jobs::follow;
use crate::members;
use crate::plans::plan_of;
use crate::role_assignments::{self as given, bindings, check_bindings};
use crate::{roles, sleep};

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

/// Most projects from one at the top down to the lowest below it, both counted.
const MAX_DEPTH: usize = 4;

/// The project, the one it stands below, and so on to the top, among `projects`.
pub(crate) fn chain<'a>(projects: &'a [Project], id: &ProjectId) -> Vec<&'a Project> {
    let find = |id: &ProjectId| projects.iter().find(|project| project.id == *id);
    let above = |project: &&'a Project| project.parent_id.as_ref().and_then(find);
    // Bounded by their number, should there be a cycle after all.
    std::iter::successors(find(id), above).take(projects.len()).collect()
}

/// The project and those below it that are there, or about to be: where what is given and made in it holds.
pub(crate) fn within<'a>(projects: &'a [Project], id: &ProjectId) -> Vec<&'a Project> {
    let below = |project: &&Project| project.id != *id && is_wanted(project) && is_below(projects, project, id);
    let own = projects.iter().find(|project| project.id == *id);
    own.into_iter().chain(projects.iter().filter(below)).collect()
}

fn is_below(projects: &[Project], project: &Project, id: &ProjectId) -> bool {
    chain(projects, &project.id).iter().any(|above| above.id == *id)
}

/// All living projects of the workspace, to work out what holds in which.
pub(crate) async fn living(db: &impl Db, scope: &WorkspaceScope) -> Result<Vec<Project>> {
    Ok(projects::list(db, scope, None, MAX_PAGE).await?)
}

/// Whether a project is there, or about to be.
pub(crate) fn is_wanted(project: &Project) -> bool {
    matches!(project.phase, ProjectPhase::Creating | ProjectPhase::Ready)
}

/// Refuses a parent that is none, or is too deep already, or from which too much would hold in the new project too.
async fn check_parent(tx: &Tx, scope: &WorkspaceScope, parent: &ProjectId, now: Timestamp) -> Result<()> {
    let living = living(tx, scope).await?;
    let chain = chain(&living, parent);
    if !chain.first().is_some_and(|project| is_wanted(project)) {
        return Err(Error::invalid("parent", "there is no such project in this workspace"));
    }
    if chain.len() >= MAX_DEPTH {
        let detail = format!("projects stand at most {MAX_DEPTH} deep; choose a project further up");
        return Err(Error::LimitReached(detail));
    }
    let mut given = role_assignments::all(tx, scope).await?;
    given.retain(|given| given.holds(now));
    let inherits = |given: &RoleAssignment| chain.iter().any(|above| given.project_id.as_ref() == Some(&above.id));
    let more = given.iter().filter(|given| inherits(given)).count();
    check_bindings(bindings(&given, &living) + more)
}

/// Asks for a project; below a parent, the roles given there hold in it too.
pub async fn create(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    name: &str,
    quota: &QuotaRequest,
    parent: Option<&ProjectId>,
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
    if let Some(parent) = parent {
        check_parent(&tx, &scope, parent, ctx.now).await?;
    }
    let limits = quota.within(&plan.limits)?;
    let new = NewProject { id: app.new_id()?, name, limits, parent_id: parent.cloned() };
    projects::insert(&tx, &scope, &new, ctx.now).await.map_err(|error| match error {
        StoreError::NotUnique(_) => {
            Error::conflict("name_taken", format!("the workspace already has a project called {}", new.name))
        }
        error => error.into(),
    })?;
    let after = serde_json::json!({ "name": new.name.as_str(), "limits": new.limits, "parent": parent });
    follow::commit(app, ctx, tx, &scope, "project.created", new.id.as_str(), (None, Some(after))).await?;
    sleep::stir(app, &scope).await;
    get(app, ctx, workspace, &new.id).await
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

/// Asks for a project to be removed with everything in it, the roles made and given there included. Asking twice changes
/// nothing; refused while projects stand below it.
pub async fn delete(app: &App, ctx: &OpContext, workspace: &WorkspaceId, id: &ProjectId) -> Result<Project> {
    let tx = app.store.begin().await?;
    // Locked, so that nobody puts a project below it meanwhile.
    let scope = authz::locked_workspace(&tx, ctx, workspace, WorkspaceAction::ManageProjects).await?;
    let project = projects::get(&tx, &scope, id).await?.ok_or(Error::NotFound("project"))?;
    let below = projects::count_below(&tx, &scope, id).await?;
    if below > 0 && is_wanted(&project) {
        let detail = format!("{below} project(s) stand below it; delete them first");
        return Err(Error::conflict("project_in_use", detail));
    }
    if projects::request_deletion(&tx, &scope, id).await? {
        given::delete_of_project(app, ctx, &tx, &scope, id).await?;
        roles::delete_of_project(app, ctx, &tx, &scope, &project).await?;
        let before = serde_json::json!({ "name": project.name.as_str() });
        follow::commit(app, ctx, tx, &scope, "project.deleting", id.as_str(), (Some(before), None)).await?;
        // Roles that were given there are taken away with it.
        app.bell.ring(members::topic(workspace));
        sleep::stir(app, &scope).await;
    } else {
        tx.rollback().await?;
    }
    get(app, ctx, workspace, id).await
}
