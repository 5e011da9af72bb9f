//! A workspace's own API server, asked as the person who asks us: with a token of that person, made for this and good for a
//! minute or two. Nothing here may be called inside a transaction.

use hexabase_backends::store::workspaces::{self, Desired, WorkspaceScope};
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_oidc::claims::WorkspaceSignIn;
use hexabase_reconcile::{ReconcileError, TenantUser};

use crate::context::App;
use crate::error::{Error, Result};
use crate::issuer::{WorkspaceBearer, mint};
use crate::workspaces::endpoint_of;
use crate::{leaving, sleep};

/// Seconds such a token lives.
const LIFE_SECONDS: i64 = 60;
/// Seconds one lives with which ServiceAccounts are made anew: longer than that can take, since what was deleted has to be
/// made again with it.
const RENEWAL_SECONDS: i64 = 120;

/// The workspace's API server as the scope's person sees it. One that sleeps is woken, and waited for.
///
/// # Errors
/// [`Error::Forbidden`] for somebody who is no member, whom the workspace does not know; [`Error::Conflict`] for a workspace that is
/// leaving; [`Error::Unavailable`] while it is not ready.
pub(crate) async fn as_caller(app: &App, scope: &WorkspaceScope) -> Result<TenantUser> {
    as_caller_for(app, scope, LIFE_SECONDS).await
}

/// The same for a handful of ServiceAccounts that are about to be made anew, all at the same time.
///
/// # Errors
/// As for [`as_caller`].
pub(crate) async fn to_renew(app: &App, scope: &WorkspaceScope) -> Result<TenantUser> {
    as_caller_for(app, scope, RENEWAL_SECONDS).await
}

async fn as_caller_for(app: &App, scope: &WorkspaceScope, seconds: i64) -> Result<TenantUser> {
    if !scope.is_member() {
        let detail = "this is judged by your own rights inside the workspace, and you are not a member of it; \
                      add yourself to its members first";
        return Err(Error::Forbidden(detail.to_owned()));
    }
    let row = workspaces::get(&app.store, scope).await?.ok_or(Error::NotFound("workspace"))?;
    if row.desired == Desired::Absent {
        return Err(leaving::refused(&row));
    }
    sleep::note_use(app, &row).await;
    let row = sleep::awake(app, row, scope.user()).await?;
    let (endpoint, ca_pem) = endpoint_of(row)?;
    connect(app, (scope.workspace(), scope.user()), (&endpoint, &ca_pem), seconds).await
}

/// The same for a person of whom a job knows, at an API server that answers.
pub(crate) async fn as_person(
    app: &App,
    workspace: &WorkspaceId,
    user: &UserId,
    endpoint: &str,
    ca_pem: &str,
) -> Result<TenantUser> {
    connect(app, (workspace, user), (endpoint, ca_pem), LIFE_SECONDS).await
}

async fn connect(
    app: &App,
    (workspace, user): (&WorkspaceId, &UserId),
    (endpoint, ca_pem): (&str, &str),
    seconds: i64,
) -> Result<TenantUser> {
    let bearer = WorkspaceBearer { workspace, user, basis: None, client: None, sign_in: WorkspaceSignIn::default() };
    let token = mint(app, bearer, seconds).await?;
    TenantUser::connect(endpoint, ca_pem, &token).await.map_err(Error::internal)
}

/// What a refusal or silence of the workspace's API server is to the caller.
pub(crate) fn refusal(error: ReconcileError) -> Error {
    match error {
        ReconcileError::Refused { code: 403, message, .. } => Error::Forbidden(message),
        ReconcileError::Refused { code: 404, message, .. } => Error::conflict("not_ready", message),
        ReconcileError::Refused { code: 409, message, .. } => {
            Error::Unavailable(format!("somebody changed it at the same moment, try again: {message}"))
        }
        ReconcileError::Refused { message, .. } => Error::invalid("rules", message),
        ReconcileError::Unreachable { .. } => {
            tracing::warn!(error = %error, "a workspace's API server does not answer");
            Error::Unavailable("the workspace's API server does not answer; try again in a moment".to_owned())
        }
        error => Error::internal(error),
    }
}
