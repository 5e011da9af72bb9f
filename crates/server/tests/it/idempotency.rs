use anyhow::Result;
use hexabase_backends::store::Digest;
use hexabase_backends::store::idempotency::{self, Request};
use hexabase_testkit::http::{Answer, Http};
use reqwest::Method;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};

use crate::support::{Platform, items, pass, problem, text};
use crate::tokens::make_token;

const PATH: &str = "/api/v1/organizations";

async fn post(api: &Http, path: &str, key: &str, body: &Value) -> Result<Answer> {
    api.send(api.request(Method::POST, path).header("idempotency-key", key).json(body)).await
}

#[tokio::test]
async fn the_same_request_with_the_same_key_is_carried_out_once() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let body = json!({ "name": "Once" });
    let first = post(&alice.api, PATH, "k-1", &body).await?.expect(201)?;
    let again = post(&alice.api, PATH, "k-1", &body).await?.expect(201)?;
    assert_eq!((&again.text, again.header("content-type")), (&first.text, "application/json"));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!(items(&alice.api.get(PATH).await?).len(), 2);
    // Another key is another request.
    post(&alice.api, PATH, "k-2", &body).await?.expect(201)?;
    assert_eq!(items(&alice.api.get(PATH).await?).len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_requests_with_one_key_at_once_one_is_carried_out() -> Result<()> {
    for one in Platform::start_on_each_engine().await? {
        let two = one.replica().await?;
        let alice = one.person("alice").await?;
        let there = two.nobody().with_token(alice.api.token());
        let body = json!({ "name": "Once" });
        let ask = |number: usize| post(if number.is_multiple_of(2) { &alice.api } else { &there }, PATH, "k", &body);
        let answers = futures::future::try_join_all((0..12).map(ask)).await?;
        let mut made = Vec::new();
        for answer in &answers {
            match answer.status {
                201 => made.push(text(&answer.json()?["id"])),
                _ => drop(problem(answer, 409, "in_flight")),
            }
        }
        assert!(!made.is_empty() && made.iter().all(|id| *id == made[0]), "{made:?}");
        assert_eq!(items(&alice.api.get(PATH).await?).len(), 2);
    }
    Ok(())
}

#[tokio::test]
async fn a_key_belongs_to_one_request() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    post(&alice.api, PATH, "k", &json!({ "name": "Once" })).await?.expect(201)?;
    problem(&post(&alice.api, PATH, "k", &json!({ "name": "Other" })).await?, 422, "key_reused");
    let path = format!("{PATH}/{}/workspaces", alice.organization);
    problem(&post(&alice.api, &path, "k", &json!({ "name": "Once" })).await?, 422, "key_reused");
    assert_eq!(items(&alice.api.get(PATH).await?).len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_key_belongs_to_one_person() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let body = json!({ "name": "Once" });
    let hers = post(&alice.api, PATH, "k", &body).await?.expect(201)?;
    let his = post(&bob.api, PATH, "k", &body).await?.expect(201)?;
    assert_ne!(hers.json()?["id"], his.json()?["id"]);
    assert_eq!(his.header("idempotent-replayed"), "");
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_repeated_too() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let path = format!("{PATH}/{}/workspaces", alice.organization);
    let body = json!({ "name": "shop", "plan": "gold" });
    problem(&post(&alice.api, &path, "k", &body).await?, 422, "invalid");
    let again = post(&alice.api, &path, "k", &body).await?;
    problem(&again, 422, "invalid");
    assert_eq!(again.header("idempotent-replayed"), "true");
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_being_answered_is_not_begun_again() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let body = json!({ "name": "Once" });
    // As if another server had begun it, and died.
    let begun = Request {
        principal: alice.id.clone(),
        key: "k".to_owned(),
        method: "POST".to_owned(),
        path: "/organizations".to_owned(),
        body_hash: Digest::of(&serde_json::to_vec(&body)?),
        request_id: "req-00000000000000000000".to_owned(),
    };
    let now = platform.clock.now();
    idempotency::begin(&platform.store().await?, &begun, now, now.plus_seconds(60)).await?;
    problem(&post(&alice.api, PATH, "k", &body).await?, 409, "in_flight");
    pass(&platform, 61);
    post(&alice.api, PATH, "k", &body).await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn a_request_whose_server_died_between_its_change_and_its_answer_makes_nothing_twice() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let body = json!({ "name": "Once" });
    let first = post(&alice.api, PATH, "k", &body).await?.expect(201)?;
    // As a server leaves it that dies before it has kept the answer.
    let database = Database::connect(platform.database()).await?;
    let request = first.header("x-request-id");
    let until = platform.clock.now().plus_seconds(60).as_micros();
    let sql = format!(
        "UPDATE idempotency_keys SET state = 'in_flight', status = NULL, response = '{request}', expires_at = {until}"
    );
    database.execute_unprepared(&sql).await?;
    problem(&post(&alice.api, PATH, "k", &body).await?, 409, "in_flight");
    pass(&platform, 61);
    let told = problem(&post(&alice.api, PATH, "k", &body).await?, 409, "answer_lost");
    let made = first.json()?["id"].as_str().unwrap_or_default().to_owned();
    assert!(!made.is_empty() && told["detail"].as_str().is_some_and(|detail| detail.contains(&made)), "{told}");
    problem(&post(&alice.api, PATH, "k", &json!({ "name": "Other" })).await?, 422, "key_reused");
    assert_eq!(items(&alice.api.get(PATH).await?).len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_key_is_kept_for_a_day() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let body = json!({ "name": "Once" });
    let first = post(&alice.api, PATH, "k", &body).await?.expect(201)?;
    pass(&platform, 24 * 3600 - 1);
    let api = platform.person("alice").await?.api;
    assert_eq!(post(&api, PATH, "k", &body).await?.expect(201)?.text, first.text);
    pass(&platform, 2);
    assert_ne!(post(&api, PATH, "k", &body).await?.expect(201)?.text, first.text);
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_not_one_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let body = json!({ "name": "Once" });
    for key in ["", " ", "two words", "\u{e9}", &"k".repeat(256)] {
        problem(&post(&alice.api, PATH, key, &body).await?, 400, "invalid");
    }
    post(&alice.api, PATH, &"k".repeat(255), &body).await?.expect(201)?;
    // Only requests that change something by POST have one; elsewhere it means nothing.
    let get = alice.api.request(Method::GET, PATH).header("idempotency-key", "two words");
    alice.api.send(get).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_key_belongs_to_what_its_credential_is_good_for() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let token = async |body: Value| {
        let made = make_token(&alice.api, "/api/v1/me/tokens", body).await?;
        anyhow::Ok(platform.nobody().with_token(made.secret))
    };
    let (writing, again) = (token(json!({})).await?, token(json!({})).await?);
    let reading = token(json!({ "access": "read" })).await?;
    let bound = token(json!({ "workspace": workspace })).await?;
    let body = json!({ "name": "Once" });
    let first = post(&alice.api, PATH, "k", &body).await?.expect(201)?;
    // What a session may do is no answer to a token that may not.
    for api in [&reading, &bound] {
        let refused = post(api, PATH, "k", &body).await?;
        problem(&refused, 403, "forbidden");
        assert_eq!(refused.header("idempotent-replayed"), "");
    }
    let other = post(&writing, PATH, "k", &body).await?.expect(201)?;
    assert_ne!(other.json()?["id"], first.json()?["id"]);
    // Another token that is good for the same is as good: a pipeline's may change between two attempts.
    let replayed = post(&again, PATH, "k", &body).await?.expect(201)?;
    assert_eq!((&replayed.text, replayed.header("idempotent-replayed")), (&other.text, "true"));
    Ok(())
}

#[tokio::test]
async fn a_refusal_for_want_of_a_right_is_not_kept() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &["WSUsers"]).await?.expect(201)?;
    let path = format!("/api/v1/workspaces/{workspace}/projects");
    let body = json!({ "name": "web" });
    problem(&post(&bob.api, &path, "k", &body).await?, 403, "forbidden");
    let refused = post(&bob.api, &path, "k", &body).await?;
    problem(&refused, 403, "forbidden");
    assert_eq!(refused.header("idempotent-replayed"), "");
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    post(&bob.api, &path, "k", &body).await?.expect(201)?;
    Ok(())
}
