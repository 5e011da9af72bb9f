use hexabase_app::gateway::{self, TokenOf};
use hexabase_app::members::{self, Invitee};
use hexabase_app::{Error, Origin, users};
use hexabase_backends::store::{service_account_tokens, workspaces as rows};
use hexabase_testkit::on_both_engines;

use crate::support::{Stage, identity};

on_both_engines! {
    async fn whoever_is_removed_while_a_token_is_made_for_them_is_not_given_it(store: TestStore) {
        let stage = Stage::set(store).await?;
        let app = &stage.app;
        let origin = Origin { request_id: app.new_id()?, source: None };
        let bob = users::sign_in(app, &identity("bob"), &origin).await?;
        members::add(app, &stage.alice, &stage.id, &Invitee::User(bob.clone()), &[]).await?;
        let early = TokenOf { workspace: &stage.id, user: &bob, namespace: "web", service_account: "early" };
        gateway::note_token(app, &early).await?;
        members::remove(app, &stage.alice, &stage.id, &bob).await?;
        for token in [early, TokenOf { service_account: "late", ..early }] {
            let refused = gateway::note_token(app, &token).await;
            assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
        }
        let scope = rows::scope_for(&app.store, &stage.alice.user, &stage.id).await?.expect("hers");
        let noted = service_account_tokens::list(&app.store, &scope, None).await?;
        let noted: Vec<_> = noted.iter().map(|token| token.service_account.as_str()).collect();
        assert_eq!(noted, ["early"]);
    }
}
