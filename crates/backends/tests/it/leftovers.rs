use hexabase_backends::store::leftovers::{self, Leftover};
use hexabase_backends::store::refresh_tokens::{self, RefreshToken};
use hexabase_backends::store::service_account_tokens::{self, TokenOf};
use hexabase_backends::store::workspaces::{self, WorkspaceScope};
use hexabase_backends::store::{
    Digest, Store, api_tokens, host_nodes, jobs, organizations, spare_workspaces, workspace_members,
};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::tokens::{TokenAccess, TokenScope};
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_organization, add_person, add_session, add_workspace, is_stale, now};

const FENCED: &str = "reconcile-workspace";

fn left(scope: &WorkspaceScope, what: &str) -> Leftover {
    Leftover { workspace: scope.workspace().clone(), what: what.to_owned(), rows: 1 }
}

/// What should have ended with the workspace, and a finished job of each kind.
async fn hang(store: &Store, scope: &WorkspaceScope) -> anyhow::Result<Digest> {
    let session = add_session(store, scope.user()).await?;
    let (id, secret) = (scope.workspace(), scope.workspace().to_string());
    let token = api_tokens::ApiToken {
        id: new_id(now()),
        user_id: scope.user().clone(),
        name: "deploy".parse()?,
        token_hash: Digest::of(&secret),
        prefix: "hxb_Zt9q".to_owned(),
        scope: TokenScope { access: TokenAccess::Write, workspace: Some(id.clone()) },
        created_by: scope.user().clone(),
        created_at: now(),
        expires_at: now().plus_seconds(3600),
        last_used_at: None,
        last_used_from: None,
        revoked_at: None,
    };
    let refresh = RefreshToken {
        token_hash: Digest::of(format!("{secret} refresh")),
        session_id: session.id.clone(),
        user_id: session.user_id.clone(),
        realm: id.to_string(),
        client_id: "kubectl".to_owned(),
        scope: "openid".to_owned(),
        created_at: now(),
        expires_at: now().plus_seconds(3600),
        rotated_at: None,
        replaced_by: None,
        auth_time: None,
        claims: None,
    };
    let tx = store.begin().await?;
    api_tokens::insert(&tx, &token).await?;
    refresh_tokens::insert(&tx, &refresh).await?;
    let robots = TokenOf { workspace: id, user: scope.user(), namespace: "web", service_account: "robot" };
    service_account_tokens::note_for_issuer(&tx, &robots, now()).await?;
    spare_workspaces::insert(&tx, id, "v1", now()).await?;
    workspace_members::add(&tx, scope, scope.user(), now()).await?;
    host_nodes::offer(&tx, &id.as_str().parse()?, now()).await?;
    host_nodes::claim(&tx, id, now()).await?.expect("a node");
    for kind in [FENCED, "refresh-tenant-keys"] {
        jobs::enqueue(&tx, kind, id.as_str(), now(), now()).await?;
    }
    tx.commit().await?;
    for kind in [FENCED, "refresh-tenant-keys"] {
        let claim = jobs::claim(store, &[kind], now(), "worker", 60).await?.expect("a job");
        let tx = store.begin().await?;
        jobs::finish(&tx, &claim, jobs::Finish::Done).await?;
        tx.commit().await?;
    }
    Ok(token.token_hash)
}

on_both_engines! {
    async fn what_hangs_on_a_deleted_workspace_is_told_and_taken_away_and_a_living_one_keeps_all(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let (gone, living) =
            (add_workspace(&store, &organization, "gone").await?, add_workspace(&store, &organization, "living").await?);
        let tx = store.begin().await?;
        workspaces::request_deletion(&tx, &gone, now()).await?;
        workspaces::set_deleted(&tx, gone.workspace(), &serde_json::json!({}), now()).await?;
        tx.commit().await?;
        let (dead, good) = (hang(&store, &gone).await?, hang(&store, &living).await?);

        let later = now().plus_seconds(1);
        assert_eq!(leftovers::list_for_job(&*store, FENCED, now(), 50).await?, [], "it was deleted only just now");
        let found = leftovers::list_for_job(&*store, FENCED, later, 50).await?;
        let tables =
            ["api_tokens", "host_nodes", "jobs", "refresh_tokens", "service_account_tokens", "spare_workspaces", "workspace_members"];
        assert_eq!(found, tables.map(|table| left(&gone, table)));

        let tx = store.begin().await?;
        leftovers::remove(&tx, gone.workspace(), FENCED, later).await?;
        assert!(is_stale(&leftovers::remove(&tx, living.workspace(), FENCED, later).await));
        tx.commit().await?;
        assert_eq!(leftovers::list_for_job(&*store, FENCED, later, 50).await?, []);
        let revoked = async |hash: &Digest| {
            anyhow::Ok(api_tokens::find_by_hash(&*store, hash).await?.expect("a token").revoked_at.is_some())
        };
        assert_eq!((revoked(&dead).await?, revoked(&good).await?), (true, false));
        assert_eq!(workspace_members::count(&*store, &living).await?, 1);
        let nodes = host_nodes::list(&*store, &living).await?;
        assert_eq!((nodes.len(), host_nodes::list_for_job(&*store).await?), (1, nodes));
        assert_eq!(service_account_tokens::list(&*store, &living, None).await?.len(), 1);
        // The number of the job that removed it goes on growing.
        let tx = store.begin().await?;
        jobs::enqueue(&tx, FENCED, gone.workspace().as_str(), later, later).await?;
        tx.commit().await?;
        let again = jobs::claim(&store, &[FENCED], later, "worker", 60).await?.expect("a job");
        assert_eq!(again.epoch, 2);
    }

    async fn whoever_came_into_the_organisation_through_a_deleted_workspace_only_leaves_it(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let gone = add_workspace(&store, &organization, "gone").await?;
        let bob = add_person(&store, "Bob").await?;
        let tx = store.begin().await?;
        workspaces::request_deletion(&tx, &gone, now()).await?;
        workspaces::set_deleted(&tx, gone.workspace(), &serde_json::json!({}), now()).await?;
        organizations::join_through(&tx, &gone, &bob, now()).await?;
        workspace_members::add(&tx, &gone, &bob, now()).await?;
        tx.commit().await?;
        let tx = store.begin().await?;
        assert_eq!(leftovers::remove(&tx, gone.workspace(), FENCED, now()).await?, std::slice::from_ref(&bob));
        tx.commit().await?;
        assert_eq!(organizations::member_role(&*store, &organization, &bob).await?, None);
    }

    async fn what_names_a_workspace_that_is_not_known_is_told(store: TestStore) {
        let stranger: WorkspaceId = new_id(now());
        let tx = store.begin().await?;
        jobs::enqueue(&tx, FENCED, stranger.as_str(), now(), now()).await?;
        jobs::enqueue(&tx, "sweep-host", "host", now(), now()).await?;
        tx.commit().await?;
        let found = leftovers::list_unknown_for_job(&*store, 50).await?;
        assert_eq!(found, [Leftover { workspace: stranger, what: "jobs".to_owned(), rows: 1 }]);
    }
}
