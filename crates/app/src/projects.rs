//! Projects: namespaces with a share of the plan inside a workspace.

mod moving;
mod used;

use std::collections::BTreeMap;

use hexabase_backends::store::projects::{self, NewProject, ProjectChange};
use hexabase_backends::store::workspaces::{self, WorkspaceScope};
use hexabase_backends::store::{Db, MAX_PAGE, StoreError, Tx};
use hexabase_core::ids::{ProjectId, WorkspaceId};
use hexabase_core::names::ProjectName;
use hexabase_core::phases::ProjectPhase;
use hexabase_core::projects::{InvalidLabels, NetworkIsolation, PodSecurity, ProjectLabels};
use hexabase_core::quota::Amounts;
use hexabase_core::time::Timestamp;
use serde_json::{Value, json};

pub use hexabase_backends::store::projects::Project;

use self::used::Used;
use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::jobs::follow;
use crate::members;
use crate::plans::plan_of;
use crate::quota::{self, Giver, QuotaRequest};
use crate::role_assignments as given;
use crate::{roles, sleep};

/// A project to be made.
#[derive(Debug, Clone, Default)]
pub struct ProjectRequest<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is to have of the plan, or of the project that it stands below.
    pub quota: QuotaRequest,
    /// The project it is to stand below.
    pub parent: Option<ProjectId>,
    /// What is to be written on it.
    pub labels: BTreeMap<String, String>,
    /// Which pods are to be let in; the strictest level when absent.
    pub pod_security: Option<PodSecurity>,
    /// Whom its pods are to be able to talk to in the workspace; no other project when absent.
    pub network: Option<NetworkIsolation>,
}

/// What is to change about a project; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct ProjectChanges {
    /// What it is to have.
    pub quota: QuotaRequest,
    /// The project it is to stand below; `Some(None)` puts it at the top.
    pub parent: Option<Option<ProjectId>>,
    /// What is to be written on it, in place of all that was.
    pub labels: Option<BTreeMap<String, String>>,
    /// Which pods are to be let in. Those that run stay.
    pub pod_security: Option<PodSecurity>,
    /// Whom its pods are to be able to talk to in the workspace.
    pub network: Option<NetworkIsolation>,
}

/// A project, and what is left of its share.
#[derive(Debug, Clone)]
pub struct ProjectDetails {
    /// The row.
    pub row: Project,
    /// What its own namespace may use: its share without what was given to projects below it.
    pub own: Amounts,
}

fn labels(given: BTreeMap<String, String>) -> Result<ProjectLabels> {
    given.try_into().map_err(|cause: InvalidLabels| Error::invalid("labels", cause.to_string()))
}

/// Most projects from one at the top down to the lowest below it, both counted.
const MAX_DEPTH: usize = 4;
/// Most projects that a refusal names.
const MOST_NAMED: usize = 5;

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

/// Asks for a project; below a parent, the roles given there hold in it too, and its share is one of the parent's. Refused where that
/// leaves the parent's own namespace less than is used there.
pub async fn create(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    request: ProjectRequest<'_>,
) -> Result<ProjectDetails> {
    let ProjectRequest { name, quota, parent, labels: given, pod_security, network } = request;
    let (name, labels): (ProjectName, ProjectLabels) = (name.parse()?, labels(given)?);
    let id: ProjectId = app.new_id()?;
    let wish = Wish { id: &id, name: &name, quota: &quota, parent: parent.as_ref() };
    let mut used = Used::default();
    if let Some(parent) = &parent {
        // What is refused whatever is used there wakes no workspace.
        let tx = app.store.begin().await?;
        let scope = authz::locked_workspace(&tx, ctx, workspace, WorkspaceAction::ManageProjects).await?;
        share(&tx, &scope, &wish, &used, ctx.now).await?;
        tx.rollback().await?;
        used = Used::before_create(app, &scope, parent).await?;
    }
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace(&tx, ctx, workspace, WorkspaceAction::ManageProjects).await?;
    let limits = share(&tx, &scope, &wish, &used, ctx.now).await?;
    let pod_security = pod_security.unwrap_or(PodSecurity::Restricted);
    let network = network.unwrap_or(NetworkIsolation::Isolated);
    let new = NewProject { id, name, limits, parent_id: parent, labels, pod_security, network };
    projects::insert(&tx, &scope, &new, ctx.now).await.map_err(|error| match error {
        StoreError::NotUnique(_) => name_taken(&new.name),
        error => error.into(),
    })?;
    let NewProject { id, name, limits, parent_id, labels, pod_security, network } = &new;
    let after = json!({
        "name": name, "limits": limits, "parent": parent_id, "labels": labels, "pod_security": pod_security,
        "network": network,
    });
    follow::commit(app, ctx, tx, &scope, "project.created", id.as_str(), (None, Some(after))).await?;
    sleep::stir(app, &scope).await;
    get(app, ctx, workspace, id).await
}

/// A new project, as far as it is judged by the rows that are there.
struct Wish<'a> {
    id: &'a ProjectId,
    name: &'a ProjectName,
    quota: &'a QuotaRequest,
    parent: Option<&'a ProjectId>,
}

/// What a new project gets, if it can be made.
async fn share(tx: &Tx, scope: &WorkspaceScope, wish: &Wish<'_>, used: &Used, now: Timestamp) -> Result<Amounts> {
    let Wish { id, name, quota, parent } = *wish;
    let plan = plan_of(tx, scope).await?;
    let count = projects::count_living(tx, scope).await?;
    if count >= u64::from(plan.limits.projects) {
        return Err(Error::LimitReached(format!(
            "the plan {} allows {} projects in a workspace and {count} exist; delete one, or let an admin of the organization \
             choose a larger plan",
            plan.id, plan.limits.projects
        )));
    }
    let living = living(tx, scope).await?;
    if let Some(parent) = parent {
        moving::check_parent(tx, scope, &living, parent, now).await?;
    }
    let mut ledger = quota::ledger(&plan.limits.amounts, &living);
    let shares = ledger.clone();
    let giver = Giver::new(&plan, &living, &shares, parent);
    let limits = quota.amounts(&giver.default_share(&plan, &used.of(parent)), &giver)?;
    quota.check_not_empty(&limits, &giver)?;
    let reserved = ledger.reserve(id.clone(), parent.cloned(), limits.clone());
    reserved.map_err(|refusal| quota::refused(refusal, &plan, &living))?;
    if living.iter().any(|project| project.name == *name) {
        return Err(name_taken(name));
    }
    used.check(&shares, &ledger, id)?;
    Ok(limits)
}

fn name_taken(name: &ProjectName) -> Error {
    Error::conflict("name_taken", format!("the workspace already has a project called {name}"))
}

/// Gives a project another share, place, labels, Pod Security level or network. Where it is moved to, the roles given there
/// hold in it from then on, and those given where it was no more.
pub async fn update(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    id: &ProjectId,
    changes: ProjectChanges,
) -> Result<ProjectDetails> {
    let ProjectChanges { quota, parent, labels: given, pod_security, network } = changes;
    let given = given.map(labels).transpose()?;
    let action = match parent {
        // Whoever was given a role there has it here, too.
        Some(Some(_)) => WorkspaceAction::GiveAccess,
        Some(None) | None => WorkspaceAction::ManageProjects,
    };
    // Nobody wakes the workspace and has it asked for a change that they may not make.
    let scope = authz::workspace(&app.store, ctx, workspace, action).await?;
    let used = Used::before_update(app, &scope, id, &quota, parent.as_ref()).await?;
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace(&tx, ctx, workspace, action).await?;
    let before = projects::get(&tx, &scope, id).await?.ok_or(Error::NotFound("project"))?;
    let plan = plan_of(&tx, &scope).await?;
    if !is_wanted(&before) {
        return Err(Error::conflict("not_ready", format!("the project {} is {}", before.name, before.phase)));
    }
    let living = living(&tx, &scope).await?;
    let mut after = before.clone();
    after.parent_id = parent.unwrap_or(after.parent_id);
    after.labels = given.unwrap_or(after.labels);
    after.pod_security = pod_security.unwrap_or(after.pod_security);
    after.network = network.unwrap_or(after.network);
    let moved = after.parent_id != before.parent_id;
    if moved {
        moving::check_move(&tx, &scope, &living, id, after.parent_id.as_ref(), ctx.now).await?;
    }
    let mut ledger = quota::ledger(&plan.limits.amounts, &living);
    let shares = ledger.clone();
    after.limits = quota.amounts(&before.limits, &Giver::new(&plan, &living, &ledger, after.parent_id.as_ref()))?;
    // As small as it is on the way: it need not fit in both places with more than it has in one of them.
    let edited = ledger
        .resize(id, after.limits.at_most(&before.limits))
        .and_then(|()| ledger.relocate(id, after.parent_id.clone()))
        .and_then(|()| ledger.resize(id, after.limits.clone()));
    edited.map_err(|refusal| quota::refused(refusal, &plan, &living))?;
    used.check(&shares, &ledger, id)?;
    if after == before {
        tx.rollback().await?;
        return get(app, ctx, workspace, id).await;
    }
    let change = ProjectChange {
        limits: after.limits.clone(),
        parent_id: after.parent_id.clone(),
        labels: after.labels.clone(),
        pod_security: after.pod_security,
        network: after.network,
    };
    if !projects::update(&tx, &scope, id, &change).await? {
        return Err(Error::NotFound("project"));
    }
    if moved {
        workspaces::note_move(&tx, &scope, ctx.now).await?;
    }
    let said = (Some(told(&before)), Some(told(&after)));
    let action = if moved { "project.moved" } else { "project.updated" };
    follow::commit(app, ctx, tx, &scope, action, id.as_str(), said).await?;
    if moved {
        // Roles that were given where it stood are taken away in it: whatever is open ends.
        app.bell.ring(members::topic(workspace));
    }
    sleep::stir(app, &scope).await;
    get(app, ctx, workspace, id).await
}

/// What the audit log tells of a project.
fn told(project: &Project) -> Value {
    let Project { name, limits, parent_id, labels, pod_security, network, .. } = project;
    json!({
        "name": name, "limits": limits, "parent": parent_id, "labels": labels, "pod_security": pod_security,
        "network": network,
    })
}

/// Each of these with what is left of its share.
async fn with_own(db: &impl Db, scope: &WorkspaceScope, rows: Vec<Project>) -> Result<Vec<ProjectDetails>> {
    // What the whole is does not matter for what is left of a part.
    let ledger = quota::ledger(&Amounts::NONE, &living(db, scope).await?);
    let details = |row: Project| ProjectDetails { own: ledger.left(Some(&row.id)), row };
    Ok(rows.into_iter().map(details).collect())
}

/// One project.
pub async fn get(app: &App, ctx: &OpContext, workspace: &WorkspaceId, id: &ProjectId) -> Result<ProjectDetails> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    let row = projects::get(&app.store, &scope, id).await?.ok_or(Error::NotFound("project"))?;
    with_own(&app.store, &scope, vec![row]).await?.pop().ok_or(Error::NotFound("project"))
}

/// Living projects of a workspace, by id; up to `limit` after `after`.
pub async fn list(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    after: Option<&ProjectId>,
    limit: u64,
) -> Result<Vec<ProjectDetails>> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    let rows = projects::list(&app.store, &scope, after, limit).await?;
    with_own(&app.store, &scope, rows).await
}

/// Which projects stand in the way of a deletion. Those that are leaving already are only to be waited for.
fn standing_below(living: &[Project], id: &ProjectId) -> String {
    let below: Vec<&Project> = living.iter().filter(|project| project.parent_id.as_ref() == Some(id)).collect();
    let names: Vec<&str> = below.iter().map(|project| project.name.as_str()).collect();
    let first = match below.iter().any(|project| is_wanted(project)) {
        true => "delete them first",
        false => "they are being deleted, wait until they are gone",
    };
    format!("projects stand below it: {}; {first}", some_of(&names))
}

/// The first of these names, and how many others there are.
fn some_of(names: &[&str]) -> String {
    match names.split_at_checked(MOST_NAMED) {
        Some((first, others)) if !others.is_empty() => format!("{} and {} more", first.join(", "), others.len()),
        _ => names.join(", "),
    }
}

/// Asks for a project to be removed with everything in it, the roles made and given there included. Asking twice changes
/// nothing; refused while projects stand below it.
pub async fn delete(app: &App, ctx: &OpContext, workspace: &WorkspaceId, id: &ProjectId) -> Result<ProjectDetails> {
    let tx = app.store.begin().await?;
    // Locked, so that nobody puts a project below it meanwhile.
    let scope = authz::locked_workspace(&tx, ctx, workspace, WorkspaceAction::ManageProjects).await?;
    let project = projects::get(&tx, &scope, id).await?.ok_or(Error::NotFound("project"))?;
    let below = projects::count_below(&tx, &scope, id).await?;
    if below > 0 && is_wanted(&project) {
        return Err(Error::conflict("project_in_use", standing_below(&living(&tx, &scope).await?, id)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_projects_five_are_named() {
        assert_eq!(some_of(&["a"]), "a");
        assert_eq!(some_of(&["a", "b", "c", "d", "e"]), "a, b, c, d, e");
        assert_eq!(some_of(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
