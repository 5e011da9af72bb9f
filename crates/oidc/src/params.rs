//! Query strings and form bodies, read the way RFC 6749 section 3.1 wants them read.

use url::form_urlencoded;

/// Why a query string or form body was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// A parameter that may appear once appeared again.
    #[error("the parameter {0} is included more than once")]
    Duplicate(&'static str),
    /// More bytes or more parameters than any honest client sends.
    #[error("the request is too large")]
    TooLarge,
    /// A value holds a control character.
    #[error("the parameter {0} holds a control character")]
    ControlCharacter(&'static str),
}

const MAX_BYTES: usize = 64 * 1024;
const MAX_PARAMS: usize = 64;

/// Decoded `application/x-www-form-urlencoded` parameters.
///
/// A parameter without a value counts as absent; one that appears twice is an error when it is asked for.
#[derive(Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Decodes a raw query string (without `?`) or a form body.
    pub fn parse(encoded: &str) -> Result<Self, ParamError> {
        if encoded.len() > MAX_BYTES {
            return Err(ParamError::TooLarge);
        }
        let pairs: Vec<_> = form_urlencoded::parse(encoded.as_bytes())
            .take(MAX_PARAMS + 1)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        if pairs.len() > MAX_PARAMS {
            return Err(ParamError::TooLarge);
        }
        Ok(Self(pairs))
    }

    /// The parameter's value, if it is there once and not empty.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, ParamError> {
        let mut found = self.0.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        if found.next().is_some() {
            return Err(ParamError::Duplicate(name));
        }
        match value {
            Some(value) if value.chars().any(char::is_control) => Err(ParamError::ControlCharacter(name)),
            Some("") | None => Ok(None),
            Some(value) => Ok(Some(value)),
        }
    }

    /// Every non-empty value of a parameter that may be repeated (`resource` and `audience` of RFC 8693).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

/// Names only: values may be secrets.
impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
