use anyhow::Context;
use hexabase_backends::store::client_confirmations::{self, ClientConfirmation};
use hexabase_backends::store::device_codes::{DeviceCode, DeviceState};
use hexabase_backends::store::refresh_tokens::RefreshToken;
use hexabase_backends::store::sessions::{Session, SessionKind};
use hexabase_backends::store::{Digest, device_codes, refresh_tokens, sessions};
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_person, add_session, now};

fn pending() -> DeviceCode {
    DeviceCode {
        device_code_hash: Digest::of("device"),
        user_code: "BCDFGHJK".to_owned(),
        realm: "platform".to_owned(),
        client_id: "hxb".to_owned(),
        scope: String::new(),
        state: DeviceState::Pending,
        user_id: None,
        session_id: None,
        created_at: now(),
        expires_at: now().plus_seconds(600),
        interval_s: 2,
        last_polled_at: None,
        auth_time: None,
        label: "hxb on a laptop".to_owned(),
    }
}

on_both_engines! {
    async fn a_session_lives_until_it_expires(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        let hash = Digest::of("cookie");
        let session = Session {
            kind: SessionKind::Browser,
            token_hash: Some(hash),
            id: new_id(now()),
            authenticated_at: Some(now().plus_seconds(-600)),
            ..add_session(&store, &ada).await?
        };
        let tx = store.begin().await?;
        sessions::insert(&tx, &session).await?;
        tx.commit().await?;
        assert_eq!(sessions::find_live_by_token_hash(&*store, &hash, now()).await?, Some(session.clone()));
        assert_eq!(sessions::find_live_by_token_hash(&*store, &Digest::of("other"), now()).await?, None);
        assert_eq!(sessions::find_live_by_token_hash(&*store, &hash, session.expires_at).await?, None);

        let later = now().plus_seconds(60);
        let tx = store.begin().await?;
        sessions::touch(&tx, &session.id, later, later.plus_seconds(7200), Some("192.0.2.2")).await?;
        tx.commit().await?;
        let live = sessions::find_live(&*store, &session.id, session.expires_at).await?.context("it lives")?;
        assert_eq!((live.last_seen_at, live.last_seen_from.as_deref()), (later, Some("192.0.2.2")));
        assert_eq!(live.created_from.as_deref(), Some("192.0.2.1"));

        let last = later.plus_seconds(60);
        let tx = store.begin().await?;
        sessions::touch(&tx, &session.id, last, last.plus_seconds(7200), None).await?;
        tx.commit().await?;
        let live = sessions::find_live(&*store, &session.id, session.expires_at).await?.context("it lives")?;
        assert_eq!((live.last_seen_at, live.last_seen_from.as_deref()), (last, Some("192.0.2.2")));
    }

    async fn a_revoked_session_is_gone_at_once_and_the_others_stay(store: TestStore) {
        let (ada, bob) = (add_person(&store, "Ada").await?, add_person(&store, "Bob").await?);
        let first = add_session(&store, &ada).await?;
        let second = add_session(&store, &ada).await?;
        let tx = store.begin().await?;
        assert!(!sessions::revoke(&tx, &bob, &first.id, now()).await?, "it is not his");
        assert!(sessions::revoke(&tx, &ada, &first.id, now()).await?);
        assert!(!sessions::revoke(&tx, &ada, &first.id, now()).await?, "it is revoked already");
        tx.commit().await?;
        assert_eq!(sessions::find_live(&*store, &first.id, now()).await?, None);
        assert_eq!(sessions::list_for_user(&*store, &ada, now(), None, 10).await?, std::slice::from_ref(&second));
        assert!(sessions::list_for_user(&*store, &ada, now(), Some(&second.id), 10).await?.is_empty());
    }

    async fn a_session_that_is_over_is_forgotten_once_no_token_refers_to_it(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        let [expired, revoked, referred, live] = [
            add_session(&store, &ada).await?,
            add_session(&store, &ada).await?,
            add_session(&store, &ada).await?,
            add_session(&store, &ada).await?,
        ];
        let later = expired.expires_at.plus_seconds(10);
        let tx = store.begin().await?;
        sessions::touch(&tx, &revoked.id, now(), later.plus_seconds(60), None).await?;
        sessions::revoke(&tx, &ada, &revoked.id, now()).await?;
        sessions::touch(&tx, &live.id, now(), later.plus_seconds(60), None).await?;
        let token = RefreshToken {
            token_hash: Digest::of("token"),
            session_id: referred.id.clone(),
            user_id: ada.clone(),
            realm: "platform".to_owned(),
            client_id: "hxb".to_owned(),
            scope: String::new(),
            created_at: now(),
            expires_at: later,
            rotated_at: None,
            replaced_by: None,
            auth_time: None,
            claims: None,
        };
        refresh_tokens::insert(&tx, &token).await?;
        // What was confirmed in a browser goes with its session.
        let confirmed = [&expired, &live].map(|session| ClientConfirmation {
            session_id: session.id.clone(),
            realm: "platform".to_owned(),
            client_id: "hxb".to_owned(),
            redirect_host: "127.0.0.1".to_owned(),
        });
        for confirmation in &confirmed {
            client_confirmations::insert(&tx, confirmation, now()).await?;
        }
        // A pending device code has no session, which must not stand in the way.
        device_codes::insert(&tx, &pending()).await?;
        assert_eq!(sessions::purge(&tx, now()).await?, 0, "none was over before now");
        assert_eq!(sessions::purge(&tx, later).await?, 2, "the expired and the revoked one");
        assert_eq!(refresh_tokens::purge(&tx, later.plus_seconds(1)).await?, 1);
        assert_eq!(sessions::purge(&tx, later).await?, 1);
        tx.commit().await?;
        assert!(sessions::find_live(&*store, &live.id, later).await?.is_some());
        assert!(!client_confirmations::exists(&*store, &confirmed[0]).await?);
        assert!(client_confirmations::exists(&*store, &confirmed[1]).await?);
    }
}
