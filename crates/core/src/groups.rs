//! Groups of a workspace: a forest in which a member of a group counts as a member of all its ancestors.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupId, UserId};
use crate::names::GroupName;

/// The group at the top of every workspace: everybody with access.
pub const WORKSPACE_MEMBERS: &str = "WorkspaceMembers";
/// The default group of administrators, below [`WORKSPACE_MEMBERS`].
pub const WS_ADMINS: &str = "WSAdmins";
/// The default group of ordinary users, below [`WORKSPACE_MEMBERS`].
pub const WS_USERS: &str = "WSUsers";

/// Most groups of one workspace.
pub const MAX_GROUPS: usize = 1_000;
/// Most groups from the top of a tree down to its lowest group, both counted.
pub const MAX_DEPTH: usize = 8;
/// Most groups one token may carry.
pub const MAX_GROUPS_PER_TOKEN: usize = 200;
/// Most bytes that the names of one token's groups may have together.
pub const MAX_GROUP_BYTES_PER_TOKEN: usize = 8 * 1024;

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

/// Groups of somebody that no token could carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimTooLarge {
    /// Too many.
    #[error("{0} groups, those above included; a token carries at most {MAX_GROUPS_PER_TOKEN}")]
    Groups(usize),
    /// Too long together.
    #[error("group names of {0} bytes, those above included; a token carries at most {MAX_GROUP_BYTES_PER_TOKEN}")]
    Bytes(usize),
}

/// Refuses groups that would not fit into a token: told when somebody is put into a group, never at sign-in.
pub fn check_claim(groups: &[&GroupName]) -> Result<(), ClaimTooLarge> {
    if groups.len() > MAX_GROUPS_PER_TOKEN {
        return Err(ClaimTooLarge::Groups(groups.len()));
    }
    let bytes = groups.iter().map(|name| name.as_str().len()).sum();
    if bytes > MAX_GROUP_BYTES_PER_TOKEN { Err(ClaimTooLarge::Bytes(bytes)) } else { Ok(()) }
}

/// The groups of a workspace, with everything that stands above each worked out once.
///
/// Ends on every input: a parent that is missing ends its branch, and a cycle, which the store refuses to hold, is
/// walked once.
#[derive(Debug)]
pub struct Forest<'a> {
    /// By name, so that places in order are names in order.
    groups: Vec<&'a GroupNode>,
    places: HashMap<&'a GroupId, usize>,
    /// For each place: itself, its parent, and so on to the top.
    chains: Vec<Vec<usize>>,
}

impl<'a> Forest<'a> {
    /// The forest of these groups.
    pub fn new(groups: &'a [GroupNode]) -> Self {
        let mut groups: Vec<&GroupNode> = groups.iter().collect();
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        let places: HashMap<&GroupId, usize> =
            groups.iter().enumerate().map(|(place, group)| (&group.id, place)).collect();
        let parents: Vec<Option<usize>> =
            groups.iter().map(|group| places.get(group.parent.as_ref()?).copied()).collect();
        // In which chain each place was seen last.
        let mut seen = vec![usize::MAX; groups.len()];
        let chain = |start: usize| {
            let mut chain = Vec::new();
            let mut next = Some(start);
            while let Some(place) = next.filter(|place| seen[*place] != start) {
                seen[place] = start;
                chain.push(place);
                next = parents[place];
            }
            chain
        };
        let chains = (0..groups.len()).map(chain).collect();
        Self { groups, places, chains }
    }

    fn place(&self, id: &GroupId) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// Names of the groups in `direct` and of all above them: sorted, each once.
    pub fn effective<'d>(&self, direct: impl IntoIterator<Item = &'d GroupId>) -> Vec<&'a GroupName> {
        self.collect(direct, &mut Places::of(&self.groups))
    }

    fn collect<'d>(&self, direct: impl IntoIterator<Item = &'d GroupId>, marked: &mut Places) -> Vec<&'a GroupName> {
        for start in direct.into_iter().filter_map(|id| self.place(id)) {
            self.chains[start].iter().for_each(|place| marked.mark(*place));
        }
        let mut names = Vec::with_capacity(marked.count());
        marked.drain(|place| names.push(&self.groups[place].name));
        names
    }

    /// The same for everybody in one pass. `memberships` says who was put into which group, person after person: those of
    /// one person have to stand together.
    pub fn everybody<'m>(&self, memberships: &'m [(GroupId, UserId)]) -> Vec<(&'m UserId, Vec<&'a GroupName>)> {
        let people = memberships.chunk_by(|(_, one), (_, other)| one == other);
        let mut marked = Places::of(&self.groups);
        people.map(|own| (&own[0].1, self.collect(own.iter().map(|(group, _)| group), &mut marked))).collect()
    }

    /// The group with this name.
    pub fn named(&self, name: &str) -> Option<&'a GroupNode> {
        let place = self.groups.binary_search_by(|group| group.name.as_str().cmp(name)).ok()?;
        Some(self.groups[place])
    }

    /// The group with this id.
    pub fn get(&self, id: &GroupId) -> Option<&'a GroupNode> {
        self.place(id).map(|place| self.groups[place])
    }

    /// The group, the one it stands below, and so on to the top; empty for an unknown one.
    pub fn chain(&self, id: &GroupId) -> Vec<&'a GroupNode> {
        let chain = self.place(id).map(|place| self.chains[place].iter().map(|place| self.groups[*place]).collect());
        chain.unwrap_or_default()
    }

    /// Names from `from` up to `to`, both included: why a member of the one is a member of the other, if so.
    pub fn path(&self, from: &GroupId, to: &GroupId) -> Option<Vec<&'a GroupName>> {
        let chain = self.chain(from);
        let end = chain.iter().position(|group| group.id == *to)?;
        Some(chain[..=end].iter().map(|group| &group.name).collect())
    }

    /// The group and all below it: those whose members are its members.
    pub fn within(&self, id: &GroupId) -> Vec<&'a GroupNode> {
        let Some(top) = self.place(id) else { return Vec::new() };
        let below = self.groups.iter().zip(&self.chains);
        below.filter(|(_, chain)| chain.contains(&top)).map(|(group, _)| *group).collect()
    }

    /// Groups from the top of its tree down to this one, both counted.
    pub fn depth(&self, id: &GroupId) -> usize {
        self.place(id).map_or(0, |place| self.chains[place].len())
    }

    /// Groups from this one down to the lowest below it, both counted.
    pub fn height(&self, id: &GroupId) -> usize {
        let lowest = self.within(id).into_iter().map(|group| self.depth(&group.id)).max();
        lowest.map_or(0, |lowest| lowest + 1 - self.depth(id))
    }
}

/// Some places of a forest, a bit for each: nothing to sort, and none is there twice.
struct Places(Vec<u64>);

impl Places {
    /// None of these.
    fn of(groups: &[&GroupNode]) -> Self {
        Self(vec![0; groups.len().div_ceil(64)])
    }

    fn mark(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    fn count(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    /// Those that are marked, in order; then none is.
    fn drain(&mut self, mut each: impl FnMut(usize)) {
        for (word, bits) in self.0.iter_mut().enumerate() {
            let mut left = std::mem::take(bits);
            while left != 0 {
                each(word * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;
    use crate::time::Timestamp;

    fn id(number: usize) -> GroupId {
        GroupId::from_parts(Timestamp::from_seconds(0), number as u64)
    }

    fn user(number: usize) -> UserId {
        UserId::from_parts(Timestamp::from_seconds(0), number as u64)
    }

    fn group(number: usize, parent: Option<usize>) -> GroupNode {
        GroupNode { id: id(number), name: format!("g{number:03}").parse().unwrap(), parent: parent.map(id) }
    }

    fn texts(names: &[&GroupName]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn names(groups: &[GroupNode], direct: &[GroupId]) -> Vec<String> {
        texts(&Forest::new(groups).effective(direct))
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
        let forest = Forest::new(&groups);
        assert_eq!((forest.depth(&id(0)), forest.within(&id(0)).len()), (2, 2));
    }

    #[test]
    fn a_path_leads_from_a_group_up_to_one_above_it_and_nowhere_else() {
        let groups = [group(0, None), group(1, Some(0)), group(2, Some(1)), group(3, Some(0))];
        let forest = Forest::new(&groups);
        assert_eq!(forest.path(&id(2), &id(0)).map(|path| texts(&path)).unwrap(), ["g002", "g001", "g000"]);
        assert_eq!(forest.path(&id(2), &id(2)).map(|path| texts(&path)).unwrap(), ["g002"]);
        assert_eq!(forest.path(&id(0), &id(2)), None);
        assert_eq!(forest.path(&id(2), &id(3)), None);
        assert_eq!(forest.named("g003").map(|group| &group.id), Some(&id(3)));
        assert_eq!(forest.named("g004"), None);
    }

    #[test]
    fn depth_counts_to_the_top_and_height_to_the_lowest() {
        let groups = [group(0, None), group(1, Some(0)), group(2, Some(1)), group(3, Some(0))];
        let forest = Forest::new(&groups);
        let measures = |number| (forest.depth(&id(number)), forest.height(&id(number)));
        assert_eq!([0, 1, 2, 3, 9].map(measures), [(1, 3), (2, 2), (3, 1), (2, 1), (0, 0)]);
        assert_eq!(forest.within(&id(1)).len(), 2);
    }

    #[test]
    fn a_token_has_room_for_so_many_groups_and_bytes_and_no_more() {
        let short: Vec<GroupName> = (0..=200).map(|number| format!("g{number}").parse().unwrap()).collect();
        let short: Vec<&GroupName> = short.iter().collect();
        assert_eq!(check_claim(&short[..200]), Ok(()));
        assert_eq!(check_claim(&short), Err(ClaimTooLarge::Groups(201)));
        let long: Vec<GroupName> = (0..131).map(|number| format!("{number:a>63}").parse().unwrap()).collect();
        let long: Vec<&GroupName> = long.iter().collect();
        assert_eq!(check_claim(&long[..130]), Ok(()));
        assert_eq!(check_claim(&long), Err(ClaimTooLarge::Bytes(131 * 63)));
    }

    /// Small numbers in no order, the same each time: ten thousand forests need no library to be found again.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 33) as usize % limit
        }
    }

    /// The closure as a textbook has it, a bit for each group above: if a way leads from a to b and from b to c, one leads
    /// from a to c.
    fn reference(parents: &[Option<usize>]) -> Vec<u32> {
        let own = |(number, parent): (usize, &Option<usize>)| 1 << number | parent.map_or(0, |parent| 1 << parent);
        let mut above: Vec<u32> = parents.iter().enumerate().map(own).collect();
        for via in 0..above.len() {
            for from in 0..above.len() {
                if above[from] >> via & 1 == 1 {
                    above[from] |= above[via];
                }
            }
        }
        above
    }

    #[test]
    fn ten_thousand_forests_resolve_as_the_transitive_closure_does() {
        const MOST: usize = 24;
        let pool: Vec<GroupNode> = (0..MOST).map(|number| group(number, None)).collect();
        let people: Vec<UserId> = (0..4).map(user).collect();
        let mut numbers = Numbers(0x5eed);
        for round in 0..10_000 {
            let count = 1 + numbers.below(MOST);
            // A forest, because every parent stands before its children, or every one after them.
            let stands = |parent: usize, number: usize| {
                parent < count && if round % 2 == 0 { parent < number } else { parent > number }
            };
            let parents: Vec<Option<usize>> = (0..count)
                .map(|number| Some(numbers.below(count + 2)).filter(|parent| stands(*parent, number)))
                .collect();
            let below = |(number, parent): (usize, &Option<usize>)| GroupNode {
                parent: parent.map(|parent| pool[parent].id.clone()),
                ..pool[number].clone()
            };
            let mut groups: Vec<GroupNode> = parents.iter().enumerate().map(below).collect();
            groups.rotate_left(numbers.below(count));
            let above = reference(&parents);
            let memberships: Vec<(usize, usize)> =
                (0..numbers.below(8)).map(|_| (numbers.below(MOST), numbers.below(people.len()))).collect();
            let mut pairs: Vec<(GroupId, UserId)> =
                memberships.iter().map(|(group, person)| (pool[*group].id.clone(), people[*person].clone())).collect();
            pairs.sort_by(|one, other| one.1.cmp(&other.1));

            let forest = Forest::new(&groups);
            let everybody: HashMap<&UserId, Vec<&GroupName>> = forest.everybody(&pairs).into_iter().collect();
            for (person, id) in people.iter().enumerate() {
                let direct = memberships.iter().filter(|(group, who)| *who == person && *group < count);
                let bits = direct.fold(0, |bits, (group, _)| bits | above[*group]);
                let expected: Vec<&GroupName> =
                    (0..count).filter(|number| bits >> number & 1 == 1).map(|number| &pool[number].name).collect();
                let own = pairs.iter().filter(|(_, who)| who == id).map(|(group, _)| group);
                assert_eq!(forest.effective(own), expected, "round {round}");
                assert_eq!(everybody.get(id).cloned().unwrap_or_default(), expected, "round {round}");
            }
            let number = numbers.below(count);
            let below = above.iter().filter(|above| **above >> number & 1 == 1).count();
            assert_eq!(forest.within(&pool[number].id).len(), below, "round {round}");
        }
    }
}
