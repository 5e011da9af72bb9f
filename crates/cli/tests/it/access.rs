//! Groups, roles, and who may do what.

use serde_json::{Value, json};

use crate::harness::{Ended, Home, WORKSPACE};
use crate::stub::{Stub, problem};

const TEAM: &str = "grp-00000000000000000001";
const TOP: &str = "grp-00000000000000000002";
const BOB: &str = "usr-00000000000000000002";
const GIVEN: &str = "ra-00000000000000000001";
const ROLE: &str = "rol-00000000000000000001";
const WEB: &str = "prj-00000000000000000001";

fn group(id: &str, name: &str, parent: Option<&str>) -> Value {
    json!({ "id": id, "name": name, "display_name": name, "parent": parent, "cluster_roles": ["hexabase:workspace-viewer"], "is_default": false })
}

fn role(name: &str, id: Option<&str>, phase: &str) -> Value {
    let kubernetes_name = if id.is_some() { format!("hexabase-custom-{name}") } else { name.to_owned() };
    let rules = json!([{ "api_groups": [""], "resources": ["pods"], "verbs": ["get"] }]);
    json!({ "id": id, "name": name, "kubernetes_name": kubernetes_name, "project": WEB, "preset": id.is_none(), "rules": rules, "in_force": rules, "phase": phase, "message": null })
}

fn given() -> Value {
    json!({
        "id": GIVEN, "group": TEAM, "group_name": "team", "role": "edit", "project": WEB, "project_name": "web",
        "created_at": "2026-01-01T00:00:00Z", "expires_at": "2999-01-01T00:00:00Z",
    })
}

/// A server with two groups, a member, a project, a custom role and a role given.
async fn world() -> (Stub, Home) {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let base = format!("/workspaces/{WORKSPACE}");
    let quota = json!({ "cpu": "2", "memory": "4Gi", "storage": "10Gi", "pods": 20 });
    let web = json!({ "id": WEB, "workspace": WORKSPACE, "name": "web", "phase": "ready", "quota": quota, "created_at": "2026-01-01T00:00:00Z" });
    let bob = json!({ "user": BOB, "kind": "person", "display_name": "Bob", "email": "bob@example.com", "groups": [], "effective_groups": [] });
    let list = |items: Value| json!({ "items": items });
    for (request, status, body) in [
        (format!("GET {base}/groups"), 200, list(json!([group(TEAM, "team", Some(TOP)), group(TOP, "top", None)]))),
        (format!("POST {base}/groups"), 201, group(TEAM, "team", Some(TOP))),
        (format!("GET {base}/groups/{TEAM}"), 200, group(TEAM, "team", Some(TOP))),
        (format!("PATCH {base}/groups/{TEAM}"), 200, group(TEAM, "team", Some(TOP))),
        (format!("DELETE {base}/groups/{TEAM}"), 200, json!({})),
        (format!("PUT {base}/groups/{TEAM}/members/{BOB}"), 200, json!({})),
        (format!("DELETE {base}/groups/{TEAM}/members/{BOB}"), 200, json!({})),
        (format!("GET {base}/members"), 200, list(json!([bob]))),
        (format!("GET {base}/projects"), 200, list(json!([web]))),
        (
            format!("GET {base}/projects/{WEB}/roles"),
            200,
            list(json!([role("edit", None, "ready"), role("deployer", Some(ROLE), "ready")])),
        ),
        (format!("POST {base}/projects/{WEB}/roles"), 201, role("deployer", Some(ROLE), "pending")),
        (format!("PUT {base}/projects/{WEB}/roles/{ROLE}"), 200, role("deployer", Some(ROLE), "pending")),
        (format!("DELETE {base}/projects/{WEB}/roles/{ROLE}"), 200, json!({})),
        (format!("POST {base}/role-assignments"), 201, given()),
        (format!("GET {base}/role-assignments"), 200, list(json!([given()]))),
        (format!("DELETE {base}/role-assignments/{GIVEN}"), 200, json!({})),
    ] {
        stub.answer(&request, status, body);
    }
    (stub, home)
}

/// Runs `hxb … -w shop` and returns with it the request it came to.
async fn run(stub: &Stub, home: &Home, arguments: &[&str]) -> (Ended, String, Value) {
    let mut all = arguments.to_vec();
    all.extend(["-w", "shop"]);
    let ended = home.hxb(&all).await;
    assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
    let world = stub.world();
    let (request, body, _) = world.requests.last().unwrap();
    (ended, request.replace(WORKSPACE, "ws"), body.clone())
}

#[tokio::test]
async fn groups_go_to_the_api_by_id_however_they_were_named() {
    let (stub, home) = world().await;
    for (arguments, request, body) in [
        (
            &["group", "create", "team", "--below", "top"][..],
            "POST /workspaces/ws/groups".to_owned(),
            json!({ "name": "team", "display_name": null, "parent": TOP }),
        ),
        (
            &["group", "rename", "team", "The team"],
            format!("PATCH /workspaces/ws/groups/{TEAM}"),
            json!({ "display_name": "The team" }),
        ),
        (
            &["group", "move", TEAM, "--below", "top"],
            format!("PATCH /workspaces/ws/groups/{TEAM}"),
            json!({ "parent": TOP }),
        ),
        (&["group", "move", "team", "--top"], format!("PATCH /workspaces/ws/groups/{TEAM}"), json!({ "parent": null })),
        (&["group", "get", "team"], format!("GET /workspaces/ws/groups/{TEAM}"), Value::Null),
        (&["group", "delete", "team"], format!("DELETE /workspaces/ws/groups/{TEAM}"), Value::Null),
        (
            &["group", "add", "team", "bob@example.com"],
            format!("PUT /workspaces/ws/groups/{TEAM}/members/{BOB}"),
            Value::Null,
        ),
        (&["group", "remove", "team", BOB], format!("DELETE /workspaces/ws/groups/{TEAM}/members/{BOB}"), Value::Null),
    ] {
        let (_, asked, sent) = run(&stub, &home, arguments).await;
        assert_eq!((asked, sent), (request, body), "{arguments:?}");
    }
    let ended = home.hxb(&["group", "move", "team", "-w", "shop"]).await;
    assert_eq!(ended.code, 2, "neither below nor at the top: {ended:?}");
    let ended = home.hxb(&["group", "get", "none", "-w", "shop"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (4, "error: group none not found; you can see: team, top\n"));
}

#[tokio::test]
async fn groups_and_their_members_are_told_in_tables() {
    let (stub, home) = world().await;
    let (ended, ..) = run(&stub, &home, &["group", "list"]).await;
    assert_eq!(
        ended.out,
        "NAME   DISPLAY NAME   BELOW   CLUSTER ROLES\n\
         team   team           top     hexabase:workspace-viewer\n\
         top    top                    hexabase:workspace-viewer\n"
    );
    let members = json!({ "items": [
        { "user": BOB, "kind": "person", "display_name": "Bob", "email": "bob@example.com", "direct": false, "paths": [["team", "top"]] },
    ] });
    stub.answer(&format!("GET /workspaces/{WORKSPACE}/groups/{TOP}/members"), 200, members.clone());
    let (ended, ..) = run(&stub, &home, &["group", "members", "top"]).await;
    assert_eq!(
        ended.out,
        format!(
            "NAME   KIND     E-MAIL            DIRECT   THROUGH      ID\n\
             Bob    person   bob@example.com   no       team < top   {BOB}\n"
        )
    );
    let (ended, ..) = run(&stub, &home, &["group", "members", "top", "-o", "json"]).await;
    assert_eq!(ended.json(), members);
}

#[tokio::test]
async fn a_role_is_made_by_options_or_from_a_file() {
    let (stub, home) = world().await;
    let request = format!("POST /workspaces/ws/projects/{WEB}/roles");
    let options = ["role", "create", "deployer", "-p", "web", "--verb", "get", "--verb", "patch"];
    let more = ["--resource", "deployments", "--api-group", "apps", "--name", "shop"];
    let (ended, asked, sent) = run(&stub, &home, &[options.as_slice(), &more].concat()).await;
    let rule = json!({ "api_groups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"], "resource_names": ["shop"] });
    assert_eq!((asked, sent), (request.clone(), json!({ "name": "deployer", "rules": [rule] })));
    assert_eq!(ended.out, "Role hexabase-custom-deployer is pending.\n");

    home.write("role.yaml", "kind: Role\nrules:\n- apiGroups: ['']\n  resources: [pods]\n  verbs: [get]\n");
    let rules = json!([{ "api_groups": [""], "resources": ["pods"], "verbs": ["get"] }]);
    let (_, asked, sent) = run(&stub, &home, &["role", "create", "deployer", "-p", WEB, "-f", "role.yaml"]).await;
    assert_eq!((asked, sent), (request, json!({ "name": "deployer", "rules": rules })));
    let (_, asked, sent) = run(&stub, &home, &["role", "update", "deployer", "-p", "web", "-f", "role.yaml"]).await;
    assert_eq!((asked, sent), (format!("PUT /workspaces/ws/projects/{WEB}/roles/{ROLE}"), json!({ "rules": rules })));
    let (_, asked, _) = run(&stub, &home, &["role", "delete", "hexabase-custom-deployer", "-p", "web"]).await;
    assert_eq!(asked, format!("DELETE /workspaces/ws/projects/{WEB}/roles/{ROLE}"));

    for (arguments, why) in [
        (&["role", "create", "x", "-w", "shop"][..], "--verb"),
        (&["role", "create", "x", "-w", "shop", "--verb", "get"], "--resource"),
        (&["role", "create", "x", "-w", "shop", "--verb", "get", "--resource", "pods", "-f", "role.yaml"], "--file"),
        (&["role", "delete", "edit", "-p", "web", "-w", "shop"], "always there"),
    ] {
        let ended = home.hxb(arguments).await;
        assert!(ended.code == 2 && ended.err.contains(why), "{arguments:?}: {ended:?}");
    }
    home.write("role.yaml", "rules: none");
    let ended = home.hxb(&["role", "create", "x", "-w", "shop", "-f", "role.yaml"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (2, "error: role.yaml: there is no list of rules\n"));
}

#[tokio::test]
async fn roles_are_told_with_their_rules_and_what_kubernetes_said() {
    let (stub, home) = world().await;
    let (ended, ..) = run(&stub, &home, &["role", "get", "deployer", "-p", "web"]).await;
    assert!(ended.out.contains("In Kubernetes:   hexabase-custom-deployer\n"), "{}", ended.out);
    assert!(
        ended.out.ends_with("API GROUPS   RESOURCES   VERBS   NAMES\ncore         pods        get\n"),
        "{}",
        ended.out
    );
    let (ended, ..) = run(&stub, &home, &["role", "get", "deployer", "-p", "web", "-o", "json"]).await;
    assert_eq!(ended.json(), role("deployer", Some(ROLE), "ready"));
    // Others than asked for, as long as those are not accepted.
    let mut pending = role("deployer", Some(ROLE), "pending");
    let address = format!("GET /workspaces/{WORKSPACE}/projects/{WEB}/roles");
    for (in_force, shown) in [
        (
            json!([]),
            "Asked for, and not in force:\nAPI GROUPS   RESOURCES   VERBS   NAMES\ncore         pods        get\n",
        ),
        (
            json!([{ "api_groups": ["apps"], "resources": ["deployments"], "verbs": ["list"] }]),
            "In force:\nAPI GROUPS   RESOURCES     VERBS   NAMES\napps         deployments   list\n",
        ),
    ] {
        pending["in_force"] = in_force;
        stub.answer(&address, 200, json!({ "items": [pending] }));
        let (ended, ..) = run(&stub, &home, &["role", "get", "deployer", "-p", "web"]).await;
        assert!(ended.out.ends_with(shown), "{}", ended.out);
    }
    let detail = "user is attempting to grant RBAC permissions not currently held";
    let (status, body) = problem(403, "forbidden", detail);
    stub.answer(&format!("POST /workspaces/{WORKSPACE}/projects/{WEB}/roles"), status, body);
    let refused = ["role", "create", "x", "-w", "shop", "-p", "web", "--verb", "get", "--resource", "nodes"];
    let ended = home.hxb(&refused).await;
    assert_eq!((ended.code, ended.err), (5, format!("error: {detail}\n")));
}

#[tokio::test]
async fn a_role_is_given_for_a_time_and_taken_away() {
    let (stub, home) = world().await;
    let (ended, asked, sent) =
        run(&stub, &home, &["access", "grant", "edit", "team", "-p", "web", "--for", "8h"]).await;
    assert_eq!(asked, "POST /workspaces/ws/role-assignments");
    assert_eq!((&sent["group"], &sent["role"], &sent["project"]), (&json!(TEAM), &json!("edit"), &json!(WEB)));
    // How long, by the server's clock, and not until when by this machine's.
    assert_eq!((&sent["expires_in"], &sent["expires_at"]), (&json!(8 * 3600), &Value::Null));
    assert_eq!(
        ended.out,
        format!("Group team has the role edit in project web and below until 2999-01-01T00:00:00Z ({GIVEN}).\n")
    );
    let (_, _, sent) = run(&stub, &home, &["access", "grant", "deployer", "team", "-p", "web"]).await;
    assert_eq!((&sent["role"], &sent["expires_in"]), (&json!("hexabase-custom-deployer"), &Value::Null));
    let (ended, ..) = run(&stub, &home, &["access", "list"]).await;
    assert!(ended.out.starts_with("GROUP   ROLE   IN    ENDS"), "{}", ended.out);
    let (_, asked, _) = run(&stub, &home, &["access", "revoke", GIVEN]).await;
    assert_eq!(asked, format!("DELETE /workspaces/ws/role-assignments/{GIVEN}"));
}

#[tokio::test]
async fn access_is_explained_with_the_way_that_leads_to_it() {
    let (stub, home) = world().await;
    let asked = json!({ "verb": "delete", "api_group": "", "resource": "pods", "namespace": "web", "name": null });
    let rule = json!({ "api_groups": [""], "resources": ["pods"], "verbs": ["delete"] });
    let grant = json!({ "assignment": GIVEN, "group": "top", "role": "edit", "project": "web", "expires_at": null, "rule": rule });
    let told = |allowed: bool, because: Value, kubernetes: Value| json!({ "user": BOB, "asked": asked, "allowed": allowed, "kubernetes": kubernetes, "because": because });
    let reason = json!([{ "path": ["team", "top"], "grant": grant }]);
    let address = format!("GET /workspaces/{WORKSPACE}/access/explain");
    stub.answer(&address, 200, told(true, reason.clone(), json!("RBAC: allowed by x")));
    let arguments = ["access", "explain", "delete", "pods", "-n", "web", "--user", "bob@example.com"];
    let (ended, request, _) = run(&stub, &home, &arguments).await;
    let query = format!("verb=delete&resource=pods&namespace=web&user={BOB}");
    assert_eq!(request, format!("GET /workspaces/ws/access/explain?{query}"));
    assert_eq!(
        ended.out,
        format!(
            "yes: {BOB} may delete pods in web\n  team < top has the role edit in project web ({GIVEN}): delete pods\n  \
             Kubernetes: RBAC: allowed by x\n"
        )
    );
    for (allowed, because, expected) in [
        (true, json!([]), "  not given through Hexabase, but inside the workspace\n"),
        (false, json!([]), "no: usr-00000000000000000002 may not delete pods in web\n"),
        (false, reason, "  not in effect: given or taken a moment ago, or refused there\n"),
    ] {
        stub.answer(&address, 200, told(allowed, because, Value::Null));
        let (ended, ..) = run(&stub, &home, &["access", "explain", "delete", "pods", "-n", "web"]).await;
        assert!(ended.out.ends_with(expected), "{}", ended.out);
    }
    let mut unread = grant.clone();
    unread["rule"] = Value::Null;
    let mut perhaps = told(true, json!([]), Value::Null);
    perhaps["unread"] = json!([{ "path": ["team", "top"], "grant": unread }]);
    stub.answer(&address, 200, perhaps);
    let (ended, ..) = run(&stub, &home, &["access", "explain", "delete", "pods", "-n", "web"]).await;
    let expected =
        format!("  perhaps: team < top has the role edit in project web ({GIVEN}): what it allows, you may not read\n");
    assert!(ended.out.ends_with(&expected), "{}", ended.out);
    let person =
        json!({ "user": BOB, "display_name": "Bob", "email": "bob@example.com", "groups": ["top"], "allowed": true });
    let note = "Others are not told.";
    let holders = json!({ "asked": asked, "grants": [grant], "unread": [unread], "people": [person], "note": note });
    stub.answer(&format!("GET /workspaces/{WORKSPACE}/access/who-can"), 200, holders);
    let (ended, request, _) = run(&stub, &home, &["access", "who-can", "delete", "pods", "web-1", "-n", "web"]).await;
    assert_eq!(request, "GET /workspaces/ws/access/who-can?verb=delete&resource=pods&namespace=web&name=web-1");
    assert!(ended.out.starts_with("top has the role edit in project web"), "{}", ended.out);
    assert!(ended.out.contains("perhaps: top has the role edit in project web"), "{}", ended.out);
    assert!(ended.out.contains("Bob    bob@example.com   top       yes               usr-"), "{}", ended.out);
    assert_eq!(ended.err, "Others are not told.\n");
}
