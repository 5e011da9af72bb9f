//! How many requests wait for one workspace to wake: each looks at its row again and again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hexabase_core::ids::WorkspaceId;

/// Most of one workspace. The gateway lets fewer wait, so that whoever fills it with those leaves room for people.
const MOST: usize = 250;

/// One that waits, until dropped.
#[derive(Debug)]
pub(crate) struct Waiter(WorkspaceId);

impl Waiter {
    /// One more, unless too many wait already.
    pub(crate) fn enter(workspace: &WorkspaceId) -> Option<Self> {
        let mut all = all();
        let waiting = all.entry(workspace.clone()).or_default();
        if *waiting >= MOST {
            return None;
        }
        *waiting += 1;
        Some(Self(workspace.clone()))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut all = all();
        if let Some(waiting) = all.get_mut(&self.0) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                all.remove(&self.0);
            }
        }
    }
}

fn all() -> MutexGuard<'static, BTreeMap<WorkspaceId, usize>> {
    static ALL: Mutex<BTreeMap<WorkspaceId, usize>> = Mutex::new(BTreeMap::new());
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::Id as _;
    use hexabase_core::time::Timestamp;

    use super::*;

    #[test]
    fn only_so_many_wait_for_a_workspace_and_none_for_another_one() {
        let workspace = |number: u64| WorkspaceId::from_parts(Timestamp::from_seconds(1), number);
        let mut waiters: Vec<Waiter> = (0..MOST).filter_map(|_| Waiter::enter(&workspace(1))).collect();
        assert_eq!(waiters.len(), MOST);
        assert!(Waiter::enter(&workspace(1)).is_none());
        assert!(Waiter::enter(&workspace(2)).is_some());
        drop(waiters.pop());
        assert!(Waiter::enter(&workspace(1)).is_some());
        drop(waiters);
        assert!(!all().contains_key(&workspace(1)), "nothing is remembered of those that went");
    }
}
