//! Database and master key.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use super::{ConfigError, invalid};

/// Where state is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// `postgres://…` or `sqlite://…`; without it an SQLite file in `data_dir`.
    pub url: Option<SecretString>,
    /// File that holds `url`.
    pub url_file: Option<PathBuf>,
    /// 32 bytes in base64 under which secrets are sealed; without it a key file is made in `data_dir`, which a production
    /// database does not allow.
    pub master_key: Option<SecretString>,
    /// File that holds `master_key`.
    pub master_key_file: Option<PathBuf>,
}

impl StoreConfig {
    /// Whether an external database is named, which makes this a production installation.
    pub fn is_external(&self) -> bool {
        use secrecy::ExposeSecret as _;
        self.url_file.is_some() || self.url.as_ref().is_some_and(|url| url.expose_secret().starts_with("postgres"))
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.is_external() && self.master_key.is_none() && self.master_key_file.is_none() {
            return Err(invalid(
                "store.master_key",
                "is required with an external database, because every replica must hold the same one",
            ));
        }
        Ok(())
    }
}
