//! The host cluster of the environment, platforms on it, and what the tests ask it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use hexabase_testkit::browser::Said;
use hexabase_testkit::platform::{Platform, PlatformSpec};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{run, text, until};

/// What the run was told about its surroundings.
pub(crate) struct Surroundings {
    pub kubeconfig: PathBuf,
    pub kubectl: PathBuf,
    pub helm: PathBuf,
    chart: PathBuf,
    pub programs: PathBuf,
    node: String,
    /// A second real node, where there is one.
    pub second_node: Option<String>,
    /// Home of kubectl where nobody is signed in: neither the caches nor the preferences of whoever runs the tests. In the
    /// platform's folder, and so gone with it.
    home: OnceLock<PathBuf>,
    /// Where to note the namespaces of workspaces, for whoever removes what a broken test left.
    pub made: PathBuf,
}

/// What `cargo xtask soak` was asked for by this name; nothing in a run of `cargo xtask check`.
#[expect(clippy::disallowed_methods, reason = "like the surroundings, it comes from the environment")]
pub(crate) fn wish(name: &str) -> Option<String> {
    std::env::var(format!("HEXABASE_SOAK_{name}")).ok().filter(|value| !value.is_empty())
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
            second_node: std::env::var("HEXABASE_TEST_SECOND_NODE").ok().filter(|name| !name.is_empty()),
            home: OnceLock::new(),
            made: path("HEXABASE_TEST_MADE")?,
        })
    }

    /// A platform with worker on this host cluster; its public keys are on an address that pods reach.
    pub(crate) async fn platform(&self) -> Result<Platform> {
        self.platform_with("").await
    }

    /// The same with more sections of settings.
    pub(crate) async fn platform_with(&self, more: &str) -> Result<Platform> {
        self.platform_in(more, Vec::new()).await
    }

    /// The same with variables in its environment.
    pub(crate) async fn platform_in(
        &self,
        more: &str,
        environment: Vec<(&'static str, &'static str)>,
    ) -> Result<Platform> {
        self.platform_at(&self.kubeconfig, "all", more, environment).await
    }

    /// A platform that calls its host cluster by another kubeconfig, in a role of its own.
    pub(crate) async fn platform_through(&self, kubeconfig: &Path, role: &str) -> Result<Platform> {
        self.platform_at(kubeconfig, role, "", Vec::new()).await
    }

    async fn platform_at(
        &self,
        kubeconfig: &Path,
        role: &str,
        more: &str,
        environment: Vec<(&'static str, &'static str)>,
    ) -> Result<Platform> {
        let text = |path: &Path| format!("{:?}", path.display().to_string());
        let platform = Platform::start(PlatformSpec {
            program: self.programs.join("hexabase"),
            role: role.to_owned(),
            cluster_address: Some(self.node.clone()),
            more: format!(
                "{more}[host]\nkubeconfig = {}\nhelm = {}\nvcluster_chart = {}\nplatform_networks = [\"{}/32\"]\n",
                text(kubeconfig),
                text(&self.helm),
                text(&self.chart),
                self.node
            ),
            environment,
        })
        .await?;
        let home = self.home.get_or_init(|| platform.home_of("nobody"));
        std::fs::create_dir_all(home)?;
        Ok(platform)
    }

    /// The kubeconfig of the host cluster with everything in it that it needs.
    pub(crate) async fn whole_kubeconfig(&self) -> Result<Value> {
        let view = ["config", "view", "--raw", "--flatten", "--minify", "--output", "json"];
        Ok(serde_json::from_str(&self.host(&view).await?.good()?)?)
    }

    fn home(&self) -> &Path {
        self.home.get().map_or(Path::new("/nonexistent"), PathBuf::as_path)
    }

    /// kubectl of nobody in particular: with no kubeconfig but the one named here.
    pub(crate) fn kubectl(&self, kubeconfig: &Path) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.env("HOME", self.home()).arg("--cache-dir").arg(self.home().join("cache"));
        command.arg("--kubeconfig").arg(kubeconfig).kill_on_drop(true);
        command
    }

    /// kubectl on the host cluster, as its administrator.
    pub(crate) async fn host(&self, arguments: &[&str]) -> Result<Said> {
        let mut command = self.kubectl(&self.kubeconfig);
        command.args(arguments);
        run(command).await
    }

    /// kubectl with nothing but this token, reading `path` through the gateway of a workspace.
    pub(crate) async fn with_token(
        &self,
        platform: &Platform,
        token: &str,
        workspace: &str,
        path: &str,
    ) -> Result<Said> {
        let mut command = self.kubectl(Path::new("/dev/null"));
        command.args(["--token", token, "get", "--raw", path]);
        command.arg(format!("--server={}/k8s/{workspace}", platform.url()));
        command.arg(format!("--certificate-authority={}", platform.authority().display()));
        run(command).await
    }

    /// The same past the gateway, at the Service of the tenant's own API server.
    pub(crate) async fn directly(&self, token: &str, workspace: &str, path: &str) -> Result<Said> {
        let mut command = self.kubectl(Path::new("/dev/null"));
        command.args(["--insecure-skip-tls-verify", "--request-timeout=30s", "--token", token, "get", "--raw", path]);
        command.arg(format!("--server={}", self.tenant_address(workspace).await?));
        run(command).await
    }

    /// Where the API server of a workspace is reached from the node.
    pub(crate) async fn tenant_address(&self, workspace: &str) -> Result<String> {
        let namespace = format!("hxb-{workspace}");
        let service = ["-n", &namespace, "get", "service", workspace, "-o", "jsonpath={.spec.clusterIP}"];
        Ok(format!("https://{}", self.host(&service).await?.good()?))
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

    /// What the host has with a workspace's label: kinds and names, with `ID` for its id. What is made from something
    /// else, and so has a name by chance, is listed by what it is made from.
    pub(crate) async fn inventory(&self, workspace: &str) -> Result<Vec<String>> {
        // It fails when an API that others serve is away, such as that of metrics, but names all the others.
        let kinds = self.host(&["api-resources", "--verbs=list", "-o", "name"]).await?;
        ensure!(kinds.stdout.contains("statefulsets.apps"), "{kinds:?}");
        // Metrics are copies of what is listed already; events come and go.
        let kinds =
            kinds.stdout.lines().filter(|kind| !kind.ends_with("metrics.k8s.io") && !kind.starts_with("events"));
        let label = format!("hexabase.ai/workspace={workspace}");
        let kinds = kinds.collect::<Vec<_>>().join(",");
        let list = self.host(&["get", &kinds, "--all-namespaces", "-l", &label, "-o", "json"]).await?.good()?;
        let list: Value = serde_json::from_str(&list)?;
        let mut found = Vec::new();
        for object in list["items"].as_array().context("no list")? {
            let kind = text(object, "kind")?;
            let owner = &object["metadata"]["ownerReferences"][0];
            let object = match owner.is_null() {
                true => format!("{kind} {}", text(&object["metadata"], "name")?),
                false => format!("{kind} of {} {}", text(owner, "kind")?, text(owner, "name")?),
            };
            // What is of a project is of no other workspace's.
            if !object.starts_with("NetworkPolicy hexabase-project-") {
                found.push(object.replace(workspace, "ID"));
            }
        }
        found.sort();
        Ok(found)
    }

    /// A kubeconfig with which vCluster lets its administrator in, past the gateway.
    pub(crate) async fn tenant_kubeconfig(&self, workspace: &str) -> Result<PathBuf> {
        let (namespace, name) = (format!("hxb-{workspace}"), format!("vc-{workspace}"));
        let get = ["-n", &namespace, "get", "secret", &name, "--ignore-not-found", "-o", "json"];
        until("the tenant's credentials", async || Ok(!self.host(&get).await?.good()?.is_empty())).await?;
        let secret: Value = serde_json::from_str(&self.host(&get).await?.good()?)?;
        let data = |name: &str| &secret["data"][name];
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "tenant",
            "contexts": [{ "name": "tenant", "context": { "cluster": "tenant", "user": "tenant" } }],
            "clusters": [{ "name": "tenant", "cluster": {
                "server": self.tenant_address(workspace).await?,
                "tls-server-name": "kubernetes",
                "certificate-authority-data": data("certificate-authority"),
            } }],
            "users": [{ "name": "tenant", "user": {
                "client-certificate-data": data("client-certificate"), "client-key-data": data("client-key"),
            } }],
        });
        let path = self.home().join(workspace);
        std::fs::write(&path, kubeconfig.to_string())?;
        Ok(path)
    }
}
