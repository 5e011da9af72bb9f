//! Removes from the cache what was built for versions that nobody uses any more. Another checkout may share the cache
//! and use others, so each use leaves a mark, and only what has not been used for weeks goes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::hash::SHORT;
use crate::settings;

const UNUSED_FOR: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Marks what is in use, and removes what has not been marked for long, in the folders that they lie in.
pub(crate) fn run(used: &[PathBuf]) -> Result<()> {
    let now = settings::now();
    for path in used {
        mark(path, now)?;
    }
    let mut folders: Vec<&Path> = used.iter().filter_map(|path| path.parent()).collect();
    folders.sort();
    folders.dedup();
    for path in folders.into_iter().flat_map(|folder| unused(folder, now)) {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn mark(path: &Path, now: SystemTime) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.set_modified(now).with_context(|| format!("cannot mark {}", path.display()))
}

/// Builds in a folder that were not used for long. Only names with a key in them are builds.
fn unused(folder: &Path, now: SystemTime) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_old = |path: &PathBuf| {
        let marked = fs::metadata(path).and_then(|metadata| metadata.modified());
        marked.is_ok_and(|marked| now.duration_since(marked).is_ok_and(|age| age > UNUSED_FOR))
    };
    entries.map(|entry| entry.path()).filter(|path| has_key(path)).filter(is_old).collect()
}

/// `kine-0123456789abcdef`, with or without an ending.
fn has_key(path: &Path) -> bool {
    let key = path.file_stem().and_then(|name| name.to_str()?.rsplit_once('-')).map(|(_, key)| key);
    key.is_some_and(|key| key.len() == SHORT && key.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_builds_that_nobody_used_for_weeks_go() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + 10 * UNUSED_FOR;
        let place = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            mark(&path, now - age).unwrap();
            path
        };
        let old = 2 * UNUSED_FOR;
        let gone = place("kine-0123456789abcdef", old);
        let broken_off = place("kine-1123456789abcdef.building", old);
        place("kine-2123456789abcdef", UNUSED_FOR / 2);
        place("cargo-deny-0.20.2", old);
        let mut found = unused(folder.path(), now);
        found.sort();
        assert_eq!(found, [gone, broken_off]);
    }

    #[test]
    fn what_is_in_use_stays_however_old_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("busybox-0123456789abcdef.tar");
        fs::write(&path, "").unwrap();
        mark(&path, SystemTime::UNIX_EPOCH).unwrap();
        run(std::slice::from_ref(&path)).unwrap();
        assert!(path.exists());
        mark(&path, SystemTime::UNIX_EPOCH).unwrap();
        let other = folder.path().join("busybox-1123456789abcdef.tar");
        fs::write(&other, "").unwrap();
        run(&[other]).unwrap();
        assert!(!path.exists());
    }
}
