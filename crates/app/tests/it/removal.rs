use hexabase_app::workspaces;
use hexabase_core::phases::WorkspacePhase;
use hexabase_testkit::on_both_engines;
use serde_json::json;

use crate::support::Stage;

on_both_engines! {
    async fn a_deletion_shows_what_is_in_its_way_and_goes_on_when_it_is_gone(store: TestStore) {
        let stage = Stage::set(store).await?;
        let labels = json!({ "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": stage.id.as_str() });
        stage.kubernetes.put(&stage.namespace(), json!({ "metadata": { "name": "x", "labels": labels } }));
        let held = format!("{}/configmaps/held", stage.namespace());
        let finalizers = json!({ "metadata": { "name": "held", "finalizers": ["example.com/hold"] } });
        stage.kubernetes.put(&held, finalizers);
        workspaces::delete(&stage.app, &stage.alice, &stage.id).await?;
        stage.kubernetes.set_broken(true);
        let worker = stage.work().await?;
        let says = |word: &'static str| {
            move |row: &hexabase_backends::store::workspaces::Workspace| {
                row.phase == WorkspacePhase::Deleting && row.message.as_ref().is_some_and(|text| text.contains(word))
            }
        };
        stage.until("the host's fault", says("did not answer")).await?;
        stage.kubernetes.set_broken(false);
        stage.until("the finalizer", says("finalizers")).await?;
        stage.kubernetes.remove(&held);
        stage.kubernetes.remove(&stage.namespace());
        let gone = stage.until("the end", |row| row.phase == WorkspacePhase::Deleted).await?;
        assert_eq!(gone.message, None);
        worker.stop().await?;
    }
}
