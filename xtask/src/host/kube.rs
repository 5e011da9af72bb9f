//! The built kubectl against the devhost's API server.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::layout::Layout;
use crate::cmd;
use crate::tools::Tools;

/// kubectl as administrator of the devhost.
pub(crate) fn kubectl(layout: &Layout) -> Result<Command> {
    let mut command = Command::new(Tools::locate()?.kubectl);
    command.env_clear().env("PATH", cmd::SYSTEM_PATH).env("HOME", layout.root());
    command.arg("--kubeconfig").arg(layout.kubeconfig()).arg(format!("--cache-dir={}", layout.text("kubectl-cache")));
    Ok(command)
}

/// True if the API server says that it is ready.
pub(crate) fn is_ready(layout: &Layout) -> bool {
    kubectl(layout)
        .is_ok_and(|mut command| cmd::succeeds(command.args(["get", "--raw", "/readyz", "--request-timeout=5s"])))
}

/// True if this node is registered and ready.
pub(crate) fn node_is_ready(layout: &Layout, node: &str) -> bool {
    let get = ["get", "node", node, "-o", "json", "--request-timeout=5s"];
    let text = kubectl(layout).and_then(|mut command| cmd::output(command.args(get)));
    let node: Option<Value> = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    node.is_some_and(|node| has_condition(&node, "Ready"))
}

/// True if the node's kubelet has pods, asked through the API server: after a start it learns of them within a second.
pub(crate) fn kubelet_knows_pods(layout: &Layout, node: &str) -> bool {
    let path = format!("/api/v1/nodes/{node}/proxy/pods");
    let text = kubectl(layout).and_then(|mut command| cmd::output(command.args(["get", "--raw", &path])));
    let list: Option<Value> = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    list.is_some_and(|list| list["items"].as_array().is_some_and(|items| !items.is_empty()))
}

/// True if this node is registered.
pub(crate) fn node_exists(layout: &Layout, node: &str) -> bool {
    kubectl(layout).is_ok_and(|mut command| cmd::succeeds(command.args(["get", "node", node])))
}

/// Names of all nodes with this label, each with whether it is ready.
pub(crate) fn nodes(layout: &Layout, label: &str) -> Result<BTreeMap<String, bool>> {
    let get = ["get", "nodes", "-l", label, "-o", "json", "--request-timeout=10s"];
    let list: Value = serde_json::from_str(&cmd::output(kubectl(layout)?.args(get))?)?;
    let items = list["items"].as_array().context("kubectl printed no list")?;
    let name = |node: &Value| node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Ok(items.iter().map(|node| (name(node), has_condition(node, "Ready"))).collect())
}

/// Objects of these kinds in all namespaces whose condition `Available` is true, as `Kind namespace/name`.
pub(crate) fn available(layout: &Layout, kinds: &[&str]) -> Result<Vec<String>> {
    let get = ["get", &kinds.join(","), "--all-namespaces", "-o", "json", "--request-timeout=5s"];
    let text = cmd::output(kubectl(layout)?.args(get))?;
    let list: Value = serde_json::from_str(&text).context("kubectl printed no JSON")?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let describe = |item: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&item["metadata"]["name"]);
        let full =
            item["metadata"]["namespace"].as_str().map_or(name.clone(), |namespace| format!("{namespace}/{name}"));
        format!("{} {full}", text(&item["kind"]))
    };
    Ok(items.iter().filter(|item| has_condition(item, "Available")).map(describe).collect())
}

fn has_condition(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|list| list.iter().any(|entry| entry["type"] == kind && entry["status"] == "True"))
}

/// Applies manifests on the server side, as the one owner of their fields.
pub(crate) fn apply(layout: &Layout, manifests: &str) -> Result<()> {
    let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=hexabase-devhost", "-f", "-"];
    cmd::output_with_input(kubectl(layout)?.args(arguments), manifests.as_bytes())?;
    Ok(())
}
