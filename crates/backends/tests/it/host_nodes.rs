use std::collections::BTreeSet;

use hexabase_backends::store::host_nodes::{self, HostNode};
use hexabase_backends::store::{Store, StoreError, workspaces};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::nodes::{NodeClass, NodeName, NodeState};
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_organization, add_workspace, is_stale, load, now};

fn name(number: usize) -> NodeName {
    format!("node-{number:02}").parse().expect("a name")
}

async fn offer(store: &Store, many: usize) -> anyhow::Result<()> {
    let tx = store.begin().await?;
    for number in 0..many {
        assert!(host_nodes::offer(&tx, &name(number), now()).await?);
    }
    Ok(tx.commit().await?)
}

/// What a job does: claims one, works a little, and commits or gives up.
async fn claim(store: &Store, id: &WorkspaceId, commits: bool) -> anyhow::Result<Option<NodeName>> {
    let tx = store.begin().await?;
    let claimed = host_nodes::claim(&tx, id, now()).await?;
    tokio::task::yield_now().await;
    match commits {
        true => tx.commit().await?,
        false => tx.rollback().await?,
    }
    Ok(claimed)
}

on_both_engines! {
    async fn of_workspaces_that_claim_at_once_no_two_get_the_same_node(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let mut ids = Vec::new();
        for number in 0..6 {
            ids.push(add_workspace(&store, &organization, &format!("shop-{number}")).await?.workspace().clone());
        }
        offer(&store, 15).await?;
        // More claims than nodes, of which every fourth gives up.
        let mut claims = Vec::new();
        for number in 0..24_usize {
            let (store, id, commits) = (store.reconnect().await?, ids[number % 6].clone(), !number.is_multiple_of(4));
            claims.push(tokio::spawn(async move { anyhow::Ok((commits, claim(&store, &id, commits).await?)) }));
        }
        let mut given = Vec::new();
        for claim in claims {
            if let (true, Some(name)) = claim.await?? {
                given.push(name);
            }
        }
        let distinct: BTreeSet<&NodeName> = given.iter().collect();
        assert_eq!(distinct.len(), given.len(), "one was given twice");
        // Nothing is lost of what was given up.
        let mut left = 0;
        while claim(&store, &ids[0], true).await?.is_some() {
            left += 1;
        }
        assert_eq!(given.len() + left, 15);
        let mut owned = 0;
        for id in &ids {
            owned += host_nodes::of_workspace_for_job(&*store, id).await?.len();
        }
        assert_eq!((owned, host_nodes::count_free(&*store).await?), (15, 0));
    }

    async fn a_node_is_claimed_becomes_ready_drains_and_is_forgotten_until_it_is_offered_anew(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let scope = add_workspace(&store, &organization, "shop").await?;
        let (id, other) = (scope.workspace(), add_workspace(&store, &organization, "bank").await?);
        offer(&store, 1).await?;
        assert_eq!(claim(&store, id, true).await?, Some(name(0)));
        let tx = store.begin().await?;
        for (state, message) in
            [(NodeState::Claimed, Some("a pod is on it")), (NodeState::Ready, None), (NodeState::Draining, None)]
        {
            host_nodes::set_state(&tx, id, &name(0), state, message, now().plus_seconds(1)).await?;
            let node = host_nodes::list(&tx, &scope).await?.remove(0);
            assert_eq!((node.state, node.message.as_deref(), node.claimed_at), (state, message, Some(now())));
        }
        tx.commit().await?;
        // It is nobody else's to change, to claim, to withdraw or to offer.
        let tx = store.begin().await?;
        let foreign = host_nodes::set_state(&tx, other.workspace(), &name(0), NodeState::Ready, None, now()).await;
        assert!(is_stale(&foreign));
        assert!(is_stale(&host_nodes::give_back(&tx, other.workspace(), &name(0)).await));
        assert!(!host_nodes::withdraw(&tx, &name(0)).await?);
        assert!(!host_nodes::offer(&tx, &name(0), now()).await?);
        assert_eq!(host_nodes::claim(&tx, other.workspace(), now()).await?, None);
        assert_eq!(host_nodes::list(&tx, &other).await?, []);
        host_nodes::give_back(&tx, id, &name(0)).await?;
        assert!(is_stale(&host_nodes::give_back(&tx, id, &name(0)).await));
        tx.commit().await?;
        assert_eq!(host_nodes::list_for_job(&*store).await?, []);
        assert_eq!(claim(&store, other.workspace(), true).await?, None, "it may be gone, or offered no more");
        let tx = store.begin().await?;
        assert!(host_nodes::offer(&tx, &name(0), now().plus_seconds(2)).await?);
        tx.commit().await?;
        let free = HostNode {
            name: name(0), workspace_id: None, state: NodeState::Free, message: None, claimed_at: None,
            changed_at: now().plus_seconds(2),
        };
        assert_eq!(host_nodes::list_for_job(&*store).await?, [free]);
        let tx = store.begin().await?;
        assert!(host_nodes::withdraw(&tx, &name(0)).await?);
        tx.commit().await?;
        assert_eq!(host_nodes::list_for_job(&*store).await?, []);
    }

    async fn a_node_that_was_just_given_back_is_given_to_the_next_one_last(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let id = scope.workspace();
        offer(&store, 2).await?;
        assert_eq!(claim(&store, id, true).await?, Some(name(0)));
        let tx = store.begin().await?;
        host_nodes::give_back(&tx, id, &name(0)).await?;
        assert!(host_nodes::offer(&tx, &name(0), now().plus_seconds(1)).await?);
        tx.commit().await?;
        assert_eq!(claim(&store, id, true).await?, Some(name(1)));
        assert_eq!(claim(&store, id, true).await?, Some(name(0)));
    }

    async fn how_many_nodes_are_wanted_and_where_the_workspace_is_are_kept(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let row = load(&store, &scope).await?;
        assert_eq!((row.nodes_wanted, row.nodes_since, row.placed, row.nodes_message), (0, None, NodeClass::Shared, None));
        let tx = store.begin().await?;
        workspaces::want_nodes(&tx, &scope, 2, now().plus_seconds(1)).await?;
        workspaces::note_nodes_message(&tx, scope.workspace(), Some("no node is free")).await?;
        workspaces::set_placed(&tx, scope.workspace(), NodeClass::Dedicated, now().plus_seconds(2)).await?;
        tx.commit().await?;
        let row = load(&store, &scope).await?;
        assert_eq!((row.nodes_wanted, row.nodes_since), (2, Some(now().plus_seconds(2))), "the move began last");
        assert_eq!((row.placed, row.nodes_message.as_deref()), (NodeClass::Dedicated, Some("no node is free")));
        assert_eq!(row.version, 3, "what stands in the way is no change of it");
        let tx = store.begin().await?;
        workspaces::note_moving(&tx, scope.workspace(), now().plus_seconds(3)).await?;
        tx.commit().await?;
        let row = load(&store, &scope).await?;
        assert_eq!((row.nodes_since, row.version), (Some(now().plus_seconds(3)), 3));
        let tx = store.begin().await?;
        workspaces::request_deletion(&tx, &scope, now()).await?;
        assert!(is_stale(&workspaces::want_nodes(&tx, &scope, 0, now()).await));
        assert!(is_stale(&workspaces::set_placed(&tx, scope.workspace(), NodeClass::Shared, now()).await));
    }

    async fn a_node_of_a_workspace_that_does_not_exist_is_refused(store: TestStore) {
        offer(&store, 1).await?;
        let stranger: WorkspaceId = hexabase_testkit::clock::new_id(now());
        let tx = store.begin().await?;
        let refused = host_nodes::claim(&tx, &stranger, now()).await;
        assert!(matches!(refused, Err(StoreError::MissingReference)), "{refused:?}");
    }
}
