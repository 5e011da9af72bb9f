use hexabase_app::workspaces;
use hexabase_backends::store::jobs;
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
