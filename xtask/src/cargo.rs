//! Running cargo in the checkout.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cmd, settings};

/// A command whose output is shown.
pub(crate) struct Cargo(pub(crate) Command);

/// Cargo with these arguments, in the checkout.
pub(crate) fn cargo(arguments: &[&str]) -> Cargo {
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
    /// With a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Result<()> {
        let status = self.0.status().context("cannot start cargo")?;
        if status.success() { Ok(()) } else { bail!("cargo failed ({status})") }
    }

    /// Runs it to its end; shows each line that it writes, and tells it.
    pub(crate) fn each_line(mut self, mut tell: impl FnMut(&str)) -> Result<ExitStatus> {
        let mut child = self.0.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let output = child.stdout.take().context("cargo has no output")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            tell(&line);
        }
        Ok(child.wait()?)
    }
}

/// Builds `hexabase` and `hxb`; returns the folder they lie in.
pub(crate) fn build_programs() -> Result<PathBuf> {
    build(&[])
}

/// The same, optimised.
pub(crate) fn build_release() -> Result<PathBuf> {
    build(&["--release"])
}

/// Runs this program, optimised, with the arguments it was given.
pub(crate) fn run_this_optimized() -> Result<()> {
    let mut again = cargo(&["run", "--quiet", "--release", "--locked", "--package", "xtask", "--"]);
    // What the arguments name is named from here.
    again.0.current_dir(std::env::current_dir()?).args(std::env::args_os().skip(1));
    again.run()
}

/// Runs an example of a package, optimised; returns what it prints.
pub(crate) fn run_example(package: &str, name: &str) -> Result<String> {
    cmd::output(&mut cargo(&["run", "--quiet", "--release", "--locked", "--package", package, "--example", name]).0)
}

/// The programs that the workspace's tests run: the same source with the features that tests switch on, so that nothing
/// is compiled a second time where the tests have been built. The tests themselves are not built where they have not been.
pub(crate) fn build_tested_programs() -> Result<PathBuf> {
    let programs = ["build", "--quiet", "--workspace", "--locked", "--bin", "hexabase", "--bin", "hxb"];
    // Only with a target that may use what tests depend on does cargo switch on the features that these ask for.
    let example = ["--example", "resolve"];
    cargo(&[&programs[..], &example[..]].concat()).run()?;
    Ok(target()?.join("debug"))
}

fn build(more: &[&str]) -> Result<PathBuf> {
    let mut arguments = vec!["build", "--locked", "--package", "hexabase-server", "--package", "hexabase-cli"];
    arguments.extend(more);
    cargo(&arguments).run()?;
    Ok(target()?.join(if more.is_empty() { "debug" } else { "release" }))
}

/// The folder that cargo builds in.
fn target() -> Result<PathBuf> {
    let metadata = cmd::output(cargo(&["metadata", "--no-deps", "--format-version", "1"]).0.stderr(Stdio::null()))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"].as_str().context("cargo does not say where it builds")?;
    Ok(PathBuf::from(target))
}
