//! Why a use case refused or failed, independent of transport. One file in `server` maps it to HTTP.

use std::time::Duration;

use hexabase_backends::store::StoreError;
use hexabase_core::names::InvalidName;

/// The outcome of a use case.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a use case refused or failed. The texts are sentences for the caller; internal causes stay in the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller is nobody we know, or no longer.
    #[error("{0}")]
    Unauthenticated(String),
    /// It does not exist, or the caller may not know that it does.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The input is at fault.
    #[error("{detail}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// The rule, as a sentence.
        detail: String,
    },
    /// The caller's role does not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// The present state does not allow it.
    #[error("{detail}")]
    Conflict {
        /// Stable word for programs.
        code: &'static str,
        /// Why, as a sentence.
        detail: String,
    },
    /// A limit of the plan is used up.
    #[error("{0}")]
    LimitReached(String),
    /// It was asked for more often than is answered.
    #[error("{detail}")]
    TooOften {
        /// What of, as a sentence.
        detail: String,
        /// When to ask again.
        retry_after: Duration,
    },
    /// Something the platform needs does not answer; trying again later can help.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody else has moved on what this was decided by: nothing was written, and trying again is right.
    #[error("somebody else has changed it at the same moment; try again")]
    Overtaken,
    /// A defect or a fault of the environment; the caller learns nothing but the request id.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A field whose value breaks a rule.
    pub fn invalid(field: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid { field, detail: detail.into() }
    }

    /// A state that stands in the way.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict { code, detail: detail.into() }
    }

    /// Wraps a cause that the caller must not see.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

impl From<StoreError> for Error {
    fn from(cause: StoreError) -> Self {
        match cause {
            StoreError::Unavailable(_) => {
                Self::Unavailable("the database does not answer; try again in a moment".to_owned())
            }
            StoreError::Stale => Self::Overtaken,
            cause => Self::Internal(Box::new(cause)),
        }
    }
}

impl From<InvalidName> for Error {
    fn from(cause: InvalidName) -> Self {
        Self::invalid("name", cause.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_has_moved_on_meanwhile_is_no_fault_of_ours() {
        assert!(matches!(Error::from(StoreError::Stale), Error::Overtaken));
        assert!(matches!(Error::from(StoreError::MissingReference), Error::Internal(_)));
    }
}
