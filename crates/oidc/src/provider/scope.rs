//! Scopes.

use super::{OAuthError, OAuthErrorCode};

/// A list of scopes (RFC 6749 section 3.3), in the order given, without repetition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

impl Scopes {
    /// Splits at spaces; a character the RFC does not allow is `invalid_scope`.
    pub fn parse(text: &str) -> Result<Self, OAuthError> {
        let mut scopes: Vec<String> = Vec::new();
        for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
            if !scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
                return Err(OAuthError::new(OAuthErrorCode::InvalidScope, "a scope holds a character it must not"));
            }
            if !scopes.iter().any(|known| known == scope) {
                scopes.push(scope.to_owned());
            }
        }
        Ok(Self(scopes))
    }

    /// Whether the scope was asked for.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|asked| asked == scope)
    }

    /// Only those of `supported`: unknown scopes are ignored (OpenID Connect Core 1.0 section 3.1.2.1).
    #[must_use]
    pub fn limited_to(&self, supported: &[&str]) -> Self {
        Self(self.0.iter().filter(|scope| supported.contains(&scope.as_str())).cloned().collect())
    }

    /// Whether each of these is in `granted`: what a refresh may ask for (RFC 6749 section 6).
    pub fn is_within(&self, granted: &Self) -> bool {
        self.0.iter().all(|scope| granted.contains(scope))
    }

    /// Each scope.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Separated by spaces, as on the wire.
impl std::fmt::Display for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}
