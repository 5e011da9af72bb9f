//! The devhost as a whole, on this machine. `cargo xtask check` runs it as a step of its own.

use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::layout::{Layout, NODE, SECOND_NODE, State};
use super::traces::Snapshot;
use super::*;
use crate::cmd;

#[test]
#[ignore = "takes this machine's devhost down and up: minutes, as root"]
fn the_devhost_repairs_itself_and_leaves_no_trace() {
    let progress = Progress::new();
    let busy = || progress.say("waiting until nobody uses the devhost");
    let _alone = Lock::exclusive(&lock::path("use").unwrap(), busy).unwrap();
    let all = Options { second_node: true, kwok_nodes: 2, ..Options::default() };
    let up = |options: &Options| drop(devhost::up(options, &Progress::new()).unwrap());
    devhost::down(&progress).unwrap();
    let layout = layout().unwrap();
    // Packages stay, and modules that are loaded; they are no traces.
    packages::ensure(&devhost::missing_packages(&all).unwrap(), true, &progress).unwrap();
    kernel::load_modules().unwrap();
    // The packet filter's tools may leave traces of their own when asked for the first time.
    Snapshot::take(&layout);
    let before = Snapshot::take(&layout);
    assert_eq!(before.unknown(), Vec::<&str>::new());

    up(&Options::default());
    start_pod(&layout, NODE);
    up(&all);
    let pids = running(&layout);
    assert!(pids.iter().all(Option::is_some), "{pids:?}");
    start_pod(&layout, SECOND_NODE);
    for (from, to) in [(NODE, SECOND_NODE), (SECOND_NODE, NODE)] {
        exec(&layout, from, "echo kept > /data/file");
        for (kind, field) in [("pod", "{.status.podIP}"), ("service", "{.spec.clusterIP}")] {
            let address = address_of(&layout, kind, to, field);
            assert_eq!(exec(&layout, from, &format!("nc -w 5 {address} 8080 < /dev/null")).trim(), to);
        }
    }

    // Once it was asked for, a node is there for good.
    up(&Options::default());
    assert_eq!(running(&layout), pids, "another `up` changes nothing");

    pids.into_iter().flatten().for_each(process::kill);
    up(&Options::default());
    assert!(running(&layout).iter().all(Option::is_some));
    for node in [NODE, SECOND_NODE] {
        assert_eq!(exec(&layout, node, "cat /data/file").trim(), "kept");
    }

    let during = Snapshot::take(&layout);
    assert!(before.changes(&during).iter().any(|line| line.starts_with("+ process")));
    devhost::down(&progress).unwrap();
    assert_eq!(before.changes(&Snapshot::take(&layout)), Vec::<String>::new());
}

fn running(layout: &Layout) -> Vec<Option<u32>> {
    let state = State::load(layout).unwrap().unwrap();
    devhost::processes(layout, &state).iter().map(|name| process::running(layout, name)).collect()
}

/// A pod on this node, and by its name, with what leaves traces: a network of its own, a port of the node, a volume. It
/// tells its name to whoever connects.
fn start_pod(layout: &Layout, node: &str) {
    let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": node },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": node },
        "spec": { "selector": { "app": node }, "ports": [{ "port": 8080 }] },
    });
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": node, "labels": { "app": node } },
        "spec": {
            "nodeSelector": { "kubernetes.io/hostname": node },
            "tolerations": [{ "key": "hexabase.ai/second-node", "operator": "Exists" }],
            "containers": [{
                "name": "trial",
                "image": images::BUSYBOX,
                "command": ["nc", "-ll", "-p", "8080", "-e", "echo", node],
                "ports": [{ "containerPort": 8080, "hostPort": port }],
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": node } }],
        },
    });
    kube::apply(layout, &format!("{claim}\n---\n{service}\n---\n{pod}\n")).unwrap();
    let wait = ["wait", "--for=condition=Ready", "pod", node, "--timeout=120s"];
    cmd::output(kube::kubectl(layout).unwrap().args(wait)).unwrap();
}

fn address_of(layout: &Layout, kind: &str, name: &str, field: &str) -> String {
    let output = format!("-o=jsonpath={field}");
    cmd::output(kube::kubectl(layout).unwrap().args(["get", kind, name, &output])).unwrap()
}

/// Runs a line in the pod on this node. Right after a repair the way to it may not be open yet.
fn exec(layout: &Layout, node: &str, line: &str) -> String {
    let begun = Instant::now();
    loop {
        match cmd::output(kube::kubectl(layout).unwrap().args(["exec", node, "--", "sh", "-c", line])) {
            Ok(said) => return said,
            Err(error) if begun.elapsed() > Duration::from_secs(60) => panic!("{error:#}"),
            Err(_) => sleep(Duration::from_millis(300)),
        }
    }
}
