//! The host cluster, a platform on it, and people at their terminals.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hexabase_testkit::browser::{Hxb, Said};
use hexabase_testkit::platform::{Platform, PlatformSpec};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Longer than anything here takes on a busy machine with two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
pub(crate) const BUSYBOX: &str = "docker.io/library/busybox:1.36";

/// What the run was told about its surroundings.
pub(crate) struct Surroundings {
    pub kubeconfig: PathBuf,
    pub kubectl: PathBuf,
    helm: PathBuf,
    chart: PathBuf,
    programs: PathBuf,
    node: String,
    /// Where to note the namespaces of workspaces, for whoever removes what a broken test left.
    made: PathBuf,
}

impl Surroundings {
    #[expect(clippy::disallowed_methods, reason = "the one place of these tests that reads the environment")]
    pub(crate) fn read() -> Result<Self> {
        let given = |name: &str| {
            std::env::var(name).with_context(|| format!("{name} is not set; run these tests with `cargo xtask check`"))
        };
        let path = |name: &str| given(name).map(PathBuf::from);
        Ok(Self {
            kubeconfig: path("HEXABASE_TEST_KUBECONFIG")?,
            kubectl: path("HEXABASE_TEST_KUBECTL")?,
            helm: path("HEXABASE_TEST_HELM")?,
            chart: path("HEXABASE_TEST_CHART")?,
            programs: path("HEXABASE_TEST_PROGRAMS")?,
            node: given("HEXABASE_TEST_NODE_ADDRESS")?,
            made: path("HEXABASE_TEST_MADE")?,
        })
    }

    /// A platform with worker on this host cluster; its public keys are on an address that pods reach.
    pub(crate) async fn platform(&self) -> Result<Platform> {
        self.platform_with("").await
    }

    /// The same with more settings.
    pub(crate) async fn platform_with(&self, more: &str) -> Result<Platform> {
        // The port is free for as long as it takes to start: nobody else is given one of the node's address.
        let port = std::net::TcpListener::bind((self.node.as_str(), 0))?.local_addr()?.port();
        let text = |path: &Path| format!("{:?}", path.display().to_string());
        Platform::start(PlatformSpec {
            program: self.programs.join("hexabase"),
            role: "all".to_owned(),
            server: format!("cluster_listen = \"{0}:{port}\"\ncluster_url = \"https://{0}:{port}\"", self.node),
            more: format!(
                "{more}[host]\nkubeconfig = {}\nhelm = {}\nvcluster_chart = {}\nplatform_networks = [\"{}/32\"]\n",
                text(&self.kubeconfig),
                text(&self.helm),
                text(&self.chart),
                self.node
            ),
        })
        .await
    }

    /// kubectl on the host cluster, as its administrator.
    pub(crate) async fn host(&self, arguments: &[&str]) -> Result<Said> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        run(command).await
    }

    /// Objects of the host cluster whose names or namespaces have to do with this workspace.
    pub(crate) async fn leftovers(&self, workspace: &str) -> Result<Vec<String>> {
        let kinds = "namespaces,persistentvolumes,clusterroles,clusterrolebindings";
        let names = self.host(&["get", kinds, "-o", "name"]).await?.good()?;
        let volumes =
            ["get", "persistentvolumes", "-o", "jsonpath={range .items[*]}{.spec.claimRef.namespace}{\"\\n\"}{end}"];
        let claims = self.host(&volumes).await?.good()?;
        Ok(names.lines().chain(claims.lines()).filter(|name| name.contains(workspace)).map(str::to_owned).collect())
    }

    fn hxb(&self) -> PathBuf {
        self.programs.join("hxb")
    }
}

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
        let hxb = Hxb::new(&at.hxb(), &platform.home_of(name), platform.url(), &platform.authority())?;
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
        self.hxb(&["workspace", "create", name, "--plan", "standard", "--no-wait"]).await?;
        let id = self.id_of(name).await?;
        let mut made = std::fs::OpenOptions::new().append(true).create(true).open(&self.made)?;
        writeln!(made, "hxb-{id}")?;
        Ok(id)
    }

    /// Makes a workspace and waits until it is ready; returns its id.
    pub(crate) async fn workspace(&self, name: &str) -> Result<String> {
        let id = self.ask_for(name).await?;
        self.hxb(&["workspace", "wait", name, "--for", "ready", "--timeout", "4m"]).await?;
        self.hxb(&["kubeconfig", name, "--set-current"]).await?;
        Ok(id)
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
        let like_hxb = self.hxb.command(&[]);
        let mut command = std::process::Command::new(&self.kubectl);
        command.args(arguments).env("PATH", &self.path);
        for (name, value) in like_hxb.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
    }

    /// Makes a project and waits until its namespace is there.
    pub(crate) async fn project(&self, workspace: &str, name: &str, more: &[&str]) -> Result<()> {
        let mut arguments = vec!["project", "create", name, "--workspace", workspace];
        arguments.extend(more);
        self.hxb(&arguments).await?;
        until("the project's quota", async || {
            Ok(self.try_kubectl(&["-n", name, "get", "resourcequota", "hexabase-quota"]).await?.code == 0)
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
        let id = alice.workspace("shop").await.with_context(|| platform.log())?;
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
        let printed = person.hxb(&["credential", "--server", self.platform.url(), "--workspace", &self.id]).await?;
        let credential: Value = serde_json::from_str(&printed)?;
        text(&credential["status"], "token")
    }
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

async fn run(mut command: Command) -> Result<Said> {
    let output = command.stdin(std::process::Stdio::null()).output().await.context("a program cannot be started")?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
