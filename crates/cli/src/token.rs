//! An API token from the environment or a file, which takes the place of a session: for pipelines and other programs.

use std::fmt;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::{files, random};

/// What every API token begins with.
const PREFIX: &str = "hxb_";

/// An API token and where it came from. Printing it shows neither.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ApiToken {
    secret: String,
    origin: String,
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(…)")
    }
}

impl ApiToken {
    /// A text that `origin` gave; not looked at before it is used.
    pub(crate) fn new(text: &str, origin: impl Into<String>) -> Self {
        Self { secret: text.trim().to_owned(), origin: origin.into() }
    }

    /// The token in a file.
    pub(crate) fn from_file(path: &Path) -> Result<Self> {
        let missing = || Error::new(Kind::Failure, format!("there is no file {}", path.display()));
        Ok(Self::new(&files::read(path)?.ok_or_else(missing)?, path.display().to_string()))
    }

    /// The token itself; a text that cannot be one is kept from the server, since it may be another secret.
    pub(crate) fn secret(&self) -> Result<&str> {
        let rest = self.secret.strip_prefix(PREFIX).unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if rest.is_empty() || !rest.bytes().all(plain) {
            return Err(Error::new(
                Kind::Usage,
                format!("{} holds no API token; one begins with {PREFIX}", self.origin),
            )
            .hint("make one with: hxb token create"));
        }
        Ok(&self.secret)
    }

    /// What gave it: a variable or a file.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// By what cached workspace tokens know that they are this one's.
    pub(crate) fn mark(&self) -> String {
        random::sha256(&self.secret)
    }

    /// What to do about a token that the server does not accept.
    pub(crate) fn hint(&self) -> String {
        format!("the token is the one in {}; make another with: hxb token create", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_token_is_not_sent_anywhere_and_not_shown() {
        for text in ["", "hxb_", "hunter2", "hxb_a b", "hxb_a\"", "HXB_abc"] {
            let error = ApiToken::new(text, "HXB_TOKEN").secret().unwrap_err();
            let shown = error.render(true, false);
            assert!(shown.starts_with("error: HXB_TOKEN holds no API token"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let token = ApiToken::new(" hxb_aB3-_x\n", "HXB_TOKEN");
        assert_eq!(token.secret().unwrap(), "hxb_aB3-_x");
        assert!(!format!("{token:?} {}", token.hint()).contains("aB3"));
        assert_ne!(token.mark(), token.secret().unwrap());
    }
}
