use super::*;

fn node(number: u32, state: NodeState) -> HostNode {
    HostNode {
        name: format!("node-{number}").parse().unwrap(),
        workspace_id: None,
        state,
        message: None,
        claimed_at: None,
        changed_at: Timestamp::from_seconds(1_790_000_000),
    }
}

/// How many are claimed, and which are kept and drained, by number.
fn balanced_to(nodes: &[HostNode], wanted: usize) -> (usize, Vec<String>, Vec<String>) {
    let Balance { kept, drained, claims } = balance(nodes, wanted);
    let numbers = |names: Vec<NodeName>| names.iter().map(|name| name.as_str().replace("node-", "")).collect();
    (claims, numbers(kept), numbers(drained))
}

#[test]
fn a_workspace_claims_what_it_lacks_and_takes_back_what_it_was_to_give_back_first() {
    let (ready, draining) = (node(1, NodeState::Ready), node(2, NodeState::Draining));
    let none = Vec::<String>::new;
    assert_eq!(balanced_to(&[], 2), (2, none(), none()));
    assert_eq!(balanced_to(std::slice::from_ref(&ready), 1), (0, none(), none()));
    assert_eq!(balanced_to(&[ready.clone(), draining.clone()], 3), (1, vec!["2".to_owned()], none()));
    assert_eq!(balanced_to(&[ready, draining], 1), (0, none(), none()));
}

#[test]
fn what_cannot_be_used_yet_is_given_back_first_and_then_the_last() {
    let nodes = [node(1, NodeState::Claimed), node(2, NodeState::Ready), node(3, NodeState::Ready)];
    assert_eq!(balanced_to(&nodes, 2).2, ["1"]);
    assert_eq!(balanced_to(&nodes, 1).2, ["3", "1"]);
    assert_eq!(balanced_to(&nodes, 0).2, ["2", "3", "1"]);
}

#[test]
fn budgets_of_disruption_hold_from_the_moment_when_pods_begin_to_move() {
    let (now, name) = (Timestamp::from_seconds(1_790_000_000), "node-1".parse::<NodeName>().unwrap());
    let placed = now.plus_seconds(-700);
    assert_eq!(insists(now.plus_seconds(-600), now), None);
    assert_eq!(insists(placed, now), Some(now.plus_seconds(-600)));
    let mut nodes = [node(1, NodeState::Draining)];
    let left = Progress::Wait { reason: "pods are there".to_owned(), after: LATER };
    let mut found = FoundNodes {
        keeps: Vec::new(),
        leaves: vec![(name.clone(), left)],
        closed: Vec::new(),
        may_move: Progress::Done,
    };
    assert_eq!(moving_since(placed, &nodes, &found, now), placed);
    found.closed = vec![name];
    nodes[0].message = Some("its volumes are there".to_owned());
    assert_eq!(moving_since(placed, &nodes, &found, now), now, "it was closed just now");
    (nodes[0].message, nodes[0].changed_at) = (Some("pods are there".to_owned()), now.plus_seconds(-650));
    assert_eq!(moving_since(placed, &nodes, &found, now), now.plus_seconds(-650));
}

#[test]
fn pods_that_are_not_ready_hold_up_a_move_for_an_hour_of_it_in_all() {
    let now = Timestamp::from_seconds(1_790_000_000);
    assert_eq!([0, 600, 3_600, 3_601].map(|age| hurries(now.plus_seconds(-age), now)), [false, false, false, true]);
}

#[test]
fn pods_that_are_found_in_the_wrong_place_long_after_a_move_have_their_time_as_well() {
    let lacks = Settled { message: Some("1 of 2 nodes".to_owned()), ..Settled::default() };
    let wait = Progress::Wait { reason: "pod shop/web: is held".to_owned(), after: LATER };
    for settled in [Settled::default(), lacks] {
        let message = settled.message.as_deref();
        let mut told = None;
        for _ in 0..2 {
            told = says(&settled, Some(&Progress::Done), told.as_deref());
            assert!(was_at_rest(told.as_deref(), message), "{told:?}");
        }
        told = says(&settled, Some(&wait), told.as_deref());
        assert!(!was_at_rest(told.as_deref(), message), "from now on time runs: {told:?}");
    }
    let moves = Settled { message: Some(MOVING.to_owned()), ..Settled::default() };
    let told = says(&moves, Some(&wait), None);
    assert_eq!(told.as_deref(), Some(MOVING));
    assert!(!was_at_rest(told.as_deref(), None));
    // Whether they move is not known.
    assert_eq!(says(&Settled::default(), None, told.as_deref()), told);
}

#[test]
fn what_does_not_come_is_looked_for_less_and_less_often() {
    let soon = Duration::from_secs(1);
    let pause = |seconds: i64, after: Duration, moved: Option<&Progress>| {
        Settled { after: Some(after), age_millis: seconds * 1_000, ..Settled::default() }.pause(moved)
    };
    assert_eq!(pause(10, soon, None), soon);
    assert_eq!(pause(120, soon, None), soon * 3);
    assert_eq!(pause(86_400, soon, None), LATER);
    assert_eq!(pause(86_400, LATER, None), LATER);
    let moved = Progress::Wait { reason: "pod shop/web: Terminating".to_owned(), after: soon };
    assert_eq!(pause(120, LATER, Some(&moved)), soon * 3);
    assert_eq!(pause(86_400, LATER, Some(&moved)), LATER);
    assert_eq!(pause(0, Duration::ZERO, None), Duration::ZERO);
    assert_eq!(Settled::default().pause(None), DRIFT);
}

#[test]
fn what_somebody_can_do_something_about_is_told_first() {
    let name: NodeName = "one".parse().unwrap();
    let wait = |reason: &str| Progress::Wait { reason: reason.to_owned(), after: LATER };
    let wanted = |keeps: &[&NodeName]| WantedNodes {
        id: "ws-0123456789abcdefghjk".parse().unwrap(),
        keeps: keeps.iter().map(|name| (*name).clone()).collect(),
        leaves: Vec::new(),
        placed: NodeClass::Shared,
        goal: NodeClass::Dedicated,
        now: Timestamp::from_seconds(1_790_000_000),
    };
    let found = |keeps: Progress, may_move: Progress| FoundNodes {
        keeps: vec![(name.clone(), keeps)],
        leaves: vec![(name.clone(), wait("a pod is there"))],
        closed: Vec::new(),
        may_move,
    };
    let said = |keeps: &[&NodeName], found: &FoundNodes| told(1, &wanted(keeps), found).unwrap_or_default();
    assert!(said(&[], &found(Progress::Done, Progress::Done)).starts_with("0 of 1 nodes"));
    let closed = found(wait("a guest is there"), wait("no node is ready"));
    assert_eq!(said(&[&name], &closed), "node one: a guest is there");
    let bound = found(Progress::Done, wait("the claims stay"));
    assert_eq!(said(&[&name], &bound), "the claims stay");
    assert_eq!(said(&[&name], &found(Progress::Done, Progress::Done)), "node one: a pod is there");
}
