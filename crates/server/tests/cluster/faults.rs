//! What must hold when the platform is killed, or somebody meddles with its objects.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use hexabase_testkit::platform::Platform;

use crate::hold::{HELD, Hold};
use crate::support::{Person, TIMEOUT, shop, text, until};
use crate::surroundings::Surroundings;

/// Where creation stands at each of the ten kills. The host refuses what comes next, or the tenant does, or the kill comes
/// while something is on its way.
const STEPS: [&str; 10] = [
    "none",
    "namespace",
    "limits",
    "authentication",
    "virtual-cluster",
    "virtual-cluster",
    "virtual-cluster",
    "virtual-cluster",
    "api-server",
    "access",
];
/// What the host refuses at first, in the order in which it is let go.
const HELD_BACK: [&str; 6] = ["namespaces", "resourcequotas", "secrets", "services", "statefulsets", "pods"];

/// A workspace whose platform is killed again and again.
struct Phoenix<'a> {
    at: &'a Surroundings,
    platform: Platform,
    gus: Person,
    id: String,
    namespace: String,
    /// The fence of the last worker that was killed; none before there was a namespace.
    fence: Option<u64>,
    /// Where creation stood at each kill.
    kills: Vec<String>,
}

impl Phoenix<'_> {
    /// The fencing number of the worker that last worked on the namespace.
    async fn fence(&self) -> Result<Option<u64>> {
        let fence = "jsonpath={.metadata.annotations.hexabase\\.ai/fence}";
        let get = ["get", "namespace", &self.namespace, "--ignore-not-found", "-o", fence];
        Ok(self.at.host(&get).await?.good()?.trim().parse().ok())
    }

    /// The step at which creation stands, and what it waits for. Anything but being created is an error.
    async fn stands(&self) -> Result<(String, String)> {
        let workspace = self.gus.json(&["workspace", "get", &self.id]).await?;
        ensure!(workspace["phase"] == "creating", "killed before: {:?}; now: {workspace}", self.kills);
        let steps = workspace["steps"].as_array().context("no steps")?;
        let Some(step) = steps.iter().rfind(|step| step["state"] != "done") else {
            return Ok(("none".to_owned(), String::new()));
        };
        Ok((text(step, "name")?, step["message"].as_str().unwrap_or_default().to_owned()))
    }

    /// Starts the platform.
    async fn start(&mut self) -> Result<()> {
        self.platform.start_again_as("all").await
    }

    /// Waits until a worker that was not killed yet has come to this step, and waits there for what has this word in it.
    async fn comes_to(&self, step: &str, word: &str) -> Result<()> {
        until(&format!("{step}: {word}"), async || {
            let (found, message) = self.stands().await?;
            let fence = self.fence().await?;
            Ok(found == step && message.contains(word) && (fence.is_none() || fence > self.fence))
        })
        .await
        .with_context(|| self.platform.log())
    }

    /// Kills the platform, and has one without a worker say where creation stands.
    async fn kill(&mut self) -> Result<()> {
        self.platform.kill()?;
        self.platform.start_again_as("serve").await?;
        let (step, message) = self.stands().await?;
        self.fence = self.fence().await?;
        println!("killed at {step}: {message}");
        self.kills.push(step);
        // What is refused is tried again after ten seconds; what is asked for is done at once.
        let project = format!("p{}", self.kills.len());
        self.gus.hxb(&["project", "create", &project, "-w", &self.id]).await?;
        self.platform.kill()
    }
}

#[tokio::test]
async fn a_platform_killed_ten_times_still_makes_one_whole_workspace() -> Result<()> {
    let at = Surroundings::read()?;
    let mut platform = at.platform().await?;
    let gus = Person::sign_in(&at, &platform, "gus").await?;
    platform.kill()?;
    platform.start_again_as("serve").await?;
    let id = gus.ask_for("phoenix").await?;
    let namespace = format!("hxb-{id}");
    let mut phoenix = Phoenix { at: &at, platform, gus, namespace, fence: None, kills: Vec::new(), id };
    ten_kills(&mut phoenix).await?;
    ensure!(phoenix.kills == STEPS, "{:?}", phoenix.kills);
    phoenix.start().await?;
    let Phoenix { mut platform, gus, id, .. } = phoenix;
    gus.hxb(&["workspace", "wait", "phoenix", "--for", "ready", "--timeout", "10m"])
        .await
        .with_context(|| platform.log())?;
    gus.hxb(&["kubeconfig", "phoenix", "--set-current"]).await?;
    gus.kubectl(&["auth", "whoami"]).await.context("ready, and a member's token is not believed")?;
    until("all that was asked for between the kills", async || {
        let projects = gus.json(&["project", "list", "-w", &id]).await?;
        let projects = projects["items"].as_array().context("no list")?;
        Ok(projects.len() == STEPS.len() && projects.iter().all(|project| project["phase"] == "ready"))
    })
    .await?;
    like_one_that_was_never_killed(&at, &gus, &id).await?;
    let workspaces = gus.json(&["workspace", "list"]).await?;
    ensure!(workspaces["items"].as_array().is_some_and(|items| items.len() == 1), "{workspaces}");

    let token = gus.token(&id).await?;
    platform.kill()?;
    platform.start_again().await?;
    let said = at.with_token(&platform, &token, &id, "/api/v1/namespaces").await?;
    ensure!(said.code == 0, "a restart made a token worthless: {said:?}");
    gus.hxb(&["workspace", "delete", "phoenix", "--yes"]).await?;
    platform.kill()?;
    platform.start_again().await?;
    gus.hxb(&["workspace", "wait", &id, "--for", "deleted", "--timeout", "10m"]).await?;
    let left = at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}

async fn ten_kills(phoenix: &mut Phoenix<'_>) -> Result<()> {
    let (at, id, namespace) = (phoenix.at, phoenix.id.clone(), phoenix.namespace.clone());
    let which = format!(
        "request.resource.resource == 'namespaces' ? object.metadata.name == '{namespace}' \
         : request.namespace == '{namespace}'"
    );
    let name = format!("hexabase-test-{id}");
    let mut hold = Hold::place(at, &at.kubeconfig, &name, (&HELD_BACK, which), &["namespace", &namespace]).await?;
    phoenix.kill().await?;

    let refusals = [
        ("namespace", "Namespace"),
        ("limits", "ResourceQuota"),
        ("authentication", "Secret"),
        ("virtual-cluster", "Service"),
        ("virtual-cluster", "StatefulSet"),
    ];
    for ((step, kind), held) in refusals.into_iter().zip(HELD_BACK) {
        phoenix.start().await?;
        phoenix.comes_to(step, &format!("{kind} ")).await?;
        phoenix.kill().await?;
        hold.let_go(held).await?;
    }
    // As soon as the last object is there.
    phoenix.start().await?;
    let get = ["-n", &namespace, "get", "statefulset", "--ignore-not-found", "-o", "name"];
    until("the StatefulSet", async || Ok(!at.host(&get).await?.good()?.is_empty())).await?;
    phoenix.kill().await?;
    // While it has no pod.
    phoenix.start().await?;
    phoenix.comes_to("virtual-cluster", "no pod").await?;
    phoenix.kill().await?;
    // While the tenant's API server starts.
    phoenix.start().await?;
    phoenix.comes_to("virtual-cluster", "no pod").await?;
    drop(hold);
    // What Kubernetes could not make it tries again less and less often, unless something changes.
    at.host(&["-n", &namespace, "annotate", "statefulset", &id, "changed=yes"]).await?.good()?;
    phoenix.comes_to("api-server", "").await?;
    phoenix.kill().await?;
    // Inside the tenant.
    let ready = ["-n", &namespace, "wait", "--for=condition=Ready", &format!("pod/{id}-0"), TIMEOUT];
    at.host(&ready).await?.good()?;
    let inside = at.tenant_kubeconfig(&id).await?;
    let which = (&["clusterrolebindings"][..], "object.metadata.name.startsWith('hexabase:')".to_owned());
    let probe = ["clusterrolebinding", "hexabase:probe", "--clusterrole=view", "--group=nobody"];
    let hold = Hold::place(at, &inside, &name, which, &probe).await?;
    phoenix.start().await?;
    phoenix.comes_to("access", HELD).await?;
    phoenix.kill().await?;
    drop(hold);
    Ok(())
}

/// On the host there is what there is of a workspace that was never killed, and in the tenant the same roles and bindings.
async fn like_one_that_was_never_killed(at: &Surroundings, gus: &Person, id: &str) -> Result<()> {
    let shop = shop().await?;
    let (mut own, mut model) = (Vec::new(), Vec::new());
    // Kubernetes itself may still be at work on what it makes from others.
    until("the same objects as of a workspace that was never killed", async || {
        (own, model) = (at.inventory(id).await?, at.inventory(&shop.id).await?);
        Ok(own == model)
    })
    .await
    .with_context(|| format!("{own:#?}\nbut of a workspace that was never killed {model:#?}"))?;
    ensure!(model.iter().any(|object| object == "StatefulSet ID"), "{model:#?}");
    let get = ["get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/managed-by=hexabase", "-o", "name"];
    let (own, model) = (gus.kubectl(&get).await?, shop.alice.kubectl(&get).await?);
    let [own, model] = [&own, &model].map(|names| names.lines().collect::<BTreeSet<_>>());
    ensure!(own == model && own.len() >= 4, "{own:?} but of a workspace that was never killed {model:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_edited_or_deleted_of_the_platforms_objects_comes_back() -> Result<()> {
    let shop = shop().await?;
    // A workspace of its own: nobody else's rights end with a binding that is deleted here.
    let hal = shop.somebody("hal").await?;
    let id = hal.workspace("drift").await?;
    hal.project("drift", "web", &[]).await?;
    let namespace = format!("hxb-{id}");
    let host = async |arguments: &[&str]| shop.at.host(&[&["-n", &namespace], arguments].concat()).await;
    let bent = r#"{"spec":{"hard":{"pods":"1"}}}"#;
    host(&["patch", "resourcequota", "hexabase", "--type=merge", "-p", bent]).await?.good()?;
    host(&["delete", "limitrange", "hexabase"]).await?.good()?;
    let binding = ["clusterrolebinding", "hexabase:workspace-viewer:WorkspaceMembers"];
    hal.kubectl(&[&["delete"], &binding[..]].concat()).await?;
    hal.kubectl(&["-n", "web", "delete", "resourcequota", "hexabase-quota"]).await?;
    until("the host's quota", async || {
        let pods = host(&["get", "resourcequota", "hexabase", "-o", "jsonpath={.spec.hard.pods}"]).await?.good()?;
        Ok(pods != "1")
    })
    .await?;
    until("the host's defaults", async || Ok(host(&["get", "limitrange", "hexabase"]).await?.code == 0)).await?;
    until("the binding", async || Ok(hal.try_kubectl(&[&["get"], &binding[..]].concat()).await?.code == 0)).await?;
    until("the project's quota", async || {
        Ok(hal.try_kubectl(&["-n", "web", "get", "resourcequota", "hexabase-quota"]).await?.code == 0)
    })
    .await?;
    hal.hxb(&["workspace", "delete", "drift", "--yes", "--wait", "--timeout", "10m"]).await.map(drop)
}
