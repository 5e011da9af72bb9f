//! The life of a workspace as a person sees it, and what the platform costs meanwhile.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hexabase_testkit::browser::Browser;
use hexabase_testkit::http::Http;
use serde_json::{Value, json};

use super::{Figure, examples, percentile, stage};
use crate::cmd;
use crate::host::{self, Host};
use crate::people::Person;
use crate::progress::Progress;

const WORKSPACES: [&str; 5] = ["one", "two", "three", "four", "five"];
const READS: usize = 2_000;
const WRITES: usize = 300;
/// Wakes that count, and how many may have to be thrown away for them.
const WAKES: usize = 3;
const SPOILT_WAKES: usize = 5;

/// Measures it all.
pub(crate) fn run(options: &host::Options) -> Result<Vec<Figure>> {
    stage::set(options, &WORKSPACES, measure)
}

fn measure(host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let pid = stage::pid()?;
    figures.push(Figure::plain("server memory, idle", resident_mb(pid)?, "MB", "RSS of `hexabase all`".into()));
    figures.extend(create(alice, progress)?);
    figures.push(Figure::at_most(
        "server memory, 5 workspaces",
        resident_mb(pid)?,
        "MB",
        60.0,
        "RSS of `hexabase all`".into(),
    ));
    figures.extend(api(alice, progress)?);
    figures.push(wake(host, alice, progress)?);
    figures.push(delete(alice, progress)?);
    figures.extend(examples::mint(progress)?);
    Ok(figures)
}

/// From the request to the first answer of kubectl, one after the other.
fn create(alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let mut totals = Vec::new();
    let mut steps: Vec<(String, Vec<f64>)> = Vec::new();
    for name in WORKSPACES {
        progress.step(&format!("create workspace {name}"), || {
            let begun = Instant::now();
            alice.hxb(&["workspace", "create", name, "--plan", "standard", "--timeout", "5m"])?;
            alice.hxb(&["kubeconfig", name, "--set-current"])?;
            alice.kubectl(&["get", "namespaces"])?;
            totals.push(begun.elapsed().as_secs_f64());
            Ok(())
        })?;
        let workspace: Value = serde_json::from_str(&alice.hxb(&["workspace", "get", name, "--output", "json"])?)?;
        for step in workspace["steps"].as_array().context("no steps")? {
            let seconds = between(moment(&step["started_at"])?, moment(&step["finished_at"])?);
            let name = step["name"].as_str().unwrap_or_default().to_owned();
            match steps.iter_mut().find(|(known, _)| *known == name) {
                Some((_, samples)) => samples.push(seconds),
                None => steps.push((name, vec![seconds])),
            }
        }
    }
    let split: Vec<String> =
        steps.iter_mut().map(|(name, samples)| format!("{name} {:.1}", percentile(samples, 0.5))).collect();
    let detail = format!("p50 by step: {}", split.join(", "));
    Ok(vec![
        Figure::at_most("request to first kubectl, p50", percentile(&mut totals, 0.5), "s", 20.0, detail),
        Figure::plain(
            "request to first kubectl, p95",
            percentile(&mut totals, 0.95),
            "s",
            format!("of {}", totals.len()),
        ),
    ])
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

fn delete(alice: &Person<'_>, progress: &Progress) -> Result<Figure> {
    let mut samples = Vec::new();
    for name in WORKSPACES {
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

/// From the moment a stopped control plane is started again until kubectl is answered. Its data is kept. The platform
/// repairs a stopped one too: a sample in which it was the first does not count.
fn wake(host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Figure> {
    let name = WORKSPACES[4];
    let id = alice.json(&["workspace", "get", name, "--output", "json"], "id")?;
    let namespace = format!("hxb-{id}");
    let kubectl = |arguments: &[&str]| cmd::output(host.kubectl()?.args(["-n", &namespace]).args(arguments));
    let mut samples = Vec::new();
    for _ in 0..WAKES + SPOILT_WAKES {
        let sample = progress.step("stop and start its control plane", || {
            kubectl(&["scale", "statefulset", &id, "--replicas", "0"])?;
            kubectl(&["wait", "--for=delete", &format!("pod/{id}-0"), "--timeout=60s"])?;
            let begun = Instant::now();
            // Whatever starts it from here on starts it within the sample.
            let wanted = kubectl(&["get", "statefulset", &id, "-o", "jsonpath={.spec.replicas}"])?;
            kubectl(&["scale", "statefulset", &id, "--replicas", "1"])?;
            alice.until("an answer", || Ok(alice.try_kubectl(&["get", "namespaces", "--request-timeout=2s"])?.ok))?;
            Ok((wanted == "0").then(|| begun.elapsed().as_secs_f64()))
        })?;
        samples.extend(sample);
        if samples.len() == WAKES {
            break;
        }
    }
    ensure!(samples.len() == WAKES, "the platform was the first to start it more than {SPOILT_WAKES} times");
    Ok(Figure::plain(
        "warm wake, p50",
        percentile(&mut samples, 0.5),
        "s",
        "control plane from 0 replicas to an answer".into(),
    ))
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
fn resident_mb(pid: u32) -> Result<f64> {
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
