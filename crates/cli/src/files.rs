//! Files: private folders, atomic replacement, locks.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

fn failed(action: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Failure, format!("cannot {action} {}: {error}", path.display()))
}

/// The file's text; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, error)),
    }
}

/// Makes a folder, and those above it, that only the user can enter. A folder that is there is left as it is.
pub(crate) fn private_folder(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| failed("create", path, error))
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Replaces a file's contents in one step. A new file is the user's alone; a file that is there keeps its mode, and a
/// symbolic link stays a link.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let mut draft = Draft::new(path)?;
    draft.write(text)?;
    draft.keep()
}

/// The new contents of a file, written beside it until they are whole. Dropped before that, it leaves everything as it was.
pub(crate) struct Draft {
    file: tempfile::NamedTempFile,
    target: PathBuf,
}

impl Draft {
    /// For the file at `path`.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        private_folder(&folder(&target))?;
        let error = |error| failed("write", &target, error);
        let file = tempfile::Builder::new().prefix(".hxb-").tempfile_in(folder(&target)).map_err(error)?;
        if let Ok(metadata) = fs::metadata(&target) {
            file.as_file().set_permissions(metadata.permissions()).map_err(error)?;
        }
        Ok(Self { file, target })
    }

    /// Adds text.
    pub(crate) fn write(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).map_err(|error| failed("write", &self.target, error))
    }

    /// Puts it in the file's place.
    pub(crate) fn keep(self) -> Result<()> {
        let Self { file, target } = self;
        let error = |error| failed("write", &target, error);
        file.as_file().sync_all().map_err(error)?;
        file.persist(&target).map_err(|persist| error(persist.error))?;
        Ok(())
    }
}

/// Like [`replace`], for secrets: the file is the user's alone whatever it was before.
pub(crate) fn replace_private(path: &Path, text: &str) -> Result<()> {
    #[cfg(unix)]
    if path.exists() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path, mode).map_err(|error| failed("protect", path, error))?;
    }
    replace(path, text)
}

/// Waits for the lock that belongs to `path`; it is held until the returned file is dropped.
pub(crate) async fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    private_folder(&folder(&path))?;
    let take = move || {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| failed("open", &path, error))?;
        file.lock().map_err(|error| failed("lock", &path, error))?;
        Ok(file)
    };
    tokio::task::spawn_blocking(take)
        .await
        .map_err(|error| Error::new(Kind::Failure, "cannot wait for a lock").because(error))?
}

/// kubectl's own lock on a kubeconfig file: `FILE.lock`, there while the file is being changed (client-go `lockFile`).
pub(crate) struct KubeconfigLock(PathBuf);

impl KubeconfigLock {
    const TRIES: u32 = 40;

    /// Takes the lock, waiting for at most two seconds.
    pub(crate) async fn take(path: &Path) -> Result<Self> {
        private_folder(&folder(path))?;
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        for _ in 0..Self::TRIES {
            match OpenOptions::new().write(true).create_new(true).open(&lock) {
                Ok(_) => return Ok(Self(lock)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("create", &lock, error)),
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Err(Error::new(Kind::Failure, format!("another program is changing {}", path.display()))
            .hint(format!("if none is, remove {}", lock.display())))
    }
}

impl Drop for KubeconfigLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
