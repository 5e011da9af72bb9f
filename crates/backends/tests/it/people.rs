use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use hexabase_backends::store::identities::{self, Identity, Said};
use hexabase_backends::store::organizations::{Organization, OrganizationScope};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{
    Store, StoreError, Tx, Unique, audit, groups, organizations, users, workspace_members, workspaces,
};
use hexabase_core::ids::UserId;
use hexabase_core::roles::OrganizationRole;
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_group, add_organization, add_person, add_workspace, now, organization, person};

const ISSUER: &str = "https://accounts.example.com";
/// Longer than what does not wait takes.
const MOMENT: Duration = Duration::from_millis(500);

fn identity(user: &UserId, issuer: &str, subject: &str) -> Identity {
    let said = Said { email: Some(format!("{subject}@example.com")), email_verified: true, ..Said::default() };
    let (issuer, subject) = (issuer.to_owned(), subject.to_owned());
    Identity { id: new_id(now()), user_id: user.clone(), issuer, subject, said, created_at: now(), last_used_at: None }
}

/// What a first sign-in does: look, add, and look again when somebody else was faster.
async fn sign_in(store: &Store) -> anyhow::Result<UserId> {
    loop {
        let tx = store.begin().await?;
        if let Some(known) = identities::find(&tx, ISSUER, "ada").await? {
            return Ok(known.user_id);
        }
        let ada = person("Ada")?;
        users::insert(&tx, &ada).await?;
        match identities::insert(&tx, &identity(&ada.id, ISSUER, "ada")).await {
            Ok(()) => {}
            Err(StoreError::NotUnique(Unique::Identity)) => continue,
            Err(error) => return Err(error.into()),
        }
        organizations::insert(&tx, &organization("Ada", Some(&ada.id))?, &ada.id).await?;
        tx.commit().await?;
        return Ok(ada.id);
    }
}

/// Ada's organisation with two workspaces, and Bob, who is in the first of them.
async fn with_two_workspaces(
    store: &Store,
) -> anyhow::Result<(OrganizationScope, WorkspaceScope, WorkspaceScope, UserId)> {
    let organization = add_organization(store, "Ada").await?;
    let shop = add_workspace(store, &organization, "shop").await?;
    let bank = add_workspace(store, &organization, "bank").await?;
    let bob = add_person(store, "Bob").await?;
    let tx = store.begin().await?;
    add(&tx, &shop, &bob).await?;
    tx.commit().await?;
    Ok((organization, shop, bank, bob))
}

async fn add(tx: &Tx, scope: &WorkspaceScope, user: &UserId) -> Result<(), StoreError> {
    organizations::join_through(tx, scope, user, now()).await?;
    workspace_members::add(tx, scope, user, now()).await
}

/// Takes somebody out of a workspace; says whether they left the organisation with it.
async fn lose(store: Store, scope: WorkspaceScope, user: UserId) -> Result<bool, StoreError> {
    let tx = store.begin().await?;
    workspace_members::remove(&tx, &scope, &user).await?;
    let left = organizations::leave_through(&tx, &scope, &user).await?;
    tx.commit().await?;
    Ok(left)
}

on_both_engines! {
    async fn twenty_parallel_first_sign_ins_make_one_organization(store: TestStore) {
        let mut sign_ins = Vec::new();
        for _ in 0..20 {
            let store = (*store).clone();
            sign_ins.push(tokio::spawn(async move { sign_in(&store).await }));
        }
        let mut people = BTreeSet::new();
        for sign_in in sign_ins {
            people.insert(sign_in.await??);
        }
        assert_eq!(people.len(), 1);
        let ada = people.first().context("one person")?;
        let organizations = organizations::list_for_user(&*store, ada, None, 10).await?;
        assert_eq!(organizations.len(), 1);
        assert_eq!(organizations[0].0.personal_of.as_ref(), Some(ada));
        assert_eq!(organizations[0].1, OrganizationRole::Admin);
        assert_eq!(users::find_by_verified_email(&*store, "ada@example.com").await?.len(), 1);
    }

    async fn a_person_has_one_personal_organization(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        let tx = store.begin().await?;
        organizations::insert(&tx, &organization("Ada", Some(&ada))?, &ada).await?;
        let second = organizations::insert(&tx, &organization("Ada", Some(&ada))?, &ada).await;
        assert!(matches!(second, Err(StoreError::NotUnique(Unique::PersonalOrganization))), "{second:?}");
    }

    async fn the_same_subject_of_another_issuer_is_somebody_else(store: TestStore) {
        let ada = sign_in(&store).await?;
        assert!(identities::find(&*store, "https://evil.example.com", "ada").await?.is_none());
        let tx = store.begin().await?;
        identities::insert(&tx, &identity(&ada, "https://github.com", "17")).await?;
        tx.commit().await?;
        let found = identities::find(&*store, "https://github.com", "17").await?.context("Ada")?;
        assert_eq!(found.user_id, ada);
    }

    async fn an_identity_reads_back_as_it_was_written_and_belongs_to_one_person(store: TestStore) {
        let (ada, bob) = (sign_in(&store).await?, add_person(&store, "Bob").await?);
        let written = identity(&bob, "https://github.com", "17");
        let tx = store.begin().await?;
        identities::insert(&tx, &written).await?;
        tx.commit().await?;
        assert_eq!(identities::list_for_user(&*store, &bob).await?, std::slice::from_ref(&written));
        let tx = store.begin().await?;
        let taken = identities::insert(&tx, &identity(&ada, "https://github.com", "17")).await;
        assert!(matches!(taken, Err(StoreError::NotUnique(Unique::Identity))), "{taken:?}");
        drop(tx);
        let tx = store.begin().await?;
        let said = Said { display_name: Some("B. Bob".to_owned()), email: None, email_verified: false };
        identities::note_use(&tx, &written.id, &said, now()).await?;
        tx.commit().await?;
        let read = identities::find(&*store, "https://github.com", "17").await?.context("Bob")?;
        assert_eq!(read, Identity { said, last_used_at: Some(now()), ..written });
    }

    async fn nobody_takes_away_another_persons_identity(store: TestStore) {
        let (ada, bob) = (sign_in(&store).await?, add_person(&store, "Bob").await?);
        let hers = identities::list_for_user(&*store, &ada).await?;
        let tx = store.begin().await?;
        assert!(!identities::remove(&tx, &bob, &hers[0].id).await?);
        assert!(identities::remove(&tx, &ada, &hers[0].id).await?);
        assert!(!identities::remove(&tx, &ada, &hers[0].id).await?);
        tx.commit().await?;
        assert_eq!(identities::find(&*store, ISSUER, "ada").await?, None);
    }

    async fn the_oldest_identity_is_the_first(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        for (second, subject) in [(9, "late"), (0, "first"), (5, "second")] {
            let at = now().plus_seconds(second);
            let identity = Identity { id: new_id(at), created_at: at, ..identity(&ada, ISSUER, subject) };
            let tx = store.begin().await?;
            identities::insert(&tx, &identity).await?;
            tx.commit().await?;
        }
        let listed: Vec<_> = identities::list_for_user(&*store, &ada).await?.into_iter().map(|one| one.subject).collect();
        assert_eq!(listed, ["first", "second", "late"]);
    }

    async fn only_verified_addresses_find_a_person(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        assert_eq!(users::find_by_verified_email(&*store, "ADA@Example.com").await?[0].id, ada);
        let tx = store.begin().await?;
        assert!(users::update_profile(&tx, &ada, &"Ada L".parse()?, Some("new@example.com"), false).await?);
        assert!(!users::update_profile(&tx, &new_id(now()), &"Nobody".parse()?, None, false).await?);
        tx.commit().await?;
        for address in ["ada@example.com", "new@example.com"] {
            assert!(users::find_by_verified_email(&*store, address).await?.is_empty(), "{address}");
        }
        let read = users::get(&*store, &ada).await?.context("Ada")?;
        assert_eq!((read.display_name.as_str(), read.email.as_deref()), ("Ada L", Some("new@example.com")));
    }

    async fn an_organization_reads_back_as_it_was_written(store: TestStore) {
        let ada = add_person(&store, "Ada").await?;
        let written = Organization { display_name: Some("株式会社ヘキサ".parse()?), ..organization("hexa", Some(&ada))? };
        let tx = store.begin().await?;
        let scope = organizations::insert(&tx, &written, &ada).await?;
        tx.commit().await?;
        assert_eq!(organizations::get(&*store, &scope).await?, Some(written));
    }

    async fn a_stranger_has_no_scope_in_an_organization(store: TestStore) {
        let hers = add_organization(&store, "Ada").await?;
        let his = add_organization(&store, "Bob").await?;
        assert_eq!(organizations::scope_for(&*store, his.user(), hers.id()).await?, None);
        assert_eq!(organizations::scope_for(&*store, hers.user(), &new_id(now())).await?, None);
        assert_eq!(organizations::scope_for(&*store, hers.user(), hers.id()).await?, Some(hers));
    }

    async fn members_are_listed_in_pages_with_their_names(store: TestStore) {
        let scope = add_organization(&store, "Ada").await?;
        let mut expected = vec![scope.user().clone()];
        for name in ["Bob", "Cem", "Dee", "Eve"] {
            let user = add_person(&store, name).await?;
            let tx = store.begin().await?;
            organizations::add_member(&tx, &scope, &user, OrganizationRole::Member, now()).await?;
            tx.commit().await?;
            expected.push(user);
        }
        expected.sort();
        let mut seen: Vec<UserId> = Vec::new();
        loop {
            let page = organizations::list_members(&*store, &scope, seen.last(), 2).await?;
            if page.is_empty() {
                break;
            }
            seen.extend(page.into_iter().map(|member| member.user.id));
        }
        assert_eq!(seen, expected);
        let tx = store.begin().await?;
        let again = organizations::add_member(&tx, &scope, scope.user(), OrganizationRole::Member, now()).await;
        assert!(matches!(again, Err(StoreError::NotUnique(Unique::OrganizationMember))), "{again:?}");
    }

    async fn a_role_can_be_changed_for_members_only(store: TestStore) {
        let scope = add_organization(&store, "Ada").await?;
        let bob = add_person(&store, "Bob").await?;
        let tx = store.begin().await?;
        assert!(!organizations::set_member_role(&tx, &scope, &bob, OrganizationRole::Admin).await?);
        organizations::add_member(&tx, &scope, &bob, OrganizationRole::Member, now()).await?;
        assert!(organizations::set_member_role(&tx, &scope, &bob, OrganizationRole::Admin).await?);
        tx.commit().await?;
        assert_eq!(organizations::member_role(&*store, &scope, &bob).await?, Some(OrganizationRole::Admin));
    }

    async fn nobody_who_does_not_exist_becomes_a_member(store: TestStore) {
        let scope = add_organization(&store, "Ada").await?;
        let tx = store.begin().await?;
        let added = organizations::add_member(&tx, &scope, &new_id(now()), OrganizationRole::Member, now()).await;
        assert!(matches!(added, Err(StoreError::MissingReference)), "{added:?}");
    }

    async fn whoever_joins_through_a_workspace_keeps_an_earlier_role(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let workspace = add_workspace(&store, &organization, "shop").await?;
        let bob = add_person(&store, "Bob").await?;
        let tx = store.begin().await?;
        for user in [&bob, &bob, organization.user()] {
            organizations::join_through(&tx, &workspace, user, now()).await?;
        }
        tx.commit().await?;
        let role = |user| organizations::member_role(&*store, &organization, user);
        assert_eq!(role(&bob).await?, Some(OrganizationRole::Member));
        assert_eq!(role(organization.user()).await?, Some(OrganizationRole::Admin));
    }

    async fn whoever_joined_through_workspaces_leaves_with_the_last_of_them(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        let bank = add_workspace(&store, &organization, "bank").await?;
        let (bob, cem) = (add_person(&store, "Bob").await?, add_person(&store, "Cem").await?);
        let tx = store.begin().await?;
        organizations::add_member(&tx, &organization, &cem, OrganizationRole::Member, now()).await?;
        for (user, scope) in [(&bob, &shop), (&bob, &bank), (&cem, &shop)] {
            organizations::join_through(&tx, scope, user, now()).await?;
            workspace_members::add(&tx, scope, user, now()).await?;
        }
        workspace_members::remove(&tx, &shop, &bob).await?;
        assert!(!organizations::leave_through(&tx, &shop, &bob).await?, "the bank is left");
        workspace_members::remove(&tx, &bank, &bob).await?;
        assert!(organizations::leave_through(&tx, &bank, &bob).await?);
        workspace_members::remove(&tx, &shop, &cem).await?;
        assert!(!organizations::leave_through(&tx, &shop, &cem).await?, "a member on their own account");
        tx.commit().await?;
        let role = |user| organizations::member_role(&*store, &organization, user);
        assert_eq!(role(&bob).await?, None);
        assert_eq!(role(&cem).await?, Some(OrganizationRole::Member));
    }

    async fn whoever_loses_two_workspaces_at_once_leaves_the_organization(store: TestStore) {
        let (organization, shop, bank, bob) = with_two_workspaces(&store).await?;
        let tx = store.begin().await?;
        add(&tx, &bank, &bob).await?;
        tx.commit().await?;
        let first = store.begin().await?;
        workspace_members::remove(&first, &shop, &bob).await?;
        assert!(!organizations::leave_through(&first, &shop, &bob).await?, "the bank is left");
        let mut second = tokio::spawn(lose(store.reconnect().await?, bank, bob.clone()));
        // It cannot know yet whether the shop is left.
        assert!(tokio::time::timeout(MOMENT, &mut second).await.is_err());
        first.commit().await?;
        assert!(second.await??, "nothing is left");
        assert_eq!(organizations::member_role(&*store, &organization, &bob).await?, None);
    }

    async fn whoever_gets_one_workspace_and_loses_another_at_once_stays_in_the_organization(store: TestStore) {
        let (organization, shop, bank, bob) = with_two_workspaces(&store).await?;
        let first = store.begin().await?;
        add(&first, &bank, &bob).await?;
        let mut second = tokio::spawn(lose(store.reconnect().await?, shop, bob.clone()));
        assert!(tokio::time::timeout(MOMENT, &mut second).await.is_err());
        first.commit().await?;
        assert!(!second.await??, "the bank is left");
        assert_eq!(organizations::member_role(&*store, &organization, &bob).await?, Some(OrganizationRole::Member));
    }

    async fn a_member_with_a_role_of_their_own_stays_when_the_last_workspace_goes(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        let bob = add_person(&store, "Bob").await?;
        let tx = store.begin().await?;
        organizations::join_through(&tx, &shop, &bob, now()).await?;
        workspace_members::add(&tx, &shop, &bob, now()).await?;
        assert_eq!(organizations::count_admins(&tx, &organization).await?, 1);
        organizations::set_member_role(&tx, &organization, &bob, OrganizationRole::Admin).await?;
        assert_eq!(organizations::count_admins(&tx, &organization).await?, 2);
        workspace_members::remove(&tx, &shop, &bob).await?;
        assert!(!organizations::leave_through(&tx, &shop, &bob).await?);
        let member = organizations::get_member(&tx, &organization, &bob).await?.context("Bob")?;
        assert_eq!((member.user.id, member.role), (bob.clone(), OrganizationRole::Admin));
        assert!(organizations::remove_member(&tx, &organization, &bob).await?);
        assert!(!organizations::remove_member(&tx, &organization, &bob).await?);
        assert_eq!(organizations::get_member(&tx, &organization, &bob).await?, None);
        tx.commit().await?;
    }

    async fn the_workspaces_of_a_member_are_those_of_this_organization(store: TestStore) {
        let (hers, his) = (add_organization(&store, "Ada").await?, add_organization(&store, "Bob").await?);
        let (shop, bank) = (add_workspace(&store, &hers, "shop").await?, add_workspace(&store, &hers, "bank").await?);
        let (other, _) = (add_workspace(&store, &his, "other").await?, add_workspace(&store, &hers, "hidden").await?);
        let cem = add_person(&store, "Cem").await?;
        let tx = store.begin().await?;
        for scope in [&shop, &bank, &other] {
            workspace_members::add(&tx, scope, &cem, now()).await?;
        }
        tx.commit().await?;
        let expected = [shop.workspace().clone(), bank.workspace().clone()];
        assert_eq!(workspaces::ids_of_member(&*store, &hers, &cem).await?, expected);
    }

    async fn nobody_has_a_scope_in_an_organization_that_was_deleted_or_in_its_workspaces(store: TestStore) {
        let (hers, his) = (add_organization(&store, "Ada").await?, add_organization(&store, "Bob").await?);
        let (shop, other) = (add_workspace(&store, &hers, "shop").await?, add_workspace(&store, &his, "other").await?);
        let (group, cem) = (add_group(&store, &shop, "ops", None).await?, add_person(&store, "Cem").await?);
        let tx = store.begin().await?;
        for scope in [&shop, &other] {
            organizations::join_through(&tx, scope, &cem, now()).await?;
            workspace_members::add(&tx, scope, &cem, now()).await?;
        }
        groups::add_member(&tx, &shop, &group, &cem).await?;
        organizations::rename(&tx, &hers, &"Ada & Co".parse()?).await?;
        let left = organizations::delete(&tx, &hers, now()).await?;
        tx.commit().await?;
        let expected = [(hers.user().clone(), OrganizationRole::Admin), (cem.clone(), OrganizationRole::Member)];
        assert_eq!(left, expected);
        for user in [hers.user(), &cem] {
            assert_eq!(organizations::scope_for(&*store, user, hers.id()).await?, None);
            assert_eq!(workspaces::scope_for(&*store, user, shop.workspace()).await?, None);
        }
        let row = organizations::get(&*store, &hers).await?.context("a record stays")?;
        assert_eq!((row.name.as_str(), row.deleted_at), ("Ada & Co", Some(now())));
        assert!(workspaces::scope_for(&*store, &cem, other.workspace()).await?.is_some());
    }

    async fn whoever_administered_an_organization_when_it_was_deleted_keeps_its_log(store: TestStore) {
        let (hers, his) = (add_organization(&store, "Ada").await?, add_organization(&store, "Bob").await?);
        let cem = add_person(&store, "Cem").await?;
        let tx = store.begin().await?;
        organizations::add_member(&tx, &hers, &cem, OrganizationRole::Member, now()).await?;
        assert_eq!(audit::scope_of_former_admin(&tx, hers.user(), hers.id()).await?, None, "it is there");
        organizations::delete(&tx, &hers, now()).await?;
        tx.commit().await?;
        let scope = audit::scope_of_former_admin(&*store, hers.user(), hers.id()).await?.context("Ada")?;
        assert_eq!(scope.organization(), hers.id());
        for (user, organization) in [(&cem, &hers), (his.user(), &hers), (his.user(), &his), (hers.user(), &his)] {
            assert_eq!(audit::scope_of_former_admin(&*store, user, organization.id()).await?, None);
        }
    }
}
