//! Refresh tokens.

use anyhow::Result;

use super::me;
use crate::support::{Platform, oauth_error, pass, problem, refresh, revoke, shop, text};

#[tokio::test]
async fn refreshing_gives_a_new_refresh_token_each_time() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let mut token = alice.refresh_token()?;
    for _ in 0..5 {
        pass(&platform, 3600);
        let tokens = refresh(&platform, &token).await?.expect(200)?.json()?;
        me(&platform, &text(&tokens["access_token"])).await?.expect(200)?;
        let next = text(&tokens["refresh_token"]);
        assert_ne!(next, token);
        token = next;
    }
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_that_is_used_again_much_later_ends_the_session() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let stolen = alice.refresh_token()?;
    let tokens = refresh(&platform, &stolen).await?.expect(200)?.json()?;
    pass(&platform, 31);
    assert_eq!(oauth_error(&refresh(&platform, &stolen).await?), "invalid_grant");
    // Neither the thief nor the owner goes on: who is who cannot be told.
    assert_eq!(oauth_error(&refresh(&platform, &text(&tokens["refresh_token"])).await?), "invalid_grant");
    problem(&me(&platform, &text(&tokens["access_token"])).await?, 401, "unauthenticated");
    problem(&alice.api.get("/api/v1/me").await?, 401, "unauthenticated");
    // The browser is another session.
    alice.browser.get(&platform.at("/api/v1/me")).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_program_that_lost_an_answer_may_ask_once_more_within_half_a_minute() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let token = alice.refresh_token()?;
    let lost = refresh(&platform, &token).await?.expect(200)?.json()?;
    pass(&platform, 29);
    let again = refresh(&platform, &token).await?.expect(200)?.json()?;
    pass(&platform, 60);
    for tokens in [lost, again] {
        let next = refresh(&platform, &text(&tokens["refresh_token"])).await?.expect(200)?.json()?;
        me(&platform, &text(&next["access_token"])).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_that_refresh_at_once_are_all_answered() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let token = alice.refresh_token()?;
        let answers = futures::future::try_join_all((0..8).map(|_| refresh(&platform, &token))).await?;
        for answer in answers {
            let tokens = answer.expect(200)?.json()?;
            me(&platform, &text(&tokens["access_token"])).await?.expect(200)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_that_refresh_at_once_all_stay_signed_in() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let token = alice.refresh_token()?;
    let answers = futures::future::try_join_all((0..8).map(|_| refresh(&platform, &token))).await?;
    pass(&platform, 60);
    for answer in answers {
        let tokens = answer.expect(200)?.json()?;
        me(&platform, &text(&tokens["access_token"])).await?.expect(200)?;
        refresh(&platform, &text(&tokens["refresh_token"])).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_is_good_for_its_own_client_and_issuer_only() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let token = alice.refresh_token()?;
    let form = [("grant_type", "refresh_token"), ("client_id", "hxb"), ("refresh_token", token.as_str())];
    let answer = platform.nobody().post_form(&format!("/oidc/{workspace}/token"), &form).await?;
    assert_eq!(oauth_error(&answer), "invalid_grant");
    for bad in ["", "hxr_", &token[..token.len() - 1], &format!("{token}A"), alice.api.token()] {
        let error = oauth_error(&refresh(&platform, bad).await?);
        assert!(["invalid_grant", "invalid_request"].contains(&error.as_str()), "{error}");
    }
    refresh(&platform, &token).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_refresh_can_ask_for_less_and_never_for_more() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let ask = async |token: &str, scope: &str| {
        let form = [("grant_type", "refresh_token"), ("client_id", "hxb"), ("refresh_token", token), ("scope", scope)];
        platform.nobody().post_form("/oidc/platform/token", &form).await
    };
    let token = alice.refresh_token()?;
    for more in ["openid groups", "admin", "openid profile email offline_access address"] {
        assert_eq!(oauth_error(&ask(&token, more).await?), "invalid_scope", "{more}");
    }
    let narrowed = ask(&token, "openid email").await?.expect(200)?.json()?;
    assert_eq!(narrowed["scope"], "openid email");
    let userinfo = async |tokens: &serde_json::Value| {
        let bearer = platform.nobody().with_token(text(&tokens["access_token"]));
        bearer.get("/oidc/platform/userinfo").await?.expect(200)?.json()
    };
    let said = userinfo(&narrowed).await?;
    assert!(said["email"].is_string() && said["name"].is_null(), "{said}");
    // What was granted is not lost.
    let whole = ask(&text(&narrowed["refresh_token"]), "").await?.expect(200)?.json()?;
    assert!(userinfo(&whole).await?["name"].is_string());
    Ok(())
}

#[tokio::test]
async fn a_program_that_is_not_used_for_a_month_is_signed_out() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    pass(&platform, 29 * 24 * 3600);
    let token = alice.refresh_token()?;
    let tokens = refresh(&platform, &token).await?.expect(200)?.json()?;
    pass(&platform, 29 * 24 * 3600);
    let tokens = refresh(&platform, &text(&tokens["refresh_token"])).await?.expect(200)?.json()?;
    pass(&platform, 30 * 24 * 3600 + 1);
    assert_eq!(oauth_error(&refresh(&platform, &text(&tokens["refresh_token"])).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_the_session() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let nobody = platform.nobody();
    let token = alice.refresh_token()?;
    // An unknown token is no error, so that nobody learns which ones exist.
    revoke(&platform, "hxr_unknown").await?.expect(200)?;
    alice.api.get("/api/v1/me").await?.expect(200)?;
    revoke(&platform, &token).await?.expect(200)?;
    problem(&alice.api.get("/api/v1/me").await?, 401, "unauthenticated");
    assert_eq!(oauth_error(&refresh(&platform, &token).await?), "invalid_grant");
    assert_eq!(
        oauth_error(&nobody.post_form("/oidc/platform/revoke", &[("client_id", "hxb")]).await?),
        "invalid_request"
    );
    Ok(())
}

#[tokio::test]
async fn revoking_a_refresh_token_that_was_used_ends_the_session_for_whoever_used_it() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let old = alice.refresh_token()?;
    let next = refresh(&platform, &old).await?.expect(200)?.json()?;
    // The answer may have been lost, or gone to a thief: whoever signs out with the old one means all of it.
    pass(&platform, 3600);
    revoke(&platform, &old).await?.expect(200)?;
    assert_eq!(oauth_error(&refresh(&platform, &text(&next["refresh_token"])).await?), "invalid_grant");
    Ok(())
}
