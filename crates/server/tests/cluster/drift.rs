//! What the platform owns comes back, all of it and in time; what tenants own is not touched.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::support::{run, shop, until};
use crate::surroundings::Surroundings;

/// Everything is back after this time.
const BOUND: Duration = Duration::from_secs(60);
const OURS: &str = "app.kubernetes.io/managed-by=hexabase";
/// What of it can be deleted while the control plane goes on.
const HOST: &str = "resourcequotas,limitranges,networkpolicies,roles,rolebindings";
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
    ensure!(notes().await? == own, "what is the tenant's was touched: {own}");
    iris.hxb(&["workspace", "delete", "bent", "--yes", "--wait", "--timeout", "10m"]).await.map(drop)
}
