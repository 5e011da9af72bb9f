//! How long an invitation is good, and what ends it.

use anyhow::Result;
use hexabase_testkit::http::Answer;
use serde_json::json;

use super::{accept, invite, invited, path, resend, states, token};
use crate::support::{Platform, items, pass, problem, text};

const WEEK: i64 = 7 * 24 * 3600;

#[tokio::test]
async fn an_invitation_expires_to_the_second() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let body = |email: &str| json!({ "email": email });
    let (_, early) = invited(&alice, &alice.organization, body("bob@example.test")).await?;
    let (late_id, late) = invited(&alice, &alice.organization, body("carol@example.test")).await?;
    pass(&platform, WEEK - 1);
    let (bob, carol) = (platform.person("bob").await?, platform.person("carol").await?);
    accept(&bob.api, &early).await?.expect(200)?;
    pass(&platform, 1);
    let refused = problem(&accept(&carol.api, &late).await?, 409, "invitation_over");
    assert!(text(&refused["detail"]).contains("expired"), "{refused}");
    let alice = platform.person("alice").await?;
    // Both were made at the same moment, so that neither comes first.
    let mut both = states(&alice, &alice.organization).await?;
    both.sort_unstable();
    assert_eq!(both, ["accepted", "expired"]);
    // It can be sent again, and the address can be invited anew, but only one of them waits.
    let again = resend(&alice, &alice.organization, &late_id).await?.expect(200)?.json()?;
    assert_eq!((&again["state"], &again["resent"]), (&json!("pending"), &json!(1)));
    problem(&invite(&alice, &alice.organization, &body("Carol@example.test")).await?, 409, "already_invited");
    pass(&platform, WEEK);
    let alice = platform.person("alice").await?;
    let (_, anew) = invited(&alice, &alice.organization, body("carol@example.test")).await?;
    problem(&resend(&alice, &alice.organization, &late_id).await?, 409, "already_invited");
    let carol = platform.person("carol").await?;
    problem(&accept(&carol.api, &token(&again)?).await?, 409, "invitation_over");
    accept(&carol.api, &anew).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn sending_again_makes_a_new_token_and_ten_times_a_day_are_enough() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (id, mut old) = invited(&alice, &alice.organization, json!({ "email": bob.email })).await?;
    for _ in 0..10 {
        let again = resend(&alice, &alice.organization, &id).await?.expect(200)?.json()?;
        problem(&accept(&bob.api, &old).await?, 404, "not_found");
        old = token(&again)?;
    }
    let refused = problem(&resend(&alice, &alice.organization, &id).await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("10 times in 24 hours"), "{refused}");
    pass(&platform, 24 * 3600);
    let alice = platform.person("alice").await?;
    let again = resend(&alice, &alice.organization, &id).await?.expect(200)?.json()?;
    assert_eq!(again["resent"], 11);
    let bob = platform.person("bob").await?;
    accept(&bob.api, &token(&again)?).await?.expect(200)?;
    problem(&resend(&alice, &alice.organization, &id).await?, 409, "invitation_over");
    Ok(())
}

#[tokio::test]
async fn nobodys_mailbox_is_flooded_by_inviting_and_taking_back() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let body = json!({ "email": "bob@example.test" });
    for _ in 0..10 {
        let (id, _) = invited(&alice, &alice.organization, body.clone()).await?;
        alice.api.delete(&format!("{}/{id}", path(&alice.organization))).await?.expect(204)?;
    }
    let refused = problem(&invite(&alice, &alice.organization, &body).await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("bob@example.test"), "{refused}");
    invited(&alice, &alice.organization, json!({ "email": "carol@example.test" })).await?;
    Ok(())
}

#[tokio::test]
async fn an_invitation_that_was_taken_back_is_good_for_nothing() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (id, token) = invited(&alice, &alice.organization, json!({ "email": bob.email })).await?;
    let one = format!("{}/{id}", path(&alice.organization));
    for _ in 0..2 {
        alice.api.delete(&one).await?.expect(204)?;
    }
    let refused = problem(&accept(&bob.api, &token).await?, 409, "invitation_over");
    assert!(text(&refused["detail"]).contains("taken back"), "{refused}");
    problem(&resend(&alice, &alice.organization, &id).await?, 409, "invitation_over");
    let (id, token) = invited(&alice, &alice.organization, json!({ "email": bob.email })).await?;
    accept(&bob.api, &token).await?.expect(200)?;
    problem(&alice.api.delete(&format!("{}/{id}", path(&alice.organization))).await?, 409, "invitation_over");
    assert_eq!(states(&alice, &alice.organization).await?, ["revoked", "accepted"]);
    Ok(())
}

#[tokio::test]
async fn an_invitation_is_void_when_nobody_vouches_for_it() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob, carol) =
        (platform.person("alice").await?, platform.person("bob").await?, platform.person("carol").await?);
    let acme = alice.make_organization("acme").await?;
    let (_, token_of_bob) = invited(&alice, &acme, json!({ "email": bob.email, "role": "admin" })).await?;
    accept(&bob.api, &token_of_bob).await?.expect(200)?;
    let (id, old) = invited(&alice, &acme, json!({ "email": carol.email })).await?;
    let alices = format!("/api/v1/organizations/{acme}/members/{}", alice.id);
    bob.api.patch(&alices, &json!({ "role": "member" })).await?.expect(200)?;
    let void = |answer: &Answer| text(&problem(answer, 409, "invitation_over")["detail"]);
    assert!(void(&accept(&carol.api, &old).await?).contains("no longer administers"));
    alice.api.delete(&alices).await?.expect(200)?;
    assert!(void(&accept(&carol.api, &old).await?).contains("no longer administers"));
    // Whoever sends it again vouches for it.
    let again = resend(&bob, &acme, &id).await?.expect(200)?.json()?;
    assert_eq!(again["invited_by"], *bob.id);
    accept(&carol.api, &token(&again)?).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_organization_takes_its_invitations_along() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let acme = alice.make_organization("acme").await?;
    let (_, token) = invited(&alice, &acme, json!({ "email": bob.email })).await?;
    alice.api.delete(&format!("/api/v1/organizations/{acme}")).await?.expect(204)?;
    problem(&accept(&bob.api, &token).await?, 409, "invitation_over");
    assert_eq!(items(&bob.api.get("/api/v1/organizations").await?).len(), 1);
    Ok(())
}
