//! Token exchange: what kubectl's plugin does.

use anyhow::{Context as _, Result};
use hexabase_testkit::http::Answer;
use serde_json::json;

use crate::support::{SESSION_COOKIE, claims, exchange, oauth_error, revoke, shop, text};

#[tokio::test]
async fn a_member_gets_a_token_that_says_who_they_are_in_that_workspace() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let answer = alice.exchange(&platform, &workspace).await?.expect(200)?;
    assert_eq!(answer.header("cache-control"), "no-store");
    let answer = answer.json()?;
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:jwt");
    assert_eq!(answer["expires_in"], 600);
    assert!(answer.get("refresh_token").is_none(), "{answer}");
    let said = claims(&text(&answer["access_token"]))?;
    assert_eq!(said["iss"], platform.issuer(&workspace));
    assert_eq!(said["aud"], workspace);
    assert_eq!(said["ws"], workspace);
    assert_eq!(said["sub"], alice.id);
    assert_eq!(said["token_use"], "workspace");
    assert_eq!(said["email"], alice.email);
    // WSAdmins as chosen, WorkspaceMembers above it.
    assert_eq!(said["groups"], json!(["WSAdmins", "WorkspaceMembers"]));
    assert_eq!(said["exp"].as_i64().zip(said["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(600));
    Ok(())
}

#[tokio::test]
async fn groups_in_a_token_are_those_of_the_moment() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let groups = || async { anyhow::Ok(claims(&bob.workspace_token(&platform, &workspace).await?)?["groups"].clone()) };
    assert_eq!(groups().await?, json!(["WSUsers", "WorkspaceMembers"]));
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    assert_eq!(groups().await?, json!(["WSAdmins", "WSUsers", "WorkspaceMembers"]));
    // Groups of another workspace do not count here.
    let own = bob.workspace("own").await?;
    bob.add(&own, &alice.id, &[]).await?.expect(201)?;
    assert_eq!(
        claims(&alice.workspace_token(&platform, &own).await?)?["groups"],
        json!(["WSUsers", "WorkspaceMembers"])
    );
    Ok(())
}

#[tokio::test]
async fn a_stranger_and_a_removed_member_get_no_token() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    let refused = |answer: Answer| (answer.status, answer.text);
    let stranger = refused(bob.exchange(&platform, &workspace).await?);
    let absent = refused(bob.exchange(&platform, "ws-00000000000000000000").await?);
    assert_eq!(stranger, absent, "a stranger does not learn which workspaces exist");
    assert_eq!(stranger.0, 400);
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    bob.exchange(&platform, &workspace).await?.expect(200)?;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    assert_eq!(oauth_error(&bob.exchange(&platform, &workspace).await?), "access_denied");
    Ok(())
}

#[tokio::test]
async fn an_admin_of_the_organization_who_has_no_access_to_a_workspace_gets_no_token() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    alice.remove(&workspace, &alice.id).await?.expect(204)?;
    assert_eq!(oauth_error(&alice.exchange(&platform, &workspace).await?), "access_denied");
    // She still administers it, and can give herself access, which everybody can see.
    alice.add(&workspace, &alice.id, &[]).await?.expect(201)?;
    alice.exchange(&platform, &workspace).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn only_an_access_token_of_the_platform_is_exchanged_and_only_for_a_workspaces() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    let other = bob.workspace("other").await?;
    bob.add(&other, &alice.id, &[]).await?.expect(201)?;
    let workspaces = alice.workspace_token(&platform, &workspace).await?;
    let refresh_token = alice.refresh_token()?;
    for token in [workspaces.as_str(), &refresh_token, "", "garbage", "a.b.c"] {
        for realm in [workspace.as_str(), &other] {
            let answer = exchange(&platform, realm, token).await?;
            assert!(["invalid_grant", "invalid_request"].contains(&oauth_error(&answer).as_str()), "{}", answer.text);
        }
    }
    assert_eq!(oauth_error(&exchange(&platform, "platform", alice.api.token()).await?), "invalid_request");
    // A browser's cookie is no token.
    let cookie = alice.browser.cookie("localhost", SESSION_COOKIE).context("no session")?;
    assert_eq!(oauth_error(&exchange(&platform, &workspace, &cookie).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn an_exchange_is_for_the_issuers_own_workspace_and_for_no_other_target() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let other = alice.workspace("other").await?;
    let issuer = platform.issuer(&workspace);
    let ask = async |name: &str, target: &str| {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", "hxb"),
            ("subject_token", alice.api.token()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            (name, target),
        ];
        platform.nobody().post_form(&format!("/oidc/{workspace}/token"), &form).await
    };
    for (name, target) in [("audience", workspace.as_str()), ("audience", &issuer), ("resource", &issuer)] {
        ask(name, target).await?.expect(200)?;
    }
    for (name, target) in [("audience", other.as_str()), ("audience", "hexabase"), ("resource", "https://evil.example")]
    {
        assert_eq!(oauth_error(&ask(name, target).await?), "invalid_target", "{name}={target}");
    }
    Ok(())
}

#[tokio::test]
async fn an_ended_session_gets_no_token() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let token = alice.refresh_token()?;
    revoke(&platform, &token).await?.expect(200)?;
    assert_eq!(oauth_error(&alice.exchange(&platform, &workspace).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn a_deleted_workspace_gives_no_tokens() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}")).await?.expect(202)?;
    assert_eq!(oauth_error(&alice.exchange(&platform, &workspace).await?), "access_denied");
    Ok(())
}

#[tokio::test]
async fn an_exchange_gives_an_access_token_and_nothing_else() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let ask = async |wanted: &str| {
        let wanted = format!("urn:ietf:params:oauth:token-type:{wanted}");
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", "hxb"),
            ("subject_token", alice.api.token()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("requested_token_type", &*wanted),
        ];
        let answer = platform.nobody().post_form(&format!("/oidc/{workspace}/token"), &form).await?;
        anyhow::Ok((answer, wanted))
    };
    for wanted in ["jwt", "access_token"] {
        let (answer, wanted) = ask(wanted).await?;
        assert_eq!(answer.expect(200)?.json()?["issued_token_type"], wanted);
    }
    for wanted in ["refresh_token", "id_token", "saml2"] {
        assert_eq!(oauth_error(&ask(wanted).await?.0), "invalid_request", "{wanted}");
    }
    Ok(())
}
