//! A network namespace that lives without a process in it: a mount on a file of ours keeps it. As the file lies below the
//! devhost's folder, `down` finds the mount with all others.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::traces;
use crate::cmd;

/// Makes it, unless it is there.
pub(crate) fn ensure(file: &Path) -> Result<()> {
    if exists(file) {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
    // It asks for a program to run, which has nothing to do.
    let option = format!("--net={}", file.display());
    cmd::output(cmd::system("unshare").arg(option).arg("true")).context("a network namespace cannot be made")?;
    Ok(())
}

/// True if it is there; after a start of the machine only the file is.
pub(crate) fn exists(file: &Path) -> bool {
    traces::mounts().iter().any(|mount| Path::new(mount) == file)
}

/// Tells it from one that was made anew in its place.
pub(crate) fn identity(file: &Path) -> String {
    fs::metadata(file).map_or_else(|_| "none".to_owned(), |found| found.ino().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_alone_is_no_namespace() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("netns");
        assert!(!exists(&file));
        assert_eq!(identity(&file), "none");
        fs::write(&file, "").unwrap();
        assert!(!exists(&file));
        assert_ne!(identity(&file), "none");
    }
}
