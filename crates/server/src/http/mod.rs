//! HTTP: routes in one table, middleware in one order, one file per noun.
//!
//! ```text
//! request id ► panic guard ► security headers ─┬─ /api/v1: body ≤ 1 MiB ► who is asking ► idempotency ► handler
//!                                              ├─ /oidc, /auth, /sign-in, /device, /invitation: pages and protocols: form ≤ 64 KiB, ≤ 60 s
//!                                              └─ /k8s: the gateway, which has its own limits
//! ```

mod access;
mod account;
mod audit;
pub mod caller;
mod client_address;
mod device;
mod error;
mod events;
mod extract;
mod groups;
mod held;
pub mod idempotency;
mod identities;
mod inside;
mod invitation_pages;
mod invitations;
mod members;
mod nodes;
mod oidc;
mod organization_members;
mod organizations;
mod paging;
mod plans;
mod project_roles;
mod projects;
mod quota;
pub mod request_id;
mod role_assignments;
mod roles;
mod service_account_tokens;
mod service_accounts;
mod sessions;
mod sign_in;
mod sleep;
mod to_the_end;
mod tokens;
mod users;
mod workspaces;

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use hexabase_app::App;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::gateway::{self, GatewaySettings};
use crate::k8s::TokenAuthority;
use crate::state::ServerState;

pub use error::{ApiError, ApiResult};
pub use oidc::cluster_router;

/// A page is answered after so long, whoever asks and however its body is spread: most are for those who are not signed in.
const PAGE_TIME: Duration = Duration::from_secs(60);
/// Longest body of a page or an issuer: it is held before it is known who sends it, and one connection sends many at once. The
/// longest forms are those with a token, of 16 KiB at most, and a person's decision, which holds the query of an address: HTTP/2
/// takes 16 KiB of that, which its escapes make three times as long. `Params` reads no longer one either.
const MAX_FORM: usize = 64 << 10;

#[derive(OpenApi)]
#[openapi(
    info(title = "Hexabase AI", description = "Organizations, workspaces (virtual Kubernetes clusters) and projects.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")),
    servers((url = "/api/v1"))
)]
struct Document;

/// The API's routes and their description.
fn api() -> OpenApiRouter<ServerState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(users::me))
        .routes(routes!(identities::list))
        .routes(routes!(identities::unlink))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::end))
        .routes(routes!(sessions::end_others))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(plans::list))
        .routes(routes!(plans::estimate))
        .routes(routes!(plans::change))
        .routes(routes!(quota::get))
        .routes(routes!(quota::of_organization))
        .routes(routes!(organizations::list, organizations::create))
        .routes(routes!(organizations::get, organizations::update, organizations::delete))
        .routes(routes!(organizations::transfer))
        .routes(routes!(organization_members::list))
        .routes(routes!(organization_members::update, organization_members::remove))
        .routes(routes!(invitations::list, invitations::create))
        .routes(routes!(invitations::resend))
        .routes(routes!(invitations::revoke))
        .routes(routes!(invitations::accept))
        .routes(routes!(workspaces::list, workspaces::create))
        .routes(routes!(workspaces::list_mine))
        .routes(routes!(workspaces::get, workspaces::delete))
        .routes(routes!(workspaces::restore))
        .routes(routes!(workspaces::kubeconfig))
        .routes(routes!(sleep::sleep))
        .routes(routes!(sleep::wake))
        .routes(routes!(sleep::set_rule))
        .routes(routes!(nodes::get, nodes::set))
        .routes(routes!(members::list, members::add))
        .routes(routes!(members::remove))
        .routes(routes!(service_account_tokens::list))
        .routes(routes!(service_account_tokens::revoke))
        .routes(routes!(groups::list, groups::create))
        .routes(routes!(groups::get, groups::update, groups::delete))
        .routes(routes!(groups::list_members))
        .routes(routes!(groups::add_member, groups::remove_member))
        .routes(routes!(roles::list, roles::create))
        .routes(routes!(roles::get, roles::update, roles::delete))
        .routes(routes!(role_assignments::list, role_assignments::create))
        .routes(routes!(role_assignments::get, role_assignments::delete))
        .routes(routes!(access::explain))
        .routes(routes!(access::who_can))
        .routes(routes!(inside::list_pods))
        .routes(routes!(inside::get_log))
        .routes(routes!(inside::list_events))
        .routes(routes!(inside::get_usage))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::get, projects::update, projects::delete))
        .routes(routes!(project_roles::list, project_roles::create))
        .routes(routes!(project_roles::get, project_roles::update, project_roles::delete))
        .routes(routes!(service_accounts::list, service_accounts::create))
        .routes(routes!(service_accounts::get, service_accounts::delete))
        .routes(routes!(service_accounts::list_tokens, service_accounts::create_token))
        .routes(routes!(service_accounts::revoke_token))
        .routes(routes!(audit::list))
        .routes(routes!(audit::head))
        .routes(routes!(audit::export))
        .routes(routes!(audit::list_own))
        .routes(routes!(events::stream))
}

/// The OpenAPI 3.1 document, as committed in `docs/openapi.json`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    api().split_for_parts().1
}

/// Everything the main listener serves.
pub fn router(state: ServerState, gateway_settings: GatewaySettings) -> Router {
    let app = state.app.clone();
    let (api, document) = api().split_for_parts();
    let api = api
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(state.clone(), idempotency::layer))
        .layer(middleware::from_fn_with_state(app.clone(), caller::require))
        .layer(DefaultBodyLimit::max(extract::MAX_BODY))
        .layer(header("cache-control", "no-store"));
    let pages = Router::new()
        .merge(sign_in::router())
        .merge(account::router())
        .merge(device::router())
        .merge(invitation_pages::router())
        .merge(oidc::router());
    let pages = within(PAGE_TIME, pages).layer(DefaultBodyLimit::max(MAX_FORM));
    let gateway = gateway::router(TokenAuthority::new(app.clone()), gateway_settings);
    Router::new()
        .nest("/api/v1", api)
        .merge(pages)
        .route("/openapi.json", get(move || async move { Json(document) }))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .fallback(no_such_route)
        .with_state(state.clone())
        .layer(header("referrer-policy", "same-origin"))
        .merge(gateway)
        .layer(header("x-content-type-options", "nosniff"))
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn_with_state(state, request_id::layer))
}

/// Has requests to these pages end after so long. Neither for streams nor for what goes on after its answer has begun.
fn within<S: Clone + Send + Sync + 'static>(time: Duration, pages: Router<S>) -> Router<S> {
    pages.layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, time))
}

fn header(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
}

async fn ready(State(app): State<App>) -> impl IntoResponse {
    match hexabase_app::plans::list(&app).await {
        Ok(_) => (StatusCode::OK, "ready"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer"),
    }
}

async fn no_such_route() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no such address here; see /openapi.json")
}

async fn no_such_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address does not take that method")
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, Bytes};
    use axum::extract::Request;
    use axum::routing::post;
    use futures::stream;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_page_does_not_wait_for_a_body_that_does_not_end() {
        let drip = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let token = Router::<()>::new().route("/token", post(|body: String| async move { body }));
        let asked = |body: Body| Request::post("/token").body(body).unwrap();
        let pages = within(Duration::from_millis(50), token.clone());
        let refused = pages.oneshot(asked(Body::from_stream(drip))).await.unwrap();
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
        let answered = within(PAGE_TIME, token).oneshot(asked(Body::from("whole"))).await.unwrap();
        assert_eq!(answered.status(), StatusCode::OK);
    }
}
