//! Tokens of ServiceAccounts that somebody made who is gone, as a real tenant API server takes them.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use hexabase_testkit::browser::Said;
use serde_json::{Value, json};

use crate::support::{Person, Shop, run, shop, text, until};

/// What whoever has shown who they are may read, and nobody else.
const DISCOVERY: &str = "/api";
const MARK: &str = "jsonpath={.metadata.annotations.hexabase\\.ai/created-by}";

/// Somebody who may edit a project of the same name, with a ServiceAccount `robot` in it, and their id.
async fn editor(shop: &Shop, name: &str) -> Result<(Person, String)> {
    let person = shop.viewer(name).await?;
    let alice = &shop.alice;
    alice.project("shop", name, &["--pods", "1", "--cpu", "100m", "--memory", "64Mi"]).await?;
    alice.hxb(&["group", "create", name, "-w", "shop"]).await?;
    alice.hxb(&["group", "add", name, &format!("{name}@example.test"), "-w", "shop"]).await?;
    alice.hxb(&["access", "grant", "edit", name, "-w", "shop", "-p", name]).await?;
    let asked = ["auth", "can-i", "create", "serviceaccounts", "--subresource=token", "-n", name];
    until("the right to make tokens", async || Ok(person.try_kubectl(&asked).await?.stdout.trim() == "yes")).await?;
    person.kubectl(&["-n", name, "create", "serviceaccount", "robot"]).await?;
    let id = text(&person.json(&["whoami"]).await?, "id")?;
    Ok((person, id))
}

/// A file with a Secret in which Kubernetes is to put a token of `robot`.
fn secret(shop: &Shop, namespace: &str, name: &str, annotations: Value) -> Result<PathBuf> {
    let mut secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": { "name": name, "namespace": namespace, "annotations": annotations } });
    secret["metadata"]["annotations"]["kubernetes.io/service-account.name"] = json!("robot");
    let folder = shop.platform.home_of(namespace);
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.json"));
    std::fs::write(&file, secret.to_string())?;
    Ok(file)
}

async fn create(person: &Person, file: &std::path::Path) -> Result<String> {
    person.kubectl(&["create", "-f", &file.display().to_string()]).await
}

/// The same as the tenant's own administrator, who is none of the platform's people.
async fn create_as_somebody_else(shop: &Shop, file: &std::path::Path) -> Result<Said> {
    let mut command = shop.at.kubectl(&shop.at.tenant_kubeconfig(&shop.id).await?);
    command.args(["create", "-f"]).arg(file);
    run(command).await
}

async fn is_accepted(shop: &Shop, token: &str) -> Result<bool> {
    Ok(shop.at.directly(token, &shop.id, DISCOVERY).await?.code == 0)
}

async fn kinds(shop: &Shop, user: &str) -> Result<Vec<String>> {
    let found = shop.alice.json(&["member", "tokens", user, "-w", "shop"]).await?;
    found["items"].as_array().into_iter().flatten().map(|item| text(item, "kind")).collect()
}

#[tokio::test]
async fn what_somebody_left_behind_is_listed_and_refused_once_it_is_ended() -> Result<()> {
    let shop = shop().await?;
    let (mo, id) = editor(shop, "payroll").await?;
    let asked = mo.kubectl(&["-n", "payroll", "create", "token", "robot", "--duration=2h"]).await?.trim().to_owned();
    create(&mo, &secret(shop, "payroll", "kept", json!({}))?).await?;
    mo.kubectl(&["-n", "payroll", "create", "secret", "generic", "plain", "--from-literal=a=b"]).await?;
    let read =
        ["-n", "payroll", "get", "secret", "kept", "-o", "go-template={{with .data.token}}{{base64decode .}}{{end}}"];
    until("the token", async || Ok(!mo.kubectl(&read).await?.is_empty())).await?;
    let kept = mo.kubectl(&read).await?;
    let uid = ["-n", "payroll", "get", "serviceaccount", "robot", "-o", "jsonpath={.metadata.uid}"];
    let before = shop.alice.kubectl(&uid).await?;
    // What belongs to it, and what somebody holds it with, stands in nobody's way and stays.
    let owner = json!([{ "apiVersion": "v1", "kind": "ServiceAccount", "name": "robot", "uid": before }]);
    let owned = json!({ "metadata": { "ownerReferences": owner } }).to_string();
    mo.kubectl(&["-n", "payroll", "create", "configmap", "owned"]).await?;
    mo.kubectl(&["-n", "payroll", "patch", "configmap", "owned", "--type=merge", "-p", &owned]).await?;
    let held =
        json!({ "metadata": { "finalizers": ["example.com/hold"], "labels": { "app": "payroll" } } }).to_string();
    mo.kubectl(&["-n", "payroll", "patch", "serviceaccount", "robot", "--type=merge", "-p", &held]).await?;

    let said = shop.alice.hxb.run(&["member", "remove", "-w", "shop", &id]).await?;
    ensure!(said.code == 0 && said.stderr.contains("tokens of 1 service account there"), "{said:?}");
    ensure!(kinds(shop, &id).await? == ["token_request", "secret"]);
    for token in [&asked, &kept] {
        ensure!(is_accepted(shop, token).await?, "a token that nobody ended");
    }
    shop.alice.hxb(&["member", "revoke-tokens", &id, "-w", "shop", "--yes"]).await?;
    for token in [&asked, &kept] {
        until("the end of the token", async || Ok(!is_accepted(shop, token).await?)).await?;
    }
    ensure!(kinds(shop, &id).await?.is_empty());
    let after = shop.alice.kubectl(&uid).await?;
    ensure!(!after.is_empty() && after != before, "{before} {after}");
    let label = ["-n", "payroll", "get", "serviceaccount", "robot", "-o", "jsonpath={.metadata.labels.app}"];
    ensure!(shop.alice.kubectl(&label).await? == "payroll");
    let owners = ["-n", "payroll", "get", "configmap", "owned", "-o", "jsonpath={.metadata.ownerReferences}"];
    ensure!(shop.alice.kubectl(&owners).await?.is_empty(), "it has gone back to nobody");
    // It is a ServiceAccount like any other: it is given tokens, and they are good.
    let new = shop.alice.kubectl(&["-n", "payroll", "create", "token", "robot"]).await?;
    until("the new token", async || is_accepted(shop, new.trim()).await).await?;
    ensure!(shop.alice.kubectl(&["-n", "payroll", "get", "secret", "plain", "-o", MARK]).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn nobody_says_of_a_token_that_somebody_else_made_it() -> Result<()> {
    let shop = shop().await?;
    let (pat, id) = editor(shop, "ledger").await?;
    let forged =
        secret(shop, "ledger", "forged", json!({ "hexabase.ai/created-by": "hexabase:usr-00000000000000000000" }))?;
    // A person's own name takes the place of another one.
    create(&pat, &forged).await?;
    let shown = ["-n", "ledger", "get", "secret", "forged", "-o", MARK];
    ensure!(shop.alice.kubectl(&shown).await? == format!("hexabase:{id}"));
    for person in [&pat, &shop.alice] {
        let change = "hexabase.ai/created-by=hexabase:usr-00000000000000000000";
        let change = ["-n", "ledger", "annotate", "--overwrite", "secret", "forged", change];
        person.refused(&change, "stays as it is").await?;
        // Taken off, it is there again; so it is when the Secret is replaced by what it was made of.
        let unmarked = secret(shop, "ledger", "forged", json!({ "note": "y" }))?;
        person.kubectl(&["-n", "ledger", "annotate", "secret", "forged", "hexabase.ai/created-by-"]).await?;
        ensure!(shop.alice.kubectl(&shown).await? == format!("hexabase:{id}"));
        person.kubectl(&["replace", "-f", &unmarked.display().to_string()]).await?;
        ensure!(shop.alice.kubectl(&shown).await? == format!("hexabase:{id}"));
    }
    // What it was made of, since the file has been overwritten.
    let forged =
        secret(shop, "ledger", "forged", json!({ "hexabase.ai/created-by": "hexabase:usr-00000000000000000000" }))?;
    // What does not touch it passes.
    pat.kubectl(&["-n", "ledger", "annotate", "--overwrite", "secret", "forged", "note=x"]).await?;

    pat.kubectl(&["-n", "ledger", "delete", "secret", "forged"]).await?;
    let said = create_as_somebody_else(shop, &forged).await?;
    ensure!(said.code != 0 && said.stderr.contains("names the person who makes a token"), "{said:?}");
    create_as_somebody_else(shop, &secret(shop, "ledger", "unmarked", json!({}))?).await?.good()?;
    ensure!(shop.alice.kubectl(&["-n", "ledger", "get", "secret", "unmarked", "-o", MARK]).await?.is_empty());
    ensure!(kinds(shop, &id).await?.is_empty(), "the token of an administrator is nobody's");
    Ok(())
}

/// Kubernetes fills in the token of a Secret that names another ServiceAccount from now on, whoever made it.
#[tokio::test]
async fn nobody_gets_a_token_without_a_mark_out_of_a_secret_that_is_there() -> Result<()> {
    let shop = shop().await?;
    let (kim, id) = editor(shop, "wages").await?;
    kim.kubectl(&["-n", "wages", "create", "serviceaccount", "other"]).await?;
    create_as_somebody_else(shop, &secret(shop, "wages", "unmarked", json!({}))?).await?.good()?;
    let read = ["-n", "wages", "get", "secret", "unmarked", "-o", "go-template={{with .data.token}}{{.}}{{end}}"];
    until("the token", async || Ok(!kim.kubectl(&read).await?.is_empty())).await?;
    let before = kim.kubectl(&read).await?;
    let change = json!({ "metadata": { "annotations": {
        "kubernetes.io/service-account.name": "other", "kubernetes.io/service-account.uid": null,
    } }, "data": { "token": null } })
    .to_string();
    let patch = ["-n", "wages", "patch", "secret", "unmarked", "--type=merge", "-p", &change];
    for person in [&kim, &shop.alice] {
        person.refused(&patch, "make another Secret").await?;
    }
    ensure!(kim.kubectl(&read).await? == before && kinds(shop, &id).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_service_account_for_which_there_is_no_room_again_is_not_deleted() -> Result<()> {
    let shop = shop().await?;
    let (lee, id) = editor(shop, "crowded").await?;
    lee.kubectl(&["-n", "crowded", "create", "token", "robot"]).await?;
    let mut quota = shop.at.kubectl(&shop.at.tenant_kubeconfig(&shop.id).await?);
    quota.args(["-n", "crowded", "create", "quota", "few", "--hard=count/serviceaccounts=1"]);
    run(quota).await?.good()?;
    let used = ["-n", "crowded", "get", "resourcequota", "few", "-o", "jsonpath={.status.used}"];
    until("the quota", async || Ok(!shop.alice.kubectl(&used).await?.is_empty())).await?;
    let uid = ["-n", "crowded", "get", "serviceaccount", "robot", "-o", "jsonpath={.metadata.uid}"];
    let before = shop.alice.kubectl(&uid).await?;
    let said = shop.alice.hxb.run(&["member", "revoke-tokens", &id, "-w", "shop", "--yes"]).await?;
    ensure!(format!("{}{}", said.stdout, said.stderr).contains("exceeded quota"), "{said:?}");
    ensure!(shop.alice.kubectl(&uid).await? == before && kinds(shop, &id).await? == ["token_request"]);
    Ok(())
}
