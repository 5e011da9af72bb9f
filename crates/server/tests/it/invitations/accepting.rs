//! Who accepts an invitation, and what they are given.

use anyhow::{Context as _, Result};
use hexabase_backends::store::users;
use serde_json::{Value, json};

use super::{accept, invite, invited, path, states, token};
use crate::support::{Platform, items, problem, text};

#[tokio::test]
async fn somebody_who_was_never_here_is_invited_signs_in_accepts_and_is_in() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let acme = alice.make_organization("acme").await?;
    let (shop, bank) = (alice.workspace_in(&acme, "shop").await?, alice.workspace_in(&acme, "bank").await?);
    let workspaces =
        json!([{ "workspace": shop }, { "workspace": bank, "groups": ["WSAdmins", "WSUsers", "WSAdmins"] }]);
    let body = json!({ "email": "Bob@Example.test", "workspaces": workspaces, "language": "ja" });
    let made = invite(&alice, &acme, &body).await?.expect(201)?.json()?;
    let given = json!([
        { "workspace": shop, "name": "shop", "groups": ["WSUsers"] },
        { "workspace": bank, "name": "bank", "groups": ["WSAdmins", "WSUsers"] },
    ]);
    assert_eq!(
        (&made["email"], &made["role"], &made["state"]),
        (&json!("Bob@Example.test"), &json!("member"), &json!("pending"))
    );
    assert_eq!((&made["workspaces"], &made["language"], &made["mail"]), (&given, &json!("ja"), &Value::Null));
    assert_eq!(made["invited_by"], *alice.id);
    let url = text(&made["accept_url"]);
    assert!(url.starts_with(&format!("{}/invitation?language=ja#token=hxi_", platform.url)), "{url}");
    let bob = platform.person("bob").await?;
    problem(&bob.api.get(&format!("/api/v1/organizations/{acme}")).await?, 404, "not_found");
    let accepted = accept(&bob.api, &token(&made)?).await?.expect(200)?.json()?;
    let expected = json!({ "organization": acme, "name": "acme", "role": "member", "workspaces": given });
    assert_eq!(accepted, expected);
    assert_eq!(bob.api.get(&format!("/api/v1/organizations/{acme}")).await?.expect(200)?.json()?["role"], "member");
    let members = items(&alice.api.get(&format!("/api/v1/workspaces/{bank}/members")).await?);
    let row = members.iter().find(|member| member["user"] == *bob.id).context("Bob is no member")?;
    assert_eq!(row["groups"], json!(["WSAdmins", "WSUsers"]));
    bob.workspace_token(&platform, &shop).await?;
    let all = items(&alice.api.get(&path(&acme)).await?);
    assert_eq!((&all[0]["state"], &all[0]["accepted_by"]), (&json!("accepted"), &json!(bob.id)));
    // Once.
    let again = problem(&accept(&bob.api, &token(&made)?).await?, 409, "invitation_over");
    assert!(text(&again["detail"]).contains("accepted already"), "{again}");
    Ok(())
}

#[tokio::test]
async fn only_whoever_has_the_address_verified_accepts() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, mallory, bob) =
        (platform.person("alice").await?, platform.person("mallory").await?, platform.person("bob").await?);
    let acme = alice.make_organization("acme").await?;
    let (_, token) = invited(&alice, &acme, json!({ "email": "BOB@example.test", "role": "admin" })).await?;
    for somebody in [&mallory, &alice] {
        let refused = problem(&accept(&somebody.api, &token).await?, 403, "forbidden");
        let detail = text(&refused["detail"]);
        assert!(detail.contains("B***@example.test") && !detail.to_lowercase().contains("bob"), "{detail}");
    }
    let says = async |email: Option<&str>, verified: bool| -> Result<()> {
        let tx = platform.store().await?.begin().await?;
        users::update_profile(&tx, &bob.id.parse()?, &"Bob".parse()?, email, verified).await?;
        Ok(tx.commit().await?)
    };
    for (email, verified, why) in [
        (Some("bob@example.test"), false, "has not verified"),
        (None, false, "sign in with the account"),
        (Some("bob@example.test.evil"), true, "sign in with the account"),
        (Some("b\u{f6}b@example.test"), true, "sign in with the account"),
        (Some("bob@example.test@evil.test"), true, "sign in with the account"),
    ] {
        says(email, verified).await?;
        let refused = problem(&accept(&bob.api, &token).await?, 403, "forbidden");
        assert!(text(&refused["detail"]).contains(why), "{email:?}: {refused}");
    }
    problem(&bob.api.get(&format!("/api/v1/organizations/{acme}")).await?, 404, "not_found");
    assert_eq!(states(&alice, &acme).await?, ["pending"]);
    says(Some("Bob@EXAMPLE.test"), true).await?;
    assert_eq!(accept(&bob.api, &token).await?.expect(200)?.json()?["role"], "admin");
    Ok(())
}

#[tokio::test]
async fn a_member_keeps_the_higher_role_and_gets_the_groups() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let acme = alice.make_organization("acme").await?;
    let shop = alice.workspace_in(&acme, "shop").await?;
    let workspaces = json!([{ "workspace": shop, "groups": ["WSAdmins"] }]);
    // He came through a workspace, and stays as what he was invited for when that is gone.
    alice.add(&shop, &bob.id, &[]).await?.expect(201)?;
    let (_, first) =
        invited(&alice, &acme, json!({ "email": bob.email, "role": "admin", "workspaces": workspaces })).await?;
    assert_eq!(accept(&bob.api, &first).await?.expect(200)?.json()?["role"], "admin");
    let (_, second) = invited(&alice, &acme, json!({ "email": bob.email, "role": "member" })).await?;
    assert_eq!(accept(&bob.api, &second).await?.expect(200)?.json()?["role"], "admin");
    let rows = items(&alice.api.get(&format!("/api/v1/workspaces/{shop}/members")).await?);
    let row = rows.iter().find(|member| member["user"] == *bob.id).context("Bob is no member")?;
    assert_eq!(row["groups"], json!(["WSAdmins", "WSUsers"]));
    alice.remove(&shop, &bob.id).await?.expect(204)?;
    assert_eq!(bob.api.get(&format!("/api/v1/organizations/{acme}")).await?.expect(200)?.json()?["role"], "admin");
    Ok(())
}

#[tokio::test]
async fn what_is_gone_by_then_is_not_given() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let acme = alice.make_organization("acme").await?;
    let (shop, bank) = (alice.workspace_in(&acme, "shop").await?, alice.workspace_in(&acme, "bank").await?);
    let workspaces = json!([{ "workspace": shop }, { "workspace": bank }]);
    let (_, token) = invited(&alice, &acme, json!({ "email": bob.email, "workspaces": workspaces })).await?;
    alice.api.delete(&format!("/api/v1/workspaces/{shop}")).await?.expect(202)?;
    let listed = items(&alice.api.get(&path(&acme)).await?);
    let left = json!([{ "workspace": bank, "name": "bank", "groups": ["WSUsers"] }]);
    assert_eq!(listed[0]["workspaces"], left);
    assert_eq!(accept(&bob.api, &token).await?.expect(200)?.json()?["workspaces"], left);
    problem(&bob.api.get(&format!("/api/v1/workspaces/{shop}")).await?, 404, "not_found");
    Ok(())
}

#[tokio::test]
async fn a_full_workspace_refuses_the_whole_invitation() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let full = text(&alice.create_workspace("full", "free").await?.expect(201)?.json()?["id"]);
    let roomy = alice.workspace("roomy").await?;
    let bob = platform.person("bob").await?;
    let workspaces = json!([{ "workspace": full }, { "workspace": roomy }]);
    let (_, token) =
        invited(&alice, &alice.organization, json!({ "email": bob.email, "workspaces": workspaces })).await?;
    for name in ["carol", "dora"] {
        let person = platform.person(name).await?;
        alice.add(&full, &person.id, &[]).await?.expect(201)?;
    }
    let refused = problem(&accept(&bob.api, &token).await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).starts_with("the workspace full is full: the plan free allows 3"), "{refused}");
    problem(&bob.api.get(&format!("/api/v1/workspaces/{roomy}")).await?, 404, "not_found");
    problem(&bob.api.get(&format!("/api/v1/organizations/{}", alice.organization)).await?, 404, "not_found");
    let dora = platform.person("dora").await?;
    alice.remove(&full, &dora.id).await?.expect(204)?;
    accept(&bob.api, &token).await?.expect(200)?;
    Ok(())
}
