use hexabase_app::{audit, leftovers, workspaces};
use hexabase_backends::store::service_account_tokens::{self, TokenOf};
use hexabase_backends::store::{jobs, workspaces as rows};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspacePhase;
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;
use serde_json::{Value, json};

use crate::support::{Stage, eventually, namespace};

/// The namespace as a worker makes it that looked before the removal and created after it.
fn late(id: &WorkspaceId) -> Value {
    json!({ "metadata": {
        "name": format!("hxb-{id}"),
        "labels": { "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": id.as_str() },
        "annotations": { "hexabase.ai/fence": "1", "hexabase.ai/owner": "nobody" },
    } })
}

on_both_engines! {
    async fn what_comes_back_of_a_deleted_workspace_is_removed_and_what_is_unknown_is_left(store: TestStore) {
        let stage = Stage::set(store).await?;
        workspaces::delete(&stage.app, &stage.alice, &stage.id).await?;
        let worker = stage.work().await?;
        stage.until("the deletion", |row| row.phase == WorkspacePhase::Deleted).await?;
        worker.stop().await?;
        let record = stage.row().await?;

        let stranger: WorkspaceId = new_id(stage.app.clock.now());
        stage.kubernetes.put(&stage.namespace(), late(&stage.id));
        stage.kubernetes.put(&format!("{}/secrets/token", stage.namespace()), json!({ "metadata": { "name": "token" } }));
        stage.kubernetes.put(&namespace(&stranger), late(&stranger));
        let worker = stage.work().await?;
        eventually("the removal", async || Ok(stage.kubernetes.get(&stage.namespace()).is_none().then_some(()))).await?;
        worker.stop().await?;
        assert!(stage.kubernetes.get(&namespace(&stranger)).is_some(), "it may belong to another installation");
        assert_eq!(stage.row().await?, record);
        let told = leftovers::report(&stage.app.store, &stage.app.clock).await?;
        assert_eq!((told.store, told.unknown), (vec![], vec![]));
        let seen = told.host.expect("a worker has looked");
        assert_eq!((seen.removing, seen.unknown), (vec![stage.id.clone()], vec![stranger]));
    }

    async fn what_hangs_on_a_deleted_workspace_is_told_and_taken_away(store: TestStore) {
        let stage = Stage::set(store).await?;
        let (app, alice) = (&stage.app, &stage.alice.user);
        let organization = stage.row().await?.organization_id;
        // Deleted long ago, by a version that left something.
        let long_ago = app.clock.now().plus_seconds(-3_600);
        let tx = app.store.begin().await?;
        let scope = rows::scope_for(&tx, alice, &stage.id).await?.expect("hers");
        rows::request_deletion(&tx, &scope, long_ago).await?;
        rows::set_deleted(&tx, &stage.id, &json!({ "removed": [], "remaining": [] }), long_ago).await?;
        let robots = TokenOf { workspace: &stage.id, user: alice, namespace: "web", service_account: "robot" };
        service_account_tokens::note_for_issuer(&tx, &robots, long_ago).await?;
        tx.commit().await?;
        let left = async || anyhow::Ok(leftovers::report(&app.store, &app.clock).await?.store);
        let found = left().await?;
        let found: Vec<_> = found.iter().map(|one| (one.what.as_str(), one.rows)).collect();
        assert_eq!(found, [("service_account_tokens", 1)]);

        let worker = stage.work().await?;
        eventually("its end", async || Ok(left().await?.is_empty().then_some(()))).await?;
        worker.stop().await?;
        let log = audit::list(app, &stage.alice, &organization, &Default::default(), 0, 100).await?;
        let told: Vec<_> = log.iter().filter(|row| row.entry.action == "workspace.leftovers_removed").collect();
        assert_eq!(told.len(), 1, "{log:?}");
        assert_eq!(told[0].entry.before, Some(json!({ "service_account_tokens": 1 })));
    }

    async fn a_workspace_whose_job_was_lost_is_looked_at_again(store: TestStore) {
        let stage = Stage::set(store).await?;
        let kind = hexabase_app::jobs::RECONCILE_WORKSPACE;
        let claim = jobs::claim(&stage.app.store, &[kind], stage.app.clock.now(), "lost", 60).await?.expect("its job");
        let tx = stage.app.store.begin().await?;
        jobs::finish(&tx, &claim, jobs::Finish::Done).await?;
        tx.commit().await?;
        let neglected = async || jobs::list_neglected(&stage.app.store, kind, 10).await;
        assert_eq!(neglected().await?, [stage.id.to_string()]);
        let worker = stage.work().await?;
        eventually("another look", async || Ok(neglected().await?.is_empty().then_some(()))).await?;
        worker.stop().await?;
    }
}
