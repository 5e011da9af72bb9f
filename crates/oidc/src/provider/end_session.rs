//! RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0).

use super::{OAuthError, append_query};
use crate::params::Params;

/// A client's wish that the person be signed out (section 2). Nothing in it is proven: verify the hint, and let the person
/// decide when there is no good one.
#[derive(Debug, Clone, Default)]
pub struct EndSessionRequest {
    /// An earlier ID token, which names the client and the person.
    pub id_token_hint: Option<String>,
    /// The client; must be the hint's where both are given.
    pub client_id: Option<String>,
    /// Where the browser is to go afterwards; must be registered for the client.
    pub post_logout_redirect_uri: Option<String>,
    /// To be returned there unchanged.
    pub state: Option<String>,
}

impl EndSessionRequest {
    /// Reads a raw query string or form body. Other parameters are ignored.
    pub fn parse(query: &str) -> Result<Self, OAuthError> {
        let params = Params::parse(query)?;
        let owned = |name| params.one(name).map(|value| value.map(str::to_owned));
        Ok(Self {
            id_token_hint: owned("id_token_hint")?,
            client_id: owned("client_id")?,
            post_logout_redirect_uri: owned("post_logout_redirect_uri")?,
            state: owned("state")?,
        })
    }

    /// Where to send the browser afterwards, if it was asked for; the caller has found it registered.
    pub fn location(&self) -> Option<String> {
        let uri = self.post_logout_redirect_uri.as_deref()?;
        Some(append_query(uri, self.state.as_deref().map(|state| ("state", state))))
    }
}
