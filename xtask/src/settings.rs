//! What the surroundings say: the environment and the clock. The only file of this crate that reads either.

use std::io::IsTerminal;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// A variable of the environment, if it is set and not empty.
#[expect(clippy::disallowed_methods, reason = "the one place where xtask reads the environment")]
pub(crate) fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the one place where xtask reads the clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Whole seconds since 1970, for the dates in certificates.
pub(crate) fn unix_seconds() -> u64 {
    now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Where everything lies that is built once and kept: `$HEXABASE_CACHE`, else below the user's cache folder. Free of
/// symbolic links: mounts and processes are found again by the paths that the kernel tells.
pub(crate) fn cache_root() -> Result<PathBuf> {
    if let Some(path) = var("HEXABASE_CACHE") {
        return resolve(Path::new(&path));
    }
    if let Some(path) = var("XDG_CACHE_HOME") {
        return resolve(&Path::new(&path).join("hexabase"));
    }
    match var("HOME") {
        Some(home) => resolve(&Path::new(&home).join(".cache/hexabase")),
        None => bail!("there is no folder for the cache: set HEXABASE_CACHE (or HOME) to one"),
    }
}

/// The checked-out repository that this xtask was built from.
pub(crate) fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// True in a pipeline: nobody is there to answer a question.
pub(crate) fn is_ci() -> bool {
    var("CI").is_some_and(|value| value != "false" && value != "0")
}

/// True if this machine may be changed.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// True when a person can answer a question.
pub(crate) fn is_interactive() -> bool {
    !is_ci() && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The path that the kernel will tell, also of what does not exist yet.
pub(crate) fn resolve(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let found = path.ancestors().find_map(|existing| Some((existing, existing.canonicalize().ok()?)));
    let Some((existing, mut real)) = found else { return Ok(path) };
    for part in path.strip_prefix(existing)?.components() {
        match part {
            // What does not exist is no link, so this is the folder above.
            Component::ParentDir => drop(real.pop()),
            part => real.push(part),
        }
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_a_path_is_followed_before_and_after_the_folder_exists() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        symlink(&real, folder.path().join("link")).unwrap();
        let asked = folder.path().join("link/new/../cache");
        assert_eq!(resolve(&asked).unwrap(), real.join("cache"));
        std::fs::create_dir(real.join("cache")).unwrap();
        assert_eq!(resolve(&folder.path().join("link/cache")).unwrap(), real.join("cache"));
        assert_eq!(resolve(&real).unwrap().as_os_str(), real.as_os_str());
    }
}
