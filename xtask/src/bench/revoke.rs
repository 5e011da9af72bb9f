//! How soon access ends that is taken away: at the API, at the gateway, for an open stream, and at the workspace's own API
//! server for whoever reaches that without the gateway.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Figure, percentile, stage};
use crate::cmd;
use crate::host::{self, Host};
use crate::people::Person;
use crate::progress::Progress;

const WORKSPACE: &str = "revoke";
const ROUNDS: usize = 5;
/// Far longer than anything but a token lasts, and longer than a token lasts.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: Duration = Duration::from_secs(660);

/// Measures it all.
pub(crate) fn run(options: &host::Options) -> Result<Vec<Figure>> {
    stage::set(options, &[WORKSPACE], measure)
}

fn measure(host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let bob = Person { name: "bob", ..*alice };
    progress.step("create a workspace", || {
        alice.hxb(&["workspace", "create", WORKSPACE, "--plan", "standard", "--timeout", "5m"]).map(drop)
    })?;
    let workspace = alice.json(&["workspace", "get", WORKSPACE, "--output", "json"], "id")?;
    let person = bob.id()?;
    let (mut api, mut gateway, mut streams) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..ROUNDS {
        alice.hxb(&["member", "add", &person, "--workspace", &workspace, "--group", "WSUsers"])?;
        bob.hxb(&["kubeconfig", &workspace, "--set-current"])?;
        bob.kubectl(&["get", "namespaces"])?;
        progress.step("take a member out", || {
            let mut watch = bob.kubectl_command(&["get", "namespaces", "--watch"]);
            let mut watch = watch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            // It has to stand before it can end.
            sleep(Duration::from_secs(1));
            let credential: Value = serde_json::from_str(&bob.hxb(&["credential", "--workspace", &workspace])?)?;
            let token = credential["status"]["token"].as_str().context("no token")?.to_owned();
            alice.hxb(&["member", "remove", &person, "--workspace", &workspace])?;
            let begun = Instant::now();
            api.push(until(begun, PATIENCE, || Ok(!bob.try_hxb(&["workspace", "get", &workspace])?.ok))?);
            gateway.push(until(begun, PATIENCE, || Ok(!bob.try_kubectl(&["get", "namespaces"])?.ok))?);
            streams.push(until(begun, PATIENCE, || Ok(watch.try_wait()?.is_some()))?);
            last = Some((begun, token));
            Ok(())
        })?;
    }
    let (begun, token) = last.context("no round")?;
    let direct =
        progress.step("wait for the end of the last token", || until_token_ends(host, &workspace, &token, begun))?;
    stage::remove(alice, &[WORKSPACE])?;
    let detail = format!("median of {ROUNDS}, after the removal was answered; the start of a program included");
    let figure = |name, mut samples: Vec<f64>, most| {
        Figure::at_most(name, percentile(&mut samples, 0.5), "s", most, detail.clone())
    };
    Ok(vec![
        figure("removal to refusal, API", api, 1.0),
        figure("removal to refusal, gateway", gateway, 1.0),
        figure("removal to the end of a watch", streams, 30.0),
        Figure::at_most("removal to refusal, without gateway", direct, "s", 600.0, "a token made just before".into()),
    ])
}

/// Asks the workspace's API server itself, at its address inside the host cluster.
fn until_token_ends(host: &Host, workspace: &str, token: &str, begun: Instant) -> Result<f64> {
    let namespace = format!("hxb-{workspace}");
    let address = ["-n", &namespace, "get", "service", workspace, "-o", "jsonpath={.spec.clusterIP}"];
    let server = format!("https://{}", cmd::output(host.kubectl()?.args(address))?.trim());
    let ask = || {
        let mut kubectl = cmd::system(&host.tools.kubectl.display().to_string());
        kubectl.args(["--kubeconfig", "/dev/null", "--insecure-skip-tls-verify", "--server", &server]);
        kubectl.args(["--token", token, "auth", "whoami"]).stdout(Stdio::null()).stderr(Stdio::null());
        anyhow::Ok(kubectl.status().context("cannot start kubectl")?.success())
    };
    ensure!(ask()?, "the workspace's API server does not believe a good token");
    until(begun, TOKEN, || Ok(!ask()?))
}

/// Seconds since `begun` when it is done.
fn until(begun: Instant, patience: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<f64> {
    while !done()? {
        if begun.elapsed() > patience {
            bail!("access did not end within {patience:?}");
        }
        sleep(Duration::from_millis(20));
    }
    Ok(begun.elapsed().as_secs_f64())
}
