//! What runs inside a workspace.

use serde_json::{Value, json};

use crate::harness::{Home, WORKSPACE};
use crate::stub::{Stub, workspace};

fn base() -> String {
    format!("/workspaces/{WORKSPACE}")
}

async fn world() -> (Stub, Home) {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    (stub, home)
}

fn last(stub: &Stub) -> String {
    stub.world().requests.last().unwrap().0.clone()
}

fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

fn amounts(pods: u32, used: Option<&str>) -> Value {
    let mut amounts = json!({ "pods": pods, "cpu_requested": "250m", "cpu_limited": "400m", "memory_requested": "64Mi",
        "memory_limited": "1Gi", "storage_requested": "5Gi" });
    if let Some(used) = used {
        amounts["cpu_used"] = json!(used);
    }
    amounts
}

#[tokio::test]
async fn pods_are_told_in_a_table() {
    let (stub, home) = world().await;
    let container = json!({ "name": "main", "ready": true, "restarts": 2, "state": "Running" });
    let pod = json!({ "namespace": "web", "name": "worker", "status": "Running", "ready": 1, "restarts": 2,
        "containers": [container], "created_at": null });
    stub.answer(&format!("GET {}/pods", base()), 200, json!({ "items": [pod] }));
    let ended = home.hxb(&["pod", "list", "-w", "shop"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(words(&ended.out)[1], ["web", "worker", "1/1", "Running", "2"]);
    let ended = home.hxb(&["pod", "list", "-w", "shop", "-n", "web", "-o", "json"]).await;
    assert_eq!(last(&stub), format!("GET {}/pods?namespace=web", base()));
    assert_eq!(ended.json()["items"][0], pod);
}

#[tokio::test]
async fn a_log_is_printed_as_it_was_written_but_for_what_a_terminal_would_obey() {
    let (stub, home) = world().await;
    let lines = json!([{ "at": "2026-01-01T00:00:00Z", "text": "one\ttwo" }, { "at": null, "text": "\u{1b}[2J" }]);
    let request = format!("GET {}/pods/web/worker/log", base());
    stub.answer(&request, 200, json!({ "lines": lines, "cut": true }));
    let run = ["pod", "log", "worker", "-n", "web", "-w", "shop"];
    let ended = home.hxb(&run).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "one    two\n\u{fffd}[2J\n"), "{ended:?}");
    assert!(ended.err.contains("cut off"), "{ended:?}");
    assert_eq!(last(&stub), format!("{request}?tail_lines=200"));
    let more = ["-c", "main", "--previous", "--tail", "7", "--since", "2m", "--timestamps"];
    let ended = home.hxb(&[run.as_slice(), &more].concat()).await;
    assert!(ended.out.starts_with("2026-01-01T00:00:00Z one    two\n"), "{ended:?}");
    assert_eq!(last(&stub), format!("{request}?tail_lines=7&container=main&since_seconds=120&previous=true"));
    assert_eq!(home.hxb(&[run.as_slice(), &["--tail", "0"]].concat()).await.code, 2);
}

#[tokio::test]
async fn what_kubernetes_noticed_is_told_in_a_table() {
    let (stub, home) = world().await;
    let event = json!({ "namespace": "web", "kind": "Pod", "name": "worker", "warning": true, "reason": "BackOff",
        "message": "it fell over", "count": 3, "first_at": null, "last_at": "2020-01-01T00:00:00Z" });
    stub.answer(&format!("GET {}/kubernetes-events", base()), 200, json!({ "items": [event], "more": true }));
    let ended = home.hxb(&["workspace", "events", "shop", "-n", "web"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(words(&ended.out)[1][1..], ["web", "warning", "BackOff", "Pod/worker", "it", "fell", "over", "(x3)"]);
    assert!(ended.err.contains("not all"), "{ended:?}");
    assert_eq!(last(&stub), format!("GET {}/kubernetes-events?namespace=web", base()));
}

#[tokio::test]
async fn usage_is_told_beside_what_the_plan_gives() {
    let (stub, home) = world().await;
    let limits = json!({ "pods": 50, "cpu": "4", "memory": "8Gi", "storage": "50Gi" });
    let usage = |measured: bool, used: Option<&str>| {
        let namespaces = json!([{ "namespace": "web", "used": amounts(1, used) }]);
        json!({ "total": amounts(1, used), "limits": limits, "namespaces": namespaces, "measured": measured,
            "cut": false })
    };
    let request = format!("GET {}/usage", base());
    stub.answer(&request, 200, usage(false, None));
    let ended = home.hxb(&["workspace", "usage", "shop"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let rows = words(&ended.out);
    assert_eq!(rows[1], ["web", "1", "250m/400m", "64Mi/1Gi", "5Gi"]);
    assert_eq!(rows[2][..2], ["(together)", "1"]);
    assert_eq!(rows[3], ["(the", "plan)", "50", "4", "8Gi", "50Gi"]);
    assert!(ended.err.contains("Nothing in the workspace measures"), "{ended:?}");
    stub.answer(&request, 200, usage(true, Some("12m")));
    let ended = home.hxb(&["workspace", "usage", "shop"]).await;
    assert!(ended.out.contains("250m/400m (12m used)") && !ended.err.contains("measures"), "{ended:?}");
}

#[tokio::test]
async fn nothing_is_told_as_such_with_the_namespace_it_was_looked_for_in() {
    let (stub, home) = world().await;
    stub.answer(&format!("GET {}/pods", base()), 200, json!({ "items": [] }));
    stub.answer(&format!("GET {}/kubernetes-events", base()), 200, json!({ "items": [], "more": false }));
    stub.answer(&format!("GET {}/pods/web/worker/log", base()), 200, json!({ "lines": [], "cut": false }));
    let log = ["pod", "log", "worker", "-n", "web", "-w", "shop"];
    let lately = [log.as_slice(), &["--since", "5m"]].concat();
    for (arguments, told) in [
        (&["pod", "list", "-w", "shop"][..], "There are no pods.\n"),
        (&["pod", "list", "-w", "shop", "-n", "nope"], "There are no pods in the namespace nope.\n"),
        (&["workspace", "events", "shop"], "Kubernetes noticed nothing lately.\n"),
        (&["workspace", "events", "shop", "-n", "nope"], "Kubernetes noticed nothing in the namespace nope lately.\n"),
        (log.as_slice(), "The log is empty, as is that of a pod that has not begun.\n"),
        (lately.as_slice(), "Nothing was written to the log in that time.\n"),
    ] {
        let ended = home.hxb(arguments).await;
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", told), "{arguments:?}");
    }
    assert_eq!(home.hxb(&["pod", "log", "", "-n", "web", "-w", "shop"]).await.code, 2, "no pod has no name");
}

#[tokio::test]
async fn whoever_looks_into_a_workspace_that_sleeps_is_told_that_it_wakes() {
    let (stub, home) = world().await;
    stub.answer("GET /workspaces", 200, json!({ "items": [workspace("asleep", &[])] }));
    stub.answer(&format!("GET {}/pods", base()), 200, json!({ "items": [] }));
    let ended = home.hxb(&["pod", "list", "-w", "shop"]).await;
    assert_eq!(ended.err, "Workspace shop is asleep; this wakes it.\nThere are no pods.\n");
    // By its id it is not looked for, so that nothing is known of it.
    let ended = home.hxb(&["pod", "list", "-w", WORKSPACE]).await;
    assert_eq!(ended.err, "There are no pods.\n");
}
