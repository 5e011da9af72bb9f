//! What the tokens say. Each kind of token is a type; the kinds that grant something can only be built checked.

mod access;
mod id_token;
mod workspace;

pub use access::{AccessClaims, AccessGrant};
pub(crate) use id_token::lenient_bool;
pub use id_token::{Audience, IdTokenClaims};
pub use workspace::{
    MAX_GROUP_BYTES, MAX_GROUPS, MAX_WORKSPACE_TOKEN_LIFE, WorkspaceClaims, WorkspaceGrant, WorkspaceSignIn,
};

use serde::{Deserialize, Serialize};

/// Which of our own tokens it is, said in the claims as well as in the header's `typ`, so that rules that see only the
/// claims (CEL in a tenant's API server) can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenUse {
    /// For the Kubernetes API server of one workspace.
    Workspace,
    /// For the platform's own API.
    Access,
}

/// Why claims were refused, when a token is made and again when one is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// A subject that is empty, longer than 255 bytes, or holds white space or control characters.
    #[error("the subject is empty or not a plain identifier")]
    Subject,
    /// A name Kubernetes reserves for itself.
    #[error("names that start with system: are reserved")]
    Reserved,
    /// A group name that is not 1 to 63 ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
    #[error("a group name is empty or not plain")]
    Group,
    /// More groups than a token may carry, by number or by size.
    #[error("too many groups for one token")]
    TooManyGroups,
    /// It lives longer than its kind may, or not at all.
    #[error("the token's life is out of bounds")]
    Life,
    /// An audience, workspace, client or session that must be named is empty.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// `token_use` says that this is another kind of token.
    #[error("this is another kind of token")]
    TokenUse,
}

/// Kubernetes compares `system:` byte by byte; refusing every spelling costs nobody a name worth having.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.trim_start().get(..7).is_some_and(|prefix| prefix.eq_ignore_ascii_case("system:"))
}

pub(crate) fn check_subject(sub: &str) -> Result<(), ClaimsError> {
    if is_reserved(sub) {
        return Err(ClaimsError::Reserved);
    }
    if sub.is_empty() || sub.len() > 255 || sub.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(ClaimsError::Subject);
    }
    Ok(())
}

pub(crate) fn check_not_empty(value: &str, name: &'static str) -> Result<(), ClaimsError> {
    if value.is_empty() { Err(ClaimsError::Empty(name)) } else { Ok(()) }
}
