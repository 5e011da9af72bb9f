//! How failures end.

use crate::harness::Home;
use crate::stub::{Stub, organization, problem, workspace};

#[tokio::test]
async fn wrong_usage_is_2() {
    let home = Home::new();
    for arguments in
        [&["workspace", "crate"][..], &["workspace", "create", "shop"], &["login", "http://hexabase.example"], &[]]
    {
        assert_eq!(home.hxb(arguments).await.code, 2, "{arguments:?}");
    }
}

#[tokio::test]
async fn a_number_that_cannot_be_is_told_in_words_also_when_it_is_negative() {
    let home = Home::new();
    for (arguments, told) in [
        (&["workspace", "nodes", "set", "shop", "-1"][..], "give a whole number from 0 on, such as 2"),
        (&["workspace", "nodes", "set", "shop", "x"], "give a whole number from 0 on, such as 2"),
        (&["project", "create", "web", "-w", "shop", "--pods", "-1"], "give a whole number from 0 on, such as 2"),
        (&["project", "create", "web", "-w", "shop", "--cpu", "-500m"], "is not an amount of CPU, such as 500m or 2"),
        (&["pod", "log", "web", "-w", "shop", "-n", "web", "--tail", "-1"], "give a whole number from 1 to 5000"),
        (&["workspace", "sleep-rule", "shop", "--after", "-5m"], "write a time such as 90s, 5m, 12h, 30d or 1d 12h"),
        (&["workspace", "delete", "shop", "--grace", "-1h"], "write a time such as 90s, 5m, 12h, 30d or 1d 12h"),
    ] {
        let ended = home.hxb(arguments).await;
        assert_eq!((ended.code, ended.err.contains(told)), (2, true), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn nobody_signed_in_is_3_with_the_way_out() {
    let home = Home::new();
    let ended = home.hxb(&["workspace", "list"]).await;
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("hint: run: hxb login SERVER"), "{ended:?}");
    let ended = home.hxb(&["workspace", "list", "--server", "hexabase.example"]).await;
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("hint: run: hxb login https://hexabase.example\n"), "{ended:?}");
}

#[tokio::test]
async fn what_cannot_be_found_is_4_and_says_what_can_be_seen() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let ended = home.hxb(&["workspace", "get", "shpo"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (4, "error: workspace shpo not found; you can see: shop\n"));
    let ended = home.hxb(&["workspace", "get", "ws-00000000000000000009"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (4, "error: There is no such thing.\n"));
}

#[tokio::test]
async fn an_empty_name_is_wrong_usage_and_told_as_such() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let ended = home.hxb(&["workspace", "get", ""]).await;
    let told = "error: the name of the workspace is empty; you can see: shop\n";
    assert_eq!((ended.code, ended.err.as_str()), (2, told));
    assert_eq!(home.hxb(&["workspace", "wait", "", "--for", "deleted"]).await.code, 2, "it is not gone");
}

#[tokio::test]
async fn a_refusal_is_5_in_the_servers_words_with_the_request_id_on_demand() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let (status, body) = problem(409, "name_taken", "The name shop is taken.");
    stub.answer("POST /organizations/org-00000000000000000001/workspaces", status, body);
    let ended = home.hxb(&["workspace", "create", "shop", "--plan", "standard", "-v"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (5, "error: The name shop is taken.\nrequest id: req-1\n"));
}

#[tokio::test]
async fn several_organisations_need_a_choice() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let all = [organization(1, "acme", false), organization(2, "umbrella", false)];
    stub.answer("GET /organizations", 200, serde_json::json!({ "items": all }));
    let ended = home.hxb(&["workspace", "create", "shop", "--plan", "standard"]).await;
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("choose one with --org: acme, umbrella"), "{ended:?}");
}

#[tokio::test]
async fn waiting_too_long_is_6_and_says_how_far_it_got() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.world().states.push_back(workspace("creating", &[("namespace", "done"), ("limits", "waiting")]));
    let ended = home.hxb(&["workspace", "wait", "shop", "--timeout", "5s"]).await;
    assert_eq!(ended.code, 6);
    assert!(ended.err.contains("it is creating, at the step limits"), "{ended:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    // Held at one loopback address, so that nobody else is given the port at another.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://127.0.0.2:{}", listener.local_addr().unwrap().port());
    let ended = Home::new().hxb(&["login", &address]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with(&format!("error: nothing answers at {address}: connection refused\n")), "{ended:?}");
}

#[tokio::test]
async fn a_server_of_another_kind_is_recognised() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(|| async { axum::response::Html("<h1>It works!</h1>") });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let ended = Home::new().hxb(&["login", &address]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("answers, but is not a Hexabase server"), "{ended:?}");
}

#[tokio::test]
async fn deletion_needs_a_person_or_yes() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let ended = home.hxb(&["workspace", "delete", "shop"]).await;
    assert_eq!(ended.code, 2);
    let hint = "hint: give --yes: it goes at once and cannot be undone; with --yes --grace 1h it can, for an hour\n";
    assert!(ended.err.ends_with(hint), "{ended:?}");
    let ended = home.hxb(&["workspace", "delete", "shop", "--grace", "2h"]).await;
    assert!(ended.code == 2 && ended.err.ends_with("hint: give --yes as well\n"), "{ended:?}");
    assert!(!stub.world().requests.iter().any(|(request, ..)| request.starts_with("DELETE")));
}

#[tokio::test]
async fn the_codes_are_documented() {
    let home = Home::new();
    for arguments in [&["help", "exit-codes"][..], &["--help"], &["exit-codes"]] {
        let ended = home.hxb(arguments).await;
        assert_eq!(ended.code, 0);
        assert!(ended.out.contains("3  not signed in"), "{arguments:?}: {ended:?}");
    }
}
