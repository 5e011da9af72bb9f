use hexabase_backends::store::audit::{self, AuditChain, AuditFilter, NewAuditEntry};
use hexabase_backends::store::break_glass::{self, BreakGlass};
use hexabase_backends::store::organizations::OrganizationScope;
use hexabase_backends::store::{Digest, Store, organizations, workspaces};
use hexabase_core::audit::AuditEntry;
use hexabase_core::ids::UserId;
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_organization, add_person, add_workspace, now};

const MINUTE: i64 = 60;

async fn give(store: &Store, scope: &OrganizationScope, user: &UserId) -> anyhow::Result<BreakGlass> {
    let given = BreakGlass {
        id: new_id(now()),
        organization_id: scope.id().clone(),
        user_id: user.clone(),
        reason: "nobody of theirs can sign in".to_owned(),
        granted_by: "ada".to_owned(),
        started_at: now(),
        expires_at: now().plus_seconds(MINUTE),
        ended_at: None,
    };
    let tx = store.begin().await?;
    break_glass::insert(&tx, &given).await?;
    tx.commit().await?;
    Ok(given)
}

async fn write(store: &Store, scope: &OrganizationScope, actor: &UserId, at: Timestamp) -> anyhow::Result<()> {
    write_by(store, scope, actor, at, "session ses-00000000000000000000").await
}

async fn write_by(
    store: &Store,
    scope: &OrganizationScope,
    actor: &UserId,
    at: Timestamp,
    credential: &str,
) -> anyhow::Result<()> {
    let entry = AuditEntry {
        id: new_id(at),
        at,
        actor: actor.to_string(),
        on_behalf_of: None,
        credential: credential.to_owned(),
        source: None,
        request_id: "req-00000000000000000000".to_owned(),
        action: "member.added".to_owned(),
        subject: "x".to_owned(),
        workspace: None,
        before: None,
        after: None,
    };
    let tx = store.begin().await?;
    audit::append(&tx, NewAuditEntry { chain: AuditChain::Organization(scope.id().clone()), entry });
    Ok(tx.commit().await?)
}

on_both_engines! {
    async fn it_opens_one_organization_to_one_person_for_its_time(store: TestStore) {
        let (hers, his) = (add_organization(&store, "Ada").await?, add_organization(&store, "Bob").await?);
        let workspace = add_workspace(&store, &hers, "shop").await?;
        let staff = add_person(&store, "Cem").await?;
        let given = give(&store, &hers, &staff).await?;
        assert_eq!(break_glass::find(&*store, hers.id(), &staff, now()).await?, Some(given.clone()));
        let scope = async |user, organization: &OrganizationScope, at| {
            organizations::scope_by_break_glass(&*store, user, organization.id(), at).await
        };
        let found = scope(&staff, &hers, now()).await?;
        let found = found.map(|scope| (scope.role(), scope.break_glass().cloned()));
        assert_eq!(found, Some((OrganizationRole::Admin, Some(given.id.clone()))));
        let inside = workspaces::scope_by_break_glass(&*store, &staff, workspace.workspace(), now()).await?;
        let inside = inside.map(|scope| (scope.organization_role(), scope.is_member(), scope.break_glass().cloned()));
        assert_eq!(inside, Some((Some(OrganizationRole::Admin), false, Some(given.id))));
        for (user, organization, at) in [
            (&staff, &his, now()),
            (his.user(), &hers, now()),
            (hers.user(), &hers, now()),
            (&staff, &hers, now().plus_seconds(MINUTE)),
            (&staff, &hers, now().plus_seconds(-1)),
        ] {
            assert_eq!(scope(user, organization, at).await?, None);
        }
        let over = now().plus_seconds(MINUTE);
        assert_eq!(workspaces::scope_by_break_glass(&*store, &staff, workspace.workspace(), over).await?, None);
        // Membership is another matter.
        assert_eq!(organizations::scope_for(&*store, &staff, hers.id()).await?, None);
        assert_eq!(organizations::list_for_user(&*store, &staff, None, 10).await?, []);
    }

    async fn what_is_ended_is_over_at_once(store: TestStore) {
        let hers = add_organization(&store, "Ada").await?;
        let staff = add_person(&store, "Bob").await?;
        let given = give(&store, &hers, &staff).await?;
        let later = now().plus_seconds(10);
        let tx = store.begin().await?;
        assert!(break_glass::end(&tx, &given.id, later).await?);
        assert!(!break_glass::end(&tx, &given.id, later).await?);
        tx.commit().await?;
        assert_eq!(break_glass::find(&*store, hers.id(), &staff, later).await?, None);
        assert_eq!(organizations::scope_by_break_glass(&*store, &staff, hers.id(), later).await?, None);
        // Also to somebody whose clock is behind that of whoever ended it.
        assert_eq!(break_glass::find(&*store, hers.id(), &staff, now()).await?, None);
        let workspace = add_workspace(&store, &hers, "shop").await?;
        assert_eq!(workspaces::scope_by_break_glass(&*store, &staff, workspace.workspace(), now()).await?, None);
        // What was begun before the end is shown as what it was.
        write(&store, &hers, &staff, now()).await?;
        write(&store, &hers, &staff, later).await?;
        let rows = audit::list(&*store, &hers, &AuditFilter::default(), 0, 10).await?;
        let shown: Vec<_> = rows.iter().map(|row| row.entry.on_behalf_of.as_deref()).collect();
        assert_eq!(shown, [Some("operator"), None]);
    }

    async fn what_was_done_with_a_token_was_not_done_under_it(store: TestStore) {
        let hers = add_organization(&store, "Ada").await?;
        let staff = add_person(&store, "Bob").await?;
        give(&store, &hers, &staff).await?;
        for credential in ["token tok-00000000000000000000", "sign-in"] {
            write_by(&store, &hers, &staff, now(), credential).await?;
        }
        let rows = audit::list(&*store, &hers, &AuditFilter::default(), 0, 10).await?;
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row.entry.on_behalf_of.is_none()), "{rows:?}");
        assert_eq!(rows[0].entry.credential, "token tok-00000000000000000000");
    }

    async fn the_log_shows_what_was_done_under_it_and_its_hash_holds_that(store: TestStore) {
        let hers = add_organization(&store, "Ada").await?;
        let his = add_organization(&store, "Cem").await?;
        let staff = add_person(&store, "Bob").await?;
        let given = give(&store, &hers, &staff).await?;
        write(&store, &hers, &staff, now()).await?;
        write(&store, &hers, hers.user(), now()).await?;
        write(&store, &hers, &staff, now().plus_seconds(MINUTE)).await?;
        write(&store, &his, &staff, now()).await?;
        let rows = audit::list(&*store, &hers, &AuditFilter::default(), 0, 10).await?;
        let shown: Vec<_> = rows.iter().map(|row| row.entry.on_behalf_of.as_deref()).collect();
        assert_eq!(shown, [Some("operator"), None, None]);
        let credential = format!("session ses-00000000000000000000 under break-glass {}", given.id);
        assert_eq!(rows[0].entry.credential, credential);
        let hash = Digest::of(rows[0].entry.canonical(hers.id().as_str(), 1, &rows[0].previous));
        assert_eq!(rows[0].hash, hash.to_string());
        assert_eq!(audit::list(&*store, &his, &AuditFilter::default(), 0, 10).await?[0].entry.on_behalf_of, None);
    }
}
