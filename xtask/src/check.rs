//! `cargo xtask check`: the one test command. What it runs, in order, cheapest refusal first.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::host::packages;
use crate::host::{self, Host};
use crate::progress::{Progress, seconds};
use crate::{cmd, settings};

/// Version of the tool that holds `deny.toml`.
const CARGO_DENY: &str = "0.20.2";
/// The test of the whole devhost: ignored by its package's tests, run by a step.
const WHOLE_DEVHOST: &str = "host::whole_tests::the_devhost_repairs_itself_and_leaves_no_trace";

/// What to check.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "check")]
pub(crate) struct Options {
    /// Everything that needs no cluster and no root.
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    host: host::Options,
}

/// Passed and failed tests, as the test programs count them.
#[derive(Debug, Default)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs everything and ends with a line `N passed, N failed`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut run = Run::default();
    let mut missing = packages::missing_for_tests();
    if !options.quick {
        missing.extend(host::missing_packages(&options.host.or_devhost())?);
    }
    packages::ensure(&missing, options.host.yes, &Progress::new())?;
    run.step("format", || cargo(&["fmt", "--all", "--check"]).run());
    run.step("lints", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"]).run()
    });
    run.step("documentation", || {
        cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings").run()
    });
    run.step("dependency policy", || deny()?.run());
    run.step("generated files", crate::generate::check);
    let mut count = Count::default();
    run.step("tests", || test(&["--workspace", "--locked"], &[], &mut count));
    if !options.quick {
        run.step("no trace of a host cluster", || whole_devhost(&options.host.or_devhost(), &mut count));
        let _hold = host::hold()?;
        let mut host = None;
        run.step("host cluster", || {
            host = Some(host::ensure(&options.host.or_devhost())?);
            Ok(())
        });
        if let Some(host) = host {
            run.step("cluster tests", || cluster(&host, &mut count));
        }
    }
    run.finish(&count)
}

#[derive(Default)]
struct Run {
    failures: Vec<String>,
    times: Vec<(String, String)>,
}

impl Run {
    /// Runs one step. A failed one does not stop the others, so that one run tells everything.
    fn step(&mut self, name: &str, run: impl FnOnce() -> Result<()>) {
        eprintln!("\n== {name}");
        let begun = Instant::now();
        if let Err(error) = run() {
            eprintln!("{error:#}");
            self.failures.push(name.to_owned());
        }
        self.times.push((name.to_owned(), seconds(begun.elapsed())));
    }

    fn finish(self, count: &Count) -> Result<()> {
        eprintln!("\nwhere the time went:");
        for (name, time) in &self.times {
            eprintln!("  {time:>12}  {name}");
        }
        let Count { passed, failed, skipped } = count;
        let skipped = if *skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
        println!("{passed} passed, {failed} failed{skipped}");
        if !self.failures.is_empty() {
            bail!("not in order: {}", self.failures.join(", "));
        }
        if *passed == 0 {
            bail!("no test ran");
        }
        Ok(())
    }
}

/// A cargo command whose output is shown, in the checkout.
struct Cargo(Command);

fn cargo(arguments: &[&str]) -> Cargo {
    let mut command = Command::new("cargo");
    command.current_dir(settings::repository()).args(arguments).stdin(Stdio::null());
    // The toolchain and flags of the xtask build must not leak into what it builds.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "RUST_BACKTRACE"] {
        command.env_remove(name);
    }
    if let Some(folder) = target_folder() {
        command.env("CARGO_TARGET_DIR", folder);
    }
    Cargo(command)
}

/// In a pipeline the clone is new each time, so what was compiled is kept in the cache.
fn target_folder() -> Option<PathBuf> {
    if settings::var("CARGO_TARGET_DIR").is_some() || !settings::is_ci() {
        return None;
    }
    Some(settings::cache_root().ok()?.join("target"))
}

impl Cargo {
    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    fn run(mut self) -> Result<()> {
        let status = self.0.status().context("cannot start cargo")?;
        if status.success() { Ok(()) } else { bail!("cargo failed ({status})") }
    }
}

fn deny() -> Result<Cargo> {
    let root = settings::cache_root()?.join("tools").join(format!("cargo-deny-{CARGO_DENY}"));
    let program = root.join("bin").join("cargo-deny");
    if !program.is_file() {
        let root = root.display().to_string();
        let package = format!("cargo-deny@{CARGO_DENY}");
        cargo(&["install", "--quiet", "--locked", "--root", &root, &package])
            .run()
            .context("cargo-deny cannot be installed")?;
    }
    let mut command = Command::new(program);
    command.current_dir(settings::repository()).args(["--log-level", "warn", "check", "bans", "licenses", "sources"]);
    Ok(Cargo(command))
}

/// Runs test programs and adds up what they say.
fn test(arguments: &[&str], environment: &[(&str, &Path)], count: &mut Count) -> Result<()> {
    let mut all = vec!["test", "--no-fail-fast"];
    all.extend(arguments);
    let mut command = cargo(&all).0;
    for (name, value) in environment {
        command.env(name, value);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        count.add(&line);
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { bail!("tests failed ({status})") }
}

impl Count {
    /// Takes a line such as `test result: ok. 16 passed; 0 failed; …`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        let number = |word: &str| {
            let part = rest.split(['.', ';']).find(|part| part.trim().ends_with(word))?;
            part.split_whitespace().find_map(|text| text.parse::<u64>().ok())
        };
        self.passed += number("passed").unwrap_or(0);
        self.failed += number("failed").unwrap_or(0);
    }
}

/// Takes the devhost up and down, breaks it in between, and compares the machine before and after, unless there is a
/// devhost already.
fn whole_devhost(options: &host::Options, count: &mut Count) -> Result<()> {
    let why = if host::chosen(options)? != host::HostKind::Devhost {
        "the checks run on another host cluster"
    } else if !settings::is_ci() && host::devhost_exists()? {
        "there is a devhost, which this would take down; `cargo xtask down`, then check again, to have it tried"
    } else {
        return test(&["--package", "xtask", "--locked", "--", "--ignored", "--nocapture", "--exact", WHOLE_DEVHOST], &[], count);
    };
    println!("SKIPPED: {why}");
    count.skipped += 1;
    Ok(())
}

/// The suite on the real cluster, against the programs that users run.
fn cluster(host: &Host, count: &mut Count) -> Result<()> {
    let programs = build_programs()?;
    let made = settings::cache_root()?.join("check-made");
    fs::write(&made, "")?;
    let cache = host::kubectl_cache()?;
    let environment = [
        ("KUBECACHEDIR", cache.as_path()),
        ("KUBERC", Path::new("off")),
        ("HEXABASE_TEST_KUBECONFIG", host.kubeconfig.as_path()),
        ("HEXABASE_TEST_KUBECTL", host.tools.kubectl.as_path()),
        ("HEXABASE_TEST_HELM", host.tools.helm.as_path()),
        ("HEXABASE_TEST_CHART", host.tools.vcluster_chart.as_path()),
        ("HEXABASE_TEST_PROGRAMS", programs.as_path()),
        ("HEXABASE_TEST_MADE", made.as_path()),
    ];
    let node = host.node_ip.map(|address| PathBuf::from(address.to_string()));
    let node = node.as_deref().map(|address| ("HEXABASE_TEST_NODE_ADDRESS", address));
    let environment: Vec<_> = environment.into_iter().chain(node).collect();
    // The whole workspace again, so that nothing is compiled anew with other features.
    let features = "hexabase-reconcile/cluster-tests,hexabase-server/cluster-tests";
    let outcome = test(&["--workspace", "--features", features, "--test", "cluster", "--locked"], &environment, count);
    // A workspace that several tests share lives until the last of them, and none knows that it is the last.
    for namespace in fs::read_to_string(&made).unwrap_or_default().lines() {
        cmd::output(host.kubectl()?.args(["delete", "namespace", "--ignore-not-found", "--wait=false", namespace]))?;
    }
    outcome
}

/// Builds `hexabase` and `hxb`; returns the folder they lie in.
pub(crate) fn build_programs() -> Result<PathBuf> {
    build(&[])
}

/// The same, optimised.
pub(crate) fn build_release() -> Result<PathBuf> {
    build(&["--release"])
}

/// Runs an example of a package, optimised; returns what it prints.
pub(crate) fn run_example(package: &str, name: &str) -> Result<String> {
    cmd::output(&mut cargo(&["run", "--quiet", "--release", "--locked", "--package", package, "--example", name]).0)
}

fn build(more: &[&str]) -> Result<PathBuf> {
    let mut arguments = vec!["build", "--locked", "--package", "hexabase-server", "--package", "hexabase-cli"];
    arguments.extend(more);
    cargo(&arguments).run()?;
    let metadata = cmd::output(cargo(&["metadata", "--no-deps", "--format-version", "1"]).0.stderr(Stdio::null()))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"].as_str().context("cargo does not say where it builds")?;
    Ok(Path::new(target).join(if more.is_empty() { "debug" } else { "release" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_counted_by_their_closing_lines() {
        let mut count = Count::default();
        count.add("test result: ok. 16 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.06s");
        count.add("test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.06s");
        count.add("running 4 tests");
        assert_eq!((count.passed, count.failed), (19, 1));
    }
}
