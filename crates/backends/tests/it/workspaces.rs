use anyhow::Context;
use hexabase_backends::store::workspace_steps::{self, StepRecord, StepState};
use hexabase_backends::store::workspaces::{self, Desired, NewWorkspace};
use hexabase_backends::store::{Store, StoreError, Unique, groups, organizations, projects, workspace_members};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::{ProjectPhase, WorkspacePhase, WorkspaceStep};
use hexabase_core::roles::OrganizationRole;
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::projects::new_project;
use crate::scenery::{add_group, add_organization, add_person, add_workspace, insert_workspace, is_stale, load, now};

/// What a use case does that holds a limit of `most` workspaces.
async fn create_within(
    store: &Store,
    scope: &organizations::OrganizationScope,
    name: &str,
    most: u64,
) -> anyhow::Result<bool> {
    let tx = store.begin().await?;
    organizations::lock(&tx, scope).await?;
    if workspaces::count_living(&tx, scope, "standard").await? >= most {
        return Ok(false);
    }
    insert_workspace(&tx, scope, name).await?;
    tx.commit().await?;
    Ok(true)
}

on_both_engines! {
    async fn a_new_workspace_is_creating_and_wanted(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let scope = add_workspace(&store, &organization, "shop").await?;
        let workspace = load(&store, &scope).await?;
        assert_eq!(workspace.name.as_str(), "shop");
        assert_eq!((workspace.phase, workspace.desired), (WorkspacePhase::Creating, Desired::Present));
        assert_eq!((&workspace.created_by, workspace.created_at), (organization.user(), now()));
        assert_eq!(workspace.version, 1);
        assert_eq!(workspaces::load_for_job(&*store, &workspace.id).await?, Some(workspace));
    }

    async fn strangers_have_no_scope_in_a_workspace(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let stranger = add_organization(&store, "Bob").await?;
        let scope = add_workspace(&store, &organization, "shop").await?;
        let (id, name) = (scope.workspace(), "shop".parse()?);
        for user in [stranger.user(), &new_id(now())] {
            assert_eq!(workspaces::scope_for(&*store, user, id).await?, None);
            assert_eq!(workspaces::scope_for_name(&*store, user, organization.id(), &name).await?, None);
        }
        assert_eq!(workspaces::scope_for(&*store, organization.user(), &new_id(now())).await?, None);
        assert_eq!(workspaces::scope_for_name(&*store, organization.user(), stranger.id(), &name).await?, None);
    }

    async fn admins_and_workspace_members_have_a_scope_and_other_members_none(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let scope = add_workspace(&store, &organization, "shop").await?;
        let (bob, cem) = (add_person(&store, "Bob").await?, add_person(&store, "Cem").await?);
        let tx = store.begin().await?;
        organizations::add_member(&tx, &organization, &bob, OrganizationRole::Member, now()).await?;
        workspace_members::add(&tx, &scope, &cem, now()).await?;
        tx.commit().await?;

        let admin = workspaces::scope_for(&*store, organization.user(), scope.workspace()).await?.context("admin")?;
        assert_eq!((admin.organization_role(), admin.is_member()), (Some(OrganizationRole::Admin), false));
        assert_eq!(workspaces::scope_for(&*store, &bob, scope.workspace()).await?, None);
        let member = workspaces::scope_for(&*store, &cem, scope.workspace()).await?.context("member")?;
        assert_eq!((member.organization_role(), member.is_member()), (None, true));
        let by_name = workspaces::scope_for_name(&*store, &cem, organization.id(), &"shop".parse()?).await?;
        assert_eq!(by_name, Some(member));

        let ids = |list: Vec<workspaces::Workspace>| list.into_iter().map(|row| row.id).collect::<Vec<WorkspaceId>>();
        let shop = [scope.workspace().clone()];
        assert_eq!(ids(workspaces::list_for_user(&*store, organization.user(), None, None, 10).await?), shop);
        assert_eq!(ids(workspaces::list_for_user(&*store, &bob, None, None, 10).await?), []);
        assert_eq!(ids(workspaces::list_for_user(&*store, &cem, None, None, 10).await?), shop);
        assert_eq!(ids(workspaces::list(&*store, &organization, None, 10).await?), shop);
        let as_bob = organizations::scope_for(&*store, &bob, organization.id()).await?.context("Bob")?;
        assert_eq!(ids(workspaces::list(&*store, &as_bob, None, 10).await?), []);
    }

    async fn a_name_is_taken_while_the_workspace_lives(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        add_workspace(&store, &organization, "shop").await?;
        add_workspace(&store, &add_organization(&store, "Bob").await?, "shop").await?;
        let (id, plan_id) = (new_id(now()), "standard".to_owned());
        let again = NewWorkspace { id, name: "shop".parse()?, plan_id, plan_version: 1 };
        let tx = store.begin().await?;
        let refused = workspaces::insert(&tx, &organization, &again, now()).await;
        assert!(matches!(refused, Err(StoreError::NotUnique(Unique::WorkspaceName))), "{refused:?}");
        drop(tx);
        let no_plan = NewWorkspace { plan_id: "none".to_owned(), name: "other".parse()?, ..again };
        let tx = store.begin().await?;
        let refused = workspaces::insert(&tx, &organization, &no_plan, now()).await;
        assert!(matches!(refused, Err(StoreError::MissingReference)), "{refused:?}");
    }

    async fn a_name_can_be_used_again_after_deletion(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let first = add_workspace(&store, &organization, "shop").await?;
        let receipt = serde_json::json!({ "removed": ["Namespace hxb-ws"], "left": [] });
        let tx = store.begin().await?;
        let so_far = serde_json::json!({ "removed": [] });
        assert!(is_stale(&workspaces::note_receipt(&tx, first.workspace(), &so_far, now()).await), "none is under way");
        assert!(workspaces::request_deletion(&tx, &first, now()).await?);
        workspaces::note_receipt(&tx, first.workspace(), &so_far, now()).await?;
        assert!(!workspaces::request_deletion(&tx, &first, now()).await?);
        assert_eq!(workspaces::count_living(&tx, &organization, "standard").await?, 1, "it is still there");
        workspaces::set_deleted(&tx, first.workspace(), &receipt, now().plus_seconds(9)).await?;
        tx.commit().await?;

        let second = add_workspace(&store, &organization, "shop").await?;
        let gone = load(&store, &first).await?;
        assert_eq!((gone.phase, gone.desired), (WorkspacePhase::Deleted, Desired::Absent));
        assert_eq!((gone.deleting_at, gone.deleted_at), (Some(now()), Some(now().plus_seconds(9))));
        assert_eq!(gone.receipt, Some(receipt));
        let name = "shop".parse()?;
        let found = workspaces::scope_for_name(&*store, organization.user(), organization.id(), &name).await?;
        assert_eq!(found.context("the second")?.workspace(), second.workspace());
        assert_eq!(workspaces::list(&*store, &organization, None, 10).await?.len(), 1);
        assert_eq!(workspaces::list_ids_for_sweep(&*store, None, 10).await?, [second.workspace().clone()]);
        assert_eq!(workspaces::count_living(&*store, &organization, "standard").await?, 1);
    }

    async fn nobody_keeps_a_right_through_a_workspace_that_is_deleted(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        let bank = add_workspace(&store, &organization, "bank").await?;
        let (bob, cem, dee) =
            (add_person(&store, "Bob").await?, add_person(&store, "Cem").await?, add_person(&store, "Dee").await?);
        let group = add_group(&store, &shop, "staff", None).await?;
        let tx = store.begin().await?;
        organizations::add_member(&tx, &organization, &dee, OrganizationRole::Member, now()).await?;
        for (user, scope) in [(&bob, &shop), (&cem, &shop), (&cem, &bank), (&dee, &shop)] {
            organizations::join_through(&tx, scope, user, now()).await?;
            workspace_members::add(&tx, scope, user, now()).await?;
        }
        groups::add_member(&tx, &shop, &group, &bob).await?;
        let web = new_project("web", None)?;
        projects::insert(&tx, &shop, &web, now()).await?;
        workspaces::request_deletion(&tx, &shop, now()).await?;
        tx.commit().await?;
        assert!(workspaces::scope_for(&*store, &bob, shop.workspace()).await?.is_some(), "until it is gone");

        let tx = store.begin().await?;
        let none = serde_json::json!({});
        let departed = workspaces::set_deleted(&tx, shop.workspace(), &none, now().plus_seconds(9)).await?;
        tx.commit().await?;
        assert_eq!(departed.members, [bob.clone(), cem.clone(), dee.clone()]);
        assert_eq!(departed.left_organization, std::slice::from_ref(&bob));
        for user in [&bob, &cem, &dee] {
            assert_eq!(workspaces::scope_for(&*store, user, shop.workspace()).await?, None);
        }
        assert!(workspaces::scope_for(&*store, organization.user(), shop.workspace()).await?.is_some());
        assert_eq!(groups::memberships_of(&*store, &shop, [&bob]).await?, []);
        let role = |user| organizations::member_role(&*store, &organization, user);
        assert_eq!(role(&bob).await?, None, "he was in the organisation through the shop only");
        assert_eq!(role(&cem).await?, Some(OrganizationRole::Member), "the bank is left");
        assert_eq!(role(&dee).await?, Some(OrganizationRole::Member), "a member on their own account");
        let project = projects::get(&*store, &shop, &web.id).await?.context("kept as a record")?;
        assert_eq!((project.phase, project.deleted_at), (ProjectPhase::Deleted, Some(now().plus_seconds(9))));
        assert_eq!(projects::count_living(&*store, &shop).await?, 0);
    }

    async fn progress_towards_what_is_no_longer_wanted_is_refused(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let scope = add_workspace(&store, &organization, "shop").await?;
        let id = scope.workspace();
        let tx = store.begin().await?;
        assert!(is_stale(&workspaces::set_progress(&tx, id, WorkspacePhase::Deleting, None, None, now()).await));
        let step = Some(WorkspaceStep::VirtualCluster);
        workspaces::set_progress(&tx, id, WorkspacePhase::Creating, step, Some("pulling"), now()).await?;
        tx.commit().await?;
        let workspace = load(&store, &scope).await?;
        assert_eq!((workspace.step, workspace.message.as_deref(), workspace.version), (step, Some("pulling"), 2));

        let tx = store.begin().await?;
        workspaces::set_ready(&tx, id, "https://10.0.0.1", "PEM", now()).await?;
        workspaces::set_ready(&tx, id, "https://10.0.0.2", "PEM", now().plus_seconds(5)).await?;
        tx.commit().await?;
        let workspace = load(&store, &scope).await?;
        assert_eq!((workspace.phase, workspace.step, workspace.message.as_deref()), (WorkspacePhase::Ready, None, None));
        assert_eq!((workspace.ready_at, workspace.updated_at), (Some(now()), now().plus_seconds(5)));
        assert_eq!(workspace.endpoint.as_deref(), Some("https://10.0.0.2"));

        let tx = store.begin().await?;
        workspaces::request_deletion(&tx, &scope, now()).await?;
        assert!(is_stale(&workspaces::set_ready(&tx, id, "https://10.0.0.1", "PEM", now()).await));
        assert!(is_stale(&workspaces::set_progress(&tx, id, WorkspacePhase::Creating, step, None, now()).await));
        workspaces::set_progress(&tx, id, WorkspacePhase::Deleting, step, None, now()).await?;
        let receipt = serde_json::json!({});
        workspaces::set_deleted(&tx, id, &receipt, now()).await?;
        assert!(is_stale(&workspaces::set_deleted(&tx, id, &receipt, now()).await));
        assert!(is_stale(&workspaces::set_progress(&tx, id, WorkspacePhase::Deleting, None, None, now()).await));
    }

    async fn no_interleaving_overshoots_a_limit(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let mut creations = Vec::new();
        for number in 0..12 {
            let (store, scope) = (store.reconnect().await?, organization.clone());
            creations.push(tokio::spawn(async move { create_within(&store, &scope, &format!("w{number}"), 5).await }));
        }
        let mut made = 0;
        for creation in creations {
            made += u64::from(creation.await??);
        }
        assert_eq!(made, 5);
        assert_eq!(workspaces::count_living(&*store, &organization, "standard").await?, 5);
    }

    async fn lists_go_on_after_the_last_id_seen(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let mut expected = Vec::new();
        for number in 0..5 {
            expected.push(add_workspace(&store, &organization, &format!("w{number}")).await?.workspace().clone());
        }
        let mut seen: Vec<WorkspaceId> = Vec::new();
        loop {
            let page = workspaces::list_ids_for_sweep(&*store, seen.last(), 2).await?;
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, expected);
        let rest = workspaces::list(&*store, &organization, Some(&expected[2]), 10).await?;
        assert_eq!(rest.iter().map(|row| &row.id).collect::<Vec<_>>(), [&expected[3], &expected[4]]);
    }

    async fn steps_are_listed_in_their_order_with_their_last_state(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let scope = add_workspace(&store, &organization, "shop").await?;
        let record = |step, state| StepRecord { step, state, message: None, started_at: now(), finished_at: None };
        let tx = store.begin().await?;
        for record in [
            record(WorkspaceStep::VirtualCluster, StepState::Waiting),
            record(WorkspaceStep::Namespace, StepState::Running),
            record(WorkspaceStep::Namespace, StepState::Done),
        ] {
            workspace_steps::upsert(&tx, scope.workspace(), &record).await?;
        }
        tx.commit().await?;
        let expected =
            [record(WorkspaceStep::Namespace, StepState::Done), record(WorkspaceStep::VirtualCluster, StepState::Waiting)];
        assert_eq!(workspace_steps::list(&*store, &scope).await?, expected);
    }
}
