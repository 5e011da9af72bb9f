//! Locks between xtasks. A lock is a file that exists only while somebody holds it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::settings;

/// Where locks lie that hold for the whole machine, whatever the cache's folder is.
const MACHINE: &str = "/run";

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

/// The file of a lock by this name: one for the machine, or one in the cache for those who may not have that.
pub(crate) fn path(name: &str) -> Result<PathBuf> {
    if settings::is_root() {
        return Ok(Path::new(MACHINE).join(format!("hexabase-{name}.lock")));
    }
    let root = settings::cache_root()?;
    fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
    Ok(root.join(format!("{name}.lock")))
}

impl Lock {
    /// Waits until nobody else holds it; `busy` is told if there is somebody.
    pub(crate) fn exclusive(path: &Path, busy: impl FnOnce()) -> Result<Self> {
        if let Some(lock) = Self::try_exclusive(path)? {
            return Ok(lock);
        }
        busy();
        Self::wait(path, File::lock)
    }

    /// The same next to others who share it.
    pub(crate) fn shared(path: &Path, busy: impl FnOnce()) -> Result<Self> {
        if let Some(lock) = Self::attempt(path, File::try_lock_shared)? {
            return Ok(lock);
        }
        busy();
        Self::wait(path, File::lock_shared)
    }

    /// None if somebody holds it.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        Self::attempt(path, File::try_lock)
    }

    fn attempt(path: &Path, take: impl Fn(&File) -> Result<(), TryLockError>) -> Result<Option<Self>> {
        loop {
            let lock = Self::open(path)?;
            match take(&lock.file) {
                Ok(()) if lock.is_in_place() => return Ok(Some(lock)),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
    }

    fn wait(path: &Path, take: impl Fn(&File) -> std::io::Result<()>) -> Result<Self> {
        loop {
            let lock = Self::open(path)?;
            take(&lock.file).with_context(|| format!("cannot lock {}", path.display()))?;
            if lock.is_in_place() {
                return Ok(lock);
            }
        }
    }

    fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { file, path: path.to_path_buf() })
    }

    /// False if the holder before removed the file while we waited: what we hold is then no lock any more.
    fn is_in_place(&self) -> bool {
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        self.file.metadata().ok().map(id) == fs::metadata(&self.path).ok().map(id)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only the last of those who share it gets it alone.
        if self.file.try_lock().is_ok() && self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_alone_or_many_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::shared(&path, || unreachable!()).unwrap();
        let second = Lock::shared(&path, || unreachable!()).unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(second);
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn the_file_goes_with_its_last_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::shared(&path, || {}).unwrap();
        let second = Lock::shared(&path, || {}).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn who_waited_for_a_removed_file_still_excludes_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::try_exclusive(&path).unwrap().unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || Lock::exclusive(&path, || {}).unwrap()
        });
        drop(first);
        let second = waiting.join().unwrap();
        assert!(path.exists());
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(second);
    }
}
