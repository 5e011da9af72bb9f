//! Several servers on one database, at once or one after the other.

use anyhow::Result;

use super::{code_for, me, redeem};
use crate::support::{Platform, exchange, oauth_error, refresh, text};

#[tokio::test]
async fn two_servers_on_one_database_accept_each_others_tokens() -> Result<()> {
    let one = Platform::start().await?;
    let two = one.replica().await?;
    let alice = one.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let there = two.nobody().with_token(alice.api.token());
    assert_eq!(there.get("/api/v1/me").await?.expect(200)?.json()?["id"], alice.id);
    // A sign-in that began at one server can end at the other, and so can everything else that is carried along.
    alice.browser.get(&two.at("/api/v1/me")).await?.expect(200)?;
    let token = alice.refresh_token()?;
    let tokens = refresh(&two, &token).await?.expect(200)?.json()?;
    me(&one, &text(&tokens["access_token"])).await?.expect(200)?;
    let code = code_for(&one, &alice, "platform", &[]).await?;
    redeem(&two, "platform", &code, &[]).await?.expect(200)?;
    assert_eq!(oauth_error(&redeem(&one, "platform", &code, &[]).await?), "invalid_grant");
    let of_workspace = text(&exchange(&two, &workspace, alice.api.token()).await?.expect(200)?.json()?["access_token"]);
    one.nobody().with_token(&of_workspace).get(&format!("/k8s/{workspace}/version")).await?.expect(503)?;
    assert_eq!(
        one.nobody().get("/oidc/platform/jwks").await?.json()?,
        two.nobody().get("/oidc/platform/jwks").await?.json()?
    );
    Ok(())
}

#[tokio::test]
async fn a_restart_signs_nobody_out() -> Result<()> {
    let before = Platform::start().await?;
    let alice = before.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let of_workspace = alice.workspace_token(&before, &workspace).await?;
    let kept = before.keep();
    before.stop().await?;
    let after = Platform::start_on(&kept).await?;
    assert_eq!(after.authority, kept.authority);
    let there = after.nobody().with_token(alice.api.token());
    there.get("/api/v1/me").await?.expect(200)?;
    alice.browser.get(&after.at("/api/v1/me")).await?.expect(200)?;
    refresh(&after, &alice.refresh_token()?).await?.expect(200)?;
    after.nobody().with_token(&of_workspace).get(&format!("/k8s/{workspace}/version")).await?.expect(503)?;
    Ok(())
}
