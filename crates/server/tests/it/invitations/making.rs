//! What can be invited into, by whom, and what is told of it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::json;

use super::{accept, invite, invited, path, resend, token};
use crate::groups::fill;
use crate::support::{Platform, items, problem, text};

#[tokio::test]
async fn the_token_is_told_once_and_kept_nowhere() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let request = || {
        let request = alice.api.request(Method::POST, &path(&alice.organization)).header("idempotency-key", "k");
        alice.api.send(request.json(&json!({ "email": "bob@example.test" })))
    };
    let made = request().await?.expect(201)?;
    let (secret, id) = (token(&made.json()?)?, text(&made.json()?["id"]));
    assert!(secret.starts_with("hxi_") && secret.len() == 47, "{secret}");
    let again = request().await?.expect(201)?;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json()?["id"], *id);
    let listed = alice.api.get(&path(&alice.organization)).await?;
    assert_eq!(items(&listed)[0]["id"], *id);
    let sent_again = resend(&alice, &alice.organization, &id).await?.expect(200)?;
    let new = token(&sent_again.json()?)?;
    for answer in [&again, &listed] {
        assert!(!answer.text.contains("hxi_") && !answer.text.contains("accept_url"), "{}", answer.text);
    }
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(platform.data())? {
        let file = entry?.path();
        if file.is_file() {
            kept.extend(std::fs::read(file)?);
        }
    }
    let holds = |secret: &str| kept.windows(secret.len()).any(|window| window == secret.as_bytes());
    assert!(holds(&id), "what is looked through is the database");
    assert!(!holds(&secret) && !holds(&new), "a token is in the database");
    Ok(())
}

#[tokio::test]
async fn a_request_that_breaks_a_rule_invites_nobody() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let acme = alice.make_organization("acme").await?;
    let (shop, elsewhere) = (alice.workspace_in(&acme, "shop").await?, alice.workspace("elsewhere").await?);
    let foreign = bob.workspace("foreign").await?;
    let one = |workspace: &str| json!([{ "workspace": workspace }]);
    for (field, body) in [
        ("email", json!({ "email": "bob" })),
        ("email", json!({ "email": "" })),
        ("email", json!({ "email": "bob@good.test@evil.test" })),
        ("email", json!({ "email": "bob@example.test\r\nBcc: eve@example.test" })),
        ("email", json!({ "email": "Bob <bob@example.test>" })),
        ("workspaces", json!({ "email": bob.email, "workspaces": one(&elsewhere) })),
        ("workspaces", json!({ "email": bob.email, "workspaces": one(&foreign) })),
        ("workspaces", json!({ "email": bob.email, "workspaces": one("ws-00000000000000000000") })),
        ("workspaces", json!({ "email": bob.email, "workspaces": one("shop") })),
        ("workspaces", json!({ "email": bob.email, "workspaces": [{ "workspace": shop }, { "workspace": shop }] })),
        ("workspaces", json!({ "email": bob.email, "workspaces": vec![json!({ "workspace": shop }); 21] })),
        ("groups", json!({ "email": bob.email, "workspaces": [{ "workspace": shop, "groups": ["system:masters"] }] })),
    ] {
        let refused = problem(&invite(&alice, &acme, &body).await?, 422, "invalid");
        assert_eq!(refused["field"], field, "{body}");
    }
    for body in [
        json!({}),
        json!({ "email": bob.email, "role": "owner" }),
        json!({ "email": bob.email, "language": "fr" }),
        json!({ "email": bob.email, "token": "hxi_mine" }),
        json!({ "email": bob.email, "workspaces": [{ "workspace": shop, "role": "admin" }] }),
    ] {
        problem(&invite(&alice, &acme, &body).await?, 422, "invalid");
    }
    assert!(items(&alice.api.get(&path(&acme)).await?).is_empty());
    Ok(())
}

#[tokio::test]
async fn only_admins_of_the_organization_invite_and_see_whom_it_has_invited() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let acme = alice.make_organization("acme").await?;
    let shop = alice.workspace_in(&acme, "shop").await?;
    alice.add(&shop, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    let (id, _) = invited(&alice, &acme, json!({ "email": "carol@example.test" })).await?;
    let one = format!("{}/{id}", path(&acme));
    for answer in [
        invite(&bob, &acme, &json!({ "email": "dora@example.test" })).await?,
        resend(&bob, &acme, &id).await?,
        bob.api.delete(&one).await?,
        bob.api.get(&path(&acme)).await?,
    ] {
        let refused = problem(&answer, 403, "forbidden");
        assert!(text(&refused["detail"]).contains("only an admin of the organization"), "{refused}");
    }
    // In the feed a member sees that somebody was invited, and not whom.
    let store = platform.store().await?;
    let events = hexabase_backends::store::events::list_for_user(&store, &bob.id.parse()?, None, 0, 100).await?;
    let event = events.iter().find(|event| event.event.kind == "invitation.created").context("no event")?;
    assert_eq!(event.event.data["address"], "c***@example.test");
    Ok(())
}

#[tokio::test]
async fn an_invitation_into_groups_that_no_token_could_carry_is_refused_when_it_is_made() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let shop = alice.workspace("shop").await?;
    alice.add(&shop, &bob.id, &[]).await?.expect(201)?;
    let names: Vec<String> = (0..201).map(|number| format!("g{number}")).collect();
    fill(&platform, &alice, &shop, &names, "").await?;
    let of = |names: &[String]| json!({ "email": bob.email, "workspaces": [{ "workspace": shop, "groups": names }] });
    let refused = problem(&invite(&alice, &alice.organization, &of(&names)).await?, 409, "limit_reached");
    assert!(
        text(&refused["detail"]).starts_with("in the workspace shop the person would be in 201 groups"),
        "{refused}"
    );
    // What only somebody who is in other groups already cannot accept is told then, and not as a matter of room.
    let (_, token) = invited(&alice, &alice.organization, of(&names[..199])).await?;
    let refused = problem(&accept(&bob.api, &token).await?, 409, "limit_reached");
    let detail = text(&refused["detail"]);
    assert!(detail.starts_with("the workspace shop cannot take you into these groups:"), "{detail}");
    assert!(detail.contains("201 groups") && !detail.contains("full"), "{detail}");
    Ok(())
}

#[tokio::test]
async fn each_change_of_an_invitation_is_told_once_and_without_its_token() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (id, _) = invited(&alice, &alice.organization, json!({ "email": bob.email })).await?;
    let again = resend(&alice, &alice.organization, &id).await?.expect(200)?.json()?;
    accept(&bob.api, &token(&again)?).await?.expect(200)?;
    problem(&accept(&bob.api, &token(&again)?).await?, 409, "invitation_over");
    let (other, _) = invited(&alice, &alice.organization, json!({ "email": "carol@example.test" })).await?;
    for _ in 0..2 {
        alice.api.delete(&format!("{}/{other}", path(&alice.organization))).await?.expect(204)?;
    }
    let store = platform.store().await?;
    let (user, organization) = (alice.id.parse()?, alice.organization.parse()?);
    let scope = hexabase_backends::store::organizations::scope_for(&store, &user, &organization).await?;
    let scope = scope.context("Alice administers it")?;
    let rows = hexabase_backends::store::audit::list(&store, &scope, &Default::default(), 0, 100).await?;
    let told: Vec<_> = rows.iter().map(|row| (row.entry.action.as_str(), row.entry.actor.as_str())).collect();
    let (alices, bobs) = (&*alice.id, &*bob.id);
    let expected = [
        ("organization.created", alices),
        ("invitation.created", alices),
        ("invitation.resent", alices),
        ("invitation.accepted", bobs),
        ("invitation.created", alices),
        ("invitation.revoked", alices),
    ];
    assert_eq!(told, expected);
    let subjects: BTreeSet<_> = rows[1..4].iter().map(|row| row.entry.subject.as_str()).collect();
    assert_eq!(subjects, BTreeSet::from([&*id]));
    assert!(rows.iter().all(|row| !format!("{row:?}").contains("hxi_")));
    Ok(())
}
