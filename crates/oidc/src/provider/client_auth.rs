//! How a client proves itself at the token, device, revocation and introspection endpoints.

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use super::{Client, OAuthError, OAuthErrorCode};
use crate::params::Params;

/// What the client presented (RFC 6749 section 2.3): `client_secret_basic`, `client_secret_post` or, for a public
/// client, its id alone. Proves nothing until [`Self::authenticate`] says so.
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    client_id: String,
    secret: Option<SecretString>,
    basic: bool,
}

impl ClientCredentials {
    /// Reads the `Authorization` header and the form. Using two methods at once is `invalid_request` (section 2.3).
    pub fn from_request(authorization: Option<&str>, form: &Params) -> Result<Self, OAuthError> {
        let invalid = |description| OAuthError::new(OAuthErrorCode::InvalidRequest, description);
        let form_id = form.one("client_id")?;
        let form_secret = form.one("client_secret")?;
        let Some(header) = authorization else {
            let client_id = form_id.ok_or_else(|| invalid("client_id is required"))?.to_owned();
            return Ok(Self { client_id, secret: form_secret.map(|secret| secret.to_owned().into()), basic: false });
        };
        if form_secret.is_some() {
            return Err(invalid("the client must authenticate in one way only"));
        }
        let (client_id, secret) = parse_basic(header).ok_or_else(|| OAuthError {
            tried_basic: true,
            ..OAuthError::new(OAuthErrorCode::InvalidClient, "the Authorization header is not HTTP Basic")
        })?;
        if form_id.is_some_and(|form_id| form_id != client_id) {
            return Err(invalid("client_id differs from the one in the Authorization header"));
        }
        let secret = (!secret.is_empty()).then(|| secret.into());
        Ok(Self { client_id, secret, basic: true })
    }

    /// The id that was claimed; for loading the client, not for trusting it.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The client, if it is registered and its secret is right (compared by hash, in constant time).
    pub fn authenticate<'c>(&self, clients: &'c [Client]) -> Result<&'c Client, OAuthError> {
        let secret = self.secret.as_ref().map(|secret| secret.expose_secret());
        clients
            .iter()
            .find(|client| client.id() == self.client_id)
            .filter(|client| client.accepts_secret(secret))
            .ok_or_else(|| OAuthError {
                tried_basic: self.basic,
                ..OAuthError::new(OAuthErrorCode::InvalidClient, "unknown client or wrong client secret")
            })
    }
}

fn parse_basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decode(id), form_decode(secret)))
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1). A bare `&` is kept as it is.
fn form_decode(text: &str) -> String {
    let pair = format!("v={}", text.replace('&', "%26"));
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
