//! Where somebody is signed in.

use serde_json::json;

use crate::harness::Home;
use crate::stub::{Stub, problem};

fn sessions() -> serde_json::Value {
    let at = "2026-01-01T00:00:00Z";
    let one = |number: u32, label: &str, current: bool| {
        json!({
            "id": format!("ses-{number:020}"), "kind": "device", "label": label, "current": current, "created_at": at,
            "created_from": "192.0.2.1", "last_seen_at": at, "last_seen_from": null, "expires_at": at, "from_the_future": 1,
        })
    };
    json!({ "items": [one(1, "hxb 0.1.0 on Linux", true), one(2, "Firefox on macOS", false)] })
}

#[tokio::test]
async fn sessions_are_listed_with_device_and_place() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.answer("GET /me/sessions", 200, sessions());
    let listed = home.hxb(&["session", "list"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(listed.out.contains("hxb 0.1.0 on Linux (this one)"), "{listed:?}");
    assert!(listed.out.contains("192.0.2.1") && listed.out.contains("ses-00000000000000000002"), "{listed:?}");
    let listed = home.hxb(&["session", "list", "-o", "json"]).await.json();
    assert_eq!(listed, sessions());
}

#[tokio::test]
async fn one_session_or_all_others_are_ended() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    stub.answer("DELETE /me/sessions/ses-00000000000000000002", 204, json!(null));
    stub.answer("POST /me/sessions/end-others", 200, json!({ "ended": 3 }));
    let ended = home.hxb(&["session", "end", "ses-00000000000000000002"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, "Session ses-00000000000000000002 has ended.\n"));
    let ended = home.hxb(&["session", "end-others"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "Other sessions that have ended: 3\n"));
    let (status, body) = problem(404, "not_found", "there is no such session");
    stub.answer("DELETE /me/sessions/ses-00000000000000000009", status, body);
    let missing = home.hxb(&["session", "end", "ses-00000000000000000009"]).await;
    assert_eq!((missing.code, missing.err.as_str()), (4, "error: there is no such session\n"));
}
