//! What the benches measure on: a platform of their own, built for release, with Alice and Bob signed in.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Figure;
use crate::cargo;
use crate::host::{self, Host, process};
use crate::people::Person;
use crate::platform::{self, Which};
use crate::progress::Progress;

/// Name of the platform's process and of its folder.
const PROCESS: &str = "hexabase-bench";
const FOLDER: &str = "bench";
/// Its ports are looked for from here on.
const PORTS: u16 = 9443;

/// Runs `measure` on it. Alice's workspaces of these names are removed before and, where it fails, afterwards.
pub(super) fn set(
    options: &host::Options,
    workspaces: &[&str],
    measure: impl FnOnce(&Host, &Person<'_>, &Progress) -> Result<Vec<Figure>>,
) -> Result<Vec<Figure>> {
    set_up(options, workspaces, (0, ""), measure)
}

/// The same with further settings of the platform.
pub(super) fn set_with(
    options: &host::Options,
    workspaces: &[&str],
    more: &'static str,
    measure: impl FnOnce(&Host, &Person<'_>, &Progress) -> Result<Vec<Figure>>,
) -> Result<Vec<Figure>> {
    set_up(options, workspaces, (0, more), measure)
}

/// The same, where so many workspaces are kept made ahead. They stay when it ends: the next platform without any removes them.
pub(super) fn set_with_spares(
    options: &host::Options,
    workspaces: &[&str],
    spares: usize,
    measure: impl FnOnce(&Host, &Person<'_>, &Progress) -> Result<Vec<Figure>>,
) -> Result<Vec<Figure>> {
    set_up(options, workspaces, (spares, ""), measure)
}

fn set_up(
    options: &host::Options,
    workspaces: &[&str],
    (spares, more): (usize, &'static str),
    measure: impl FnOnce(&Host, &Person<'_>, &Progress) -> Result<Vec<Figure>>,
) -> Result<Vec<Figure>> {
    let progress = Progress::new();
    host::preflight(options)?;
    let _hold = host::hold()?;
    let host = host::ensure(options)?;
    let programs = progress.long_step("build for release", cargo::build_release)?;
    let layout = host::layout()?;
    // Of a run that was broken off.
    process::stop(&layout, PROCESS, Duration::from_secs(10))?;
    let port = platform::free_port(PORTS, host.node_ip)?;
    let which = Which { process: PROCESS, folder: FOLDER, port, spares, more };
    let ending = Ending(|| process::stop(&layout, PROCESS, Duration::from_secs(10)));
    let platform = platform::start(&host, &programs, which, &progress)?;
    let alice = Person { platform: &platform, kubectl: &host.tools.kubectl, name: "alice" };
    alice.sign_in()?;
    Person { name: "bob", ..alice }.sign_in()?;
    // Of a run that was broken off.
    remove(&alice, workspaces)?;
    let figures = measure(&host, &alice, &progress);
    if figures.is_err() {
        // The error of the measurement says more than one of this.
        let _ = remove(&alice, workspaces);
    }
    drop(ending);
    figures
}

/// The platform's process.
pub(super) fn pid() -> Result<u32> {
    process::running(&host::layout()?, PROCESS).context("the platform ended")
}

/// Deletes workspaces, as far as they are there.
pub(super) fn remove(alice: &Person<'_>, workspaces: &[&str]) -> Result<()> {
    for name in workspaces {
        if alice.try_hxb(&["workspace", "get", name])?.ok {
            alice.hxb(&["workspace", "delete", name, "--yes", "--wait", "--timeout", "3m"])?;
        }
    }
    Ok(())
}

/// Does something at the end, whatever the way there.
struct Ending<F: Fn() -> Result<()>>(F);

impl<F: Fn() -> Result<()>> Drop for Ending<F> {
    fn drop(&mut self) {
        if let Err(error) = (self.0)() {
            eprintln!("{error:#}");
        }
    }
}
