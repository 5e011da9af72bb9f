//! A platform as a process of its own, which can be killed and started again on the same data.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::browser::Said;
use crate::http::Http;
use crate::ports::free_port;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const ATTEMPTS: u16 = 20;

/// Says the server's process id, and ends with it. Told `keep`, it kills the server. When its own standard input ends
/// without a word, which the kernel sees to when the test process is gone, it removes the files as well. In a process
/// group of its own, so that an interrupt of the tests does not end it before that.
const KEEPER: &str = r#"
exec 3<&0
dir=$1; shift
"$@" </dev/null >>"$dir/log" 2>&1 3<&- &
server=$!
(read -r word <&3; [ "$word" = keep ] || : >"$dir/abandoned"; kill -KILL "$server" 2>/dev/null) >/dev/null 2>&1 &
watcher=$!
exec 3<&-
echo "$server"
wait "$server"
kill -KILL "$watcher" 2>/dev/null
[ ! -e "$dir/abandoned" ] || rm -rf "$dir"
"#;

/// How to start one.
#[derive(Debug, Clone)]
pub struct PlatformSpec {
    /// The binary `hexabase`.
    pub program: PathBuf,
    /// `serve`, `all` or `work`.
    pub role: String,
    /// An address of this machine that pods reach: the second listener, for the host cluster, is there.
    pub cluster_address: Option<String>,
    /// TOML to add at the end of the settings, such as a section `[host]`.
    pub more: String,
    /// Variables of its environment.
    pub environment: Vec<(&'static str, &'static str)>,
}

impl PlatformSpec {
    /// A server without a host cluster.
    pub fn serve(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            role: "serve".to_owned(),
            cluster_address: None,
            more: String::new(),
            environment: Vec::new(),
        }
    }
}

/// A running platform with the development issuer. It is killed, and its files are removed, when this is dropped or the
/// process ends.
#[derive(Debug)]
pub struct Platform {
    spec: PlatformSpec,
    folder: TempDir,
    url: String,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    keeper: Child,
    pid: u32,
}

impl Running {
    /// Sends a signal. The process is a child that its keeper has not waited for, or else the keeper has ended: no other process
    /// has this id.
    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        Command::new("kill").arg(signal).arg(self.pid.to_string()).status().context("running kill").map(drop)
    }

    fn kill(mut self) -> anyhow::Result<()> {
        if let Some(mut input) = self.keeper.stdin.take() {
            // Fails when it has ended by itself, which is as good.
            let _ = input.write_all(b"keep\n");
        }
        self.keeper.wait().context("waiting for the platform to be gone").map(drop)
    }
}

/// A process beside a platform, such as a second worker. It is killed when this is dropped or the test process ends.
#[derive(Debug)]
pub struct Beside(Option<Running>);

impl Beside {
    /// Stops it in the middle of whatever it does (SIGSTOP), until [`Self::thaw`].
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        self.0.as_ref().context("the process has ended")?.signal(signal)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Whatever it answers, the process is gone.
        let _ = self.0.take().map(Running::kill);
    }
}

impl Platform {
    /// Starts one on free ports and waits until it answers.
    pub async fn start(spec: PlatformSpec) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("hexabase-platform-").tempdir()?;
        let mut platform = Self { spec, folder, url: String::new(), running: None };
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let (port, issuer) = (free_port("127.0.0.1")?, free_port("127.0.0.1")?);
            platform.url = format!("https://localhost:{port}");
            let data = format!("{:?}", platform.folder.path().join("data").display().to_string());
            let cluster = match &platform.spec.cluster_address {
                Some(address) => {
                    let port = free_port(address)?;
                    format!("cluster_listen = \"{address}:{port}\"\ncluster_url = \"https://{address}:{port}\"\n")
                }
                None => String::new(),
            };
            let settings = format!(
                "data_dir = {data}\n[server]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{}\"\n{cluster}\
                 [sign_in.development]\nlisten = \"127.0.0.1:{issuer}\"\n{}\n",
                platform.url, platform.spec.more
            );
            fs::write(platform.settings(), settings)?;
            match platform.start_again().await {
                Ok(()) => return Ok(platform),
                // Somebody took a port after it was chosen.
                Err(error) if platform.log().contains("another program listens there") => last = Some(error),
                Err(error) => return Err(error),
            }
            fs::remove_file(platform.log_file())?;
        }
        Err(last.context("no attempt was made")?)
    }

    /// Sets a variable of its environment, from its next start on.
    pub fn set_variable(&mut self, name: &'static str, value: &'static str) {
        self.spec.environment.retain(|(other, _)| *other != name);
        self.spec.environment.push((name, value));
    }

    /// Starts it again on the same data in another role, `serve` or `all`, and waits until it answers.
    pub async fn start_again_as(&mut self, role: &str) -> anyhow::Result<()> {
        role.clone_into(&mut self.spec.role);
        self.start_again().await
    }

    /// Starts it again on the same data, after [`Self::kill`] or [`Self::stop`], and waits until it answers.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        ensure!(self.running.is_none(), "the platform is running");
        self.running = Some(self.spawn(&self.spec.role, &[])?);
        let begun = Instant::now();
        while !self.answers().await {
            let ended = match &mut self.running {
                Some(running) => running.keeper.try_wait()?.is_some(),
                None => true,
            };
            if ended || begun.elapsed() > START_TIMEOUT {
                self.kill()?;
                bail!("the platform did not start:\n{}", self.log());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Starts a process of another role beside it, on the same data and settings, with further variables of its environment.
    /// It does not wait for anything.
    pub fn beside(&self, role: &str, environment: &[(&str, &str)]) -> anyhow::Result<Beside> {
        self.spawn(role, environment).map(|running| Beside(Some(running)))
    }

    fn spawn(&self, role: &str, environment: &[(&str, &str)]) -> anyhow::Result<Running> {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(self.folder.path()).arg(&self.spec.program);
        keeper.arg("--config").arg(self.settings()).arg(role).process_group(0);
        keeper.envs(self.spec.environment.iter().copied()).envs(environment.iter().copied());
        keeper.current_dir(self.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = keeper.spawn().context("starting sh")?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().context("sh has no standard output")?).read_line(&mut line)?;
        let pid = line.trim().parse().context("sh did not say the process id")?;
        Ok(Running { keeper, pid })
    }

    async fn answers(&self) -> bool {
        let Ok(nobody) = self.nobody() else { return false };
        nobody.get("/readyz").await.is_ok_and(|answer| answer.status == 200)
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        match self.running.take() {
            Some(running) => running.kill(),
            None => Ok(()),
        }
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(running) = &mut self.running {
            running.signal("-TERM")?;
            let begun = Instant::now();
            while running.keeper.try_wait()?.is_none() && begun.elapsed() < STOP_TIMEOUT {
                tokio::time::sleep(POLL).await;
            }
        }
        self.kill()
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file with its own certificate authority.
    pub fn authority(&self) -> PathBuf {
        self.data().join("tls/ca.crt")
    }

    /// Its own certificate authority.
    pub fn authority_pem(&self) -> anyhow::Result<String> {
        fs::read_to_string(self.authority()).context("the platform has no certificate authority yet")
    }

    /// Somebody without a token.
    pub fn nobody(&self) -> anyhow::Result<Http> {
        Http::new(&self.url, &self.authority_pem()?)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// A folder of its own for a person's files; goes with the platform.
    pub fn home_of(&self, person: &str) -> PathBuf {
        self.folder.path().join("people").join(person)
    }

    /// Runs the server's program with its settings and these arguments, beside the running server.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        let mut command = tokio::process::Command::new(&self.spec.program);
        command.arg("--config").arg(self.settings()).args(arguments).current_dir(self.folder.path());
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("running the program")?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("hexabase.toml")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // Whatever it answers, the process is gone.
        let _ = self.kill();
    }
}

/// Builds a program of this workspace as `cargo build` does, and returns where it is.
pub fn build_program(package: &str, program: &str) -> anyhow::Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace).args(["build", "--quiet", "--package", package, "--bin", program]);
    cargo.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = cargo.output().context("running cargo")?;
    ensure!(output.status.success(), "{program} cannot be built");
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line).context("cargo said something that is not JSON")?;
        if message["target"]["name"] == program
            && let Some(path) = message["executable"].as_str()
        {
            return Ok(path.into());
        }
    }
    bail!("cargo built {program}, but does not say where")
}
