//! Invitations.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{Ended, Home, ORGANIZATION, WORKSPACE};
use crate::stub::{Stub, problem};

const INVITATION: &str = "inv-00000000000000000001";
const LINK: &str = "https://hexabase.example/invitation#token=hxi_secret";

fn invitation(state: &str, mail: Value) -> Value {
    let at = "2026-01-01T00:00:00Z";
    json!({
        "id": INVITATION, "organization": ORGANIZATION, "email": "bob@example.com", "role": "member", "language": "en",
        "workspaces": [{ "workspace": WORKSPACE, "name": "shop", "groups": ["WSUsers"] }], "state": state,
        "invited_by": "usr-00000000000000000001", "created_at": at, "expires_at": "2026-01-08T00:00:00Z",
        "accepted_by": null, "accepted_at": null, "resent": 0, "mail": mail,
    })
}

async fn with_input(home: &Home, arguments: &[&str], input: &str) -> Ended {
    let mut child = home.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap().into()
}

#[tokio::test]
async fn an_invitation_goes_to_the_api_as_it_was_typed_and_its_link_is_shown_where_no_mail_is_sent() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let path = format!("POST /organizations/{ORGANIZATION}/invitations");
    let mut made = invitation("pending", Value::Null);
    made["accept_url"] = json!(LINK);
    stub.answer(&path, 201, made);
    let workspaces = ["--workspace", "shop:WSAdmins,ops", "-w", WORKSPACE];
    let arguments =
        [&["invitation", "create", "bob@example.com", "--role", "admin", "--language", "ja"], &workspaces[..]];
    let ended = home.hxb(&arguments.concat()).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with("bob@example.com is invited to acme, until 2026-01-08T00:00:00Z.\n"), "{ended:?}");
    assert!(ended.out.ends_with(&format!("{LINK}\n")), "{ended:?}");
    let sent = stub.world().requests.last().unwrap().clone();
    assert_eq!(sent.0, path);
    let opened =
        json!([{ "workspace": WORKSPACE, "groups": ["WSAdmins", "ops"] }, { "workspace": WORKSPACE, "groups": [] }]);
    let expected = json!({ "email": "bob@example.com", "role": "admin", "workspaces": opened, "language": "ja" });
    assert_eq!(sent.1, expected);
    let mailed = invitation("pending", json!({ "state": "queued", "message": null }));
    stub.answer(&path, 201, mailed);
    let ended = home.hxb(&["invitation", "create", "bob@example.com"]).await;
    assert!(ended.out.ends_with("A mail is on its way; see how far with: hxb invitation list\n"), "{ended:?}");
    let expected = json!({ "email": "bob@example.com", "role": "member", "workspaces": [], "language": "en" });
    assert_eq!(stub.world().requests.last().unwrap().1, expected);
}

#[tokio::test]
async fn invitations_are_listed_sent_again_and_taken_back_by_address_or_id() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let path = format!("/organizations/{ORGANIZATION}/invitations");
    let failed = invitation("pending", json!({ "state": "failed", "message": "550 nobody here" }));
    stub.answer(&format!("GET {path}"), 200, json!({ "items": [failed] }));
    stub.answer(&format!("POST {path}/{INVITATION}/resend"), 200, invitation("pending", Value::Null));
    stub.answer(&format!("DELETE {path}/{INVITATION}"), 200, json!({}));
    let ended = home.hxb(&["invitation", "list"]).await;
    assert!(ended.out.starts_with("E-MAIL"), "{ended:?}");
    for wanted in ["bob@example.com", "shop (WSUsers)", "pending", "failed: 550 nobody here", INVITATION] {
        assert!(ended.out.contains(wanted), "{wanted}: {ended:?}");
    }
    for wanted in ["Bob@Example.com", INVITATION] {
        for (verb, request) in
            [("resend", format!("POST {path}/{INVITATION}/resend")), ("revoke", format!("DELETE {path}/{INVITATION}"))]
        {
            let ended = home.hxb(&["invitation", verb, wanted]).await;
            assert_eq!(ended.code, 0, "{verb}: {ended:?}");
            assert_eq!(stub.world().requests.last().unwrap().0, request);
        }
    }
    let ended = home.hxb(&["invitation", "revoke", "carol@example.com"]).await;
    assert_eq!(ended.code, 4, "{ended:?}");
}

#[tokio::test]
async fn the_code_is_read_from_standard_input_and_a_link_is_as_good() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let opened = json!([{ "workspace": WORKSPACE, "name": "shop", "groups": ["WSUsers"] }]);
    let accepted = json!({ "organization": ORGANIZATION, "name": "acme", "role": "member", "workspaces": opened });
    stub.answer("POST /invitations/accept", 200, accepted);
    for input in ["hxi_secret\n", &format!("  {LINK}\n"), "hxi_secret"] {
        let ended = with_input(&home, &["invitation", "accept"], input).await;
        let expected = "You are member of acme now. You have access to shop (WSUsers).\n";
        assert_eq!((ended.code, ended.out.as_str()), (0, expected), "{input:?}: {ended:?}");
        assert_eq!(stub.world().requests.last().unwrap().1, json!({ "token": "hxi_secret" }));
    }
    assert_eq!(with_input(&home, &["invitation", "accept"], "\n").await.code, 2);
    let (status, body) = problem(403, "forbidden", "This invitation is for b***@example.com.");
    stub.answer("POST /invitations/accept", status, body);
    let ended = with_input(&home, &["invitation", "accept"], "hxi_secret\n").await;
    assert_eq!((ended.code, ended.err.as_str()), (5, "error: This invitation is for b***@example.com.\n"));
}
