//! The OAuth 2.0 and OpenID Connect grants of our issuers: what is decided and stored. The protocol itself is in
//! `hexabase-oidc`, the pages and routes in `server`.

mod device;
mod grants;
mod tokens;
mod user_info;

use hexabase_oidc::provider::{Client, OAuthError, OAuthErrorCode, RedirectUri};

pub use device::{DevicePrompt, begin_device, decide_device, device_prompt};
pub use grants::{authorize, revoke, token};
pub use user_info::{UserInfo, user_info};

use crate::error::{Error, Result};
use crate::issuer::Realm;

/// The client id of the command line.
pub const HXB: &str = "hxb";

/// The clients of a realm. All are public: they run on people's own machines and could keep no secret. In a workspace's
/// realm a client may also call itself by the workspace's id, so that the audience of its ID tokens is the workspace
/// (kubelogin's `--oidc-client-id`).
pub fn clients(realm: &Realm) -> Result<Vec<Client>> {
    let loopback = || -> Result<Vec<RedirectUri>> {
        [
            "http://127.0.0.1/callback",
            "http://localhost/callback",
            "http://localhost/",
            "http://127.0.0.1/",
            "http://localhost",
            "http://[::1]/callback",
        ]
        .into_iter()
        .map(|uri| RedirectUri::loopback(uri).map_err(Error::internal))
        .collect()
    };
    let mut clients = vec![Client::public(HXB, loopback()?).map_err(Error::internal)?];
    if let Realm::Workspace(id) = realm {
        clients.push(Client::public(id.as_str(), loopback()?).map_err(Error::internal)?);
    }
    Ok(clients)
}

/// What the token endpoint says when a use case refuses.
fn refusal(error: Error) -> OAuthError {
    match error {
        Error::Forbidden(sentence) | Error::Unauthenticated(sentence) => {
            OAuthError::new(OAuthErrorCode::AccessDenied, sentence)
        }
        Error::NotFound(_) => OAuthError::new(OAuthErrorCode::InvalidGrant, "it no longer exists"),
        Error::Unavailable(sentence) => OAuthError::new(OAuthErrorCode::TemporarilyUnavailable, sentence),
        error => {
            tracing::error!(error = ?error, "a grant failed");
            OAuthError::new(OAuthErrorCode::ServerError, "something went wrong on our side")
        }
    }
}

fn invalid_grant(sentence: &'static str) -> OAuthError {
    OAuthError::new(OAuthErrorCode::InvalidGrant, sentence)
}
