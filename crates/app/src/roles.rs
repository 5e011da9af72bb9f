//! Custom roles: of the whole workspace, or of one project and those below it. What a role may hold is decided by the
//! workspace's own Kubernetes, as the person who asks: nobody gives away what they lack.

use hexabase_backends::store::projects as project_rows;
use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::roles::{self, NewRole, Role};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Db, StoreError, Tx, groups};
use hexabase_core::ids::{ProjectId, RoleId, WorkspaceId};
use hexabase_core::names::{ProjectName, RoleName};
use hexabase_core::phases::ProjectPhase;
use hexabase_core::roles::{
    self as rules, ClusterRoleRef, MAX_CUSTOM_ROLES, MAX_CUSTOM_ROLES_OF_PROJECT, ProjectRoleRef, RoleScope, Rule,
};
use hexabase_reconcile::{Question, RolePlace};
use serde_json::{Value, json};

use crate::authz::{self, While, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::jobs::follow;
use crate::projects::{self, Project};
use crate::tenant;

/// Whose roles are meant.
#[derive(Debug, Clone)]
pub struct Place {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// One project of it; the whole workspace when absent.
    pub project: Option<ProjectId>,
}

/// The name by which a custom role is known in the workspace.
pub fn kubernetes_name(role: &Role) -> String {
    reference(&role.name, role.project_id.is_some())
}

fn reference(name: &RoleName, in_project: bool) -> String {
    match in_project {
        true => ProjectRoleRef::Custom(name.clone()).to_string(),
        false => ClusterRoleRef::Custom(name.clone()).to_string(),
    }
}

/// The project of a place, which has to be one of the workspace.
async fn project(db: &impl Db, scope: &WorkspaceScope, place: &Place) -> Result<Option<Project>> {
    let Some(id) = &place.project else { return Ok(None) };
    let found = project_rows::get(db, scope, id).await?;
    found.filter(|project| project.phase != ProjectPhase::Deleted).map(Some).ok_or(Error::NotFound("project"))
}

/// The custom roles of the workspace, or of the project and of those above it, by id.
pub async fn list(app: &App, ctx: &OpContext, place: &Place) -> Result<Vec<Role>> {
    let scope = authz::workspace(&app.store, ctx, &place.workspace, WorkspaceAction::View).await?;
    project(&app.store, &scope, place).await?;
    let living = projects::living(&app.store, &scope).await?;
    let chain = place.project.as_ref().map(|id| projects::chain(&living, id));
    let here = |role: &Role| match (&role.project_id, &chain) {
        (None, None) => true,
        (Some(id), Some(chain)) => chain.iter().any(|project| project.id == *id),
        _ => false,
    };
    Ok(roles::list(&app.store, &scope).await?.into_iter().filter(here).collect())
}

/// One of them, if it belongs to the very place.
pub async fn get(app: &App, ctx: &OpContext, place: &Place, id: &RoleId) -> Result<Role> {
    let scope = authz::workspace(&app.store, ctx, &place.workspace, WorkspaceAction::View).await?;
    project(&app.store, &scope, place).await?;
    find(&app.store, &scope, place, id).await
}

async fn find(db: &impl Db, scope: &WorkspaceScope, place: &Place, id: &RoleId) -> Result<Role> {
    let found = roles::get(db, scope, id).await?;
    found.filter(|role| role.project_id == place.project).ok_or(Error::NotFound("role"))
}

/// Asks for a custom role. It holds when its phase is `ready`.
pub async fn create(app: &App, ctx: &OpContext, place: &Place, name: &str, rules: Vec<Rule>) -> Result<Role> {
    let name: RoleName = name.parse()?;
    let scope = authz::workspace(&app.store, ctx, &place.workspace, WorkspaceAction::MakeRoles).await?;
    let project = project(&app.store, &scope, place).await?;
    judge(app, &scope, project.as_ref(), &name, &rules).await?;

    let tx = app.store.begin().await?;
    let scope =
        authz::locked_workspace_while(&tx, ctx, &place.workspace, WorkspaceAction::MakeRoles, While::Living).await?;
    if roles::count(&tx, &scope).await? >= MAX_CUSTOM_ROLES {
        let detail = format!(
            "a workspace has at most {MAX_CUSTOM_ROLES} custom roles, which nobody can raise; delete one first"
        );
        return Err(Error::LimitReached(detail));
    }
    if let Some(own) = &place.project
        && roles::count_of_project(&tx, &scope, own).await? >= MAX_CUSTOM_ROLES_OF_PROJECT
    {
        let detail = format!(
            "a project has at most {MAX_CUSTOM_ROLES_OF_PROJECT} custom roles, which nobody can raise; delete one first"
        );
        return Err(Error::LimitReached(detail));
    }
    check_free(&tx, &scope, place, &name).await?;
    let new = NewRole { id: app.new_id()?, project_id: place.project.clone(), name, rules };
    roles::insert(&tx, &scope, &new, ctx.now).await.map_err(|error| match error {
        StoreError::NotUnique(_) => taken(&new.name),
        error => error.into(),
    })?;
    let after = told(&new.name, project.as_ref(), &new.rules);
    follow::commit(app, ctx, tx, &scope, "role.created", new.id.as_str(), (None, Some(after))).await?;
    get(app, ctx, place, &new.id).await
}

fn taken(name: &RoleName) -> Error {
    Error::conflict("name_taken", format!("there is already a custom role called {name} here, or above or below"))
}

/// A role of a project is carried into those below it: none there, or above, may have its name.
async fn check_free(tx: &Tx, scope: &WorkspaceScope, place: &Place, name: &RoleName) -> Result<()> {
    let Some(here) = &place.project else { return Ok(()) };
    let living = projects::living(tx, scope).await?;
    let above = |id: &ProjectId, other: &ProjectId| projects::chain(&living, id).iter().any(|one| one.id == *other);
    if !projects::chain(&living, here).first().is_some_and(|project| projects::is_wanted(project)) {
        return Err(Error::NotFound("project"));
    }
    let clashes = roles::list(tx, scope).await?.into_iter().any(|role| {
        role.name == *name && role.project_id.is_some_and(|there| above(here, &there) || above(&there, here))
    });
    if clashes { Err(taken(name)) } else { Ok(()) }
}

/// Lets the rules be judged: by us, by what the workspace serves, and by its Kubernetes as the caller.
async fn judge(
    app: &App,
    scope: &WorkspaceScope,
    project: Option<&Project>,
    name: &RoleName,
    rules: &[Rule],
) -> Result<()> {
    let invalid = |cause: rules::InvalidRules| Error::invalid("rules", cause.to_string());
    rules::check(rules).map_err(invalid)?;
    let user = tenant::as_caller(app, scope).await?;
    let living = projects::living(&app.store, scope).await?;
    let places = project.map(|project| projects::within(&living, &project.id)).unwrap_or_default();
    check_ready(project, &places)?;
    let names: Vec<&ProjectName> = places.iter().map(|project| &project.name).collect();
    let (kind, at) = match project {
        Some(_) => (RoleScope::Project, RolePlace::Projects(&names)),
        None => (RoleScope::Workspace, RolePlace::Workspace),
    };
    let served = user.resources().await.map_err(tenant::refusal)?;
    rules::check_served(rules, kind, &served).map_err(invalid)?;
    user.try_role(at, name, rules).await.map_err(tenant::refusal)
}

/// A role of a project is judged wherever it is carried: nobody reaches further down by it than by what they hold there.
fn check_ready(project: Option<&Project>, places: &[&Project]) -> Result<()> {
    let own = project.filter(|project| project.phase != ProjectPhase::Ready);
    let Some(waits) = own.or_else(|| places.iter().copied().find(|place| place.phase != ProjectPhase::Ready)) else {
        return Ok(());
    };
    let below = if own.is_some() { "" } else { ", which stands below," };
    let detail = format!("the project {}{below} is {}; try again when it is ready", waits.name, waits.phase);
    Err(Error::conflict("not_ready", detail))
}

fn told(name: &RoleName, project: Option<&Project>, rules: &[Rule]) -> Value {
    json!({ "name": name, "project": project.map(|project| &project.name), "rules": rules })
}

/// Removes the custom roles of a project, which is going, each with its line in the audit log.
pub(crate) async fn delete_of_project(
    app: &App,
    ctx: &OpContext,
    tx: &Tx,
    scope: &WorkspaceScope,
    project: &Project,
) -> Result<()> {
    for role in roles::take_of_project(tx, scope, &project.id).await? {
        let before = told(&role.name, Some(project), &role.rules);
        app.change_in(tx, ctx, scope, "role.deleted", role.id.as_str(), (Some(before), None))?;
    }
    Ok(())
}

/// Asks for other rules. Until Kubernetes has accepted them, those before hold.
pub async fn update(app: &App, ctx: &OpContext, place: &Place, id: &RoleId, rules: Vec<Rule>) -> Result<Role> {
    let scope = authz::workspace(&app.store, ctx, &place.workspace, WorkspaceAction::MakeRoles).await?;
    let project = project(&app.store, &scope, place).await?;
    let role = find(&app.store, &scope, place, id).await?;
    judge(app, &scope, project.as_ref(), &role.name, &rules).await?;

    let tx = app.store.begin().await?;
    let scope =
        authz::locked_workspace_while(&tx, ctx, &place.workspace, WorkspaceAction::MakeRoles, While::Living).await?;
    let before = find(&tx, &scope, place, id).await?;
    if before.rules == rules && before.accepted.as_ref() == Some(&rules) {
        tx.rollback().await?;
        return Ok(before);
    }
    roles::set_rules(&tx, &scope, id, &rules, ctx.now).await?;
    let shown = (told(&before.name, project.as_ref(), &before.rules), told(&before.name, project.as_ref(), &rules));
    follow::commit(app, ctx, tx, &scope, "role.updated", id.as_str(), (Some(shown.0), Some(shown.1))).await?;
    get(app, ctx, place, id).await
}

/// Removes a custom role, which must be given to nobody, if the caller may remove it in Kubernetes.
pub async fn delete(app: &App, ctx: &OpContext, place: &Place, id: &RoleId) -> Result<()> {
    let scope = authz::workspace(&app.store, ctx, &place.workspace, WorkspaceAction::MakeRoles).await?;
    let project = project(&app.store, &scope, place).await?;
    let role = find(&app.store, &scope, place, id).await?;
    let name = kubernetes_name(&role);
    let question = Question {
        verb: "delete",
        api_group: "rbac.authorization.k8s.io",
        resource: if project.is_some() { "roles" } else { "clusterroles" },
        namespace: project.as_ref().map(|project| project.name.as_str()),
        name: Some(&name),
    };
    let verdict = tenant::as_caller(app, &scope).await?.may_i(&question).await.map_err(tenant::refusal)?;
    if !verdict.allowed {
        let detail = format!("inside the workspace you may not delete {} {name}", question.resource);
        return Err(Error::Forbidden(detail));
    }

    let tx = app.store.begin().await?;
    let scope =
        authz::locked_workspace_while(&tx, ctx, &place.workspace, WorkspaceAction::MakeRoles, While::Living).await?;
    let role = find(&tx, &scope, place, id).await?;
    check_unused(&tx, &scope, &role, ctx).await?;
    roles::delete(&tx, &scope, id).await?;
    let before = told(&role.name, project.as_ref(), &role.rules);
    follow::commit(app, ctx, tx, &scope, "role.deleted", id.as_str(), (Some(before), None)).await
}

/// Refuses with the list of uses. A role of a project can be given in it and in those below it.
async fn check_unused(tx: &Tx, scope: &WorkspaceScope, role: &Role, ctx: &OpContext) -> Result<()> {
    let name = kubernetes_name(role);
    let living = projects::living(tx, scope).await?;
    let reaches = |target: &Option<ProjectId>| match (&role.project_id, target) {
        (None, None) => true,
        (Some(own), Some(target)) => projects::chain(&living, target).iter().any(|project| project.id == *own),
        _ => false,
    };
    let nodes = groups::nodes(tx, scope).await?;
    let given = role_assignments::all(tx, scope).await?;
    let uses = given.iter().filter(|given| given.role == name && given.holds(ctx.now) && reaches(&given.project_id));
    let place = |given: &RoleAssignment| living.iter().find(|project| given.project_id.as_ref() == Some(&project.id));
    let holder = |given: &RoleAssignment| {
        let group = &nodes.iter().find(|node| node.id == given.group_id)?.name;
        Some(match place(given) {
            Some(project) => format!("{group} in project {}", project.name),
            None => group.to_string(),
        })
    };
    let holders: Vec<String> = uses.filter_map(holder).collect();
    if holders.is_empty() {
        return Ok(());
    }
    Err(Error::conflict("role_in_use", format!("it is given to {}; take it away first", holders.join(", "))))
}
