//! API tokens: what they are good for, and when they stop being good.

use anyhow::{Context as _, Result};
use hexabase_app::clock::Clock;
use hexabase_backends::store::{audit, organizations};
use hexabase_testkit::http::{Answer, Http};
use reqwest::Method;
use serde_json::{Value, json};

use crate::gateway::{Tenant, status, version};
use crate::strangers::{Ids, ask, operations};
use crate::support::{
    Person, Platform, changed, claims, exchange, items, oauth_error, pass, problem, refresh, shop, soon, text,
};

const PATH: &str = "/api/v1/me/tokens";
const DAY: i64 = 24 * 3600;

/// A token as its owner was told it.
pub(crate) struct Made {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// Tomorrow, by the system's clock.
pub(crate) fn in_a_day() -> String {
    Clock::System.now().plus_seconds(DAY).to_string()
}

/// Makes a token below `path` that is good for a day.
pub(crate) async fn make_token(api: &Http, path: &str, body: Value) -> Result<Made> {
    let body = changed(&json!({ "name": "deploy", "access": "write", "expires_at": in_a_day() }), body);
    let made = api.post(path, &body).await?.expect(201)?.json()?;
    Ok(Made { id: text(&made["id"]), secret: text(&made["secret"]) })
}

impl Made {
    /// The API, as whoever has this token uses it.
    fn api(&self, platform: &Platform) -> Http {
        platform.nobody().with_token(&self.secret)
    }
}

async fn token(person: &Person, body: Value) -> Result<Made> {
    make_token(&person.api, PATH, body).await
}

async fn revoke(person: &Person, id: &str) -> Result<Answer> {
    person.api.delete(&format!("{PATH}/{id}")).await
}

#[tokio::test]
async fn a_token_acts_as_its_owner_and_is_told_once() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let made = token(&alice, json!({})).await?;
    assert_eq!((made.secret.len(), &made.secret[..4]), (47, "hxb_"));
    let api = made.api(&platform);
    assert_eq!(api.get("/api/v1/me").await?.expect(200)?.json()?["id"], alice.id);
    let path = format!("/api/v1/organizations/{}/workspaces", alice.organization);
    api.post(&path, &json!({ "name": "shop", "plan": "standard" })).await?.expect(201)?;
    let listed = alice.api.get(PATH).await?;
    assert!(!listed.text.contains(&made.secret[8..]), "{}", listed.text);
    let row = items(&listed).pop().context("one token")?;
    assert_eq!((text(&row["id"]), text(&row["prefix"])), (made.id, made.secret[..8].to_owned()));
    let now = platform.clock.now().to_string();
    assert_eq!((text(&row["last_used_at"]), text(&row["last_used_from"])), (now.clone(), "127.0.0.1".to_owned()));
    // A use is noted, within five minutes.
    pass(&platform, 290);
    api.get("/api/v1/me").await?.expect(200)?;
    assert_eq!(items(&alice.api.get(PATH).await?)[0]["last_used_at"], now);
    let later = pass(&platform, 20).to_string();
    api.get("/api/v1/me").await?.expect(200)?;
    assert_eq!(items(&alice.api.get(PATH).await?)[0]["last_used_at"], later);
    Ok(())
}

#[tokio::test]
async fn only_the_digest_of_a_token_is_stored_even_for_a_request_that_may_be_repeated() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let body = json!({ "name": "deploy", "access": "write", "expires_at": in_a_day() });
    let send = || alice.api.send(alice.api.request(Method::POST, PATH).header("idempotency-key", "once").json(&body));
    let first = send().await?.expect(201)?.json()?;
    let secret = text(&first["secret"]);
    assert!(!secret.is_empty());
    let again = send().await?.expect(201)?;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json()?, changed(&first, json!({ "secret": null })));
    assert_eq!(items(&alice.api.get(PATH).await?).len(), 1);
    platform.nobody().with_token(&secret).get("/api/v1/me").await?.expect(200)?;
    let mut looked_at = 0;
    for file in std::fs::read_dir(platform.data())? {
        let path = file?.path();
        if path.is_file() {
            let bytes = std::fs::read(&path)?;
            let found = bytes.windows(secret.len() - 8).any(|window| window == &secret.as_bytes()[8..]);
            assert!(!found, "{} holds it", path.display());
            looked_at += 1;
        }
    }
    assert!(looked_at >= 2, "the database was not looked at");
    Ok(())
}

#[tokio::test]
async fn a_reading_token_changes_nothing_at_any_route() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let own = Ids::of(&platform, &alice).await?;
    let reading = token(&alice, json!({ "access": "read" })).await?.api(&platform);
    let state = async || {
        let mut seen = Vec::new();
        let unchanging = |path: &String| !path.contains("/me/") && path != "/events" && !path.contains("/audit");
        for (method, path, _) in operations()?.into_iter().filter(|(_, path, _)| unchanging(path)) {
            if method == Method::GET {
                let answer = ask(&alice.api, &method, &own.fill(&path), None).await?;
                seen.push((path, answer.status, changed(&answer.json()?, json!({ "request_id": null }))));
            }
        }
        anyhow::Ok(seen)
    };
    let before = state().await?;
    let mut refused = 0;
    for (method, path, body) in operations()?.into_iter().filter(|(method, ..)| *method != Method::GET) {
        let answer = ask(&reading, &method, &own.fill(&path), body.as_ref()).await?;
        assert_eq!(problem(&answer, 403, "forbidden")["status"], 403, "{method} {path}");
        refused += 1;
    }
    assert!(refused >= 9, "{refused}");
    assert_eq!(state().await?, before);
    // It does read.
    for path in
        ["/api/v1/me".to_owned(), "/api/v1/workspaces".to_owned(), format!("/api/v1/workspaces/{}", own.workspace)]
    {
        reading.get(&path).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_for_one_workspace_sees_no_other_one_and_no_organization() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let (own, absent) = (Ids::of(&platform, &alice).await?, Ids::absent());
    let other = Ids { workspace: alice.workspace("other").await?, ..own.clone() };
    let bound = token(&alice, json!({ "workspace": own.workspace })).await?.api(&platform);
    let mut asked = 0;
    for (method, path, body) in operations()?.into_iter().filter(|(_, path, _)| path.contains('{')) {
        if path.contains("{workspace}") {
            let answer = ask(&bound, &method, &other.fill(&path), body.as_ref()).await?;
            let nowhere = ask(&bound, &method, &absent.fill(&path), body.as_ref()).await?;
            let told = |answer: &Answer| anyhow::Ok(changed(&answer.json()?, json!({ "request_id": null })));
            assert_eq!((answer.status, told(&answer)?), (404, told(&nowhere)?), "{method} {path}");
        } else {
            let answer = ask(&bound, &method, &own.fill(&path), body.as_ref()).await?;
            assert_eq!(problem(&answer, 403, "forbidden")["status"], 403, "{method} {path}");
        }
        asked += 1;
    }
    assert!(asked >= 15, "{asked}");
    let changing = |method: &Method, path: &str| *method != Method::GET && !path.contains('{');
    for (method, path, body) in operations()?.into_iter().filter(|(method, path, _)| changing(method, path)) {
        let answer = ask(&bound, &method, &path, body.as_ref()).await?;
        assert_eq!(problem(&answer, 403, "forbidden")["status"], 403, "{method} {path}");
    }
    assert!(items(&bound.get("/api/v1/organizations").await?).is_empty());
    assert_eq!(bound.get("/api/v1/me").await?.expect(200)?.json()?["organizations"], json!([]));
    let seen = items(&bound.get("/api/v1/workspaces").await?);
    assert_eq!((seen.len(), &seen[0]["id"]), (1, &json!(own.workspace)));
    assert!(items(&bound.get("/api/v1/workspaces?name=other").await?).is_empty());
    // In its own workspace it may do what its owner may.
    let projects = format!("/api/v1/workspaces/{}/projects", own.workspace);
    bound.post(&projects, &json!({ "name": "api" })).await?.expect(201)?;
    bound.delete(&format!("{projects}/{}", own.project)).await?.expect(202)?;
    Ok(())
}

#[tokio::test]
async fn a_token_for_one_workspace_hears_of_that_one_only() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let (own, other) = (alice.workspace("own").await?, alice.workspace("other").await?);
    let bound = token(&alice, json!({ "workspace": own, "access": "read" })).await?.api(&platform);
    let mut feed = bound.request(Method::GET, "/api/v1/events").header("last-event-id", "0").send().await?;
    for workspace in [&other, &own] {
        let path = format!("/api/v1/workspaces/{workspace}/projects");
        alice.api.post(&path, &json!({ "name": "web" })).await?.expect(201)?;
    }
    let heard = soon("both events", async {
        let mut heard = String::new();
        while heard.matches("event: ").count() < 2 {
            heard.push_str(std::str::from_utf8(&feed.chunk().await?.context("the feed ended")?)?);
        }
        anyhow::Ok(heard)
    })
    .await??;
    assert!(heard.contains(&own) && !heard.contains(&other), "{heard}");
    Ok(())
}

#[tokio::test]
async fn no_token_makes_tokens_or_ends_sessions() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let made = token(&alice, json!({})).await?;
    let api = made.api(&platform);
    for (method, path, body) in operations()?
        .into_iter()
        .filter(|(_, path, _)| path.starts_with("/me/sessions") || path.starts_with("/me/tokens"))
    {
        let path = path.replace("{session}", &text(&claims(alice.api.token())?["sid"])).replace("{token}", &made.id);
        let refused = problem(&ask(&api, &method, &path, body.as_ref()).await?, 403, "forbidden");
        assert!(text(&refused["detail"]).contains("sign in"), "{method} {path}: {refused}");
    }
    alice.api.get("/api/v1/me").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_the_next_request_on_every_server() -> Result<()> {
    for one in Platform::start_on_each_engine().await? {
        let two = one.replica().await?;
        let alice = one.person("alice").await?;
        let (made, kept) = (token(&alice, json!({})).await?, token(&alice, json!({ "name": "kept" })).await?);
        let mut feed = made.api(&one).request(Method::GET, "/api/v1/events").send().await?.error_for_status()?;
        let mut there = made.api(&two).request(Method::GET, "/api/v1/events").send().await?.error_for_status()?;
        revoke(&alice, &made.id).await?.expect(204)?;
        for platform in [&one, &two] {
            let refused = problem(&made.api(platform).get("/api/v1/me").await?, 401, "unauthenticated");
            assert!(text(&refused["detail"]).contains("has been revoked"), "{refused}");
            kept.api(platform).get("/api/v1/me").await?.expect(200)?;
        }
        for feed in [&mut feed, &mut there] {
            soon("the end of the feed", async { while let Ok(Some(_)) = feed.chunk().await {} }).await?;
        }
        problem(&revoke(&alice, &made.id).await?, 404, "not_found");
        assert_eq!(items(&alice.api.get(PATH).await?).len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_token_ends_to_the_second_and_with_it_what_it_opened() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let end = platform.clock.now().plus_seconds(300);
    let made = token(&alice, json!({ "expires_at": end.to_string() })).await?;
    let mut feed = made.api(&platform).request(Method::GET, "/api/v1/events").send().await?.error_for_status()?;
    pass(&platform, 299);
    made.api(&platform).get("/api/v1/me").await?.expect(200)?;
    pass(&platform, 1);
    let refused = problem(&made.api(&platform).get("/api/v1/me").await?, 401, "unauthenticated");
    assert!(text(&refused["detail"]).contains("has expired"), "{refused}");
    soon("the end of the feed", async { while let Ok(Some(_)) = feed.chunk().await {} }).await?;
    assert!(items(&alice.api.get(PATH).await?).is_empty());
    problem(&revoke(&alice, &made.id).await?, 404, "not_found");
    Ok(())
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_nobodys() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let good = token(&alice, json!({})).await?.secret;
    let (mut other, upper) = (good.clone(), good.to_uppercase());
    other.replace_range(46.., if good.ends_with('A') { "Q" } else { "A" });
    let short = &good[..46];
    let long = format!("{good}A");
    for secret in [
        "hxb_",
        "hxb_x",
        short,
        &long,
        &other,
        &upper,
        "hxb_' or 1=1 --",
        "hxb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        problem(&platform.nobody().with_token(secret).get("/api/v1/me").await?, 401, "unauthenticated");
    }
    // It is good for the API and nowhere else.
    let api = platform.nobody().with_token(&good);
    api.get("/oidc/platform/userinfo").await?.expect(401)?;
    let workspace = alice.workspace("shop").await?;
    status(&api.get(&version(&workspace)).await?, 401, "Unauthorized");
    let browser = platform.browser();
    browser.set_cookie(crate::support::HOST, crate::support::SESSION_COOKIE, &good);
    problem(&browser.get(&platform.at("/api/v1/me")).await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn a_token_needs_a_name_an_access_and_an_end_within_a_year() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let at = |seconds: i64| platform.clock.now().plus_seconds(seconds).to_string();
    let good = json!({ "name": "deploy", "access": "write", "expires_at": at(366 * DAY) });
    alice.api.post(PATH, &good).await?.expect(201)?;
    for changes in [
        json!({ "expires_at": at(0) }),
        json!({ "expires_at": at(-1) }),
        json!({ "expires_at": at(366 * DAY + 1) }),
        json!({ "expires_at": null }),
        json!({ "expires_at": "tomorrow" }),
        json!({ "access": "admin" }),
        json!({ "access": null }),
        json!({ "name": "" }),
        json!({ "name": null }),
        json!({ "user": alice.id }),
    ] {
        problem(&alice.api.post(PATH, &changed(&good, changes)).await?, 422, "invalid");
    }
    let theirs = platform.person("bob").await?.workspace("theirs").await?;
    for workspace in [theirs.as_str(), "ws-00000000000000000000", "nonsense"] {
        let body = changed(&good, json!({ "workspace": workspace }));
        problem(&alice.api.post(PATH, &body).await?, 404, "not_found");
    }
    assert_eq!(items(&alice.api.get(PATH).await?).len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tokens_that_are_made_at_once_do_not_exceed_fifty() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let body = json!({ "name": "deploy", "access": "read", "expires_at": in_a_day() });
        for _ in 0..47 {
            alice.api.post(PATH, &body).await?.expect(201)?;
        }
        let answers = futures::future::try_join_all((0..10).map(|_| alice.api.post(PATH, &body))).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 3);
        for refused in answers.iter().filter(|answer| answer.status != 201) {
            let detail = text(&problem(refused, 409, "limit_reached")["detail"]);
            assert!(detail.contains("at most 50") && detail.contains("which nobody can raise"), "{detail}");
        }
        let rows = items(&alice.api.get(PATH).await?);
        assert_eq!(rows.len(), 50);
        // One that is revoked makes room.
        revoke(&alice, &text(&rows[0]["id"])).await?.expect(204)?;
        alice.api.post(PATH, &body).await?.expect(201)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_is_good_for_no_more_than_its_owner_may_do_at_the_moment() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    let api = token(&bob, json!({ "workspace": workspace })).await?.api(&platform);
    let projects = format!("/api/v1/workspaces/{workspace}/projects");
    api.post(&projects, &json!({ "name": "web" })).await?.expect(201)?;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    problem(&api.post(&projects, &json!({ "name": "api" })).await?, 404, "not_found");
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    api.get(&projects).await?.expect(200)?;
    problem(&api.post(&projects, &json!({ "name": "api" })).await?, 403, "forbidden");
    Ok(())
}

#[tokio::test]
async fn a_writing_token_is_exchanged_for_kubectl_and_what_it_gave_ends_with_it() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let _tenant = Tenant::of(&platform, &workspace).await?;
    let made = token(&alice, json!({})).await?;
    let answer = exchange(&platform, &workspace, &made.secret).await?.expect(200)?.json()?;
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:jwt");
    let of_workspace = text(&answer["access_token"]);
    let said = claims(&of_workspace)?;
    assert_eq!((text(&said["sid"]), text(&said["sub"])), (made.id.clone(), alice.id.clone()));
    assert_eq!(said["groups"], json!(["WSAdmins", "WorkspaceMembers"]));
    let api = platform.nobody().with_token(&of_workspace);
    api.get(&version(&workspace)).await?.expect(200)?;
    let path = format!("/k8s/{workspace}/api/v1/pods?watch=true");
    let mut watch = api.request(Method::GET, &path).send().await?.error_for_status()?;
    soon("the first event", watch.chunk()).await??;
    revoke(&alice, &made.id).await?.expect(204)?;
    soon("the end of the watch", async { while let Ok(Some(_)) = watch.chunk().await {} }).await?;
    let message = status(&api.get(&version(&workspace)).await?, 401, "Unauthorized");
    assert!(message.contains("revoked"), "{message}");
    assert_eq!(oauth_error(&exchange(&platform, &workspace, &made.secret).await?), "invalid_grant");
    // Alice herself goes on.
    alice.exchange(&platform, &workspace).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_token_for_kubectl_ends_with_the_one_it_was_given_for() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let _tenant = Tenant::of(&platform, &workspace).await?;
    let end = platform.clock.now().plus_seconds(300);
    let made = token(&alice, json!({ "expires_at": end.to_string() })).await?;
    let given = exchange(&platform, &workspace, &made.secret).await?.expect(200)?.json()?;
    let of_workspace = text(&given["access_token"]);
    // It says so itself: the workspace's own API server asks nobody whether the other one still lives.
    assert_eq!((&given["expires_in"], &claims(&of_workspace)?["exp"]), (&json!(300), &json!(end.as_seconds())));
    let longer = token(&alice, json!({ "expires_at": platform.clock.now().plus_seconds(601).to_string() })).await?;
    let given = exchange(&platform, &workspace, &longer.secret).await?.expect(200)?.json()?;
    let ten_minutes = platform.clock.now().as_seconds() + 600;
    let exp = &claims(&text(&given["access_token"]))?["exp"];
    assert_eq!((&given["expires_in"], exp), (&json!(600), &json!(ten_minutes)));
    let api = platform.nobody().with_token(&of_workspace);
    pass(&platform, 299);
    api.get(&version(&workspace)).await?.expect(200)?;
    pass(&platform, 1);
    status(&api.get(&version(&workspace)).await?, 401, "Unauthorized");
    assert_eq!(oauth_error(&exchange(&platform, &workspace, &made.secret).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn only_a_token_that_may_write_there_is_exchanged() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let other = alice.workspace("other").await?;
    let reading = token(&alice, json!({ "access": "read" })).await?;
    let elsewhere = token(&alice, json!({ "workspace": other })).await?;
    let here = token(&alice, json!({ "workspace": workspace })).await?;
    let refused = exchange(&platform, &workspace, &reading.secret).await?;
    assert_eq!(oauth_error(&refused), "access_denied");
    assert!(refused.text.contains("may only read"), "{}", refused.text);
    assert_eq!(oauth_error(&exchange(&platform, &workspace, &elsewhere.secret).await?), "invalid_target");
    exchange(&platform, &workspace, &here.secret).await?.expect(200)?;
    assert_eq!(oauth_error(&exchange(&platform, "platform", &here.secret).await?), "invalid_request");
    // Whose owner is no member gets none.
    let mallory = platform.person("mallory").await?;
    let hers = token(&mallory, json!({})).await?;
    assert_eq!(oauth_error(&exchange(&platform, &workspace, &hers.secret).await?), "access_denied");
    Ok(())
}

#[tokio::test]
async fn making_and_revoking_is_in_the_log_of_the_person_without_the_secret() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let made = token(&alice, json!({ "access": "read" })).await?;
        revoke(&alice, &made.id).await?.expect(204)?;
        revoke(&alice, &made.id).await?.expect(404)?;
        let rows = audit::list_of_user(&platform.store().await?, &alice.id.parse()?, 0, 100).await?;
        assert!(!format!("{rows:?}").contains(&made.secret[8..]));
        let of_token = rows.iter().filter(|row| row.entry.subject == made.id).map(|row| &row.entry);
        let entries: Vec<_> = of_token.collect();
        assert_eq!(
            entries.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(),
            ["token.created", "token.revoked"]
        );
        let told = entries[0].after.clone().context("it says what was made")?;
        assert_eq!((&told["name"], &told["access"]), (&json!("deploy"), &json!("read")));
        assert_eq!(entries[1].before.as_ref(), Some(&told));
        assert_eq!(entries[0].source.as_deref(), Some("127.0.0.1"));
    }
    Ok(())
}

#[tokio::test]
async fn what_a_token_does_is_in_the_log_as_its_owners_doing_by_that_token() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let made = token(&alice, json!({})).await?;
    let path = format!("/api/v1/organizations/{}/workspaces", alice.organization);
    made.api(&platform).post(&path, &json!({ "name": "shop", "plan": "standard" })).await?.expect(201)?;
    let store = platform.store().await?;
    let (user, organization) = (alice.id.parse()?, alice.organization.parse()?);
    let scope = organizations::scope_for(&store, &user, &organization).await?.context("her organization")?;
    let rows = audit::list(&store, &scope, &audit::AuditFilter::default(), 0, 100).await?;
    let last = &rows.last().context("an entry")?.entry;
    assert_eq!((last.action.as_str(), &last.actor), ("workspace.created", &alice.id));
    assert_eq!(last.credential, format!("token {}", made.id));
    Ok(())
}

#[tokio::test]
async fn a_token_for_kubectl_ends_with_the_session_it_was_given_for() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let end = platform.clock.now().plus_seconds(180 * DAY);
    let mut refresh_token = alice.refresh_token()?;
    let mut access_token = String::new();
    let mut renew = async || {
        let renewed = refresh(&platform, &refresh_token).await?.expect(200)?.json()?;
        refresh_token = text(&renewed["refresh_token"]);
        anyhow::Ok(text(&renewed["access_token"]))
    };
    for _ in 0..25 {
        pass(&platform, 7 * DAY);
        access_token = renew().await?;
    }
    let full = exchange(&platform, &workspace, &access_token).await?.expect(200)?.json()?;
    assert_eq!(full["expires_in"], 600);
    pass(&platform, 5 * DAY - 100);
    let given = exchange(&platform, &workspace, &renew().await?).await?.expect(200)?.json()?;
    let exp = &claims(&text(&given["access_token"]))?["exp"];
    assert_eq!((&given["expires_in"], exp), (&json!(100), &json!(end.as_seconds())));
    Ok(())
}
