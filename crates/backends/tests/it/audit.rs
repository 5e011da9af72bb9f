use hexabase_backends::store::audit::{self, AuditChain, AuditFilter, NewAuditEntry};
use hexabase_backends::store::organizations::OrganizationScope;
use hexabase_backends::store::{Digest, Store};
use hexabase_core::audit::{AuditEntry, GENESIS};
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;
use serde_json::json;

use crate::scenery::{add_organization, now};

/// A change in the request `req-00000000000000000000`.
pub(crate) fn change(scope: &OrganizationScope, action: &str, subject: &str) -> NewAuditEntry {
    NewAuditEntry {
        chain: AuditChain::Organization(scope.id().clone()),
        entry: AuditEntry {
            id: new_id(now()),
            at: now(),
            actor: scope.user().to_string(),
            on_behalf_of: None,
            credential: "session ses-00000000000000000000".to_owned(),
            source: Some("192.0.2.1".to_owned()),
            request_id: "req-00000000000000000000".to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            workspace: None,
            before: None,
            after: Some(json!({ "name": subject, "limits": { "pods": 3, "cpu": "1" } })),
        },
    }
}

async fn write(store: &Store, entries: Vec<NewAuditEntry>) -> anyhow::Result<()> {
    let tx = store.begin().await?;
    for entry in entries {
        audit::append(&tx, entry);
    }
    Ok(tx.commit().await?)
}

on_both_engines! {
    async fn entries_follow_each_other_and_each_holds_the_hash_of_the_one_before(store: TestStore) {
        let scope = add_organization(&store, "acme").await?;
        let other = add_organization(&store, "other").await?;
        write(&store, vec![change(&scope, "workspace.created", "a"), change(&other, "workspace.created", "x")]).await?;
        write(&store, vec![change(&scope, "workspace.deleting", "a"), change(&scope, "member.added", "b")]).await?;
        let rows = audit::list(&*store, &scope, &AuditFilter::default(), 0, 100).await?;
        assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2, 3]);
        let mut previous = GENESIS.to_owned();
        for row in &rows {
            assert_eq!(row.previous, previous);
            assert_eq!(row.hash, Digest::of(row.entry.canonical(&scope.id().to_string(), row.seq, &previous)).to_string());
            previous.clone_from(&row.hash);
        }
        let head = audit::head(&*store, &scope).await?;
        assert_eq!((head.seq, head.hash), (3, previous));
    }

    async fn what_was_not_committed_leaves_no_gap(store: TestStore) {
        let scope = add_organization(&store, "acme").await?;
        let tx = store.begin().await?;
        audit::append(&tx, change(&scope, "workspace.created", "lost"));
        tx.rollback().await?;
        write(&store, vec![change(&scope, "workspace.created", "kept")]).await?;
        let rows = audit::list(&*store, &scope, &AuditFilter::default(), 0, 100).await?;
        assert_eq!((rows.len(), rows[0].seq, rows[0].entry.subject.as_str()), (1, 1, "kept"));
    }

    async fn many_writers_at_once_make_one_chain(store: TestStore) {
        let scope = add_organization(&store, "acme").await?;
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (store, entry) = (store.reconnect().await?, change(&scope, "member.added", &number.to_string()));
            writers.spawn(async move { write(&store, vec![entry]).await });
        }
        while let Some(outcome) = writers.join_next().await {
            outcome??;
        }
        let rows = audit::list(&*store, &scope, &AuditFilter::default(), 0, 100).await?;
        assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
        assert!(rows.windows(2).all(|pair| pair[1].previous == pair[0].hash));
    }

    async fn a_filter_finds_by_actor_action_and_subject(store: TestStore) {
        let scope = add_organization(&store, "acme").await?;
        write(&store, vec![
            change(&scope, "workspace.created", "a"),
            change(&scope, "workspace.deleting", "a"),
            change(&scope, "workspaces.other", "b"),
        ]).await?;
        let found = async |filter: AuditFilter| anyhow::Ok(audit::list(&*store, &scope, &filter, 0, 100).await?.len());
        assert_eq!(found(AuditFilter { action: Some("workspace".to_owned()), ..AuditFilter::default() }).await?, 2);
        assert_eq!(found(AuditFilter { action: Some("workspace.created".to_owned()), ..AuditFilter::default() }).await?, 1);
        // Whoever asks writes no patterns.
        for text in ["workspac_", "workspace%", "%", "_________", "workspace|", "workspace\\"] {
            let filter = AuditFilter { action: Some(text.to_owned()), ..AuditFilter::default() };
            assert_eq!(found(filter).await?, 0, "{text}");
        }
        assert_eq!(found(AuditFilter { subject: Some("b".to_owned()), ..AuditFilter::default() }).await?, 1);
        assert_eq!(found(AuditFilter { actor: Some("nobody".to_owned()), ..AuditFilter::default() }).await?, 0);
        let (now, later) = (Some(now()), Some(now().plus_seconds(1)));
        assert_eq!(found(AuditFilter { since: now, until: later, ..AuditFilter::default() }).await?, 3);
        assert_eq!(found(AuditFilter { since: later, ..AuditFilter::default() }).await?, 0);
        assert_eq!(found(AuditFilter { until: now, ..AuditFilter::default() }).await?, 0);
    }
}
