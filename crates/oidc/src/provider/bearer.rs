//! Bearer tokens in requests (RFC 6750 section 2).

use secrecy::SecretString;

use super::{OAuthError, OAuthErrorCode};
use crate::params::Params;

/// The token of a request: in the `Authorization` header, or in the form of a POST as `access_token`. Two at once are
/// `invalid_request`; a query is never looked at.
///
/// # Errors
/// [`OAuthErrorCode::InvalidToken`] when there is none.
pub fn bearer_token(authorization: Option<&str>, form: Option<&Params>) -> Result<SecretString, OAuthError> {
    let invalid = |description| OAuthError::new(OAuthErrorCode::InvalidToken, description);
    let posted = form.map(|form| form.one("access_token")).transpose()?.flatten();
    let token = match (authorization, posted) {
        (Some(_), Some(_)) => {
            let twice = "the token must come in one way only";
            return Err(OAuthError::new(OAuthErrorCode::InvalidRequest, twice));
        }
        (Some(header), None) => {
            let (scheme, token) = header.split_once(' ').unwrap_or_default();
            let plain = !token.is_empty() && !token.contains(' ');
            (scheme.eq_ignore_ascii_case("bearer") && plain).then_some(token)
        }
        (None, posted) => posted,
    };
    token.map(|token| token.to_owned().into()).ok_or_else(|| invalid("an access token is required"))
}
