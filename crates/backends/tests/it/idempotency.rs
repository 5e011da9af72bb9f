use hexabase_backends::store::idempotency::{self, Begin, Request};
use hexabase_backends::store::{Digest, Store, audit};
use hexabase_core::time::Timestamp;
use hexabase_testkit::on_both_engines;

use crate::audit::change;
use crate::scenery::{add_organization, now};

fn request(body: &str) -> Request {
    Request {
        principal: "usr-1".to_owned(),
        key: "key".to_owned(),
        method: "POST".to_owned(),
        path: "/api/v1/workspaces".to_owned(),
        body_hash: Digest::of(body),
        request_id: "req-00000000000000000000".to_owned(),
    }
}

async fn begin(store: &Store, request: &Request, at: Timestamp) -> anyhow::Result<Begin> {
    Ok(idempotency::begin(store, request, at, at.plus_seconds(60)).await?)
}

on_both_engines! {
    async fn of_parallel_requests_with_one_key_exactly_one_is_carried_out(store: TestStore) {
        let mut attempts = Vec::new();
        for _ in 0..16 {
            let store = (*store).clone();
            attempts.push(tokio::spawn(async move { begin(&store, &request("{}"), now()).await }));
        }
        let (mut new, mut in_flight) = (0, 0);
        for attempt in attempts {
            match attempt.await?? {
                Begin::New => new += 1,
                Begin::InFlight => in_flight += 1,
                other => anyhow::bail!("{other:?}"),
            }
        }
        assert_eq!((new, in_flight), (1, 15));
    }

    async fn a_finished_request_is_answered_again_and_a_different_one_refused(store: TestStore) {
        assert_eq!(begin(&store, &request("{}"), now()).await?, Begin::New);
        let tx = store.begin().await?;
        idempotency::finish(&tx, "usr-1", "key", 201, "{\"id\":1}", now().plus_seconds(86_400)).await?;
        tx.commit().await?;
        let later = now().plus_seconds(3600);
        let replay = Begin::Replay { status: 201, body: "{\"id\":1}".to_owned() };
        assert_eq!(begin(&store, &request("{}"), later).await?, replay);
        assert_eq!(begin(&store, &request("[]"), later).await?, Begin::Mismatch);
        let elsewhere = Request { path: "/api/v1/projects".to_owned(), ..request("{}") };
        assert_eq!(begin(&store, &elsewhere, later).await?, Begin::Mismatch);
        let somebody_else = Request { principal: "usr-2".to_owned(), ..request("[]") };
        assert_eq!(begin(&store, &somebody_else, later).await?, Begin::New);
        // Over after its day, and free again even before it is purged.
        let next_day = now().plus_seconds(86_400);
        assert_eq!(begin(&store, &request("[]"), next_day).await?, Begin::New);
    }

    async fn an_abandoned_or_forgotten_request_can_be_made_again(store: TestStore) {
        assert_eq!(begin(&store, &request("{}"), now()).await?, Begin::New);
        let tx = store.begin().await?;
        let other = Request { request_id: "req-00000000000000000001".to_owned(), ..request("{}") };
        idempotency::abandon(&tx, &other).await?;
        tx.commit().await?;
        assert_eq!(begin(&store, &request("{}"), now()).await?, Begin::InFlight, "it is not the other one's key");
        let tx = store.begin().await?;
        idempotency::abandon(&tx, &request("{}")).await?;
        tx.commit().await?;
        assert_eq!(begin(&store, &request("{}"), now()).await?, Begin::New);
        assert_eq!(begin(&store, &request("{}"), now().plus_seconds(59)).await?, Begin::InFlight);
        assert_eq!(begin(&store, &request("{}"), now().plus_seconds(60)).await?, Begin::New);
        let tx = store.begin().await?;
        assert_eq!(idempotency::purge(&tx, now().plus_seconds(60 + 86_399)).await?, 0);
        assert_eq!(idempotency::purge(&tx, now().plus_seconds(60 + 86_400)).await?, 1);
    }

    async fn a_request_that_failed_after_its_change_is_not_carried_out_again(store: TestStore) {
        let scope = add_organization(&store, "acme").await?;
        assert_eq!(begin(&store, &request("{}"), now()).await?, Begin::New);
        let tx = store.begin().await?;
        audit::append(&tx, change(&scope, "workspace.created", "ws-1"));
        tx.commit().await?;
        let tx = store.begin().await?;
        idempotency::abandon(&tx, &request("{}")).await?;
        tx.commit().await?;
        let made = Begin::CarriedOut { action: "workspace.created".to_owned(), subject: "ws-1".to_owned() };
        for later in [0, 60, 86_399] {
            assert_eq!(begin(&store, &request("{}"), now().plus_seconds(later)).await?, made);
        }
        assert_eq!(begin(&store, &request("[]"), now()).await?, Begin::Mismatch);
    }

    async fn a_request_whose_server_died_after_its_change_is_not_carried_out_again(store: TestStore) {
        let scope = add_organization(&store, "acme").await?;
        assert_eq!(begin(&store, &request("{}"), now()).await?, Begin::New);
        let tx = store.begin().await?;
        audit::append(&tx, change(&scope, "workspace.created", "ws-1"));
        tx.commit().await?;
        assert_eq!(begin(&store, &request("{}"), now().plus_seconds(59)).await?, Begin::InFlight);
        let made = Begin::CarriedOut { action: "workspace.created".to_owned(), subject: "ws-1".to_owned() };
        for later in [60, 600, 86_399] {
            let tx = store.begin().await?;
            assert_eq!(idempotency::purge(&tx, now().plus_seconds(later)).await?, 0);
            tx.commit().await?;
            assert_eq!(begin(&store, &request("{}"), now().plus_seconds(later)).await?, made);
            assert_eq!(begin(&store, &request("[]"), now().plus_seconds(later)).await?, Begin::Mismatch);
        }
        assert_eq!(begin(&store, &request("{}"), now().plus_seconds(86_400)).await?, Begin::New);
    }
}
