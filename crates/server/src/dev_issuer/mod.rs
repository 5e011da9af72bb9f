//! The development issuer: a real OpenID provider, over HTTP, for demonstrations and tests.
//!
//! It signs anybody in as anybody, without a password. It therefore refuses to be built for an issuer URL that is not
//! on a loopback address, and answers no request that was addressed to another host name.
//!
//! ```text
//!  browser  GET  authorize?…             a page: choose Alice, Bob, Carol, or type a name and an address
//!  anybody  POST authorize?…  email=…    303 to the redirect URI with a code   (all a test needs to do)
//!  platform POST token                   ID token and access token; the code worked once, for 60 s
//!  platform GET  userinfo, jwks, .well-known/openid-configuration
//! ```
//!
//! A person's subject is a hash of their address, so it is the same after a restart. The signing key is not: it is
//! drawn when the issuer is built.

mod codes;
mod pages;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use hexabase_oidc::{
    Issuer, IssuerError, hash_token,
    keys::{Algorithm, KeyError, KeyRing, KeyState, RingError, SigningKey},
    provider::{Client, ClientError, RedirectUri, RedirectUriError},
};

use self::codes::Codes;

/// Seconds since 1970, asked once per request.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Why the development issuer was not built.
#[derive(Debug, thiserror::Error)]
pub enum DevIssuerError {
    /// The issuer URL is not on this computer.
    #[error(
        "the development issuer signs anybody in without a password, so it runs on a loopback address only \
         (http://127.0.0.1:<port>/… or http://localhost:<port>/…); {0} is not one"
    )]
    NotLoopback(String),
    /// The issuer URL is not an issuer URL.
    #[error("the development issuer's URL {url} cannot be used")]
    Issuer {
        /// What was configured.
        url: String,
        /// What is wrong with it.
        #[source]
        source: IssuerError,
    },
    /// A redirect URI is not one.
    #[error("the redirect URI {uri} cannot be registered with the development issuer")]
    RedirectUri {
        /// What was configured.
        uri: String,
        /// What is wrong with it.
        #[source]
        source: RedirectUriError,
    },
    /// The client id or secret is not one.
    #[error("the client cannot be registered with the development issuer")]
    Client(#[from] ClientError),
    /// The signing key could not be drawn.
    #[error("the development issuer has no signing key")]
    Key(#[from] KeyError),
    /// The signing key could not be used.
    #[error("the development issuer's signing key is unusable")]
    Ring(#[from] RingError),
}

/// Somebody the sign-in page suggests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevIdentity {
    /// Display name.
    pub name: String,
    /// Address, in lower case; always counts as verified.
    pub email: String,
}

impl DevIdentity {
    /// Somebody of that name and address.
    pub fn new(name: &str, email: &str) -> Self {
        Self { name: name.to_owned(), email: email.to_owned() }
    }

    /// Reads what was typed or posted. Without a name, a suggested person keeps theirs and others get the part before
    /// the `@`. `None`: that is no address.
    fn from_input(email: &str, name: &str, suggested: &[Self]) -> Option<Self> {
        let email = email.trim().to_ascii_lowercase();
        let (local, domain) = email.split_once('@')?;
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '@' | '<' | '>' | '"' | ',' | ';');
        if local.is_empty() || domain.is_empty() || email.len() > 254 || !format!("{local}{domain}").chars().all(plain)
        {
            return None;
        }
        let name = match name.trim() {
            "" => suggested.iter().find(|known| known.email == email).map_or(local, |known| known.name.as_str()),
            typed => typed,
        };
        let name = name.chars().filter(|c| !c.is_control()).take(100).collect();
        Some(Self { name, email })
    }

    /// The same for the same address, always; says nothing about it.
    fn subject(&self) -> String {
        let hash = hash_token(&format!("hexabase development issuer: {}", self.email));
        format!("dev-{}", &hash[..32])
    }
}

/// An OpenID provider with one client, for development.
pub struct DevIssuer {
    issuer: Issuer,
    client: Client,
    redirect_uris: Vec<RedirectUri>,
    keys: KeyRing,
    identities: Vec<DevIdentity>,
    codes: Codes,
    clock: Clock,
}

impl DevIssuer {
    /// An issuer for one public client. `redirect_uris` are compared as exact strings. `clock` gives seconds since
    /// 1970. Draws a key, which is fast (P-256).
    pub fn new(
        issuer_url: &str,
        client_id: &str,
        redirect_uris: &[String],
        clock: Clock,
    ) -> Result<Self, DevIssuerError> {
        let issuer = Issuer::parse(issuer_url).map_err(|source| match source {
            IssuerError::Insecure => DevIssuerError::NotLoopback(issuer_url.to_owned()),
            source => DevIssuerError::Issuer { url: issuer_url.to_owned(), source },
        })?;
        if !issuer.is_loopback() {
            return Err(DevIssuerError::NotLoopback(issuer_url.to_owned()));
        }
        let redirect_uris = redirect_uris
            .iter()
            .map(|uri| {
                RedirectUri::exact(uri).map_err(|source| DevIssuerError::RedirectUri { uri: uri.clone(), source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut keys = KeyRing::new();
        // The key lives as long as the process; nobody outside this computer ever caches it.
        let always = KeyState { publish_from: 0, sign_from: 0, sign_until: i64::MAX, publish_until: i64::MAX };
        keys.add(SigningKey::generate(Algorithm::Es256)?, always)?;
        Ok(Self {
            issuer,
            client: Client::public(client_id, redirect_uris.clone())?,
            redirect_uris,
            keys,
            identities: vec![
                DevIdentity::new("Alice Example", "alice@example.test"),
                DevIdentity::new("Bob Example", "bob@example.test"),
                DevIdentity::new("Carol Example", "carol@example.test"),
            ],
            codes: Codes::default(),
            clock,
        })
    }

    /// Demands this secret (32 characters or more) of the client, by `client_secret_basic` or `client_secret_post`.
    pub fn with_client_secret(mut self, secret: &str) -> Result<Self, DevIssuerError> {
        self.client = Client::confidential(self.client.id(), self.redirect_uris.clone(), secret)?;
        Ok(self)
    }

    /// Suggests these people instead of Alice, Bob and Carol.
    #[must_use]
    pub fn with_identities(mut self, identities: Vec<DevIdentity>) -> Self {
        self.identities = identities;
        self
    }

    /// Its routes, relative to the issuer URL: nest them under that URL's path, or merge them if it has none.
    pub fn router(self) -> Router {
        routes::router(Arc::new(self))
    }
}
