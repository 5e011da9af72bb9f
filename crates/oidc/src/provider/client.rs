//! Registered clients.

use super::redirect::RedirectUri;
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

/// A client of the provider. The registry is the caller's: pass the clients, or the one that
/// [`super::client_id_of`] names, as a slice.
#[derive(Debug, Clone)]
pub struct Client {
    id: String,
    redirect_uris: Vec<RedirectUri>,
    secret_hash: Option<String>,
}

impl Client {
    /// A client that cannot keep a secret (RFC 6749 section 2.1): a command line, a browser application. PKCE is what
    /// protects it.
    pub fn public(id: &str, redirect_uris: Vec<RedirectUri>) -> Result<Self, ClientError> {
        check_id(id)?;
        Ok(Self { id: id.to_owned(), redirect_uris, secret_hash: None })
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
        check_id(id)?;
        if hash.len() != 64 {
            return Err(ClientError::Secret);
        }
        Ok(Self { id: id.to_owned(), redirect_uris, secret_hash: Some(hash) })
    }

    /// The client id.
    pub fn id(&self) -> &str {
        &self.id
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

fn check_id(id: &str) -> Result<(), ClientError> {
    let plain = id.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if id.is_empty() || id.len() > 255 || !plain { Err(ClientError::Id) } else { Ok(()) }
}
