use anyhow::Context;
use hexabase_backends::store::api_tokens::{self, ApiToken};
use hexabase_backends::store::{Digest, Store, StoreError};
use hexabase_core::ids::UserId;
use hexabase_core::tokens::{TokenAccess, TokenScope};
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_organization, add_person, add_workspace, now};

fn token(user: &UserId, secret: &str) -> anyhow::Result<ApiToken> {
    Ok(ApiToken {
        id: new_id(now()),
        user_id: user.clone(),
        name: "deploy".parse()?,
        token_hash: Digest::of(secret),
        prefix: "hxb_Zt9q".to_owned(),
        scope: TokenScope { access: TokenAccess::Write, workspace: None },
        created_by: user.clone(),
        created_at: now(),
        expires_at: now().plus_seconds(3600),
        last_used_at: None,
        last_used_from: None,
        revoked_at: None,
    })
}

async fn add(store: &Store, token: &ApiToken) -> anyhow::Result<()> {
    let tx = store.begin().await?;
    api_tokens::insert(&tx, token).await?;
    Ok(tx.commit().await?)
}

on_both_engines! {
    async fn a_token_reads_back_as_it_was_written_and_is_found_by_its_digest_only(store: TestStore) {
        let scope = add_organization(&store, "Ada").await?;
        let workspace = add_workspace(&store, &scope, "shop").await?;
        let bound = TokenScope { access: TokenAccess::Read, workspace: Some(workspace.workspace().clone()) };
        let written = ApiToken { scope: bound, ..token(scope.user(), "secret")? };
        add(&store, &written).await?;
        assert_eq!(api_tokens::find_by_hash(&*store, &Digest::of("secret")).await?, Some(written.clone()));
        assert_eq!(api_tokens::find_by_hash(&*store, &Digest::of("Secret")).await?, None);
        assert_eq!(api_tokens::find_for_issuer(&*store, &written.id).await?, Some(written));
        let tx = store.begin().await?;
        let again = api_tokens::insert(&tx, &token(scope.user(), "secret")?).await;
        assert!(matches!(again, Err(StoreError::NotUnique(_))), "{again:?}");
    }

    async fn a_use_is_noted(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        let token = token(&ada, "secret")?;
        add(&store, &token).await?;
        let later = now().plus_seconds(60);
        let tx = store.begin().await?;
        api_tokens::touch(&tx, &token.id, later, Some("192.0.2.1")).await?;
        tx.commit().await?;
        let read = api_tokens::find_for_issuer(&*store, &token.id).await?.context("it is there")?;
        assert_eq!((read.last_used_at, read.last_used_from.as_deref()), (Some(later), Some("192.0.2.1")));
    }

    async fn what_is_revoked_or_over_is_neither_listed_nor_counted(store: TestStore) {
        let (ada, bob) = (add_person(&store, "Ada").await?, add_person(&store, "Bob").await?);
        let (first, second, his) = (token(&ada, "first")?, token(&ada, "second")?, token(&bob, "his")?);
        for token in [&first, &second, &his] {
            add(&store, token).await?;
        }
        assert_eq!(api_tokens::list_for_user(&*store, &ada, now(), 10).await?, [first.clone(), second.clone()]);
        let tx = store.begin().await?;
        assert_eq!(api_tokens::revoke(&tx, &bob, &first.id, now()).await?, None, "it is not his");
        assert_eq!(api_tokens::revoke(&tx, &ada, &first.id, now()).await?, Some(first.clone()));
        assert_eq!(api_tokens::revoke(&tx, &ada, &first.id, now()).await?, None, "it is revoked already");
        assert_eq!(api_tokens::revoke(&tx, &ada, &second.id, second.expires_at).await?, None, "it is over");
        tx.commit().await?;
        assert_eq!(api_tokens::list_for_user(&*store, &ada, now(), 10).await?, std::slice::from_ref(&second));
        assert_eq!(api_tokens::count(&*store, &ada, now()).await?, 1);
        assert_eq!(api_tokens::count(&*store, &ada, second.expires_at).await?, 0);
        // It is still known, so that whoever uses it can be told.
        let dead = api_tokens::find_by_hash(&*store, &first.token_hash).await?.context("it is known")?;
        assert!(!dead.is_live(now()) && second.is_live(now()) && !second.is_live(second.expires_at));
    }

    async fn what_has_long_been_over_is_forgotten(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        let (living, revoked) = (token(&ada, "living")?, token(&ada, "revoked")?);
        let over = ApiToken { expires_at: now().plus_seconds(-10), ..token(&ada, "over")? };
        for token in [&living, &revoked, &over] {
            add(&store, token).await?;
        }
        let tx = store.begin().await?;
        api_tokens::revoke(&tx, &ada, &revoked.id, now().plus_seconds(-5)).await?;
        assert_eq!(api_tokens::purge(&tx, now().plus_seconds(-10)).await?, 0);
        assert_eq!(api_tokens::purge(&tx, now().plus_seconds(-9)).await?, 1);
        assert_eq!(api_tokens::purge(&tx, now()).await?, 1);
        tx.commit().await?;
        assert_eq!(api_tokens::list_for_user(&*store, &ada, now(), 10).await?, [living]);
    }
}
