//! The life of a workspace as a person sees it, and what the platform costs meanwhile.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hexabase_testkit::browser::Browser;
use hexabase_testkit::http::Http;
use serde_json::{Value, json};

use super::raw::Raw;
use super::{Figure, examples, percentile, stage};
use crate::cmd;
use crate::host::{self, Host};
use crate::people::Person;
use crate::progress::Progress;

const WORKSPACES: [&str; 5] = ["one", "two", "three", "four", "five"];
/// Those that are given what was made ahead.
const AHEAD: [&str; 5] = ["six", "seven", "eight", "nine", "ten"];
const READS: usize = 2_000;
const WRITES: usize = 300;
const WAKES: usize = 5;

/// Measures it all: first workspaces that are made from nothing, then such as were made ahead.
pub(crate) fn run(options: &host::Options) -> Result<Vec<Figure>> {
    let mut figures = stage::set(options, &WORKSPACES, measure)?;
    figures.extend(stage::set_with_spares(options, &AHEAD, 1, measure_ahead)?);
    // What was made ahead last goes.
    stage::set(options, &[], |host, alice, progress| {
        progress.step("remove what was made ahead", || alice.until("its end", || Ok(nobodys(host)?.is_empty())))?;
        Ok(Vec::new())
    })?;
    Ok(figures)
}

fn measure(host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut raw = Raw::new(host, alice.platform.folder.join("raw"))?;
    let pid = stage::pid()?;
    figures.push(Figure::plain("server memory, idle", resident_mb(pid)?, "MB", "RSS of `hexabase all`".into()));
    let mut made = Creations::default();
    for name in WORKSPACES {
        made.create(alice, progress, name)?;
        // Beside as many others.
        raw.measure(progress)?;
    }
    let (cold, raw) = (made.median(), raw.medians());
    figures.extend(made.figures("request to first kubectl, p50", 18.0, "request to first kubectl, p95"));
    let alone =
        |seconds: f64| format!("of vCluster with the chart's own settings, without the platform: {seconds:.1} s");
    figures.push(Figure::at_most("to first kubectl / vCluster alone", cold / raw.0, "x", 1.0, alone(raw.0)));
    figures.push(Figure::at_most(
        "server memory, 5 workspaces",
        resident_mb(pid)?,
        "MB",
        60.0,
        "RSS of `hexabase all`".into(),
    ));
    figures.extend(api(alice, progress)?);
    let wake = wake(alice, progress)?;
    figures.push(Figure::at_most("wake / vCluster alone", wake.value / raw.1, "x", 1.0, alone(raw.1)));
    figures.push(wake);
    figures.push(delete(alice, progress, &WORKSPACES)?);
    figures.extend(examples::mint(progress)?);
    Ok(figures)
}

/// Each is asked for when one has been made ahead, and nothing else is being made.
fn measure_ahead(host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let mut made = Creations::default();
    for name in AHEAD {
        progress.step("wait for a workspace made ahead", || {
            alice.until("one that is asleep", || asleep(host))?;
            // A moment for the platform to see that as well.
            sleep(Duration::from_secs(2));
            Ok(())
        })?;
        made.create(alice, progress, name)?;
    }
    let figures = made.figures("made ahead: to first kubectl, p50", 9.0, "made ahead: to first kubectl, p95");
    stage::remove(alice, &AHEAD)?;
    Ok(figures.into())
}

/// Namespaces on the host of workspaces that are nobody's.
fn nobodys(host: &Host) -> Result<Vec<String>> {
    let label = "app.kubernetes.io/managed-by=hexabase,hexabase.ai/workspace,!hexabase.ai/organization";
    let names = cmd::output(host.kubectl()?.args(["get", "namespaces", "-l", label, "-o", "name"]))?;
    Ok(names.lines().filter_map(|name| name.split_once('/')).map(|(_, name)| name.to_owned()).collect())
}

/// Whether one has been up and runs no more.
fn asleep(host: &Host) -> Result<bool> {
    for namespace in nobodys(host)? {
        let get = |kind: &str, name: &str| {
            cmd::output(host.kubectl()?.args(["-n", &namespace, "get", kind, name, "--ignore-not-found", "-o", "name"]))
        };
        let secret = namespace.replace("hxb-", "vc-");
        let pods = cmd::output(host.kubectl()?.args(["-n", &namespace, "get", "pods", "-o", "name"]))?;
        if pods.trim().is_empty() && !get("secret", &secret)?.trim().is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Workspaces that were made, from the request to the first answer of kubectl, one after the other.
#[derive(Default)]
struct Creations {
    totals: Vec<f64>,
    steps: Vec<(String, Vec<f64>)>,
}

impl Creations {
    fn create(&mut self, alice: &Person<'_>, progress: &Progress, name: &str) -> Result<()> {
        progress.step(&format!("create workspace {name}"), || {
            let begun = Instant::now();
            alice.hxb(&["workspace", "create", name, "--plan", "standard", "--timeout", "5m"])?;
            alice.hxb(&["kubeconfig", name, "--set-current"])?;
            alice.kubectl(&["get", "namespaces"])?;
            self.totals.push(begun.elapsed().as_secs_f64());
            Ok(())
        })?;
        let workspace: Value = serde_json::from_str(&alice.hxb(&["workspace", "get", name, "--output", "json"])?)?;
        for step in workspace["steps"].as_array().context("no steps")? {
            let seconds = between(moment(&step["started_at"])?, moment(&step["finished_at"])?);
            let name = step["name"].as_str().unwrap_or_default().to_owned();
            match self.steps.iter_mut().find(|(known, _)| *known == name) {
                Some((_, samples)) => samples.push(seconds),
                None => self.steps.push((name, vec![seconds])),
            }
        }
        Ok(())
    }

    fn median(&mut self) -> f64 {
        percentile(&mut self.totals, 0.5)
    }

    fn figures(mut self, median: &'static str, most: f64, rarest: &'static str) -> [Figure; 2] {
        let steps = self.steps.iter_mut();
        let split: Vec<String> =
            steps.map(|(name, samples)| format!("{name} {:.1}", percentile(samples, 0.5))).collect();
        let detail = format!("p50 by step: {}", split.join(", "));
        let many = format!("of {}", self.totals.len());
        [
            Figure::at_most(median, percentile(&mut self.totals, 0.5), "s", most, detail),
            Figure::plain(rarest, percentile(&mut self.totals, 0.95), "s", many),
        ]
    }
}

/// From one time of the day to the next time it is as late as that.
fn between(start: f64, end: f64) -> f64 {
    (end - start).rem_euclid(24.0 * 60.0 * 60.0)
}

/// Seconds since the start of the day: all that is asked for are differences of minutes.
fn moment(value: &Value) -> Result<f64> {
    let text = value.as_str().context("a moment is missing")?;
    let clock = text.split('T').nth(1).context("not a moment")?.trim_end_matches('Z');
    let mut seconds = 0.0;
    for part in clock.split(':') {
        seconds = seconds * 60.0 + part.parse::<f64>()?;
    }
    Ok(seconds)
}

fn delete(alice: &Person<'_>, progress: &Progress, names: &[&str]) -> Result<Figure> {
    let mut samples = Vec::new();
    for name in names {
        progress.step(&format!("delete workspace {name}"), || {
            let begun = Instant::now();
            alice.hxb(&["workspace", "delete", name, "--yes", "--wait", "--timeout", "3m"])?;
            samples.push(begun.elapsed().as_secs_f64());
            Ok(())
        })?;
    }
    Ok(Figure::at_most(
        "delete, p50",
        percentile(&mut samples, 0.5),
        "s",
        20.0,
        "until nothing is left on the host".into(),
    ))
}

/// From the first request of kubectl to a workspace that sleeps until its answer.
fn wake(alice: &Person<'_>, progress: &Progress) -> Result<Figure> {
    let name = WORKSPACES[4];
    let mut samples = Vec::new();
    for _ in 0..WAKES {
        progress.step("put it to sleep and use it", || {
            alice.hxb(&["workspace", "sleep", name, "--wait", "--timeout", "3m"])?;
            let begun = Instant::now();
            alice.kubectl(&["get", "namespaces"])?;
            samples.push(begun.elapsed().as_secs_f64());
            Ok(())
        })?;
    }
    let detail = format!("from kubectl's request to a sleeping workspace to its answer, of {WAKES}");
    Ok(Figure::at_most("wake, p50", percentile(&mut samples, 0.5), "s", 8.0, detail))
}

/// Reads and writes one after the other, over one connection.
fn api(alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let platform = alice.platform;
    let bob = Person { name: "bob", ..*alice };
    let authority = fs::read_to_string(&platform.authority)?;
    let workspace = alice.json(&["workspace", "get", WORKSPACES[0], "--output", "json"], "id")?;
    let bob = bob.id()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut reads, mut writes) = progress.step("read and write by the API", || {
        runtime.block_on(async {
            let issuer = format!("{}/oidc/platform", platform.url);
            let tokens = Browser::new(&authority)?.tokens(&issuer, "hxb", "alice@example.test").await?;
            let http = Http::new(&format!("{}/api/v1", platform.url), &authority)?.with_token(tokens.access_token);
            let mut reads = Vec::new();
            for number in 0..READS {
                let path = if number % 2 == 0 { "/workspaces".to_owned() } else { format!("/workspaces/{workspace}") };
                let begun = Instant::now();
                http.get(&path).await?.expect(200)?;
                reads.push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
            let mut writes = Vec::new();
            let path = format!("/workspaces/{workspace}/members");
            for _ in 0..WRITES {
                let begun = Instant::now();
                http.post(&path, &json!({ "user": bob })).await?.expect(201)?;
                writes.push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
            anyhow::Ok((reads, writes))
        })
    })?;
    let detail = || "one after the other, SQLite, 5 workspaces".to_owned();
    Ok(vec![
        Figure::plain("API read, p50", percentile(&mut reads, 0.5), "ms", detail()),
        Figure::at_most("API read, p99", percentile(&mut reads, 0.99), "ms", 10.0, detail()),
        Figure::plain("API write, p50", percentile(&mut writes, 0.5), "ms", detail()),
        Figure::plain("API write, p99", percentile(&mut writes, 0.99), "ms", detail()),
    ])
}

/// Memory that a process holds, from `/proc`.
pub(super) fn resident_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    ensure!(kilobytes > 0.0, "the process has no memory");
    Ok(kilobytes / 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_may_go_on_past_midnight() {
        let at = |text: &str| moment(&json!(text)).unwrap();
        let begun = at("2026-03-01T23:59:58.5Z");
        assert_eq!(between(begun, at("2026-03-02T00:00:01Z")), 2.5);
        assert_eq!(between(at("2026-03-01T10:00:00Z"), at("2026-03-01T10:01:30Z")), 90.0);
    }
}
