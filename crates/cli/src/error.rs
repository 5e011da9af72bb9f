//! What goes wrong, as a sentence, a hint and an exit code.

use std::error::Error as StdError;
use std::fmt::Write as _;

use hexabase_api::problem::Problem;

use crate::output::printable;

/// The exit codes, for `hxb help exit-codes`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: server not reachable, unexpected answer, file not readable
  2  wrong usage: unknown option, missing argument, a confirmation that nobody could give
  3  not signed in, or the session has ended: run `hxb login`
  4  not found, or not visible to you
  5  refused by the server: not allowed, taken already, over a limit, not valid
  6  timed out waiting; what was waited for goes on
  7  the audit log is not whole: something in it was changed, removed or moved";

/// What kind of failure; each has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything without a code of its own.
    Failure,
    /// The command line makes no sense.
    Usage,
    /// There is no session, or it has ended.
    NotSignedIn,
    /// It does not exist, or the caller cannot see it.
    NotFound,
    /// The server understood and said no.
    Refused,
    /// Waiting took longer than allowed.
    TimedOut,
    /// An audit log does not hold together.
    NotWhole,
}

impl Kind {
    /// The process's exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotSignedIn => 3,
            Self::NotFound => 4,
            Self::Refused => 5,
            Self::TimedOut => 6,
            Self::NotWhole => 7,
        }
    }
}

/// A failure to be shown to the user.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    request_id: Option<String>,
    status: Option<u16>,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Short for a result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure with its sentence.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, request_id: None, status: None, source: None }
    }

    /// The same, with what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with its cause, which `--verbose` shows.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// There is no usable session at `server`.
    pub fn not_signed_in(server: &str, message: impl Into<String>) -> Self {
        Self::new(Kind::NotSignedIn, message).hint(format!("run: hxb login {server}"))
    }

    /// The server's own words.
    pub fn from_problem(problem: Problem) -> Self {
        let kind = match problem.status {
            401 => Kind::NotSignedIn,
            404 => Kind::NotFound,
            403 | 409 | 422 => Kind::Refused,
            _ => Kind::Failure,
        };
        let message = match &problem.field {
            Some(field) => format!("{} (field {field})", problem.detail),
            None => problem.detail,
        };
        let mut error = Self::new(kind, message);
        error.status = Some(problem.status);
        if !problem.request_id.is_empty() {
            error.request_id = Some(problem.request_id);
        }
        error
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the server said that it is not for the caller to know: 403 or 404.
    pub fn is_out_of_sight(&self) -> bool {
        matches!(self.status, Some(403 | 404))
    }

    /// The lines for stderr; `one_line` is for kubectl, which shows them in the middle of its own.
    pub fn render(&self, verbose: bool, one_line: bool) -> String {
        let mut text = format!("error: {}", printable(&self.message));
        if let Some(hint) = &self.hint {
            let separator = if one_line { "; " } else { "\nhint: " };
            let _ = write!(text, "{separator}{}", printable(hint));
        }
        text.push('\n');
        if verbose {
            let mut cause = self.source();
            while let Some(error) = cause {
                let _ = writeln!(text, "cause: {}", printable(&error.to_string()));
                cause = error.source();
            }
            if let Some(id) = &self.request_id {
                let _ = writeln!(text, "request id: {}", printable(id));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16) -> Problem {
        Problem {
            kind: "/problems/x".to_owned(),
            title: "T".to_owned(),
            status,
            code: "x".to_owned(),
            detail: "Says no.".to_owned(),
            field: None,
            request_id: "req-1".to_owned(),
        }
    }

    #[test]
    fn each_status_has_its_exit_code() {
        let code = |status| Error::from_problem(problem(status)).kind().exit_code();
        assert_eq!([401, 404, 403, 409, 422, 400, 500, 503].map(code), [3, 4, 5, 5, 5, 1, 1, 1]);
    }

    #[test]
    fn the_request_id_is_shown_only_when_asked_for() {
        let error = Error::from_problem(problem(409)).hint("choose another");
        assert_eq!(error.render(false, false), "error: Says no.\nhint: choose another\n");
        assert!(error.render(true, false).ends_with("request id: req-1\n"));
        assert_eq!(error.render(false, true), "error: Says no.; choose another\n");
    }
}
