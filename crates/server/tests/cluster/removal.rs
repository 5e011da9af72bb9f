//! Deleting a workspace leaves nothing behind, whatever state it is in.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hexabase_testkit::browser::Said;
use serde_json::{Value, json};

use crate::support::{BUSYBOX, Person, TIMEOUT, run, shop, until};
use crate::surroundings::Surroundings;

/// A deletion takes no longer than this, also with a dead tenant.
const BOUND: Duration = Duration::from_secs(60);

fn in_bound(begun: Instant) -> Result<()> {
    println!("deleted in {:.1?}", begun.elapsed());
    ensure!(begun.elapsed() < BOUND, "deletion took {:?}", begun.elapsed());
    Ok(())
}

async fn delete(person: &Person, name: &str) -> Result<Value> {
    let id = person.id_of(name).await?;
    let begun = Instant::now();
    person.hxb(&["workspace", "delete", name, "--yes", "--wait", "--timeout", "10m"]).await?;
    in_bound(begun)?;
    person.json(&["workspace", "get", &id]).await
}

#[tokio::test]
async fn a_used_workspace_is_gone_from_the_host_with_a_receipt() -> Result<()> {
    let shop = shop().await?;
    let dora = shop.somebody("dora").await?;
    let id = dora.workspace("used").await?;
    dora.project("used", "data", &[]).await?;
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("pod.yaml");
    std::fs::write(
        &manifest,
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: disk}}\n\
             spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 10Mi}}}}}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: writer}}\nspec:\n  containers:\n  - name: main\n    image: {BUSYBOX}\n    \
             command: [sh, -c, 'echo kept > /disk/file; sleep 3600']\n    volumeMounts: [{{name: disk, mountPath: /disk}}]\n  \
             volumes: [{{name: disk, persistentVolumeClaim: {{claimName: disk}}}}]\n"
        ),
    )?;
    dora.kubectl(&["-n", "data", "apply", "-f", &manifest.display().to_string()]).await?;
    dora.kubectl(&["-n", "data", "wait", "--for=condition=Ready", "pod/writer", TIMEOUT]).await?;
    ensure!(!shop.at.leftovers(&id).await?.is_empty());

    let gone = delete(&dora, "used").await?;
    ensure!(gone["phase"] == "deleted" && gone["receipt"]["remaining"] == json!([]), "{gone}");
    ensure!(gone["receipt"]["removed"].as_array().is_some_and(|removed| removed.len() > 5), "{gone}");
    ensure!(gone["receipt"]["missing"] == json!([]), "nobody took anything away: {gone}");
    let left = shop.at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    ensure!(dora.hxb.run(&["workspace", "get", "used"]).await?.code == 4, "its name still leads to it");
    dora.ask_for("used").await?;
    delete(&dora, "used").await.map(drop)
}

#[tokio::test]
async fn a_workspace_is_deleted_while_it_is_still_being_made() -> Result<()> {
    let shop = shop().await?;
    let eve = shop.somebody("eve").await?;
    let id = eve.ask_for("early").await?;
    until("the first objects on the host", async || Ok(!shop.at.leftovers(&id).await?.is_empty())).await?;
    let gone = delete(&eve, "early").await?;
    ensure!(gone["ready_at"].is_null(), "it was made already: {gone}");
    let left = shop.at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");

    // A volume that is on its way comes although the claim goes, and so has to be waited for.
    let id = eve.ask_for("later").await?;
    let (namespace, claim) = (format!("hxb-{id}"), format!("data-{id}-0"));
    let asked = "jsonpath={.metadata.annotations.volume\\.kubernetes\\.io/selected-node}";
    let get = ["-n", &namespace, "get", "persistentvolumeclaim", &claim, "--ignore-not-found", "-o", asked];
    until("a volume that is on its way", async || {
        Ok(shop.at.host(&get).await.and_then(Said::good).is_ok_and(|node| !node.is_empty()))
    })
    .await?;
    let gone = delete(&eve, "later").await?;
    ensure!(gone["ready_at"].is_null(), "it was made already: {gone}");
    ensure!(gone["receipt"]["removed"].to_string().contains("\"PersistentVolume\""), "the volume was not seen: {gone}");
    let left = shop.at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}

#[tokio::test]
async fn a_workspace_whose_api_server_is_dead_is_deleted_all_the_same() -> Result<()> {
    // A platform of its own: while it is to die, no worker may bring the workspace back to life.
    let at = Surroundings::read()?;
    let mut platform = at.platform().await?;
    let fay = Person::sign_in(&at, &platform, "fay").await?;
    let id = fay.workspace("dead").await.with_context(|| platform.log())?;
    fay.project("dead", "left", &[]).await?;
    fay.kubectl(&["-n", "left", "run", "pod", "--image", BUSYBOX, "--", "sleep", "3600"]).await?;
    fay.kubectl(&["-n", "left", "wait", "--for=condition=Ready", "pod/pod", TIMEOUT]).await?;

    platform.kill()?;
    let namespace = format!("hxb-{id}");
    at.host(&["-n", &namespace, "scale", "statefulset", &id, "--replicas=0"]).await?.good()?;
    at.host(&["-n", &namespace, "wait", "--for=delete", &format!("pod/{id}-0"), TIMEOUT]).await?.good()?;
    platform.start_again_as("serve").await?;
    let dead = platform.nobody()?.with_token(fay.token(&id).await?).get(&format!("/k8s/{id}/readyz")).await?;
    dead.expect(503)?;
    let left = at.host(&["-n", &namespace, "get", "pods", "-o", "name"]).await?.good()?;
    ensure!(left.contains("pod/pod-x-left-"), "the tenant's own pod has ended: {left}");

    let begun = Instant::now();
    fay.hxb(&["workspace", "delete", "dead", "--yes"]).await?;
    platform.kill()?;
    platform.start_again_as("all").await?;
    fay.hxb(&["workspace", "wait", &id, "--for", "deleted", "--timeout", "10m"])
        .await
        .with_context(|| platform.log())?;
    in_bound(begun)?;
    let gone = fay.json(&["workspace", "get", &id]).await?;
    ensure!(gone["receipt"]["remaining"] == json!([]), "{gone}");
    ensure!(gone["receipt"]["removed"].to_string().contains("\"pod-x-left-"), "the pod is not on the receipt: {gone}");
    let left = at.leftovers(&id).await?;
    ensure!(left.is_empty(), "left on the host: {left:?}");
    Ok(())
}

#[tokio::test]
async fn what_comes_back_of_a_deleted_workspace_is_told_and_goes() -> Result<()> {
    // A platform of its own: a worker that begins looks through the host at once.
    let at = Surroundings::read()?;
    let mut platform = at.platform().await?;
    let lena = Person::sign_in(&at, &platform, "lena").await?;
    let id = lena.ask_for("back").await?;
    let namespace = format!("hxb-{id}");
    let get = ["get", "namespace", &namespace, "--ignore-not-found", "-o", "json"];
    let mut found = String::new();
    until("the namespace", async || {
        found = at.host(&get).await?.good()?;
        Ok(!found.trim().is_empty())
    })
    .await?;
    delete(&lena, "back").await?;
    platform.kill()?;

    // As a worker leaves it that had been about to make it, and was overtaken.
    let found: Value = serde_json::from_str(&found)?;
    let (labels, annotations) = (&found["metadata"]["labels"], &found["metadata"]["annotations"]);
    let metadata = json!({ "name": namespace, "labels": labels, "annotations": annotations });
    let mut file = tempfile::NamedTempFile::new()?;
    write!(file, "{}", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }))?;
    let mut make = at.kubectl(&at.kubeconfig);
    make.args(["create", "-f"]).arg(file.path());
    run(make).await?.good()?;

    platform.start_again().await?;
    until("word of it", async || {
        let told = platform.run(&["leftovers"]).await?.good()?;
        let mut lines = told.lines().filter(|line| line.starts_with(&id));
        Ok(lines.any(|line| line.ends_with("is being removed")))
    })
    .await
    .with_context(|| platform.log())?;
    until("its end", async || Ok(at.leftovers(&id).await?.is_empty())).await.with_context(|| platform.log())
}
