//! What can go wrong at or with somebody else's provider.

use crate::{jwt::TokenError, random::RandomError};

/// Why signing in with an external provider failed. The text says which check it was and is safe to log; none of it
/// holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The request did not get an answer.
    #[error("{url} could not be reached")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why; without the URL, which may carry a query.
        #[source]
        source: reqwest::Error,
    },
    /// The answer came from elsewhere, or is a redirect.
    #[error("{url} answered with a redirect, which is not followed")]
    Redirected {
        /// What was asked.
        url: String,
    },
    /// The answer has an unexpected status.
    #[error("{url} answered with status {status}")]
    Status {
        /// What was asked.
        url: String,
        /// What came back.
        status: u16,
    },
    /// The answer is larger than 1 MB.
    #[error("the answer of {url} is larger than 1 MB")]
    TooLarge {
        /// What was asked.
        url: String,
    },
    /// The answer is not the JSON it should be.
    #[error("the answer of {url} is not understood: {reason}")]
    NotUnderstood {
        /// What was asked.
        url: String,
        /// What the parser says.
        reason: String,
    },
    /// The configuration names another issuer than the one it was fetched from (Discovery section 4.3).
    #[error("the provider's configuration is for the issuer {found}, not for {expected}")]
    IssuerMismatch {
        /// The configured issuer.
        expected: String,
        /// The published one.
        found: String,
    },
    /// An endpoint that is neither https nor loopback.
    #[error("the provider's {0} is neither https nor on loopback")]
    InsecureEndpoint(&'static str),
    /// The configuration lacks something sign-in needs.
    #[error("the provider does not support {0}")]
    Unsupported(&'static str),
    /// The key set could not be fetched a moment ago; trying again at once would help nobody.
    #[error("the keys of {0} could not be fetched a moment ago")]
    KeysUnavailable(String),
    /// The callback's query is not one.
    #[error("the callback is malformed: {0}")]
    BadCallback(String),
    /// `state` is not the one of this attempt: a forged or stale callback.
    #[error("the callback's state does not belong to this sign-in")]
    StateMismatch,
    /// `iss` of the callback is missing or another (RFC 9207): a mix-up.
    #[error("the callback's iss is not the provider's")]
    CallbackIssuer,
    /// The provider said no.
    #[error("the provider refused: {code}")]
    Refused {
        /// `error`.
        code: String,
        /// `error_description`, for the log.
        description: String,
    },
    /// The token endpoint said no.
    #[error("the provider refused the code: {code}")]
    CodeRefused {
        /// `error`.
        code: String,
        /// `error_description`, for the log.
        description: String,
    },
    /// The token endpoint gave no ID token, or a token type that is not Bearer.
    #[error("the token answer lacks {0}")]
    TokenAnswer(&'static str),
    /// The ID token was refused.
    #[error("the ID token was refused: {0}")]
    IdToken(#[from] TokenError),
    /// The ID token names another client as the one it was issued to.
    #[error("the ID token's azp is not this client")]
    AuthorizedParty,
    /// The ID token's nonce is missing or not the one of this attempt.
    #[error("the ID token's nonce does not belong to this sign-in")]
    NonceMismatch,
    /// The ID token does not belong to the access token.
    #[error("the ID token's at_hash does not match the access token")]
    AccessTokenHash,
    /// The ID token has no usable subject.
    #[error("the ID token's subject is empty or not plain")]
    Subject,
    /// Userinfo is about somebody else (Core section 5.3.2).
    #[error("userinfo is about another subject than the ID token")]
    UserInfoSubject,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}
