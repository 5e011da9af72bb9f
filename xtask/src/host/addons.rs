//! What runs in the host cluster itself: DNS, the default StorageClass and the metrics server.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::layout::{Layout, NODE, SECOND_NODE, State};
use super::node::Node;
use super::{images, kube, kwok};
use crate::progress::Progress;
use crate::{hash, settings};

const FILES: [&str; 3] = ["coredns.yaml", "local-path.yaml", "metrics-server.yaml"];
const SERVING: [&str; 4] = [
    "Deployment kube-system/coredns",
    "Deployment local-path-storage/local-path-provisioner",
    "Deployment kube-system/metrics-server",
    "APIService v1beta1.metrics.k8s.io",
];

/// True if the manifests as they are now were applied before.
pub(crate) fn are_applied(layout: &Layout, state: &State) -> Result<bool> {
    Ok(state.addons == hash::of([manifests(layout, state)?.as_bytes()]))
}

/// Applies the manifests unless that was done.
pub(crate) fn ensure(layout: &Layout, state: &mut State, progress: &Progress) -> Result<()> {
    if !are_applied(layout, state)? {
        let text = manifests(layout, state)?;
        progress.step("apply addons", || kube::apply(layout, &text))?;
        state.addons = hash::of([text.as_bytes()]);
        state.save(layout)?;
    }
    Ok(())
}

/// Waits until all of them serve.
pub(crate) fn wait(layout: &Layout) -> Result<()> {
    let begun = Instant::now();
    while let Some(what) = waiting_for(layout) {
        if begun.elapsed() > Duration::from_secs(180) {
            bail!(
                "{what} is not available after 180 s: look at it with `kubectl describe`, logs are in {}",
                layout.text("logs")
            );
        }
        sleep(Duration::from_millis(400));
    }
    Ok(())
}

/// The first addon that does not serve yet.
pub(crate) fn waiting_for(layout: &Layout) -> Option<String> {
    // One call for all: this is asked often.
    let available = kube::available(layout, &["deployments", "apiservices"]).unwrap_or_default();
    SERVING.into_iter().find(|wanted| !available.iter().any(|had| had == wanted)).map(str::to_owned)
}

fn manifests(layout: &Layout, state: &State) -> Result<String> {
    let mut all = String::new();
    for file in FILES {
        let path = settings::repository().join("devhost/manifests").join(file);
        all +=
            &fs::read_to_string(&path).with_context(|| format!("{} is missing from the checkout", path.display()))?;
        all += "\n---\n";
    }
    // A pod does not notice that its configuration changed; this makes a new one.
    let key = hash::of([all.as_bytes()]);
    let filled = all
        .replace("{{manifests_key}}", hash::short(&key))
        .replace("{{dns_ip}}", &state.dns_ip.to_string())
        .replace("{{storage}}", &layout.text("storage"))
        .replace("{{first_node}}", NODE)
        .replace("{{second_node}}", SECOND_NODE)
        .replace("{{second_storage}}", &Node::second(layout, state).files.text("storage"))
        .replace("{{real_nodes}}", kwok::OTHERS)
        .replace("{{coredns_image}}", images::COREDNS)
        .replace("{{busybox_image}}", images::BUSYBOX)
        .replace("{{local_path_image}}", images::LOCAL_PATH)
        .replace("{{metrics_server_image}}", images::METRICS_SERVER);
    match filled.split_once("{{") {
        None => Ok(filled),
        Some((_, rest)) => {
            bail!("a manifest in devhost/manifests uses the unknown value {{{{{}", rest.get(..24).unwrap_or(rest))
        }
    }
}
