//! A real OpenID provider: the certified npm package `oidc-provider`, on a free loopback port.
//!
//! `node/package-lock.json` says which version; it is installed at the first use (`npm.rs`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::npm::{self, MISSING, Package};

const PACKAGE: Package = Package {
    name: "oidc-provider",
    manifest: include_str!("../node/package.json"),
    lock: include_str!("../node/package-lock.json"),
};
const SCRIPT: &str = include_str!("../node/provider.mjs");

/// Runs the provider until its own standard input ends, which the kernel sees to when the test process is gone, killed
/// or not; then stops it. In a process group of its own, so that an interrupt of the tests does not end it before that.
const KEEPER: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
exec >/dev/null
cat <&3 >/dev/null
kill -KILL "$server" 2>/dev/null
wait "$server"
"#;

/// A running provider. It stops when this is dropped or the process ends.
#[derive(Debug)]
pub struct OidcProvider {
    /// Its issuer, as it calls itself.
    pub issuer: String,
    keeper: Child,
}

/// A client that was registered with a provider.
#[derive(Debug, Clone)]
pub struct RegisteredClient {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl OidcProvider {
    /// The one that all tests of this process share: each registers a client of its own, and names people of its own.
    pub fn shared(cache: &Path) -> anyhow::Result<&'static Self> {
        static PROVIDER: OnceLock<Result<OidcProvider, String>> = OnceLock::new();
        let provider = PROVIDER.get_or_init(|| Self::start(cache, false).map_err(|error| format!("{error:#}")));
        provider.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Starts one. The package is kept in `cache`, a folder outside of the repository such as `env!("CARGO_TARGET_TMPDIR")`,
    /// unless the project's cache is named. With `slash` its issuer ends in a slash, as Auth0's and Authentik's do.
    pub fn start(cache: &Path, slash: bool) -> anyhow::Result<Self> {
        let folder = PACKAGE.installed(cache)?;
        let (log, script) = (folder.join("log"), npm::script(&folder, "provider", SCRIPT)?);
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper", "node"]).arg(script);
        if slash {
            keeper.arg("slash");
        }
        let log_file = fs::OpenOptions::new().create(true).append(true).open(&log)?;
        keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log_file);
        let mut keeper = keeper.spawn().context("starting sh")?;
        let mut issuer = String::new();
        BufReader::new(keeper.stdout.take().context("sh has no standard output")?).read_line(&mut issuer)?;
        let provider = Self { issuer: issuer.trim().to_owned(), keeper };
        if provider.issuer.is_empty() {
            drop(provider);
            bail!("the provider did not start ({MISSING}):\n{}", fs::read_to_string(log).unwrap_or_default());
        }
        Ok(provider)
    }

    /// Registers a client with these redirect addresses, and further metadata (RFC 7591).
    pub async fn register(&self, redirect_uris: &[&str], more: Value) -> anyhow::Result<RegisteredClient> {
        let mut metadata = json!({ "redirect_uris": redirect_uris });
        for (name, value) in more.as_object().cloned().unwrap_or_default() {
            metadata[name] = value;
        }
        // A client of each call's own: kept connections end with the test that made them.
        let request = http::client(None)?.post(self.at("/reg")).json(&metadata);
        let client = Answer::read(request.send().await?).await?.expect(201)?.json()?;
        let text = |name: &str| client[name].as_str().unwrap_or_default().to_owned();
        Ok(RegisteredClient { id: text("client_id"), secret: text("client_secret") })
    }

    /// Says who signs in with `email`: further claims, such as `email_verified`, are told as they are.
    pub async fn person(&self, email: &str, sub: &str, more: Value) -> anyhow::Result<()> {
        let mut person = json!({ "email": email, "sub": sub });
        for (name, value) in more.as_object().cloned().unwrap_or_default() {
            person[name] = value;
        }
        Answer::read(http::client(None)?.put(self.at("/people")).json(&person).send().await?).await?.expect(204)?;
        Ok(())
    }

    /// An address below the issuer.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.trim_end_matches('/'))
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Whatever it answers, it has stopped the provider.
        let _ = self.keeper.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_pins_every_package_and_names_no_address_to_load_it_from() -> anyhow::Result<()> {
        let lock: Value = serde_json::from_str(PACKAGE.lock)?;
        let packages = lock["packages"].as_object().context("no packages")?;
        assert!(packages.len() > 10, "{}", packages.len());
        for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
            assert!(package.get("resolved").is_none(), "{path} names an address");
            assert!(
                package["integrity"].as_str().is_some_and(|hash| hash.starts_with("sha512-")),
                "{path} is not pinned"
            );
        }
        Ok(())
    }
}
