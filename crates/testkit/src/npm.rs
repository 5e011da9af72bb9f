//! Packages of npm, installed once by a lock file without addresses.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

pub(crate) const MISSING: &str = "this test needs Node.js 20.12 or newer with npm: apt-get install -y nodejs npm";
/// Longer than it takes on a slow line: a registry that stalls costs no more.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);

/// Runs npm until it ends, or its own standard input does, which the kernel sees to when the test process is gone, killed or
/// not. In a process group of its own, so that an interrupt of the tests does not end it before that.
const KEEPER: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
npm=$!
(read -r word <&3; kill -KILL "$npm") >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$npm"
code=$?
kill -KILL "$watcher" 2>/dev/null
exit "$code"
"#;

/// What is installed.
pub(crate) struct Package {
    /// The name of its folder, before a hash of what is in it.
    pub(crate) name: &'static str,
    /// `package.json`.
    pub(crate) manifest: &'static str,
    /// `package-lock.json`.
    pub(crate) lock: &'static str,
}

impl Package {
    /// The folder that holds it; installed when it is not there. It is in the project's cache where that is named, else in
    /// `otherwise`, a folder outside of the repository such as `env!("CARGO_TARGET_TMPDIR")`.
    pub(crate) fn installed(&self, otherwise: &Path) -> anyhow::Result<PathBuf> {
        let cache = cache().unwrap_or_else(|| otherwise.to_owned());
        let folder = cache.join(format!("{}-{}", self.name, hash(&[self.manifest, self.lock])));
        if folder.exists() {
            return Ok(folder);
        }
        fs::create_dir_all(&cache)?;
        // One process installs, the others wait. The kernel takes the lock away from one that is killed.
        let turn = File::create(cache.join(format!("{}.lock", self.name)))?;
        turn.lock().context("waiting for another test that installs the same")?;
        if !folder.exists() {
            let aside = folder.with_extension("part");
            self.install(&aside)?;
            fs::rename(&aside, &folder).with_context(|| format!("moving to {}", folder.display()))?;
        }
        Ok(folder)
    }

    fn install(&self, aside: &Path) -> anyhow::Result<()> {
        // From a run that was killed.
        if aside.exists() {
            fs::remove_dir_all(aside).with_context(|| format!("removing {}", aside.display()))?;
        }
        fs::create_dir(aside)?;
        for (name, text) in [("package.json", self.manifest), ("package-lock.json", self.lock)] {
            fs::write(aside.join(name), text)?;
        }
        npm(aside, &["ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"])
    }
}

/// Runs npm in a folder.
fn npm(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let log = folder.join("npm.log");
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "keeper", "npm"]).args(arguments).current_dir(folder).process_group(0);
    keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create(&log)?);
    let mut keeper = keeper.spawn().context("starting sh")?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = keeper.try_wait()? {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            drop(keeper.stdin.take());
            keeper.wait()?;
            bail!("npm {} did not end within {} s", arguments.join(" "), PATIENCE.as_secs());
        }
        std::thread::sleep(POLL);
    };
    let said = fs::read_to_string(&log).unwrap_or_default();
    ensure!(status.success(), "npm {} failed in {} ({MISSING}):\n{said}", arguments.join(" "), folder.display());
    Ok(())
}

/// A script, beside the package that it uses.
pub(crate) fn script(folder: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{name}-{}.mjs", hash(&[text])));
    if !path.exists() {
        let mut aside = tempfile::NamedTempFile::new_in(folder)?;
        aside.write_all(text.as_bytes())?;
        aside.persist(&path)?;
    }
    Ok(path)
}

/// Where the project keeps what is built once, if the environment says so (`xtask/src/settings.rs`).
#[expect(clippy::disallowed_methods, reason = "the one place of the testkit that reads the environment")]
fn cache() -> Option<PathBuf> {
    let named = PathBuf::from(std::env::var("HEXABASE_CACHE").ok()?);
    // One that is not absolute means another folder here than where xtask runs.
    named.is_absolute().then(|| named.join("npm"))
}

fn hash(texts: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    texts.iter().for_each(|text| hasher.write(text.as_bytes()));
    format!("{:016x}", hasher.finish())
}
