//! Debian packages that the devhost needs: which are missing, and how they get installed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Result, bail};

use super::containerd;
use crate::progress::Progress;
use crate::{cmd, settings};

/// Packages that are missing on this machine.
pub(crate) fn missing(with_compiler: bool) -> Vec<&'static str> {
    let has = |program: &str| cmd::which(program).is_some();
    let mut wanted = vec![
        ("containerd", has("containerd") && has("ctr")),
        ("runc", has("runc")),
        ("containernetworking-plugins", containerd::plugin_folder().is_some()),
        ("nftables", has("nft")),
        ("iptables", has("iptables")),
        ("conntrack", has("conntrack")),
        ("iproute2", has("ip")),
        ("busybox-static", cmd::which("busybox").is_some_and(|path| is_static(&path))),
        ("ca-certificates", Path::new("/etc/ssl/certs/ca-certificates.crt").is_file()),
    ];
    if with_compiler {
        wanted.push(("gcc", has("gcc")));
        wanted.push(("libc6-dev", Path::new("/usr/include/stdlib.h").is_file()));
    }
    wanted.into_iter().filter(|(_, present)| !present).map(|(name, _)| name).collect()
}

/// Packages of the real servers that tests start.
pub(crate) fn missing_for_tests() -> Vec<&'static str> {
    let postgres = Path::new("/usr/lib/postgresql").read_dir().is_ok_and(|mut versions| {
        versions.any(|version| version.is_ok_and(|version| version.path().join("bin/postgres").is_file()))
    });
    if postgres { Vec::new() } else { vec!["postgresql"] }
}

/// The command that installs them.
pub(crate) fn command(missing: &[&str]) -> String {
    format!("apt-get update && apt-get install -y --no-install-recommends {}", missing.join(" "))
}

/// Installs what is missing: with consent given before, in a pipeline, or after a yes.
pub(crate) fn ensure(missing: &[&str], yes: bool, progress: &Progress) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let command = command(missing);
    if cmd::which("apt-get").is_none() {
        bail!(
            "these programs are missing (by their Debian packages): {}. Install them and try again",
            missing.join(", ")
        );
    }
    let agreed = yes || settings::is_ci() || (settings::is_interactive() && ask(&command)?);
    if !agreed {
        bail!("packages are missing. Install them with\n  {command}\nor let `cargo xtask up --yes` do it");
    }
    progress.long_step(&format!("install {}", missing.join(" ")), || {
        cmd::output(cmd::system("apt-get").arg("update"))?;
        let mut install = cmd::system("apt-get");
        install.env("DEBIAN_FRONTEND", "noninteractive");
        cmd::output(install.args(["install", "-y", "--no-install-recommends"]).args(missing))?;
        Ok(())
    })
}

fn ask(command: &str) -> Result<bool> {
    eprint!("Packages are missing. Run `{command}` now? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A program that needs the dynamic linker names it near its start.
fn is_static(program: &Path) -> bool {
    let mut start = [0; 4096];
    let read = File::open(program).and_then(|mut file| file.read(&mut start)).unwrap_or(0);
    read > 0 && !start[..read].windows(6).any(|part| part == b"/ld-li" || part == b"ld-mus")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_exactly_what_is_missing() {
        assert!(command(&["runc", "nftables"]).ends_with("install -y --no-install-recommends runc nftables"));
    }
}
