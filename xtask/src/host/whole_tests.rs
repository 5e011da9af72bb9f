//! The devhost as a whole, on this machine. `cargo xtask check` runs it as a step of its own.

use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::layout::Layout;
use super::traces::Snapshot;
use super::*;
use crate::cmd;

#[test]
#[ignore = "takes this machine's devhost down and up: minutes, as root"]
fn the_devhost_repairs_itself_and_leaves_no_trace() {
    let progress = Progress::new();
    let busy = || progress.say("waiting until nobody uses the devhost");
    let _alone = Lock::exclusive(&lock::path("use").unwrap(), busy).unwrap();
    let up = || devhost::up(&Options::default(), &Progress::new()).unwrap();
    devhost::down(&progress).unwrap();
    let layout = layout().unwrap();
    // Packages stay, and modules that are loaded; they are no traces.
    packages::ensure(&devhost::missing_packages(&Options::default()).unwrap(), true, &progress).unwrap();
    kernel::load_modules().unwrap();
    // The packet filter's tools may leave traces of their own when asked for the first time.
    Snapshot::take(&layout);
    let before = Snapshot::take(&layout);
    assert_eq!(before.unknown(), Vec::<&str>::new());

    up();
    let pids = running(&layout);
    assert!(pids.iter().all(Option::is_some), "{pids:?}");
    start_pod(&layout);
    exec(&layout, "echo kept > /data/file");

    up();
    assert_eq!(running(&layout), pids, "a second `up` changes nothing");

    pids.into_iter().flatten().for_each(process::kill);
    up();
    assert!(running(&layout).iter().all(Option::is_some));
    assert_eq!(exec(&layout, "cat /data/file").trim(), "kept");

    let during = Snapshot::take(&layout);
    assert!(before.changes(&during).iter().any(|line| line.starts_with("+ process")));
    devhost::down(&progress).unwrap();
    assert_eq!(before.changes(&Snapshot::take(&layout)), Vec::<String>::new());
}

fn running(layout: &Layout) -> Vec<Option<u32>> {
    devhost::PROCESSES.iter().map(|name| process::running(layout, name)).collect()
}

/// A pod with what leaves traces: a network of its own, a port of the node, a volume.
fn start_pod(layout: &Layout) {
    let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": "trial" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } },
    });
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "trial" },
        "spec": {
            "containers": [{
                "name": "trial",
                "image": images::BUSYBOX,
                "command": ["sleep", "86400"],
                "ports": [{ "containerPort": 8080, "hostPort": port }],
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "trial" } }],
        },
    });
    kube::apply(layout, &format!("{claim}\n---\n{pod}\n")).unwrap();
    let wait = ["wait", "--for=condition=Ready", "pod/trial", "--timeout=120s"];
    cmd::output(kube::kubectl(layout).unwrap().args(wait)).unwrap();
}

/// Runs a line in the pod. Right after a repair the way to it may not be open yet.
fn exec(layout: &Layout, line: &str) -> String {
    let begun = Instant::now();
    loop {
        match cmd::output(kube::kubectl(layout).unwrap().args(["exec", "trial", "--", "sh", "-c", line])) {
            Ok(said) => return said,
            Err(error) if begun.elapsed() > Duration::from_secs(60) => panic!("{error:#}"),
            Err(_) => sleep(Duration::from_millis(300)),
        }
    }
}
