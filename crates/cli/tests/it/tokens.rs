//! API tokens: making them, and being one.

use serde_json::{Value, json};

use crate::harness::{Home, ORGANIZATION, WORKSPACE};
use crate::stub::Stub;

const SECRET: &str = "hxb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn token(number: u32, name: &str) -> Value {
    let at = "2026-01-01T00:00:00Z";
    json!({
        "id": format!("tok-{number:020}"), "name": name, "prefix": "hxb_AAAA", "access": "write", "workspace": null,
        "created_by": "usr-00000000000000000009", "created_at": at, "expires_at": "2999-01-01T00:00:00Z", "last_used_at": null, "last_used_from": null,
    })
}

/// A server that accepts `SECRET`, and somebody who has nothing else.
async fn pipeline() -> (Stub, Home) {
    let stub = Stub::start().await;
    stub.world().access_token = SECRET.to_owned();
    (stub, Home::new())
}

#[tokio::test]
async fn a_new_token_goes_to_standard_output_and_nothing_else_does() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let mut made = token(1, "deploy");
    made["secret"] = json!(SECRET);
    stub.answer("POST /me/tokens", 201, made.clone());
    let arguments = ["token", "create", "deploy", "--access", "write", "--expires-in", "90d", "-w", "shop"];
    let ended = home.hxb(&arguments).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, format!("{SECRET}\n").as_str()), "{ended:?}");
    assert!(ended.err.contains("deploy (tok-00000000000000000001)") && !ended.err.contains(SECRET), "{ended:?}");
    let (_, sent, key) = stub.world().requests.last().cloned().unwrap();
    assert_eq!(
        (&sent["name"], &sent["access"], &sent["workspace"]),
        (&json!("deploy"), &json!("write"), &json!(WORKSPACE))
    );
    assert!(sent["expires_at"].as_str().unwrap().ends_with('Z') && key.is_some(), "{sent}");
    let ended = home.hxb(&[&arguments[..], &["-o", "json"]].concat()).await;
    assert_eq!(ended.json(), made);
    // An answer to a request sent twice lacks it.
    stub.answer("POST /me/tokens", 201, token(1, "deploy"));
    let ended = home.hxb(&arguments).await;
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    assert!(ended.err.contains("hint: revoke it with its id"), "{ended:?}");
}

#[tokio::test]
async fn tokens_are_listed_and_revoked_by_name_or_id() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.answer("GET /me/tokens", 200, json!({ "items": [token(1, "deploy"), token(2, "twice"), token(3, "twice")] }));
    for number in 1..=3 {
        stub.answer(&format!("DELETE /me/tokens/tok-{number:020}"), 204, json!(null));
    }
    let listed = home.hxb(&["token", "list"]).await;
    assert!(listed.out.contains("deploy") && listed.out.contains("never"), "{listed:?}");
    assert!(listed.out.contains("MADE BY") && listed.out.contains("usr-00000000000000000009"), "{listed:?}");
    for wanted in ["deploy", "tok-00000000000000000003"] {
        let ended = home.hxb(&["token", "revoke", wanted]).await;
        assert_eq!((ended.code, ended.err), (0, format!("Token {wanted} is revoked.\n")));
    }
    assert_eq!(home.hxb(&["token", "revoke", "twice"]).await.code, 2);
    let missing = home.hxb(&["token", "revoke", "other"]).await;
    assert_eq!(
        (missing.code, missing.err.as_str()),
        (4, "error: token other not found; you can see: deploy, twice, twice\n")
    );
    let deleted: Vec<_> = stub
        .world()
        .requests
        .iter()
        .filter(|(request, ..)| request.starts_with("DELETE"))
        .map(|(request, ..)| request.clone())
        .collect();
    assert_eq!(deleted, ["DELETE /me/tokens/tok-00000000000000000001", "DELETE /me/tokens/tok-00000000000000000003"]);
}

#[tokio::test]
async fn a_token_in_the_environment_or_in_a_file_takes_the_place_of_a_session() {
    let (stub, home) = pipeline().await;
    let address = stub.address();
    let whoami = ["whoami", "--server", &address];
    assert_eq!(home.hxb(&whoami).await.code, 3);
    let ended = home.command(&whoami).env("HXB_TOKEN", SECRET).output().await.unwrap();
    assert!(ended.status.success(), "{ended:?}");
    home.write("token", &format!("{SECRET}\n"));
    assert_eq!(home.hxb(&["whoami", "--server", &address, "--token-file", "token"]).await.code, 0);
    // The file was named on the spot, the variable perhaps long ago.
    let both =
        home.command(&["whoami", "--server", &address, "--token-file", "token"]).env("HXB_TOKEN", "hxb_old").output();
    assert!(both.await.unwrap().status.success());
    // Nothing of it is kept.
    assert!(!home.path(".config/hexabase/hxb.json").exists());
}

#[tokio::test]
async fn a_token_goes_to_no_server_but_the_one_that_is_named() {
    let stub = Stub::start().await;
    // Somebody signed in to this server once, and the token is perhaps another one's.
    let home = Home::signed_in(&stub, 600);
    stub.world().access_token = SECRET.to_owned();
    home.write("token", SECRET);
    let of_variable = home.command(&["whoami"]).env("HXB_TOKEN", SECRET).output().await.unwrap().into();
    let ended: [crate::harness::Ended; 2] = [of_variable, home.hxb(&["whoami", "--token-file", "token"]).await];
    for (ended, origin) in ended.iter().zip(["HXB_TOKEN", "token"]) {
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.err.contains(&format!("{origin} holds a token, but no server is named")), "{ended:?}");
        assert!(ended.err.contains("--server URL or in HEXABASE_SERVER") && !ended.err.contains(SECRET), "{ended:?}");
    }
    assert!(stub.world().requests.is_empty());
    let mut named = home.command(&["whoami"]);
    named.env("HXB_TOKEN", SECRET).env("HEXABASE_SERVER", stub.address());
    assert!(named.output().await.unwrap().status.success());
}

#[tokio::test]
async fn a_token_that_is_not_accepted_says_so_and_where_it_came_from() {
    let (stub, home) = pipeline().await;
    let address = stub.address();
    let other = "hxb_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
    for arguments in
        [&["whoami", "--server", &address][..], &["credential", "--server", &address, "--workspace", WORKSPACE]]
    {
        let ended = home.command(arguments).env("HXB_TOKEN", other).output().await.unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert!(!err.contains("hxb login") && !err.contains(other), "{err}");
    }
    let ended = home.command(&["whoami", "--server", &address]).env("HXB_TOKEN", other).output().await.unwrap();
    assert_eq!(ended.status.code(), Some(3));
    let err = String::from_utf8(ended.stderr).unwrap();
    assert!(err.contains("hint: the token is the one in HXB_TOKEN; make another with: hxb token create"), "{err}");
    // What cannot be a token is not sent.
    let asked = stub.world().requests.len();
    let ended = home.command(&["whoami", "--server", &address]).env("HXB_TOKEN", "hunter2").output().await.unwrap();
    assert_eq!((ended.status.code(), stub.world().requests.len()), (Some(2), asked));
    assert_eq!(home.hxb(&["whoami", "--server", &address, "--token-file", "missing"]).await.code, 1);
}

#[tokio::test]
async fn kubectl_in_a_pipeline_gets_its_tokens_for_an_api_token() {
    let (stub, home) = pipeline().await;
    home.write("token", SECRET);
    let address = stub.address();
    let arguments = ["kubeconfig", "shop", "--print", "--server", &address, "--token-file", "token"];
    let ended = home.hxb(&arguments).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.out.contains(SECRET), "{ended:?}");
    let config: Value = serde_saphyr::from_str(&ended.out).unwrap();
    let plugin = config["users"][0]["user"]["exec"]["args"].as_array().unwrap().clone();
    let plugin: Vec<&str> = plugin.iter().map(|argument| argument.as_str().unwrap()).collect();
    assert_eq!(plugin[5..], ["--token-file", home.path("token").to_str().unwrap()]);
    let credential = home.hxb(&plugin).await.json();
    assert_eq!(credential["status"]["token"], "workspace-1");
    // Kept for the next call of this token, and of no other.
    assert_eq!(home.hxb(&plugin).await.json()["status"]["token"], "workspace-1");
    let other = "hxb_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
    stub.world().access_token = other.to_owned();
    home.write("token", other);
    assert_eq!(home.hxb(&plugin).await.json()["status"]["token"], "workspace-2");
}

#[tokio::test]
async fn service_accounts_are_made_given_tokens_and_deleted() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let place = format!("/organizations/{ORGANIZATION}/service-accounts");
    let account = json!({
        "id": "usr-00000000000000000007", "name": "pipeline", "role": "member", "created_at": "2026-01-01T00:00:00Z",
    });
    let own = format!("{place}/usr-00000000000000000007");
    stub.answer(&format!("POST {place}"), 201, account.clone());
    stub.answer(&format!("GET {place}"), 200, json!({ "items": [account] }));
    let made = home.hxb(&["service-account", "create", "pipeline"]).await;
    assert!(made.out.contains("pipeline (usr-00000000000000000007)"), "{made:?}");
    let listed = home.hxb(&["service-account", "list"]).await;
    assert!(listed.out.contains("pipeline   member"), "{listed:?}");
    let mut secret = token(1, "deploy");
    secret["secret"] = json!(SECRET);
    stub.answer(&format!("POST {own}/tokens"), 201, secret);
    let arguments =
        ["service-account", "token", "create", "pipeline", "deploy", "--access", "read", "--expires-in", "1d"];
    assert_eq!(home.hxb(&arguments).await.out, format!("{SECRET}\n"));
    stub.answer(&format!("GET {own}/tokens"), 200, json!({ "items": [token(1, "deploy")] }));
    stub.answer(&format!("DELETE {own}/tokens/tok-00000000000000000001"), 204, json!(null));
    assert_eq!(home.hxb(&["service-account", "token", "revoke", "pipeline", "deploy"]).await.code, 0);
    stub.answer(&format!("DELETE {own}"), 200, json!({}));
    assert_eq!(home.hxb(&["service-account", "delete", "pipeline"]).await.code, 2);
    assert_eq!(home.hxb(&["service-account", "delete", "pipeline", "--yes"]).await.code, 0);
    let missing = home.hxb(&["service-account", "token", "list", "other"]).await;
    assert_eq!(
        (missing.code, missing.err.as_str()),
        (4, "error: service account other not found; you can see: pipeline\n")
    );
}
