//! The OAuth 2.0 and OpenID Connect grants of our issuers: what is decided and stored. The protocol itself is in
//! `hexabase-oidc`, the pages and routes in `server`.

mod authorize;
mod clients;
mod device;
mod end_session;
mod grants;
mod inspect;
mod tokens;
mod user_info;

use hexabase_oidc::provider::{AuthorizationError, AuthorizationRequest, OAuthError, OAuthErrorCode};

pub use authorize::{Answer, AskedToSignIn, Confirmation, Visitor, authorize};
pub(crate) use clients::clients;
pub use clients::{HXB, Realms, RegisteredClient};
pub use device::{DevicePrompt, begin_device, decide_device, device_prompt};
pub use end_session::{SignOut, end_session};
pub use grants::token;
pub use inspect::{introspect, revoke};
pub use user_info::{UserInfo, user_info};

use crate::context::App;
use crate::error::{Error, Result};
use crate::issuer::Realm;

/// Reads an authorisation request of a realm.
///
/// # Errors
/// The inner one says whom to tell what is wrong with it.
pub fn read_request(app: &App, realm: &Realm, query: &str) -> Result<Result<AuthorizationRequest, AuthorizationError>> {
    let issuer = hexabase_oidc::Issuer::parse(&realm.issuer(&app.settings)).map_err(Error::internal)?;
    Ok(AuthorizationRequest::parse(query, &issuer, &clients(app, realm)?))
}

/// What the token endpoint says when a use case refuses.
fn refusal(error: Error) -> OAuthError {
    match error {
        Error::Forbidden(sentence) | Error::Unauthenticated(sentence) => {
            OAuthError::new(OAuthErrorCode::AccessDenied, sentence)
        }
        Error::NotFound(_) => OAuthError::new(OAuthErrorCode::InvalidGrant, "it no longer exists"),
        Error::Unavailable(sentence) => OAuthError::new(OAuthErrorCode::TemporarilyUnavailable, sentence),
        error @ Error::Overtaken => OAuthError::new(OAuthErrorCode::TemporarilyUnavailable, error.to_string()),
        error => {
            tracing::error!(error = ?error, "a grant failed");
            OAuthError::new(OAuthErrorCode::ServerError, "something went wrong on our side")
        }
    }
}

fn invalid_grant(sentence: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidGrant, sentence)
}
