use std::time::Duration;

use hexabase_backends::store::service_account_tokens::{self as tokens, TokenOf, TokensGiven};
use hexabase_backends::store::{workspace_members, workspaces};
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_testkit::on_both_engines;
use serde_json::json;

use crate::scenery::{add_organization, add_person, add_workspace, now};

fn given(user: &UserId, namespace: &str, service_account: &str, first: i64, last: i64) -> TokensGiven {
    TokensGiven {
        user_id: user.clone(),
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        first_at: now().plus_seconds(first),
        last_at: now().plus_seconds(last),
    }
}

/// A token of this ServiceAccount in the namespace `web`.
fn of<'a>(workspace: &'a WorkspaceId, user: &'a UserId, service_account: &'a str) -> TokenOf<'a> {
    TokenOf { workspace, user, namespace: "web", service_account }
}

on_both_engines! {
    async fn a_person_and_a_service_account_come_to_one_row_with_the_first_time_and_the_last(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let (ada, bob) = (scope.user().clone(), add_person(&store, "Bob").await?);
        let times = [(&bob, "robot", 1), (&bob, "default", 2), (&ada, "robot", 3), (&bob, "robot", 4)];
        for (user, account, seconds) in times {
            let tx = store.begin().await?;
            let now = now().plus_seconds(seconds);
            tokens::note_for_issuer(&tx, &of(scope.workspace(), user, account), now).await?;
            tx.commit().await?;
        }
        let of_bob = [given(&bob, "web", "default", 2, 2), given(&bob, "web", "robot", 1, 4)];
        assert_eq!(tokens::list(&*store, &scope, Some(&bob)).await?, of_bob);
        assert_eq!(tokens::list(&*store, &scope, Some(&ada)).await?, [given(&ada, "web", "robot", 3, 3)]);
        assert_eq!(tokens::list(&*store, &scope, None).await?.len(), 3);
    }

    async fn what_was_given_since_it_was_read_is_not_forgotten(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let ada = scope.user().clone();
        let tx = store.begin().await?;
        tokens::note_for_issuer(&tx, &of(scope.workspace(), &ada, "robot"), now()).await?;
        tokens::note_for_issuer(&tx, &of(scope.workspace(), &ada, "robot"), now().plus_seconds(1)).await?;
        assert!(!tokens::forget(&tx, &scope, &given(&ada, "web", "robot", 0, 0)).await?);
        let read = tokens::list(&tx, &scope, Some(&ada)).await?;
        assert_eq!(read, [given(&ada, "web", "robot", 0, 1)]);
        assert!(tokens::forget(&tx, &scope, &read[0]).await? && !tokens::forget(&tx, &scope, &read[0]).await?);
        tx.commit().await?;
        assert_eq!(tokens::list(&*store, &scope, None).await?, []);
    }

    async fn another_workspace_knows_nothing_of_it_and_one_that_goes_takes_its_own_along(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        let bank = add_workspace(&store, &organization, "bank").await?;
        let ada = shop.user().clone();
        let tx = store.begin().await?;
        for scope in [&shop, &bank] {
            tokens::note_for_issuer(&tx, &of(scope.workspace(), &ada, "robot"), now()).await?;
        }
        assert!(tokens::forget(&tx, &shop, &given(&ada, "web", "robot", 0, 0)).await?);
        assert_eq!(tokens::list(&tx, &shop, None).await?, []);
        assert_eq!(tokens::list(&tx, &bank, None).await?.len(), 1);
        tokens::note_for_issuer(&tx, &of(shop.workspace(), &ada, "robot"), now()).await?;
        workspaces::request_deletion(&tx, &bank, now()).await?;
        workspaces::set_deleted(&tx, bank.workspace(), &json!({}), now()).await?;
        assert_eq!(tokens::list(&tx, &bank, None).await?, []);
        assert_eq!(tokens::list(&tx, &shop, None).await?.len(), 1);
        tx.commit().await?;
    }

    async fn what_a_person_was_given_is_counted_in_every_living_workspace_of_one_organization(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        let bank = add_workspace(&store, &organization, "bank").await?;
        let gone = add_workspace(&store, &organization, "gone").await?;
        let other = add_workspace(&store, &add_organization(&store, "Eve").await?, "shop").await?;
        let bob = add_person(&store, "Bob").await?;
        let tx = store.begin().await?;
        for scope in [&shop, &gone, &other] {
            for account in ["robot", "default"] {
                tokens::note_for_issuer(&tx, &of(scope.workspace(), &bob, account), now()).await?;
            }
            tokens::note_for_issuer(&tx, &of(scope.workspace(), organization.user(), "robot"), now()).await?;
        }
        tokens::note_for_issuer(&tx, &of(bank.workspace(), organization.user(), "robot"), now()).await?;
        workspaces::request_deletion(&tx, &gone, now()).await?;
        workspaces::set_deleted(&tx, gone.workspace(), &json!({}), now()).await?;
        tx.commit().await?;
        // He is a member of none of them.
        let found = tokens::count_in_organization(&*store, &organization, &bob).await?;
        let found: Vec<_> = found.iter().map(|(id, name, accounts)| (id, name.as_str(), *accounts)).collect();
        assert_eq!(found, [(shop.workspace(), "shop", 2)]);
        let found = tokens::count_in_organization(&*store, &organization, organization.user()).await?;
        assert_eq!(found.iter().map(|(_, _, accounts)| *accounts).collect::<Vec<_>>(), [1, 1]);
    }

    async fn nobody_fills_the_database_with_tokens_of_ever_more_service_accounts(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let (ada, bob) = (scope.user().clone(), add_person(&store, "Bob").await?);
        let tx = store.begin().await?;
        for number in 0..tokens::MOST {
            let account = format!("robot-{number}");
            assert!(tokens::has_room_for_issuer(&tx, &of(scope.workspace(), &ada, &account)).await?);
            assert!(tokens::note_for_issuer(&tx, &of(scope.workspace(), &ada, &account), now()).await?);
        }
        for (user, account, room) in [(&ada, "more", false), (&ada, "robot-0", true), (&bob, "more", true)] {
            assert_eq!(tokens::has_room_for_issuer(&tx, &of(scope.workspace(), user, account)).await?, room);
        }
        assert!(!tokens::note_for_issuer(&tx, &of(scope.workspace(), &ada, "more"), now()).await?);
        // One that is known goes on, and so does everybody else.
        assert!(tokens::note_for_issuer(&tx, &of(scope.workspace(), &ada, "robot-0"), now().plus_seconds(1)).await?);
        assert!(tokens::note_for_issuer(&tx, &of(scope.workspace(), &bob, "more"), now()).await?);
        tx.commit().await?;
        let all = tokens::list(&*store, &scope, Some(&ada)).await?;
        assert_eq!(u64::try_from(all.len())?, tokens::MOST);
    }

    async fn many_tokens_at_once_are_all_noted(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let mut writers = Vec::new();
        for number in 0..20_i64 {
            let (store, scope) = ((*store).clone(), scope.clone());
            writers.push(tokio::spawn(async move {
                let tx = store.begin().await?;
                let (account, now) = (format!("robot-{}", number % 2), now().plus_seconds(number));
                tokens::note_for_issuer(&tx, &of(scope.workspace(), scope.user(), &account), now).await?;
                tx.commit().await
            }));
        }
        for writer in writers {
            writer.await??;
        }
        assert_eq!(tokens::list(&*store, &scope, Some(scope.user())).await?.len(), 2);
    }

    async fn whoever_is_about_to_be_given_a_token_is_removed_only_when_that_is_noted(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let bob = add_person(&store, "Bob").await?;
        let tx = store.begin().await?;
        workspace_members::add(&tx, &scope, &bob, now()).await?;
        tx.commit().await?;
        let tx = store.begin().await?;
        assert!(workspace_members::stays_member_for_issuer(&tx, scope.workspace(), &bob).await?);
        let (other, shop, user) = (store.reconnect().await?, scope.clone(), bob.clone());
        let mut removal = tokio::spawn(async move {
            let tx = other.begin().await?;
            workspace_members::remove(&tx, &shop, &user).await?;
            tx.commit().await
        });
        let early = tokio::time::timeout(Duration::from_millis(200), &mut removal).await;
        assert!(early.is_err(), "it did not wait");
        tx.commit().await?;
        removal.await??;
        let tx = store.begin().await?;
        assert!(!workspace_members::stays_member_for_issuer(&tx, scope.workspace(), &bob).await?);
    }
}
