//! Database and master key.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexabase_backends::store::{InvalidStoreUrl, StoreUrl};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{ConfigError, invalid, secret};

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
    /// The database that is named; `None` means the SQLite file in `data_dir`.
    ///
    /// # Errors
    /// It is given twice, cannot be read, or is no address of a database.
    pub fn address(&self) -> Result<Option<StoreUrl>, ConfigError> {
        let given = secret("store.url", self.url.as_ref(), self.url_file.as_deref())?;
        let parse = |text: SecretString| text.expose_secret().parse();
        given.map(parse).transpose().map_err(|cause: InvalidStoreUrl| invalid("store.url", cause.to_string()))
    }

    /// Whether an external database is named, which makes this a production installation.
    ///
    /// # Errors
    /// As for [`address`](Self::address).
    pub fn is_external(&self) -> Result<bool, ConfigError> {
        Ok(self.address()?.is_some_and(|address| address.is_server()))
    }

    /// The key that is given; `None` means the key file in `data_dir`.
    ///
    /// # Errors
    /// It is given twice, cannot be read, or is no key.
    pub fn key(&self) -> Result<Option<[u8; 32]>, ConfigError> {
        let given = secret("store.master_key", self.master_key.as_ref(), self.master_key_file.as_deref())?;
        given.map(|text| parse_key(text.expose_secret())).transpose()
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.is_external()? && self.key()?.is_none() {
            return Err(invalid(
                "store.master_key",
                "is required with an external database, because every replica must hold the same one",
            ));
        }
        self.key().map(drop)
    }
}

/// A master key from its text.
pub(crate) fn parse_key(text: &str) -> Result<[u8; 32], ConfigError> {
    let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        invalid("store.master_key", "must be 32 bytes in base64, as `openssl rand -base64 32` makes them")
    })
}
