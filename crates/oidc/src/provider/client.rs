//! Registered clients.

use super::redirect::RedirectUri;
use crate::keys::Algorithm;
use crate::random::{hash_token, hashes_match};

/// Why a client cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Empty, longer than 255, or with characters outside RFC 6749 appendix A.1 (and `:`, which Basic cannot carry).
    #[error("a client id is 1 to 255 printable characters without a colon")]
    Id,
    /// A secret short enough to be guessed.
    #[error("a client secret must have at least 32 characters")]
    Secret,
}

/// What keeps a stolen code from being redeemed (RFC 9700 section 2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pkce {
    /// A challenge, always. The only choice for a client without a secret.
    Required,
    /// A challenge or a nonce, which the client checks.
    OrNonce,
    /// As the client likes: for one that is known to send neither.
    Optional,
}

/// A client of the provider. The registry is the caller's: pass the clients as a slice.
#[derive(Debug, Clone)]
pub struct Client {
    id: String,
    name: String,
    redirect_uris: Vec<RedirectUri>,
    post_logout_redirect_uris: Vec<String>,
    secret_hash: Option<String>,
    id_token_algorithm: Algorithm,
    pkce: Pkce,
    acts_for_people: bool,
    introspects: bool,
}

impl Client {
    /// A client that cannot keep a secret (RFC 6749 section 2.1): a command line, a browser application. PKCE is what
    /// protects it.
    pub fn public(id: &str, redirect_uris: Vec<RedirectUri>) -> Result<Self, ClientError> {
        Self::new(id, redirect_uris, None)
    }

    /// A client that proves itself with a secret of at least 32 random characters; only its hash is kept.
    pub fn confidential(id: &str, redirect_uris: Vec<RedirectUri>, secret: &str) -> Result<Self, ClientError> {
        if secret.len() < 32 {
            return Err(ClientError::Secret);
        }
        Self::with_secret_hash(id, redirect_uris, hash_token(secret))
    }

    /// The same, from the stored [`hash_token`] of the secret.
    pub fn with_secret_hash(id: &str, redirect_uris: Vec<RedirectUri>, hash: String) -> Result<Self, ClientError> {
        if hash.len() != 64 {
            return Err(ClientError::Secret);
        }
        Self::new(id, redirect_uris, Some(hash))
    }

    fn new(id: &str, redirect_uris: Vec<RedirectUri>, secret_hash: Option<String>) -> Result<Self, ClientError> {
        let plain = id.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if id.is_empty() || id.len() > 255 || !plain {
            return Err(ClientError::Id);
        }
        Ok(Self {
            id: id.to_owned(),
            name: id.to_owned(),
            redirect_uris,
            post_logout_redirect_uris: Vec::new(),
            secret_hash,
            id_token_algorithm: Algorithm::Es256,
            pkce: Pkce::Required,
            acts_for_people: false,
            introspects: false,
        })
    }

    /// Called `name` before people; its id until then.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// May send people there after they have signed out; compared as text.
    #[must_use]
    pub fn returning_to(self, post_logout_redirect_uris: Vec<String>) -> Self {
        Self { post_logout_redirect_uris, ..self }
    }

    /// Gets ID tokens of this algorithm (`id_token_signed_response_alg`); ES256 until then.
    #[must_use]
    pub fn signed_with(self, id_token_algorithm: Algorithm) -> Self {
        Self { id_token_algorithm, ..self }
    }

    /// May leave the challenge out. Changes nothing for a client without a secret.
    #[must_use]
    pub fn with_pkce(self, pkce: Pkce) -> Self {
        Self { pkce: if self.is_public() { Pkce::Required } else { pkce }, ..self }
    }

    /// Its access tokens are good for what people may do, not only for learning who they are.
    #[must_use]
    pub fn acting_for_people(self) -> Self {
        Self { acts_for_people: true, ..self }
    }

    /// May introspect tokens of other clients as well. Changes nothing for a client without a secret.
    #[must_use]
    pub fn introspecting(self) -> Self {
        Self { introspects: !self.is_public(), ..self }
    }

    /// The client id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What people know it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The algorithm of its ID tokens.
    pub fn id_token_algorithm(&self) -> Algorithm {
        self.id_token_algorithm
    }

    /// Whether its access tokens are good for more than userinfo.
    pub fn acts_for_people(&self) -> bool {
        self.acts_for_people
    }

    /// Whether it may introspect tokens of other clients.
    pub fn introspects(&self) -> bool {
        self.introspects
    }

    /// Whether a request with or without these may be answered.
    pub(super) fn accepts_pkce(&self, has_challenge: bool, has_nonce: bool) -> bool {
        match self.pkce {
            Pkce::Required => has_challenge,
            Pkce::OrNonce => has_challenge || has_nonce,
            Pkce::Optional => true,
        }
    }

    /// Whether people may be sent there after signing out.
    pub fn allows_return_to(&self, uri: &str) -> bool {
        self.post_logout_redirect_uris.iter().any(|registered| registered == uri)
    }

    /// Whether it has no secret.
    pub fn is_public(&self) -> bool {
        self.secret_hash.is_none()
    }

    /// Whether the URI is registered.
    pub fn allows_redirect_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|registered| registered.matches(uri))
    }

    /// Whether this is how the client must present itself: its secret, or none for a public client.
    pub(super) fn accepts_secret(&self, presented: Option<&str>) -> bool {
        match (&self.secret_hash, presented) {
            (None, None) => true,
            (Some(hash), Some(secret)) => hashes_match(hash, &hash_token(secret)),
            _ => false,
        }
    }
}
