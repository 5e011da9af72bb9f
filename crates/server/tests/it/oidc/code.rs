//! The authorisation code, and what it is exchanged for.

use anyhow::{Context as _, Result};
use hexabase_testkit::http::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use super::{authorize, code_for, me, redeem};
use crate::support::{Platform, claims, items, oauth_error, pass, problem, refresh, shop, text};

#[tokio::test]
async fn a_program_gets_tokens_for_a_code() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let mut back = authorize(&platform, &alice, "platform", &[]).await?;
    assert_eq!(back["state"], "a state");
    assert_eq!(back["iss"], platform.issuer("platform"));
    let code = back.remove("code").context("no code")?;
    let answer = redeem(&platform, "platform", &code, &[]).await?.expect(200)?;
    assert_eq!(answer.header("cache-control"), "no-store");
    let tokens = answer.json()?;
    assert_eq!(tokens["token_type"].as_str().map(str::to_ascii_lowercase).as_deref(), Some("bearer"));
    assert!(text(&tokens["refresh_token"]).starts_with("hxr_"));
    let access = text(&tokens["access_token"]);
    let said = claims(&access)?;
    assert_eq!(said["iss"], platform.issuer("platform"));
    assert_eq!((said["aud"].as_str(), said["sub"].as_str()), (Some("hexabase"), Some(&*alice.id)));
    assert_eq!(said["client_id"], "hxb");
    assert_eq!(said["exp"].as_i64().zip(said["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(600));
    assert_eq!(me(&platform, &access).await?.expect(200)?.json()?["id"], alice.id);
    Ok(())
}

#[tokio::test]
async fn a_code_that_is_used_twice_ends_what_its_first_use_gave() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let code = code_for(&platform, &alice, "platform", &[]).await?;
    let tokens = redeem(&platform, "platform", &code, &[]).await?.expect(200)?.json()?;
    me(&platform, &text(&tokens["access_token"])).await?.expect(200)?;
    assert_eq!(oauth_error(&redeem(&platform, "platform", &code, &[]).await?), "invalid_grant");
    problem(&me(&platform, &text(&tokens["access_token"])).await?, 401, "unauthenticated");
    assert_eq!(oauth_error(&refresh(&platform, &text(&tokens["refresh_token"])).await?), "invalid_grant");
    // Nothing else of hers has ended.
    alice.api.get("/api/v1/me").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn of_ten_uses_of_a_code_at_once_none_gives_lasting_access() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let code = code_for(&platform, &alice, "platform", &[]).await?;
        let answers = futures::future::try_join_all((0..10).map(|_| redeem(&platform, "platform", &code, &[]))).await?;
        let good: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert!(good.len() <= 1, "{answers:?}");
        for answer in good {
            problem(&me(&platform, &text(&answer.json()?["access_token"])).await?, 401, "unauthenticated");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_code_is_good_for_its_own_request_only() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let other_verifier = "x".repeat(43);
    for (change, error) in [
        (("code_verifier", other_verifier.as_str()), "invalid_grant"),
        (("redirect_uri", "http://127.0.0.1:4712/callback"), "invalid_grant"),
        (("redirect_uri", "http://localhost:4711/callback"), "invalid_grant"),
    ] {
        let code = code_for(&platform, &alice, "platform", &[]).await?;
        assert_eq!(oauth_error(&redeem(&platform, "platform", &code, &[change]).await?), error, "{change:?}");
        // It is spent.
        assert_eq!(oauth_error(&redeem(&platform, "platform", &code, &[]).await?), "invalid_grant", "{change:?}");
    }
    // A code of one issuer at another one, and of one client for another one.
    let platforms = code_for(&platform, &alice, "platform", &[]).await?;
    assert_eq!(oauth_error(&redeem(&platform, &workspace, &platforms, &[]).await?), "invalid_grant");
    let workspaces = code_for(&platform, &alice, &workspace, &[]).await?;
    let client = [("client_id", workspace.as_str())];
    assert_eq!(oauth_error(&redeem(&platform, &workspace, &workspaces, &client).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn a_token_request_that_is_not_one_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let code = code_for(&platform, &alice, "platform", &[]).await?;
    for (change, error) in [
        (("client_id", "somebody"), "invalid_client"),
        (("client_id", ""), "invalid_request"),
        (("code_verifier", ""), "invalid_request"),
        (("code_verifier", "short"), "invalid_request"),
        (("redirect_uri", ""), "invalid_request"),
        (("grant_type", ""), "invalid_request"),
        (("grant_type", "password"), "unsupported_grant_type"),
        (("grant_type", "client_credentials"), "unsupported_grant_type"),
        (("grant_type", "implicit"), "unsupported_grant_type"),
    ] {
        let answer = redeem(&platform, "platform", &code, &[change]).await?;
        assert_eq!(oauth_error(&answer), error, "{change:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let nobody = platform.nobody();
    let json = nobody.post("/oidc/platform/token", &json!({ "grant_type": "authorization_code" })).await?;
    assert_eq!(oauth_error(&json), "invalid_request");
    let twice = format!("grant_type=authorization_code&code={code}&code={code}&client_id=hxb");
    let form = nobody.request(Method::POST, "/oidc/platform/token");
    let form = form.header("content-type", "application/x-www-form-urlencoded").body(twice);
    assert_eq!(oauth_error(&nobody.send(form).await?), "invalid_request");
    // None of these used the code up.
    redeem(&platform, "platform", &code, &[]).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_code_is_too_old_after_a_minute() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let code = code_for(&platform, &alice, "platform", &[]).await?;
    pass(&platform, 61);
    assert_eq!(oauth_error(&redeem(&platform, "platform", &code, &[]).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn kubectl_can_sign_in_to_a_workspace_by_itself() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    // kubelogin calls itself what the token's audience must be, and shows kubectl its ID token.
    for client in ["hxb", workspace.as_str()] {
        let change = [("client_id", client)];
        let code = code_for(&platform, &alice, &workspace, &change).await?;
        let tokens = redeem(&platform, &workspace, &code, &change).await?.expect(200)?.json()?;
        let (access, id) = (text(&tokens["access_token"]), text(&tokens["id_token"]));
        let id_token = claims(&id)?;
        assert_eq!((id_token["aud"].as_str(), id_token["nonce"].as_str()), (Some(client), Some("a nonce")));
        assert_eq!((id_token["sub"].as_str(), id_token["azp"].as_str()), (Some(&*alice.id), Some(client)));
        assert_eq!(id_token["at_hash"], hexabase_oidc::jwt::half_hash(&access));
        assert!(id_token["auth_time"].is_i64() && id_token["sid"].is_string(), "{id_token}");
        let said = claims(&access)?;
        assert_eq!((said["aud"].as_str(), said["azp"].as_str()), (Some(&*workspace), Some(client)));
        // A gateway without an upstream answers 503 to whoever may pass.
        let path = format!("/k8s/{workspace}/version");
        platform.nobody().with_token(&access).get(&path).await?.expect(503)?;
        let passes = if client == workspace { 503 } else { 401 };
        platform.nobody().with_token(&id).get(&path).await?.expect(passes)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_id_token_of_the_platform_says_who_signed_in_when_and_for_whom() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let signed_in_at = platform.clock.now().as_seconds();
    pass(&platform, 1_000);
    let code = code_for(&platform, &alice, "platform", &[]).await?;
    let tokens = redeem(&platform, "platform", &code, &[]).await?.expect(200)?.json()?;
    let now = platform.clock.now().as_seconds();
    let (access, id_token) = (text(&tokens["access_token"]), claims(&text(&tokens["id_token"]))?);
    let expected = json!({
        "iss": platform.issuer("platform"), "sub": alice.id, "aud": "hxb", "azp": "hxb", "nonce": "a nonce",
        "iat": now, "exp": now + 600, "auth_time": signed_in_at, "at_hash": hexabase_oidc::jwt::half_hash(&access),
        "sid": claims(&access)?["sid"],
    });
    assert_eq!(id_token, expected);
    assert_eq!(tokens["scope"], "openid profile email offline_access");
    // The same sign-in, however much later its tokens are renewed; a nonce is for the first one.
    pass(&platform, 1_000);
    let renewed = refresh(&platform, &text(&tokens["refresh_token"])).await?.expect(200)?.json()?;
    let again = claims(&text(&renewed["id_token"]))?;
    assert_eq!(
        (&again["auth_time"], &again["sid"], &again["nonce"]),
        (&expected["auth_time"], &expected["sid"], &Value::Null)
    );
    // Not asked for, not given.
    let without = [("scope", "profile offline_access")];
    let code = code_for(&platform, &alice, "platform", &without).await?;
    let tokens = redeem(&platform, "platform", &code, &without).await?.expect(200)?.json()?;
    assert_eq!(tokens["id_token"], Value::Null);
    let userinfo = platform.nobody().with_token(text(&tokens["access_token"])).get("/oidc/platform/userinfo").await?;
    assert_eq!(userinfo.expect(403)?.json()?["error"], "insufficient_scope");
    let without = [("scope", "openid")];
    let code = code_for(&platform, &alice, "platform", &without).await?;
    let tokens = redeem(&platform, "platform", &code, &without).await?.expect(200)?.json()?;
    assert_eq!(tokens["refresh_token"], Value::Null);
    Ok(())
}

#[tokio::test]
async fn a_code_ends_with_the_browsers_sign_in_that_gave_it() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let code = code_for(&platform, &alice, "platform", &[]).await?;
    let others = alice.api.request(Method::POST, "/api/v1/me/sessions/end-others");
    assert_eq!(alice.api.send(others).await?.expect(200)?.json()?, json!({ "ended": 1 }));
    assert_eq!(oauth_error(&redeem(&platform, "platform", &code, &[]).await?), "invalid_grant");
    assert_eq!(items(&alice.api.get("/api/v1/me/sessions").await?).len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_sign_in_whose_tokens_cannot_be_made_leaves_no_session() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let code = code_for(&platform, &bob, &workspace, &[]).await?;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    assert_eq!(oauth_error(&redeem(&platform, &workspace, &code, &[]).await?), "access_denied");
    let sessions = items(&bob.api.get("/api/v1/me/sessions").await?);
    assert_eq!(sessions.len(), 2, "the browser's and that of hxb: {sessions:?}");
    Ok(())
}
