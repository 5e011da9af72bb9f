//! `/workspaces/{workspace}/service-account-tokens`: tokens of Kubernetes' ServiceAccounts that people came by.

use axum::Json;
use axum::extract::{Path, State};
use hexabase_api::page::PageQuery;
use hexabase_api::service_account_tokens::{
    PodToRestart, ServiceAccountToken, ServiceAccountTokenFailure, ServiceAccountTokenQuery, ServiceAccountTokenRevoke,
    ServiceAccountTokens, ServiceAccountTokensRevoked,
};
use hexabase_app::App;
use hexabase_app::service_account_tokens::{self as tokens, Failure, Place, Revocation, Token};

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, Query, id, person};
use super::paging;
use super::to_the_end::to_the_end;
use crate::state::ServerState;

fn view(token: Token) -> ServiceAccountToken {
    let Token { kind, namespace, service_account, secret, first_created_at, last_created_at, gone } = token;
    ServiceAccountToken { kind, namespace, service_account, secret, first_created_at, last_created_at, gone }
}

fn failure(Failure { token, message }: Failure) -> ServiceAccountTokenFailure {
    ServiceAccountTokenFailure { token: view(token), message }
}

/// The tokens of ServiceAccounts that somebody came by inside the workspace: those that were asked for through its gateway,
/// and those in Secrets. Others' are told to members of `WSAdmins`; read with your own rights inside the workspace.
#[utoipa::path(get, path = "/workspaces/{workspace}/service-account-tokens", tag = "members",
    params(("workspace" = String, Path), ServiceAccountTokenQuery), responses((status = 200, body = ServiceAccountTokens)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(ServiceAccountTokenQuery { user }): Query<ServiceAccountTokenQuery>,
) -> ApiResult<Json<ServiceAccountTokens>> {
    let (workspace, user) = (id("workspace", &workspace)?, person(&user)?);
    let found = tokens::list(&app, &ctx, &workspace, &user).await?;
    let items = found.items.into_iter().map(view).collect();
    Ok(Json(ServiceAccountTokens { items, secrets_unread: found.secrets_unread }))
}

/// Ends tokens of ServiceAccounts that somebody came by, with your own rights inside the workspace: deletes Secrets, and
/// makes the ServiceAccounts anew, under the same names and with all they had, so that Kubernetes refuses every token of
/// before. What cannot be ended is told, and holds up nothing else. At most 60 Secrets and 6 ServiceAccounts with one request,
/// which is carried out to its end whether its client waits or not: go on with `next_cursor`.
#[utoipa::path(post, path = "/workspaces/{workspace}/service-account-tokens/revoke", tag = "members",
    params(("workspace" = String, Path)), request_body = ServiceAccountTokenRevoke,
    responses((status = 200, body = ServiceAccountTokensRevoked)))]
pub(super) async fn revoke(
    State(state): State<ServerState>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    JsonBody(body): JsonBody<ServiceAccountTokenRevoke>,
) -> ApiResult<Json<ServiceAccountTokensRevoked>> {
    let ServiceAccountTokenRevoke { user, namespace, service_account, cursor } = body;
    let (workspace, user) = (id("workspace", &workspace)?, person(&user)?);
    let after = paging::window::<Place>(&PageQuery { cursor, limit: None })?.after;
    let (app, wanted) = (state.app.clone(), Revocation { user, namespace, service_account, after });
    let revoked = to_the_end(&state, async move { tokens::revoke(&app, &ctx, &workspace, &wanted).await }).await??;
    let pods = revoked.pods.into_iter().map(|(namespace, name)| PodToRestart { namespace, name });
    Ok(Json(ServiceAccountTokensRevoked {
        ended: revoked.ended.into_iter().map(view).collect(),
        failed: revoked.failed.into_iter().map(failure).collect(),
        pods: pods.collect(),
        remaining: revoked.remaining as u64,
        next_cursor: revoked.next.map(|next| paging::cursor(&next.to_string())),
    }))
}
