//! Groups of a workspace: a forest in which a member of a group counts as a member of all its ancestors.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::ids::GroupId;
use crate::names::GroupName;

/// The group at the top of every workspace: everybody with access.
pub const WORKSPACE_MEMBERS: &str = "WorkspaceMembers";
/// The default group of administrators, below [`WORKSPACE_MEMBERS`].
pub const WS_ADMINS: &str = "WSAdmins";
/// The default group of ordinary users, below [`WORKSPACE_MEMBERS`].
pub const WS_USERS: &str = "WSUsers";

/// Most groups one token may carry.
pub const MAX_GROUPS_PER_TOKEN: usize = 200;

/// A group as far as resolution is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupNode {
    /// Its id.
    pub id: GroupId,
    /// Its immutable name, the one tokens carry.
    pub name: GroupName,
    /// The group it stands below, in the same workspace.
    pub parent: Option<GroupId>,
}

/// Names of the groups in `direct` and of all their ancestors among `groups`: sorted, each once.
///
/// Ends on every input: a parent that is missing ends its branch, and a cycle, which the store refuses to hold, is
/// walked once.
pub fn effective_groups(groups: &[GroupNode], direct: &[GroupId]) -> Vec<GroupName> {
    let by_id: HashMap<&GroupId, &GroupNode> = groups.iter().map(|group| (&group.id, group)).collect();
    let mut seen: HashSet<&GroupId> = HashSet::new();
    let mut names: BTreeSet<&GroupName> = BTreeSet::new();
    for start in direct {
        let mut next = by_id.get(start).copied();
        while let Some(group) = next {
            if !seen.insert(&group.id) {
                break;
            }
            names.insert(&group.name);
            next = group.parent.as_ref().and_then(|parent| by_id.get(parent).copied());
        }
    }
    names.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Id;
    use crate::time::Timestamp;

    fn id(number: usize) -> GroupId {
        GroupId::from_parts(Timestamp::from_seconds(0), number as u64)
    }

    fn group(number: usize, parent: Option<usize>) -> GroupNode {
        GroupNode { id: id(number), name: format!("g{number:03}").parse().unwrap(), parent: parent.map(id) }
    }

    fn names(groups: &[GroupNode], direct: &[GroupId]) -> Vec<String> {
        effective_groups(groups, direct).into_iter().map(String::from).collect()
    }

    #[test]
    fn a_member_of_a_group_is_a_member_of_its_ancestors_and_of_no_descendant() {
        let groups = [group(0, None), group(1, Some(0)), group(2, Some(1)), group(3, Some(0))];
        assert_eq!(names(&groups, &[id(1)]), ["g000", "g001"]);
    }

    #[test]
    fn a_cycle_or_a_missing_parent_still_ends() {
        let groups = [group(0, Some(1)), group(1, Some(0)), group(2, Some(9))];
        assert_eq!(names(&groups, &[id(0), id(2), id(7)]), ["g000", "g001", "g002"]);
    }

    proptest! {
        #[test]
        fn resolution_agrees_with_the_transitive_closure(
            parents in proptest::collection::vec(proptest::option::of(0usize..40), 1..40),
            direct in proptest::collection::vec(0usize..40, 0..6),
        ) {
            let groups: Vec<GroupNode> =
                parents.iter().enumerate().map(|(number, parent)| group(number, parent.filter(|parent| *parent < number))).collect();
            let mut closure: BTreeSet<usize> = direct.iter().copied().filter(|number| *number < groups.len()).collect();
            loop {
                let above: BTreeSet<usize> =
                    closure.iter().filter_map(|number| parents[*number].filter(|parent| parent < number)).collect();
                let before = closure.len();
                closure.extend(above);
                if closure.len() == before {
                    break;
                }
            }
            let expected: Vec<String> = closure.into_iter().map(|number| format!("g{number:03}")).collect();
            let direct: Vec<GroupId> = direct.into_iter().map(id).collect();
            prop_assert_eq!(names(&groups, &direct), expected);
        }
    }
}
