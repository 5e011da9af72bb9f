//! Namespaces that the cluster suite makes. Each run lists them in a file of its own, so that one that is interrupted
//! is cleaned up by the next.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::lock::Lock;

/// The list of one run.
pub(super) struct Made {
    path: PathBuf,
    /// Held as long as the run lives.
    _lock: Lock,
}

impl Made {
    /// Starts a list in this folder.
    pub(super) fn begin(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join(std::process::id().to_string());
        let lock = Lock::exclusive(&lock_of(&path), || {})?;
        fs::write(&path, "")?;
        Ok(Self { path, _lock: lock })
    }

    /// The list of a run that has ended without taking its namespaces away, if there is one.
    pub(super) fn left(folder: &Path) -> Result<Option<Self>> {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry?.path();
            if path.extension().is_none()
                && let Some(lock) = Lock::try_exclusive(&lock_of(&path))?
                && path.is_file()
            {
                return Ok(Some(Self { path, _lock: lock }));
            }
        }
        Ok(None)
    }

    /// The file that the tests write to, one namespace a line.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has all of them deleted, and forgets the list.
    pub(super) fn clean(self, mut delete: impl FnMut(&str) -> Result<()>) -> Result<()> {
        for namespace in fs::read_to_string(&self.path)?.lines() {
            delete(namespace)?;
        }
        fs::remove_file(&self.path)?;
        Ok(())
    }
}

fn lock_of(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interrupted_run_made_is_cleaned_up_and_a_living_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1"), "hxb-a\nhxb-b\n").unwrap();
        let living = Made::begin(folder.path()).unwrap();
        fs::write(living.path(), "hxb-c\n").unwrap();
        let mut deleted = Vec::new();
        let mut delete = |namespace: &str| {
            deleted.push(namespace.to_owned());
            Ok(())
        };
        while let Some(left) = Made::left(folder.path()).unwrap() {
            left.clean(&mut delete).unwrap();
        }
        assert!(living.path().exists());
        living.clean(&mut delete).unwrap();
        assert_eq!(deleted, ["hxb-a", "hxb-b", "hxb-c"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_list_that_cannot_be_worked_off_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1"), "hxb-a\n").unwrap();
        let left = Made::left(folder.path()).unwrap().unwrap();
        left.clean(|_| anyhow::bail!("no answer")).unwrap_err();
        assert!(Made::left(folder.path()).unwrap().is_some());
    }
}
