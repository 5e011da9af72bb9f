//! The device flow.

use anyhow::{Context as _, Result};
use hexabase_testkit::http::Answer;
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::{me, web_post};
use crate::support::{Platform, items, oauth_error, pass, refresh, text, web_client};

async fn begin(platform: &Platform) -> Result<Value> {
    let form = [("client_id", "hxb"), ("scope", "openid offline_access")];
    platform.nobody().post_form("/oidc/platform/device_authorization", &form).await?.expect(200)?.json()
}

async fn poll(platform: &Platform, begun: &Value) -> Result<Answer> {
    let code = text(&begun["device_code"]);
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let form = [("grant_type", grant), ("client_id", "hxb"), ("device_code", &code)];
    platform.nobody().post_form("/oidc/platform/token", &form).await
}

#[tokio::test]
async fn a_device_is_signed_in_once_its_code_is_confirmed_elsewhere() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let begun = begin(&platform).await?;
    assert_eq!(begun["verification_uri"], format!("{}/device", platform.url));
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "authorization_pending");
    let page = platform
        .browser()
        .decide_device(&text(&begun["verification_uri_complete"]), "alice@example.test", true)
        .await?;
    page.answer.expect(200)?;
    pass(&platform, 2);
    let tokens = poll(&platform, &begun).await?.expect(200)?.json()?;
    assert_eq!(
        me(&platform, &text(&tokens["access_token"])).await?.expect(200)?.json()?["email"],
        "alice@example.test"
    );
    refresh(&platform, &text(&tokens["refresh_token"])).await?.expect(200)?;
    // Once.
    pass(&platform, 10);
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn a_device_is_listed_by_what_it_called_itself_when_it_began() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let api = platform.nobody();
    let begin = api.request(Method::POST, "/oidc/platform/device_authorization").form(&[("client_id", "hxb")]);
    let begun = api.send(begin.header("user-agent", "hxb/9.9.9 (linux; x86_64)")).await?.expect(200)?.json()?;
    let address = text(&begun["verification_uri_complete"]);
    platform.browser().decide_device(&address, "alice@example.test", true).await?.answer.expect(200)?;
    pass(&platform, 2);
    // Whoever fetches the tokens may call itself anything by then.
    let tokens = poll(&platform, &begun).await?.expect(200)?.json()?;
    let sessions = api.with_token(text(&tokens["access_token"])).get("/api/v1/me/sessions").await?;
    let labels: Vec<_> = items(&sessions).iter().map(|row| text(&row["label"])).collect();
    assert!(labels.contains(&"hxb 9.9.9 on Linux".to_owned()), "{labels:?}");
    Ok(())
}

#[tokio::test]
async fn a_device_whose_code_is_refused_is_told_so() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let begun = begin(&platform).await?;
    let address = text(&begun["verification_uri_complete"]);
    platform.browser().decide_device(&address, "alice@example.test", false).await?.answer.expect(200)?;
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "access_denied");
    // Nobody can change that.
    assert!(platform.browser().decide_device(&address, "alice@example.test", true).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_device_that_asks_too_often_is_told_to_slow_down() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let begun = begin(&platform).await?;
    let interval = begun["interval"].as_i64().context("no interval")?;
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "authorization_pending");
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "slow_down");
    pass(&platform, interval);
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "slow_down", "the interval has grown by five seconds");
    pass(&platform, interval + 10);
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "authorization_pending");
    Ok(())
}

#[tokio::test]
async fn a_device_code_is_too_old_after_ten_minutes() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let begun = begin(&platform).await?;
    pass(&platform, 601);
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "expired_token");
    let page =
        platform.browser().open_signed_in(&text(&begun["verification_uri_complete"]), "alice@example.test").await?;
    page.answer.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn another_site_cannot_confirm_a_device() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let victim = platform.person("alice").await?;
    let begun = begin(&platform).await?;
    let form = [("user_code", text(&begun["user_code"])), ("decision", "agree".to_owned())];
    for origin in [None, Some("https://evil.example"), Some("null")] {
        let with = |request: reqwest::RequestBuilder| match origin {
            Some(origin) => request.header("origin", origin).form(&form),
            None => request.form(&form),
        };
        victim.browser.request(Method::POST, &platform.at("/device"), with).await?.expect(403)?;
    }
    // A link confirms nothing either.
    victim.browser.get(&platform.at(&format!("/device?user_code={}&decision=agree", form[0].1))).await?.expect(200)?;
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "authorization_pending");
    Ok(())
}

#[tokio::test]
async fn nobody_confirms_a_device_without_signing_in() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let begun = begin(&platform).await?;
    let form = [("user_code".to_owned(), text(&begun["user_code"])), ("decision".to_owned(), "agree".to_owned())];
    let answer = platform.browser().post(&platform.at("/device"), &form).await?.expect(303)?;
    assert_eq!(answer.header("location"), "/sign-in");
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "authorization_pending");
    Ok(())
}

#[tokio::test]
async fn a_code_that_no_device_shows_confirms_nothing() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for (code, status) in [("BCDF-GHJK", 404), ("nonsense", 400), ("<script>", 400)] {
        let mut url = platform.at("/device");
        url.query_pairs_mut().append_pair("user_code", code);
        let page = alice.browser.get(&url).await?.expect(status)?;
        assert!(!page.text.contains("<script"));
        let form = [("user_code".to_owned(), code.to_owned()), ("decision".to_owned(), "agree".to_owned())];
        alice.browser.post(&platform.at("/device"), &form).await?.expect(status)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_device_is_let_into_a_workspace_by_its_members_who_are_told_which_it_is() -> Result<()> {
    let platform = Platform::start_standing_with(|config| config.oidc.clients.push(web_client("web"))).await?;
    let (alice, mallory) = (platform.person("alice").await?, platform.person("mallory").await?);
    let workspace = alice.workspace("shop").await?;
    let path = format!("/oidc/{workspace}/device_authorization");
    let begun = platform.nobody().post_form(&path, &[("client_id", "hxb"), ("scope", "openid")]).await?;
    let begun = begun.expect(200)?.json()?;
    let url = Url::parse(&text(&begun["verification_uri_complete"]))?;
    let agree = [("user_code".to_owned(), text(&begun["user_code"])), ("decision".to_owned(), "agree".to_owned())];
    let refused = mallory.browser.get(&url).await?.expect(403)?;
    assert!(!refused.text.contains("<strong>shop</strong>"), "{}", refused.text);
    mallory.browser.post(&platform.at("/device"), &agree).await?.expect(403)?;
    let page = alice.browser.get(&url).await?.expect(200)?;
    assert!(page.text.contains("wants to act for you in the workspace <strong>shop</strong>"), "{}", page.text);
    alice.browser.post(&platform.at("/device"), &agree).await?.expect(200)?;
    // What may not act for people does not say that it would.
    let begun = web_post(&platform, "/oidc/platform/device_authorization", "web", &[("scope", "openid")]).await?;
    let begun = begun.expect(200)?.json()?;
    let page = alice.browser.get(&Url::parse(&text(&begun["verification_uri_complete"]))?).await?.expect(200)?;
    assert!(page.text.contains("The client web</code> wants to know who you are,"), "{}", page.text);
    Ok(())
}
