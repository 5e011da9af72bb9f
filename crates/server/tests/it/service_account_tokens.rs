//! What of ending tokens of ServiceAccounts needs no workspace that judges; the rest is in the cluster suite.

use std::time::Duration;

use anyhow::{Result, bail};
use hexabase_backends::store::service_account_tokens::{self, TokenOf};
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_testkit::http::Answer;
use hexabase_testkit::tenant::FakeTenant;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};

use crate::role_assignments::logged;
use crate::roles::answering;
use crate::support::{Person, Platform, problem, shop, soon, text};
use crate::tokens::make_token;

const ACCOUNTS: &str = "/api/v1/serviceaccounts";
const SECRETS: &str = "/api/v1/secrets";
const PODS: &str = "/api/v1/namespaces/web/pods";

fn path(workspace: &str) -> String {
    format!("/api/v1/workspaces/{workspace}/service-account-tokens")
}

async fn tokens(asker: &Person, workspace: &str, user: &str) -> Result<Answer> {
    asker.api.get(&format!("{}?user={user}", path(workspace))).await
}

/// Kind, ServiceAccount and Secret of each token of somebody.
async fn told(asker: &Person, workspace: &str, user: &str) -> Result<Vec<[String; 3]>> {
    Ok(brief(&tokens(asker, workspace, user).await?.expect(200)?.json()?["items"]))
}

fn brief(items: &Value) -> Vec<[String; 3]> {
    let items = items.as_array().into_iter().flatten();
    items.map(|item| ["kind", "service_account", "secret"].map(|field| text(&item[field]))).collect()
}

async fn revoke(asker: &Person, workspace: &str, body: Value) -> Result<Answer> {
    asker.api.post(&format!("{}/revoke", path(workspace)), &body).await
}

fn account(name: &str) -> String {
    format!("/api/v1/namespaces/web/serviceaccounts/{name}")
}

fn list(items: Vec<Value>) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items })
}

/// A Secret that holds a token of the ServiceAccount `robot`.
fn secret(name: &str, maker: Option<&Person>) -> Value {
    let mut annotations = json!({ "kubernetes.io/service-account.name": "robot" });
    if let Some(maker) = maker {
        annotations["hexabase.ai/created-by"] = json!(format!("hexabase:{}", maker.id));
    }
    json!({ "metadata": { "name": name, "namespace": "web", "uid": format!("s-{name}"), "annotations": annotations,
        "creationTimestamp": "2026-01-01T00:00:00Z" } })
}

/// Lets there be these ServiceAccounts, the Secrets, and a pod of `robot`.
fn furnish(tenant: &FakeTenant, accounts: &[&str], secrets: Vec<Value>) {
    let metadata = |name: &str| {
        let uid = format!("u-{name}");
        json!({ "name": name, "namespace": "web", "uid": uid, "labels": { "app": "web" } })
    };
    let all = accounts.iter().copied().map(|name| json!({ "metadata": metadata(name) })).collect();
    tenant.answer("GET", ACCOUNTS, 200, list(all));
    tenant.answer("GET", SECRETS, 200, list(secrets));
    for name in accounts.iter().copied() {
        let found = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(name),
            "imagePullSecrets": [{ "name": "registry" }] });
        tenant.answer("GET", &account(name), 200, found);
    }
    let projected =
        json!({ "name": "access", "projected": { "sources": [{ "serviceAccountToken": { "path": "token" } }] } });
    let spec = json!({ "containers": [], "serviceAccountName": "robot", "volumes": [projected] });
    tenant.answer("GET", PODS, 200, list(vec![json!({ "metadata": { "name": "worker" }, "spec": spec })]));
}

/// Asks for a token through the gateway, as `kubectl create token` does.
async fn ask_for(platform: &Platform, person: &Person, workspace: &str, name: &str) -> Result<Answer> {
    let token = person.workspace_token(platform, workspace).await?;
    let path = format!("/k8s/{workspace}{}/token", account(name));
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {} });
    platform.nobody().with_token(token).post(&path, &body).await
}

fn row(kind: &str, account: &str, secret: &str) -> [String; 3] {
    [kind, account, secret].map(str::to_owned)
}

#[tokio::test]
async fn what_somebody_came_by_is_told_to_the_workspaces_admins_and_to_themselves() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let (bob, carol) = (platform.person("bob").await?, platform.person("carol").await?);
    for person in [&bob, &carol] {
        alice.add(&workspace, &person.id, &[]).await?.expect(201)?;
    }
    furnish(&tenant, &["robot"], vec![secret("his", Some(&bob)), secret("hers", Some(&carol)), secret("old", None)]);
    for name in ["robot", "lost", "robot"] {
        assert!(ask_for(&platform, &bob, &workspace, name).await?.status < 300);
    }
    // A refusal gives nobody a token.
    tenant.refuse("POST", &format!("{}/token", account("locked")), 403, "forbidden");
    ask_for(&platform, &bob, &workspace, "locked").await?.expect(403)?;

    let expected = [row("token_request", "lost", ""), row("token_request", "robot", ""), row("secret", "robot", "his")];
    assert_eq!(told(&alice, &workspace, &bob.id).await?, expected);
    assert_eq!(told(&bob, &workspace, &bob.id).await?, expected);
    let items = tokens(&alice, &workspace, &bob.id).await?.expect(200)?.json()?["items"].clone();
    assert_eq!([&items[0]["gone"], &items[1]["gone"], &items[2]["gone"]], [true, false, false]);
    assert_ne!(items[1]["first_created_at"], items[1]["last_created_at"], "{items}");
    assert_eq!(items[2]["first_created_at"], "2026-01-01T00:00:00Z");
    // Whoever may only look is told of others' by no credential; whoever administers it, also by one that only reads.
    let detail = text(&problem(&tokens(&carol, &workspace, &bob.id).await?, 403, "forbidden")["detail"]);
    assert!(detail.contains("WSAdmins"), "{detail}");
    let reading = make_token(&alice.api, "/api/v1/me/tokens", json!({ "access": "read" })).await?;
    let reading = platform.nobody().with_token(reading.secret);
    reading.get(&format!("{}?user={}", path(&workspace), bob.id)).await?.expect(200)?;

    // It is there when he is not, and nothing is known of nobody.
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    assert_eq!(told(&alice, &workspace, &bob.id).await?, expected);
    problem(&tokens(&bob, &workspace, &bob.id).await?, 404, "not_found");
    assert!(told(&alice, &workspace, "usr-00000000000000000000").await?.is_empty());
    let refused = problem(&tokens(&alice, &workspace, "bob").await?, 422, "invalid");
    assert_eq!(refused["field"], "user");
    Ok(())
}

#[tokio::test]
async fn whoever_may_not_list_secrets_is_told_so_and_ends_nothing() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    furnish(&tenant, &["robot"], vec![secret("hers", Some(&alice))]);
    ask_for(&platform, &alice, &workspace, "robot").await?;
    tenant.refuse("GET", SECRETS, 403, "secrets is forbidden");
    let found = tokens(&alice, &workspace, &alice.id).await?.expect(200)?.json()?;
    assert_eq!(brief(&found["items"]), [row("token_request", "robot", "")]);
    assert_eq!(found["secrets_unread"], "secrets is forbidden");
    problem(&revoke(&alice, &workspace, json!({ "user": alice.id })).await?, 403, "forbidden");
    assert_eq!(tenant.asked("DELETE").len(), 0);
    // What cannot be told of ServiceAccounts is not taken for gone.
    tenant.refuse("GET", ACCOUNTS, 403, "serviceaccounts is forbidden");
    let found = tokens(&alice, &workspace, &alice.id).await?.expect(200)?.json()?;
    assert_eq!(found["items"][0]["gone"], false);
    Ok(())
}

#[tokio::test]
async fn tokens_end_with_their_secrets_and_with_the_identity_of_their_service_account() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let (bob, carol) = (platform.person("bob").await?, platform.person("carol").await?);
    for person in [&bob, &carol] {
        alice.add(&workspace, &person.id, &[]).await?.expect(201)?;
        ask_for(&platform, person, &workspace, "robot").await?;
    }
    furnish(&tenant, &["robot"], vec![secret("his", Some(&bob)), secret("old", None)]);
    problem(&revoke(&bob, &workspace, json!({ "user": bob.id })).await?, 403, "forbidden");
    alice.remove(&workspace, &bob.id).await?.expect(204)?;

    let revoked = revoke(&alice, &workspace, json!({ "user": bob.id })).await?.expect(200)?.json()?;
    // Kubernetes takes everybody's Secrets of a ServiceAccount along.
    let expected = [row("secret", "robot", "his"), row("token_request", "robot", ""), row("secret", "robot", "old")];
    assert_eq!(brief(&revoked["ended"]), expected);
    assert_eq!(
        (&revoked["failed"], &revoked["pods"]),
        (&json!([]), &json!([{ "namespace": "web", "name": "worker" }]))
    );
    // What was read is deleted, and nothing that came under its name since; what a ServiceAccount owns stays.
    let conditions: Vec<Value> =
        tenant.asked("DELETE").iter().map(|asked| asked.body["preconditions"].clone()).collect();
    assert_eq!(conditions, [json!({ "uid": "s-his" }), json!({ "uid": "u-robot" })]);
    assert_eq!(tenant.asked("DELETE")[1].body["propagationPolicy"], "Orphan");
    let deleted: Vec<String> = tenant.asked("DELETE").into_iter().map(|asked| asked.path).collect();
    assert_eq!(deleted, ["/api/v1/namespaces/web/secrets/his".to_owned(), account("robot")]);
    // Another one of its kind, before it is deleted.
    let tried: Vec<(String, bool)> =
        tenant.asked("PATCH").into_iter().map(|asked| (asked.path, asked.query.contains("dryRun"))).collect();
    assert_eq!(tried, [(account("hexabase-trial-u-robot"), true)]);
    let made = tenant.asked("POST").into_iter().filter(|asked| asked.path == account("").trim_end_matches('/'));
    let made: Vec<Value> = made.map(|asked| asked.body).collect();
    let again = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": [{ "name": "registry" }],
        "metadata": { "name": "robot", "namespace": "web", "labels": { "app": "web" } } });
    assert_eq!(made, [again]);

    tenant.answer("GET", SECRETS, 200, list(Vec::new()));
    for person in [&bob, &carol] {
        assert!(told(&alice, &workspace, &person.id).await?.is_empty(), "what she had of it has ended as well");
    }
    let nothing = revoke(&alice, &workspace, json!({ "user": bob.id })).await?.expect(200)?.json()?;
    assert_eq!(nothing, json!({ "ended": [], "failed": [], "pods": [], "remaining": 0 }));
    let log = logged(&platform, &alice, &[&bob.id]).await?;
    let mut records = log.into_iter().filter(|(action, _)| action == "service_account_tokens.revoked");
    let before = records.next().and_then(|(_, before)| before).unwrap_or_default();
    assert_eq!((brief(&before["ended"]).as_slice(), records.next()), (expected.as_slice(), None));
    assert_eq!((&before["failed"], &before["pods"]), (&json!([]), &json!(["web/worker"])));
    Ok(())
}

#[tokio::test]
async fn one_that_cannot_be_ended_holds_up_no_other_and_stays_known() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let names = ["forbidden", "held", "missing", "ours", "robot"];
    furnish(&tenant, &names, vec![secret("held", Some(&alice))]);
    for name in names {
        ask_for(&platform, &alice, &workspace, name).await?;
    }
    tenant.refuse("DELETE", &account("held"), 403, "it is held");
    tenant.refuse("DELETE", "/api/v1/namespaces/web/secrets/held", 403, "the secret is held");
    tenant.refuse("POST", &account("missing"), 403, "no room");
    tenant.refuse("PATCH", &account("hexabase-trial-u-forbidden"), 403, "you may make none");
    let labels = json!({ "app.kubernetes.io/managed-by": "hexabase" });
    let ours = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "ours", "namespace": "web", "uid": "u-ours", "labels": labels } });
    tenant.answer("GET", &account("ours"), 200, ours);

    let revoked = revoke(&alice, &workspace, json!({ "user": alice.id })).await?.expect(200)?.json()?;
    let ended: Vec<String> = brief(&revoked["ended"]).into_iter().map(|[_, account, _]| account).collect();
    assert_eq!(ended, ["missing", "robot"]);
    let failed: Vec<(String, String)> = revoked["failed"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|failure| {
            let token = &failure["token"];
            (format!("{}{}", text(&token["service_account"]), text(&token["secret"])), text(&failure["message"]))
        })
        .collect();
    let why = |of: &str| failed.iter().find(|(name, _)| name == of).map(|(_, message)| message.as_str());
    assert_eq!((failed.len(), why("robotheld"), why("held")), (5, Some("the secret is held"), Some("it is held")));
    assert!(why("ours").is_some_and(|why| why.contains("it is the platform's")), "{failed:?}");
    assert!(
        why("missing").is_some_and(|why| {
            why.starts_with("its tokens ended, but it is not there again: no room; apply this")
                && why.contains("registry")
        }),
        "{failed:?}"
    );
    assert_eq!(why("forbidden"), Some("you may make none"), "whoever may make none destroys none");
    assert!(!tenant.asked("DELETE").iter().any(|asked| asked.path == account("forbidden")));
    let log = logged(&platform, &alice, &[&alice.id]).await?;
    let before = log.into_iter().find(|(action, _)| action == "service_account_tokens.revoked");
    let before = before.and_then(|(_, before)| before).unwrap_or_default();
    assert_eq!(before["missing"][0]["metadata"]["name"], "missing", "{before}");
    let mut recorded: Vec<String> = brief(&before["failed"]).into_iter().map(|token| token[1..].concat()).collect();
    recorded.sort();
    assert_eq!(recorded, ["forbidden", "held", "missing", "ours", "robotheld"], "{before}");
    tenant.answer("GET", SECRETS, 200, list(Vec::new()));
    let left: Vec<String> =
        told(&alice, &workspace, &alice.id).await?.into_iter().map(|[_, account, _]| account).collect();
    assert_eq!(left, ["forbidden", "held", "ours"]);
    Ok(())
}

#[tokio::test]
async fn many_end_a_handful_at_a_time_and_none_is_tried_twice_or_forgotten() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let names: Vec<String> = (0..9).map(|number| format!("robot-{number}")).collect();
    furnish(&tenant, &names.iter().map(String::as_str).collect::<Vec<_>>(), vec![secret("hers", Some(&alice))]);
    for name in names.iter().map(String::as_str).chain(["a-lost-one"]) {
        ask_for(&platform, &alice, &workspace, name).await?;
    }
    tenant.refuse("DELETE", &account("robot-1"), 403, "it is held");

    let first = revoke(&alice, &workspace, json!({ "user": alice.id })).await?.expect(200)?.json()?;
    let accounts = |answer: &Value| -> Vec<String> {
        brief(&answer["ended"]).into_iter().map(|[_, account, _]| account).collect()
    };
    // The Secret of `robot`, one whose ServiceAccount is not there and takes no time, and six that are, of which one stays.
    assert_eq!(accounts(&first), ["robot", "a-lost-one", "robot-0", "robot-2", "robot-3", "robot-4", "robot-5"]);
    let failed = &first["failed"][0]["token"]["service_account"];
    assert_eq!((failed, &first["remaining"]), (&json!("robot-1"), &json!(3)));
    assert_eq!(first["ended"][1]["gone"], true);
    tenant.answer("GET", SECRETS, 200, list(Vec::new()));
    let left: Vec<String> =
        told(&alice, &workspace, &alice.id).await?.into_iter().map(|[_, account, _]| account).collect();
    assert_eq!(left, ["robot-1", "robot-6", "robot-7", "robot-8"], "what ended is forgotten at once");

    let body = json!({ "user": alice.id, "cursor": first["next_cursor"] });
    let second = revoke(&alice, &workspace, body).await?.expect(200)?.json()?;
    assert_eq!(accounts(&second), ["robot-6", "robot-7", "robot-8"]);
    assert_eq!((&second["failed"], &second["remaining"], second.get("next_cursor")), (&json!([]), &json!(0), None));
    let log = logged(&platform, &alice, &[&alice.id]).await?;
    let records = log.iter().filter(|(action, _)| action == "service_account_tokens.revoked");
    assert_eq!(records.count(), 2, "one for each request");
    let body = json!({ "user": alice.id, "cursor": "nonsense" });
    problem(&revoke(&alice, &workspace, body).await?, 422, "invalid");
    Ok(())
}

#[tokio::test]
async fn what_ended_is_told_although_it_cannot_be_written_down() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    furnish(&tenant, &["robot"], Vec::new());
    ask_for(&platform, &alice, &workspace, "robot").await?;
    let database = Database::connect(platform.database()).await?;
    database.execute_unprepared("ALTER TABLE audit_entries RENAME TO elsewhere").await?;
    let revoked = revoke(&alice, &workspace, json!({ "user": alice.id })).await?.expect(200)?.json()?;
    database.execute_unprepared("ALTER TABLE elsewhere RENAME TO audit_entries").await?;
    assert_eq!(brief(&revoked["ended"]), [row("token_request", "robot", "")]);
    assert_eq!(revoked["pods"], json!([{ "namespace": "web", "name": "worker" }]));
    let why = text(&revoked["failed"][0]["message"]);
    assert!(why.contains("could not be written down"), "{why}");
    // Nothing of it was kept, so that it is found again.
    assert_eq!(told(&alice, &workspace, &alice.id).await?, [row("token_request", "robot", "")]);
    Ok(())
}

#[tokio::test]
async fn whoever_hangs_up_leaves_no_service_account_missing() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    furnish(&tenant, &["robot"], Vec::new());
    ask_for(&platform, &alice, &workspace, "robot").await?;
    // Nobody can make it again for a while, and its caller does not wait for that.
    tenant.refuse("PATCH", &account("robot"), 500, "not now");
    let deleted = async {
        while tenant.asked("DELETE").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = revoke(&alice, &workspace, json!({ "user": alice.id })) => bail!("it was answered"),
        () = deleted => {}
    }
    let again = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "robot", "namespace": "web", "uid": "u-2" } });
    tenant.answer("PATCH", &account("robot"), 200, again);
    let record = soon("the record of it", async {
        loop {
            let log = logged(&platform, &alice, &[&alice.id]).await?;
            let found = log.into_iter().find(|(action, _)| action == "service_account_tokens.revoked");
            if let Some((_, before)) = found {
                return anyhow::Ok(before.unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await??;
    assert_eq!((brief(&record["ended"]), record.get("missing")), (vec![row("token_request", "robot", "")], None));
    assert!(told(&alice, &workspace, &alice.id).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn of_more_service_accounts_than_are_noted_nobody_is_given_tokens() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    let (user, id): (UserId, WorkspaceId) = (alice.id.parse()?, workspace.parse()?);
    let store = platform.store().await?;
    let tx = store.begin().await?;
    for number in 0..service_account_tokens::MOST {
        let (name, now) = (format!("robot-{number:04}"), platform.clock.now());
        let token = TokenOf { workspace: &id, user: &user, namespace: "web", service_account: &name };
        service_account_tokens::note_for_issuer(&tx, &token, now).await?;
    }
    tx.commit().await?;
    let refused = ask_for(&platform, &alice, &workspace, "more").await?.expect(403)?;
    let way_out = format!("hxb member revoke-tokens {} -w {workspace}", alice.id);
    assert!(refused.text.contains(&way_out), "{}", refused.text);
    assert!(!tenant.asked("POST").iter().any(|asked| asked.path.ends_with("/token")), "one was made for nobody");
    assert!(ask_for(&platform, &alice, &workspace, "robot-0000").await?.status < 300);

    // Those that are not there are forgotten without more ado.
    furnish(&tenant, &[], Vec::new());
    let revoked = revoke(&alice, &workspace, json!({ "user": alice.id })).await?.expect(200)?.json()?;
    let ended = revoked["ended"].as_array().map(Vec::len);
    assert_eq!((ended, &revoked["remaining"]), (Some(200), &json!(800)));
    assert_eq!(tenant.asked("DELETE").len(), 0);
    assert!(ask_for(&platform, &alice, &workspace, "more").await?.status < 300);
    Ok(())
}

#[tokio::test]
async fn only_what_is_named_ends() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = answering(&platform, &workspace).await?;
    furnish(&tenant, &["other", "robot"], vec![secret("hers", Some(&alice))]);
    for name in ["other", "robot"] {
        ask_for(&platform, &alice, &workspace, name).await?;
    }
    let body = json!({ "user": alice.id, "service_account": "robot" });
    let refused = problem(&revoke(&alice, &workspace, body).await?, 422, "invalid");
    assert_eq!(refused["field"], "namespace");
    for (namespace, account, expected) in [
        ("shop", None, vec![]),
        ("web", Some("none"), vec![]),
        ("web", Some("other"), vec![row("token_request", "other", "")]),
        ("web", None, vec![row("secret", "robot", "hers"), row("token_request", "robot", "")]),
    ] {
        let body = json!({ "user": alice.id, "namespace": namespace, "service_account": account });
        let revoked = revoke(&alice, &workspace, body).await?.expect(200)?.json()?;
        assert_eq!(brief(&revoked["ended"]), expected, "{namespace} {account:?}");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_is_taken_out_of_an_organization_leaves_word_of_tokens_inside_its_workspaces() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let _tenant = answering(&platform, &workspace).await?;
    let (bob, carol) = (platform.person("bob").await?, platform.person("carol").await?);
    for person in [&bob, &carol] {
        alice.add(&workspace, &person.id, &[]).await?.expect(201)?;
    }
    for name in ["robot", "other"] {
        ask_for(&platform, &bob, &workspace, name).await?;
    }
    // Also where he is no member any more.
    let other = alice.workspace("other").await?;
    alice.add(&other, &bob.id, &[]).await?.expect(201)?;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    let members = format!("/api/v1/organizations/{}/members", alice.organization);
    let said = alice.api.delete(&format!("{members}/{}", bob.id)).await?.expect(200)?.json()?;
    let left_behind = json!([{ "workspace": workspace, "name": "shop", "service_accounts": 2 }]);
    assert_eq!(said, json!({ "tokens_ended": 0, "left_behind": left_behind }));
    let said = alice.api.delete(&format!("{members}/{}", carol.id)).await?.expect(200)?.json()?;
    assert_eq!(said, json!({ "tokens_ended": 0 }));
    Ok(())
}

#[tokio::test]
async fn a_service_account_of_the_organization_leaves_word_of_them_as_well() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let accounts = format!("/api/v1/organizations/{}/service-accounts", alice.organization);
    let mut programs = Vec::new();
    for name in ["deployer", "reader"] {
        let made = alice.api.post(&accounts, &json!({ "name": name })).await?.expect(201)?.json()?;
        programs.push(text(&made["id"]));
    }
    let (user, id): (UserId, WorkspaceId) = (programs[0].parse()?, workspace.parse()?);
    let store = platform.store().await?;
    let tx = store.begin().await?;
    let token = TokenOf { workspace: &id, user: &user, namespace: "web", service_account: "robot" };
    service_account_tokens::note_for_issuer(&tx, &token, platform.clock.now()).await?;
    tx.commit().await?;
    let left_behind = json!([{ "workspace": workspace, "name": "shop", "service_accounts": 1 }]);
    for (program, expected) in programs.iter().zip([json!({ "left_behind": left_behind }), json!({})]) {
        let said = alice.api.delete(&format!("{accounts}/{program}")).await?.expect(200)?.json()?;
        assert_eq!(said, expected);
    }
    Ok(())
}
