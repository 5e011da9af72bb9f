//! Settings: built-in defaults, then a TOML file, then environment variables `HEXABASE__SECTION__KEY`.
//!
//! One struct per section, each with `validate`. Every secret has a `_file` twin. The environment is read nowhere else.

mod gateway;
mod host;
mod mail;
mod network;
mod oidc;
mod server;
mod sign_in;
mod store;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use gateway::GatewayConfig;
pub use host::{EndpointKind, HostConfig};
pub use mail::MailConfig;
pub use network::{InvalidNetwork, Network};
pub use oidc::{ClientConfig, OidcConfig};
pub use server::{ServerConfig, TlsConfig};
pub use sign_in::{DevIssuerConfig, ProviderConfig, ProviderKind, SignInConfig};
pub use store::StoreConfig;
pub(crate) use store::parse_key;

/// The commented defaults; also the reference of all keys.
pub const DEFAULTS: &str = include_str!("default.toml");

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder for what the server makes itself: its own certificate authority, the embedded database, the master key.
    pub data_dir: PathBuf,
    /// Listeners, addresses and TLS.
    pub server: ServerConfig,
    /// Database and master key.
    pub store: StoreConfig,
    /// How people sign in.
    pub sign_in: SignInConfig,
    /// The platform as an issuer of tokens: keys and clients.
    pub oidc: OidcConfig,
    /// What one workspace may ask through the gateway.
    pub gateway: GatewayConfig,
    /// The mail server that sends invitations.
    pub mail: MailConfig,
    /// The host cluster and how virtual clusters are made on it.
    pub host: HostConfig,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file, key or value could not be read.
    #[error("{0}")]
    Unreadable(String),
    /// A value breaks a rule.
    #[error("setting {key}: {sentence}")]
    Invalid {
        /// Dotted key.
        key: &'static str,
        /// The rule.
        sentence: String,
    },
}

pub(crate) fn invalid(key: &'static str, sentence: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { key, sentence: sentence.into() }
}

/// Refuses the name of a file or folder that does not exist.
fn existing(key: &'static str, path: Option<&Path>) -> Result<(), ConfigError> {
    match path.filter(|path| !path.exists()) {
        Some(path) => Err(invalid(key, format!("names {}, which does not exist", path.display()))),
        None => Ok(()),
    }
}

/// Reads networks, and refuses a text that is none.
fn networks(key: &'static str, texts: &[String]) -> Result<Vec<Network>, ConfigError> {
    let parse = |text: &String| {
        text.parse().map_err(|_| invalid(key, format!("\"{text}\" must be a network such as 10.0.0.0/24")))
    };
    texts.iter().map(parse).collect()
}

impl Config {
    /// Reads the settings; `file` is optional, the environment always counts.
    ///
    /// # Errors
    /// Names the file, key or rule at fault.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut builder =
            config::Config::builder().add_source(config::File::from_str(DEFAULTS, config::FileFormat::Toml));
        if let Some(path) = file {
            builder = builder.add_source(config::File::from(path.to_path_buf()).format(config::FileFormat::Toml));
        }
        let settings = builder
            .add_source(
                config::Environment::with_prefix("HEXABASE").prefix_separator("__").separator("__").try_parsing(true),
            )
            .build()
            .map_err(|cause| ConfigError::Unreadable(cause.to_string()))?;
        let config: Self = settings.try_deserialize().map_err(|cause| ConfigError::Unreadable(cause.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.store.validate()?;
        self.server.validate(&self.store)?;
        self.sign_in.validate(&self.server, &self.store)?;
        self.oidc.validate()?;
        self.gateway.validate()?;
        self.mail.mailer(&self.server.public_url)?;
        self.host.validate()
    }
}

/// Reads a secret given in place or by its `_file` twin.
///
/// # Errors
/// Both or an unreadable file.
pub(crate) fn secret(
    key: &'static str,
    value: Option<&secrecy::SecretString>,
    file: Option<&Path>,
) -> Result<Option<secrecy::SecretString>, ConfigError> {
    match (value, file) {
        (Some(_), Some(_)) => Err(invalid(key, "is given twice, in place and by its _file twin; keep one")),
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map(|text| Some(secrecy::SecretString::from(text.trim_end().to_owned())))
            .map_err(|cause| invalid(key, format!("cannot read {}: {cause}", path.display()))),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
