//! Redirect URIs: compared as strings, so that no two URL parsers can disagree about them.

use url::{Url, form_urlencoded};

use crate::issuer::is_loopback;

/// Why a redirect URI cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    /// Not an absolute URL in plain ASCII, or with credentials in it.
    #[error("a redirect URI must be an absolute URL without credentials")]
    NotAUrl,
    /// RFC 6749 section 3.1.2.
    #[error("a redirect URI must not have a fragment")]
    Fragment,
    /// http outside loopback, or a scheme such as `javascript:`. A private scheme must hold a dot (RFC 8252 7.1).
    #[error("a redirect URI must use https, http on loopback, or a private scheme with a dot in it")]
    Scheme,
    /// A loopback registration that is not `http://127.0.0.1/...`, `http://[::1]/...` or `http://localhost/...`.
    #[error("a loopback redirect URI must be http on 127.0.0.1, [::1] or localhost, without a port")]
    NotLoopback,
}

/// A registered redirect URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Exact(String),
    /// `http://<host>` and, after any port, the rest.
    Loopback {
        origin: String,
        rest: String,
    },
}

impl RedirectUri {
    /// Matches this very string and no other (RFC 9700 section 2.1).
    pub fn exact(uri: &str) -> Result<Self, RedirectUriError> {
        let url = checked(uri)?;
        let allowed = match url.scheme() {
            "https" => url.has_host(),
            "http" => is_loopback(&url),
            private => private.contains('.'),
        };
        if allowed { Ok(Self(Kind::Exact(uri.to_owned()))) } else { Err(RedirectUriError::Scheme) }
    }

    /// Matches this URI with any port or none (RFC 8252 section 7.3): for native clients that listen on a free port.
    /// Register it without a port. Host, path and query must still be equal, so `http://127.0.0.1/cb` does not cover
    /// `localhost`; register both where a client needs both.
    pub fn loopback(uri: &str) -> Result<Self, RedirectUriError> {
        checked(uri)?;
        for host in ["http://127.0.0.1", "http://[::1]", "http://localhost"] {
            if let Some(rest) = uri.strip_prefix(host)
                && (rest.is_empty() || rest.starts_with('/'))
            {
                return Ok(Self(Kind::Loopback { origin: host.to_owned(), rest: rest.to_owned() }));
            }
        }
        Err(RedirectUriError::NotLoopback)
    }

    /// Whether a requested URI is this one.
    pub fn matches(&self, requested: &str) -> bool {
        match &self.0 {
            Kind::Exact(uri) => uri == requested,
            Kind::Loopback { origin, rest } => {
                let Some(after) = requested.strip_prefix(origin.as_str()).and_then(|r| r.strip_suffix(rest.as_str()))
                else {
                    return false;
                };
                after.is_empty() || after.strip_prefix(':').is_some_and(is_port)
            }
        }
    }
}

fn is_port(text: &str) -> bool {
    !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn checked(uri: &str) -> Result<Url, RedirectUriError> {
    if uri.contains('#') {
        return Err(RedirectUriError::Fragment);
    }
    let plain =
        uri.len() <= 2048 && uri.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'<' | b'>'));
    match Url::parse(uri) {
        Ok(url) if plain && url.username().is_empty() && url.password().is_none() => Ok(url),
        _ => Err(RedirectUriError::NotAUrl),
    }
}

/// Where a native program waits for the answer: its loopback host, or its private scheme. `None` for `https`, where the owner
/// of the name waits. Any program of the machine may stand there instead (RFC 8252 sections 8.6 and 8.4).
pub fn native_target(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    match url.scheme() {
        "https" => None,
        "http" => url.host_str().map(str::to_owned),
        private => Some(private.to_owned()),
    }
}

/// `uri` with these parameters added to its query, the rest of it untouched.
pub fn append_query<'a>(uri: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() {
        return uri.to_owned();
    }
    let separator = match uri.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{uri}{separator}{query}")
}
