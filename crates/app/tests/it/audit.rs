use hexabase_app::{Credential, Error, OpContext, Origin, audit, members, organization_members, organizations, users};
use hexabase_backends::store::audit::{AuditChain, NewAuditEntry, append};
use hexabase_core::audit::AuditEntry;
use hexabase_core::roles::OrganizationRole;
use hexabase_testkit::on_both_engines;

use crate::support::{Stage, identity};

on_both_engines! {
    async fn an_export_ends_when_whoever_reads_it_may_no_longer(store: TestStore) {
        let stage = Stage::set(store).await?;
        let app = &stage.app;
        let origin = Origin { request_id: app.new_id()?, source: None };
        let bob = users::sign_in(app, &identity("bob"), &origin).await?;
        members::add(app, &stage.alice, &stage.id, &members::Invitee::User(bob.clone()), &[]).await?;
        let organization = organizations::list(app, &stage.alice).await?.remove(0).0.id;
        let role = |role| organization_members::set_role(app, &stage.alice, &organization, &bob, role);
        role(OrganizationRole::Admin).await?;
        let tx = app.store.begin().await?;
        for _ in 0..1_100 {
            let entry = AuditEntry {
                id: app.new_id()?,
                at: app.clock.now(),
                actor: "system".to_owned(),
                on_behalf_of: None,
                credential: "system".to_owned(),
                source: None,
                request_id: String::new(),
                action: "member.added".to_owned(),
                subject: bob.to_string(),
                workspace: None,
                before: None,
                after: None,
            };
            append(&tx, NewAuditEntry { chain: AuditChain::Organization(organization.clone()), entry });
        }
        tx.commit().await?;
        let ctx = OpContext::of(bob.clone(), Credential::SignIn, app.clock.now(), &origin);
        let mut export = audit::export(app, &ctx, &organization).await?;
        assert_eq!(export.next().await?.len(), 500);
        role(OrganizationRole::Member).await?;
        let refused = export.next().await;
        assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
        // For who may, it is whole.
        let mut whole = audit::export(app, &stage.alice, &organization).await?;
        let mut read = 0;
        while let rows @ 1.. = whole.next().await?.len() {
            read += rows;
        }
        assert_eq!(i64::try_from(read)?, whole.head().seq);
    }
}
