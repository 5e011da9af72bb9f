//! Debian packages that the devhost needs: which are missing, and how they get installed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::containerd;
use crate::progress::Progress;
use crate::{cmd, settings};

/// Where Debian's compiler for programs of the kernel lies.
pub(crate) const LLVM: &str = "/usr/lib/llvm-19/bin";

/// Packages that are missing on this machine; with those for what Go builds, and for what the network policies' agent
/// compiles while it runs.
pub(crate) fn missing(with_compiler: bool, with_policies: bool) -> Vec<&'static str> {
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
    if with_policies {
        let has = |program: &str| Path::new(LLVM).join(program).is_file();
        wanted.push(("clang-19", has("clang")));
        wanted.push(("llvm-19", has("llc")));
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

/// Packages of what the gateway is compared with.
pub(crate) fn missing_for_gateway() -> Vec<&'static str> {
    if cmd::which("nginx").is_some() { Vec::new() } else { vec!["nginx-light"] }
}

/// The command that installs them.
pub(crate) fn command(missing: &[&str]) -> String {
    format!("apt-get update && apt-get install -y --no-install-recommends {}", missing.join(" "))
}

/// Installs what is missing: with consent given before, in a pipeline, or after a yes. No service is started.
pub(crate) fn ensure(missing: &[&str], yes: bool, progress: &Progress) -> Result<()> {
    allow_services()?;
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
        bail!("packages are missing. Install them with\n  {command}\nor add --yes, and xtask does it");
    }
    progress.long_step(&format!("install {}", missing.join(" ")), || {
        cmd::output(cmd::system("apt-get").arg("update"))?;
        let _guard = NoServices::begin(Path::new(POLICY))?;
        let mut install = cmd::system("apt-get");
        install.env("DEBIAN_FRONTEND", "noninteractive");
        cmd::output(install.args(["install", "-y", "--no-install-recommends"]).args(missing))?;
        Ok(())
    })
}

/// What Debian's packages ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// 101: it is forbidden.
const REFUSAL: &str =
    "#!/bin/sh\n# Written by `cargo xtask` while it installs packages: none shall start a service.\nexit 101\n";

/// As long as it lives, a package that is installed starts nothing, unless the machine has a policy of its own.
struct NoServices<'a> {
    policy: &'a Path,
}

impl<'a> NoServices<'a> {
    fn begin(policy: &'a Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        match options.write(true).create_new(true).mode(0o755).open(policy) {
            Ok(mut file) => file.write_all(REFUSAL.as_bytes())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", policy.display())),
        }
        Ok(Self { policy })
    }
}

impl Drop for NoServices<'_> {
    fn drop(&mut self) {
        // The next run tries again.
        let _ = forget(self.policy);
    }
}

/// Lets packages start services again, if a run of ours was interrupted while it installed some.
pub(crate) fn allow_services() -> Result<()> {
    forget(Path::new(POLICY))
}

/// Removes the policy if we wrote it.
fn forget(policy: &Path) -> Result<()> {
    if fs::read_to_string(policy).is_ok_and(|text| text == REFUSAL) {
        fs::remove_file(policy).with_context(|| format!("cannot remove {}", policy.display()))?;
    }
    Ok(())
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
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_command_names_exactly_what_is_missing() {
        assert!(command(&["runc", "nftables"]).ends_with("install -y --no-install-recommends runc nftables"));
    }

    #[test]
    fn services_are_refused_for_a_while_and_by_our_own_policy_only() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        let guard = NoServices::begin(&policy).unwrap();
        assert_eq!(fs::metadata(&policy).unwrap().permissions().mode() & 0o777, 0o755);
        let asked = std::process::Command::new("/bin/sh").arg(&policy).status().unwrap();
        assert_eq!(asked.code(), Some(101));
        drop(guard);
        assert!(!policy.exists());
        fs::write(&policy, "theirs").unwrap();
        drop(NoServices::begin(&policy).unwrap());
        forget(&policy).unwrap();
        assert_eq!(fs::read_to_string(&policy).unwrap(), "theirs");
    }

    #[test]
    fn the_policy_of_an_interrupted_run_is_removed_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        std::mem::forget(NoServices::begin(&policy).unwrap());
        forget(&policy).unwrap();
        assert!(!policy.exists());
    }
}
