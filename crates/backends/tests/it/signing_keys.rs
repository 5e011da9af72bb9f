use std::time::Duration;

use hexabase_backends::store::signing_keys::{self, KeyPurpose, Revoked, SigningAlgorithm, SigningKey};
use hexabase_backends::store::{Store, StoreError};
use hexabase_testkit::on_both_engines;

use tokio::time::timeout;

use crate::scenery::now;

fn key(kid: &str) -> SigningKey {
    SigningKey {
        kid: kid.to_owned(),
        algorithm: SigningAlgorithm::Es256,
        purpose: KeyPurpose::Sign,
        private_sealed: vec![0, 1, 255],
        public_sealed: None,
        public_jwk: serde_json::json!({ "kty": "EC", "kid": kid }),
        publish_from: now(),
        sign_from: now().plus_seconds(300),
        sign_until: None,
        publish_until: Some(now().plus_seconds(86_400)),
        made_by: None,
        revoked: None,
        told_at: None,
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
        signing_keys::forget_private(&tx, "a", Some(vec![7, 0])).await?;
        tx.commit().await?;
        let expected = vec![SigningKey { private_sealed: Vec::new(), public_sealed: Some(vec![7, 0]), ..ended }, key("b")];
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

    async fn what_is_known_of_a_revoked_key_is_kept_when_others_are_forgotten(store: TestStore) {
        let witness = SigningKey { purpose: KeyPurpose::Witness, made_by: Some("ada".to_owned()), ..key("w") };
        let tx = store.begin().await?;
        signing_keys::insert_if_none(&tx, &[key("a"), key("b"), witness.clone()]).await?;
        let revoked = Revoked { at: now(), by: "ada".to_owned(), because: "a laptop was lost".to_owned() };
        signing_keys::note_revoked(&tx, "a", &revoked).await?;
        signing_keys::forget_private(&tx, "a", None).await?;
        signing_keys::note_told(&tx, "w", now()).await?;
        tx.commit().await?;
        let a = SigningKey { private_sealed: Vec::new(), revoked: Some(revoked), ..key("a") };
        let told = SigningKey { told_at: Some(now()), ..witness };
        assert_eq!(signing_keys::list(&*store).await?, vec![a.clone(), key("b"), told]);
        let tx = store.begin().await?;
        assert_eq!(signing_keys::purge(&tx, now().plus_seconds(86_401)).await?, 2);
        tx.commit().await?;
        assert_eq!(signing_keys::list(&*store).await?, vec![a]);
    }

    async fn the_longest_max_age_counts_until_nobody_can_keep_a_set_of_it(store: TestStore) {
        let longest = async |seconds: i64| signing_keys::longest_max_age(&*store, now().plus_seconds(seconds)).await;
        assert_eq!(longest(0).await?, None);
        let tx = store.begin().await?;
        for (max_age, seconds) in [(300, 400), (3_600, 900), (3_600, 800), (60, 2_000), (300, 500)] {
            signing_keys::note_served(&tx, max_age, now().plus_seconds(seconds)).await?;
        }
        tx.commit().await?;
        for (seconds, expected) in [(0, Some(3_600)), (899, Some(3_600)), (900, Some(60)), (1_999, Some(60)), (2_000, None)] {
            assert_eq!(longest(seconds).await?, expected, "after {seconds} s");
        }
    }
}
