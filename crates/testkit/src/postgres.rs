//! A real PostgreSQL, from Debian's package, on a free loopback port.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::ports::free_port;

const INSTALL: &str = "this test needs PostgreSQL: apt-get install -y postgresql";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const ATTEMPTS: u32 = 3;

/// Runs the server until its own standard input ends, which the kernel sees to when the test process is gone, killed
/// or not; then stops the server and removes its files. In a process group of its own, so that an interrupt of the
/// tests does not end it before it has cleaned up.
const KEEPER: &str = r#"
dir=$1; shift
"$@" >"$dir/log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -QUIT "$server" 2>/dev/null
wait "$server"
rm -rf "$dir"
"#;

const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "max_connections=1000",
    "shared_buffers=64MB",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "timezone=UTC",
];

/// A running server. It stops, and its files are removed, when this is dropped or the process ends.
#[derive(Debug)]
pub struct PostgresServer {
    bin: PathBuf,
    port: u16,
    keeper: Child,
}

impl PostgresServer {
    /// The server that all tests of this process share, each with a database of its own.
    pub fn shared() -> anyhow::Result<&'static Self> {
        static SERVER: OnceLock<Result<PostgresServer, String>> = OnceLock::new();
        let server = SERVER.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        server.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Starts a server.
    pub fn start() -> anyhow::Result<Self> {
        let bin = newest_installation()?;
        let mut last = None;
        // The port is free when it is chosen, and may be taken when the server binds it.
        for _ in 0..ATTEMPTS {
            match Self::try_start(&bin) {
                Ok(server) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    fn try_start(bin: &Path) -> anyhow::Result<Self> {
        let port = free_port("127.0.0.1")?;
        let dir = tempfile::Builder::new().prefix("hexabase-postgres-").tempdir()?;
        let account = Account::current()?;
        account.give(dir.path())?;
        let data = dir.path().join("data");

        let mut initdb = account.command(&bin.join("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        run(initdb.arg(&data).current_dir(dir.path()))?;

        let mut server = account.command(&bin.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(dir.path()).args(["-p", &port.to_string()]);
        server.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(dir.path()).arg(server.get_program()).args(server.get_args());
        keeper.current_dir(dir.path()).process_group(0);
        // Not the tests' own output: whoever reads that to its end would wait for the server.
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // From here on the keeper removes the files.
        let keeper = keeper.spawn().context("starting sh")?;
        let dir = dir.keep();
        let server = Self { bin: bin.to_owned(), port, keeper };
        server.wait_until_ready(&dir.join("log"))?;
        Ok(server)
    }

    fn wait_until_ready(&self, log: &Path) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let mut ready = self.client("pg_isready");
            if ready.stdout(Stdio::null()).status().context("running pg_isready")?.success() {
                return Ok(());
            }
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let failed = said.contains("FATAL") && !said.contains("the database system is starting up");
            ensure!(!failed && begun.elapsed() < START_TIMEOUT, "PostgreSQL did not start:\n{said}");
            std::thread::sleep(POLL);
        }
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()]);
        command
    }

    /// Makes a database, empty or like the one named `template`, and returns its name.
    pub fn create_database(&self, template: Option<&str>) -> anyhow::Result<String> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut createdb = self.client("createdb");
        run(createdb.args(["-T", template.unwrap_or("template0"), &name]))?;
        Ok(name)
    }

    /// The address of a database on this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Whatever it answers, it has stopped the server.
        let _ = self.keeper.wait();
    }
}

fn newest_installation() -> anyhow::Result<PathBuf> {
    let version = |entry: &std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let installed = std::fs::read_dir("/usr/lib/postgresql").context(INSTALL)?.flatten();
    let newest = installed.filter_map(|entry| Some((version(&entry)?, entry.path()))).max().context(INSTALL)?;
    let bin = newest.1.join("bin");
    ensure!(bin.join("postgres").exists() && bin.join("initdb").exists(), "{INSTALL}");
    Ok(bin)
}

/// PostgreSQL refuses to run as root; root runs it as the account that Debian's package made.
enum Account {
    Own,
    Postgres,
}

impl Account {
    fn current() -> anyhow::Result<Self> {
        let root = std::fs::metadata("/proc/self").context("reading /proc/self")?.uid() == 0;
        Ok(if root { Self::Postgres } else { Self::Own })
    }

    fn give(&self, dir: &Path) -> anyhow::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Postgres => run(Command::new("chown").arg("postgres:").arg(dir)),
        }
    }

    fn command(&self, program: &Path) -> Command {
        match self {
            Self::Own => Command::new(program),
            Self::Postgres => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
                command
            }
        }
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("running {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
