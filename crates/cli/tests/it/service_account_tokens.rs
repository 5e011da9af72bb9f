//! Tokens of Kubernetes' service accounts that people leave behind.

use serde_json::{Value, json};

use crate::harness::{Home, ORGANIZATION, WORKSPACE};
use crate::stub::{Stub, problem};

const BOB: &str = "usr-00000000000000000002";

fn tokens() -> String {
    format!("/workspaces/{WORKSPACE}/service-account-tokens")
}

fn token(kind: &str, account: &str, secret: Option<&str>, gone: bool) -> Value {
    let at = "2020-01-01T00:00:00Z";
    json!({ "kind": kind, "namespace": "web", "service_account": account, "secret": secret, "first_created_at": at,
        "last_created_at": at, "gone": gone })
}

/// A server with Bob, who came by tokens of two service accounts that are there, and of one that is not.
async fn world() -> (Stub, Home) {
    let stub = Stub::start().await;
    let home = Home::signed_in(&stub, 600);
    let base = format!("/workspaces/{WORKSPACE}");
    let bob = json!({ "user": BOB, "kind": "person", "display_name": "Bob", "email": "bob@example.com", "groups": [],
        "effective_groups": [] });
    stub.answer(&format!("GET {base}/members"), 200, json!({ "items": [bob] }));
    stub.answer(&format!("DELETE {base}/members/{BOB}"), 200, json!({}));
    let items = json!([
        token("token_request", "lost", None, true),
        token("token_request", "robot", None, false),
        token("secret", "robot", Some("his"), false),
        token("secret", "other", Some("more"), false),
    ]);
    stub.answer(&format!("GET {}", tokens()), 200, json!({ "items": items }));
    (stub, home)
}

#[tokio::test]
async fn what_somebody_came_by_is_told_in_a_table() {
    let (stub, home) = world().await;
    let ended = home.hxb(&["member", "tokens", "bob@example.com", "-w", "shop"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(stub.world().requests.last().unwrap().0, format!("GET {}?user={BOB}", tokens()));
    let lines: Vec<Vec<&str>> = ended.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["KIND", "NAMESPACE", "SERVICE"]);
    assert_eq!((lines[1][0], lines[1][2], lines[1].last()), ("token_request", "lost", Some(&"yes")));
    assert_eq!((lines[3][0], lines[3][2], lines[3][3], lines[3].last()), ("secret", "robot", "his", Some(&"no")));
    let ended = home.hxb(&["member", "tokens", BOB, "-w", "shop", "-o", "json"]).await;
    assert_eq!(ended.json()["items"][1], token("token_request", "robot", None, false));

    stub.answer(&format!("GET {}", tokens()), 200, json!({ "items": [], "secrets_unread": "secrets is forbidden" }));
    let ended = home.hxb(&["member", "tokens", BOB, "-w", "shop"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
    assert!(ended.err.starts_with("Secrets with tokens are not among these: secrets is forbidden\n"), "{ended:?}");
}

#[tokio::test]
async fn tokens_end_only_when_somebody_means_it_and_what_did_not_end_is_a_failure() {
    let (stub, home) = world().await;
    let request = format!("POST {}/revoke", tokens());
    let pods = json!([{ "namespace": "web", "name": "worker" }]);
    let ended = json!([token("secret", "robot", Some("his"), false), token("token_request", "robot", None, false)]);
    stub.answer(&request, 200, json!({ "ended": ended, "failed": [], "pods": pods, "remaining": 0 }));
    let run = ["member", "revoke-tokens", "bob@example.com", "-w", "shop"];
    let said = home.hxb(&run).await;
    assert_eq!((said.code, said.err.contains("hint: give --yes")), (2, true), "{said:?}");
    assert!(stub.world().requests.iter().all(|(asked, ..)| *asked != request));

    let said = home.hxb(&[run.as_slice(), &["--yes"]].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.out.lines().count(), 3, "{said:?}");
    assert!(said.err.contains("Restart these pods, whose tokens are refused now: web/worker\n"), "{said:?}");
    let (asked, body, key) = stub.world().requests.last().unwrap().clone();
    assert_eq!((asked, body), (request.clone(), json!({ "user": BOB })));
    assert!(key.is_some(), "it is carried out to its end although nobody waits");

    let failed = json!([{ "token": token("token_request", "robot", None, false), "message": "it is held" }]);
    stub.answer(&request, 200, json!({ "ended": [], "failed": failed, "pods": [], "remaining": 0 }));
    let narrow = ["--yes", "--namespace", "web", "--service-account", "robot"];
    let said = home.hxb(&[run.as_slice(), &narrow].concat()).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("service account web/robot: it is held\n"), "{said:?}");
    let (_, body, _) = stub.world().requests.last().unwrap().clone();
    assert_eq!(body, json!({ "user": BOB, "namespace": "web", "service_account": "robot" }));
    let said = home.hxb(&[run.as_slice(), &["--yes", "--service-account", "robot"]].concat()).await;
    assert_eq!(said.code, 2, "a service account without its namespace: {said:?}");
}

#[tokio::test]
async fn many_tokens_end_with_several_requests_and_are_told_together() {
    let (stub, home) = world().await;
    let request = format!("POST {}/revoke", tokens());
    let turn = |account: &str, remaining: u64, next: Option<&str>| {
        let ended = json!([token("token_request", account, None, false)]);
        let pods = json!([{ "namespace": "web", "name": format!("pod-of-{account}") }]);
        let mut answer = json!({ "ended": ended, "failed": [], "pods": pods, "remaining": remaining });
        if let Some(next) = next {
            answer["next_cursor"] = json!(next);
        }
        (200_u16, answer)
    };
    let turns = || [turn("one", 2, Some("after-one")), turn("two", 1, Some("after-two"))];
    let run = ["member", "revoke-tokens", BOB, "-w", "shop", "--yes"];
    stub.world().in_turn.insert(request.clone(), turns().into());
    stub.world().answers.insert(request.clone(), turn("three", 0, None));
    let said = home.hxb(&run).await;
    assert_eq!((said.code, said.out.lines().count()), (0, 4), "{said:?}");
    assert!(said.err.contains("refused now: web/pod-of-one, web/pod-of-two, web/pod-of-three\n"), "{said:?}");
    let asked: Vec<_> = stub.world().requests.iter().filter(|(asked, ..)| *asked == request).cloned().collect();
    let bodies: Vec<&Value> = asked.iter().map(|(_, body, _)| body).collect();
    let after = |cursor: &str| json!({ "user": BOB, "cursor": cursor });
    assert_eq!(bodies, [&json!({ "user": BOB }), &after("after-one"), &after("after-two")]);
    let keys: std::collections::HashSet<_> = asked.iter().filter_map(|(_, _, key)| key.clone()).collect();
    assert_eq!(keys.len(), 3, "each has a key of its own");
    let said = home.hxb(&[run.as_slice(), &["-o", "json"]].concat()).await;
    assert_eq!(said.json()["ended"], json!([token("token_request", "three", None, false)]));

    // What has happened is told also when it breaks off.
    stub.world().in_turn.insert(request.clone(), turns().into());
    let (status, body) = problem(503, "unavailable", "It does not answer.");
    stub.answer(&request, status, body);
    let said = home.hxb(&run).await;
    assert_eq!((said.code, said.out.lines().count()), (1, 3), "{said:?}");
    assert!(said.err.contains("It broke off before 1 more were tried.") && said.err.contains("It does not answer."));
    let said = home.hxb(&run).await;
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
}

#[tokio::test]
async fn whoever_takes_access_away_is_told_what_that_leaves() {
    let (stub, home) = world().await;
    let run = ["member", "remove", "bob@example.com", "-w", "shop"];
    let said = home.hxb(&run).await;
    assert_eq!(said.code, 0, "{said:?}");
    let expected = format!(
        "bob@example.com has no access to workspace shop any more.\n\
         bob@example.com was given tokens of 2 service accounts there: hxb member tokens {BOB} -w shop; \
         end them with: hxb member revoke-tokens {BOB} -w shop\n"
    );
    assert_eq!(said.err, expected);

    // Nothing left, nothing to be known, and nothing to be seen any more.
    let (down, gone) =
        (problem(503, "unavailable", "It does not answer."), problem(404, "not_found", "No such thing."));
    for ((status, body), rest) in [
        ((200, json!({ "items": [token("token_request", "lost", None, true)] })), None),
        (down, Some("cannot be told now (It does not answer.)")),
        (gone, None),
    ] {
        stub.answer(&format!("GET {}", tokens()), status, body);
        let said = home.hxb(&run).await;
        assert_eq!((said.code, said.err.lines().count()), (0, 1 + usize::from(rest.is_some())), "{said:?}");
        assert!(rest.is_none_or(|rest| said.err.contains(rest)), "{said:?}");
    }

    let removed = format!("DELETE /organizations/{ORGANIZATION}/members/{BOB}");
    let left = json!([{ "workspace": WORKSPACE, "name": "shop", "service_accounts": 1 }]);
    stub.answer(&removed, 200, json!({ "tokens_ended": 0, "left_behind": left }));
    let said = home.hxb(&["org", "member", "remove", BOB]).await;
    let word = format!(
        "Inside workspace shop tokens of 1 service account were given to {BOB}: hxb member tokens {BOB} -w {WORKSPACE}."
    );
    assert!(said.code == 0 && said.err.contains(&word), "{said:?}");

    let place = format!("/organizations/{ORGANIZATION}/service-accounts");
    let program = json!({ "id": BOB, "name": "pipeline", "role": "member", "created_at": "2026-01-01T00:00:00Z" });
    stub.answer(&format!("GET {place}"), 200, json!({ "items": [program] }));
    let left = json!([{ "workspace": WORKSPACE, "name": "shop", "service_accounts": 1 }]);
    stub.answer(&format!("DELETE {place}/{BOB}"), 200, json!({ "left_behind": left }));
    let said = home.hxb(&["service-account", "delete", "pipeline", "--yes"]).await;
    assert!(said.code == 0 && said.err.contains(&word), "{said:?}");
}
