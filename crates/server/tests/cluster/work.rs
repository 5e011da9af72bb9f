//! Working in a workspace with plain kubectl.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::{BUSYBOX, SERVE, TIMEOUT, line_of, page, shop, until};

#[tokio::test]
async fn a_deployment_runs_and_kubectl_reaches_into_it() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "reach", &[]).await?;
    alice.kubectl(&["-n", "reach", "create", "deployment", "web", "--image", BUSYBOX, "--", "sh", "-c", SERVE]).await?;
    alice.kubectl(&["-n", "reach", "rollout", "status", "deployment/web", TIMEOUT]).await?;
    // A container runs before the program in it has done anything.
    until("the first line of the logs", async || {
        Ok(alice.kubectl(&["-n", "reach", "logs", "deploy/web"]).await?.contains("started"))
    })
    .await?;
    until("an answer in the container", async || {
        let get = ["-n", "reach", "exec", "deploy/web", "--", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"];
        let said = alice.try_kubectl(&get).await?;
        Ok(said.code == 0 && said.stdout == "page\n")
    })
    .await?;
    let pod = alice.kubectl(&["-n", "reach", "get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]).await?;
    alice.kubectl(&["-n", "reach", "cp", &format!("{pod}:/www/index.html"), "/dev/null"]).await?;

    let (_forward, port) = alice.forward(&["-n", "reach", "port-forward", "deploy/web", ":8080"], &[]).await?;
    ensure!(page(port, "/").await?.ends_with("page\n"));
    until("usage of the pod", async || {
        let top = alice.try_kubectl(&["-n", "reach", "top", "pods"]).await?;
        Ok(top.code == 0 && top.stdout.contains("web-"))
    })
    .await
}

#[tokio::test]
async fn a_watch_and_following_logs_stream_as_it_happens() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "watch", &[]).await?;
    let mut watch =
        Command::from(alice.kubectl_command(&["-n", "watch", "get", "configmaps", "--watch", "-o", "name"]));
    let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().context("no output")?).lines();
    // What is there already is shown: from here on, what is shown was watched.
    line_of(&mut lines, |line| line == "configmap/kube-root-ca.crt").await?;
    alice.kubectl(&["-n", "watch", "create", "configmap", "seen"]).await?;
    line_of(&mut lines, |line| line == "configmap/seen").await?;
    let script = "i=0; while true; do echo line $i; i=$((i+1)); sleep 1; done";
    alice.kubectl(&["-n", "watch", "run", "talker", "--image", BUSYBOX, "--", "sh", "-c", script]).await?;
    alice.kubectl(&["-n", "watch", "wait", "--for=condition=Ready", "pod/talker", TIMEOUT]).await?;
    let mut logs = Command::from(alice.kubectl_command(&["-n", "watch", "logs", "--follow", "talker"]));
    let mut logs = logs.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(logs.stdout.take().context("no output")?).lines();
    line_of(&mut lines, |line| line == "line 3").await.map(drop)
}

#[tokio::test]
async fn manifests_are_applied_on_the_server_and_names_resolve_in_the_workspace() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "apply", &[]).await?;
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("manifest.yaml");
    std::fs::write(
        &manifest,
        "apiVersion: v1\nkind: Service\nmetadata: {name: back}\nspec: {selector: {app: back}, ports: [{port: 80}]}\n",
    )?;
    let manifest = manifest.display().to_string();
    alice.kubectl(&["-n", "apply", "apply", "--server-side", "-f", &manifest]).await?;
    // A Service has its name a moment after it was made.
    let script = "end=$(($(date +%s) + 500)); \
                  until nslookup back.apply.svc.cluster.local && nslookup kubernetes.default.svc.cluster.local; \
                  do [ $(date +%s) -lt $end ] || exit 1; sleep 1; done";
    let run = ["-n", "apply", "run", "ask", "--image", BUSYBOX, "--restart=Never", "--", "sh", "-c", script];
    alice.kubectl(&run).await?;
    until("the answer of the name server", async || {
        let phase = alice.kubectl(&["-n", "apply", "get", "pod", "ask", "-o", "jsonpath={.status.phase}"]).await?;
        ensure!(phase != "Failed", "{}", alice.kubectl(&["-n", "apply", "logs", "ask"]).await?);
        Ok(phase == "Succeeded")
    })
    .await
}

#[tokio::test]
async fn the_projects_quota_refuses_one_pod_too_many() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "small", &["--pods", "1", "--cpu", "500m", "--memory", "256Mi"]).await?;
    let quota: Value = serde_json::from_str(
        &alice.kubectl(&["-n", "small", "get", "resourcequota", "hexabase-quota", "-o", "json"]).await?,
    )?;
    ensure!(quota["spec"]["hard"]["pods"] == "1" && quota["spec"]["hard"]["requests.cpu"] == "500m", "{quota}");
    ensure!(!alice.kubectl(&["-n", "small", "get", "limitrange", "-o", "name"]).await?.is_empty());
    alice.kubectl(&["-n", "small", "run", "one", "--image", BUSYBOX, "--", "sleep", "600"]).await?;
    let refusal = alice.refused(&["-n", "small", "run", "two", "--image", BUSYBOX], "exceeded quota").await?;
    ensure!(refusal.contains("pods=1"), "{refusal}");
    Ok(())
}

#[tokio::test]
async fn a_deleted_project_takes_its_namespace_along() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "brief", &[]).await?;
    alice.kubectl(&["-n", "brief", "create", "configmap", "note"]).await?;
    let label = alice
        .kubectl(&["get", "namespace", "brief", "-o", "jsonpath={.metadata.labels.hexabase\\.ai/project}"])
        .await?;
    ensure!(label.starts_with("prj-"), "{label}");
    alice.hxb(&["project", "delete", "brief", "-w", "shop", "--yes"]).await?;
    until("the namespace's end", async || {
        Ok(alice.try_kubectl(&["get", "namespace", "brief"]).await?.stderr.contains("NotFound"))
    })
    .await?;
    until("the project's end", async || Ok(!alice.hxb(&["project", "list", "-w", "shop"]).await?.contains("brief")))
        .await
}
