use std::time::Duration;

use hexabase_backends::store::signing_keys::{self, SigningAlgorithm, SigningKey};
use hexabase_backends::store::{Store, StoreError};
use hexabase_testkit::on_both_engines;

use tokio::time::timeout;

use crate::scenery::now;

fn key(kid: &str) -> SigningKey {
    SigningKey {
        kid: kid.to_owned(),
        algorithm: SigningAlgorithm::Es256,
        private_sealed: vec![0, 1, 255],
        public_jwk: serde_json::json!({ "kty": "EC", "kid": kid }),
        publish_from: now(),
        sign_from: now().plus_seconds(300),
        sign_until: None,
        publish_until: Some(now().plus_seconds(86_400)),
    }
}

async fn start(store: &Store, number: usize) -> Result<bool, StoreError> {
    let tx = store.begin().await?;
    let keys = [key(&format!("{number}-a")), key(&format!("{number}-b"))];
    let added = signing_keys::insert_if_none(&tx, &keys).await?;
    tx.commit().await?;
    Ok(added)
}

on_both_engines! {
    async fn processes_that_start_at_once_agree_on_the_first_keys(store: TestStore) {
        let mut starts = Vec::new();
        for number in 0..8 {
            let store = store.reconnect().await?;
            starts.push(tokio::spawn(async move { start(&store, number).await }));
        }
        let mut winner = None;
        for (number, start) in starts.into_iter().enumerate() {
            if start.await?? {
                assert_eq!(winner.replace(number), None);
            }
        }
        let expected = winner.map(|number| vec![key(&format!("{number}-a")), key(&format!("{number}-b"))]);
        assert_eq!(Some(signing_keys::list(&*store).await?), expected);
    }

    async fn a_key_is_given_its_end_and_then_has_no_private_half(store: TestStore) {
        let tx = store.begin().await?;
        assert!(signing_keys::insert_if_none(&tx, &[key("a"), key("b")]).await?);
        let ended = SigningKey { sign_until: Some(now().plus_seconds(60)), publish_until: Some(now().plus_seconds(600)), ..key("a") };
        assert!(signing_keys::set_life(&tx, &ended).await?);
        assert!(!signing_keys::set_life(&tx, &key("absent")).await?);
        assert_eq!(signing_keys::forget_private(&tx, now().plus_seconds(59)).await?, 0);
        assert_eq!(signing_keys::forget_private(&tx, now().plus_seconds(60)).await?, 1);
        assert_eq!(signing_keys::forget_private(&tx, now().plus_seconds(61)).await?, 0, "it is done");
        tx.commit().await?;
        let expected = vec![SigningKey { private_sealed: Vec::new(), ..ended }, key("b")];
        assert_eq!(signing_keys::list(&*store).await?, expected);
        let tx = store.begin().await?;
        assert_eq!(signing_keys::purge(&tx, now().plus_seconds(600)).await?, 0);
        assert_eq!(signing_keys::purge(&tx, now().plus_seconds(601)).await?, 1);
        tx.commit().await?;
        assert_eq!(signing_keys::list(&*store).await?, vec![key("b")]);
    }

    async fn whoever_changes_keys_waits_for_others(store: TestStore) {
        let tx = store.begin().await?;
        signing_keys::insert_if_none(&tx, &[key("a")]).await?;
        tx.commit().await?;
        let tx = store.begin().await?;
        signing_keys::lock(&tx).await?;
        let other = store.reconnect().await?;
        let mut second = tokio::spawn(async move {
            let tx = other.begin().await?;
            signing_keys::lock(&tx).await?;
            signing_keys::list(&tx).await
        });
        assert!(timeout(Duration::from_millis(200), &mut second).await.is_err(), "it did not wait");
        signing_keys::insert(&tx, &key("b")).await?;
        tx.commit().await?;
        assert_eq!(second.await??.len(), 2);
    }
}
