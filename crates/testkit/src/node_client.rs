//! An OpenID client that shares no code with us: npm's `openid-client`, driven by `node-client/flows.mjs`.
//!
//! It is installed once below `target/`, by a lock file without addresses, in a folder named after what is installed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::OnceCell;

const MANIFEST: &str = include_str!("../node-client/package.json");
const LOCK: &str = include_str!("../node-client/package-lock.json");
const FLOWS: &str = include_str!("../node-client/flows.mjs");
const INSTALL: &str = "install it with: apt-get install nodejs npm";

/// Lets the client walk the flows of `task`. It trusts the authority in `authority`; whenever a person has to open a page,
/// `open` is given its address and says where they ended.
///
/// # Errors
/// A check of the client failed, with its words.
pub async fn walk(
    task: &Value,
    authority: &Path,
    open: impl AsyncFn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Value> {
    let folder = installed().await?;
    let mut node = Command::new("node");
    node.arg(folder.join("flows.mjs")).arg(task.to_string()).env("NODE_EXTRA_CA_CERTS", authority);
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut node = node.spawn().with_context(|| format!("node cannot be started; {INSTALL}"))?;
    let mut answers = node.stdin.take().context("node has no standard input")?;
    let mut stderr = node.stderr.take().context("node has no standard error")?;
    let mut lines = BufReader::new(node.stdout.take().context("node has no standard output")?).lines();
    while let Some(line) = lines.next_line().await? {
        let mut said: Value = serde_json::from_str(&line).with_context(|| format!("node said {line}"))?;
        if let Some(address) = said["open"].as_str() {
            let ended = open(address).await?;
            answers.write_all(format!("{ended}\n").as_bytes()).await?;
        } else {
            return Ok(said["found"].take());
        }
    }
    let mut words = String::new();
    stderr.read_to_string(&mut words).await?;
    bail!("the client is not content: {words}")
}

/// The folder in which the client is installed.
async fn installed() -> anyhow::Result<&'static PathBuf> {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    FOLDER.get_or_try_init(install).await
}

async fn install() -> anyhow::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    (MANIFEST, LOCK, FLOWS).hash(&mut hasher);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let folder = target.join(format!("node-client-{:016x}", hasher.finish()));
    if folder.exists() {
        return Ok(folder);
    }
    std::fs::create_dir_all(&target)?;
    // Made aside and moved into place, so that of several test processes each finds it whole.
    let aside = tempfile::Builder::new().prefix("node-client-").tempdir_in(&target)?;
    for (name, text) in [("package.json", MANIFEST), ("package-lock.json", LOCK), ("flows.mjs", FLOWS)] {
        std::fs::write(aside.path().join(name), text)?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(aside.path()).stdin(Stdio::null());
    let output = npm.output().await.with_context(|| format!("npm cannot be started; {INSTALL}"))?;
    ensure!(output.status.success(), "npm ci failed: {}", String::from_utf8_lossy(&output.stderr));
    let made = aside.keep();
    if std::fs::rename(&made, &folder).is_err() {
        // Another process was first.
        std::fs::remove_dir_all(&made)?;
    }
    Ok(folder)
}
