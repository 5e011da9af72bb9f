//! Cluster tests that need nodes which not every host has.

/// What needs a second real node, which no host has that enforces network policies.
const SECOND_NODE: [&str; 2] = [
    "nodes::a_workspace_moves_to_a_node_of_its_own_and_back_with_all_it_has",
    "nodes::a_workspace_asks_for_a_node_has_it_alone_and_gives_it_back",
];
/// What needs pretended ones.
const KWOK_NODES: [&str; 1] =
    ["nodes::placement::of_a_hundred_nodes_each_is_one_workspaces_and_no_pod_is_anywhere_else"];

/// The tests that a host cannot run which has, or has not, a second node and pretended ones.
pub(super) fn left_out(second_node: bool, kwok_nodes: bool) -> Vec<&'static str> {
    let second = SECOND_NODE.into_iter().filter(|_| !second_node);
    second.chain(KWOK_NODES.into_iter().filter(|_| !kwok_nodes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    #[test]
    fn a_host_runs_what_it_has_the_nodes_for() {
        assert_eq!(left_out(true, true), [""; 0]);
        assert_eq!(left_out(false, true), SECOND_NODE);
        assert_eq!(left_out(false, false).len(), SECOND_NODE.len() + KWOK_NODES.len());
    }

    #[test]
    fn the_tests_bear_the_names_by_which_they_are_left_out() {
        let crates = settings::repository().join("crates");
        let files = ["reconcile/tests/cluster/nodes.rs", "reconcile/tests/cluster/nodes/placement.rs"];
        let files = files.into_iter().chain(["server/tests/cluster/nodes.rs"]);
        let texts: Vec<String> = files.map(|file| std::fs::read_to_string(crates.join(file)).unwrap()).collect();
        for name in left_out(false, false) {
            let function = name.rsplit("::").next().unwrap();
            assert!(texts.iter().any(|text| text.contains(&format!("async fn {function}()"))), "{name}");
        }
    }
}
