//! Organisations and their people.

use serde_json::{Value, json};

use crate::harness::{Home, ORGANIZATION};
use crate::stub::{Stub, organization, problem};

const BOB: &str = "usr-00000000000000000002";

fn bob(role: &str) -> Value {
    json!({ "user": BOB, "kind": "person", "display_name": "Bob", "email": "bob@example.com", "role": role })
}

#[tokio::test]
async fn each_command_goes_to_the_api_as_it_was_typed() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let base = format!("/organizations/{ORGANIZATION}");
    let members = format!("{base}/members");
    stub.answer(&format!("PATCH {base}"), 200, organization(1, "Acme & Co", true));
    stub.answer(&format!("DELETE {base}"), 200, json!({}));
    let mut handed_over = organization(1, "acme", false);
    handed_over["role"] = json!("member");
    stub.answer(&format!("POST {base}/transfer"), 200, handed_over);
    stub.answer(&format!("GET {members}"), 200, json!({ "items": [bob("member")] }));
    stub.answer(&format!("PATCH {members}/{BOB}"), 200, bob("admin"));
    stub.answer(&format!("DELETE {members}/{BOB}"), 200, json!({ "tokens_ended": 2 }));
    stub.answer(&format!("DELETE {members}/usr-00000000000000000001"), 200, json!({ "tokens_ended": 0 }));
    for (arguments, request, body, says) in [
        (
            &["org", "rename", "acme", "Acme & Co"][..],
            format!("PATCH {base}"),
            json!({ "name": "Acme & Co" }),
            "Organization acme is now called Acme & Co.",
        ),
        (&["org", "delete", "acme", "--yes"], format!("DELETE {base}"), Value::Null, "is deleted"),
        (
            &["org", "transfer", "acme", "Bob@Example.com"],
            format!("POST {base}/transfer"),
            json!({ "user": BOB }),
            "you are a member now",
        ),
        (
            &["org", "leave", "acme"],
            format!("DELETE {members}/usr-00000000000000000001"),
            Value::Null,
            "You have left acme and its workspaces.\n",
        ),
        (&["org", "members"], format!("GET {members}"), Value::Null, "bob@example.com"),
        (
            &["org", "member", "list", "--search", "b o"],
            format!("GET {members}?search=b+o"),
            Value::Null,
            "bob@example.com",
        ),
        (
            &["org", "member", "role", "bob@example.com", "admin", "--org", "acme"],
            format!("PATCH {members}/{BOB}"),
            json!({ "role": "admin" }),
            "Bob is admin of acme now.",
        ),
        (
            &["org", "member", "remove", BOB],
            format!("DELETE {members}/{BOB}"),
            Value::Null,
            "is out of acme and of all of its workspaces. 2 tokens of service accounts ended",
        ),
    ] {
        let ended = home.hxb(arguments).await;
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        assert!(ended.out.contains(says) || ended.err.contains(says), "{arguments:?}: {ended:?}");
        let world = stub.world();
        let (asked, sent, _) = world.requests.last().unwrap();
        assert_eq!((asked, sent), (&request, &body), "{arguments:?}");
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_told_in_its_words() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let base = format!("/organizations/{ORGANIZATION}");
    let (status, body) = problem(409, "organization_not_empty", "2 workspaces are still there: shop, web.");
    stub.answer(&format!("DELETE {base}"), status, body);
    let ended = home.hxb(&["org", "delete", "acme", "--yes"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (5, "error: 2 workspaces are still there: shop, web.\n"));
    let ended = home.hxb(&["org", "delete", "acme"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    stub.answer(&format!("GET {base}/members"), 200, json!({ "items": [bob("member")] }));
    let ended = home.hxb(&["org", "member", "remove", "carol@example.com"]).await;
    let expected = "error: member carol@example.com not found; you can see: bob@example.com\n";
    assert_eq!((ended.code, ended.err.as_str()), (4, expected));
}

#[tokio::test]
async fn people_and_programs_are_told_apart_in_lists_of_members() {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let mut program = bob("member");
    program["kind"] = json!("service");
    program["display_name"] = json!("pipeline");
    let people = json!({ "items": [bob("admin"), program] });
    stub.answer(&format!("GET /organizations/{ORGANIZATION}/members"), 200, people);
    let ended = home.hxb(&["org", "members"]).await;
    let lines: Vec<_> = ended.out.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>()).collect();
    assert_eq!(lines, [["NAME", "KIND"], ["Bob", "person"], ["pipeline", "service"]], "{ended:?}");
}
