//! How people sign in: external identity providers only.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{ConfigError, ServerConfig, StoreConfig, invalid, secret};

/// The identity providers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInConfig {
    /// OpenID Connect providers, by order of their buttons.
    pub providers: Vec<ProviderConfig>,
    /// The development issuer.
    pub development: DevIssuerConfig,
}

/// One OpenID Connect provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Lower-case letters, digits, hyphens; part of the redirect address `/auth/<id>/callback`.
    pub id: String,
    /// Name on the button.
    pub display_name: String,
    /// Issuer, exactly as it calls itself.
    pub issuer: Url,
    /// Client id registered there.
    pub client_id: String,
    /// Client secret registered there.
    pub client_secret: Option<SecretString>,
    /// File that holds `client_secret`.
    pub client_secret_file: Option<PathBuf>,
}

/// The compiled-in identity provider, for a laptop and for tests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevIssuerConfig {
    /// Loopback address to listen on; absent turns it off. Anybody on this machine can then sign in as anybody.
    pub listen: Option<SocketAddr>,
}

impl SignInConfig {
    pub(super) fn validate(&self, server: &ServerConfig, store: &StoreConfig) -> Result<(), ConfigError> {
        let mut seen = std::collections::BTreeSet::from(["development"]);
        for provider in &self.providers {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if provider.id.is_empty() || !provider.id.bytes().all(plain) || !seen.insert(&provider.id) {
                return Err(invalid(
                    "sign_in.providers.id",
                    format!("\"{}\" must be lower-case letters, digits and hyphens, and be used once", provider.id),
                ));
            }
        }
        for ProviderConfig { client_secret, client_secret_file, .. } in &self.providers {
            secret("sign_in.providers.client_secret", client_secret.as_ref(), client_secret_file.as_deref())?;
        }
        let Some(listen) = self.development.listen else {
            return Ok(());
        };
        let key = "sign_in.development.listen";
        if !listen.ip().is_loopback() {
            return Err(invalid(key, "the development issuer lets anybody in, so it listens on loopback only"));
        }
        if !server.is_loopback() {
            return Err(invalid(
                key,
                "the development issuer is refused because server.listen is not a loopback address",
            ));
        }
        if store.is_external()? {
            return Err(invalid(key, "the development issuer is refused because store.url names an external database"));
        }
        Ok(())
    }
}
