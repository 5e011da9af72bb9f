use anyhow::Context;
use hexabase_backends::store::events::{self, Event, NewEvent};
use hexabase_backends::store::organizations::OrganizationScope;
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Store, organizations, workspace_members, workspaces};
use hexabase_core::roles::OrganizationRole;
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_organization, add_person, add_workspace, now};

fn event(organization: &OrganizationScope, workspace: Option<&WorkspaceScope>, kind: &str) -> NewEvent {
    NewEvent {
        id: new_id(now()),
        organization_id: organization.id().clone(),
        workspace_id: workspace.map(|scope| scope.workspace().clone()),
        kind: kind.to_owned(),
        subject: "subject".to_owned(),
        data: serde_json::json!({ "from": "creating", "to": "ready" }),
        created_at: now(),
    }
}

async fn append(store: &Store, new: NewEvent) -> anyhow::Result<()> {
    let tx = store.begin().await?;
    events::append(&tx, new);
    Ok(tx.commit().await?)
}

fn kinds(found: &[Event]) -> Vec<&str> {
    found.iter().map(|event| event.event.kind.as_str()).collect()
}

on_both_engines! {
    async fn events_are_seen_by_those_they_concern_only(store: TestStore) {
        let hers = add_organization(&store, "Ada").await?;
        let his = add_organization(&store, "Bob").await?;
        let shop = add_workspace(&store, &hers, "shop").await?;
        let written = event(&hers, Some(&shop), "in her workspace");
        append(&store, written.clone()).await?;
        append(&store, event(&his, None, "in his organisation")).await?;
        append(&store, event(&hers, None, "in her organisation")).await?;

        let of_admin = events::list_after(&*store, std::slice::from_ref(&hers), &[], 0, 10).await?;
        assert_eq!(kinds(&of_admin), ["in her workspace", "in her organisation"]);
        assert_eq!(of_admin[0], Event { seq: 1, event: written });
        assert_eq!(kinds(&events::list_after(&*store, std::slice::from_ref(&hers), &[], 1, 10).await?), ["in her organisation"]);

        let cem = add_person(&store, "Cem").await?;
        let tx = store.begin().await?;
        organizations::add_member(&tx, &hers, &cem, OrganizationRole::Member, now()).await?;
        tx.commit().await?;
        let member = organizations::scope_for(&*store, &cem, hers.id()).await?;
        let of_member = events::list_after(&*store, member.as_slice(), &[], 0, 10).await?;
        assert_eq!(kinds(&of_member), ["in her organisation"]);
        assert_eq!(kinds(&events::list_after(&*store, &[], &[shop], 0, 10).await?), ["in her workspace"]);
        assert!(events::list_after(&*store, &[], &[], 0, 10).await?.is_empty());

        let dee = add_person(&store, "Dee").await?;
        let tx = store.begin().await?;
        let shop = workspaces::scope_for_name(&tx, hers.user(), hers.id(), &"shop".parse()?).await?.context("shop")?;
        workspace_members::add(&tx, &shop, &dee, now()).await?;
        tx.commit().await?;
        for (user, expected) in [
            (hers.user(), ["in her workspace", "in her organisation"].as_slice()),
            (his.user(), &["in his organisation"]),
            (&cem, &["in her organisation"]),
            (&dee, &["in her workspace"]),
            (&new_id(now()), &[]),
        ] {
            assert_eq!(kinds(&events::list_for_user(&*store, user, None, 0, 10).await?), expected);
        }
        let only = |user| events::list_for_user(&*store, user, Some(shop.workspace()), 0, 10);
        assert_eq!(kinds(&only(hers.user()).await?), ["in her workspace"]);
        assert!(only(his.user()).await?.is_empty());
        assert_eq!(events::last_seq(&*store).await?, 3);
    }

    async fn an_event_of_a_transaction_that_did_not_commit_did_not_happen(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let tx = store.begin().await?;
        events::append(&tx, event(&organization, None, "never"));
        tx.rollback().await?;
        assert_eq!(events::last_seq(&*store).await?, 0);
    }

    async fn a_reader_who_goes_on_after_the_last_number_misses_no_event(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let mut writers = Vec::new();
        for _ in 0..8 {
            let (store, organization) = ((*store).clone(), organization.clone());
            writers.push(tokio::spawn(async move {
                for _ in 0..25 {
                    append(&store, event(&organization, None, "written")).await?;
                }
                anyhow::Ok(())
            }));
        }
        let mut seen = Vec::new();
        while seen.len() < 200 {
            let after = seen.last().copied().unwrap_or(0);
            let page = events::list_after(&*store, std::slice::from_ref(&organization), &[], after, 7).await?;
            seen.extend(page.iter().map(|event| event.seq));
            tokio::task::yield_now().await;
            // A number that was skipped is never seen: do not wait for it.
            assert!(seen.last().is_none_or(|last| *last == i64::try_from(seen.len()).unwrap_or(0)), "{seen:?}");
        }
        for writer in writers {
            writer.await??;
        }
    }

    async fn what_happened_long_ago_is_forgotten_and_numbers_go_on(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let at = |seconds: i64| NewEvent { created_at: now().plus_seconds(seconds), ..event(&organization, None, "it") };
        let tx = store.begin().await?;
        for number in 0..1_100 {
            events::append(&tx, at(number));
        }
        tx.commit().await?;
        let tx = store.begin().await?;
        assert_eq!(events::purge(&tx, now()).await?, 0);
        assert_eq!(events::purge(&tx, now().plus_seconds(1_050)).await?, 1_050);
        tx.commit().await?;
        let left = events::list_after(&*store, std::slice::from_ref(&organization), &[], 0, 100).await?;
        assert_eq!(left.iter().map(|event| event.seq).collect::<Vec<_>>(), (1_051..=1_100).collect::<Vec<_>>());
        append(&store, at(2_000)).await?;
        assert_eq!(events::last_seq(&*store).await?, 1_101);
    }
}
