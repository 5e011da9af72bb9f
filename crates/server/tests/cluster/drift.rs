//! What the platform owns comes back, all of it and in time; what tenants own is not touched.

mod deleted;
mod edits;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::{Person, run, shop, until};
use crate::surroundings::Surroundings;

/// Everything is back after this time.
const BOUND: Duration = Duration::from_secs(60);
const OURS: &str = "app.kubernetes.io/managed-by=hexabase";
/// What of it can be deleted while the control plane goes on. Its pod has its Secrets already; but its token ends with its
/// ServiceAccount, and itself with its StatefulSet.
const HOST: &str = "resourcequotas,limitranges,networkpolicies,roles,rolebindings,secrets";
const TENANT: &str = "clusterroles,clusterrolebindings,mutatingadmissionpolicies,mutatingadmissionpolicybindings,\
                      validatingadmissionpolicies,validatingadmissionpolicybindings";
const PROJECT: &str = "resourcequotas,limitranges,rolebindings";
const OWN: &str = "clusterroles,clusterrolebindings,roles,rolebindings,configmaps,secrets,networkpolicies";

/// Objects with the label, by kind and name, with the uid of each.
async fn objects(at: &Surroundings, kubeconfig: &Path, place: &[&str], kinds: &str) -> Result<BTreeSet<String>> {
    let mut command = at.kubectl(kubeconfig);
    let names = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
    command.args(place).args(["get", kinds, "-l", OURS, "-o", names]);
    Ok(run(command).await?.good()?.lines().map(str::to_owned).collect())
}

fn without_uids(objects: &BTreeSet<String>) -> BTreeSet<&str> {
    objects.iter().filter_map(|object| object.rsplit_once(' ')).map(|(name, _)| name).collect()
}

/// What these objects are like, without what Kubernetes notes about them.
async fn contents(at: &Surroundings, kubeconfig: &Path, place: &[&str], objects: &[&str]) -> Result<Vec<Value>> {
    let mut command = at.kubectl(kubeconfig);
    command.args(place).arg("get").args(objects).args(["--ignore-not-found", "-o", "json"]);
    let said = run(command).await?.good()?;
    // kubectl writes no empty list.
    if said.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut list: Value = serde_json::from_str(&said)?;
    let items = list["items"].as_array_mut().context("no list")?;
    for object in items.iter_mut() {
        let (name, labels) = (object["metadata"]["name"].take(), object["metadata"]["labels"].take());
        object["metadata"] = json!({ "name": name, "labels": labels });
        object["status"] = Value::Null;
    }
    Ok(std::mem::take(items))
}

/// Waits until the objects are as they were before they were edited, which has to be soon.
async fn soon_again(
    at: &Surroundings,
    kubeconfig: &Path,
    place: &[&str],
    objects: &[&str],
    before: &[Value],
    begun: Instant,
) -> Result<()> {
    let mut bent: Vec<String> = Vec::new();
    let waited = until("what was edited", async || {
        let now = contents(at, kubeconfig, place, objects).await?;
        let differing = before.iter().filter(|object| !now.contains(object));
        bent = differing.map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect();
        Ok(bent.is_empty() && now.len() == before.len())
    })
    .await;
    waited.with_context(|| format!("still different: {bent:?}"))?;
    println!("{} objects were as before after {:.1?}", before.len(), begun.elapsed());
    ensure!(begun.elapsed() < BOUND, "{objects:?}: {:?}", begun.elapsed());
    Ok(())
}

/// The uids of the control plane's pods.
async fn control_plane(at: &Surroundings, namespace: &str) -> Result<String> {
    let uids = "jsonpath={.items[*].metadata.uid}";
    at.host(&["-n", namespace, "get", "pods", "-l", "app=vcluster", "-o", uids]).await?.good()
}

/// Sees to it that Secrets which nobody can change any more are made anew, and the control plane with them: its node would go on
/// giving it what they held.
async fn made_anew(at: &Surroundings, person: &Person, id: &str) -> Result<()> {
    let (namespace, edits) = (format!("hxb-{id}"), edits::for_good(id));
    let on_host = ["-n", namespace.as_str()];
    let names: Vec<&str> = edits.iter().map(|(name, _)| name.as_str()).collect();
    let before = contents(at, &at.kubeconfig, &on_host, &names).await?;
    ensure!(before.len() == names.len(), "{before:?}");
    let old = control_plane(at, &namespace).await?;
    ensure!(!old.is_empty(), "there is no control plane");
    let begun = Instant::now();
    for (name, patch) in &edits {
        at.host(&["-n", &namespace, "patch", name, "--type", "merge", "-p", &patch.to_string()]).await?.good()?;
    }
    soon_again(at, &at.kubeconfig, &on_host, &names, &before, begun).await?;
    until("the end of the control plane", async || Ok(!control_plane(at, &namespace).await?.contains(&old))).await?;
    let read = ["-n", "web", "get", "configmap", "note"];
    until("another control plane", async || Ok(person.try_kubectl(&read).await?.code == 0)).await
}

#[tokio::test]
async fn what_is_the_platforms_is_back_within_a_minute_and_what_is_the_tenants_stays_as_it_is() -> Result<()> {
    let shop = shop().await?;
    let (at, iris) = (&shop.at, shop.somebody("iris").await?);
    let id = iris.workspace("bent").await?;
    iris.project("bent", "web", &[]).await?;
    iris.hxb(&["access", "grant", "view", "WSUsers", "-w", "bent", "-p", "web"]).await?;
    let namespace = format!("hxb-{id}");
    let inside = at.tenant_kubeconfig(&id).await?;
    for make in [
        &["create", "configmap", "note", "--from-literal=text=kept"][..],
        &["create", "secret", "generic", "note", "--from-literal=text=kept"],
        &["create", "role", "note", "--verb=get", "--resource=pods"],
        &["create", "rolebinding", "note", "--role=note", "--group=nobody"],
        &["create", "clusterrole", "note", "--verb=get", "--resource=pods"],
        &["create", "clusterrolebinding", "note", "--clusterrole=note", "--group=nobody"],
    ] {
        let mut command = at.kubectl(&inside);
        command.args(["-n", "web"]).args(make);
        run(command).await?.good()?;
    }
    let notes = async || {
        let mut command = at.kubectl(&inside);
        let versions = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        command.args(["-n", "web", "get", OWN, "--field-selector", "metadata.name=note", "-o", versions]);
        run(command).await?.good()
    };
    let own = notes().await?;
    ensure!(own.lines().count() == 6, "{own}");

    let (on_host, in_project) = (["-n", namespace.as_str()], ["-n", "web"]);
    for (kubeconfig, place, kinds) in [
        (at.kubeconfig.as_path(), &on_host[..], HOST),
        (inside.as_path(), &on_host[..0], TENANT),
        (inside.as_path(), &in_project[..], PROJECT),
    ] {
        let mut before = BTreeSet::new();
        // The role that was given last is bound a moment after the project.
        until("the objects", async || {
            before = objects(at, kubeconfig, place, kinds).await?;
            Ok(before.len() >= 3)
        })
        .await?;
        let begun = Instant::now();
        let mut command = at.kubectl(kubeconfig);
        command.args(place).args(["delete", kinds, "-l", OURS, "--wait=false"]);
        run(command).await?.good()?;
        until("all of them again", async || {
            let now = objects(at, kubeconfig, place, kinds).await?;
            Ok(now.is_disjoint(&before) && without_uids(&now).is_superset(&without_uids(&before)))
        })
        .await?;
        println!("{} objects were back after {:.1?}", before.len(), begun.elapsed());
        ensure!(begun.elapsed() < BOUND, "{kinds}: {:?}", begun.elapsed());
    }

    let edits = [
        (at.kubeconfig.as_path(), &on_host[..], edits::on_the_host(&id)),
        (inside.as_path(), &on_host[..0], edits::in_the_tenant()),
        (inside.as_path(), &in_project[..], edits::in_the_project()),
    ];
    let mut edited = Vec::new();
    for (kubeconfig, place, edits) in &edits {
        let names: Vec<&str> = edits.iter().map(|(name, _)| name.as_str()).collect();
        let before = contents(at, kubeconfig, place, &names).await?;
        ensure!(before.len() == names.len(), "{before:?}");
        for (name, patch) in edits {
            let mut command = at.kubectl(kubeconfig);
            command.args(*place).args(["patch", name.as_str(), "--type", "merge", "-p", &patch.to_string()]);
            run(command).await?.good()?;
        }
        edited.push((*kubeconfig, *place, names, before));
    }
    let begun = Instant::now();
    for (kubeconfig, place, names, before) in edited {
        soon_again(at, kubeconfig, place, &names, &before, begun).await?;
    }

    // Somebody makes the quota anew with a scope, in which ours cannot be applied and nothing of it counts.
    let names = ["resourcequota/hexabase-quota", "limitrange/hexabase-limits"];
    let before = contents(at, &inside, &in_project, &names).await?;
    until("the other quota", async || {
        let (mut end, mut make) = (at.kubectl(&inside), at.kubectl(&inside));
        end.args(in_project).args(["delete", names[0], "--ignore-not-found"]);
        run(end).await?.good()?;
        make.args(in_project).args(["create", "quota", "hexabase-quota", "--hard=pods=1000", "--scopes=Terminating"]);
        // The platform may have been faster.
        Ok(run(make).await?.code == 0)
    })
    .await?;
    soon_again(at, &inside, &in_project, &names, &before, Instant::now()).await?;
    made_anew(at, &iris, &id).await?;
    ensure!(notes().await? == own, "what is the tenant's was touched: {own}");
    iris.hxb(&["workspace", "delete", "bent", "--yes", "--wait", "--timeout", "10m"]).await.map(drop)
}
