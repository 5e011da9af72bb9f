//! Workspaces, from creation to deletion.

use serde_json::json;

use crate::harness::{Home, ORGANIZATION, WORKSPACE};
use crate::stub::{Stub, problem, workspace};

fn birth() -> [serde_json::Value; 3] {
    [
        workspace("creating", &[("namespace", "waiting")]),
        workspace("creating", &[("namespace", "done"), ("limits", "waiting")]),
        workspace("ready", &[("namespace", "done"), ("limits", "done")]),
    ]
}

const BIRTH: &str = "shop: creating\nshop: namespace: waiting\nshop: namespace: done\nshop: limits: waiting\n\
                     shop: limits: done\nshop: ready\n";

#[tokio::test]
async fn creation_shows_each_step_from_the_live_feed_and_ends_when_ready() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.world().states.extend(birth());
    let ended = home.hxb(&["workspace", "create", "shop", "--plan", "standard"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, BIRTH));
    assert_eq!(
        ended.out,
        format!("Workspace shop ({WORKSPACE}) is ready. Use it with: hxb kubeconfig shop --set-current\n")
    );
    let world = stub.world();
    let (request, body, key) = world.requests.iter().find(|(request, ..)| request.starts_with("POST")).unwrap();
    assert_eq!(*request, format!("POST /organizations/{ORGANIZATION}/workspaces"));
    assert_eq!((body, key.is_some()), (&json!({ "name": "shop", "plan": "standard" }), true));
}

#[tokio::test]
async fn without_a_live_feed_it_looks_from_time_to_time() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.world().no_feed = true;
    stub.world().states.extend(birth());
    let ended = home.hxb(&["workspace", "wait", "shop"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, BIRTH));
}

#[tokio::test]
async fn creation_need_not_be_waited_for() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let ended = home.hxb(&["workspace", "create", "shop", "--plan", "standard", "--no-wait", "--org", "acme"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(ended.out, format!("Workspace shop ({WORKSPACE}) is being created in acme.\n"));
}

#[tokio::test]
async fn deletion_can_be_waited_for_whether_or_not_a_record_stays() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.world().states.extend([workspace("ready", &[]), workspace("deleting", &[]), workspace("deleted", &[])]);
    let ended = home.hxb(&["workspace", "delete", "shop", "--yes", "--wait"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "Workspace shop is deleted.\n"));
    assert!(ended.err.ends_with("shop: deleting\nshop: deleted\n"), "{ended:?}");
    let ended = home.hxb(&["workspace", "wait", "gone", "--for", "deleted"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, "There is no workspace gone.\n"));
    let ended = home.hxb(&["workspace", "wait", "ws-00000000000000000009", "--for", "deleted"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[tokio::test]
async fn a_workspace_is_put_to_sleep_and_woken_and_can_be_waited_for() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let ask = |verb: &str| format!("POST /workspaces/{WORKSPACE}/{verb}");
    stub.answer(&ask("sleep"), 202, workspace("falling-asleep", &[]));
    let ended = home.hxb(&["workspace", "sleep", "shop"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "Workspace shop is falling-asleep.\n"));
    stub.world().states.extend([workspace("falling-asleep", &[]), workspace("asleep", &[])]);
    let ended = home.hxb(&["workspace", "sleep", "shop", "--wait"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "Workspace shop is asleep.\n"));
    assert!(ended.err.ends_with("shop: falling-asleep\nshop: asleep\n"), "{ended:?}");

    stub.answer(&ask("wake"), 202, workspace("waking", &[]));
    let done = [("namespace", "done")];
    stub.world().states = [workspace("waking", &done), workspace("ready", &done)].into();
    let ended = home.hxb(&["workspace", "wake", "shop", "--wait"]).await;
    assert!(ended.out.starts_with(&format!("Workspace shop ({WORKSPACE}) is ready.")), "{ended:?}");
    assert_eq!(ended.err, "shop: waking\nshop: namespace: done\nshop: ready\n");
}

#[tokio::test]
async fn a_rule_of_sleep_is_sent_as_it_is_meant() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let put = format!("PUT /workspaces/{WORKSPACE}/sleep-rule");
    let rule = json!({ "after_minutes": 30, "keep_workloads": true, "sleep_at": "20:00", "wake_at": null });
    let mut answer = workspace("ready", &[]);
    answer["sleep_rule"] = rule.clone();
    stub.answer(&put, 200, answer);
    let ended =
        home.hxb(&["workspace", "sleep-rule", "shop", "--after", "30m", "--at", "20:00", "--keep-workloads"]).await;
    let said = "Workspace shop sleeps by itself: after 30 min without use, at 20:00 UTC, keeps its pods running.\n";
    assert_eq!((ended.code, ended.out.as_str()), (0, said), "{ended:?}");
    let sent = stub.world().requests.iter().find(|(request, ..)| *request == put).map(|(_, body, _)| body.clone());
    assert_eq!(sent, Some(rule));
    assert_eq!(home.hxb(&["workspace", "sleep-rule", "shop", "--after", "90s"]).await.code, 2, "not whole minutes");
}

#[tokio::test]
async fn a_deletion_with_time_to_undo_it_says_how_that_is_undone() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let mut doomed = workspace("to-be-deleted", &[]);
    doomed["removal_at"] = json!("2026-01-01T02:00:00Z");
    stub.answer(&format!("DELETE /workspaces/{WORKSPACE}?grace_minutes=120"), 202, doomed);
    let ended = home.hxb(&["workspace", "delete", "shop", "--yes", "--grace", "2h"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let how = format!("will be deleted at 2026-01-01T02:00:00Z. Until then: hxb workspace restore {WORKSPACE}\n");
    assert!(ended.err.ends_with(&how), "{ended:?}");
    // It does not sit there for two hours.
    let ended = home.hxb(&["workspace", "delete", "shop", "--yes", "--grace", "2h", "--wait"]).await;
    let later = format!("That is not waited for: hxb workspace wait {WORKSPACE} --for deleted --timeout 125m\n");
    assert!(ended.code == 0 && ended.err.ends_with(&later), "{ended:?}");
    stub.answer(&format!("POST /workspaces/{WORKSPACE}/restore"), 202, workspace("waking", &[]));
    let ended = home.hxb(&["workspace", "restore", "shop"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "Workspace shop is waking.\n"));
}

#[tokio::test]
async fn the_receipt_says_how_much_is_gone_and_names_what_is_left() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let object = |kind: &str, name: &str| json!({ "kind": kind, "name": name });
    let mut pod = object("Pod", "web");
    pod["namespace"] = json!("hxb-x");
    let mut deleted = workspace("deleted", &[]);
    deleted["receipt"] = json!({ "removed": [object("Namespace", "hxb-x"), pod.clone()], "remaining": [] });
    stub.world().states.extend([workspace("ready", &[]), deleted.clone()]);
    let ended = home.hxb(&["workspace", "delete", "shop", "--yes", "--wait"]).await;
    assert_eq!(ended.out, "Workspace shop is deleted. Removed: 2 objects. Remaining: 0 objects.\n");
    let ended = home.hxb(&["workspace", "get", WORKSPACE]).await;
    assert!(ended.out.ends_with("Removed:        2 objects\nRemaining:      0 objects\n"), "{ended:?}");

    deleted["receipt"] = json!({ "removed": [], "remaining": [object("PersistentVolume", "pv-1"), pod] });
    stub.world().states = [deleted.clone()].into();
    let list = "\n\nREMAINING          NAMESPACE   NAME\nPersistentVolume               pv-1\nPod                hxb-x       web\n";
    for arguments in [&["workspace", "get", WORKSPACE][..], &["workspace", "wait", WORKSPACE, "--for", "deleted"]] {
        let ended = home.hxb(arguments).await;
        assert!(ended.out.ends_with(list) && ended.out.contains("0 objects"), "{ended:?}");
    }
    // What somebody else had taken away before.
    deleted["receipt"] = json!({ "removed": [], "remaining": [], "missing": [object("Secret", "authn")] });
    stub.world().states = [deleted.clone()].into();
    let list = "\n\nMISSING   NAMESPACE   NAME\nSecret                authn\n";
    for (arguments, told) in [
        (&["workspace", "get", WORKSPACE][..], "Missing:        1 object\n"),
        (&["workspace", "wait", WORKSPACE, "--for", "deleted"], " Remaining: 0 objects. Missing: 1 object.\n"),
    ] {
        let ended = home.hxb(arguments).await;
        assert!(ended.out.ends_with(list) && ended.out.contains(told), "{ended:?}");
    }
    // Before the end it is no receipt yet, but what was there.
    let mut deleting = deleted;
    deleting["phase"] = json!("deleting");
    stub.world().states = [deleting].into();
    let ended = home.hxb(&["workspace", "get", WORKSPACE]).await;
    assert!(!ended.out.contains("emaining"), "{ended:?}");
}

#[tokio::test]
async fn a_workspace_shows_what_its_version_of_the_plan_costs_where_that_is_told() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let mut shop = workspace("ready", &[]);
    shop["plan_version"] = json!(3);
    stub.world().states = [shop.clone()].into();
    let ended = home.hxb(&["workspace", "get", WORKSPACE]).await;
    assert!(ended.out.contains("Plan:           standard (version 3)\nPhase:"), "{ended:?}");
    shop["price"] = json!({ "price_minor": 4_900, "currency": "USD" });
    stub.world().states = [shop].into();
    let ended = home.hxb(&["workspace", "get", WORKSPACE]).await;
    assert!(ended.out.contains("standard (version 3)\nPrice/month:    49.00 USD\nPhase:"), "{ended:?}");
}

#[tokio::test]
async fn a_name_that_two_organisations_use_needs_the_organisation() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let mut other = workspace("ready", &[]);
    other["id"] = json!("ws-00000000000000000002");
    other["organization"] = json!("org-00000000000000000002");
    stub.answer("GET /workspaces", 200, json!({ "items": [workspace("ready", &[]), other] }));
    let ended = home.hxb(&["workspace", "get", "shop"]).await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.contains(&format!("give one of: {ORGANIZATION}/shop, org-00000000000000000002/shop")),
        "{ended:?}"
    );
    for name in ["acme/shop".to_owned(), format!("{ORGANIZATION}/shop"), WORKSPACE.to_owned()] {
        assert_eq!(home.hxb(&["workspace", "get", &name]).await.code, 0, "{name}");
    }
}

fn amounts(pods: u32) -> serde_json::Value {
    json!({
        "cpu": "4", "memory": "8Gi", "storage": "50Gi", "pods": pods, "services": 50, "load_balancers": 0,
        "persistent_volume_claims": 50, "objects": 500,
    })
}

fn estimate(plan: &str) -> serde_json::Value {
    let mut limits = amounts(50);
    for (name, limit) in [("projects", 10), ("members", 50), ("workspaces", 10)] {
        limits[name] = json!(limit);
    }
    let plan = json!({
        "id": plan, "version": 2, "display_name": "Plan", "limits": limits, "price_minor": 4900, "currency": "USD",
        "dedicated_nodes": false, "sleep_after_minutes": 90,
    });
    let price = |minor: i64| json!([{ "price_minor": minor, "currency": "USD" }]);
    json!({ "plan": plan, "now": price(4900), "then": price(9800), "workspaces": 2 })
}

const COST: &str = "is 49.00 USD per month; all workspaces of the organization: 98.00 USD per month, 49.00 USD now. \
    It sleeps after 90 minutes without use.\n";

#[tokio::test]
async fn what_a_workspace_costs_is_said_before_it_is_made_or_put_under_another_plan() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let path = format!("GET /organizations/{ORGANIZATION}/estimate");
    stub.answer(&format!("{path}?plan=standard"), 200, estimate("standard"));
    let ended = home.hxb(&["workspace", "create", "shop", "--plan", "standard", "--no-wait"]).await;
    assert_eq!((ended.code, ended.err.clone()), (0, format!("Plan standard (version 2) {COST}")));
    assert_eq!(
        stub.world().requests.last().unwrap().1,
        json!({ "name": "shop", "plan": "standard", "plan_version": 2 }),
        "what was shown, and nothing else"
    );
    let ended = home.hxb(&["plan", "estimate", "standard", "--org", "acme"]).await;
    assert_eq!((ended.code, ended.out.clone()), (0, format!("Plan standard (version 2) {COST}")));

    let mut changed = workspace("ready", &[]);
    changed["plan"] = json!("premium");
    changed["plan_version"] = json!(3);
    stub.answer(&format!("{path}?plan=premium&workspace={WORKSPACE}"), 200, estimate("premium"));
    stub.answer(&format!("PUT /workspaces/{WORKSPACE}/plan"), 200, changed);
    let ended = home.hxb(&["workspace", "set-plan", "shop", "premium"]).await;
    assert_eq!((ended.code, ended.err.clone()), (0, format!("Plan premium (version 2) {COST}")));
    assert_eq!(ended.out, "Workspace shop is under the plan premium (version 3).\n");
    assert_eq!(stub.world().requests.last().unwrap().1, json!({ "plan": "premium", "plan_version": 2 }));
}

#[tokio::test]
async fn a_name_that_no_workspace_can_have_is_refused_before_anything_is_said_of_costs() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.answer(&format!("GET /organizations/{ORGANIZATION}/estimate"), 200, estimate("standard"));
    let ended = home.hxb(&["workspace", "create", "", "--plan", "standard"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (2, "error: a workspace name must not be empty\n"));
    assert!(stub.world().requests.is_empty());
}

#[tokio::test]
async fn no_plan_is_chosen_whose_cost_could_not_be_asked_for_but_by_whoever_may_not_know_it() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let estimate = format!("GET /organizations/{ORGANIZATION}/estimate");
    let put = format!("PUT /workspaces/{WORKSPACE}/plan");
    stub.answer(&put, 200, workspace("ready", &[]));
    let asked = || stub.world().requests.iter().any(|(request, ..)| *request == put);
    stub.answer(&estimate, 503, problem(503, "unavailable", "The database is away.").1);
    let ended = home.hxb(&["workspace", "set-plan", "shop", "free"]).await;
    assert_eq!((ended.code, asked()), (1, false), "{ended:?}");
    assert!(ended.err.contains("The database is away."), "{ended:?}");
    stub.answer(&estimate, 403, problem(403, "forbidden", "You may not see costs.").1);
    let ended = home.hxb(&["workspace", "set-plan", "shop", "free"]).await;
    assert_eq!((ended.code, asked()), (0, true), "{ended:?}");
}

#[tokio::test]
async fn a_smaller_plan_is_on_its_way_until_it_is_known_what_is_used() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let mut asked = workspace("ready", &[]);
    asked["plan_change"] = json!({ "plan": "free", "plan_version": 2 });
    stub.answer(&format!("GET /organizations/{ORGANIZATION}/estimate"), 200, estimate("free"));
    stub.answer(&format!("PUT /workspaces/{WORKSPACE}/plan"), 200, asked.clone());
    let ended = home.hxb(&["workspace", "set-plan", "shop", "free"]).await;
    assert!(ended.out.contains("It comes under free if it uses no more than that gives"), "{ended:?}");
    asked["plan_change"]["refused"] = json!("the workspace uses 3 of cpu");
    stub.answer(&format!("GET /workspaces/{WORKSPACE}"), 200, asked);
    let ended = home.hxb(&["workspace", "get", WORKSPACE]).await;
    assert!(ended.out.contains("free (version 2), not possible: the workspace uses 3 of cpu\n"), "{ended:?}");
}

#[tokio::test]
async fn what_a_plan_allows_and_what_is_left_of_it_is_shown() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.answer("GET /plans", 200, json!({ "items": [estimate("standard")["plan"]] }));
    let ended = home.hxb(&["plan", "get", "standard"]).await;
    assert!(
        ended.out.contains("Sleeps after:     90 minutes\n") && ended.out.contains("Store:            sqlite\n"),
        "{ended:?}"
    );
    let ended = home.hxb(&["plan", "get", "gold"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (4, "error: plan gold not found; you can choose: standard\n"));

    let mut quota = json!({
        "plan": "standard", "plan_version": 1, "limit": amounts(50), "given": amounts(20), "left": amounts(30),
        "used": amounts(7), "default_project": amounts(5), "projects": { "limit": 10, "used": 4 }, "members": { "limit": 50, "used": 3 },
    });
    stub.answer(&format!("GET /workspaces/{WORKSPACE}/quota"), 200, quota.clone());
    let ended = home.hxb(&["workspace", "quota", "shop"]).await;
    let line = |name: &str| {
        let found = ended.out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        found.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("pods"), ["pods", "50", "20", "30", "7", "5"]);
    assert_eq!(line("projects"), ["projects", "10", "4", "6", "4", "-"]);
    quota["used"] = json!(null);
    stub.answer(&format!("GET /workspaces/{WORKSPACE}/quota"), 200, quota);
    let ended = home.hxb(&["workspace", "quota", "shop"]).await;
    assert!(
        ended.out.lines().any(|line| line.split_whitespace().eq(["pods", "50", "20", "30", "?", "5"])),
        "{ended:?}"
    );
}

#[tokio::test]
async fn what_an_organisation_may_use_is_shown_also_when_it_is_anything() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let path = format!("GET /organizations/{ORGANIZATION}/quota");
    stub.answer(&path, 200, json!({ "limit": amounts(90), "given": amounts(50), "left": amounts(40) }));
    let ended = home.hxb(&["org", "quota"]).await;
    assert!(ended.out.contains("pods             90      50      40\n"), "{ended:?}");
    stub.answer(&path, 200, json!({ "limit": null, "given": amounts(50), "left": null }));
    let ended = home.hxb(&["org", "quota", "acme"]).await;
    assert!(ended.out.contains("pods             any     50      any\n"), "{ended:?}");
}

fn nodes(wanted: u32, placed: &str, nodes: serde_json::Value) -> serde_json::Value {
    json!({ "wanted": wanted, "limit": 3, "available": 1, "placed": placed, "message": null, "nodes": nodes })
}

#[tokio::test]
async fn nodes_of_its_own_are_asked_for_shown_and_waited_for() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let path = format!("/workspaces/{WORKSPACE}/nodes");
    let node = |state: &str, message: Option<&str>| json!([{ "name": "node-7", "state": state, "message": message, "claimed_at": null }]);
    let mut waiting = nodes(1, "shared", node("claimed", Some("a guest is there")));
    waiting["message"] = json!("node node-7: a guest is there");
    stub.answer(&format!("PUT {path}"), 202, nodes(1, "shared", json!([])));
    stub.world()
        .in_turn
        .insert(format!("GET {path}"), [(200, waiting), (200, nodes(1, "dedicated", node("ready", None)))].into());
    let ended = home.hxb(&["workspace", "nodes", "set", "shop", "1", "--wait"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, "node node-7: a guest is there\n"), "{ended:?}");
    assert!(ended.out.starts_with("Pods: on dedicated nodes. Wanted: 1 of 3; 1 more available.\n\nNODE"), "{ended:?}");
    assert!(ended.out.contains("node-7   ready"), "{ended:?}");
    let sent =
        stub.world().requests.iter().find(|(request, ..)| request.starts_with("PUT")).map(|(_, body, _)| body.clone());
    assert_eq!(sent, Some(json!({ "count": 1 })));

    stub.answer(&format!("GET {path}"), 200, nodes(0, "shared", json!([])));
    let ended = home.hxb(&["workspace", "nodes", "list", "shop"]).await;
    assert_eq!(ended.out, "Pods: on shared nodes. Wanted: 0 of 3; 1 more available.\n");
    stub.answer(
        &format!("PUT {path}"),
        409,
        json!({ "type": "/problems/limit-reached", "title": "Conflict", "status": 409,
        "code": "limit_reached", "detail": "the plan standard gives a workspace no nodes of its own" }),
    );
    let ended = home.hxb(&["workspace", "nodes", "set", "shop", "1"]).await;
    assert_eq!((ended.code, ended.err.contains("no nodes of its own")), (5, true), "{ended:?}");
}
