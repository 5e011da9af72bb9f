use hexabase_app::members::{self, Invitee};
use hexabase_app::{Origin, audit, events, users, workspaces};
use hexabase_backends::store::host_nodes;
use hexabase_core::phases::WorkspacePhase;
use hexabase_testkit::on_both_engines;
use serde_json::json;

use crate::support::{Stage, identity};

on_both_engines! {
    async fn a_deletion_shows_what_is_in_its_way_and_goes_on_when_it_is_gone(store: TestStore) {
        let stage = Stage::set(store).await?;
        let organization = stage.row().await?.organization_id;
        let labels = json!({ "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": stage.id.as_str(),
            "hexabase.ai/organization": organization.as_str() });
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

    async fn whoever_was_given_what_is_somebody_elses_gets_rid_of_it_and_it_stays_as_it_is(store: TestStore) {
        let stage = Stage::set(store).await?;
        let labels = json!({ "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": stage.id.as_str(),
            "hexabase.ai/organization": "org-0123456789abcdefghjk" });
        stage.kubernetes.put(&stage.namespace(), json!({ "metadata": { "name": "x", "labels": labels } }));
        let used = stage.kubernetes.get(&stage.namespace());
        let tx = stage.app.store.begin().await?;
        host_nodes::offer(&tx, &"own-0".parse()?, stage.app.clock.now()).await?;
        host_nodes::claim(&tx, &stage.id, stage.app.clock.now()).await?;
        tx.commit().await?;
        workspaces::delete(&stage.app, &stage.alice, &stage.id).await?;
        let worker = stage.work().await?;
        let gone = stage.until("the end", |row| row.phase == WorkspacePhase::Deleted).await?;
        worker.stop().await?;
        assert_eq!(stage.kubernetes.get(&stage.namespace()), used);
        let receipt = gone.receipt.unwrap_or_default();
        assert!(receipt["note"].as_str().is_some_and(|note| note.ends_with("was left alone")), "{receipt}");
        assert_eq!((&receipt["removed"], &receipt["returned"]), (&json!([]), &json!(["own-0"])));
        assert_eq!(host_nodes::list_for_job(&stage.app.store).await?, [], "nobody else is given what is not on the host");
    }

    async fn a_deletion_is_not_over_while_a_namespace_that_lost_its_marks_may_be_the_workspaces(store: TestStore) {
        let stage = Stage::set(store).await?;
        let labels = json!({ "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": stage.id.as_str() });
        let bare = json!({ "metadata": { "name": "x", "labels": labels, "annotations": { "hexabase.ai/fence": "0" } } });
        stage.kubernetes.put(&stage.namespace(), bare);
        workspaces::delete(&stage.app, &stage.alice, &stage.id).await?;
        let worker = stage.work().await?;
        let told = stage.until("a sentence", |row| row.message.is_some()).await?;
        worker.stop().await?;
        assert_eq!((told.phase, told.deleted_at), (WorkspacePhase::Deleting, None));
        assert!(told.message.is_some_and(|text| text.contains("does not say that it belongs")));

        let organization = told.organization_id;
        let mut mended = stage.kubernetes.get(&stage.namespace()).unwrap_or_default();
        mended["metadata"]["labels"]["hexabase.ai/organization"] = json!(organization.as_str());
        stage.kubernetes.put(&stage.namespace(), mended);
        let worker = stage.work().await?;
        stage.until("the end", |row| row.phase == WorkspacePhase::Deleted).await?;
        worker.stop().await?;
        assert_eq!(stage.kubernetes.get(&stage.namespace()), None);
    }

    async fn the_log_tells_whose_access_ended_with_a_workspace(store: TestStore) {
        let stage = Stage::set(store).await?;
        let app = &stage.app;
        let origin = Origin { request_id: app.new_id()?, source: None };
        let bob = users::sign_in(app, &identity("bob"), &origin).await?;
        members::add(app, &stage.alice, &stage.id, &Invitee::User(bob.clone()), &[]).await?;
        workspaces::delete(app, &stage.alice, &stage.id).await?;
        let worker = stage.work().await?;
        let gone = stage.until("the end", |row| row.phase == WorkspacePhase::Deleted).await?;
        worker.stop().await?;
        let rows = audit::list(app, &stage.alice, &gone.organization_id, &Default::default(), 0, 100).await?;
        let told: Vec<_> = rows.iter().filter(|row| row.entry.action == "workspace.deleted").collect();
        assert_eq!(told.len(), 1, "{rows:?}");
        let entry = &told[0].entry;
        assert_eq!((entry.actor.as_str(), &entry.subject, &entry.workspace), ("system", &gone.id.to_string(), &Some(gone.id)));
        let expected = json!({ "name": "shop", "members": [stage.alice.user, bob], "left_organization": [bob] });
        assert_eq!((entry.before.as_ref(), &entry.after), (Some(&expected), &Some(json!({ "phase": "deleted" }))));
        // The feed says what it said before, and no names.
        let heard = events::after(app, &stage.alice, 0).await?;
        let heard: Vec<_> = heard.iter().filter(|event| event.event.kind == "workspace.deleted").collect();
        assert_eq!((heard.len(), &heard[0].event.data), (1, &json!({ "phase": "deleted" })));
    }
}
