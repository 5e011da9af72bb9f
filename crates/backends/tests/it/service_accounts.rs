use anyhow::Context;
use hexabase_backends::store::api_tokens::{self, ApiToken};
use hexabase_backends::store::organizations::OrganizationScope;
use hexabase_backends::store::users::User;
use hexabase_backends::store::{Digest, Store, groups, organizations, service_accounts, users, workspace_members};
use hexabase_core::ids::{ApiTokenId, UserId};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::tokens::{TokenAccess, TokenScope};
use hexabase_core::users::UserKind;
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_group, add_organization, add_workspace, now};

async fn add(store: &Store, scope: &OrganizationScope, name: &str) -> anyhow::Result<UserId> {
    let user = User {
        id: new_id(now()),
        display_name: name.parse()?,
        email: None,
        email_verified: false,
        created_at: now(),
        service_of: Some(scope.id().clone()),
    };
    let tx = store.begin().await?;
    users::insert(&tx, &user).await?;
    organizations::add_member(&tx, scope, &user.id, OrganizationRole::Member, now()).await?;
    tx.commit().await?;
    Ok(user.id)
}

/// A token that `maker` made, good for some seconds more.
fn token(owner: &UserId, maker: &UserId, seconds: i64) -> anyhow::Result<ApiToken> {
    let id: ApiTokenId = new_id(now());
    Ok(ApiToken {
        token_hash: Digest::of(id.as_str()),
        id,
        user_id: owner.clone(),
        name: "deploy".parse()?,
        prefix: "hxb_Zt9q".to_owned(),
        scope: TokenScope { access: TokenAccess::Write, workspace: None },
        created_by: maker.clone(),
        created_at: now(),
        expires_at: now().plus_seconds(seconds),
        last_used_at: None,
        last_used_from: None,
        revoked_at: None,
    })
}

on_both_engines! {
    async fn a_service_account_belongs_to_one_organization(store: TestStore) {
        let (hers, his) = (add_organization(&store, "Ada").await?, add_organization(&store, "Bob").await?);
        let (one, two) = (add(&store, &hers, "one").await?, add(&store, &hers, "two").await?);
        let listed = service_accounts::list(&*store, &hers).await?;
        assert_eq!(listed.iter().map(|account| &account.user.id).collect::<Vec<_>>(), [&one, &two]);
        assert!(listed.iter().all(|account| account.role == Some(OrganizationRole::Member)));
        assert_eq!(service_accounts::count(&*store, &hers).await?, 2);
        assert!(service_accounts::list(&*store, &his).await?.is_empty());
        assert_eq!(service_accounts::get(&*store, &his, &one).await?, None);
        assert_eq!(service_accounts::get(&*store, &hers, hers.user()).await?, None, "she is a person");
        let account = service_accounts::get(&*store, &hers, &one).await?.context("one")?.user;
        assert_eq!((account.kind(), account.may_join(hers.id()), account.may_join(his.id())), (UserKind::Service, true, false));
        let ada = users::get(&*store, hers.user()).await?.context("Ada")?;
        assert_eq!((ada.kind(), ada.may_join(his.id())), (UserKind::Person, true));
        let people = users::people_among(&*store, &[one, hers.user().clone(), two, his.user().clone()]).await?;
        assert_eq!(people.len(), 2);
        assert!(people.contains(hers.user()) && people.contains(his.user()));
        assert!(users::people_among(&*store, &[]).await?.is_empty());
    }

    async fn a_service_account_that_is_removed_leaves_its_name_and_nothing_else(store: TestStore) {
        let (hers, his) = (add_organization(&store, "Ada").await?, add_organization(&store, "Bob").await?);
        let workspace = add_workspace(&store, &hers, "shop").await?;
        let group = add_group(&store, &workspace, "deployers", None).await?;
        let (gone, kept) = (add(&store, &hers, "gone").await?, add(&store, &hers, "kept").await?);
        let tx = store.begin().await?;
        for account in [&gone, &kept] {
            workspace_members::add(&tx, &workspace, account, now()).await?;
            groups::add_member(&tx, &workspace, &group, account).await?;
            api_tokens::insert(&tx, &token(account, hers.user(), 3600)?).await?;
        }
        assert!(!service_accounts::remove(&tx, &his, &gone, now()).await?, "it is not his");
        assert!(!service_accounts::remove(&tx, &hers, hers.user(), now()).await?, "she is a person");
        assert!(service_accounts::remove(&tx, &hers, &gone, now()).await?);
        assert!(!service_accounts::remove(&tx, &hers, &gone, now()).await?, "it is gone already");
        tx.commit().await?;
        assert_eq!(service_accounts::list(&*store, &hers).await?.len(), 1);
        assert_eq!(users::get(&*store, &gone).await?, None);
        assert_eq!(api_tokens::count(&*store, &gone, now()).await?, 0);
        assert!(organizations::scope_for(&*store, &gone, hers.id()).await?.is_none());
        let members = workspace_members::list(&*store, &workspace, None, 10).await?;
        assert_eq!(members.iter().map(|(member, _)| &member.user.id).collect::<Vec<_>>(), [&kept]);
        let left = groups::memberships_in(&*store, &workspace, [&group]).await?;
        assert_eq!(left, [(group.clone(), kept.clone())]);
        assert_eq!(api_tokens::count(&*store, &kept, now()).await?, 1);
    }

    async fn tokens_are_revoked_by_who_made_them_within_one_organization(store: TestStore) {
        let (hers, his) = (add_organization(&store, "Ada").await?, add_organization(&store, "Bob").await?);
        let (account, other) = (add(&store, &hers, "one").await?, add(&store, &his, "other").await?);
        let tx = store.begin().await?;
        let mut made = Vec::new();
        for (owner, maker, seconds) in [
            (&account, hers.user(), 3600),
            (&account, hers.user(), 3600),
            // By somebody else, over, elsewhere, and her own.
            (&account, his.user(), 3600),
            (&account, hers.user(), -1),
            (&other, hers.user(), 3600),
            (hers.user(), hers.user(), 3600),
        ] {
            let token = token(owner, maker, seconds)?;
            api_tokens::insert(&tx, &token).await?;
            made.push(token.id);
        }
        tx.commit().await?;
        let tx = store.begin().await?;
        let mut revoked = service_accounts::revoke_tokens_made_by(&tx, &hers, hers.user(), now()).await?;
        assert!(service_accounts::revoke_tokens_made_by(&tx, &hers, hers.user(), now()).await?.is_empty());
        tx.commit().await?;
        revoked.sort();
        made[..2].sort();
        assert_eq!(revoked, made[..2]);
        for (owner, living) in [(&account, 1), (&other, 1), (hers.user(), 1)] {
            assert_eq!(api_tokens::count(&*store, owner, now()).await?, living);
        }
    }

    async fn a_service_account_is_not_counted_among_the_members_of_a_workspace(store: TestStore) {
        let hers = add_organization(&store, "Ada").await?;
        let workspace = add_workspace(&store, &hers, "shop").await?;
        let account = add(&store, &hers, "one").await?;
        let tx = store.begin().await?;
        workspace_members::add(&tx, &workspace, &account, now()).await?;
        workspace_members::add(&tx, &workspace, hers.user(), now()).await?;
        tx.commit().await?;
        assert_eq!(workspace_members::list(&*store, &workspace, None, 10).await?.len(), 2);
        assert_eq!(workspace_members::count(&*store, &workspace).await?, 1);
    }
}
