//! Whether a project can stand below another one: roles that are given and made further up hold in it too.

use hexabase_backends::store::Tx;
use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::roles::{self, Role};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_core::ids::ProjectId;
use hexabase_core::names::RoleName;
use hexabase_core::roles::ProjectRoleRef;
use hexabase_core::time::Timestamp;

use super::{MAX_DEPTH, Project, chain, is_below, is_wanted};
use crate::error::{Error, Result};
use crate::role_assignments::{bindings, check_bindings};

/// Refuses a parent that is none, or is too deep already, or from which too much would hold in the new project too.
pub(super) async fn check_parent(
    tx: &Tx,
    scope: &WorkspaceScope,
    living: &[Project],
    parent: &ProjectId,
    now: Timestamp,
) -> Result<()> {
    let chain = chain(living, parent);
    if !chain.first().is_some_and(|project| is_wanted(project)) {
        return Err(no_such_parent());
    }
    if chain.len() >= MAX_DEPTH {
        return Err(too_deep());
    }
    let given = holding(tx, scope, now).await?;
    let inherits = |given: &RoleAssignment| chain.iter().any(|above| given.project_id.as_ref() == Some(&above.id));
    let more = given.iter().filter(|given| inherits(given)).count();
    check_bindings(bindings(&given, living) + more)
}

/// Refuses another place for a project, with all below it: one that is none or too deep, or in which roles would clash, or lose
/// their rules, or come to too many bindings.
pub(super) async fn check_move(
    tx: &Tx,
    scope: &WorkspaceScope,
    living: &[Project],
    id: &ProjectId,
    parent: Option<&ProjectId>,
    now: Timestamp,
) -> Result<()> {
    let above = parent.map(|parent| chain(living, parent)).unwrap_or_default();
    if parent.is_some() && !above.first().is_some_and(|project| is_wanted(project)) {
        return Err(no_such_parent());
    }
    if above.iter().any(|project| project.id == *id) {
        return Err(Error::invalid("parent", "a project cannot stand below itself"));
    }
    let moved: Vec<&Project> = living.iter().filter(|project| is_below(living, project, id)).collect();
    let depth = |project: &&Project| chain(living, &project.id).iter().take_while(|above| above.id != *id).count() + 1;
    if above.len() + moved.iter().map(depth).max().unwrap_or_default() > MAX_DEPTH {
        return Err(too_deep());
    }
    let given = holding(tx, scope, now).await?;
    check_roles(&roles::list(tx, scope).await?, &given, living, &moved, &above)?;
    let mut after = living.to_vec();
    for project in after.iter_mut().filter(|project| project.id == *id) {
        project.parent_id = parent.cloned();
    }
    check_bindings(bindings(&given, &after))
}

fn check_roles(
    all: &[Role],
    given: &[RoleAssignment],
    living: &[Project],
    moved: &[&Project],
    above: &[&Project],
) -> Result<()> {
    let is_of = |projects: &[&Project], id: Option<&ProjectId>| projects.iter().any(|project| Some(&project.id) == id);
    let of = |projects: &[&Project]| {
        all.iter().filter(|role| is_of(projects, role.project_id.as_ref())).collect::<Vec<&Role>>()
    };
    let (own, inherited) = (of(moved), of(above));
    if let Some(role) = own.iter().find(|role| inherited.iter().any(|other| other.name == role.name)) {
        let detail = format!("there and here is a custom role called {}; delete one of them first", role.name);
        return Err(Error::conflict("name_taken", detail));
    }
    // By the same name another role may be known there, with other rules: it is the one that is meant here that has to be.
    let meant = |role: &RoleAssignment, name: &RoleName| {
        let here = role.project_id.as_ref().map(|id| chain(living, id)).unwrap_or_default();
        of(here.as_slice()).into_iter().find(|known| known.name == *name)
    };
    let holds = |role: &RoleAssignment| match role.role.parse() {
        Ok(ProjectRoleRef::Custom(name)) => {
            meant(role, &name).is_some_and(|role| own.iter().chain(&inherited).any(|known| known.id == role.id))
        }
        Ok(ProjectRoleRef::Preset(_)) | Err(_) => true,
    };
    match given.iter().find(|given| is_of(moved, given.project_id.as_ref()) && !holds(given)) {
        Some(given) => {
            let detail = format!(
                "the role {} of a project above it is given in it, or below it, and would not hold there any more; take it \
                 away first",
                given.role
            );
            Err(Error::conflict("role_in_use", detail))
        }
        None => Ok(()),
    }
}

async fn holding(tx: &Tx, scope: &WorkspaceScope, now: Timestamp) -> Result<Vec<RoleAssignment>> {
    let mut given = role_assignments::all(tx, scope).await?;
    given.retain(|given| given.holds(now));
    Ok(given)
}

fn no_such_parent() -> Error {
    Error::invalid("parent", "there is no such project in this workspace")
}

fn too_deep() -> Error {
    Error::LimitReached(format!(
        "projects stand at most {MAX_DEPTH} deep, which nobody can raise; choose a project further up"
    ))
}
