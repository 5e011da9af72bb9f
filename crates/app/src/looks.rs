//! How often it may be looked into workspaces: each look asks a tenant's API server several times. What is counted is this
//! process's own, as at the gateway (docs/adr/0020-what-one-workspace-may-ask.md).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::time::Timestamp;

use crate::error::{Error, Result};

/// Looks per second for long, and at once after a pause.
struct Rate {
    per_second: i64,
    burst: i64,
}

/// Into one workspace, whoever looks.
const OF_WORKSPACE: Rate = Rate { per_second: 20, burst: 200 };
/// Of one person, wherever they look. Less than into one workspace: nobody takes all of it from the others.
const OF_PERSON: Rate = Rate { per_second: 10, burst: 100 };
/// How many of each are remembered before those at rest are forgotten.
const REMEMBERED: usize = 4_096;
/// What one look costs; as many thousandths are earned in a millisecond as looks in a second.
const LOOK: i64 = 1_000;

/// What is left of a rate, in thousandths of a look.
#[derive(Debug, Clone, Copy)]
struct Left {
    thousandths: i64,
    at: Timestamp,
}

#[derive(Debug)]
struct Looks {
    workspaces: BTreeMap<WorkspaceId, Left>,
    people: BTreeMap<UserId, Left>,
}

/// Counts one look of `user` into `workspace`. One that is refused counts for nothing.
///
/// # Errors
/// [`Error::TooOften`] when either has none left.
pub(crate) fn count(workspace: &WorkspaceId, user: &UserId, now: Timestamp) -> Result<()> {
    lock().count(workspace, user, now)
}

fn lock() -> MutexGuard<'static, Looks> {
    static ALL: Mutex<Looks> = Mutex::new(Looks::new());
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Looks {
    const fn new() -> Self {
        Self { workspaces: BTreeMap::new(), people: BTreeMap::new() }
    }

    fn count(&mut self, workspace: &WorkspaceId, user: &UserId, now: Timestamp) -> Result<()> {
        let of_person = OF_PERSON.entry(&mut self.people, user, now);
        let of_workspace = OF_WORKSPACE.entry(&mut self.workspaces, workspace, now);
        OF_PERSON.check(of_person, "you look into workspaces")?;
        OF_WORKSPACE.check(of_workspace, "this workspace is looked into")?;
        of_person.thousandths -= LOOK;
        of_workspace.thousandths -= LOOK;
        Ok(())
    }
}

impl Rate {
    /// What `key` has left, with all that was earned until `now`.
    fn entry<'a, K: Ord + Clone>(&self, all: &'a mut BTreeMap<K, Left>, key: &K, now: Timestamp) -> &'a mut Left {
        if all.len() >= REMEMBERED && !all.contains_key(key) {
            all.retain(|_, left| self.earned(*left, now) < self.full());
        }
        let left = all.entry(key.clone()).or_insert(Left { thousandths: self.full(), at: now });
        left.thousandths = self.earned(*left, now);
        left.at = left.at.max(now);
        left
    }

    fn full(&self) -> i64 {
        self.burst * LOOK
    }

    fn earned(&self, left: Left, now: Timestamp) -> i64 {
        let millis = now.millis_since(left.at).max(0);
        left.thousandths.saturating_add(millis.saturating_mul(self.per_second)).min(self.full())
    }

    fn check(&self, left: &Left, who: &str) -> Result<()> {
        let missing = LOOK - left.thousandths;
        if missing <= 0 {
            return Ok(());
        }
        let millis = missing.div_euclid(self.per_second) + 1;
        let detail = format!("{who} more than {} times per second; wait a moment", self.per_second);
        Err(Error::TooOften { detail, retry_after: Duration::from_millis(millis.unsigned_abs()) })
    }
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::Id as _;

    use super::*;

    fn begun() -> Timestamp {
        Timestamp::from_seconds(1_790_000_000)
    }

    fn workspace(number: u64) -> WorkspaceId {
        WorkspaceId::from_parts(begun(), number)
    }

    fn user(number: u64) -> UserId {
        UserId::from_parts(begun(), number)
    }

    /// How many of so many looks pass.
    fn passed(looks: &mut Looks, (workspace, user): (&WorkspaceId, &UserId), many: usize, now: Timestamp) -> usize {
        (0..many).filter(|_| looks.count(workspace, user, now).is_ok()).count()
    }

    #[test]
    fn a_person_looks_so_often_and_leaves_the_rest_to_others() {
        let mut looks = Looks::new();
        let (first, second) = (workspace(1), workspace(2));
        assert_eq!(passed(&mut looks, (&first, &user(1)), 500, begun()), 100);
        assert_eq!(passed(&mut looks, (&second, &user(1)), 1, begun()), 0, "wherever they look");
        match looks.count(&first, &user(1), begun()) {
            Err(Error::TooOften { detail, retry_after }) => {
                assert!(detail.contains("10 times per second"), "{detail}");
                assert_eq!(retry_after, Duration::from_millis(101));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(passed(&mut looks, (&first, &user(2)), 500, begun()), 100);
        assert_eq!(passed(&mut looks, (&first, &user(3)), 500, begun()), 0, "nothing is left of the workspace's");
        assert_eq!(passed(&mut looks, (&second, &user(3)), 500, begun()), 100, "and they were not charged for that");
    }

    #[test]
    fn what_was_used_up_comes_back_with_time_and_no_more_than_a_burst() {
        let mut looks = Looks::new();
        let place = (&workspace(1), &user(1));
        assert_eq!(passed(&mut looks, place, 500, begun()), 100);
        assert_eq!(passed(&mut looks, place, 500, begun().plus_millis(99)), 0);
        assert_eq!(passed(&mut looks, place, 500, begun().plus_millis(1_000)), 10);
        assert_eq!(passed(&mut looks, place, 500, begun().plus_millis(500)), 0, "a clock that goes back earns nothing");
        assert_eq!(passed(&mut looks, place, 500, begun().plus_seconds(3_600)), 100);
    }

    #[test]
    fn those_at_rest_are_forgotten() {
        let mut looks = Looks::new();
        for number in 0..=REMEMBERED as u64 {
            let now = begun().plus_seconds(i64::try_from(number).unwrap());
            assert!(looks.count(&workspace(number), &user(number), now).is_ok());
        }
        assert!(looks.workspaces.len() < 100 && looks.people.len() < 100);
    }
}
