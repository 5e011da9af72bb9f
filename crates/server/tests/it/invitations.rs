use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use hexabase_backends::store::users;
use hexabase_testkit::http::{Answer, Http};
use reqwest::Method;
use serde_json::{Value, json};

use crate::groups::fill;
use crate::support::{Person, Platform, items, pass, problem, text};

const WEEK: i64 = 7 * 24 * 3600;

pub(crate) fn path(organization: &str) -> String {
    format!("/api/v1/organizations/{organization}/invitations")
}

pub(crate) async fn invite(asker: &Person, organization: &str, body: &Value) -> Result<Answer> {
    asker.api.post(&path(organization), body).await
}

async fn resend(asker: &Person, organization: &str, id: &str) -> Result<Answer> {
    asker.api.post(&format!("{}/{id}/resend", path(organization)), &json!({})).await
}

pub(crate) async fn accept(api: &Http, token: &str) -> Result<Answer> {
    api.post("/api/v1/invitations/accept", &json!({ "token": token })).await
}

/// The token in the link that the inviter was shown.
pub(crate) fn token(made: &Value) -> Result<String> {
    let url = text(&made["accept_url"]);
    Ok(url.split_once("#token=").with_context(|| format!("no token in {made}"))?.1.to_owned())
}

/// An invitation of Alice's for this address, with its token.
pub(crate) async fn invited(asker: &Person, organization: &str, body: Value) -> Result<(String, String)> {
    let made = invite(asker, organization, &body).await?.expect(201)?.json()?;
    Ok((text(&made["id"]), token(&made)?))
}

async fn states(asker: &Person, organization: &str) -> Result<Vec<String>> {
    let all = items(&asker.api.get(&path(organization)).await?);
    Ok(all.iter().map(|invitation| text(&invitation["state"])).collect())
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_acceptances_at_once_exactly_one_succeeds() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
        let workspace = alice.workspace("shop").await?;
        for _ in 0..8 {
            let body = json!({ "email": bob.email, "workspaces": [{ "workspace": workspace }] });
            let (_, token) = invited(&alice, &alice.organization, body).await?;
            let answers = futures::future::try_join_all((0..20).map(|_| accept(&bob.api, &token))).await?;
            for answer in answers.iter().filter(|answer| answer.status != 200) {
                problem(answer, 409, "invitation_over");
            }
            assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
            let members = format!("/api/v1/organizations/{}/members/{}", alice.organization, bob.id);
            alice.api.delete(&members).await?.expect(200)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_invitation_that_is_accepted_and_taken_back_at_once_is_one_or_the_other() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
        let acme = alice.make_organization("acme").await?;
        for _ in 0..8 {
            let (id, token) = invited(&alice, &acme, json!({ "email": bob.email })).await?;
            let one = format!("{}/{id}", path(&acme));
            let (accepted, revoked) = tokio::try_join!(accept(&bob.api, &token), alice.api.delete(&one))?;
            let outcome = (accepted.status, revoked.status);
            assert!([(200, 409), (409, 204)].contains(&outcome), "{outcome:?}: {} {}", accepted.text, revoked.text);
            let is_in = bob.api.get(&format!("/api/v1/organizations/{acme}")).await?.status == 200;
            assert_eq!(is_in, accepted.status == 200);
            if is_in {
                alice.api.delete(&format!("/api/v1/organizations/{acme}/members/{}", bob.id)).await?.expect(200)?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn people_who_accept_at_once_do_not_exceed_the_plan() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let workspace = text(&alice.create_workspace("shop", "free").await?.expect(201)?.json()?["id"]);
        let mut people = Vec::new();
        for number in 0..5 {
            let person = platform.person(&format!("person-{number}")).await?;
            let body = json!({ "email": person.email, "workspaces": [{ "workspace": workspace }] });
            let (_, token) = invited(&alice, &alice.organization, body).await?;
            people.push((person, token));
        }
        let answers =
            futures::future::try_join_all(people.iter().map(|(person, token)| accept(&person.api, token))).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 2, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            problem(answer, 409, "limit_reached");
        }
        let members = items(&alice.api.get(&format!("/api/v1/workspaces/{workspace}/members")).await?);
        assert_eq!(members.len(), 3);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_invitations_for_one_address_at_once_one_is_made() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let addresses = ["bob@example.test", "BOB@example.test", "Bob@Example.Test"];
        let bodies: Vec<_> = addresses.iter().map(|address| json!({ "email": address })).collect();
        let ask = |number: usize| invite(&alice, &alice.organization, &bodies[number % bodies.len()]);
        let answers = futures::future::try_join_all((0..9).map(ask)).await?;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            problem(answer, 409, "already_invited");
        }
    }
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
