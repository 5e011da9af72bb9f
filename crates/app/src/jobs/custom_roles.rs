//! Making the custom roles that were asked for, each with the rights of whoever asked.

use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::projects::Project;
use hexabase_backends::store::roles::{self, Role};
use hexabase_backends::store::workspaces::Workspace;
use hexabase_core::roles::RolePhase;
use hexabase_reconcile::{ReconcileError, RolePlace, TenantEndpoint};
use serde_json::json;

use crate::context::{App, Happening};
use crate::error::{Error, Result};
use crate::tenant;

/// Tries each pending role once; says whether anything came of it. A workspace that does not answer leaves them pending.
pub(super) async fn settle(
    app: &App,
    claim: &Claim,
    row: &Workspace,
    at: &TenantEndpoint,
    pending: &[(Role, Option<Project>)],
) -> Result<bool> {
    let mut settled = false;
    for (role, project) in pending {
        let Some(verdict) = make(app, row, at, role, project.as_ref()).await? else { continue };
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

/// Makes the role; the sentence of whoever refused it, or nothing when nobody answered.
async fn make(
    app: &App,
    row: &Workspace,
    at: &TenantEndpoint,
    role: &Role,
    project: Option<&Project>,
) -> Result<Option<Result<(), String>>> {
    let place = match (&role.project_id, project) {
        (None, _) => RolePlace::Workspace,
        (Some(_), Some(project)) => RolePlace::Project(&project.name),
        (Some(_), None) => return Ok(Some(Err("the project is gone".to_owned()))),
    };
    let address = format!("{}:{}", at.host, at.port);
    let user = match tenant::as_person(app, &row.id, &role.changed_by, &address, &at.ca_pem).await {
        Ok(user) => user,
        Err(Error::Forbidden(_) | Error::NotFound(_)) => {
            return Ok(Some(Err("whoever asked for it is no member of the workspace any more".to_owned())));
        }
        Err(error) => return Err(error),
    };
    match user.apply_role(place, &role.name, &role.rules).await {
        Ok(()) => Ok(Some(Ok(()))),
        Err(ReconcileError::Refused { message, .. }) => Ok(Some(Err(message))),
        Err(error) => {
            tracing::warn!(error = %error, role.id = %role.id, "a custom role could not be made; tried again");
            Ok(None)
        }
    }
}
