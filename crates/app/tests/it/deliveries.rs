use anyhow::Result;
use hexabase_app::{audit, workspaces};
use hexabase_backends::bell::Topic;
use hexabase_backends::store::jobs;
use hexabase_core::phases::WorkspacePhase;
use hexabase_testkit::on_both_engines;

use crate::support::{Stage, eventually};

const KIND: &str = hexabase_app::jobs::RECONCILE_WORKSPACE;

/// Asks a hundred times for the job, each time as if that had been on its way for longer, and rings for it and for others.
async fn deliver(stage: &Stage) -> Result<()> {
    let app = &stage.app;
    for late in 0..100 {
        let now = app.clock.now();
        let tx = app.store.begin().await?;
        jobs::enqueue(&tx, KIND, stage.id.as_str(), now.plus_seconds(-36 * late), now).await?;
        tx.commit().await?;
        for subject in [stage.id.as_str(), "ws-unknown"] {
            app.bell.ring(Topic { kind: KIND.to_owned(), subject: subject.to_owned() });
        }
    }
    Ok(())
}

/// Waits until nobody has anything to do.
async fn is_over(stage: &Stage) -> Result<()> {
    let store = &stage.app.store;
    eventually("the end of the job", async || {
        Ok(jobs::list_unfinished(store, KIND, 10).await?.is_empty().then_some(()))
    })
    .await
}

on_both_engines! {
    async fn a_hundred_deliveries_in_any_order_and_an_hour_late_do_what_one_does(store: TestStore) {
        let stage = Stage::set(store).await?;
        workspaces::delete(&stage.app, &stage.alice, &stage.id).await?;
        let (one, two) = (stage.work().await?, stage.work().await?);
        deliver(&stage).await?;
        let gone = stage.until("the end", |row| row.phase == WorkspacePhase::Deleted).await?;
        is_over(&stage).await?;
        // Long after all is over.
        deliver(&stage).await?;
        is_over(&stage).await?;
        one.stop().await?;
        two.stop().await?;
        assert_eq!(stage.row().await?, gone);
        assert_eq!(stage.kubernetes.get(&stage.namespace()), None);
        let log = audit::list(&stage.app, &stage.alice, &gone.organization_id, &Default::default(), 0, 500).await?;
        let told = log.iter().filter(|row| row.entry.action == "workspace.deleted").count();
        assert_eq!(told, 1, "{log:?}");
    }
}
