//! `cargo xtask gen`: files that are made from the code, committed, and held in step by `cargo xtask check`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{cargo, cmd, settings};

fn openapi_path() -> PathBuf {
    settings::repository().join("docs/openapi.json")
}

/// The files' contents as the code would make them now.
fn render() -> Result<Vec<(PathBuf, String)>> {
    let program = cargo::build_tested_programs()?.join("hexabase");
    let openapi = cmd::output(std::process::Command::new(program).arg("openapi"))?;
    Ok(vec![(openapi_path(), openapi)])
}

/// Writes them.
pub(crate) fn run() -> Result<()> {
    for (path, text) in render()? {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("  wrote {}", path.display());
    }
    Ok(())
}

/// Refuses files that differ from what the code would make.
pub(crate) fn check() -> Result<()> {
    let stale: Vec<String> = render()?
        .into_iter()
        .filter(|(path, text)| fs::read_to_string(path).ok().as_deref() != Some(text))
        .map(|(path, _)| path.display().to_string())
        .collect();
    if stale.is_empty() { Ok(()) } else { bail!("out of date: {}; run `cargo xtask gen`", stale.join(", ")) }
}
