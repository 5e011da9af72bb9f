//! The issuer identifier.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Why a string is not an issuer identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// Not an absolute URL with a host.
    #[error("the issuer is not an absolute URL")]
    NotAUrl,
    /// Neither https nor http on a loopback address.
    #[error("the issuer must use https; plain http is allowed on a loopback address only")]
    Insecure,
    /// Carries a query, a fragment, a user name, or characters that a comparison would trip over.
    #[error("the issuer must not have a query, a fragment, credentials or white space")]
    Decorated,
}

/// An issuer identifier (OpenID Connect Core 1.0 section 2, `iss`): https, or http on a loopback address.
///
/// Compared as the exact string it was given as, never as a normalised URL: that is what relying parties do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Issuer(String);

impl Issuer {
    /// Checks and keeps `issuer` as it is written.
    pub fn parse(issuer: &str) -> Result<Self, IssuerError> {
        let url = Url::parse(issuer).map_err(|_| IssuerError::NotAUrl)?;
        if url.host().is_none() || url.cannot_be_a_base() {
            return Err(IssuerError::NotAUrl);
        }
        if !is_secure_or_loopback(&url) {
            return Err(IssuerError::Insecure);
        }
        let plain = issuer.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        if !plain || issuer.contains(['?', '#', '@']) {
            return Err(IssuerError::Decorated);
        }
        Ok(Self(issuer.to_owned()))
    }

    /// The identifier, exactly as it appears in `iss`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identifier followed by `path` (which starts with `/`); a slash at the end of the issuer is not doubled.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }

    /// Where its configuration is published (OpenID Connect Discovery 1.0 section 4).
    pub fn discovery_url(&self) -> String {
        self.join("/.well-known/openid-configuration")
    }

    /// Whether the issuer's host is a loopback address.
    pub fn is_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| is_loopback(&url))
    }
}

impl std::fmt::Display for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Issuer {
    type Error = IssuerError;
    fn try_from(value: String) -> Result<Self, IssuerError> {
        Self::parse(&value)
    }
}

impl From<Issuer> for String {
    fn from(issuer: Issuer) -> Self {
        issuer.0
    }
}

/// Whether the URL's host is 127.0.0.0/8, `::1` or the name `localhost`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// https anywhere, http on loopback only.
pub(crate) fn is_secure_or_loopback(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    }
}
