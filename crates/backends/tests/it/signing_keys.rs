use hexabase_backends::store::signing_keys::{self, SigningAlgorithm, SigningKey};
use hexabase_backends::store::{Store, StoreError};
use hexabase_testkit::on_both_engines;

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
}
