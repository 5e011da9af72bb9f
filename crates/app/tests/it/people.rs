use hexabase_app::users::{self, ExternalIdentity};
use hexabase_app::{Error, Origin};
use hexabase_backends::store::audit;
use hexabase_testkit::on_both_engines;
use serde_json::json;

use crate::support::{app, identity};

on_both_engines! {
    async fn an_identity_provider_that_sends_control_characters_breaks_nothing(store: TestStore) {
        let app = app(&store).await?;
        let origin = Origin { request_id: app.new_id()?, source: None };
        let odd = ExternalIdentity {
            display_name: Some("Al\0ice".to_owned()),
            email: Some("alice\0@example.com".to_owned()),
            email_verified: true,
            ..identity("alice")
        };
        let user = users::get(&app, &users::sign_in(&app, &odd, &origin).await?).await?;
        assert_eq!((user.display_name.as_str(), user.email, user.email_verified), ("Alice", None, false));
        let refused = users::sign_in(&app, &identity("al\0ice"), &origin).await;
        assert!(matches!(refused, Err(Error::Unauthenticated(_))), "{refused:?}");
    }

    async fn a_sign_in_that_changes_the_person_says_so_once_in_their_own_log(store: TestStore) {
        let app = app(&store).await?;
        let origin = Origin { request_id: app.new_id()?, source: Some("192.0.2.1".to_owned()) };
        let known = ExternalIdentity { email: Some("alice@example.com".to_owned()), ..identity("alice") };
        let user = users::sign_in(&app, &known, &origin).await?;
        let told = async || audit::list_of_user(&app.store, &user, 0, 100).await;
        users::sign_in(&app, &known, &origin).await?;
        assert_eq!(told().await?, [], "nothing has changed");
        let verified = ExternalIdentity { email_verified: true, ..known.clone() };
        let renamed = ExternalIdentity { display_name: Some("Alice".to_owned()), ..verified.clone() };
        let moved = ExternalIdentity { email: Some("a@example.com".to_owned()), ..renamed.clone() };
        for (number, changed) in (1..).zip([verified, renamed, moved]) {
            users::sign_in(&app, &changed, &origin).await?;
            users::sign_in(&app, &changed, &origin).await?;
            assert_eq!(told().await?.len(), number);
        }
        let profile = |name: &str, email: &str, verified: bool| {
            Some(json!({ "name": name, "email": email, "email_verified": verified }))
        };
        let states = [
            profile("Somebody", "alice@example.com", false),
            profile("Somebody", "alice@example.com", true),
            profile("Alice", "alice@example.com", true),
            profile("Alice", "a@example.com", true),
        ];
        for (row, state) in told().await?.into_iter().zip(states.windows(2)) {
            let entry = row.entry;
            assert_eq!((entry.action.as_str(), &entry.subject), ("account.changed", &user.to_string()));
            assert_eq!((entry.credential.as_str(), entry.source.as_deref()), ("sign-in", Some("192.0.2.1")));
            assert_eq!((entry.before, entry.after), (state[0].clone(), state[1].clone()));
        }
    }
}
