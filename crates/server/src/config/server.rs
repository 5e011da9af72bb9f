//! Listeners, addresses and TLS.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use super::{ConfigError, Network, StoreConfig, existing, invalid, networks};

/// Where the server listens and what it is called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address of API, console, gateway and issuers.
    pub listen: SocketAddr,
    /// What users and tokens call the server; `https`, no path.
    pub public_url: Url,
    /// Second listener that serves nothing but discovery and public keys to the host cluster. Needed where workspaces
    /// cannot reach `public_url`.
    pub cluster_listen: Option<SocketAddr>,
    /// What the host cluster calls that listener; `https`, no path.
    pub cluster_url: Option<Url>,
    /// Networks (CIDR) of the reverse proxies in front of this server: from them, and from nobody else, it takes the word of
    /// `X-Forwarded-For` for where a request came from.
    pub trusted_proxies: Vec<String>,
    /// Certificates.
    pub tls: TlsConfig,
}

/// Certificates of the listeners.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM chain. Without it the server makes a certificate authority of its own in `data_dir`, which a production database
    /// does not allow: every process would present, and tell to workspaces, another one.
    pub certificate: Option<PathBuf>,
    /// PEM key of that chain.
    pub private_key: Option<PathBuf>,
    /// PEM of the authority that signed the chain, told to workspaces and kubeconfigs where it is a private one.
    pub certificate_authority: Option<PathBuf>,
}

impl ServerConfig {
    /// Whether the listener for people is reachable from this machine only.
    pub fn is_loopback(&self) -> bool {
        self.listen.ip().is_loopback()
    }

    /// The networks of the reverse proxies.
    ///
    /// # Errors
    /// A text that is no network.
    pub fn proxies(&self) -> Result<Vec<Network>, ConfigError> {
        networks("server.trusted_proxies", &self.trusted_proxies)
    }

    pub(super) fn validate(&self, store: &StoreConfig) -> Result<(), ConfigError> {
        self.proxies()?;
        check_base_url("server.public_url", &self.public_url)?;
        if let Some(url) = &self.cluster_url {
            check_base_url("server.cluster_url", url)?;
        }
        if self.cluster_listen.is_some() != self.cluster_url.is_some() {
            return Err(invalid("server.cluster_listen", "and server.cluster_url are given together or not at all"));
        }
        if self.tls.certificate.is_some() != self.tls.private_key.is_some() {
            return Err(invalid(
                "server.tls.certificate",
                "and server.tls.private_key are given together or not at all",
            ));
        }
        for (key, path) in [
            ("server.tls.certificate", &self.tls.certificate),
            ("server.tls.private_key", &self.tls.private_key),
            ("server.tls.certificate_authority", &self.tls.certificate_authority),
        ] {
            existing(key, path.as_deref())?;
        }
        if store.is_external()? && self.tls.certificate.is_none() {
            return Err(invalid(
                "server.tls.certificate",
                "is required with an external database, because every process must be known by the same authority",
            ));
        }
        Ok(())
    }
}

fn check_base_url(key: &'static str, url: &Url) -> Result<(), ConfigError> {
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if url.scheme() == "https" && bare && url.host().is_some() {
        return Ok(());
    }
    Err(invalid(key, "must be an https address without path, query or user, such as https://hexabase.example.com"))
}
