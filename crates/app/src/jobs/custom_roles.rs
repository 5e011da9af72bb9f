//! Making the custom roles that were asked for, each with the rights of whoever asked.

use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::projects::Project;
use hexabase_backends::store::roles::{self, Role};
use hexabase_backends::store::workspaces::Workspace;
use hexabase_core::names::ProjectName;
use hexabase_core::phases::{ProjectPhase, WorkspaceStep};
use hexabase_core::roles::RolePhase;
use hexabase_reconcile::{Observed, ReconcileError, RolePlace, TenantEndpoint, TenantUser};
use serde_json::json;

use crate::context::{App, Happening};
use crate::error::{Error, Result};
use crate::tenant;

/// A custom role that is still to be made.
pub(super) struct Pending {
    pub(super) role: Role,
    /// The project it belongs to and those below, into which it is carried; none for one of the whole workspace.
    pub(super) places: Vec<Project>,
}

/// Tries each pending role once; says whether anything came of it. A workspace that does not answer leaves them pending.
pub(super) async fn settle(
    app: &App,
    claim: &Claim,
    row: &Workspace,
    observed: &Observed,
    pending: &[Pending],
) -> Result<bool> {
    let Some(at) = &observed.tenant else { return Ok(false) };
    let mut settled = false;
    for wanted in pending.iter().filter(|wanted| is_cleared(observed, wanted)) {
        let role = &wanted.role;
        let Some(verdict) = make(app, row, at, wanted).await? else { continue };
        let tx = app.store.begin().await?;
        jobs::hold(&tx, claim).await?;
        let (phase, noted) = match &verdict {
            Ok(()) => (RolePhase::Ready, roles::accept(&tx, role).await?),
            Err(message) => (RolePhase::Refused, roles::refuse(&tx, role, message).await?),
        };
        // Otherwise somebody has asked for something else meanwhile, which is tried with the next run.
        if noted {
            let happening = Happening {
                organization: &row.organization_id,
                workspace: Some(&row.id),
                kind: "role.phase",
                subject: role.id.as_str(),
                data: json!({ "role": role.id, "phase": phase, "message": verdict.err() }),
            };
            app.record(&tx, happening)?;
        }
        tx.commit().await?;
        settled = true;
    }
    Ok(settled)
}

/// Whether what stood under the role's name is as the platform wants it, or gone. Kubernetes does not ask what somebody may
/// who applies a role that is there already, word for word.
fn is_cleared(observed: &Observed, wanted: &Pending) -> bool {
    match wanted.role.project_id {
        None => observed.has_done(WorkspaceStep::Access),
        Some(_) => wanted.places.iter().all(|place| {
            let is_ready = |(id, phase): &(_, ProjectPhase)| *id == place.id && *phase == ProjectPhase::Ready;
            observed.projects.iter().any(is_ready)
        }),
    }
}

/// Makes the role; the sentence of whoever refused it, or nothing when nobody answered.
async fn make(app: &App, row: &Workspace, at: &TenantEndpoint, wanted: &Pending) -> Result<Option<Result<(), String>>> {
    let Pending { role, places } = wanted;
    let names: Vec<&ProjectName> = places.iter().map(|project| &project.name).collect();
    let place = match (&role.project_id, names.is_empty()) {
        (None, _) => RolePlace::Workspace,
        (Some(_), false) => RolePlace::Projects(&names),
        (Some(_), true) => return Ok(Some(Err("the project is gone".to_owned()))),
    };
    let address = format!("{}:{}", at.host, at.port);
    let user = match tenant::as_person(app, &row.id, &role.changed_by, &address, &at.ca_pem).await {
        Ok(user) => user,
        Err(Error::Forbidden(_) | Error::NotFound(_)) => {
            return Ok(Some(Err("whoever asked for it is no member of the workspace any more".to_owned())));
        }
        Err(error) => return Err(error),
    };
    match apply(&user, place, role).await {
        Ok(()) => Ok(Some(Ok(()))),
        // These are about the moment, not about the rules.
        Err(ReconcileError::Refused { message, code, .. }) if ![404, 409].contains(&code) => Ok(Some(Err(message))),
        Err(error) => {
            tracing::warn!(error = %error, role.id = %role.id, "a custom role could not be made; tried again");
            Ok(None)
        }
    }
}

/// Makes the role nowhere unless it may be made everywhere.
async fn apply(user: &TenantUser, place: RolePlace<'_>, role: &Role) -> Result<(), ReconcileError> {
    user.try_role(place, &role.name, &role.rules).await?;
    user.apply_role(place, &role.name, &role.rules).await
}

#[cfg(test)]
mod tests;
