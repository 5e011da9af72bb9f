//! Where people are signed in.

use anyhow::Result;
use hexabase_backends::store::audit;
use hexabase_testkit::http::{Answer, Http};
use reqwest::Method;
use serde_json::{Value, json};

use crate::gateway::{Tenant, status, version};
use crate::support::{Person, Platform, claims, items, oauth_error, pass, problem, refresh, shop, soon, text};
use crate::tokens::make_token;

const PATH: &str = "/api/v1/me/sessions";
const DAY: i64 = 24 * 3600;

/// The session behind the token that `hxb` uses.
fn of_program(person: &Person) -> Result<String> {
    Ok(text(&claims(person.api.token())?["sid"]))
}

async fn listed(person: &Person) -> Result<Vec<Value>> {
    Ok(by_kind(&person.api.get(PATH).await?))
}

/// Browsers first: where the clock stands, ids are in no order.
fn by_kind(answer: &Answer) -> Vec<Value> {
    let mut rows = items(answer);
    rows.sort_by_key(|row| text(&row["kind"]));
    rows
}

async fn end(person: &Person, session: &str) -> Result<Answer> {
    person.api.delete(&format!("{PATH}/{session}")).await
}

async fn end_others(person: &Person) -> Result<Answer> {
    person.api.send(person.api.request(Method::POST, &format!("{PATH}/end-others"))).await
}

#[tokio::test]
async fn a_person_sees_where_they_are_signed_in_and_since_when() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    platform.person("bob").await?;
    let begun = platform.clock.now().to_string();
    let rows = listed(&alice).await?;
    assert_eq!(rows.len(), 2, "{rows:?}");
    let kinds: Vec<_> = rows.iter().map(|row| (text(&row["kind"]), row["current"] == true)).collect();
    assert_eq!(kinds, [("browser".to_owned(), false), ("device".to_owned(), true)]);
    for row in &rows {
        assert_eq!((&row["created_at"], &row["last_seen_at"]), (&json!(begun), &json!(begun)));
        assert_eq!((&row["created_from"], &row["last_seen_from"]), (&json!("127.0.0.1"), &json!("127.0.0.1")));
        assert!(row.get("token_hash").is_none(), "{row}");
    }
    assert_eq!(rows[1]["id"], of_program(&alice)?);
    assert_eq!(rows[1]["expires_at"], json!(platform.clock.now().plus_seconds(30 * DAY).to_string()));
    // Its own browser sees the same, with the mark on the other one.
    let seen = by_kind(&alice.browser.get(&platform.at(PATH)).await?);
    assert_eq!((&seen[0]["current"], &seen[1]["current"]), (&json!(true), &json!(false)));
    // A use is noted, within five minutes.
    let later = pass(&platform, 301).to_string();
    assert_eq!(listed(&alice).await?[1]["last_seen_at"], later);
    Ok(())
}

#[tokio::test]
async fn an_ended_session_is_refused_at_the_next_request_on_every_server() -> Result<()> {
    for one in Platform::start_on_each_engine().await? {
        let two = one.replica().await?;
        let alice = one.person("alice").await?;
        let browser = text(&listed(&alice).await?[0]["id"]);
        let there = two.nobody().with_token(alice.api.token());
        there.get("/api/v1/me").await?.expect(200)?;
        alice.browser.get(&two.at("/api/v1/me")).await?.expect(200)?;
        end(&alice, &browser).await?.expect(204)?;
        for platform in [&one, &two] {
            problem(&alice.browser.get(&platform.at("/api/v1/me")).await?, 401, "unauthenticated");
        }
        // The one that asks may end itself.
        end(&alice, &of_program(&alice)?).await?.expect(204)?;
        for platform in [&one, &two] {
            let api = platform.nobody().with_token(alice.api.token());
            problem(&api.get("/api/v1/me").await?, 401, "unauthenticated");
            assert_eq!(oauth_error(&refresh(platform, &alice.refresh_token()?).await?), "invalid_grant");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_ended_session_leaves_no_stream_open_and_no_token_for_kubectl() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let _tenant = Tenant::of(&platform, &workspace).await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &workspace).await?);
    let path = format!("/k8s/{workspace}/api/v1/pods?watch=true");
    let mut watch = api.request(Method::GET, &path).send().await?.error_for_status()?;
    soon("the first event", watch.chunk()).await??;
    let csrf = |request: reqwest::RequestBuilder| {
        request.header("origin", platform.url.as_str()).header("x-hexabase-request", "1")
    };
    let others = platform.at(&format!("{PATH}/end-others"));
    let ended = alice.browser.request(Method::POST, &others, csrf).await?.expect(200)?.json()?;
    assert_eq!(ended, json!({ "ended": 1 }));
    soon("the end of the watch", async { while let Ok(Some(_)) = watch.chunk().await {} }).await?;
    status(&api.get(&version(&workspace)).await?, 401, "Unauthorized");
    assert_eq!(oauth_error(&alice.exchange(&platform, &workspace).await?), "invalid_grant");
    alice.browser.get(&platform.at("/api/v1/me")).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn ending_the_others_leaves_the_one_that_asks() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
        let (laptop, phone) = (platform.person("alice").await?, platform.person("alice").await?);
        assert_eq!(end_others(&laptop).await?.expect(200)?.json()?, json!({ "ended": 5 }));
        let left = listed(&laptop).await?;
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!((&left[0]["id"], &left[0]["current"]), (&json!(of_program(&laptop)?), &json!(true)));
        for ended in [&alice, &phone] {
            problem(&ended.api.get("/api/v1/me").await?, 401, "unauthenticated");
            problem(&ended.browser.get(&platform.at("/api/v1/me")).await?, 401, "unauthenticated");
        }
        bob.api.get("/api/v1/me").await?.expect(200)?;
        // Nothing is left to be ended.
        assert_eq!(end_others(&laptop).await?.expect(200)?.json()?, json!({ "ended": 0 }));
    }
    Ok(())
}

#[tokio::test]
async fn nobody_ends_a_session_of_somebody_else_or_one_that_is_over() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let browser = text(&listed(&bob).await?[0]["id"]);
    for session in [&browser, &of_program(&bob)?, "ses-00000000000000000000", "nonsense"] {
        problem(&end(&alice, session).await?, 404, "not_found");
    }
    bob.api.get("/api/v1/me").await?.expect(200)?;
    end(&bob, &browser).await?.expect(204)?;
    problem(&end(&bob, &browser).await?, 404, "not_found");
    Ok(())
}

#[tokio::test]
async fn every_session_that_is_ended_is_in_the_log_of_its_person() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, again) = (platform.person("alice").await?, platform.person("alice").await?);
        end_others(&again).await?.expect(200)?;
        let rows = audit::list_of_user(&platform.store().await?, &alice.id.parse()?, 0, 100).await?;
        let ended: Vec<_> = rows.iter().filter(|row| row.entry.action == "session.ended").collect();
        assert_eq!(ended.len(), 3, "{ended:?}");
        let by = format!("session {}", of_program(&again)?);
        assert!(ended.iter().all(|row| row.entry.credential == by && row.entry.actor == alice.id), "{ended:?}");
        let subjects = rows.iter().map(|row| row.entry.subject.as_str());
        assert_eq!(subjects.filter(|subject| *subject == of_program(&alice).unwrap_or_default()).count(), 2);
    }
    Ok(())
}

#[tokio::test]
async fn a_browser_that_is_used_every_day_signs_in_again_after_a_month() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let me = platform.at("/api/v1/me");
    for _ in 0..29 {
        pass(&platform, DAY);
        alice.browser.get(&me).await?.expect(200)?;
    }
    pass(&platform, DAY - 1);
    alice.browser.get(&me).await?.expect(200)?;
    pass(&platform, 1);
    problem(&alice.browser.get(&me).await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn a_device_that_is_used_every_week_signs_in_again_after_half_a_year() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let mut token = platform.person("alice").await?.refresh_token()?;
    for _ in 0..25 {
        pass(&platform, 7 * DAY);
        token = text(&refresh(&platform, &token).await?.expect(200)?.json()?["refresh_token"]);
    }
    pass(&platform, 5 * DAY - 1);
    let last = refresh(&platform, &token).await?.expect(200)?.json()?;
    pass(&platform, 1);
    assert_eq!(oauth_error(&refresh(&platform, &text(&last["refresh_token"])).await?), "invalid_grant");
    // Not even what was given a moment before is good any more.
    let api = platform.nobody().with_token(text(&last["access_token"]));
    problem(&api.get("/api/v1/me").await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn a_device_that_is_not_used_for_a_month_is_signed_out() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    pass(&platform, 30 * DAY - 1);
    let token = text(&refresh(&platform, &alice.refresh_token()?).await?.expect(200)?.json()?["refresh_token"]);
    pass(&platform, 30 * DAY);
    assert_eq!(oauth_error(&refresh(&platform, &token).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn behind_a_proxy_the_address_of_a_use_is_the_one_that_the_proxy_tells() -> Result<()> {
    let platform = Platform::start_behind_a_proxy().await?;
    let alice = platform.person("alice").await?;
    let made = make_token(&alice.api, "/api/v1/me/tokens", json!({})).await?;
    let token = platform.nobody().with_token(&made.secret);
    let through = async |api: &Http, path: &str, forwarded: &str| {
        let request = api.request(Method::GET, path).header("x-forwarded-for", forwarded);
        api.send(request).await?.expect(200)
    };
    // Each looks at the other one, because looking is a use.
    let device =
        async || anyhow::Ok(by_kind(&alice.browser.get(&platform.at(PATH)).await?)[1]["last_seen_from"].clone());
    let browser = async || anyhow::Ok(listed(&alice).await?[0]["last_seen_from"].clone());
    // Noted at once, within the five minutes, because it is another address; the last word of a list is what counts.
    through(&alice.api, "/api/v1/me", "198.51.100.1, 203.0.113.9").await?;
    assert_eq!(device().await?, "203.0.113.9");
    through(&alice.api, "/oidc/platform/userinfo", "203.0.113.10").await?;
    assert_eq!(device().await?, "203.0.113.10");
    for address in ["203.0.113.11", "203.0.113.12"] {
        through(&token, "/api/v1/me", address).await?;
        assert_eq!(items(&alice.api.get("/api/v1/me/tokens").await?)[0]["last_used_from"], address);
    }
    // A page of ours is a use too.
    let forwarded = |request: reqwest::RequestBuilder| request.header("x-forwarded-for", "203.0.113.13");
    alice.browser.request(Method::GET, &platform.at("/"), forwarded).await?.expect(200)?;
    assert_eq!(browser().await?, "203.0.113.13");
    // What is written into the log is the same.
    let request = alice.api.request(Method::POST, "/api/v1/organizations").header("x-forwarded-for", "203.0.113.14");
    let made = alice.api.send(request.json(&json!({ "name": "Acme" }))).await?.expect(201)?.json()?;
    let log = format!("/api/v1/organizations/{}/audit", text(&made["id"]));
    assert_eq!(items(&alice.api.get(&log).await?)[0]["source"], "203.0.113.14");
    Ok(())
}

#[tokio::test]
async fn without_a_proxy_nobody_chooses_the_address_they_come_from() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let request = alice.api.request(Method::GET, "/api/v1/me").header("x-forwarded-for", "203.0.113.9");
    alice.api.send(request).await?.expect(200)?;
    assert!(listed(&alice).await?.iter().all(|row| row["last_seen_from"] == "127.0.0.1"));
    Ok(())
}
