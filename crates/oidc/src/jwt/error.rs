//! What can be wrong with a token.

use crate::keys::{Algorithm, KeyError};

/// Why a token was refused. The text is safe to log; tell a stranger no more than "invalid token".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`super::MAX_TOKEN_BYTES`].
    #[error("the token is too large")]
    TooLarge,
    /// Not three base64url parts holding JSON objects with the members they must have.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// A header that would change how the token must be read, or that brings its own key (`crit`, `jwk`, `jku`, ...).
    #[error("the token's header holds {0}, which is not accepted")]
    ForbiddenHeader(&'static str),
    /// `alg` is `none`, unknown, or not among those expected here.
    #[error("the token's algorithm is not allowed")]
    AlgorithmNotAllowed,
    /// No `kid`, and more than one key that it could have been: the key would have to be guessed.
    #[error("the token does not name its key")]
    MissingKeyId,
    /// No key of that id. A relying party refetches the set once and tries again.
    #[error("the token's key is unknown")]
    UnknownKey,
    /// The key of that id is for another algorithm or use.
    #[error("the token's key is for another algorithm")]
    KeyMismatch,
    /// The signature does not verify.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `typ` is not the expected one.
    #[error("the token is of another type")]
    WrongType,
    /// `iss` is not the expected one.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// `aud` does not hold the expected one.
    #[error("the token is for another audience")]
    WrongAudience,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The signature holds, but the claims are not those of the expected kind of token.
    #[error("the token's claims are not acceptable: {0}")]
    Claims(String),
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No key of that algorithm may sign at this time.
    #[error("no {0} key may sign now")]
    NoKey(Algorithm),
    /// The claims are too large for any reader of ours.
    #[error("the token would be too large")]
    TooLarge,
    /// The claims do not serialise.
    #[error("the claims could not be written as JSON")]
    Claims(#[source] serde_json::Error),
    /// The key failed.
    #[error("the token could not be signed")]
    Key(#[from] KeyError),
}
