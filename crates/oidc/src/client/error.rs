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
    /// The host leads to a private, loopback or otherwise reserved address.
    #[error("{url} leads to an address that is not public")]
    OutOfReach {
        /// What was to be asked.
        url: String,
    },
    /// It answers no more for a while.
    #[error("{url} has had too many requests")]
    RateLimited {
        /// What was asked.
        url: String,
        /// When to try again, seconds since 1970.
        until: i64,
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
    #[error("the provider's configuration names another issuer: {found} instead of {expected}")]
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
    /// The person was to sign in anew, and the provider says that they signed in before that (Core section 3.1.3.7, 13).
    #[error("the provider did not have the person sign in again")]
    NotAnew,
    /// Userinfo is about somebody else (Core section 5.3.2).
    #[error("userinfo is about another subject than the ID token")]
    UserInfoSubject,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Whose turn it is to do something about a [`ClientError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operator's, here or at the provider: trying again does not help.
    Configuration,
    /// Nobody's: the provider does not answer at the moment.
    Outage,
    /// Nobody's until then, seconds since 1970: the provider answers no more.
    RateLimit(i64),
    /// The person's: this sign-in was refused, another one may succeed.
    Refusal,
}

/// Codes of RFC 6749 and OpenID Connect Core 1.0, and of GitHub, that say that we are not registered as we think.
const MISCONFIGURED: [&str; 8] = [
    "invalid_client",
    "unauthorized_client",
    "unsupported_response_type",
    "unsupported_grant_type",
    "invalid_scope",
    "incorrect_client_credentials",
    "redirect_uri_mismatch",
    "application_suspended",
];

impl ClientError {
    /// Whose turn it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::RateLimited { until, .. } => Fault::RateLimit(*until),
            Self::Unreachable { .. } | Self::KeysUnavailable(_) | Self::Random(_) => Fault::Outage,
            Self::Status { status: 408 | 429 | 500.., .. } => Fault::Outage,
            Self::Status { .. }
            | Self::Redirected { .. }
            | Self::OutOfReach { .. }
            | Self::TooLarge { .. }
            | Self::NotUnderstood { .. }
            | Self::IssuerMismatch { .. }
            | Self::InsecureEndpoint(_)
            | Self::Unsupported(_) => Fault::Configuration,
            Self::Refused { code, .. } | Self::CodeRefused { code, .. } if MISCONFIGURED.contains(&code.as_str()) => {
                Fault::Configuration
            }
            Self::Refused { .. }
            | Self::CodeRefused { .. }
            | Self::BadCallback(_)
            | Self::StateMismatch
            | Self::CallbackIssuer
            | Self::TokenAnswer(_)
            | Self::IdToken(_)
            | Self::AuthorizedParty
            | Self::NonceMismatch
            | Self::AccessTokenHash
            | Self::Subject
            | Self::NotAnew
            | Self::UserInfoSubject => Fault::Refusal,
        }
    }
}
