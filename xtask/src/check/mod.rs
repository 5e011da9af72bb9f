//! `cargo xtask check`: the one test command. What it runs, in order, cheapest refusal first.

mod count;
mod made;
mod needs;

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cargo::{Cargo, build_tested_programs, cargo};
use crate::host::packages;
use crate::host::{self, Host};
use crate::progress::{Progress, seconds};
use crate::{cmd, settings};
pub(crate) use count::Count;
use made::Made;

/// Version of the tool that holds `deny.toml`.
const CARGO_DENY: &str = "0.20.2";
/// The test of the whole devhost: ignored by its package's tests, run by a step.
const WHOLE_DEVHOST: &str = "host::whole_tests::the_devhost_repairs_itself_and_leaves_no_trace";

/// Where the tests are that only `cargo xtask soak` runs; the beginning of their names.
pub(crate) const SOAK: &str = "soak::";

/// What to check.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "check")]
pub(crate) struct Options {
    /// Everything that needs no cluster and no root.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    host: host::Options,
}

/// Runs everything and ends with a line `N passed, N failed`. True if all is in order.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut host_options = options.host.or_devhost();
    let mut missing = packages::missing_for_tests();
    if !options.quick {
        host_options = host_options.with_nodes_for_tests()?;
        host::preflight(&host_options)?;
        missing.extend(host::missing_packages(&host_options)?);
    }
    packages::ensure(&missing, options.host.yes, &Progress::new())?;

    let mut run = Run::default();
    run.step("format", |_| cargo(&["fmt", "--all", "--check"]).run());
    run.step("lints", |_| {
        cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"]).run()
    });
    run.step("documentation", |_| {
        cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings").run()
    });
    run.step("dependency policy", |_| deny()?.run());
    run.step("tests", |count| test(cargo(&["test", "--no-fail-fast", "--workspace", "--locked"]), count));
    run.step("generated files", |_| crate::generate::check());
    if !options.quick {
        run.step("no trace of a host cluster", |count| whole_devhost(&host_options, count));
        let _hold = host::hold()?;
        let mut host = None;
        run.step("host cluster", |_| {
            host = Some(host::ensure(&host_options)?);
            Ok(())
        });
        if let Some(host) = host {
            run.step("cluster tests", |count| cluster(&host, count));
        }
    }
    Ok(run.finish())
}

#[derive(Default)]
struct Run {
    count: Count,
    failures: Vec<String>,
    times: Vec<(String, String)>,
}

impl Run {
    /// Runs one step. A failed one does not stop the others, so that one run tells everything; it counts as a failure
    /// unless it has counted its own.
    fn step(&mut self, name: &str, run: impl FnOnce(&mut Count) -> Result<()>) {
        eprintln!("\n== {name}");
        let begun = Instant::now();
        let before = self.count.failed;
        let outcome = run(&mut self.count);
        if let Err(error) = &outcome {
            eprintln!("{error:#}");
            if self.count.failed == before {
                self.count.failed += 1;
            }
        }
        if self.count.failed > before {
            self.failures.push(name.to_owned());
        }
        self.times.push((name.to_owned(), seconds(begun.elapsed())));
    }

    /// Tells where the time went and, last, the count.
    fn finish(mut self) -> bool {
        if self.count.passed == 0 {
            self.count.failed += 1;
            self.failures.push("no test ran".into());
        }
        eprintln!("\nwhere the time went:");
        for (name, time) in &self.times {
            eprintln!("  {time:>12}  {name}");
        }
        if !self.failures.is_empty() {
            eprintln!("not in order: {}", self.failures.join(", "));
        }
        println!("{}", self.count.line());
        self.failures.is_empty()
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
fn test(command: Cargo, count: &mut Count) -> Result<()> {
    let status = command.each_line(|line| count.add(line))?;
    count.close();
    if status.success() { Ok(()) } else { bail!("tests failed ({status})") }
}

/// Takes the devhost up and down, breaks it in between, and compares the machine before and after, unless there is a
/// devhost already.
fn whole_devhost(options: &host::Options, count: &mut Count) -> Result<()> {
    let why = if host::chosen(options)? != host::HostKind::Devhost {
        "the checks run on another host cluster"
    } else if !settings::is_ci() && host::devhost_exists()? {
        "there is a devhost, which this would take down; `cargo xtask down`, then check again, to have it tried"
    } else {
        let arguments =
            ["test", "--package", "xtask", "--locked", "--", "--ignored", "--nocapture", "--exact", WHOLE_DEVHOST];
        return test(cargo(&arguments), count);
    };
    println!("SKIPPED: {why}");
    count.skipped += 1;
    Ok(())
}

/// The suites on the real cluster, against the programs that users run.
fn cluster(host: &Host, count: &mut Count) -> Result<()> {
    let mut arguments = vec!["--no-fail-fast", "--", "--skip", SOAK];
    if host.enforced.is_some() {
        // What only such a host can show.
        arguments.push("--include-ignored");
    }
    for name in needs::left_out(host.second_node.is_some(), host.kwok_nodes > 0) {
        println!("SKIPPED: {name}: this host has not the nodes for it");
        arguments.extend(["--skip", name]);
        count.skipped += 1;
    }
    on_cluster(host, &arguments, &[], |command| test(command, count))
}

/// Has `run` run the cluster tests, with these arguments of `cargo test` and further variables of their environment; cleans up
/// after them.
pub(crate) fn on_cluster(
    host: &Host,
    arguments: &[&str],
    environment: &[(&str, String)],
    run: impl FnOnce(Cargo) -> Result<()>,
) -> Result<()> {
    let programs = build_tested_programs()?;
    let folder = settings::cache_root()?.join("made-by-check");
    let delete = |namespace: &str| {
        let arguments = ["delete", "namespace", "--ignore-not-found", "--wait=false", namespace];
        cmd::output(host.kubectl()?.args(arguments)).map(drop)
    };
    while let Some(left) = Made::left(&folder)? {
        left.clean(delete)?;
    }
    let made = Made::begin(&folder)?;
    let features = "hexabase-reconcile/cluster-tests,hexabase-server/cluster-tests";
    // The whole workspace again, so that nothing is compiled anew with other features.
    let first = ["test", "--workspace", "--features", features, "--test", "cluster", "--locked"];
    let all = [&first[..], arguments].concat();
    let mut command = cargo(&all)
        .env("HEXABASE_TEST_KUBECONFIG", &host.kubeconfig)
        .env("HEXABASE_TEST_KUBECTL", &host.tools.kubectl)
        .env("HEXABASE_TEST_HELM", &host.tools.helm)
        .env("HEXABASE_TEST_CHART", &host.tools.vcluster_chart)
        .env("HEXABASE_TEST_PROGRAMS", programs)
        .env("HEXABASE_TEST_MADE", made.path())
        .env("KUBECACHEDIR", host::kubectl_cache()?)
        .env("KUBERC", "off");
    if let Some(address) = host.node_ip {
        command = command.env("HEXABASE_TEST_NODE_ADDRESS", address.to_string());
    }
    if let Some(node) = host.second_node {
        command = command.env("HEXABASE_TEST_SECOND_NODE", node);
    }
    if host.kwok_nodes > 0 {
        command = command.env("HEXABASE_TEST_KWOK_NODES", host.kwok_nodes.to_string());
    }
    if let Some(enforced) = &host.enforced {
        command = command.env("HEXABASE_TEST_BRIDGE", enforced.bridge).env("HEXABASE_TEST_POD_NETWORK", &enforced.pods);
    }
    for (name, value) in environment {
        command = command.env(name, value);
    }
    let outcome = run(command);
    // A workspace that several tests share lives until the last of them, and none knows that it is the last.
    made.clean(delete)?;
    outcome
}
