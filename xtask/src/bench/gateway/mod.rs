//! The gateway: what it adds to an answer, how it compares with nginx in front of the same API server, and what one
//! workspace notices of another one that floods.
//!
//! Whoever asks runs on the same cores as whatever answers, so that all figures but the ratios are of a small machine.

pub(crate) mod fairness;
pub(crate) mod flood;
mod nginx;
mod proxies;

use std::fs;

use anyhow::{Context, Result};
use hexabase_testkit::http::Http;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Figure, percentile, stage};
use crate::host::{self, packages};
use crate::people::Person;
use crate::progress::Progress;

const WORKSPACES: [&str; 2] = ["quiet", "loud"];
/// Without the limits of a workspace.
const LIFTED: &str = "[gateway]\nrequests_per_second = 1000000\nburst = 1000000\nbytes_per_second = 100000000000\n";
/// Connections that the askers of one kind share.
const CONNECTIONS: usize = 4;
/// A small answer, and how much is in a large one: about a megabyte.
const SMALL: &str = "/api/v1/namespaces/default";
const LARGE_BYTES: usize = 900_000;

/// Measures the gateway by itself.
pub(crate) fn run(options: &host::Options) -> Result<Vec<Figure>> {
    packages::ensure(&packages::missing_for_gateway(), options.yes, &Progress::new())?;
    stage::set_with(options, &WORKSPACES, LIFTED, proxies::measure)
}

fn several(make: impl Fn() -> Result<Http>) -> Result<Vec<Http>> {
    (0..CONNECTIONS).map(|_| make()).collect()
}

fn large(name: &str) -> Value {
    let data = json!({ "x": "x".repeat(LARGE_BYTES) });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

/// Makes a workspace; its id.
fn workspace(alice: &Person<'_>, name: &str, progress: &Progress) -> Result<String> {
    progress.step(&format!("create workspace {name}"), || {
        alice.hxb(&["workspace", "create", name, "--plan", "standard", "--timeout", "5m"]).map(drop)
    })?;
    alice.json(&["workspace", "get", name, "--output", "json"], "id")
}

/// The way to a workspace through the gateway.
#[derive(Serialize, Deserialize)]
struct Way {
    address: String,
    authority: String,
    token: String,
}

impl Way {
    fn new(alice: &Person<'_>, workspace: &str) -> Result<Self> {
        let credential: Value = serde_json::from_str(&alice.hxb(&["credential", "--workspace", workspace])?)?;
        let token = credential["status"]["token"].as_str().context("no token")?.to_owned();
        let authority = fs::read_to_string(&alice.platform.authority)?;
        Ok(Self { address: format!("{}/k8s/{workspace}", alice.platform.url), authority, token })
    }

    fn http(&self) -> Result<Http> {
        Ok(Http::new(&self.address, &self.authority)?.with_token(&self.token))
    }
}
