use anyhow::Context;
use hexabase_backends::store::{Store, StoreError, plans, workspaces};
use hexabase_core::plans::{Plan, PlanWish, seed};
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_organization, add_workspace, is_stale, load, now};

/// The plan `standard` in its next version, which costs more.
fn second() -> Plan {
    let mut plan = seed().remove(1);
    plan.version = 2;
    plan.price.amount_minor = 5_900;
    plan.limits.amounts.load_balancers = 2;
    plan.max_nodes = 5;
    plan.kubernetes = "v1.35.4".parse().ok();
    plan.sleep_after_minutes = Some(90);
    plan
}

async fn add_second(store: &Store) -> anyhow::Result<()> {
    let tx = store.begin().await?;
    assert_eq!(plans::lock_for_operator(&tx, "standard").await?, Some(1));
    plans::add_version(&tx, &second(), "ada", now()).await?;
    Ok(tx.commit().await?)
}

on_both_engines! {
    async fn new_workspaces_get_the_newest_version_and_older_ones_keep_theirs(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        add_second(&store).await?;
        assert_eq!(plans::get(&*store, "standard").await?, Some(second()));
        assert_eq!(plans::get_version(&*store, "standard", 1).await?.as_ref(), seed().get(1));
        assert_eq!(plans::get_version(&*store, "standard", 3).await?, None);
        assert_eq!(plans::list_active(&*store).await?.into_iter().map(|plan| plan.version).collect::<Vec<_>>(), [1, 2, 1]);
        assert_eq!(load(&store, &shop).await?.plan_version, 1);
        // Migrating again takes none of it back.
        store.migrate().await?;
        assert_eq!(plans::get(&*store, "standard").await?, Some(second()));
    }

    async fn what_a_version_says_is_never_written_over(store: TestStore) {
        add_second(&store).await?;
        let tx = store.begin().await?;
        let again = plans::add_version(&tx, &second(), "bob", now()).await;
        assert!(matches!(again, Err(StoreError::NotUnique(_))), "{again:?}");
        drop(tx);
        let records = plans::list_for_operator(&*store).await?;
        let record = records.iter().find(|record| record.plan.id == "standard").context("no record")?;
        assert_eq!(record.made, Some(("ada".to_owned(), now())));
        assert_eq!(plans::lock_for_operator(&store.begin().await?, "none").await?, None);
    }

    async fn a_retired_plan_is_not_offered_and_goes_on_where_it_is(store: TestStore) {
        let tx = store.begin().await?;
        assert!(plans::set_retired(&tx, "free", Some("ada"), now()).await?);
        assert!(!plans::set_retired(&tx, "free", Some("bob"), now()).await?);
        assert!(!plans::set_retired(&tx, "none", Some("ada"), now()).await?);
        tx.commit().await?;
        assert_eq!(plans::list_active(&*store).await?.len(), 2);
        assert!(plans::get_version(&*store, "free", 1).await?.is_some_and(|plan| !plan.active));
        let retired = plans::list_for_operator(&*store).await?.remove(0).retired;
        assert_eq!(retired, Some(("ada".to_owned(), now())));
        store.migrate().await?;
        assert_eq!(plans::list_active(&*store).await?.len(), 2, "a seed does not bring it back");
        let tx = store.begin().await?;
        assert!(plans::set_retired(&tx, "free", None, now()).await?);
        tx.commit().await?;
        assert_eq!(plans::list_active(&*store).await?, seed());
    }

    async fn a_workspace_comes_under_another_plan_and_is_counted_there(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        add_workspace(&store, &organization, "bank").await?;
        add_workspace(&store, &add_organization(&store, "Bob").await?, "shop").await?;
        add_second(&store).await?;
        let tx = store.begin().await?;
        workspaces::set_plan(&tx, &shop, ("standard", 2), now().plus_seconds(5)).await?;
        tx.commit().await?;
        let row = load(&store, &shop).await?;
        assert_eq!((row.plan_id.as_str(), row.plan_version, row.version), ("standard", 2, 2));
        let key = |version| ("standard".to_owned(), version);
        assert_eq!(workspaces::count_by_plan(&*store, &organization).await?, [(key(1), 1), (key(2), 1)]);
        assert_eq!(workspaces::count_by_plan_for_operator(&*store).await?, [(key(1), 2), (key(2), 1)]);
        assert_eq!(workspaces::count_living(&*store, &organization, "standard").await?, 2);
        let tx = store.begin().await?;
        workspaces::request_deletion(&tx, &shop, now()).await?;
        assert!(is_stale(&workspaces::set_plan(&tx, &shop, ("free", 1), now()).await));
    }

    async fn a_plan_that_was_asked_for_stands_until_another_one_is_or_it_is_refused(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        let wish = |seconds| PlanWish {
            plan: "free".to_owned(),
            version: 1,
            by: organization.user().clone(),
            at: now().plus_seconds(seconds),
            refused: None,
        };
        let tx = store.begin().await?;
        workspaces::set_plan_wish(&tx, &shop, Some(&wish(1)), now()).await?;
        tx.commit().await?;
        let row = load(&store, &shop).await?;
        assert_eq!((row.wanted_plan(), row.plan_id.as_str(), row.version), (Some(&wish(1)), "standard", 2));
        let tx = store.begin().await?;
        assert!(!workspaces::refuse_plan_wish(&tx, &row.id, &wish(2), "too much", now()).await?, "another one");
        assert!(workspaces::refuse_plan_wish(&tx, &row.id, &wish(1), "too much", now()).await?);
        assert!(!workspaces::refuse_plan_wish(&tx, &row.id, &wish(1), "too much", now()).await?, "it is refused");
        tx.commit().await?;
        let row = load(&store, &shop).await?;
        assert_eq!(row.wanted_plan(), None);
        assert_eq!(row.plan_wish.and_then(|wish| wish.refused).as_deref(), Some("too much"));
        let tx = store.begin().await?;
        workspaces::set_plan(&tx, &shop, ("premium", 1), now()).await?;
        tx.commit().await?;
        let row = load(&store, &shop).await?;
        assert_eq!(row.plan_wish, None);
        let tx = store.begin().await?;
        workspaces::request_deletion(&tx, &shop, now()).await?;
        assert!(is_stale(&workspaces::set_plan_wish(&tx, &shop, None, now()).await));
    }

    async fn a_job_that_saw_another_plan_does_not_speak_of_this_one(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        let seen = load(&store, &shop).await?;
        let tx = store.begin().await?;
        workspaces::lock_under_plan(&tx, &seen).await?;
        workspaces::set_plan(&tx, &shop, ("free", 1), now()).await?;
        assert!(is_stale(&workspaces::lock_under_plan(&tx, &seen).await));
    }
}
