use hexabase_app::{Error, sleep, workspaces};
use hexabase_backends::store::workspaces as rows;
use hexabase_core::phases::WorkspacePhase;
use hexabase_testkit::on_both_engines;
use serde_json::json;

use crate::support::Stage;

/// What the worker does once the workspace answers.
async fn ready(stage: &Stage) -> anyhow::Result<()> {
    let tx = stage.app.store.begin().await?;
    rows::set_ready(&tx, &stage.id, "10.0.0.1:443", "PEM", stage.app.clock.now()).await?;
    Ok(tx.commit().await?)
}

on_both_engines! {
    async fn a_workspace_is_asleep_once_its_pods_are_gone(store: TestStore) {
        let stage = Stage::set(store).await?;
        ready(&stage).await?;
        let pod = format!("{}/pods/web", stage.namespace());
        let labels = json!({ "vcluster.loft.sh/managed-by": stage.id.as_str() });
        let metadata = json!({ "name": "web", "labels": labels, "finalizers": ["example.com/ends-slowly"] });
        stage.kubernetes.put(&pod, json!({ "metadata": metadata, "spec": { "containers": [] } }));
        sleep::sleep(&stage.app, &stage.alice, &stage.id).await?;
        let worker = stage.work().await?;
        let ends = |text: &String| text.contains("pod web: Terminating");
        stage
            .until("the end of its pod", |row| {
                row.phase == WorkspacePhase::FallingAsleep && row.message.as_ref().is_some_and(ends)
            })
            .await?;
        stage.kubernetes.remove(&pod);
        stage.until("sleep", |row| row.phase == WorkspacePhase::Asleep).await?;
        worker.stop().await?;
    }

    async fn a_deletion_is_carried_out_when_the_time_to_undo_it_is_over(store: TestStore) {
        let stage = Stage::set(store).await?;
        ready(&stage).await?;
        let scope = rows::scope_for(&stage.app.store, &stage.alice.user, &stage.id).await?.expect("she made it");
        let now = stage.app.clock.now();
        let tx = stage.app.store.begin().await?;
        assert!(rows::request_deletion_at(&tx, &scope, now.plus_seconds(1), now).await?);
        tx.commit().await?;
        let worker = stage.work().await?;
        let gone = stage.until("the end", |row| row.phase == WorkspacePhase::Deleted).await?;
        worker.stop().await?;
        assert_eq!(stage.kubernetes.get(&stage.namespace()), None);
        assert!(gone.deleted_at > gone.removal_at && gone.receipt.is_some(), "{gone:?}");
        let late = workspaces::restore(&stage.app, &stage.alice, &stage.id).await;
        assert!(matches!(late, Err(Error::Conflict { code: "not_restorable", .. })), "{late:?}");
    }

    async fn a_workspace_that_is_restored_is_brought_back(store: TestStore) {
        let stage = Stage::set(store).await?;
        ready(&stage).await?;
        workspaces::delete_later(&stage.app, &stage.alice, &stage.id, 60).await?;
        let worker = stage.work().await?;
        // Nothing of it runs any more, and it keeps what it has.
        let resting = stage.until("its rest", |row| row.endpoint.is_none()).await?;
        assert_eq!(resting.phase, WorkspacePhase::ToBeDeleted);
        assert!(stage.kubernetes.get(&stage.namespace()).is_some());
        workspaces::restore(&stage.app, &stage.alice, &stage.id).await?;
        // It is being started: what is in the way is told, here that no chart can be rendered.
        stage.until("its waking", |row| row.phase == WorkspacePhase::Waking && row.message.is_some()).await?;
        worker.stop().await?;
        assert!(stage.kubernetes.get(&stage.namespace()).is_some());
    }
}
