//! `helm template`: a pure function from values to objects, run as a child process without access to any cluster.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::ReconcileError;
use crate::manifest::Manifest;

/// Rendering takes 0.2 s.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Renderings kept; there is one per workspace, and as long as it lives. No two can share one in which only the name differs: the
/// chart writes all values into a Secret in base64 and a hash of them on the pod, and the name is among them. So there have to be as
/// many as a worker looks after; with fewer Helm runs over and over. Each takes some 40 KB.
const KEPT: usize = 4_096;

/// What to render.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) kube_version: String,
    /// JSON, which Helm reads as YAML.
    pub(crate) values: String,
}

/// A chart and the renderings made of it.
pub(crate) struct Chart {
    helm: PathBuf,
    path: PathBuf,
    /// The objects as JSON, which takes a fraction of the room that they do. Whoever asks needs a copy of its own in any case.
    rendered: Mutex<HashMap<Release, Arc<str>>>,
}

impl Chart {
    pub(crate) fn new(helm: PathBuf, path: PathBuf) -> Self {
        Self { helm, path, rendered: Mutex::new(HashMap::new()) }
    }

    /// The objects of a release, all in its namespace.
    pub(crate) async fn render(&self, release: &Release) -> Result<Vec<Manifest>, ReconcileError> {
        let failed = |reason: String| ReconcileError::Rendering { reason };
        let kept = self.rendered.lock().unwrap_or_else(PoisonError::into_inner).get(release).cloned();
        if let Some(text) = kept {
            return read(&text, &release.namespace).map_err(failed);
        }
        let text = self.template(release).await?;
        let manifests = parse(&text, &release.namespace).map_err(failed)?;
        self.keep(release, &manifests);
        Ok(manifests)
    }

    fn keep(&self, release: &Release, manifests: &[Manifest]) {
        let objects: Vec<String> = manifests.iter().map(|manifest| manifest.json.to_string()).collect();
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut rendered, KEPT);
        rendered.insert(release.clone(), format!("[{}]", objects.join(",")).into());
    }

    /// Forgets what was rendered under this name: whoever bore it is going, and does not come back.
    pub(crate) fn forget(&self, name: &str) {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        rendered.retain(|release, _| release.name != name);
    }

    async fn template(&self, release: &Release) -> Result<String, ReconcileError> {
        let failed = |reason: String| ReconcileError::Rendering { reason };
        let mut child = Command::new(&self.helm)
            .args(["template", &release.name])
            .arg(&self.path)
            .args(["--namespace", &release.namespace, "--kube-version", &release.kube_version, "--values", "-"])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("{} cannot be started: {error}", self.helm.display())))?;
        let mut stdin = child.stdin.take();
        let run = async {
            if let Some(mut stdin) = stdin.take() {
                // A broken pipe means that Helm has already given up; its own words follow below.
                let _ = stdin.write_all(release.values.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let output = match tokio::time::timeout(TIMEOUT, run).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("helm did not answer within {} s", TIMEOUT.as_secs()))),
        };
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        String::from_utf8(output.stdout).map_err(|_| failed("helm's output is not UTF-8".to_owned()))
    }
}

/// The objects in Helm's output.
fn parse(text: &str, namespace: &str) -> Result<Vec<Manifest>, String> {
    // As Helm's own parser does: a bare `n` or `off` is a text.
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| error.to_string())?;
    checked(documents, namespace)
}

/// The objects as they were kept.
fn read(text: &str, namespace: &str) -> Result<Vec<Manifest>, String> {
    let documents: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    checked(documents, namespace)
}

/// The objects in these documents. None may stand outside the namespace.
fn checked(documents: Vec<Value>, namespace: &str) -> Result<Vec<Manifest>, String> {
    let mut manifests = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        let manifest = Manifest::parse(document)?;
        if manifest.namespace.as_deref() != Some(namespace) {
            return Err(format!("{} does not stand in the namespace {namespace}", manifest.title()));
        }
        manifests.push(manifest);
    }
    if manifests.is_empty() { Err("no objects came out of the chart".to_owned()) } else { Ok(manifests) }
}

/// Forgets one when there are too many: to forget all of them would have Helm render all anew.
fn make_room<V>(rendered: &mut HashMap<Release, V>, most: usize) {
    let surplus = rendered.keys().next().filter(|_| rendered.len() >= most).cloned();
    if let Some(surplus) = surplus {
        rendered.remove(&surplus);
    }
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::WorkspaceId;
    use hexabase_core::time::Timestamp;
    use hexabase_testkit::kubernetes::FakeKubernetes;

    use super::*;
    use crate::connection::Host;
    use crate::labels::Names;
    use crate::receipt::Removal;
    use crate::settings::HostSettings;

    fn release(name: &str) -> Release {
        Release { name: name.to_owned(), namespace: String::new(), kube_version: String::new(), values: String::new() }
    }

    #[tokio::test]
    async fn of_a_workspace_that_is_removed_no_rendering_stays() {
        let server = FakeKubernetes::start().await.unwrap();
        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let host = Host::connect(settings).await.unwrap();
        let id: WorkspaceId = "ws-0123456789abcdefghjk".parse().unwrap();
        for name in [Names::of(&id).name.as_str(), "ws-of-another"] {
            host.chart.rendered.lock().unwrap().insert(release(name), Arc::default());
        }
        let now = Timestamp::from_seconds(1_790_000_000);
        let removal =
            Removal { id, organization: None, fence: 1, now, begun: now, seen: Vec::new(), forced: Vec::new() };
        host.remove(&removal).await.unwrap();
        let names: Vec<String> = host.chart.rendered.lock().unwrap().keys().map(|left| left.name.clone()).collect();
        assert_eq!(names, ["ws-of-another"]);
    }

    #[tokio::test]
    async fn what_was_rendered_once_comes_out_again_as_it_was_and_of_each_release_its_own() {
        let chart = Chart::new("there-is-no-such-helm".into(), "chart".into());
        let of = |name: &str| Release { namespace: "n".to_owned(), ..release(name) };
        let text = |name: &str| {
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: vc-{name}, namespace: n}}\ndata: {{a: \"YTog\\\"\", b: n}}\n---\n\
                 apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}, namespace: n}}\nspec: {{replicas: 1, f: 0.5}}\n"
            )
        };
        for name in ["a", "b"] {
            chart.keep(&of(name), &parse(&text(name), "n").unwrap());
        }
        for name in ["a", "b"] {
            assert_eq!(chart.render(&of(name)).await.unwrap(), parse(&text(name), "n").unwrap());
        }
        assert!(chart.render(&of("c")).await.is_err(), "nobody has rendered it, and nothing can");
        assert!(chart.render(&Release { values: "{}".to_owned(), ..of("a") }).await.is_err());
    }

    #[test]
    fn one_rendering_makes_room_for_another() {
        let mut rendered = HashMap::new();
        for name in ["a", "b", "c", "d"] {
            make_room(&mut rendered, 3);
            rendered.insert(release(name), ());
        }
        assert_eq!(rendered.len(), 3);
        assert!(rendered.contains_key(&release("d")));
    }

    #[test]
    fn documents_are_read_and_empty_ones_left_out() {
        let text = "---\n# Source: a\napiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  namespace: n\n---\n\n---\n\
                    apiVersion: v1\nkind: Service\nmetadata: {name: b, namespace: n}\n";
        let titles: Vec<String> = parse(text, "n").unwrap().iter().map(Manifest::title).collect();
        assert_eq!(titles, ["Secret a", "Service b"]);
    }

    #[test]
    fn an_object_of_another_namespace_or_of_none_is_refused() {
        for metadata in ["{name: a, namespace: other}", "{name: a}"] {
            let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {metadata}\n");
            assert!(parse(&text, "n").unwrap_err().contains("Secret a"));
        }
        assert!(parse("", "n").is_err());
    }
}
