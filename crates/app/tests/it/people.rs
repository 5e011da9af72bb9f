use hexabase_app::users::{self, ExternalIdentity};
use hexabase_app::{Error, Origin};
use hexabase_testkit::on_both_engines;

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
}
