//! Keeping a session alive.

use crate::harness::Home;
use crate::stub::Stub;

#[tokio::test]
async fn an_old_access_token_is_renewed_once_by_many_processes() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, -1);
    let mut running: Vec<_> = (0..6).map(|_| home.command(&["whoami"]).spawn().unwrap()).collect();
    for child in &mut running {
        assert!(child.wait().await.unwrap().success());
    }
    assert_eq!(stub.world().refreshes, 1);
    assert_eq!(home.config()["servers"][stub.address()]["session"]["refresh_token"], "refresh-1");
}

#[tokio::test]
async fn a_token_that_the_server_refuses_is_renewed_and_the_request_repeated_with_its_key() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.world().access_token = "another".to_owned();
    stub.answer("POST /organizations", 201, crate::stub::organization(2, "umbrella", false));
    assert_eq!(home.hxb(&["org", "create", "umbrella"]).await.code, 0);
    let world = stub.world();
    assert_eq!(world.refreshes, 1);
    let (request, body, key) = world.requests.last().unwrap();
    assert_eq!((request.as_str(), body), ("POST /organizations", &serde_json::json!({ "name": "umbrella" })));
    assert_eq!(key.as_ref().unwrap().len(), 43);
}

#[tokio::test]
async fn a_session_that_has_ended_says_so_and_is_forgotten() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, -1);
    stub.world().refresh_token = "another".to_owned();
    let ended = home.hxb(&["whoami"]).await;
    assert_eq!(ended.code, 3);
    let address = stub.address();
    assert_eq!(ended.err, format!("error: your session at {address} has ended\nhint: run: hxb login {address}\n"));
    assert!(home.hxb(&["whoami"]).await.err.starts_with("error: you are not signed in to"));
}
