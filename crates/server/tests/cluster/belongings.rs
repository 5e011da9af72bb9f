//! What somebody has in a workspace: it outlives everything that is done to the workspace but its deletion.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::support::{BUSYBOX, Person, TIMEOUT};
use crate::surroundings::Surroundings;

const PROJECT: &str = "kept";
const TEXT: &str = "kept";
/// What the pod does: the file is another one each time that it is made. It is told in the log, because no tunnel goes through the
/// proxy before the host's API server.
const WRITE: &str =
    "test -e /disk/file || cat /proc/sys/kernel/random/uuid > /disk/file; cat /disk/file; exec sleep 36000";
const READ: [&str; 4] = ["-n", PROJECT, "logs", "deployment/writer"];
/// A pod that was ended with its workspace runs again by then, on a machine with far too much to do.
const RUNS: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(500);

/// A project with a text in a ConfigMap and a file on a volume. What was made anew has another uid, and so is lost.
pub(crate) struct Belongings {
    /// Namespace, claims and volumes on the host, the control plane's own included.
    on_host: BTreeSet<String>,
    inside: BTreeSet<String>,
    file: String,
}

impl Belongings {
    /// Makes them.
    pub(crate) async fn bring(at: &Surroundings, person: &Person, id: &str) -> Result<Self> {
        person.project(id, PROJECT, &[]).await?;
        let mut file = tempfile::NamedTempFile::new()?;
        write!(file, "{}", objects())?;
        person.kubectl(&["-n", PROJECT, "create", "-f", &file.path().display().to_string()]).await?;
        person.kubectl(&["-n", PROJECT, "rollout", "status", "deployment/writer", TIMEOUT]).await?;
        let file = person.kubectl(&READ).await?;
        let brought = Self { on_host: on_host(at, id).await?, inside: inside(person).await?, file };
        let Self { on_host, inside, file } = &brought;
        let is_whole = on_host.len() == 5 && inside.len() == 3 && !file.trim().is_empty();
        ensure!(is_whole, "not all of it is there: {on_host:?} {inside:?} {file:?}");
        Ok(brought)
    }

    /// What is no longer on the host, where all of it stays while the workspace sleeps.
    pub(crate) async fn lost_on_host(&self, at: &Surroundings, id: &str) -> Result<Vec<String>> {
        Ok(self.on_host.difference(&on_host(at, id).await?).cloned().collect())
    }

    /// What is no longer inside, the file included; whoever asks wakes the workspace.
    pub(crate) async fn lost_inside(&self, person: &Person) -> Result<Vec<String>> {
        let mut lost: Vec<String> = self.inside.difference(&inside(person).await?).cloned().collect();
        let begun = Instant::now();
        loop {
            let said = person.try_kubectl(&READ).await?;
            if said.code == 0 && said.stdout == self.file {
                return Ok(lost);
            }
            if begun.elapsed() > RUNS {
                lost.push(format!("the file: {said:?}"));
                return Ok(lost);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn objects() -> Value {
    let (labels, disk) = (json!({ "app": "writer" }), json!({ "claimName": "disk" }));
    let container = json!({ "name": "main", "image": BUSYBOX, "command": ["sh", "-c", WRITE],
        "volumeMounts": [{ "name": "disk", "mountPath": "/disk" }] });
    let pod = json!({ "terminationGracePeriodSeconds": 1, "containers": [container],
        "volumes": [{ "name": "disk", "persistentVolumeClaim": disk }] });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "note" }, "data": { "text": TEXT } },
        { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "disk" },
          "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Mi" } } } },
        { "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "writer" }, "spec": {
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": pod } } },
    ] })
}

async fn on_host(at: &Surroundings, id: &str) -> Result<BTreeSet<String>> {
    let namespace = format!("hxb-{id}");
    let own = ["get", "namespace", &namespace, "--ignore-not-found", "-o", "jsonpath={.kind} {.metadata.uid}"];
    let claim = "{.kind} {.metadata.name} {.metadata.uid} {.spec.volumeName}";
    let claims = format!("jsonpath={{range .items[*]}}{claim}{{\"\\n\"}}{{end}}");
    let claims = ["-n", &namespace, "get", "persistentvolumeclaims", "-o", &claims];
    let volume = "{.spec.claimRef.namespace} {.kind} {.metadata.name} {.metadata.uid}";
    let volumes = format!("jsonpath={{range .items[*]}}{volume}{{\"\\n\"}}{{end}}");
    let volumes = at.host(&["get", "persistentvolumes", "-o", &volumes]).await?.good()?;
    let volumes = volumes.lines().filter(|volume| volume.starts_with(&namespace));
    let (own, claims) = (at.host(&own).await?.good()?, at.host(&claims).await?.good()?);
    Ok(own.lines().chain(claims.lines()).chain(volumes).map(str::to_owned).collect())
}

async fn inside(person: &Person) -> Result<BTreeSet<String>> {
    let lines = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.uid} {.data.text}{\"\\n\"}{end}";
    let names = ["configmap/note", "persistentvolumeclaim/disk", "deployment/writer"];
    let get = [&["-n", PROJECT, "get"][..], &names, &["--ignore-not-found", "-o", lines]].concat();
    Ok(person.kubectl(&get).await?.lines().map(str::to_owned).collect())
}
