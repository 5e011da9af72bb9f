use std::collections::BTreeSet;

use hexabase_backends::store::Store;
use hexabase_backends::store::spare_workspaces::{self, SpareState};
use hexabase_backends::store::workspaces::{self, NewWorkspace};
use hexabase_core::ids::WorkspaceId;
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_organization, is_stale, now};

const READY: [SpareState; 3] = [SpareState::Making, SpareState::Settling, SpareState::Asleep];

/// So many that are asleep.
async fn asleep(store: &Store, many: usize) -> anyhow::Result<BTreeSet<WorkspaceId>> {
    let mut all = BTreeSet::new();
    for _ in 0..many {
        let id: WorkspaceId = new_id(now());
        let tx = store.begin().await?;
        spare_workspaces::insert(&tx, &id, "v1", now()).await?;
        for steps in READY.windows(2) {
            spare_workspaces::set_state(&tx, &id, (steps[0], steps[1]), None, now()).await?;
        }
        tx.commit().await?;
        all.insert(id);
    }
    Ok(all)
}

/// What a creation does: takes one, works a little, and commits or gives up.
async fn create(store: &Store, commits: bool) -> anyhow::Result<Option<WorkspaceId>> {
    let tx = store.begin().await?;
    let taken = spare_workspaces::take(&tx, "v1").await?;
    tokio::task::yield_now().await;
    match commits {
        true => tx.commit().await?,
        false => tx.rollback().await?,
    }
    Ok(taken)
}

on_both_engines! {
    async fn of_creations_at_once_no_two_are_given_the_same_and_what_gives_up_gives_back(store: TestStore) {
        // Fewer spares than creations, of which every third gives up, in rounds: whatever the order in which they come.
        for round in 0..4 {
            let spares = asleep(&store, 9).await?;
            let mut creations = Vec::new();
            for number in 0..24_usize {
                let (store, commits) = (store.reconnect().await?, !(number + round).is_multiple_of(3));
                creations.push(tokio::spawn(async move { anyhow::Ok((commits, create(&store, commits).await?)) }));
            }
            let mut given = Vec::new();
            for creation in creations {
                if let (true, Some(id)) = creation.await?? {
                    given.push(id);
                }
            }
            let distinct: BTreeSet<WorkspaceId> = given.iter().cloned().collect();
            assert_eq!(distinct.len(), given.len(), "one was given twice");
            assert!(distinct.is_subset(&spares), "one was none");
            // Who was told that there is none while another one held the last may have gone without; nothing is lost.
            let mut left = BTreeSet::new();
            while let Some(id) = create(&store, true).await? {
                left.insert(id);
            }
            assert!(left.is_disjoint(&distinct));
            assert_eq!(left.len() + distinct.len(), spares.len());
        }
    }

    async fn only_what_is_asleep_is_given_and_the_oldest_first(store: TestStore) {
        let (making, discarded): (WorkspaceId, WorkspaceId) = (new_id(now()), new_id(now()));
        let tx = store.begin().await?;
        for id in [&making, &discarded] {
            spare_workspaces::insert(&tx, id, "v1", now()).await?;
        }
        let thrown = (SpareState::Making, SpareState::Discarded);
        spare_workspaces::set_state(&tx, &discarded, thrown, Some("too old"), now()).await?;
        tx.commit().await?;
        assert_eq!(create(&store, true).await?, None);
        let spares = asleep(&store, 3).await?;
        for expected in &spares {
            assert_eq!(create(&store, true).await?.as_ref(), Some(expected));
        }
        let left = spare_workspaces::list_for_job(&*store, None, 10).await?;
        assert_eq!(left.into_iter().map(|spare| spare.id).collect::<Vec<_>>(), [making, discarded]);
    }

    async fn what_was_taken_is_moved_on_by_nobody_and_its_id_is_never_used_again(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let spare = asleep(&store, 1).await?.pop_first().expect("one");
        let tx = store.begin().await?;
        assert_eq!(spare_workspaces::take(&tx, "v1").await?.as_ref(), Some(&spare));
        let new = NewWorkspace { id: spare.clone(), name: "shop".parse()?, plan_id: "standard".to_owned(), plan_version: 1 };
        workspaces::insert(&tx, &organization, &new, now()).await?;
        tx.commit().await?;
        assert_eq!(spare_workspaces::load_for_job(&*store, &spare).await?, None);
        let tx = store.begin().await?;
        let late = (SpareState::Asleep, SpareState::Discarded);
        assert!(is_stale(&spare_workspaces::set_state(&tx, &spare, late, None, now()).await));
        let again = NewWorkspace { name: "bank".parse()?, ..new };
        assert!(workspaces::insert(&tx, &organization, &again, now()).await.is_err());
    }

    async fn what_is_gone_stays_as_a_record(store: TestStore) {
        let id: WorkspaceId = new_id(now());
        let tx = store.begin().await?;
        spare_workspaces::insert(&tx, &id, "v1", now()).await?;
        for step in [(SpareState::Making, SpareState::Discarded), (SpareState::Discarded, SpareState::Gone)] {
            spare_workspaces::set_state(&tx, &id, step, None, now().plus_seconds(1)).await?;
        }
        tx.commit().await?;
        assert_eq!(spare_workspaces::list_for_job(&*store, None, 10).await?, []);
        let spare = spare_workspaces::load_for_job(&*store, &id).await?.expect("a record");
        assert_eq!((spare.state, spare.created_at, spare.changed_at), (SpareState::Gone, now(), now().plus_seconds(1)));
    }

    async fn whether_a_workspace_is_starting_is_known(store: TestStore) {
        let just_now = now().plus_seconds(-30);
        assert!(!workspaces::any_starting_for_job(&*store, just_now).await?);
        let scope = crate::scenery::add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        assert!(workspaces::any_starting_for_job(&*store, just_now).await?);
        assert!(!workspaces::any_starting_for_job(&*store, now()).await?, "it began before that");
        let tx = store.begin().await?;
        workspaces::set_ready(&tx, scope.workspace(), "10.0.0.1:443", "PEM", now()).await?;
        tx.commit().await?;
        assert!(!workspaces::any_starting_for_job(&*store, just_now).await?);
        let later = now().plus_seconds(600);
        let tx = store.begin().await?;
        assert!(workspaces::request_sleep(&tx, scope.workspace(), later).await?);
        assert!(workspaces::request_wake(&tx, scope.workspace(), later).await?);
        tx.commit().await?;
        assert!(workspaces::any_starting_for_job(&*store, later.plus_seconds(-30)).await?);
        assert!(!workspaces::any_starting_for_job(&*store, later).await?);
    }
}
