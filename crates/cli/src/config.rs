//! The servers and sessions of this user: one private file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::error::{Error, Kind, Result};
use crate::files;

/// What the file holds. Has no `Debug`: it holds secrets.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Config {
    /// The server commands go to unless told otherwise: the last one signed in to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By address.
    #[serde(default)]
    pub(crate) servers: BTreeMap<String, Server>,
}

/// One server.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Server {
    /// The authority that signed its certificate, as PEM, when it is not a public one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_authority: Option<String>,
    /// The session, while signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<Session>,
}

/// A session: what a sign-in gave.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Made at sign-in; cached workspace tokens of another mark are not used.
    pub(crate) mark: String,
    /// For the API.
    pub(crate) access_token: String,
    /// Used once, then replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
    /// When the access token ends.
    pub(crate) expires_at: Timestamp,
}

/// Where [`Config`] is kept.
#[derive(Debug, Clone)]
pub(crate) struct ConfigFile {
    path: PathBuf,
}

impl ConfigFile {
    /// The file at `path`, which need not be there yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the cached workspace tokens of one server.
    pub(crate) fn tokens_folder(&self, server: &str) -> PathBuf {
        self.path.with_extension("tokens").join(&crate::random::sha256(server)[..16])
    }

    /// What it holds now.
    pub(crate) fn load(&self) -> Result<Config> {
        let Some(text) = files::read(&self.path)? else { return Ok(Config::default()) };
        serde_json::from_str(&text).map_err(|error| {
            Error::new(Kind::Failure, format!("{} is damaged", self.path.display()))
                .hint("remove it and sign in again with: hxb login")
                .because(error)
        })
    }

    /// Takes the lock under which the file is changed.
    pub(crate) async fn lock(&self) -> Result<std::fs::File> {
        files::lock(&self.path).await
    }

    /// Replaces what it holds; `_lock` is the one from [`ConfigFile::lock`].
    pub(crate) fn store(&self, config: &Config, _lock: &std::fs::File) -> Result<()> {
        let mut text = serde_json::to_string_pretty(config)
            .map_err(|error| Error::new(Kind::Failure, "cannot write the configuration").because(error))?;
        text.push('\n');
        files::replace_private(&self.path, &text)
    }

    /// Changes it under the lock.
    pub(crate) async fn update<T>(&self, change: impl FnOnce(&mut Config) -> T) -> Result<T> {
        let lock = self.lock().await?;
        let mut config = self.load()?;
        let result = change(&mut config);
        self.store(&config, &lock)?;
        Ok(result)
    }
}

/// A server's address in the one form in which it is kept: https (http on loopback only), no slash at the end.
pub(crate) fn server_address(text: &str) -> Result<String> {
    let refused = |why: &str| Error::new(Kind::Usage, format!("{text:?} is not a server address: {why}"));
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&full).map_err(|error| refused(&error.to_string()))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(refused("it names no host")),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err(refused("plain http is allowed on this machine only; use https")),
        other => return Err(refused(&format!("the scheme {other} is neither https nor http"))),
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it must have no user name, query or fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_one_address_however_it_is_written() {
        for text in ["hexabase.example", "https://Hexabase.example/", "https://hexabase.example:443"] {
            assert_eq!(server_address(text).unwrap(), "https://hexabase.example");
        }
        assert_eq!(server_address("localhost:8443").unwrap(), "https://localhost:8443");
        assert_eq!(server_address("http://127.0.0.1:80/").unwrap(), "http://127.0.0.1");
    }

    #[test]
    fn secrets_never_go_to_a_server_without_tls() {
        for text in ["http://hexabase.example", "ftp://a", "https://user:secret@a", "https://a?b", "https://", ""] {
            assert_eq!(server_address(text).unwrap_err().kind(), Kind::Usage, "{text:?}");
        }
    }
}
