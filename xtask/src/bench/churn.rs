//! Whether anything stays of workspaces that come and go: on the host and its disk, in the database, and in the server's memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::workspace::resident_mb;
use super::{Figure, percentile, stage};
use crate::cmd;
use crate::host::{self, Host, HostKind, images};
use crate::people::Person;
use crate::progress::Progress;

const WORKSPACE: &str = "churn";
const PROJECT: &str = "web";
const CYCLES: usize = 100;
/// From here on the server's memory should not grow.
const WARM: usize = 10;
/// Every so many workspaces have a member more.
const SHARED: usize = 10;
/// What hangs on a deleted workspace is a leftover ten minutes after it, and the host is looked through every five.
const GRACE: Duration = Duration::from_secs(660);

/// Makes, uses and deletes one workspace after the other.
pub(crate) fn run(options: &host::Options) -> Result<Vec<Figure>> {
    stage::set(options, &[WORKSPACE], measure)
}

fn measure(host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let pid = stage::pid()?;
    let manifest = alice.platform.folder.join("churn.json");
    fs::write(&manifest, pod_with_claim().to_string())?;
    let (mut ids, mut folders, mut memory) = (Vec::new(), BTreeSet::new(), Vec::new());
    let (mut creations, mut deletions) = (Vec::new(), Vec::new());
    for cycle in 1..=CYCLES {
        progress.step(&format!("cycle {cycle} of {CYCLES}"), || {
            let begun = Instant::now();
            alice.hxb(&["workspace", "create", WORKSPACE, "--plan", "standard", "--timeout", "5m"])?;
            creations.push(begun.elapsed().as_secs_f64());
            let id = alice.json(&["workspace", "get", WORKSPACE, "--output", "json"], "id")?;
            furnish(alice, &manifest, cycle % SHARED == 0)?;
            let own = folders_of(host, &id)?;
            ensure!(own.len() == 2, "not the volumes of a control plane and of a pod: {own:?}");
            folders.extend(own);
            ids.push(id);
            let begun = Instant::now();
            alice.hxb(&["workspace", "delete", WORKSPACE, "--yes", "--wait", "--timeout", "5m"])?;
            deletions.push(begun.elapsed().as_secs_f64());
            Ok(())
        })?;
        if cycle >= WARM {
            memory.push(resident_mb(pid)?);
        }
    }
    progress.step("wait until everything that is left is a leftover", || {
        sleep(GRACE);
        Ok(())
    })?;
    let left = on_host(host, &ids)?;
    let told = told(alice, &ids)?;
    let (early, late) = ends(&memory);
    let shown = |sample: Option<&f64>| sample.copied().unwrap_or(f64::NAN);
    let (first, last) = (shown(memory.first()), shown(memory.last()));
    let many = format!("of {CYCLES}");
    let mut figures = vec![
        Figure::at_most("objects left on the host", left.len() as f64, "", 0.0, left.join(", ")),
        Figure::at_most("told by `hexabase leftovers`", told.len() as f64, "", 0.0, told.join(", ")),
        Figure::at_most(
            "growth of the server's memory",
            (late - early) / early * 100.0,
            "%",
            10.0,
            format!(
                "RSS of `hexabase all`, median: {early:.1} MB after cycles {WARM} to {}, {late:.1} MB after the last ten; first \
                 {first:.1} MB, last {last:.1} MB",
                2 * WARM
            ),
        ),
        Figure::plain("create, p50", percentile(&mut creations, 0.5), "s", many.clone()),
        Figure::plain("delete, p50", percentile(&mut deletions, 0.5), "s", many.clone()),
        Figure::at_most("delete, longest", percentile(&mut deletions, 1.0), "s", 120.0, many),
    ];
    // The disks of other hosts are not this machine's.
    if host.kind == HostKind::Devhost {
        let left: Vec<String> =
            folders.iter().filter(|folder| folder.exists()).map(|folder| folder.display().to_string()).collect();
        figures.push(Figure::at_most("folders of volumes left", left.len() as f64, "", 0.0, left.join(", ")));
    }
    Ok(figures)
}

/// Puts a project with a pod that writes onto a volume into the workspace, and if it is `shared`, another member.
fn furnish(alice: &Person<'_>, manifest: &Path, shared: bool) -> Result<()> {
    alice.hxb(&["kubeconfig", WORKSPACE, "--set-current"])?;
    alice.hxb(&["project", "create", PROJECT, "--workspace", WORKSPACE, "--pod-security", "baseline"])?;
    if shared {
        alice.hxb(&["member", "add", "-w", WORKSPACE, "bob@example.test"])?;
    }
    let manifest = manifest.display().to_string();
    // It is made a moment after it was asked for, and ready for pods when Kubernetes counts by its quota.
    alice.until("a project for pods", || Ok(alice.try_kubectl(&["-n", PROJECT, "apply", "-f", &manifest])?.ok))?;
    let ready = ["-n", PROJECT, "wait", "--for=condition=Ready", "pod/writer", "--timeout=180s"];
    alice.kubectl(&ready).map(drop)
}

fn pod_with_claim() -> Value {
    let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "disk" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Mi" } } } });
    let container = json!({ "name": "main", "image": images::BUSYBOX,
        "command": ["sh", "-c", "echo text > /disk/file; exec sleep 3600"],
        "volumeMounts": [{ "name": "disk", "mountPath": "/disk" }] });
    let volume = json!({ "name": "disk", "persistentVolumeClaim": { "claimName": "disk" } });
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "writer" },
        "spec": { "terminationGracePeriodSeconds": 1, "containers": [container], "volumes": [volume] } });
    json!({ "apiVersion": "v1", "kind": "List", "items": [claim, pod] })
}

/// Where on the node its volumes are.
fn folders_of(host: &Host, id: &str) -> Result<Vec<PathBuf>> {
    let places =
        "jsonpath={range .items[*]}{.spec.claimRef.namespace} {.spec.hostPath.path}{.spec.local.path}{\"\\n\"}{end}";
    let places = cmd::output(host.kubectl()?.args(["get", "persistentvolumes", "-o", places]))?;
    let own = format!("hxb-{id} ");
    Ok(places.lines().filter_map(|place| place.strip_prefix(&own)).map(PathBuf::from).collect())
}

/// What on the host bears the id of one of these workspaces, or held data of it.
fn on_host(host: &Host, ids: &[String]) -> Result<Vec<String>> {
    let kinds =
        "namespaces,persistentvolumes,clusterroles,clusterrolebindings,storageclasses,ingressclasses,priorityclasses";
    let names = cmd::output(host.kubectl()?.args(["get", kinds, "-o", "name"]))?;
    let claims = "jsonpath={range .items[*]}{.spec.claimRef.namespace}{\"\\n\"}{end}";
    let claims = cmd::output(host.kubectl()?.args(["get", "persistentvolumes", "-o", claims]))?;
    Ok(of_these(names.lines().chain(claims.lines()), ids))
}

/// What `hexabase leftovers` tells of these workspaces. Of others there may be something: of the demo, on the same host.
fn told(alice: &Person<'_>, ids: &[String]) -> Result<Vec<String>> {
    let platform = alice.platform;
    let program = platform.hxb.with_file_name("hexabase");
    let config = platform.folder.join("hexabase.toml");
    let said = cmd::output(Command::new(program).arg("--config").arg(config).arg("leftovers"))?;
    ensure!(said.contains("The host was looked through"), "no worker has looked: {said}");
    Ok(of_these(said.lines(), ids))
}

fn of_these<'a>(lines: impl Iterator<Item = &'a str>, ids: &[String]) -> Vec<String> {
    lines.filter(|line| ids.iter().any(|id| line.contains(id.as_str()))).map(str::to_owned).collect()
}

/// The medians of the samples of the first ten cycles and one, and of the last ten: one sample says more about the moment than about
/// the server.
fn ends(samples: &[f64]) -> (f64, f64) {
    let early = samples.iter().take(WARM + 1).copied();
    let late = samples.iter().rev().take(WARM).copied();
    (percentile(&mut early.collect::<Vec<_>>(), 0.5), percentile(&mut late.collect::<Vec<_>>(), 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_compared_by_what_it_was_most_of_the_time() {
        let mut samples: Vec<f64> = vec![60.0; CYCLES - WARM + 1];
        samples[0] = 30.0;
        samples[CYCLES - WARM] = 90.0;
        assert_eq!(ends(&samples), (60.0, 60.0));
        samples[CYCLES - WARM - 9..].fill(90.0);
        assert_eq!(ends(&samples), (60.0, 90.0));
    }

    #[test]
    fn only_lines_about_these_workspaces_are_told() {
        let lines =
            "WORKSPACE WHERE\nws-a database 7 of jobs\nws-b host objects\nThe host was looked through at noon.\n";
        assert_eq!(of_these(lines.lines(), &["ws-b".to_owned()]), ["ws-b host objects"]);
    }
}
