use hexabase_backends::store::groups::{self, Move};
use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Store, StoreError, Unique, workspace_members};
use hexabase_core::groups::{Forest, MAX_DEPTH};
use hexabase_core::ids::{GroupId, RoleAssignmentId, UserId};
use hexabase_core::time::Timestamp;
use hexabase_testkit::clock::new_id;
use hexabase_testkit::on_both_engines;

use crate::scenery::{add_group, add_organization, add_person, add_workspace, group, insert_workspace, now};

async fn add_workspace_member(store: &Store, scope: &WorkspaceScope, name: &str) -> anyhow::Result<UserId> {
    let user = add_person(store, name).await?;
    let tx = store.begin().await?;
    workspace_members::add(&tx, scope, &user, now()).await?;
    tx.commit().await?;
    Ok(user)
}

async fn put(store: &Store, scope: &WorkspaceScope, id: &GroupId, user: &UserId) -> Result<bool, StoreError> {
    let tx = store.begin().await?;
    let added = groups::add_member(&tx, scope, id, user).await?;
    tx.commit().await?;
    Ok(added)
}

async fn set_parent(
    store: &Store,
    scope: &WorkspaceScope,
    id: &GroupId,
    parent: Option<&GroupId>,
) -> Result<Move, StoreError> {
    let tx = store.begin().await?;
    let moved = groups::set_parent(&tx, scope, id, parent).await?;
    tx.commit().await?;
    Ok(moved)
}

/// Small numbers in no order, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit
    }
}

on_both_engines! {
    async fn a_member_of_a_group_resolves_to_its_ancestors(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let everybody = add_group(&store, &scope, "WorkspaceMembers", None).await?;
        let users = add_group(&store, &scope, "WSUsers", Some(&everybody)).await?;
        add_group(&store, &scope, "WSAdmins", Some(&everybody)).await?;
        let bob = add_workspace_member(&store, &scope, "Bob").await?;
        assert!(put(&store, &scope, &users, &bob).await?);
        assert!(!put(&store, &scope, &users, &bob).await?, "he is in it already");
        let names = groups::effective(&*store, &scope, &bob).await?;
        assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["WSUsers", "WorkspaceMembers"]);
        assert_eq!(groups::effective_for_issuer(&*store, scope.workspace(), &bob).await?, names);
        let nodes = groups::nodes(&*store, &scope).await?;
        assert_eq!(groups::nodes_for_issuer(&*store, scope.workspace()).await?, nodes);
        let pair = [(users.clone(), bob.clone())];
        assert_eq!(groups::memberships_of(&*store, &scope, [&bob]).await?, pair);
        assert_eq!(groups::memberships_in(&*store, &scope, [&users, &everybody]).await?, pair);
        assert_eq!(groups::memberships_in(&*store, &scope, [&everybody]).await?, []);
    }

    async fn the_database_resolves_as_the_forest_does(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let scope = add_workspace(&store, &organization, "shop").await?;
        // A second workspace with groups of the same names: nothing of it may be seen.
        let other = add_workspace(&store, &organization, "bank").await?;
        let bob = add_workspace_member(&store, &scope, "Bob").await?;
        let mut ids: Vec<GroupId> = Vec::new();
        for number in 0..20_usize {
            // Upper and lower case, which some languages sort otherwise than bytes do.
            let name = if number % 2 == 0 { format!("G{number}") } else { format!("g{number}") };
            let parent = ids.get(number * 7 % 20 / 2).filter(|_| number % 3 != 0).cloned();
            ids.push(add_group(&store, &scope, &name, parent.as_ref()).await?);
            add_group(&store, &other, &name, None).await?;
        }
        let nodes = groups::nodes(&*store, &scope).await?;
        let forest = Forest::new(&nodes);
        for number in [19, 4, 11, 0, 7, 16] {
            put(&store, &scope, &ids[number], &bob).await?;
            let pairs = groups::memberships_of(&*store, &scope, [&bob]).await?;
            let expected: Vec<_> = forest.effective(pairs.iter().map(|(group, _)| group)).into_iter().cloned().collect();
            assert!(expected.len() >= pairs.len());
            assert_eq!(groups::effective(&*store, &scope, &bob).await?, expected);
            assert_eq!(groups::effective(&*store, &other, &bob).await?, []);
        }
    }

    async fn the_database_resolves_hundreds_of_forests_as_the_transitive_closure_does(store: TestStore) {
        const MOST: usize = 16;
        let organization = add_organization(&store, "Ada").await?;
        let people = [add_person(&store, "Bob").await?, add_person(&store, "Carol").await?];
        let mut numbers = Numbers(0x5eed);
        let tx = store.begin().await?;
        for round in 0..300 {
            let scope = insert_workspace(&tx, &organization, &format!("w{round}")).await?;
            for user in &people {
                workspace_members::add(&tx, &scope, user, now()).await?;
            }
            let count = 1 + numbers.below(MOST);
            let mut ids: Vec<GroupId> = Vec::new();
            // A bit for each group that it is or that stands above it.
            let mut above: Vec<u32> = Vec::new();
            for number in 0..count {
                // Half of them below an earlier one, which therefore is no cycle.
                let parent = Some(numbers.below(2 * number + 1)).filter(|parent| *parent < number);
                let new = group(&format!("g{number:02}"), parent.map(|parent| &ids[parent]))?;
                groups::insert(&tx, &scope, &new).await?;
                ids.push(new.id);
                above.push(1 << number | parent.map_or(0, |parent| above[parent]));
            }
            let mut bits = [0_u32; 2];
            for _ in 0..numbers.below(8) {
                let (number, person) = (numbers.below(count), numbers.below(people.len()));
                groups::add_member(&tx, &scope, &ids[number], &people[person]).await?;
                bits[person] |= above[number];
            }
            for (user, bits) in people.iter().zip(bits) {
                let expected: Vec<String> =
                    (0..count).filter(|number| bits >> number & 1 == 1).map(|number| format!("g{number:02}")).collect();
                let found = groups::effective(&tx, &scope, user).await?;
                assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "round {round}");
            }
        }
    }

    async fn a_statement_names_each_person_and_group_once_however_often_they_are_meant(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let team = add_group(&store, &scope, "team", None).await?;
        let bob = add_workspace_member(&store, &scope, "Bob").await?;
        put(&store, &scope, &team, &bob).await?;
        // More values than either kind of database takes.
        let many = 70_000;
        let pair = [(team.clone(), bob.clone())];
        assert_eq!(groups::memberships_of(&*store, &scope, std::iter::repeat_n(&bob, many)).await?, pair);
        assert_eq!(groups::memberships_in(&*store, &scope, std::iter::repeat_n(&team, many)).await?, pair);
    }

    async fn nothing_of_another_workspace_can_be_tied_to_a_group(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let shop = add_workspace(&store, &organization, "shop").await?;
        let bank = add_workspace(&store, &organization, "bank").await?;
        let of_bank = add_group(&store, &bank, "team", None).await?;
        let of_shop = add_group(&store, &shop, "team", None).await?;
        let bob = add_workspace_member(&store, &bank, "Bob").await?;

        let tx = store.begin().await?;
        let below = groups::insert(&tx, &shop, &group("below", Some(&of_bank))?).await;
        assert!(matches!(below, Err(StoreError::MissingReference)), "{below:?}");
        drop(tx);
        for id in [&of_shop, &of_bank] {
            let added = put(&store, &shop, id, &bob).await;
            assert!(matches!(added, Err(StoreError::MissingReference)), "{added:?}");
        }
        assert_eq!(set_parent(&store, &shop, &of_shop, Some(&of_bank)).await?, Move::NoSuchGroup);
        assert_eq!(set_parent(&store, &shop, &of_bank, None).await?, Move::NoSuchGroup);
        assert_eq!(groups::get(&*store, &shop, &of_bank).await?, None);
        let tx = store.begin().await?;
        assert!(!groups::delete(&tx, &shop, &of_bank).await?);
        assert!(!groups::set_display_name(&tx, &shop, &of_bank, &"Taken over".parse()?).await?);
    }

    async fn the_forest_never_gets_a_cycle(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let a = add_group(&store, &scope, "a", None).await?;
        let b = add_group(&store, &scope, "b", None).await?;
        let c = add_group(&store, &scope, "c", Some(&b)).await?;
        assert_eq!(set_parent(&store, &scope, &b, Some(&c)).await?, Move::Cycle);
        assert_eq!(set_parent(&store, &scope, &b, Some(&b)).await?, Move::Cycle);
        // Each of these is fine alone; both together would be a cycle.
        let first = tokio::spawn({
            let (store, scope, a, b) = ((*store).clone(), scope.clone(), a.clone(), b.clone());
            async move { set_parent(&store, &scope, &a, Some(&b)).await }
        });
        let second = set_parent(&store, &scope, &b, Some(&a)).await?;
        let mut moves = [first.await??, second];
        moves.sort_by_key(|moved| *moved == Move::Cycle);
        assert_eq!(moves, [Move::Moved, Move::Cycle]);
        assert_eq!(set_parent(&store, &scope, &c, None).await?, Move::Moved);
    }

    async fn no_interleaving_makes_a_tree_too_deep(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        // Two chains, each as deep as half a tree and one more: either may go below the other's last but one.
        let mut chains: [Vec<GroupId>; 2] = Default::default();
        for (side, chain) in chains.iter_mut().enumerate() {
            for number in 0..=MAX_DEPTH / 2 {
                let parent = chain.last().cloned();
                chain.push(add_group(&store, &scope, &format!("g{side}-{number}"), parent.as_ref()).await?);
            }
        }
        let [left, right] = chains;
        let last = MAX_DEPTH / 2;
        assert_eq!(set_parent(&store, &scope, &right[0], Some(&left[last])).await?, Move::TooDeep);
        let lone = add_group(&store, &scope, "lone", None).await?;
        // Each of these is fine alone; both together would be too deep.
        let first = tokio::spawn({
            let (store, scope, lone, right) = ((*store).clone(), scope.clone(), lone.clone(), right.clone());
            async move { set_parent(&store, &scope, &lone, Some(&right[last])).await }
        });
        let second = set_parent(&store, &scope, &right[0], Some(&left[last - 2])).await?;
        let mut moves = [first.await??, second];
        moves.sort_by_key(|moved| *moved == Move::TooDeep);
        assert_eq!(moves, [Move::Moved, Move::TooDeep]);
    }

    async fn a_group_name_is_unique_in_its_workspace(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let id = add_group(&store, &scope, "team", None).await?;
        let tx = store.begin().await?;
        let refused = groups::insert(&tx, &scope, &group("team", None)?).await;
        assert!(matches!(refused, Err(StoreError::NotUnique(Unique::GroupName))), "{refused:?}");
        drop(tx);
        let tx = store.begin().await?;
        assert!(groups::set_display_name(&tx, &scope, &id, &"チーム".parse()?).await?);
        tx.commit().await?;
        let found = groups::get_by_name(&*store, &scope, &"team".parse()?).await?;
        assert_eq!(found.map(|group| group.display_name.to_string()).as_deref(), Some("チーム"));
        assert_eq!(groups::count(&*store, &scope).await?, 1);
    }

    async fn a_person_taken_out_of_the_workspace_is_out_of_its_groups(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let team = add_group(&store, &scope, "team", None).await?;
        let bob = add_workspace_member(&store, &scope, "Bob").await?;
        put(&store, &scope, &team, &bob).await?;
        assert_eq!(workspace_members::count(&*store, &scope).await?, 1);
        let listed = workspace_members::list(&*store, &scope, None, 10).await?;
        assert_eq!((&listed[0].0.user.id, listed[0].1.as_slice()), (&bob, [team.clone()].as_slice()));

        let tx = store.begin().await?;
        assert!(workspace_members::remove(&tx, &scope, &bob).await?);
        assert!(!workspace_members::remove(&tx, &scope, &bob).await?);
        tx.commit().await?;
        assert!(groups::effective(&*store, &scope, &bob).await?.is_empty());
        assert!(!workspace_members::is_member(&*store, &scope, &bob).await?);
        // Back in the workspace is not back in the group.
        let tx = store.begin().await?;
        workspace_members::add(&tx, &scope, &bob, now()).await?;
        tx.commit().await?;
        assert!(groups::effective_for_issuer(&*store, scope.workspace(), &bob).await?.is_empty());
    }

    async fn a_group_is_deleted_only_when_nothing_hangs_on_it(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let top = add_group(&store, &scope, "top", None).await?;
        let below = add_group(&store, &scope, "below", Some(&top)).await?;
        let bob = add_workspace_member(&store, &scope, "Bob").await?;
        put(&store, &scope, &below, &bob).await?;
        let tx = store.begin().await?;
        let refused = groups::delete(&tx, &scope, &top).await;
        assert!(matches!(refused, Err(StoreError::MissingReference)), "{refused:?}");
        drop(tx);
        let tx = store.begin().await?;
        assert!(groups::delete(&tx, &scope, &below).await?);
        assert!(groups::delete(&tx, &scope, &top).await?);
        tx.commit().await?;
        assert_eq!(groups::count(&*store, &scope).await?, 0);
    }

    async fn a_role_is_given_once_for_the_same_target(store: TestStore) {
        let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
        let team = add_group(&store, &scope, "team", None).await?;
        let assignment = |role: &str| RoleAssignment {
            id: new_id(now()),
            group_id: team.clone(),
            project_id: None,
            role: role.to_owned(),
            created_at: now(),
            expires_at: None,
        };
        let given = assignment("hexabase:workspace-viewer");
        let tx = store.begin().await?;
        role_assignments::insert(&tx, &scope, &given).await?;
        tx.commit().await?;
        let tx = store.begin().await?;
        let again = role_assignments::insert(&tx, &scope, &assignment("hexabase:workspace-viewer")).await;
        assert!(matches!(again, Err(StoreError::NotUnique(Unique::RoleAssignment))), "{again:?}");
        drop(tx);
        let tx = store.begin().await?;
        let elsewhere = RoleAssignment { project_id: Some(new_id(now())), ..assignment("developer") };
        let refused = role_assignments::insert(&tx, &scope, &elsewhere).await;
        assert!(matches!(refused, Err(StoreError::MissingReference)), "{refused:?}");
        drop(tx);
        assert_eq!(role_assignments::list(&*store, &scope, None, 10).await?, std::slice::from_ref(&given));
        assert_eq!(role_assignments::list(&*store, &scope, Some(&given.id), 10).await?, []);
        assert_eq!(role_assignments::all_for_job(&*store, scope.workspace()).await?, std::slice::from_ref(&given));
        assert_eq!(role_assignments::get(&*store, &scope, &given.id).await?, Some(given.clone()));
        let tx = store.begin().await?;
        assert!(role_assignments::delete(&tx, &scope, &given.id).await?);
        assert!(!role_assignments::delete(&tx, &scope, &given.id).await?);
        tx.commit().await?;
    }

    async fn a_role_given_for_a_time_is_over_to_the_moment(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let (scope, other) =
            (add_workspace(&store, &organization, "shop").await?, add_workspace(&store, &organization, "bank").await?);
        let team = add_group(&store, &scope, "team", None).await?;
        let of_other = add_group(&store, &other, "team", None).await?;
        let end = now().plus_seconds(60);
        let given = |group: &GroupId, role: &str, expires_at| RoleAssignment {
            id: new_id(now()),
            group_id: group.clone(),
            project_id: None,
            role: role.to_owned(),
            created_at: now(),
            expires_at,
        };
        let (for_a_time, for_good) = (given(&team, "a", Some(end)), given(&team, "b", None));
        let tx = store.begin().await?;
        role_assignments::insert(&tx, &scope, &for_a_time).await?;
        role_assignments::insert(&tx, &scope, &for_good).await?;
        role_assignments::insert(&tx, &other, &given(&of_other, "a", Some(end))).await?;
        tx.commit().await?;
        assert!(for_a_time.holds(Timestamp::from_micros(end.as_micros() - 1)) && !for_a_time.holds(end));
        assert!(for_good.holds(end));
        // What the gateway remembers of a stream, and asks about again.
        let names = ["team".to_owned(), "other".to_owned()];
        let held = async |names: &[String], now| {
            role_assignments::held_for_issuer(&*store, scope.workspace(), names, now).await
        };
        let both = [for_a_time.id.clone(), for_good.id.clone()];
        let (mut found, mut expected) = (held(&names, now()).await?, both.to_vec());
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(held(&names, end).await?, std::slice::from_ref(&for_good.id));
        assert_eq!(held(&names[1..], now()).await?, []);
        assert_eq!(held(&[], now()).await?, []);
        let asked = async |ids: &[RoleAssignmentId], now| {
            role_assignments::are_held_for_issuer(&*store, scope.workspace(), ids, now).await
        };
        assert!(asked(&both, now()).await? && asked(&both[1..], end).await? && asked(&[], end).await?);
        assert!(!asked(&both, end).await? && !asked(&[new_id(now())], now()).await?);

        let tx = store.begin().await?;
        let early = Timestamp::from_micros(end.as_micros() - 1);
        assert_eq!(role_assignments::take_expired(&tx, scope.workspace(), early).await?, []);
        assert_eq!(role_assignments::take_expired(&tx, scope.workspace(), end).await?, [for_a_time]);
        assert_eq!(role_assignments::take_expired(&tx, scope.workspace(), end).await?, []);
        tx.commit().await?;
        assert_eq!(role_assignments::all(&*store, &scope).await?, [for_good]);
        assert_eq!(role_assignments::count(&*store, &other).await?, 1);
    }
}
