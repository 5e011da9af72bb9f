//! The page of the signed-in person: who they are, what they sign in with, and linking and unlinking of that.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use axum_extra::extract::CookieJar;
use hexabase_app::sessions::Live;
use hexabase_app::{App, Error, OpContext, Origin, identities, users};
use hexabase_backends::store::identities::Identity;
use hexabase_backends::store::users::User;

use super::caller::same_origin;
use super::sign_in::{ReturnTo, begin, failure, live, renewed, sign_in_address, unknown_provider};
use crate::pages::{self, escape};
use crate::providers::Providers;
use crate::state::ServerState;

/// The routes.
pub(super) fn router() -> Router<ServerState> {
    Router::new()
        .route("/", get(home))
        .route("/auth/{provider}/link", post(link))
        .route("/account/identities/{identity}/unlink", post(unlink))
}

/// The signed-in person, as a use case wants to know them.
async fn person(app: &App, headers: &HeaderMap, origin: &Origin) -> Result<Option<OpContext>, Error> {
    Ok(live(app, headers, origin).await?.map(|live| context(app, live, origin)))
}

fn context(app: &App, live: Live, origin: &Origin) -> OpContext {
    let credential = live.credential();
    OpContext::of(live.user, credential, app.clock.now(), origin)
}

async fn home(State(state): State<ServerState>, Extension(origin): Extension<Origin>, headers: HeaderMap) -> Response {
    let live = match live(&state.app, &headers, &origin).await {
        Ok(Some(live)) => live,
        Ok(None) => return Redirect::to("/sign-in").into_response(),
        Err(error) => return failure(&error),
    };
    let renewed = renewed(&live, &headers);
    let ctx = context(&state.app, live, &origin);
    let shown = async {
        let user = users::get(&state.app, &ctx.user).await?;
        Ok((user, identities::list(&state.app, &ctx).await?))
    };
    match shown.await {
        Ok((user, identities)) => {
            let body = page(&state, &user, &identities);
            (renewed, pages::page(StatusCode::OK, "You are signed in", &body)).into_response()
        }
        Err(error) => failure(&error),
    }
}

fn page(state: &ServerState, user: &User, identities: &[Identity]) -> String {
    let mut body = format!(
        "<dl><dt>Name</dt><dd>{}</dd><dt>Address</dt><dd>{}</dd></dl>\
         <p>Use the command line on this machine:</p><p><code>hxb login {}</code></p>\
         <h2>You sign in with</h2>",
        escape(user.display_name.as_str()),
        escape(user.email.as_deref().unwrap_or("none given")),
        escape(&state.app.settings.address("")),
    );
    for (place, identity) in identities.iter().enumerate() {
        let said = &identity.said;
        let whom = said.email.as_ref().or(said.display_name.as_ref()).unwrap_or(&identity.subject);
        let note = if place == 0 { " <span class=\"muted\">(name and address are from here)</span>" } else { "" };
        body.push_str(&format!("<p>{}: {}{note}</p>", escape(provider_name(&state.providers, identity)), escape(whom)));
        if identities.len() > 1 {
            body.push_str(&format!(
                "<form method=\"post\" action=\"/account/identities/{}/unlink\"><button class=\"quiet\">Unlink it</button></form>",
                identity.id
            ));
        }
    }
    for provider in state.providers.iter() {
        body.push_str(&format!(
            "<form method=\"post\" action=\"/auth/{}/link\"><button class=\"quiet\">Link {}</button></form>",
            provider.id,
            escape(&provider.display_name)
        ));
    }
    body.push_str("<form method=\"post\" action=\"/auth/logout\"><button>Sign out</button></form>");
    body
}

/// The name of an identity's provider; its issuer when it is no longer configured.
pub(super) fn provider_name<'a>(providers: &'a Providers, identity: &'a Identity) -> &'a str {
    providers.of_issuer(&identity.issuer).map_or(&identity.issuer, |provider| &provider.display_name)
}

fn cross_site() -> Response {
    pages::problem(StatusCode::FORBIDDEN, "Nothing was changed", "The request came from another site.")
}

async fn link(
    State(state): State<ServerState>,
    Path(provider): Path<String>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    jar: CookieJar,
) -> Response {
    if !same_origin(&state.app, &headers) {
        return cross_site();
    }
    let Some(provider) = state.providers.find(&provider) else { return unknown_provider() };
    let ctx = match person(&state.app, &headers, &origin).await {
        Ok(Some(ctx)) => ctx,
        Ok(None) => return Redirect::to(&sign_in_address("/")).into_response(),
        Err(error) => return failure(&error),
    };
    match identities::may_link(&state.app, &ctx).await {
        Ok(()) => {}
        Err(error @ Error::Forbidden(_)) => {
            let body = format!(
                "<p>{}</p><a class=\"button\" href=\"{}\">Sign in again</a>",
                escape(&error.to_string()),
                escape(&sign_in_address("/"))
            );
            return pages::page(StatusCode::FORBIDDEN, "Sign in again", &body);
        }
        Err(error) => return failure(&error),
    }
    match begin(&state, provider, &ReturnTo::default(), ctx.credential.session().cloned()).await {
        Ok(away) => (jar.add(away.attempt), Redirect::to(&away.address)).into_response(),
        Err(error) => failure(&error),
    }
}

async fn unlink(
    State(state): State<ServerState>,
    Path(identity): Path<String>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
) -> Response {
    if !same_origin(&state.app, &headers) {
        return cross_site();
    }
    let unlinked = async {
        let ctx = person(&state.app, &headers, &origin).await?;
        let ctx = ctx.ok_or_else(|| Error::Unauthenticated("sign in first".to_owned()))?;
        let id = identity.parse().map_err(|_| Error::NotFound("identity"))?;
        identities::unlink(&state.app, &ctx, &id).await
    };
    match unlinked.await {
        Ok(()) => Redirect::to("/").into_response(),
        Err(error) => failure(&error),
    }
}
