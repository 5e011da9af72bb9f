//! What bodies may be, whatever they are for: their length, their shape and what they are said to be.

use anyhow::Result;
use hexabase_testkit::http::{Answer, Http};
use reqwest::Method;
use serde_json::json;

use crate::support::{Platform, exchange, items, oauth_error, problem, shop};
use crate::workspaces::workspaces_of;

async fn post_text(api: &Http, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Result<Answer> {
    api.send(api.request(Method::POST, path).header("content-type", content_type).body(body)).await
}

#[tokio::test]
async fn a_body_of_another_shape_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let path = workspaces_of(&alice);
    for body in [
        json!({ "name": "shop", "plan": "free", "owner": "mallory" }),
        json!({ "name": "shop", "plan": "free", "id": "ws-00000000000000000000" }),
        json!({ "name": "shop", "plan": "free", "__proto__": {} }),
        json!({ "name": "shop" }),
        json!({ "plan": "free" }),
        json!({ "name": 1, "plan": "free" }),
        json!({ "name": null, "plan": "free" }),
        json!({ "name": ["shop"], "plan": "free" }),
        json!({}),
        json!(["shop", "free"]),
        json!("shop"),
        json!(null),
    ] {
        problem(&alice.api.post(&path, &body).await?, 422, "invalid");
    }
    let twice = r#"{"name":"shop","name":"other","plan":"free"}"#;
    problem(&post_text(&alice.api, &path, "application/json", twice).await?, 422, "invalid");
    for text in
        ["", " ", "{", "{\"name\":\"shop\",}", "{\"name\":\"shop\",\"plan\":\"free\"} more", "name=shop", "\u{feff}{}"]
    {
        problem(&post_text(&alice.api, &path, "application/json", text).await?, 400, "not_json");
    }
    problem(&post_text(&alice.api, &path, "application/json", vec![0xff, 0xfe, b'{']).await?, 400, "not_json");
    assert_eq!(items(&alice.api.get(&path).await?).len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_nested_too_deeply_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let path = workspaces_of(&alice);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let depth = 100_000;
    for body in [
        nested(depth),
        "{\"a\":".repeat(depth),
        format!("{{\"name\":{},\"plan\":\"free\"}}", nested(depth)),
        format!("{{\"name\":\"shop\",\"plan\":\"free\",\"more\":{}}}", nested(depth)),
    ] {
        let answer = post_text(&alice.api, &path, "application/json", body).await?;
        assert!([400, 422].contains(&answer.status), "{}", answer.status);
        assert!(answer.text.len() < 1000);
    }
    // The server is as it was.
    alice.workspace("shop").await?;
    Ok(())
}

#[tokio::test]
async fn a_body_over_one_mebibyte_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let path = workspaces_of(&alice);
    let body = |length: usize| format!("{{\"name\":\"{}\",\"plan\":\"free\"}}", "a".repeat(length));
    problem(&post_text(&alice.api, &path, "application/json", body(1 << 20)).await?, 413, "too_large");
    // Just below, it is read, and refused for what it says.
    problem(&post_text(&alice.api, &path, "application/json", body((1 << 20) - 100)).await?, 422, "invalid");
    // With a key the body is read earlier.
    let keyed = alice.api.request(Method::POST, &path).header("idempotency-key", "k");
    let keyed = keyed.header("content-type", "application/json").body(body(1 << 20));
    problem(&alice.api.send(keyed).await?, 413, "too_large");
    // Without a length.
    let chunks = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 15]));
    let endless = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    problem(&post_text(&alice.api, &path, "application/json", endless).await?, 413, "too_large");
    Ok(())
}

#[tokio::test]
async fn a_form_over_64_kibibytes_is_refused_by_pages_and_issuers_whoever_sends_it() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let nobody = platform.nobody();
    let form = "application/x-www-form-urlencoded";
    let token = format!("/oidc/{workspace}/token");
    for path in [token.as_str(), "/oidc/platform/authorize/decision", "/device", "/invitation"] {
        for api in [&nobody, &alice.api] {
            let refused = post_text(api, path, form, "a".repeat((64 << 10) + 1)).await?;
            assert_eq!(refused.status, 413, "{path}: {}", refused.text);
        }
        // Without a length.
        let chunks = (0..3).map(|_| Ok::<_, std::io::Error>(vec![b'a'; 1 << 15]));
        let endless = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
        let refused = post_text(&nobody, path, form, endless).await?;
        assert_eq!(refused.status, 413, "{path}: {}", refused.text);
        // Up to there it is read, and refused for what it says.
        let read = post_text(&nobody, path, form, "a".repeat(64 << 10)).await?;
        assert!([400, 401, 422].contains(&read.status), "{path}: {} {}", read.status, read.text);
    }
    // Longer than any token, which is what it is refused for.
    let refused = exchange(&platform, &workspace, &"a".repeat(32 << 10)).await?;
    assert_eq!((refused.status, oauth_error(&refused).as_str()), (400, "invalid_grant"));
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_not_said_to_be_json_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let path = workspaces_of(&alice);
    let body = json!({ "name": "shop", "plan": "free" }).to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "",
        "json",
    ] {
        problem(&post_text(&alice.api, &path, content_type, body.clone()).await?, 415, "not_json");
    }
    let bare = alice.api.request(Method::POST, &path).body(body.clone());
    problem(&alice.api.send(bare).await?, 415, "not_json");
    post_text(&alice.api, &path, "Application/JSON; charset=utf-8", body).await?.expect(201)?;
    Ok(())
}
