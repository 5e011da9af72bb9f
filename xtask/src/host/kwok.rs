//! Nodes that are only pretended, to see where many pods would be placed: kwok answers for them, and nothing runs there.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::kube;
use super::layout::{Layout, State};
use super::process::{self, Spec};
use crate::settings;
use crate::tools::Tool;

pub(crate) const CONTROLLER: &str = "kwok";

/// Chooses the pretended nodes.
const LABEL: &str = "type=kwok";
/// Chooses all others.
pub(crate) const OTHERS: &str = "type!=kwok";
/// Marks the nodes that kwok answers for, and is their taint too.
const MARK: (&str, &str) = ("kwok.x-k8s.io/node", "fake");

/// What becomes of nodes and pods, below the devhost's folder.
const STAGES: &str = "kwok/stages.yaml";

/// The controller as it is to run.
pub(crate) fn controller(layout: &Layout) -> Result<Spec> {
    let authority = fs::read_to_string(layout.path("pki/ca.crt")).unwrap_or_default();
    Ok(Spec {
        name: CONTROLLER,
        program: Tool::Kwok.program("kwok")?,
        args: vec![
            format!("--config={}", layout.text(STAGES)),
            format!("--kubeconfig={}", layout.kubeconfig().display()),
            "--manage-all-nodes=false".into(),
            format!("--manage-nodes-with-annotation-selector={}={}", MARK.0, MARK.1),
            // A stage tells that nodes are alive. After a repair a lease would first have to expire.
            "--node-lease-duration-seconds=0".into(),
            "--v=WARN".into(),
        ],
        env: vec![],
        netns: None,
        config: stages()? + &authority,
    })
}

/// Starts the controller, makes the nodes that are missing, and waits until all of them are ready. What somebody changed
/// about one that is there stays.
pub(crate) fn ensure(layout: &Layout, state: &State) -> Result<()> {
    layout.write(STAGES, &stages()?)?;
    process::ensure(layout, &controller(layout)?)?;
    let there = kube::nodes(layout, LABEL)?;
    let missing = names(state).filter(|name| !there.contains_key(name));
    let missing: Vec<String> = missing.map(|name| node(&name).to_string()).collect();
    if !missing.is_empty() {
        kube::apply(layout, &missing.join("\n---\n"))?;
    }
    process::wait(layout, CONTROLLER, Duration::from_secs(120), || are_ready(layout, state))
}

/// True if all of them are there and ready.
pub(crate) fn are_ready(layout: &Layout, state: &State) -> bool {
    kube::nodes(layout, LABEL).is_ok_and(|there| names(state).all(|name| there.get(&name) == Some(&true)))
}

fn stages() -> Result<String> {
    let path = settings::repository().join("devhost/kwok/stages.yaml");
    fs::read_to_string(&path).with_context(|| format!("{} is missing from the checkout", path.display()))
}

fn names(state: &State) -> impl Iterator<Item = String> {
    (1..=state.kwok_nodes).map(|number| format!("kwok-{number:03}"))
}

/// As a kubelet registers itself; what pods need to know about it, kwok adds.
fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": { MARK.0: MARK.1 },
            "labels": {
                "type": "kwok",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
            },
        },
        "spec": { "taints": [{ "key": MARK.0, "value": MARK.1, "effect": "NoSchedule" }] },
    })
}

#[cfg(test)]
mod tests {
    use super::super::layout::Ports;
    use super::*;

    #[test]
    fn pretended_nodes_are_numbered_marked_and_left_alone_by_what_does_not_ask_for_them() {
        let state = State { kwok_nodes: 100, ..State::on(10, 11, Ports::from_base(16000)) };
        let names: Vec<String> = names(&state).collect();
        assert_eq!((names.len(), names[0].as_str(), names[99].as_str()), (100, "kwok-001", "kwok-100"));
        let node = node(&names[0]);
        assert_eq!(node["metadata"]["annotations"]["kwok.x-k8s.io/node"], "fake");
        assert_eq!(node["metadata"]["labels"]["type"], "kwok");
        assert_eq!(node["spec"]["taints"][0]["effect"], "NoSchedule");
    }
}
