//! Service accounts: programs of an organisation.

use anyhow::{Context as _, Result};
use hexabase_testkit::http::{Answer, Http};
use reqwest::Method;
use serde_json::{Value, json};

use crate::gateway::{Tenant, status, version};
use crate::support::{Person, Platform, claims, exchange, items, problem, shop, soon, text};
use crate::tokens::{Made, in_a_day, make_token};

fn place(person: &Person) -> String {
    format!("/api/v1/organizations/{}/service-accounts", person.organization)
}

async fn account(person: &Person, role: &str) -> Result<String> {
    let body = json!({ "name": "pipeline", "role": role });
    Ok(text(&person.api.post(&place(person), &body).await?.expect(201)?.json()?["id"]))
}

async fn token(person: &Person, account: &str, body: Value) -> Result<Made> {
    make_token(&person.api, &format!("{}/{account}/tokens", place(person)), body).await
}

async fn delete(person: &Person, account: &str) -> Result<Answer> {
    person.api.delete(&format!("{}/{account}", place(person))).await
}

/// What the organisation's log says, newest last.
async fn log(person: &Person) -> Result<Vec<Value>> {
    Ok(items(&person.api.get(&format!("/api/v1/organizations/{}/audit?limit=200", person.organization)).await?))
}

/// Makes `person` a member of the organisation of `admin`, by way of a workspace.
async fn join(admin: &Person, person: &Person, workspace: &str) -> Result<()> {
    admin.add(workspace, &person.id, &["WSAdmins"]).await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn a_service_account_acts_by_its_tokens_within_its_organization() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let id = account(&alice, "admin").await?;
        let made = token(&alice, &id, json!({})).await?;
        let api = platform.nobody().with_token(&made.secret);
        let me = api.get("/api/v1/me").await?.expect(200)?.json()?;
        assert_eq!((text(&me["id"]), text(&me["display_name"])), (id.clone(), "pipeline".to_owned()));
        let workspaces = format!("/api/v1/organizations/{}/workspaces", alice.organization);
        let workspace =
            api.post(&workspaces, &json!({ "name": "shop", "plan": "standard" })).await?.expect(201)?.json()?;
        let workspace = text(&workspace["id"]);
        alice.api.get(&format!("/api/v1/workspaces/{workspace}")).await?.expect(200)?;
        let last = log(&alice).await?.pop().context("an entry")?;
        assert_eq!((text(&last["actor"]), text(&last["credential"])), (id.clone(), format!("token {}", made.id)));
        // It makes no organisation of its own, whose only admin would be a program.
        problem(&api.post("/api/v1/organizations", &json!({ "name": "Own" })).await?, 403, "forbidden");
        let listed = items(&alice.api.get(&place(&alice)).await?);
        assert_eq!(
            (listed.len(), text(&listed[0]["id"]), text(&listed[0]["role"])),
            (1, id.clone(), "admin".to_owned())
        );
        let tokens = items(&alice.api.get(&format!("{}/{id}/tokens", place(&alice))).await?);
        assert_eq!((tokens.len(), text(&tokens[0]["id"])), (1, made.id));
        assert!(tokens[0]["last_used_at"].is_string(), "{tokens:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_service_account_is_put_into_groups_like_a_person_but_by_its_id_and_at_home_only() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let id = account(&alice, "member").await?;
    let made = token(&alice, &id, json!({})).await?;
    let api = platform.nobody().with_token(&made.secret);
    let path = format!("/api/v1/workspaces/{workspace}");
    problem(&api.get(&path).await?, 404, "not_found");
    alice.add(&workspace, &id, &["WSUsers"]).await?.expect(201)?;
    api.get(&path).await?.expect(200)?;
    problem(&api.post(&format!("{path}/projects"), &json!({ "name": "web" })).await?, 403, "forbidden");
    // In another organisation there is no such person.
    let bob = platform.person("bob").await?;
    let theirs = bob.workspace("theirs").await?;
    let refused = problem(&bob.add(&theirs, &id, &[]).await?, 422, "invalid");
    let absent = problem(&bob.add(&theirs, "usr-00000000000000000000", &[]).await?, 422, "invalid");
    assert_eq!(refused["detail"], absent["detail"]);
    let _tenant = Tenant::of(&platform, &workspace).await?;
    let of_workspace = text(&exchange(&platform, &workspace, &made.secret).await?.expect(200)?.json()?["access_token"]);
    assert_eq!(claims(&of_workspace)?["groups"], json!(["WSUsers", "WorkspaceMembers"]));
    platform.nobody().with_token(of_workspace).get(&version(&workspace)).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_service_account_is_gone_with_all_it_had() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let _tenant = Tenant::of(&platform, &workspace).await?;
    let id = account(&alice, "member").await?;
    alice.add(&workspace, &id, &[]).await?.expect(201)?;
    let made = token(&alice, &id, json!({})).await?;
    let api = platform.nobody().with_token(&made.secret);
    let of_workspace = text(&exchange(&platform, &workspace, &made.secret).await?.expect(200)?.json()?["access_token"]);
    let kubectl = platform.nobody().with_token(of_workspace);
    let path = format!("/k8s/{workspace}/api/v1/pods?watch=true");
    let mut watch = kubectl.request(Method::GET, &path).send().await?.error_for_status()?;
    soon("the first event", watch.chunk()).await??;
    let mut feed = api.request(Method::GET, "/api/v1/events").send().await?.error_for_status()?;
    delete(&alice, &id).await?.expect(200)?;
    for stream in [&mut watch, &mut feed] {
        soon("the end of a stream", async { while let Ok(Some(_)) = stream.chunk().await {} }).await?;
    }
    problem(&api.get("/api/v1/me").await?, 401, "unauthenticated");
    status(&kubectl.get(&version(&workspace)).await?, 401, "Unauthorized");
    for list in [place(&alice), format!("/api/v1/workspaces/{workspace}/members")] {
        assert!(!alice.api.get(&list).await?.text.contains(&id), "{list}");
    }
    problem(&delete(&alice, &id).await?, 404, "not_found");
    problem(&alice.api.get(&format!("{}/{id}/tokens", place(&alice))).await?, 404, "not_found");
    assert_eq!(problem(&alice.add(&workspace, &id, &[]).await?, 422, "invalid")["field"], "user");
    // The log still knows it.
    let rows = log(&alice).await?;
    let about: Vec<_> = rows.iter().filter(|row| row["subject"] == id).map(|row| text(&row["action"])).collect();
    assert_eq!(about, ["service_account.created", "member.added", "service_account.deleted"]);
    let last = rows.last().context("an entry")?;
    assert_eq!((&last["before"]["name"], &last["before"]["tokens"]), (&json!("pipeline"), &json!([made.id])));
    assert!(!rows.iter().any(|row| row.to_string().contains(&made.secret[8..])));
    Ok(())
}

#[tokio::test]
async fn only_admins_of_the_organization_see_and_change_service_accounts() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let (bob, mallory) = (platform.person("bob").await?, platform.person("mallory").await?);
    join(&alice, &bob, &workspace).await?;
    let id = account(&alice, "member").await?;
    let made = token(&alice, &id, json!({})).await?;
    let own = format!("{}/{id}", place(&alice));
    let body = json!({ "name": "pipeline", "access": "read", "expires_at": in_a_day() });
    let ask = async |api: &Http, expected: (u16, &str)| {
        let answers = [
            api.get(&place(&alice)).await?,
            api.post(&place(&alice), &json!({ "name": "pipeline" })).await?,
            api.get(&own).await?,
            api.get(&format!("{own}/tokens")).await?,
            api.post(&format!("{own}/tokens"), &body).await?,
            api.delete(&format!("{own}/tokens/{}", made.id)).await?,
            api.delete(&own).await?,
        ];
        answers.iter().for_each(|answer| drop(problem(answer, expected.0, expected.1)));
        anyhow::Ok(())
    };
    ask(&bob.api, (403, "forbidden")).await?;
    ask(&mallory.api, (404, "not_found")).await?;
    // Not by way of another organisation that one administers.
    let elsewhere = format!("{}/{id}", place(&mallory));
    for path in [elsewhere.clone(), format!("{elsewhere}/tokens")] {
        problem(&mallory.api.get(&path).await?, 404, "not_found");
    }
    problem(&mallory.api.delete(&elsewhere).await?, 404, "not_found");
    // Nor with a workspace of another one.
    let theirs = mallory.workspace("theirs").await?;
    let foreign = json!({ "name": "x", "access": "read", "expires_at": in_a_day(), "workspace": theirs });
    problem(&alice.api.post(&format!("{own}/tokens"), &foreign).await?, 404, "not_found");
    platform.nobody().with_token(&made.secret).get("/api/v1/me").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_token_makes_no_tokens_and_no_admins_even_for_service_accounts() -> Result<()> {
    let (platform, alice, _) = shop().await?;
    let id = account(&alice, "admin").await?;
    let made = token(&alice, &id, json!({})).await?;
    let hers = make_token(&alice.api, "/api/v1/me/tokens", json!({})).await?;
    for secret in [&made.secret, &hers.secret] {
        let api = platform.nobody().with_token(secret);
        let body = json!({ "name": "x", "access": "read", "expires_at": in_a_day() });
        problem(&api.post(&format!("{}/{id}/tokens", place(&alice)), &body).await?, 403, "forbidden");
        problem(&api.post(&place(&alice), &json!({ "name": "x", "role": "admin" })).await?, 403, "forbidden");
        // A plain one is no danger: it has no access until a person makes it a token.
        let plain = api.post(&place(&alice), &json!({ "name": "x" })).await?.expect(201)?.json()?;
        assert_eq!(plain["role"], "member");
        api.delete(&format!("{}/{}", place(&alice), text(&plain["id"]))).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_service_account_is_no_last_admin_of_a_workspace() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let id = account(&alice, "member").await?;
    alice.add(&workspace, &id, &["WSAdmins"]).await?.expect(201)?;
    // It does not stand in for a person...
    problem(&alice.remove(&workspace, &alice.id).await?, 409, "last_admin");
    // ...and is not held fast like one.
    let bob = platform.person("bob").await?;
    join(&alice, &bob, &workspace).await?;
    alice.remove(&workspace, &alice.id).await?.expect(204)?;
    alice.remove(&workspace, &id).await?.expect(204)?;
    problem(&alice.remove(&workspace, &bob.id).await?, 409, "last_admin");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn service_accounts_that_are_made_at_once_do_not_exceed_fifty() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let body = json!({ "name": "pipeline" });
        for _ in 0..48 {
            alice.api.post(&place(&alice), &body).await?.expect(201)?;
        }
        let path = place(&alice);
        let answers = futures::future::try_join_all((0..8).map(|_| alice.api.post(&path, &body))).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2);
        for refused in answers.iter().filter(|answer| answer.status != 201) {
            let detail = text(&problem(refused, 409, "limit_reached")["detail"]);
            assert!(detail.contains("at most 50") && detail.contains("which nobody can raise"), "{detail}");
        }
        let listed = items(&alice.api.get(&place(&alice)).await?);
        assert_eq!(listed.len(), 50);
        delete(&alice, &text(&listed[0]["id"])).await?.expect(200)?;
        alice.api.post(&place(&alice), &body).await?.expect(201)?;
    }
    Ok(())
}

#[tokio::test]
async fn members_hear_that_there_is_a_service_account_and_nothing_about_it() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    join(&alice, &bob, &workspace).await?;
    let id = account(&alice, "admin").await?;
    let made = token(&alice, &id, json!({ "name": "backdoor", "workspace": workspace })).await?;
    alice.api.delete(&format!("{}/{id}/tokens/{}", place(&alice), made.id)).await?.expect(204)?;
    delete(&alice, &id).await?.expect(200)?;
    let mut feed = bob.api.request(Method::GET, "/api/v1/events").header("last-event-id", "0").send().await?;
    let heard = soon("the last event", async {
        let mut heard = String::new();
        while !(heard.contains("event: service_account.deleted") && heard.ends_with("\n\n")) {
            heard.push_str(std::str::from_utf8(&feed.chunk().await?.context("the feed ended")?)?);
        }
        anyhow::Ok(heard)
    })
    .await??;
    let about = |kind: &str| -> Result<Value> {
        let block = heard.split("\n\n").find(|block| block.contains(&format!("event: {kind}\n")));
        let data = block.and_then(|block| block.lines().find_map(|line| line.strip_prefix("data:")));
        Ok(serde_json::from_str(data.with_context(|| format!("no {kind} in {heard}"))?)?)
    };
    for kind in ["service_account.created", "token.created", "token.revoked", "service_account.deleted"] {
        assert_eq!(about(kind)?["data"], json!({}), "{kind}");
    }
    assert!(!heard.contains("backdoor") && !heard.contains("pipeline"), "{heard}");
    // The log, which is for admins, tells all of it.
    let made = log(&alice).await?.into_iter().find(|row| row["action"] == "token.created").context("no record")?;
    assert_eq!((&made["after"]["name"], &made["after"]["workspace"]), (&json!("backdoor"), &json!(workspace)));
    Ok(())
}

#[tokio::test]
async fn tokens_of_service_accounts_end_with_the_organization() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let id = alice.make_organization("acme").await?;
        let organization = format!("/api/v1/organizations/{id}");
        let mut made = Vec::new();
        for role in ["member", "admin"] {
            let path = format!("{organization}/service-accounts");
            let account = alice.api.post(&path, &json!({ "name": role, "role": role })).await?.expect(201)?.json()?;
            let path = format!("{path}/{}/tokens", text(&account["id"]));
            made.push(platform.nobody().with_token(make_token(&alice.api, &path, json!({})).await?.secret));
        }
        let mut feed = made[0].request(Method::GET, "/api/v1/events").send().await?.error_for_status()?;
        made[1].get(&organization).await?.expect(200)?;
        alice.api.delete(&organization).await?.expect(204)?;
        for api in &made {
            problem(&api.get("/api/v1/me").await?, 401, "unauthenticated");
            problem(&api.get(&format!("{organization}/audit")).await?, 401, "unauthenticated");
        }
        soon("the end of the feed", async { while let Ok(Some(_)) = feed.chunk().await {} }).await?;
    }
    Ok(())
}
