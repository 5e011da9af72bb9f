use std::collections::BTreeSet;

use hexabase_app::jobs::RECONCILE_WORKSPACE;
use hexabase_app::plan_terms::{self, PlanTerms};
use hexabase_app::{App, Error, organizations, workspaces};
use hexabase_backends::store::spare_workspaces::{self, SpareState};
use hexabase_backends::store::{jobs, settings};
use hexabase_core::ids::WorkspaceId;
use hexabase_testkit::on_both_engines;

use crate::support::{Stage, eventually};

/// One that was made ahead and is asleep.
async fn spare(app: &App) -> anyhow::Result<WorkspaceId> {
    let (id, now) = (app.new_id::<WorkspaceId>()?, app.clock.now());
    let tx = app.store.begin().await?;
    settings::set(&tx, "spare-workspaces", r#"{"number":2,"version":"v1"}"#).await?;
    spare_workspaces::insert(&tx, &id, "v1", now).await?;
    for step in [(SpareState::Making, SpareState::Settling), (SpareState::Settling, SpareState::Asleep)] {
        spare_workspaces::set_state(&tx, &id, step, None, now).await?;
    }
    tx.commit().await?;
    Ok(id)
}

on_both_engines! {
    async fn a_creation_takes_what_was_made_ahead_and_one_that_is_refused_takes_nothing(store: TestStore) {
        let stage = Stage::set(store).await?;
        let (app, alice) = (&stage.app, &stage.alice);
        let organization = organizations::list(app, alice).await?.remove(0).0.id;
        let spares: BTreeSet<WorkspaceId> = [spare(app).await?, spare(app).await?].into();
        let create = |name: &'static str| workspaces::create(app, alice, &organization, name, "standard");
        let refused = create("shop").await;
        assert!(matches!(refused, Err(Error::Conflict { code: "name_taken", .. })), "{refused:?}");
        assert_eq!(spare_workspaces::list_for_job(&app.store, None, 10).await?.len(), 2, "it gave back what it took");
        let pinned: PlanTerms = serde_json::from_value(serde_json::json!({
            "id": "pinned", "display_name": "Pinned", "price_minor": 0, "currency": "USD", "display_order": 9,
            "kubernetes": "v1.34.1",
            "limits": {
                "cpu": "1", "memory": "1Gi", "storage": "1Gi", "pods": 5, "projects": 1, "members": 5, "workspaces": 5,
            },
        }))?;
        plan_terms::create(&app.store, &app.clock, &pinned, "ada").await?;
        let pinned = workspaces::create(app, alice, &organization, "pinned", "pinned").await?.workspace.id;
        assert!(!spares.contains(&pinned), "it has another Kubernetes");

        let made = [create("one").await?, create("two").await?].map(|made| made.workspace.id);
        assert_eq!(BTreeSet::from(made), spares);
        let third = create("three").await?.workspace.id;
        assert!(!spares.contains(&third), "it is made from nothing");
    }

    async fn nobody_is_given_what_other_versions_have_made_than_are_wanted_now(store: TestStore) {
        let stage = Stage::set(store).await?;
        let (app, old) = (&stage.app, spare(&stage.app).await?);
        let tx = app.store.begin().await?;
        settings::set(&tx, "spare-workspaces", r#"{"number":2,"version":"v2"}"#).await?;
        tx.commit().await?;
        let organization = organizations::list(app, &stage.alice).await?.remove(0).0.id;
        let made = workspaces::create(app, &stage.alice, &organization, "one", "standard").await?.workspace.id;
        assert_ne!(made, old);
    }

    async fn while_every_plan_is_retired_none_is_kept_and_that_is_no_failure(store: TestStore) {
        let stage = Stage::set(store).await?;
        let (app, version) = (&stage.app, stage.host().await?.version());
        let making = app.new_id::<WorkspaceId>()?;
        let asleep = spare(app).await?;
        let tx = app.store.begin().await?;
        spare_workspaces::insert(&tx, &making, &version, app.clock.now()).await?;
        for id in [&making, &asleep] {
            jobs::enqueue(&tx, RECONCILE_WORKSPACE, id.as_str(), app.clock.now(), app.clock.now()).await?;
        }
        tx.commit().await?;
        for plan in ["free", "standard", "premium"] {
            plan_terms::set_retired(&app.store, &app.clock, plan, true, "ada").await?;
        }
        let worker = stage.work_with(2).await?;
        eventually("their end", async || {
            let left = spare_workspaces::list_for_job(&app.store, None, 10).await?;
            Ok(left.is_empty().then_some(()))
        })
        .await?;
        let keeper = jobs::list_unfinished(&app.store, "keep-spares", 10).await?;
        assert_eq!(keeper.iter().map(|job| job.error.as_deref()).collect::<Vec<_>>(), [None]);
        worker.stop().await?;
        // As soon as one is offered again, nothing holds up the next.
        assert_eq!(spare_workspaces::last_failure_for_job(&app.store).await?, None);
    }

    async fn of_two_workers_that_differ_the_one_that_began_last_says_how_many_are_kept(store: TestStore) {
        let stage = Stage::set(store).await?;
        let host = stage.host().await?;
        let spare = async || {
            let (id, now) = (stage.app.new_id::<WorkspaceId>()?, stage.app.clock.now());
            let tx = stage.app.store.begin().await?;
            spare_workspaces::insert(&tx, &id, &host.version(), now).await?;
            tx.commit().await?;
            anyhow::Ok(id)
        };
        let state = async |id: &WorkspaceId| {
            let found = spare_workspaces::load_for_job(&stage.app.store, id).await?;
            anyhow::Ok(found.map(|spare| spare.state))
        };
        let first = spare().await?;
        let none = stage.work().await?;
        eventually("its end", async || Ok((state(&first).await? == Some(SpareState::Gone)).then_some(()))).await?;
        let one = stage.work_with(1).await?;
        let kept = async || anyhow::Ok(settings::get(&stage.app.store, "spare-workspaces").await?);
        eventually("its wish", async || Ok(kept().await?.filter(|wish| wish.contains(r#""number":1"#)))).await?;
        let second = spare().await?;
        for _ in 0..4 {
            let tx = stage.app.store.begin().await?;
            jobs::enqueue(&tx, "keep-spares", "host", stage.app.clock.now(), stage.app.clock.now()).await?;
            tx.commit().await?;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(state(&second).await?, Some(SpareState::Making), "whichever of them looked");
        none.stop().await?;
        one.stop().await?;
    }

    async fn one_that_does_not_come_to_rest_is_given_up_and_says_why(store: TestStore) {
        let stage = Stage::set(store).await?;
        let (app, id) = (&stage.app, stage.app.new_id::<WorkspaceId>()?);
        let metadata = serde_json::json!({ "name": "web", "finalizers": ["example.com/never-ends"],
            "labels": { "vcluster.loft.sh/managed-by": id.as_str() } });
        let pod = format!("{}/pods/web", crate::support::namespace(&id));
        stage.kubernetes.put(&pod, serde_json::json!({ "metadata": metadata, "spec": { "containers": [] } }));
        let (now, long_ago) = (app.clock.now(), app.clock.now().plus_seconds(-901));
        let tx = app.store.begin().await?;
        spare_workspaces::insert(&tx, &id, &stage.host().await?.version(), long_ago).await?;
        spare_workspaces::set_state(&tx, &id, (SpareState::Making, SpareState::Settling), None, long_ago).await?;
        jobs::enqueue(&tx, RECONCILE_WORKSPACE, id.as_str(), now, now).await?;
        tx.commit().await?;
        assert_eq!(spare_workspaces::last_failure_for_job(&app.store).await?, None);
        let worker = stage.work_with(1).await?;
        let given_up = eventually("its end", async || {
            let found = spare_workspaces::load_for_job(&app.store, &id).await?;
            Ok(found.filter(|spare| spare.state == SpareState::Discarded))
        })
        .await?;
        worker.stop().await?;
        let message = given_up.message.unwrap_or_default();
        assert!(message.contains("pod web: Terminating"), "{message}");
        assert!(spare_workspaces::last_failure_for_job(&app.store).await?.is_some(), "the next one is not begun at once");
    }

    async fn what_nobody_wants_is_removed_and_known_if_it_comes_back(store: TestStore) {
        let stage = Stage::set(store).await?;
        let id = spare(&stage.app).await?;
        let state = async || {
            let found = spare_workspaces::load_for_job(&stage.app.store, &id).await?;
            anyhow::Ok(found.map(|spare| spare.state))
        };
        // This worker keeps none.
        let worker = stage.work().await?;
        eventually("its end", async || Ok((state().await? == Some(SpareState::Gone)).then_some(()))).await?;
        worker.stop().await?;

        let path = crate::support::namespace(&id);
        let labels = serde_json::json!({ "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": id.as_str() });
        let name = format!("hxb-{id}");
        stage.kubernetes.put(&path, serde_json::json!({ "metadata": { "name": name, "labels": labels,
            "annotations": { "hexabase.ai/owner": "nobody" } } }));
        let worker = stage.work().await?;
        eventually("its removal", async || Ok(stage.kubernetes.get(&path).is_none().then_some(()))).await?;
        worker.stop().await?;
        assert_eq!(state().await?, Some(SpareState::Gone));
    }

    async fn what_the_host_says_is_somebodys_is_neither_given_nor_removed_whatever_an_old_row_says(store: TestStore) {
        let stage = Stage::set(store).await?;
        let (app, id) = (&stage.app, spare(&stage.app).await?);
        let path = crate::support::namespace(&id);
        let labels = serde_json::json!({ "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": id.as_str(),
            "hexabase.ai/organization": "org-0123456789abcdefghjk" });
        stage.kubernetes.put(&path, serde_json::json!({ "metadata": { "name": format!("hxb-{id}"), "labels": labels } }));
        let used = stage.kubernetes.get(&path);
        let tx = app.store.begin().await?;
        jobs::enqueue(&tx, RECONCILE_WORKSPACE, id.as_str(), app.clock.now(), app.clock.now()).await?;
        tx.commit().await?;
        let worker = stage.work().await?;
        eventually("its end as a spare", async || {
            let found = spare_workspaces::load_for_job(&app.store, &id).await?;
            let left = jobs::list_unfinished(&app.store, RECONCILE_WORKSPACE, 10).await?;
            let is_over = found.is_some_and(|spare| spare.state == SpareState::Foreign)
                && !left.iter().any(|job| job.subject == id.as_str());
            Ok(is_over.then_some(()))
        })
        .await?;
        worker.stop().await?;
        assert_eq!(stage.kubernetes.get(&path), used);
        // It is over for good: nobody looks at it again every few minutes.
        assert_eq!(jobs::list_neglected(&app.store, RECONCILE_WORKSPACE, 10).await?, Vec::<String>::new());
        assert!(!spare_workspaces::list_for_job(&app.store, None, 10).await?.iter().any(|spare| spare.id == id));
        let organization = organizations::list(app, &stage.alice).await?.remove(0).0.id;
        let made = workspaces::create(app, &stage.alice, &organization, "quick", "standard").await?.workspace.id;
        assert_ne!(made, id);
    }
}
