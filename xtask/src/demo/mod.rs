//! `cargo xtask demo`: the main job, for real and from nothing: a host cluster, the platform, people, a workspace, kubectl.
//! It leaves the platform running.

mod story;

use anyhow::{Result, bail};
use clap::Args;

use crate::cargo;
use crate::host::{self, HostKind};
use crate::lock::{self, Lock};
use crate::platform::{self, Which};
use crate::progress::{Progress, seconds};

/// How to run the demonstration.
#[derive(Clone, Debug, Args)]
#[group(id = "demo")]
pub(crate) struct Options {
    #[command(flatten)]
    host: host::Options,
    /// First of the platform's ports: API and gateway here, public keys and development issuer on the next two.
    #[arg(long, default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1024..65000))]
    port: u16,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let host_options = options.host.or_devhost();
    let which = Which { process: "hexabase", folder: "demo", port: options.port, spares: 0, more: "" };
    let Some(_alone) = Lock::try_exclusive(&lock::path("demo")?)? else {
        bail!("another demonstration is running on this machine: wait for its end, or end it");
    };
    let kind = host::chosen(&host_options)?;
    if kind != HostKind::Devhost {
        bail!(
            "the demonstration does not know under which address pods of a {} host reach this machine: leave out --host",
            kind.name()
        );
    }
    host::preflight(&host_options)?;
    platform::preflight(which, host::known_node()?)?;

    let _hold = host::hold()?;
    let progress = Progress::new();
    eprintln!("The host cluster");
    let host = host::ensure(&host_options)?;
    eprintln!("The platform");
    let programs = progress.long_step("build hexabase and hxb", cargo::build_programs)?;
    let platform = platform::start(&host, &programs, which, &progress)?;
    let story = story::Story::new(&host, &platform, &progress)?;
    story.tell()?;
    platform.print_summary(&host);
    eprintln!("  the whole demonstration took {}", seconds(progress.elapsed()));
    Ok(())
}
