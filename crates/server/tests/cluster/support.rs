//! People at their terminals, the workspace that they share, and waiting for what takes time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hexabase_backends::store::Store;
use hexabase_testkit::browser::{Hxb, Said};
use hexabase_testkit::platform::Platform;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OnceCell;

use crate::surroundings::Surroundings;

/// Longer than anything here takes on a machine with two cores and far too much to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
/// The same for kubectl.
pub(crate) const TIMEOUT: &str = "--timeout=600s";
pub(crate) const BUSYBOX: &str = "docker.io/library/busybox:1.36";
/// A shell's words that serve the text `page` at port 8080.
pub(crate) const SERVE: &str =
    "mkdir -p /www; echo page > /www/index.html; echo started; exec httpd -f -p 8080 -h /www";

/// Somebody signed in, with `hxb` and kubectl.
pub(crate) struct Person {
    pub hxb: Hxb,
    kubectl: PathBuf,
    path: String,
    made: PathBuf,
}

impl Person {
    /// Signs in `name`@example.test.
    pub(crate) async fn sign_in(at: &Surroundings, platform: &Platform, name: &str) -> Result<Self> {
        let hxb = Hxb::new(&at.programs.join("hxb"), &platform.home_of(name), platform.url(), &platform.authority())?;
        hxb.sign_in(&format!("{name}@example.test")).await?.good()?;
        let path = format!("{}:/usr/bin:/bin", at.programs.display());
        Ok(Self { hxb, kubectl: at.kubectl.clone(), path, made: at.made.clone() })
    }

    /// Runs `hxb`, which has to succeed.
    pub(crate) async fn hxb(&self, arguments: &[&str]) -> Result<String> {
        self.hxb.run(arguments).await?.good().with_context(|| format!("hxb {}", arguments.join(" ")))
    }

    /// What `hxb … --output json` prints.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        Ok(serde_json::from_str(&self.hxb(&all).await?)?)
    }

    /// Asks for a workspace; returns its id.
    pub(crate) async fn ask_for(&self, name: &str) -> Result<String> {
        self.ask_for_under("standard", name).await
    }

    async fn ask_for_under(&self, plan: &str, name: &str) -> Result<String> {
        self.hxb(&["workspace", "create", name, "--plan", plan, "--no-wait"]).await?;
        let id = self.id_of(name).await?;
        let mut made = std::fs::OpenOptions::new().append(true).create(true).open(&self.made)?;
        writeln!(made, "hxb-{id}")?;
        Ok(id)
    }

    /// Makes a workspace and waits until it is ready; returns its id.
    pub(crate) async fn workspace(&self, name: &str) -> Result<String> {
        self.workspace_under("standard", name).await
    }

    /// The same under this plan.
    pub(crate) async fn workspace_under(&self, plan: &str, name: &str) -> Result<String> {
        let id = self.ask_for_under(plan, name).await?;
        self.hxb(&["workspace", "wait", name, "--for", "ready", "--timeout", "10m"]).await?;
        self.hxb(&["kubeconfig", name, "--set-current"]).await?;
        Ok(id)
    }

    /// The person's token for the workspace with this id.
    pub(crate) async fn token(&self, workspace: &str) -> Result<String> {
        let credential: Value = serde_json::from_str(&self.hxb(&["credential", "--workspace", workspace]).await?)?;
        text(&credential["status"], "token")
    }

    /// Has hxb forget the workspace tokens that it keeps while they live.
    pub(crate) fn forget_tokens(&self) -> Result<()> {
        Ok(std::fs::remove_dir_all(self.hxb.kubeconfig().with_file_name("hxb.tokens"))?)
    }

    /// The id of a workspace.
    pub(crate) async fn id_of(&self, name: &str) -> Result<String> {
        text(&self.json(&["workspace", "get", name]).await?, "id")
    }

    /// Runs kubectl with the person's kubeconfig.
    pub(crate) async fn try_kubectl(&self, arguments: &[&str]) -> Result<Said> {
        let mut command = Command::from(self.kubectl_command(arguments));
        command.kill_on_drop(true);
        run(command).await
    }

    /// Runs kubectl, which has to succeed.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.try_kubectl(arguments).await?.good().with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Runs kubectl, which has to be refused with this word; returns what it said.
    pub(crate) async fn refused(&self, arguments: &[&str], word: &str) -> Result<String> {
        let said = self.try_kubectl(arguments).await?;
        ensure!(said.code != 0 && said.stderr.contains(word), "kubectl {}: {said:?}", arguments.join(" "));
        Ok(said.stderr)
    }

    /// kubectl about to run in the person's environment.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.command(&self.kubectl);
        command.arg("--cache-dir").arg(self.hxb.kubeconfig().with_file_name("cache"));
        command.args(arguments);
        command
    }

    /// A program about to run in the person's environment.
    pub(crate) fn command(&self, program: &Path) -> std::process::Command {
        let like_hxb = self.hxb.command(&[]);
        let mut command = std::process::Command::new(program);
        command.env("PATH", &self.path);
        for (name, value) in like_hxb.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
    }

    /// Starts `kubectl port-forward` or `kubectl proxy` with further variables; returns it, and the port where it listens.
    pub(crate) async fn forward(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(Child, u16)> {
        let mut command = Command::from(self.kubectl_command(arguments));
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let line = line_of(&mut lines, |line| line.contains("127.0.0.1:")).await?;
        let port =
            line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).context("no port")?.parse()?;
        // What it goes on to say must find a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok((child, port))
    }

    /// Runs a pod that may use so much CPU, and waits until it does.
    pub(crate) async fn run_pod(&self, namespace: &str, name: &str, cpu: &str) -> Result<()> {
        let resources =
            json!({ "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "cpu": cpu, "memory": "64Mi" } });
        let container = json!({ "name": name, "image": BUSYBOX, "command": ["sleep", "3600"], "resources": resources });
        let overrides = json!({ "spec": { "containers": [container] } }).to_string();
        self.kubectl(&["-n", namespace, "run", name, "--image", BUSYBOX, "--overrides", &overrides]).await?;
        let wait = ["-n", namespace, "wait", "--for=condition=Ready", &format!("pod/{name}"), TIMEOUT];
        self.kubectl(&wait).await.map(drop)
    }

    /// Makes a project and waits until pods can be made in its namespace.
    pub(crate) async fn project(&self, workspace: &str, name: &str, more: &[&str]) -> Result<()> {
        // The images that these tests run are ordinary ones.
        let mut arguments = vec!["project", "create", name, "--workspace", workspace, "--pod-security", "baseline"];
        arguments.extend(more);
        self.hxb(&arguments).await?;
        // That its quota counts what is made there is what `ready` says; its ServiceAccount comes from Kubernetes.
        let (get, account) =
            (["project", "get", name, "--workspace", workspace], ["-n", name, "get", "serviceaccount/default"]);
        until("the project", async || {
            let is_ready = self.json(&get).await?["phase"] == "ready";
            Ok(is_ready && self.try_kubectl(&account).await?.code == 0)
        })
        .await
    }
}

/// The shared platform with the shared workspace `shop`, made by Alice.
pub(crate) struct Shop {
    pub at: Surroundings,
    pub platform: Platform,
    pub alice: Person,
    pub id: String,
}

/// The shared platform; whoever asks first makes it.
pub(crate) async fn shop() -> Result<&'static Shop> {
    static SHOP: OnceCell<Shop> = OnceCell::const_new();
    SHOP.get_or_try_init(async || {
        let at = Surroundings::read()?;
        let platform = at.platform().await?;
        let alice = Person::sign_in(&at, &platform, "alice").await?;
        // With room for a project of each test.
        let id = alice.workspace_under("premium", "shop").await.with_context(|| platform.log())?;
        Ok(Shop { at, platform, alice, id })
    })
    .await
}

impl Shop {
    /// Somebody else, signed in.
    pub(crate) async fn somebody(&self, name: &str) -> Result<Person> {
        Person::sign_in(&self.at, &self.platform, name).await
    }

    /// Somebody with access to the workspace through the default group, with a kubeconfig for it.
    pub(crate) async fn viewer(&self, name: &str) -> Result<Person> {
        let person = self.somebody(name).await?;
        self.alice.hxb(&["member", "add", "-w", "shop", &format!("{name}@example.test")]).await?;
        person.hxb(&["kubeconfig", "shop", "--set-current"]).await?;
        Ok(person)
    }

    /// A person's token for the workspace.
    pub(crate) async fn token_of(&self, person: &Person) -> Result<String> {
        person.token(&self.id).await
    }
}

/// The database of a platform, which it goes on using.
pub(crate) async fn store_of(platform: &Platform) -> Result<Store> {
    let url = format!("sqlite://{}", platform.data().join("hexabase.db").display());
    Ok(Store::connect(&url.parse()?).await?)
}

/// A field that has to be a text.
pub(crate) fn text(value: &Value, field: &str) -> Result<String> {
    Ok(value[field].as_str().with_context(|| format!("there is no {field} in {value}"))?.to_owned())
}

/// Asks again and again until `done`, for as long as [`PATIENCE`].
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !done().await? {
        if begun.elapsed() > PATIENCE {
            bail!("{what} did not come within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// What `future` gives, for which nobody waits longer than [`PATIENCE`].
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.with_context(|| format!("{what} did not come within {} s", PATIENCE.as_secs()))?
}

/// The first line that fits.
pub(crate) async fn line_of(lines: &mut Lines<BufReader<ChildStdout>>, fits: impl Fn(&str) -> bool) -> Result<String> {
    in_time("a line of kubectl's", async {
        loop {
            let line = lines.next_line().await?.context("kubectl has ended")?;
            if fits(&line) {
                return Ok(line);
            }
        }
    })
    .await
}

/// What an HTTP server on this machine answers with at `path`.
pub(crate) async fn page(port: u16, path: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        anyhow::Ok(answer)
    });
    answer.await?
}

/// Runs a program to its end.
pub(crate) async fn run(mut command: Command) -> Result<Said> {
    let output = command.stdin(std::process::Stdio::null()).output().await.context("a program cannot be started")?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
