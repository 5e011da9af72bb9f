use anyhow::Context;
use hexabase_backends::store::invitations::{self, Invitation};
use hexabase_backends::store::organizations::{self, OrganizationScope};
use hexabase_backends::store::{Digest, Store, StoreError, Unique};
use hexabase_core::ids::UserId;
use hexabase_core::invitations::{InvitationState, InvitedTo, Language, MailState};
use hexabase_core::roles::OrganizationRole;
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_group, add_organization, add_person, add_workspace, is_stale, now};

const WEEK: i64 = 7 * 24 * 3600;

fn invitation(scope: &OrganizationScope, address: &str, token: &str) -> anyhow::Result<Invitation> {
    Ok(Invitation {
        id: new_id(now()),
        organization_id: scope.id().clone(),
        address: address.parse()?,
        role: OrganizationRole::Member,
        invited_to: Vec::new(),
        language: Language::Japanese,
        token_hash: Digest::of(token),
        token_sealed: Some(vec![1, 2, 3]),
        invited_by: scope.user().clone(),
        created_at: now(),
        expires_at: now().plus_seconds(WEEK),
        accepted_by: None,
        accepted_at: None,
        revoked_at: None,
        mail_state: Some(MailState::Queued),
        mail_message: None,
        resent: 0,
        resent_since: now(),
        resent_lately: 0,
    })
}

async fn insert(store: &Store, scope: &OrganizationScope, row: &Invitation) -> Result<(), StoreError> {
    let tx = store.begin().await?;
    invitations::insert(&tx, scope, row).await?;
    tx.commit().await
}

async fn load(store: &Store, row: &Invitation) -> anyhow::Result<Invitation> {
    invitations::load_for_job(store, &row.id).await?.context("the invitation is there")
}

/// What accepting comes to in the store; whether it succeeded.
async fn accept(store: &Store, scope: &OrganizationScope, token: &str, user: &UserId) -> anyhow::Result<bool> {
    let tx = store.begin().await?;
    organizations::lock(&tx, scope).await?;
    let row = invitations::lock_by_token(&tx, &Digest::of(token)).await?.context("the invitation is there")?;
    if row.state(now()) != InvitationState::Pending {
        return Ok(false);
    }
    invitations::accept(&tx, &row.id, user, now()).await?;
    tx.commit().await?;
    Ok(true)
}

on_both_engines! {
    async fn an_invitation_reads_back_as_it_was_written_in_its_organization_only(store: TestStore) {
        let (hers, his) = (add_organization(&store, "Ada").await?, add_organization(&store, "Bob").await?);
        let shop = add_workspace(&store, &hers, "shop").await?;
        let group = add_group(&store, &shop, "ops", None).await?;
        let invited_to = vec![InvitedTo { workspace: shop.workspace().clone(), groups: vec![group] }];
        let row = Invitation { invited_to, ..invitation(&hers, "Cem@Example.com", "one")? };
        insert(&store, &hers, &row).await?;
        assert_eq!(load(&store, &row).await?, row);
        assert_eq!(invitations::list(&*store, &hers, None, 10).await?, std::slice::from_ref(&row));
        assert!(invitations::list(&*store, &his, None, 10).await?.is_empty());
        let tx = store.begin().await?;
        assert!(invitations::lock(&tx, &his, &row.id).await?.is_none());
        assert!(is_stale(&invitations::revoke(&tx, &his, &row.id, now()).await));
        assert!(is_stale(&invitations::renew(&tx, &his, &row).await));
        assert_eq!(invitations::find_by_token(&tx, &Digest::of("one")).await?, Some(row));
        assert!(invitations::find_by_token(&tx, &Digest::of("two")).await?.is_none());
    }

    async fn one_invitation_waits_for_an_address_whatever_its_capitals(store: TestStore) {
        let (hers, his) = (add_organization(&store, "Ada").await?, add_organization(&store, "Bob").await?);
        let first = invitation(&hers, "cem@example.com", "1")?;
        insert(&store, &hers, &first).await?;
        let taken = insert(&store, &hers, &invitation(&hers, "CEM@example.com", "2")?).await;
        assert!(matches!(taken, Err(StoreError::NotUnique(Unique::PendingInvitation))), "{taken:?}");
        insert(&store, &his, &invitation(&his, "cem@example.com", "3")?).await?;
        let late = now().plus_seconds(WEEK);
        for (at, makes_room) in [(late.plus_seconds(-1), false), (late, true)] {
            let tx = store.begin().await?;
            invitations::release_expired(&tx, &hers, &first.address, at).await?;
            let again = invitations::insert(&tx, &hers, &invitation(&hers, "cem@example.com", "4")?).await;
            assert_eq!(again.is_ok(), makes_room);
            if makes_room {
                tx.commit().await?;
            }
        }
        assert_eq!(load(&store, &first).await?.token_sealed, None);
        assert_eq!(invitations::count_for_address(&*store, &hers, &first.address, now().plus_seconds(-1)).await?, 2);
        assert_eq!(invitations::count_for_address(&*store, &hers, &first.address, now()).await?, 0);
        assert_eq!(invitations::count_pending(&*store, &hers, now()).await?, 1);
        assert_eq!(invitations::count_pending(&*store, &hers, late).await?, 0);
    }

    async fn what_was_accepted_or_taken_back_stays_so(store: TestStore) {
        let hers = add_organization(&store, "Ada").await?;
        let cem = add_person(&store, "Cem").await?;
        let (accepted, revoked, left) =
            (invitation(&hers, "a@b", "1")?, invitation(&hers, "c@d", "2")?, invitation(&hers, "e@f", "3")?);
        for row in [&accepted, &revoked, &left] {
            insert(&store, &hers, row).await?;
        }
        let tx = store.begin().await?;
        invitations::accept(&tx, &accepted.id, &cem, now()).await?;
        invitations::revoke(&tx, &hers, &revoked.id, now()).await?;
        for row in [&accepted, &revoked] {
            assert!(is_stale(&invitations::accept(&tx, &row.id, &cem, now()).await));
            assert!(is_stale(&invitations::revoke(&tx, &hers, &row.id, now()).await));
            assert!(is_stale(&invitations::renew(&tx, &hers, row).await));
        }
        assert_eq!(invitations::revoke_all(&tx, &hers, now()).await?, 1);
        tx.commit().await?;
        for (row, state) in [
            (&accepted, InvitationState::Accepted),
            (&revoked, InvitationState::Revoked),
            (&left, InvitationState::Revoked),
        ] {
            let row = load(&store, row).await?;
            assert_eq!((row.state(now()), row.token_sealed), (state, None));
        }
        assert_eq!(load(&store, &accepted).await?.accepted_by, Some(cem));
    }

    async fn the_mail_of_an_old_token_changes_nothing(store: TestStore) {
        let hers = add_organization(&store, "Ada").await?;
        let old = invitation(&hers, "cem@example.com", "old")?;
        insert(&store, &hers, &old).await?;
        let mut new = Invitation { token_hash: Digest::of("new"), token_sealed: Some(vec![4]), ..old.clone() };
        (new.resent, new.resent_lately, new.expires_at) = (3, 2, now().plus_seconds(2 * WEEK));
        let tx = store.begin().await?;
        let tell = |hash, state| invitations::set_mail_for_job(&tx, &old.id, hash, state, Some("said"));
        tell(&old.token_hash, MailState::Queued).await?;
        invitations::renew(&tx, &hers, &new).await?;
        assert!(is_stale(&tell(&old.token_hash, MailState::Failed).await));
        assert!(invitations::find_by_token(&tx, &old.token_hash).await?.is_none());
        assert_eq!(invitations::lock(&tx, &hers, &old.id).await?.as_ref(), Some(&new));
        tell(&new.token_hash, MailState::Sent).await?;
        tx.commit().await?;
        let read = load(&store, &new).await?;
        assert_eq!((read.mail_state, read.mail_message.as_deref()), (Some(MailState::Sent), Some("said")));
        assert_eq!(read.token_sealed, None);
    }

    async fn of_twenty_acceptances_at_once_one_succeeds_fifty_times(store: TestStore) {
        let hers = add_organization(&store, "Ada").await?;
        let cem = add_person(&store, "Cem").await?;
        for round in 0..50 {
            let token = format!("token-{round}");
            insert(&store, &hers, &invitation(&hers, "cem@example.com", &token)?).await?;
            let mut all = Vec::new();
            for _ in 0..20 {
                let (store, hers, cem, token) = ((*store).clone(), hers.clone(), cem.clone(), token.clone());
                all.push(tokio::spawn(async move { accept(&store, &hers, &token, &cem).await }));
            }
            let mut succeeded = 0;
            for one in all {
                succeeded += u32::from(one.await??);
            }
            assert_eq!(succeeded, 1, "round {round}");
        }
    }
}
