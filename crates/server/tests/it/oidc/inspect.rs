//! What a token is, and its end.

use anyhow::Result;
use hexabase_testkit::http::Answer;
use serde_json::{Value, json};

use super::{me, web_post, web_tokens};
use crate::support::{
    Person, Platform, claims, exchange, items, oauth_error, pass, problem, refresh, revoke, text, web_client,
};
use crate::tokens::make_token;

async fn start() -> Result<(Platform, Person)> {
    let platform = Platform::start_standing_with(|config| {
        let gateway = web_client("gateway");
        config.oidc.clients.push(web_client("web"));
        config.oidc.clients.push(hexabase_server::config::ClientConfig {
            introspects: true,
            realms: vec!["platform".to_owned(), "workspaces".to_owned()],
            ..gateway
        });
    })
    .await?;
    let alice = platform.person("alice").await?;
    Ok((platform, alice))
}

async fn ask(platform: &Platform, realm: &str, client: &str, token: &str) -> Result<Value> {
    let form = [("token", token)];
    web_post(platform, &format!("/oidc/{realm}/introspect"), client, &form).await?.expect(200)?.json()
}

/// The bearer of `own` asks about `token`.
async fn ask_as_bearer(platform: &Platform, own: &str, token: &str) -> Result<Answer> {
    platform.nobody().with_token(own).post_form("/oidc/platform/introspect", &[("token", token)]).await
}

#[tokio::test]
async fn a_registered_client_learns_what_every_token_is() -> Result<()> {
    let (platform, alice) = start().await?;
    let workspace = alice.workspace("shop").await?;
    let now = platform.clock.now().as_seconds();
    let access = alice.api.token();
    let said = ask(&platform, "platform", "gateway", access).await?;
    let token = claims(access)?;
    let expected = json!({
        "active": true, "iss": platform.issuer("platform"), "sub": alice.id, "aud": "hexabase", "client_id": "hxb",
        "scope": "openid profile email offline_access", "token_type": "Bearer", "exp": now + 600, "iat": now,
        "jti": token["jti"], "sid": token["sid"],
    });
    assert_eq!(said, expected);
    let said = ask(&platform, "platform", "gateway", &alice.refresh_token()?).await?;
    assert_eq!((&said["active"], &said["client_id"], &said["token_type"]), (&json!(true), &json!("hxb"), &Value::Null));
    let of_workspace = alice.workspace_token(&platform, &workspace).await?;
    let said = ask(&platform, &workspace, "gateway", &of_workspace).await?;
    assert_eq!(
        (&said["active"], &said["aud"], &said["groups"]),
        (&json!(true), &json!(workspace), &json!(["WSAdmins", "WorkspaceMembers"]))
    );
    // A token of another issuer is none of this one.
    let nothing = json!({ "active": false });
    assert_eq!(ask(&platform, "platform", "gateway", &of_workspace).await?, nothing);
    assert_eq!(ask(&platform, &workspace, "gateway", access).await?, nothing);
    for bad in ["x", "a.b.c", "hxr_unknown", alice.tokens.id_token.as_deref().unwrap_or_default()] {
        assert_eq!(ask(&platform, "platform", "gateway", bad).await?, nothing, "{bad}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_learns_about_its_own_tokens_and_of_no_other() -> Result<()> {
    let (platform, alice) = start().await?;
    let tokens = web_tokens(&platform, &alice, "platform", "web", "openid offline_access").await?;
    let (access, refresh) = (text(&tokens["access_token"]), text(&tokens["refresh_token"]));
    for own in [&access, &refresh] {
        assert_eq!(ask(&platform, "platform", "web", own).await?["active"], true);
    }
    assert_eq!(ask(&platform, "platform", "web", alice.api.token()).await?, json!({ "active": false }));
    // Nobody without a secret asks, and nobody with a wrong one.
    let nobody = platform.nobody();
    for form in [
        vec![("token", &*access)],
        vec![("token", &*access), ("client_id", "hxb")],
        vec![("token", &*access), ("client_id", "web")],
    ] {
        let refused = nobody.post_form("/oidc/platform/introspect", &form).await?;
        assert!(["invalid_client", "invalid_request"].contains(&&*oauth_error(&refused)), "{refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_bearer_learns_about_the_own_token() -> Result<()> {
    let (platform, alice) = start().await?;
    let bob = platform.person("bob").await?;
    let own = alice.api.token();
    assert_eq!(ask_as_bearer(&platform, own, own).await?.expect(200)?.json()?["sub"], alice.id);
    assert_eq!(ask_as_bearer(&platform, own, bob.api.token()).await?.expect(200)?.json()?, json!({ "active": false }));
    for bad in ["x", &*alice.refresh_token()?] {
        assert_eq!(ask_as_bearer(&platform, bad, own).await?.expect(401)?.json()?["error"], "invalid_token");
    }
    Ok(())
}

#[tokio::test]
async fn a_token_is_over_when_its_time_its_session_or_its_membership_is() -> Result<()> {
    let (platform, alice) = start().await?;
    let bob = platform.person("bob").await?;
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let of_bob = bob.workspace_token(&platform, &workspace).await?;
    assert_eq!(ask(&platform, &workspace, "gateway", &of_bob).await?["active"], true);
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    assert_eq!(ask(&platform, &workspace, "gateway", &of_bob).await?["active"], false);
    let access = bob.api.token();
    assert_eq!(ask(&platform, "platform", "gateway", access).await?["active"], true);
    let old = bob.refresh_token()?;
    refresh(&platform, &old).await?.expect(200)?;
    assert_eq!(ask(&platform, "platform", "gateway", &old).await?["active"], false, "it was used");
    pass(&platform, 600);
    assert_eq!(ask(&platform, "platform", "gateway", access).await?["active"], false);
    let fresh = platform.person("bob").await?;
    assert_eq!(ask(&platform, "platform", "gateway", fresh.api.token()).await?["active"], true);
    revoke(&platform, &fresh.refresh_token()?).await?.expect(200)?;
    assert_eq!(ask(&platform, "platform", "gateway", fresh.api.token()).await?["active"], false);
    Ok(())
}

#[tokio::test]
async fn revoking_an_access_token_ends_its_sign_in() -> Result<()> {
    let (platform, alice) = start().await?;
    let workspace = alice.workspace("shop").await?;
    let of_workspace = alice.workspace_token(&platform, &workspace).await?;
    revoke(&platform, alice.api.token()).await?.expect(200)?;
    problem(&me(&platform, alice.api.token()).await?, 401, "unauthenticated");
    assert_eq!(oauth_error(&refresh(&platform, &alice.refresh_token()?).await?), "invalid_grant");
    platform.nobody().with_token(&of_workspace).get(&format!("/k8s/{workspace}/version")).await?.expect(401)?;
    // Her browser is another sign-in. A workspace's token can be taken back at the workspace's issuer.
    let again = platform.person("alice").await?;
    let of_workspace = again.workspace_token(&platform, &workspace).await?;
    let form = [("token", of_workspace.as_str()), ("client_id", "hxb")];
    platform.nobody().post_form(&format!("/oidc/{workspace}/revoke"), &form).await?.expect(200)?;
    problem(&me(&platform, again.api.token()).await?, 401, "unauthenticated");
    alice.browser.get(&platform.at("/api/v1/me")).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn what_an_api_token_was_exchanged_for_ends_with_that_and_in_no_other_way() -> Result<()> {
    let (platform, alice) = start().await?;
    let workspace = alice.workspace("shop").await?;
    let made = make_token(&alice.api, "/api/v1/me/tokens", json!({})).await?;
    let token = text(&exchange(&platform, &workspace, &made.secret).await?.expect(200)?.json()?["access_token"]);
    let said = ask(&platform, &workspace, "gateway", &token).await?;
    let told = (&said["active"], &said["sub"], &said["sid"], &said["client_id"]);
    assert_eq!(told, (&json!(true), &json!(alice.id), &json!(made.id), &json!("hxb")));
    let form = [("token", token.as_str()), ("client_id", "hxb")];
    let refused = platform.nobody().post_form(&format!("/oidc/{workspace}/revoke"), &form).await?;
    assert_eq!(oauth_error(&refused), "unsupported_token_type");
    assert_eq!(ask(&platform, &workspace, "gateway", &token).await?["active"], true);
    alice.api.delete(&format!("/api/v1/me/tokens/{}", made.id)).await?.expect(204)?;
    assert_eq!(ask(&platform, &workspace, "gateway", &token).await?["active"], false);
    Ok(())
}

#[tokio::test]
async fn a_client_cannot_take_back_tokens_of_another() -> Result<()> {
    let (platform, alice) = start().await?;
    for token in [alice.api.token(), &alice.refresh_token()?] {
        let refused = web_post(&platform, "/oidc/platform/revoke", "web", &[("token", token)]).await?;
        assert_eq!(oauth_error(&refused), "unauthorized_client");
        let refused =
            platform.nobody().post_form("/oidc/platform/revoke", &[("token", token), ("client_id", "web")]).await?;
        assert_eq!(oauth_error(&refused), "invalid_client");
    }
    me(&platform, alice.api.token()).await?.expect(200)?;
    let tokens = web_tokens(&platform, &alice, "platform", "web", "openid offline_access").await?;
    let own = text(&tokens["access_token"]);
    web_post(&platform, "/oidc/platform/revoke", "web", &[("token", &own)]).await?.expect(200)?;
    platform.nobody().with_token(&own).get("/oidc/platform/userinfo").await?.expect(401)?;
    Ok(())
}

#[tokio::test]
async fn whoever_is_no_member_any_more_can_still_take_a_workspaces_token_back() -> Result<()> {
    let (platform, alice) = start().await?;
    let bob = platform.person("bob").await?;
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let of_bob = bob.workspace_token(&platform, &workspace).await?;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    let form = [("token", of_bob.as_str()), ("client_id", "hxb")];
    platform.nobody().post_form(&format!("/oidc/{workspace}/revoke"), &form).await?.expect(200)?;
    problem(&me(&platform, bob.api.token()).await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn to_be_asked_about_is_no_use_of_a_session() -> Result<()> {
    let (platform, alice) = start().await?;
    let last_seen = async || {
        let rows = items(&alice.browser.get(&platform.at("/api/v1/me/sessions")).await?);
        anyhow::Ok(rows.into_iter().find(|row| row["kind"] == "device").map(|row| row["last_seen_at"].clone()))
    };
    let before = last_seen().await?;
    pass(&platform, 400);
    assert_eq!(ask(&platform, "platform", "gateway", alice.api.token()).await?["active"], true);
    let own = alice.api.token();
    assert_eq!(ask_as_bearer(&platform, own, own).await?.expect(200)?.json()?["active"], true);
    assert_eq!(last_seen().await?, before);
    alice.api.get("/oidc/platform/userinfo").await?.expect(200)?;
    assert_ne!(last_seen().await?, before);
    Ok(())
}

#[tokio::test]
async fn no_token_of_a_workspace_is_good_once_its_deletion_is_asked_for() -> Result<()> {
    let (platform, alice) = start().await?;
    let workspace = alice.workspace("shop").await?;
    let token = alice.workspace_token(&platform, &workspace).await?;
    let bearer = platform.nobody().with_token(&token);
    let userinfo = format!("/oidc/{workspace}/userinfo");
    bearer.get(&userinfo).await?.expect(200)?;
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}")).await?.expect(202)?;
    bearer.get(&userinfo).await?.expect(401)?;
    assert_eq!(ask(&platform, &workspace, "gateway", &token).await?, json!({ "active": false }));
    Ok(())
}
