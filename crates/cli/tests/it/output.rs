//! What is printed.

use serde_json::{Value, json};

use crate::harness::{Home, WORKSPACE};
use crate::stub::{Stub, workspace};

#[tokio::test]
async fn json_and_yaml_are_the_apis_own_objects_with_fields_of_newer_servers() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    assert_eq!(home.hxb(&["workspace", "get", "shop", "-o", "json"]).await.json(), workspace("ready", &[]));
    assert_eq!(home.hxb(&["workspace", "get", "shop", "--json"]).await.json(), workspace("ready", &[]));
    let ended = home.hxb(&["workspace", "get", "shop", "-o", "yaml"]).await;
    assert_eq!(serde_saphyr::from_str::<Value>(&ended.out).unwrap(), workspace("ready", &[]));
}

#[tokio::test]
async fn a_list_is_read_to_its_end_and_printed_as_one_page() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let plan = |id: &str| {
        let limits = json!({ "cpu": "4", "memory": "8Gi", "storage": "50Gi", "pods": 50, "projects": 10, "members": 20, "workspaces": 3 });
        json!({ "id": id, "display_name": "Plan", "limits": limits, "price_minor": 4900, "currency": "USD", "dedicated_nodes": false })
    };
    stub.answer("GET /plans", 200, json!({ "items": [plan("small")], "next_cursor": "a+b" }));
    stub.answer("GET /plans?cursor=a%2Bb", 200, json!({ "items": [plan("large")] }));
    assert_eq!(
        home.hxb(&["plan", "list", "-o", "json"]).await.json(),
        json!({ "items": [plan("small"), plan("large")] })
    );
    let ended = home.hxb(&["plan", "list"]).await;
    assert_eq!(
        ended.out,
        "ID      NAME   CPU   MEMORY   STORAGE   PODS   PROJECTS   NODES    PRICE/MONTH\n\
         small   Plan   4     8Gi      50Gi      50     10         shared   49.00 USD\n\
         large   Plan   4     8Gi      50Gi      50     10         shared   49.00 USD\n"
    );
}

#[tokio::test]
async fn an_empty_list_is_a_sentence_for_people_and_an_empty_page_for_programs() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let path = format!("GET /workspaces/{WORKSPACE}/projects");
    stub.answer(&path, 200, json!({ "items": [] }));
    let ended = home.hxb(&["project", "list", "-w", "shop"]).await;
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", "There are no projects in this workspace.\n"));
    assert_eq!(home.hxb(&["project", "list", "-w", "shop", "-o", "json"]).await.json(), json!({ "items": [] }));
}

#[tokio::test]
async fn a_list_of_projects_says_what_stands_below_what() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let quota = json!({ "cpu": "2", "memory": "4Gi", "storage": "10Gi", "pods": 20 });
    let project = |number: u32, name: &str, parent: Value| {
        json!({ "id": format!("prj-{number:020}"), "workspace": WORKSPACE, "name": name, "phase": "ready", "quota": quota,
            "parent": parent, "created_at": "2026-01-01T00:00:00Z" })
    };
    let items = [project(1, "web", Value::Null), project(2, "api", json!("prj-00000000000000000001"))];
    stub.answer(&format!("GET /workspaces/{WORKSPACE}/projects"), 200, json!({ "items": items }));
    let ended = home.hxb(&["project", "list", "-w", "shop"]).await;
    let lines: Vec<_> = ended.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0][..3], ["NAME", "BELOW", "PHASE"], "{ended:?}");
    assert_eq!((&lines[1][..2], &lines[2][..3]), (&["web", "ready"][..], &["api", "web", "ready"][..]));
}

#[tokio::test]
async fn projects_and_members_go_to_the_api_as_they_were_typed() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let quota = json!({ "cpu": "2", "memory": "4Gi", "storage": "10Gi", "pods": 20 });
    let project = json!({ "id": "prj-00000000000000000001", "workspace": WORKSPACE, "name": "web", "phase": "creating", "quota": quota, "created_at": "2026-01-01T00:00:00Z" });
    let member = json!({ "user": "usr-00000000000000000002", "kind": "person", "display_name": "Bob", "email": "bob@example.com", "groups": ["WSAdmins"], "effective_groups": [] });
    let base = format!("/workspaces/{WORKSPACE}");
    stub.answer(&format!("POST {base}/projects"), 201, project.clone());
    stub.answer(&format!("GET {base}/projects"), 200, json!({ "items": [project] }));
    stub.answer(&format!("DELETE {base}/projects/prj-00000000000000000001"), 202, project);
    stub.answer(&format!("POST {base}/members"), 201, member.clone());
    stub.answer(&format!("GET {base}/members"), 200, json!({ "items": [member] }));
    stub.answer(&format!("DELETE {base}/members/usr-00000000000000000002"), 200, json!({}));
    for (arguments, body) in [
        (&["project", "create", "web", "-w", "shop"][..], json!({ "name": "web", "quota": null })),
        (
            &["project", "create", "web", "-w", "shop", "--cpu", "2", "--pods", "20"],
            json!({ "name": "web", "quota": { "cpu": "2", "memory": null, "storage": null, "pods": 20 } }),
        ),
        (
            &[
                "project",
                "create",
                "web",
                "-w",
                "shop",
                "--services",
                "3",
                "--label",
                "team=shop",
                "--pod-security",
                "baseline",
                "--network",
                "open",
            ],
            json!({
                "name": "web", "labels": { "team": "shop" }, "pod_security": "baseline", "network": "open",
                "quota": { "cpu": null, "memory": null, "storage": null, "pods": null, "services": 3 },
            }),
        ),
        (&["project", "delete", "web", "-w", "shop", "--yes"], Value::Null),
        (
            &["member", "add", "-w", "shop", "bob@example.com", "--group", "WSAdmins", "--group", "Ops"],
            json!({ "user": null, "email": "bob@example.com", "groups": ["WSAdmins", "Ops"] }),
        ),
        (
            &["member", "add", "-w", "shop", "usr-00000000000000000002"],
            json!({ "user": "usr-00000000000000000002", "email": null, "groups": [] }),
        ),
        (&["member", "remove", "-w", "shop", "Bob@Example.com"], Value::Null),
    ] {
        let ended = home.hxb(arguments).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        assert_eq!(stub.world().requests.last().unwrap().1, body, "{arguments:?}");
    }
}

#[tokio::test]
async fn a_project_is_changed_in_what_was_said_and_in_nothing_else() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let amounts = |pods: u32| json!({ "cpu": "2", "memory": "4Gi", "storage": "10Gi", "pods": pods, "services": 5 });
    let project = json!({
        "id": "prj-00000000000000000001", "workspace": WORKSPACE, "name": "web", "phase": "ready", "quota": amounts(20),
        "available": amounts(15), "labels": { "team": "shop", "tier": "front" }, "pod_security": "restricted",
        "created_at": "2026-01-01T00:00:00Z",
    });
    let base = format!("/workspaces/{WORKSPACE}/projects");
    stub.answer(&format!("GET {base}"), 200, json!({ "items": [project] }));
    stub.answer(&format!("GET {base}/prj-00000000000000000001"), 200, project.clone());
    stub.answer(&format!("PATCH {base}/prj-00000000000000000001"), 200, project);
    for (arguments, body) in [
        (&["--top"][..], json!({ "parent": null })),
        (&["--below", "prj-00000000000000000002"], json!({ "parent": "prj-00000000000000000002" })),
        (&["--label", "tier=", "--no-label", "team"], json!({ "labels": { "tier": "" } })),
        (&["--pod-security", "restricted"], json!({ "pod_security": "restricted" })),
        (&["--network", "open"], json!({ "network": "open" })),
        (
            &["--memory", "1Gi", "--objects", "9"],
            json!({ "quota": { "cpu": null, "memory": "1Gi", "storage": null, "pods": null, "objects": 9 } }),
        ),
    ] {
        let ended = home.hxb(&[&["project", "update", "web", "-w", "shop"][..], arguments].concat()).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        let world = stub.world();
        let sent = world.requests.iter().rfind(|(request, ..)| request.starts_with("PATCH")).unwrap();
        assert_eq!(sent.1, body, "{arguments:?}");
    }
    let ended = home.hxb(&["project", "get", "web", "-w", "shop"]).await;
    assert!(ended.out.contains("20, 15 left\n") && ended.out.contains("team=shop, tier=front\n"), "{ended:?}");
    assert!(
        ended.out.lines().any(|line| line.starts_with("Network:") && line.ends_with("open")),
        "of before: {ended:?}"
    );
    let ended = home.hxb(&["project", "update", "web", "-w", "shop"]).await;
    assert_eq!((ended.code, ended.err.contains("nothing to change")), (2, true), "{ended:?}");
}

#[tokio::test]
async fn completion_and_version_need_no_server() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let ended = home.hxb(&["completion", shell]).await;
        assert!(ended.code == 0 && ended.out.contains("kubeconfig"));
    }
    assert_eq!(home.hxb(&["version"]).await.out, format!("hxb {}\n", env!("CARGO_PKG_VERSION")));
    let help = home.hxb(&["-h"]).await.out;
    assert!(help.contains("kubeconfig") && !help.contains("credential "), "{help}");
}
