//! Which token is good where, and for how long.

use anyhow::{Context as _, Result};
use reqwest::Method;

use crate::support::{Platform, SESSION_COOKIE, pass, problem};

#[tokio::test]
async fn every_token_is_good_at_its_own_place_and_nowhere_else() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let (one, two) = (alice.workspace("one").await?, alice.workspace("two").await?);
    let (of_one, of_two) =
        (alice.workspace_token(&platform, &one).await?, alice.workspace_token(&platform, &two).await?);
    let refresh_token = alice.refresh_token()?;
    let cookie = alice.browser.cookie("localhost", SESSION_COOKIE).context("no session")?;
    let tokens = [
        ("the platform's", alice.api.token()),
        ("one's", &of_one),
        ("two's", &of_two),
        ("a refresh token", &refresh_token),
        ("a cookie", &cookie),
    ];
    // A gateway without an upstream answers 503 to whoever may pass.
    let places = [
        ("/api/v1/me".to_owned(), "the platform's", 200),
        ("/oidc/platform/userinfo".to_owned(), "the platform's", 200),
        (format!("/oidc/{one}/userinfo"), "one's", 200),
        (format!("/oidc/{two}/userinfo"), "two's", 200),
        (format!("/k8s/{one}/version"), "one's", 503),
        (format!("/k8s/{two}/version"), "two's", 503),
    ];
    for (path, own, passes) in places {
        for (whose, token) in tokens {
            let answer = platform.nobody().with_token(token).get(&path).await?;
            let expected = if whose == own { passes } else { 401 };
            assert_eq!(answer.status, expected, "{whose} token at {path}: {}", answer.text);
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_access_token_is_over_after_ten_minutes() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let of_workspace = alice.workspace_token(&platform, &workspace).await?;
    pass(&platform, 599);
    alice.api.get("/api/v1/me").await?.expect(200)?;
    let gateway = || platform.nobody().with_token(&of_workspace);
    let path = format!("/k8s/{workspace}/version");
    gateway().get(&path).await?.expect(503)?;
    pass(&platform, 2);
    problem(&alice.api.get("/api/v1/me").await?, 401, "unauthenticated");
    gateway().get(&path).await?.expect(401)?;
    Ok(())
}

#[tokio::test]
async fn no_prefix_makes_a_bearer_somebody() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let good = alice.api.token();
    for prefix in ["dev_token_", "internal_", "ai_agent_", "dev_", "system_", "hxb_", "hxs_"] {
        for token in
            [format!("{prefix}x"), format!("{prefix}{}", alice.id), format!("{prefix}{good}"), prefix.to_owned()]
        {
            let bearer = platform.nobody().with_token(token.clone());
            problem(&bearer.get("/api/v1/me").await?, 401, "unauthenticated");
            bearer.get("/oidc/platform/userinfo").await?.expect(401)?;
            bearer.get(&format!("/k8s/{workspace}/version")).await?.expect(401)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_bearer_of_an_access_token_can_ask_who_they_are() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for method in [Method::GET, Method::POST] {
        let answer = alice.api.send(alice.api.request(method, "/oidc/platform/userinfo")).await?.expect(200)?;
        assert_eq!(answer.header("cache-control"), "no-store");
        let said = answer.json()?;
        assert_eq!((said["sub"].as_str(), said["email"].as_str()), (Some(&*alice.id), Some(&*alice.email)));
        assert_eq!((said["email_verified"].as_bool(), said["name"].as_str()), (Some(true), Some("Alice Example")));
    }
    let refused = platform.nobody().get("/oidc/platform/userinfo").await?.expect(401)?;
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    // In a posted form, but neither twice nor in an address.
    let token = [("access_token", alice.api.token())];
    let nobody = platform.nobody();
    nobody.post_form("/oidc/platform/userinfo", &token).await?.expect(200)?;
    let twice = alice.api.post_form("/oidc/platform/userinfo", &token).await?.expect(400)?.json()?;
    assert_eq!(twice["error"], "invalid_request");
    nobody.get(&format!("/oidc/platform/userinfo?access_token={}", token[0].1)).await?.expect(401)?;
    Ok(())
}
