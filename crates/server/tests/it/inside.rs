//! What runs inside a workspace, through the API, in front of an API server that answers as a test says; what a real one
//! tells is in the cluster suite.

use anyhow::Result;
use hexabase_testkit::tenant::FakeTenant;
use serde_json::{Value, json};

use crate::roles::answering;
use crate::support::{Platform, body, claims, problem, shop, text};

const PODS: &str = "/api/v1/pods";
const IN_WEB: &str = "/api/v1/namespaces/web/pods";
const LOG: &str = "/api/v1/namespaces/web/pods/worker/log";
const EVENTS: &str = "/api/v1/events";
const CLAIMS: &str = "/api/v1/persistentvolumeclaims";
const METRICS: &str = "/apis/metrics.k8s.io/v1beta1/pods";

fn list(items: Value, next: Option<&str>) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "metadata": { "continue": next }, "items": items })
}

fn worker() -> Value {
    let main = json!({ "name": "main", "ready": true, "restartCount": 2, "image": "", "imageID": "",
        "state": { "running": {} } });
    let helper = json!({ "name": "helper", "ready": false, "restartCount": 5, "image": "", "imageID": "",
        "state": { "waiting": { "reason": "CrashLoopBackOff" } } });
    let requests =
        json!({ "requests": { "cpu": "250m", "memory": "64Mi" }, "limits": { "cpu": "400m", "memory": "1Gi" } });
    json!({ "metadata": { "name": "worker", "namespace": "web", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "containers": [{ "name": "main", "resources": requests }, { "name": "helper" }] },
        "status": { "phase": "Running", "containerStatuses": [main, helper] } })
}

/// The query of the last question for this path.
fn asked(tenant: &FakeTenant, path: &str) -> String {
    let found = tenant.asked("GET").into_iter().rev().find(|asked| asked.path == path);
    found.map(|asked| asked.query).unwrap_or_default()
}

#[tokio::test]
async fn pods_are_told_as_the_person_who_asks_may_see_them() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    tenant.answer("GET", PODS, 200, list(json!([worker()]), Some("more")));
    let path = format!("/api/v1/workspaces/{workspace}/pods");
    let found = alice.api.get(&path).await?.expect(200)?.json()?;
    let pod = &found["items"][0];
    assert_eq!([&pod["namespace"], &pod["name"], &pod["status"]], ["web", "worker", "CrashLoopBackOff"]);
    assert_eq!((&pod["ready"], &pod["restarts"]), (&json!(1), &json!(7)));
    assert_eq!(pod["containers"][1]["state"], "CrashLoopBackOff");
    assert_eq!((&found["next_cursor"], &pod["created_at"]), (&json!("more"), &json!("2026-01-01T00:00:00Z")));
    assert!(asked(&tenant, PODS).contains("limit=50"), "{}", asked(&tenant, PODS));

    tenant.answer("GET", IN_WEB, 200, list(json!([]), None));
    let page = alice.api.get(&format!("{path}?namespace=web&limit=3&cursor=more")).await?.expect(200)?.json()?;
    assert_eq!(page, json!({ "items": [] }));
    let query = asked(&tenant, IN_WEB);
    assert!(query.contains("limit=3") && query.contains("continue=more"), "{query}");

    // Kubernetes' own sentence, and what a cursor that is too old needs.
    tenant.refuse("GET", PODS, 403, "pods is forbidden");
    let detail = text(&problem(&alice.api.get(&path).await?, 403, "forbidden")["detail"]);
    assert_eq!(detail, "pods is forbidden");
    tenant.refuse("GET", PODS, 410, "too old");
    assert_eq!(problem(&alice.api.get(&format!("{path}?cursor=old")).await?, 422, "invalid")["field"], "cursor");
    for (query, field) in [("namespace=..", "namespace"), ("namespace=a/b", "namespace"), ("cursor=a%20b", "cursor")] {
        let refused = problem(&alice.api.get(&format!("{path}?{query}")).await?, 422, "invalid");
        assert_eq!(refused["field"], field, "{query}");
    }
    problem(&alice.api.get(&format!("{path}?limit=201")).await?, 422, "invalid");
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_log_is_told_line_by_line() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let path = format!("/api/v1/workspaces/{workspace}/pods/web/worker/log");
    tenant.answer("GET", LOG, 200, json!("2026-01-01T00:00:00.5Z one\n2026-01-01T00:00:01Z two  three\nno time\n"));
    let found = alice.api.get(&path).await?.expect(200)?.json()?;
    let lines = json!([
        { "at": "2026-01-01T00:00:00.5Z", "text": "one" },
        { "at": "2026-01-01T00:00:01Z", "text": "two  three" },
        { "at": null, "text": "no time" },
    ]);
    assert_eq!(found, json!({ "lines": lines, "cut": false }));
    let query = asked(&tenant, LOG);
    assert!(query.contains("tailLines=200") && query.contains("timestamps=true"), "{query}");
    alice.api.get(&format!("{path}?container=main&previous=true&tail_lines=7&since_seconds=60")).await?.expect(200)?;
    let query = asked(&tenant, LOG);
    for part in ["container=main", "previous=true", "tailLines=7", "sinceSeconds=60"] {
        assert!(query.contains(part), "{part}: {query}");
    }
    // More than is wanted is not read to its end.
    tenant.answer("GET", LOG, 200, json!("x".repeat((1 << 20) + 1)));
    assert_eq!(alice.api.get(&path).await?.expect(200)?.json()?["cut"], true);
    tenant.answer("GET", LOG, 200, json!("x".repeat((16 << 20) + 1)));
    problem(&alice.api.get(&path).await?, 409, "too_much");

    tenant.refuse("GET", LOG, 400, "a container name must be specified");
    let refused = problem(&alice.api.get(&path).await?, 409, "not_to_be_read");
    assert_eq!(refused["detail"], "a container name must be specified");
    tenant.refuse("GET", LOG, 404, "pods \"worker\" not found");
    problem(&alice.api.get(&path).await?, 404, "not_found");
    for odd in ["%2e%2e/worker", "web/a%2fb", "web/%3Fx", "WEB/worker"] {
        let odd = format!("/api/v1/workspaces/{workspace}/pods/{odd}/log");
        problem(&alice.api.get(&odd).await?, 404, "not_found");
    }
    for query in ["tail_lines=0", "tail_lines=5001", "since_seconds=0", "container=a/b", "follow=true"] {
        problem(&alice.api.get(&format!("{path}?{query}")).await?, 422, "invalid");
    }
    Ok(())
}

#[tokio::test]
async fn what_kubernetes_noticed_is_told_newest_first() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let path = format!("/api/v1/workspaces/{workspace}/kubernetes-events");
    let event = |name: &str, at: &str| {
        json!({ "metadata": { "name": name, "namespace": "web" }, "type": "Warning", "reason": "BackOff",
            "message": "it fell over", "involvedObject": { "kind": "Pod", "name": name }, "count": 3,
            "lastTimestamp": at })
    };
    let events = json!([event("old", "2026-01-01T00:00:00Z"), event("new", "2026-01-01T00:01:00Z")]);
    tenant.answer("GET", EVENTS, 200, list(events.clone(), None));
    let found = alice.api.get(&path).await?.expect(200)?.json()?;
    assert_eq!((&found["items"][0]["name"], &found["items"][1]["name"]), (&json!("new"), &json!("old")));
    let first = &found["items"][0];
    assert_eq!([&first["kind"], &first["reason"], &first["message"]], ["Pod", "BackOff", "it fell over"]);
    assert_eq!((&first["warning"], &first["count"], &found["more"]), (&json!(true), &json!(3), &json!(false)));
    // The newest may be in any page, and so more than one is read; but not all of them.
    tenant.answer("GET", EVENTS, 200, list(events, Some("more")));
    let pages = || tenant.asked("GET").iter().filter(|asked| asked.path == EVENTS).count();
    let before = pages();
    assert_eq!(alice.api.get(&path).await?.expect(200)?.json()?["more"], true);
    assert_eq!(pages() - before, 10);
    assert!(asked(&tenant, EVENTS).contains("continue=more"), "{}", asked(&tenant, EVENTS));
    let about = format!("{path}?kind=Pod&name=new");
    alice.api.get(&about).await?.expect(200)?;
    let query = asked(&tenant, EVENTS);
    assert!(query.contains("involvedObject.kind%3DPod") && query.contains("involvedObject.name%3Dnew"), "{query}");
    for bad in ["kind=Pod,x=y", "name=", "name=a%3Db", "namespace=A"] {
        problem(&alice.api.get(&format!("{path}?{bad}")).await?, 422, "invalid");
    }
    Ok(())
}

#[tokio::test]
async fn usage_stands_beside_what_the_plan_gives() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let path = format!("/api/v1/workspaces/{workspace}/usage");
    tenant.answer("GET", PODS, 200, list(json!([worker()]), None));
    let claim = json!({ "metadata": { "name": "data", "namespace": "shop" },
        "spec": { "resources": { "requests": { "storage": "5Gi" } } } });
    tenant.answer("GET", CLAIMS, 200, list(json!([claim]), None));
    tenant.refuse("GET", METRICS, 404, "the server could not find the requested resource");
    let found = alice.api.get(&path).await?.expect(200)?.json()?;
    let amounts = |pods: u32, cpu: [&str; 2], memory: [&str; 2], storage: &str| {
        json!({ "pods": pods, "cpu_requested": cpu[0], "cpu_limited": cpu[1], "memory_requested": memory[0],
            "memory_limited": memory[1], "storage_requested": storage })
    };
    let (cpu, memory) = (["250m", "400m"], ["64Mi", "1Gi"]);
    assert_eq!(found["total"], amounts(1, cpu, memory, "5Gi"));
    let namespaces = json!([
        { "namespace": "shop", "used": amounts(0, ["0"; 2], ["0"; 2], "5Gi") },
        { "namespace": "web", "used": amounts(1, cpu, memory, "0") },
    ]);
    assert_eq!(found["namespaces"], namespaces);
    assert_eq!((&found["measured"], &found["cut"]), (&json!(false), &json!(false)));
    let plans = body(&alice.api.get("/api/v1/plans").await?);
    let standard = plans["items"].as_array().into_iter().flatten().find(|plan| plan["id"] == "standard").cloned();
    let limits = standard.unwrap_or_default()["limits"].clone();
    for limit in ["pods", "cpu", "memory", "storage"] {
        assert_eq!(found["limits"][limit], limits[limit], "{limit}");
    }

    let metrics = json!([{ "metadata": { "name": "worker", "namespace": "web" },
        "containers": [{ "name": "main", "usage": { "cpu": "12345678n", "memory": "2048Ki" } }] }]);
    tenant.answer("GET", METRICS, 200, list(metrics, None));
    tenant.refuse("GET", CLAIMS, 403, "claims are forbidden");
    let found = alice.api.get(&path).await?.expect(200)?.json()?;
    assert_eq!((&found["measured"], &found["claims_unread"]), (&json!(true), &json!("claims are forbidden")));
    assert_eq!((&found["total"]["cpu_used"], &found["total"]["memory_used"]), (&json!("12m"), &json!("2Mi")));
    tenant.refuse("GET", PODS, 403, "pods is forbidden");
    problem(&alice.api.get(&path).await?, 403, "forbidden");
    // Nor is a refusal read to its end.
    tenant.answer("GET", PODS, 403, json!("x".repeat(8 << 20)));
    assert_eq!(text(&problem(&alice.api.get(&path).await?, 403, "forbidden")["detail"]), "x".repeat(500));
    Ok(())
}

#[tokio::test]
async fn what_is_too_much_for_one_answer_is_asked_for_in_smaller_ones() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let mut fat = worker();
    fat["metadata"]["annotations"] = json!({ "fat": "x".repeat(5 << 20) });
    tenant.answer("GET", PODS, 200, list(json!([fat]), None));
    problem(&alice.api.get(&format!("/api/v1/workspaces/{workspace}/usage")).await?, 409, "too_much");
    // 100, 50, 25, 12, 6, 3, and one by one.
    assert_eq!(tenant.asked("GET").iter().filter(|asked| asked.path == PODS).count(), 7);
    let event = json!({ "metadata": { "name": "x".repeat(200), "namespace": "web" }, "message": "x".repeat(5 << 20) });
    tenant.answer("GET", EVENTS, 200, list(json!([event]), None));
    problem(&alice.api.get(&format!("/api/v1/workspaces/{workspace}/kubernetes-events")).await?, 409, "too_much");
    // 500, 250, 125, 62, 31, 15, 7, 3, and one by one.
    assert_eq!(tenant.asked("GET").iter().filter(|asked| asked.path == EVENTS).count(), 9);
    // As many as nobody asked for.
    tenant.answer("GET", PODS, 200, list(json!(vec![json!({}); 5_001]), None));
    problem(&alice.api.get(&format!("/api/v1/workspaces/{workspace}/usage")).await?, 503, "unavailable");
    Ok(())
}

#[tokio::test]
async fn nobody_looks_inside_but_members_and_only_with_their_own_rights() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    let paths = ["pods", "pods/web/worker/log", "kubernetes-events", "usage"]
        .map(|path| format!("/api/v1/workspaces/{workspace}/{path}"));
    for path in &paths {
        problem(&bob.api.get(path).await?, 404, "not_found");
        problem(&alice.api.get(path).await?, 503, "unavailable");
    }
    let tenant = answering(&platform, &workspace).await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    for path in &paths {
        bob.api.get(path).await?.expect(200)?;
    }
    let seen = tenant.asked("GET");
    let asked = seen.len();
    assert!(asked >= 4, "{asked}");
    let groups = claims(&bob.workspace_token(&platform, &workspace).await?)?["groups"].clone();
    for question in seen {
        let shown = claims(&question.token)?;
        assert_eq!((text(&shown["sub"]), &shown["groups"]), (bob.id.clone(), &groups), "{}", question.path);
    }
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    for path in &paths {
        problem(&bob.api.get(path).await?, 404, "not_found");
    }
    assert_eq!(tenant.asked("GET").len(), asked);
    Ok(())
}

#[tokio::test]
async fn whoever_looks_too_often_is_told_when_to_look_again_and_others_go_on() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let shop = alice.workspace("shop").await?;
    let tenant = answering(&platform, &shop).await?;
    alice.add(&shop, &bob.id, &[]).await?.expect(201)?;
    tenant.answer("GET", EVENTS, 200, list(json!([]), None));
    let path = format!("/api/v1/workspaces/{shop}/kubernetes-events");
    let mut refused = alice.api.get(&path).await?;
    for _ in 0..100 {
        assert_eq!(refused.status, 200, "{refused:?}");
        refused = alice.api.get(&path).await?;
    }
    let detail = text(&problem(&refused, 429, "too_often")["detail"]);
    assert_eq!(detail, "you look into workspaces more than 10 times per second; wait a moment");
    assert_eq!(refused.headers["retry-after"], "1");
    bob.api.get(&path).await?.expect(200)?;
    // Of a workspace that they may not know, nobody learns how often it is looked into.
    let stranger = platform.person("eve").await?;
    problem(&stranger.api.get(&path).await?, 404, "not_found");
    platform.clock.advance_seconds(1);
    alice.api.get(&path).await?.expect(200)?;
    Ok(())
}
