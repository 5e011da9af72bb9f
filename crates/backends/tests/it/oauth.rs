use std::time::Duration;

use hexabase_backends::store::authorization_codes::{self, AuthorizationCode, Redemption};
use hexabase_backends::store::client_confirmations::{self, ClientConfirmation};
use hexabase_backends::store::device_codes::{self, DeviceCode, DeviceState, Poll};
use hexabase_backends::store::refresh_tokens::{self, RefreshToken, Rotation};
use hexabase_backends::store::sessions::Session;
use hexabase_backends::store::{Digest, Store, StoreError, Unique};
use hexabase_core::time::Timestamp;
use hexabase_testkit::on_both_engines;
use tokio::time::timeout;

use crate::scenery::{add_person, add_session, now};

fn code(session: &Session) -> AuthorizationCode {
    AuthorizationCode {
        code_hash: Digest::of("code"),
        session_id: session.id.clone(),
        user_id: session.user_id.clone(),
        realm: "platform".to_owned(),
        client_id: "hxb".to_owned(),
        redirect_uri: "http://127.0.0.1:1234/callback".to_owned(),
        code_challenge: "challenge".to_owned(),
        nonce: Some("nonce".to_owned()),
        scope: "openid".to_owned(),
        created_at: now(),
        expires_at: now().plus_seconds(60),
        redeemed_at: None,
        auth_time: Some(now().plus_seconds(-600)),
        claims: Some("{}".to_owned()),
    }
}

fn token(session: &Session, secret: &str) -> RefreshToken {
    RefreshToken {
        token_hash: Digest::of(secret),
        session_id: session.id.clone(),
        user_id: session.user_id.clone(),
        realm: "platform".to_owned(),
        client_id: "hxb".to_owned(),
        scope: "openid offline_access".to_owned(),
        created_at: now(),
        expires_at: now().plus_seconds(3600),
        rotated_at: None,
        replaced_by: None,
        auth_time: Some(now().plus_seconds(-600)),
        claims: None,
    }
}

async fn redeem(store: &Store, secret: &str, at: Timestamp) -> Result<Redemption, StoreError> {
    let tx = store.begin().await?;
    let redemption = authorization_codes::redeem(&tx, &Digest::of(secret), at).await?;
    tx.commit().await?;
    Ok(redemption)
}

async fn poll(store: &Store, at: Timestamp) -> Result<Poll, StoreError> {
    let tx = store.begin().await?;
    let poll = device_codes::poll(&tx, &Digest::of("device"), at).await?;
    tx.commit().await?;
    Ok(poll)
}

fn device() -> DeviceCode {
    DeviceCode {
        device_code_hash: Digest::of("device"),
        user_code: "BCDF-GHJK".to_owned(),
        realm: "platform".to_owned(),
        client_id: "hxb".to_owned(),
        scope: "openid".to_owned(),
        state: DeviceState::Pending,
        user_id: None,
        session_id: None,
        created_at: now(),
        expires_at: now().plus_seconds(600),
        interval_s: 5,
        last_polled_at: None,
        auth_time: None,
        label: "hxb on a laptop".to_owned(),
    }
}

async fn add_device(store: &Store) -> Result<(), StoreError> {
    let tx = store.begin().await?;
    device_codes::insert(&tx, &device()).await?;
    tx.commit().await
}

on_both_engines! {
    async fn a_code_is_good_for_one_use_and_a_second_one_is_told(store: TestStore) {
        let session = add_session(&store, &add_person(&store, "Ada").await?).await?;
        let tx = store.begin().await?;
        authorization_codes::insert(&tx, &code(&session)).await?;
        tx.commit().await?;
        let mut attempts = Vec::new();
        for _ in 0..10 {
            let store = (*store).clone();
            attempts.push(tokio::spawn(async move { redeem(&store, "code", now()).await }));
        }
        let (mut redeemed, mut reused) = (0, 0);
        for attempt in attempts {
            match attempt.await?? {
                Redemption::Redeemed(row) => {
                    assert_eq!(row, AuthorizationCode { redeemed_at: Some(now()), ..code(&session) });
                    redeemed += 1;
                }
                Redemption::Reused(row) => {
                    assert_eq!(row.session_id, session.id);
                    reused += 1;
                }
                Redemption::Unknown => {}
            }
        }
        assert_eq!((redeemed, reused), (1, 9));
    }

    async fn a_code_that_is_too_old_or_made_up_is_unknown(store: TestStore) {
        let session = add_session(&store, &add_person(&store, "Ada").await?).await?;
        let tx = store.begin().await?;
        authorization_codes::insert(&tx, &code(&session)).await?;
        tx.commit().await?;
        assert_eq!(redeem(&store, "code", now().plus_seconds(60)).await?, Redemption::Unknown);
        assert_eq!(redeem(&store, "made up", now()).await?, Redemption::Unknown);
        let tx = store.begin().await?;
        assert_eq!(authorization_codes::purge(&tx, now().plus_seconds(60)).await?, 0);
        assert_eq!(authorization_codes::purge(&tx, now().plus_seconds(61)).await?, 1);
    }

    async fn of_parallel_rotations_exactly_one_wins(store: TestStore) {
        let session = add_session(&store, &add_person(&store, "Ada").await?).await?;
        let tx = store.begin().await?;
        refresh_tokens::insert(&tx, &token(&session, "first")).await?;
        tx.commit().await?;
        let mut rotations = Vec::new();
        for number in 0..8 {
            let (store, next) = ((*store).clone(), token(&session, &format!("next {number}")));
            rotations.push(tokio::spawn(async move {
                let tx = store.begin().await?;
                let rotation = refresh_tokens::rotate(&tx, &Digest::of("first"), &next, now()).await?;
                tx.commit().await?;
                Ok::<_, StoreError>((rotation, next.token_hash))
            }));
        }
        let (mut winners, mut losers) = (Vec::new(), Vec::new());
        for rotation in rotations {
            match rotation.await?? {
                (Rotation::Rotated, next) => winners.push(next),
                (Rotation::Reused(row), next) => losers.push((row, next)),
                (Rotation::Unknown, _) => {}
            }
        }
        assert_eq!((winners.len(), losers.len()), (1, 7));
        assert!(refresh_tokens::find(&*store, &winners[0]).await?.is_some());
        for (row, next) in losers {
            assert_eq!((row.rotated_at, row.replaced_by), (Some(now()), Some(winners[0])));
            assert_eq!(refresh_tokens::find(&*store, &next).await?, None);
        }
    }

    async fn a_token_that_is_over_is_not_rotated(store: TestStore) {
        let session = add_session(&store, &add_person(&store, "Ada").await?).await?;
        let tx = store.begin().await?;
        refresh_tokens::insert(&tx, &token(&session, "first")).await?;
        let late = now().plus_seconds(3600);
        let next = token(&session, "next");
        assert_eq!(refresh_tokens::rotate(&tx, &Digest::of("first"), &next, late).await?, Rotation::Unknown);
        assert_eq!(refresh_tokens::rotate(&tx, &Digest::of("none"), &next, now()).await?, Rotation::Unknown);
        assert_eq!(refresh_tokens::purge(&tx, late).await?, 0);
        assert_eq!(refresh_tokens::purge(&tx, late.plus_seconds(1)).await?, 1);
    }

    async fn a_device_gets_its_tokens_once_after_the_person_agreed(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        let session = add_session(&store, &ada).await?;
        add_device(&store).await?;
        assert_eq!(poll(&store, now()).await?, Poll::Pending);
        assert_eq!(poll(&store, now().plus_seconds(1)).await?, Poll::SlowDown);
        assert_eq!(poll(&store, now().plus_seconds(7)).await?, Poll::SlowDown, "the interval has grown to ten seconds");
        assert_eq!(poll(&store, now().plus_seconds(30)).await?, Poll::Pending);
        assert_eq!(device_codes::find_pending(&*store, "BCDF-GHJK", now()).await?.map(|row| row.client_id), Some("hxb".to_owned()));

        let tx = store.begin().await?;
        assert!(device_codes::approve(&tx, "BCDF-GHJK", &ada, &session.id, now(), now()).await?);
        assert!(!device_codes::deny(&tx, "BCDF-GHJK", &ada, now()).await?, "it is decided");
        tx.commit().await?;
        assert_eq!(device_codes::find_pending(&*store, "BCDF-GHJK", now()).await?, None);

        let mut polls = Vec::new();
        for _ in 0..6 {
            let store = (*store).clone();
            polls.push(tokio::spawn(async move { poll(&store, now().plus_seconds(60)).await }));
        }
        let mut approved = 0;
        for poll in polls {
            match poll.await?? {
                Poll::Approved(row) => {
                    assert_eq!((row.user_id.as_ref(), row.session_id.as_ref()), (Some(&ada), Some(&session.id)));
                    assert_eq!(row.auth_time, Some(now()));
                    approved += 1;
                }
                other => assert_eq!(other, Poll::Unknown),
            }
        }
        assert_eq!(approved, 1);
    }

    async fn a_poll_waits_for_another_one_that_may_be_given_the_tokens(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        let session = add_session(&store, &ada).await?;
        add_device(&store).await?;
        let tx = store.begin().await?;
        assert!(device_codes::approve(&tx, "BCDF-GHJK", &ada, &session.id, now(), now()).await?);
        tx.commit().await?;

        let tx = store.begin().await?;
        assert!(matches!(device_codes::poll(&tx, &Digest::of("device"), now()).await?, Poll::Approved(_)));
        let other = store.reconnect().await?;
        let mut second = tokio::spawn(async move { poll(&other, now()).await });
        assert!(timeout(Duration::from_millis(200), &mut second).await.is_err(), "it did not wait");
        tx.commit().await?;
        assert_eq!(second.await??, Poll::Unknown);
    }

    async fn a_refused_or_late_device_gets_nothing(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        let session = add_session(&store, &ada).await?;
        assert_eq!(poll(&store, now()).await?, Poll::Unknown);
        add_device(&store).await?;
        let again = add_device(&store).await;
        assert!(matches!(again, Err(StoreError::NotUnique(_))), "{again:?}");
        let tx = store.begin().await?;
        let same_code = DeviceCode { device_code_hash: Digest::of("another"), ..device() };
        let taken = device_codes::insert(&tx, &same_code).await;
        assert!(matches!(taken, Err(StoreError::NotUnique(Unique::UserCode))), "{taken:?}");
        drop(tx);
        let late = now().plus_seconds(600);
        let tx = store.begin().await?;
        assert!(!device_codes::approve(&tx, "BCDF-GHJK", &ada, &session.id, now(), late).await?);
        tx.commit().await?;
        assert_eq!(poll(&store, late).await?, Poll::Expired);
        let tx = store.begin().await?;
        assert!(device_codes::deny(&tx, "BCDF-GHJK", &ada, now()).await?);
        tx.commit().await?;
        assert_eq!(poll(&store, now()).await?, Poll::Denied);
    }

    async fn a_program_is_let_in_for_one_session_issuer_and_host(store: TestStore) {
        let session = add_session(&store, &add_person(&store, "Ada").await?).await?;
        let other = add_session(&store, &session.user_id).await?;
        let hxb = ClientConfirmation {
            session_id: session.id.clone(),
            realm: "platform".to_owned(),
            client_id: "hxb".to_owned(),
            redirect_host: "127.0.0.1".to_owned(),
        };
        let tx = store.begin().await?;
        assert!(client_confirmations::insert(&tx, &hxb, now()).await?);
        assert!(!client_confirmations::insert(&tx, &hxb, now()).await?, "it was there");
        tx.commit().await?;
        assert!(client_confirmations::exists(&*store, &hxb).await?);
        for different in [
            ClientConfirmation { session_id: other.id, ..hxb.clone() },
            ClientConfirmation { realm: "ws-1".to_owned(), ..hxb.clone() },
            ClientConfirmation { client_id: "web".to_owned(), ..hxb.clone() },
            ClientConfirmation { redirect_host: "localhost".to_owned(), ..hxb.clone() },
        ] {
            assert!(!client_confirmations::exists(&*store, &different).await?, "{different:?}");
        }
    }
}
