//! Programs that are not kubectl, through the gateway: Helm, and a client in Rust.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams, ListParams, LogParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{BUSYBOX, Person, SERVE, TIMEOUT, in_time, run, shop, until};

#[tokio::test]
async fn helm_installs_upgrades_and_removes() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "charts", &[]).await?;
    let folder = tempfile::tempdir()?;
    let chart = folder.path().join("chart");
    fs::create_dir_all(chart.join("templates"))?;
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: note\nversion: 0.1.0\n")?;
    fs::write(chart.join("values.yaml"), "text: one\n")?;
    fs::write(
        chart.join("templates/note.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note}\ndata: {text: \"{{ .Values.text }}\"}\n",
    )?;
    let chart = chart.display().to_string();
    let helm = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::from(alice.command(&shop.at.helm));
        command.args(arguments).args(["--namespace", "charts"]).kill_on_drop(true);
        run(command).await?.good().with_context(|| format!("helm {}", arguments.join(" ")))
    };
    let text =
        async || alice.kubectl(&["-n", "charts", "get", "configmap", "note", "-o", "jsonpath={.data.text}"]).await;
    helm(&["install", "demo", &chart]).await?;
    ensure!(text().await? == "one");
    helm(&["upgrade", "demo", &chart, "--set", "text=two"]).await?;
    ensure!(text().await? == "two");
    ensure!(helm(&["list"]).await?.contains("demo") && helm(&["history", "demo"]).await?.contains("superseded"));
    helm(&["uninstall", "demo"]).await?;
    let gone = alice.try_kubectl(&["-n", "charts", "get", "configmap", "note"]).await?;
    ensure!(gone.stderr.contains("NotFound"), "{gone:?}");
    Ok(())
}

/// A client by the person's own kubeconfig, credential plugin included.
async fn client(person: &Person) -> Result<Client> {
    hexabase_server::run::install_crypto();
    let mut kubeconfig = Kubeconfig::read_from(person.hxb.kubeconfig())?;
    let users = kubeconfig.auth_infos.iter_mut().filter_map(|user| user.auth_info.as_mut());
    for exec in users.filter_map(|user| user.exec.as_mut()) {
        // The plugin finds the person's session by the person's environment, which is not that of this process.
        let like_hxb = person.command(std::path::Path::new("hxb"));
        let variable = |(name, value): (&std::ffi::OsStr, Option<&std::ffi::OsStr>)| {
            let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
            Some(HashMap::from([("name".to_owned(), text(name)), ("value".to_owned(), text(value?))]))
        };
        exec.env.get_or_insert_default().extend(like_hxb.get_envs().filter_map(variable));
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

#[tokio::test]
async fn a_client_in_rust_lists_watches_reads_logs_and_opens_tunnels() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "rust", &[]).await?;
    alice.kubectl(&["-n", "rust", "run", "web", "--image", BUSYBOX, "--", "sh", "-c", SERVE]).await?;
    alice.kubectl(&["-n", "rust", "wait", "--for=condition=Ready", "pod/web", TIMEOUT]).await?;
    let client = client(alice).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "rust");
    let found = pods.list(&ListParams::default()).await?;
    let names: Vec<&str> = found.items.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    ensure!(names == ["web"], "{names:?}");

    let notes: Api<ConfigMap> = Api::namespaced(client, "rust");
    let mut watch = notes.watch(&WatchParams::default(), "0").await?.boxed();
    let note: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "note" } }))?;
    notes.create(&PostParams::default(), &note).await?;
    in_time("the note in the watch", async {
        while let Some(event) = watch.try_next().await? {
            let is_note = |note: &ConfigMap| note.metadata.name.as_deref() == Some("note");
            if matches!(&event, WatchEvent::Added(seen) if is_note(seen)) {
                return Ok(());
            }
        }
        anyhow::bail!("the watch has ended")
    })
    .await?;

    until("the first line of the log", async || {
        let log = pods.logs("web", &LogParams::default()).await?;
        Ok(log == "started\n")
    })
    .await?;
    let mut process = pods.exec("web", ["cat", "/www/index.html"], &AttachParams::default()).await?;
    let mut output = String::new();
    let mut stdout = process.stdout().context("no output")?;
    in_time("the output of the command", async { Ok(stdout.read_to_string(&mut output).await?) }).await?;
    ensure!(output == "page\n", "{output}");
    process.join().await?;

    let mut forward = pods.portforward("web", &[8080]).await?;
    let mut stream = forward.take_stream(8080).context("no stream")?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    in_time("the page", async { Ok(stream.read_to_string(&mut answer).await?) }).await?;
    ensure!(answer.ends_with("page\n"), "{answer}");
    Ok(())
}
