//! Several requests about the same invitation, workspace or address at once, on each engine.

use anyhow::Result;
use serde_json::json;

use super::{accept, invite, invited, path};
use crate::support::{Platform, items, problem, text};

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
