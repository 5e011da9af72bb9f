use anyhow::Context;
use hexabase_backends::store::sessions::{Session, SessionKind};
use hexabase_backends::store::{Digest, sessions};
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_person, add_session, now};

on_both_engines! {
    async fn a_session_lives_until_it_expires(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        let hash = Digest::of("cookie");
        let session = Session {
            kind: SessionKind::Browser,
            token_hash: Some(hash),
            id: new_id(now()),
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
}
