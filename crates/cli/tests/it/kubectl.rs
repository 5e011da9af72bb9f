//! kubectl's entry and kubectl's tokens.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Home, WORKSPACE, mode};
use crate::stub::{Stub, problem, workspace};

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[tokio::test]
async fn a_first_kubeconfig_is_private_and_complete() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let ended = home.hxb(&["kubeconfig", "shop"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.err.ends_with("Try: kubectl get namespaces\n"), "{ended:?}");
    assert_eq!(mode(&home.path(".kube/config")), 0o600);
    assert!(!home.path(".kube/config.lock").exists());
    let config = yaml(&home.read(".kube/config"));
    assert_eq!(config["current-context"], "hexabase-shop");
    assert_eq!(
        config["clusters"][0]["cluster"],
        json!({ "server": format!("https://hexabase.example/k8s/{WORKSPACE}") })
    );
    let exec = &config["users"][0]["user"]["exec"];
    assert_eq!(exec["args"], json!(["credential", "--server", stub.address(), "--workspace", WORKSPACE]));
    assert_eq!(Path::new(exec["command"].as_str().unwrap()), Path::new(env!("CARGO_BIN_EXE_hxb")));
}

#[tokio::test]
async fn nobody_is_sent_into_a_workspace_that_is_to_be_deleted() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let mut doomed = workspace("to-be-deleted", &[]);
    doomed["removal_at"] = json!("2026-01-01T02:00:00Z");
    stub.world().states = [doomed].into();
    let ended = home.hxb(&["kubeconfig", "shop"]).await;
    let why = format!(
        "Workspace shop is closed and will be deleted at 2026-01-01T02:00:00Z; to use it before: hxb workspace restore {WORKSPACE}\n"
    );
    assert!(ended.code == 0 && ended.err.ends_with(&why) && !ended.err.contains("Try:"), "{ended:?}");
}

#[tokio::test]
async fn kubelogin_can_take_the_place_of_this_program() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let ended = home.hxb(&["kubeconfig", "shop", "--plugin", "kubelogin"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let config = yaml(&home.read(".kube/config"));
    let exec = &config["users"][0]["user"]["exec"];
    assert_eq!(exec["command"], "kubectl");
    let expected = [
        "oidc-login".to_owned(),
        "get-token".to_owned(),
        format!("--oidc-issuer-url={}/oidc/{WORKSPACE}", stub.address()),
        format!("--oidc-client-id={WORKSPACE}"),
        "--oidc-pkce-method=S256".to_owned(),
        "--oidc-extra-scope=offline_access".to_owned(),
    ];
    assert_eq!(exec["args"], json!(expected));
    let unknown = home.hxb(&["kubeconfig", "shop", "--plugin", "aws"]).await;
    assert_eq!((unknown.code, unknown.err.contains("kubelogin")), (2, true), "{unknown:?}");
}

#[tokio::test]
async fn the_first_file_of_a_list_is_changed_and_the_current_context_kept() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    home.write("one", "apiVersion: v1\nkind: Config\ncurrent-context: mine\nx-unknown: [1, two]\n");
    home.write("two", "untouched: [");
    std::os::unix::fs::symlink(home.path("one"), home.path("link")).unwrap();
    let list = std::env::join_paths([home.path("link"), home.path("two")]).unwrap();
    let run = async |arguments: &[&str]| home.command(arguments).env("KUBECONFIG", &list).output().await.unwrap();
    assert!(run(&["kubeconfig", "shop", "--context", "s"]).await.status.success());
    let config = yaml(&home.read("one"));
    assert_eq!((&config["current-context"], &config["x-unknown"]), (&json!("mine"), &json!([1, "two"])));
    assert_eq!(config["contexts"][0]["name"], "s");
    assert!(home.path("link").is_symlink());
    assert_eq!(home.read("two"), "untouched: [");
    assert!(run(&["kubeconfig", "shop", "--context", "s", "--set-current"]).await.status.success());
    assert_eq!(yaml(&home.read("one"))["current-context"], "s");
}

#[tokio::test]
async fn a_malformed_kubeconfig_is_refused_and_left_alone() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    home.write("broken", "clusters: [");
    let ended = home.hxb(&["kubeconfig", "shop", "--file", "broken"]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("malformed"), "{ended:?}");
    assert_eq!(home.read("broken"), "clusters: [");
    assert!(!home.path("broken.lock").exists());
}

#[tokio::test]
async fn a_context_of_another_workspace_is_taken_over_only_when_that_is_gone() {
    const OTHER: &str = "ws-00000000000000000002";
    let other = |phase: &str| {
        let mut other = workspace(phase, &[]);
        other["id"] = json!(OTHER);
        other["server"] = json!(format!("https://hexabase.example/k8s/{OTHER}"));
        other
    };
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let request = format!("GET /workspaces/{OTHER}");
    stub.answer(&request, 200, other("ready"));
    assert_eq!(home.hxb(&["kubeconfig", OTHER]).await.code, 0);
    let before = home.read(".kube/config");
    let unavailable = problem(503, "unavailable", "The database does not answer.");
    for (status, body) in [(200, other("ready")), (200, other("deleting")), unavailable] {
        stub.answer(&request, status, body);
        let ended = home.hxb(&["kubeconfig", "shop", "--set-current"]).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(status == 503 || ended.err.contains(OTHER) && ended.err.contains("--context NAME"), "{ended:?}");
        assert_eq!(home.read(".kube/config"), before);
    }
    assert_eq!(home.hxb(&["kubeconfig", "shop", "--context", "mine"]).await.code, 0);
    for (status, body) in [(200, other("deleted")), problem(404, "not_found", "There is no such thing.")] {
        home.write(".kube/config", &before);
        stub.answer(&request, status, body);
        assert_eq!(home.hxb(&["kubeconfig", "shop"]).await.code, 0);
        let config = yaml(&home.read(".kube/config"));
        let name = format!("hexabase-{WORKSPACE}");
        assert_eq!(
            config["contexts"],
            json!([{ "name": "hexabase-shop", "context": { "cluster": name, "user": name } }])
        );
        assert_eq!((&config["clusters"][1], &config["users"][1]), (&Value::Null, &Value::Null));
    }
}

#[tokio::test]
async fn printing_changes_no_file() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let ended = home.hxb(&["kubeconfig", "shop", "--print"]).await;
    assert_eq!(yaml(&ended.out)["current-context"], "hexabase-shop");
    assert!(!home.path(".kube").exists());
}

#[tokio::test]
async fn a_session_kept_elsewhere_is_found_by_kubectl_too() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    std::fs::rename(home.path(".config/hexabase/hxb.json"), home.path("mine.json")).unwrap();
    let ended = home.hxb(&["kubeconfig", "shop", "--print", "--config", "mine.json"]).await;
    let config = yaml(&ended.out);
    let arguments = config["users"][0]["user"]["exec"]["args"].as_array().unwrap();
    assert_eq!(arguments[5..], ["--config", home.path("mine.json").to_str().unwrap()]);
}

#[tokio::test]
async fn parallel_kubectl_calls_share_one_exchange() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, -1);
    let address = stub.address();
    let arguments = ["credential", "--server", &address, "--workspace", WORKSPACE];
    let running: Vec<_> = (0..6).map(|_| home.command(&arguments).spawn().unwrap()).collect();
    for child in running {
        let output = child.wait_with_output().await.unwrap();
        let credential: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(credential["apiVersion"], "client.authentication.k8s.io/v1");
        assert_eq!(credential["status"]["token"], "workspace-1");
        assert!(credential["status"]["expirationTimestamp"].as_str().unwrap().ends_with('Z'));
    }
    let counts = {
        let world = stub.world();
        (world.exchanges, world.refreshes)
    };
    assert_eq!(counts, (1, 1));
    let folder = std::fs::read_dir(home.path(".config/hexabase/hxb.tokens")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(mode(&folder.join(format!("{WORKSPACE}.json"))), 0o600);
    assert_eq!(mode(&folder), 0o700);
}

#[tokio::test]
async fn a_subject_token_that_is_refused_is_renewed_once() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.world().access_token = "another".to_owned();
    let ended = home.hxb(&["credential", "--workspace", WORKSPACE]).await;
    assert_eq!(ended.json()["status"]["token"], "workspace-1");
}

#[tokio::test]
async fn tokens_of_a_session_are_gone_with_it() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    assert_eq!(home.hxb(&["credential", "--workspace", WORKSPACE]).await.code, 0);
    assert_eq!(home.hxb(&["login", "--device"]).await.code, 0);
    let ended = home.hxb(&["credential", "--workspace", WORKSPACE]).await;
    assert_eq!(ended.json()["status"]["token"], "workspace-2");
}

#[tokio::test]
async fn kubectl_is_told_in_one_line_what_to_do() {
    let stub = Stub::start().await;
    let home = Home::new();
    let address = stub.address();
    let ended = home.hxb(&["credential", "--server", &address, "--workspace", WORKSPACE]).await;
    assert_eq!(ended.code, 3);
    assert_eq!(ended.err, format!("error: you are not signed in to {address}; run: hxb login {address}\n"));
    let home = Home::signed_in(&stub, 600);
    let ended = home.hxb(&["credential", "--workspace", "ws-00000000000000000009"]).await;
    assert_eq!((ended.code, ended.err.lines().count()), (4, 1), "{ended:?}");
}
