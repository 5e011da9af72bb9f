//! All automation of this repository: `cargo xtask <command>`. There are no shell scripts.
//!
//! To add a command: a variant of `Command`, a module of its own, and a line in `main`.

mod autogroup;
mod bench;
mod cargo;
mod check;
mod cmd;
mod demo;
mod generate;
mod hash;
mod host;
mod lock;
mod people;
mod platform;
mod progress;
mod prune;
mod settings;
mod soak;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Automation of the Hexabase AI repository")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or make the host cluster; does nothing if it is there, repairs it if something is missing.
    Up(host::Options),
    /// Show the main job for real: host cluster, platform, people, a workspace, kubectl. Leaves the platform running.
    Demo(demo::Options),
    /// Run all checks and tests.
    Check(check::Options),
    /// Measure.
    Bench(bench::Options),
    /// What `bench flood` starts beside itself.
    #[command(hide = true)]
    Flood,
    /// Break things at every step of what the platform does, on the host cluster; more than an hour.
    Soak(soak::Options),
    /// Write the files that are made from the code.
    Gen,
    /// Take the host cluster down, without a trace outside the cache.
    Down,
    /// Tell what runs.
    Status {
        /// Also list everything on this machine that a devhost could leave behind.
        #[arg(long)]
        traces: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Sentences for people, so no Debug output with its backtrace.
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False if all was said already and the outcome is not good.
fn run(command: Command) -> Result<bool> {
    match command {
        Command::Up(options) => print(&host::ensure(&options)?),
        Command::Demo(options) => demo::run(&options)?,
        Command::Check(options) => return check::run(&options),
        Command::Bench(options) => bench::run(&options)?,
        Command::Flood => bench::flood()?,
        Command::Soak(options) => return soak::run(&options),
        Command::Gen => generate::run()?,
        Command::Down => host::down()?,
        Command::Status { traces } => host::status(traces)?,
    }
    Ok(true)
}

/// For people on standard error, for `eval "$(cargo xtask up)"` on standard output.
fn print(host: &host::Host) {
    let node = host.node_ip.map_or(String::new(), |address| format!(", node {address}"));
    eprintln!("  host {}{node}, vCluster chart {}", host.kind.name(), host.tools.vcluster_chart.display());
    println!("export KUBECONFIG={}", host.kubeconfig_for_people.display());
    let folders = [&host.tools.kubectl, &host.tools.helm].map(|tool| tool.parent().unwrap_or(tool).display());
    println!("export PATH={}:{}:$PATH", folders[0], folders[1]);
}
