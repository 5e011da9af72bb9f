//! Errors on the wire.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{params::ParamError, random::RandomError};

/// The error codes we send. Where each comes from is said beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OAuthErrorCode {
    /// RFC 6749 4.1.2.1 and 5.2.
    InvalidRequest,
    /// RFC 6749 5.2: unknown client or wrong secret.
    InvalidClient,
    /// RFC 6749 5.2: code, refresh token or verifier is wrong, used, expired or another client's.
    InvalidGrant,
    /// RFC 6749 4.1.2.1 and 5.2: this client may not do this.
    UnauthorizedClient,
    /// RFC 6749 5.2.
    UnsupportedGrantType,
    /// RFC 6749 4.1.2.1.
    UnsupportedResponseType,
    /// RFC 6749 4.1.2.1 and 5.2.
    InvalidScope,
    /// RFC 6749 4.1.2.1: the person or the platform said no.
    AccessDenied,
    /// RFC 6749 4.1.2.1.
    ServerError,
    /// RFC 6749 4.1.2.1.
    TemporarilyUnavailable,
    /// OpenID Connect Core 3.1.2.6: `prompt=none`, but nobody is signed in.
    LoginRequired,
    /// OpenID Connect Core 3.1.2.6.
    ConsentRequired,
    /// OpenID Connect Core 3.1.2.6.
    InteractionRequired,
    /// OpenID Connect Core 3.1.2.6.
    AccountSelectionRequired,
    /// OpenID Connect Core 3.1.2.6.
    RequestNotSupported,
    /// OpenID Connect Core 3.1.2.6.
    RequestUriNotSupported,
    /// OpenID Connect Core 3.1.2.6.
    RegistrationNotSupported,
    /// RFC 8693 2.2.2: no token for that audience.
    InvalidTarget,
    /// RFC 8628 3.5: not decided yet, ask again after the interval.
    AuthorizationPending,
    /// RFC 8628 3.5: asked too soon, the interval grows by 5 s.
    SlowDown,
    /// RFC 8628 3.5: the device code has expired.
    ExpiredToken,
    /// RFC 6750 3.1: at userinfo and other protected resources.
    InvalidToken,
    /// RFC 6750 3.1.
    InsufficientScope,
    /// RFC 7009 2.2.1.
    UnsupportedTokenType,
}

impl OAuthErrorCode {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::InteractionRequired => "interaction_required",
            Self::AccountSelectionRequired => "account_selection_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::InvalidTarget => "invalid_target",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::UnsupportedTokenType => "unsupported_token_type",
        }
    }
}

/// An error response (RFC 6749 section 5.2): the JSON body as it serialises, the status from [`Self::status`], a
/// `WWW-Authenticate` header where [`Self::www_authenticate`] has one, and `Cache-Control: no-store`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}: {description}", code.as_str())]
pub struct OAuthError {
    /// `error`.
    #[serde(rename = "error")]
    pub code: OAuthErrorCode,
    /// `error_description`: a sentence for the developer of the client, never a secret.
    #[serde(rename = "error_description")]
    pub description: Cow<'static, str>,
    /// Whether the client tried HTTP Basic, which decides about `WWW-Authenticate`.
    #[serde(skip)]
    pub(crate) tried_basic: bool,
}

impl OAuthError {
    /// An error with its sentence. Characters RFC 6749 does not allow in it become spaces.
    pub fn new(code: OAuthErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        let mut description = description.into();
        let allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        if !description.chars().all(allowed) {
            description = description.chars().map(|c| if allowed(c) { c } else { ' ' }).collect::<String>().into();
        }
        Self { code, description, tried_basic: false }
    }

    /// The HTTP status: 401 for a client or token that is not believed, 403 for one that may not, 5xx for our own
    /// failures, 400 for the rest.
    pub fn status(&self) -> u16 {
        match self.code {
            OAuthErrorCode::InvalidClient | OAuthErrorCode::InvalidToken => 401,
            OAuthErrorCode::InsufficientScope => 403,
            OAuthErrorCode::ServerError => 500,
            OAuthErrorCode::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }

    /// The `WWW-Authenticate` header this response needs, if any (RFC 6749 section 5.2, RFC 6750 section 3).
    pub fn www_authenticate(&self) -> Option<String> {
        match self.code {
            OAuthErrorCode::InvalidClient if self.tried_basic => Some("Basic realm=\"oidc\"".to_owned()),
            OAuthErrorCode::InvalidToken | OAuthErrorCode::InsufficientScope => {
                Some(format!("Bearer error=\"{}\", error_description=\"{}\"", self.code.as_str(), self.description))
            }
            _ => None,
        }
    }
}

impl From<ParamError> for OAuthError {
    fn from(error: ParamError) -> Self {
        Self::new(OAuthErrorCode::InvalidRequest, error.to_string())
    }
}

impl From<RandomError> for OAuthError {
    fn from(_: RandomError) -> Self {
        Self::new(OAuthErrorCode::ServerError, "the request could not be completed")
    }
}
