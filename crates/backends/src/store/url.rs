//! Where the store is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the store is: `sqlite:///path/to/file.db` or `postgres://user:password@host/database`.
///
/// Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(pub(super) Place);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Sqlite(PathBuf),
    Postgres(url::Url),
}

/// A text that does not say where a store is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store's address starts with sqlite:///path/to/file or postgres://host/database")]
pub struct InvalidStoreUrl;

impl StoreUrl {
    /// Whether it names a database server, which several processes can share, rather than a file.
    pub fn is_server(&self) -> bool {
        matches!(self.0, Place::Postgres(_))
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::Sqlite(path) => Some(path),
            Place::Postgres(_) => None,
        }
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, InvalidStoreUrl> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            // In memory there would be a database per connection, or a shared cache with rules of its own.
            let is_file = !path.is_empty() && !path.contains([':', '?']) && !path.ends_with('/');
            return if is_file { Ok(Self(Place::Sqlite(path.into()))) } else { Err(InvalidStoreUrl) };
        }
        let url: url::Url = text.parse().map_err(|_| InvalidStoreUrl)?;
        let is_postgres = matches!(url.scheme(), "postgres" | "postgresql") && url.has_host() && url.path().len() > 1;
        if is_postgres { Ok(Self(Place::Postgres(url))) } else { Err(InvalidStoreUrl) }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Place::Postgres(url) => {
                write!(f, "postgres://{}{}", url.host_str().unwrap_or_default(), url.path())
            }
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}
