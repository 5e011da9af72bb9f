//! An OpenID client that shares no code with us: npm's `openid-client`, driven by `node-client/flows.mjs`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::npm::{self, MISSING, Package};

const PACKAGE: Package = Package {
    name: "node-client",
    manifest: include_str!("../node-client/package.json"),
    lock: include_str!("../node-client/package-lock.json"),
};
const FLOWS: &str = include_str!("../node-client/flows.mjs");
/// Longer than a walk through every flow takes on a machine with far too much to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// Lets the client walk the flows of `task`. It trusts the authority in `authority`; whenever a person has to open a page,
/// `open` is given its address and says where they ended. The package is kept in `cache`, a folder outside of the repository,
/// unless the project's cache is named.
///
/// # Errors
/// A check of the client failed, with its words.
pub async fn walk(
    cache: &Path,
    task: &Value,
    authority: &Path,
    open: impl AsyncFn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Value> {
    let cache = cache.to_owned();
    let folder = tokio::task::spawn_blocking(move || PACKAGE.installed(&cache)).await??;
    let mut node = Command::new("node");
    node.arg(npm::script(&folder, "flows", FLOWS)?).arg(task.to_string()).env("NODE_EXTRA_CA_CERTS", authority);
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut node = node.spawn().with_context(|| format!("node cannot be started; {MISSING}"))?;
    let mut stderr = node.stderr.take().context("node has no standard error")?;
    // Read all the while: a full pipe would stop it.
    let words = tokio::spawn(async move {
        let mut words = String::new();
        stderr.read_to_string(&mut words).await?;
        anyhow::Ok(words)
    });
    let walked = async {
        match answer(&mut node, open).await? {
            Some(found) => anyhow::Ok(found),
            None => bail!("the client is not content: {}", words.await??),
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, walked).await;
    in_time.with_context(|| format!("the client did not end within {} s", PATIENCE.as_secs()))?
}

/// Opens pages for the client until it says what it found; nothing when it ends without.
async fn answer(node: &mut Child, open: impl AsyncFn(&str) -> anyhow::Result<String>) -> anyhow::Result<Option<Value>> {
    let mut answers = node.stdin.take().context("node has no standard input")?;
    let mut lines = BufReader::new(node.stdout.take().context("node has no standard output")?).lines();
    while let Some(line) = lines.next_line().await? {
        let mut said: Value = serde_json::from_str(&line).with_context(|| format!("node said {line}"))?;
        if let Some(address) = said["open"].as_str() {
            let ended = open(address).await?;
            answers.write_all(format!("{ended}\n").as_bytes()).await?;
        } else {
            return Ok(Some(said["found"].take()));
        }
    }
    Ok(None)
}
