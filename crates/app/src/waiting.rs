//! Who waits for one workspace to wake: of all of them one looks at its row, again and again, for all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hexabase_backends::store::workspaces::Workspace;
use hexabase_core::ids::WorkspaceId;

/// Most of one workspace. The gateway lets fewer wait, so that whoever fills it with those leaves room for people.
const MOST: usize = 250;

/// The row as it was when this look at it began, or later.
#[derive(Debug)]
struct Seen {
    begun: Instant,
    row: Workspace,
}

type LastSeen = Arc<tokio::sync::Mutex<Option<Seen>>>;

#[derive(Debug, Default)]
struct Waiting {
    number: usize,
    seen: LastSeen,
}

/// One that waits, until dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    id: WorkspaceId,
    seen: LastSeen,
}

impl Waiter {
    /// One more, unless too many wait already.
    pub(crate) fn enter(workspace: &WorkspaceId) -> Option<Self> {
        let mut all = all();
        let waiting = all.entry(workspace.clone()).or_default();
        if waiting.number >= MOST {
            return None;
        }
        waiting.number += 1;
        Some(Self { id: workspace.clone(), seen: Arc::clone(&waiting.seen) })
    }

    /// The row as it was at `since` or later. It is loaded only if nobody who waits has done that since then: however many
    /// wait, the database is asked by one of them at a time.
    pub(crate) async fn look<E>(
        &self,
        since: Instant,
        load: impl Future<Output = Result<Workspace, E>>,
    ) -> Result<Workspace, E> {
        let mut last = self.seen.lock().await;
        if let Some(seen) = last.as_ref().filter(|seen| seen.begun >= since) {
            return Ok(seen.row.clone());
        }
        let begun = Instant::now();
        let row = load.await?;
        *last = Some(Seen { begun, row: row.clone() });
        Ok(row)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut all = all();
        if let Some(waiting) = all.get_mut(&self.id) {
            waiting.number = waiting.number.saturating_sub(1);
            if waiting.number == 0 {
                all.remove(&self.id);
            }
        }
    }
}

fn all() -> MutexGuard<'static, BTreeMap<WorkspaceId, Waiting>> {
    static ALL: Mutex<BTreeMap<WorkspaceId, Waiting>> = Mutex::new(BTreeMap::new());
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use hexabase_backends::store::workspaces::Desired;
    use hexabase_core::ids::Id as _;
    use hexabase_core::phases::WorkspacePhase;
    use hexabase_core::time::Timestamp;

    use super::*;

    fn workspace(number: u64) -> WorkspaceId {
        WorkspaceId::from_parts(Timestamp::from_seconds(1), number)
    }

    #[test]
    fn only_so_many_wait_for_a_workspace_and_none_for_another_one() {
        let mut waiters: Vec<Waiter> = (0..MOST).filter_map(|_| Waiter::enter(&workspace(1))).collect();
        assert_eq!(waiters.len(), MOST);
        assert!(Waiter::enter(&workspace(1)).is_none());
        assert!(Waiter::enter(&workspace(2)).is_some());
        drop(waiters.pop());
        assert!(Waiter::enter(&workspace(1)).is_some());
        drop(waiters);
        assert!(!all().contains_key(&workspace(1)), "nothing is remembered of those that went");
    }

    fn row(id: &WorkspaceId) -> Workspace {
        let at = Timestamp::from_seconds(1);
        Workspace {
            id: id.clone(),
            organization_id: hexabase_core::ids::OrganizationId::from_parts(at, 1),
            name: "shop".parse().unwrap(),
            plan_id: "standard".to_owned(),
            plan_version: 1,
            phase: WorkspacePhase::Waking,
            step: None,
            message: None,
            desired: Desired::Present,
            created_by: hexabase_core::ids::UserId::from_parts(at, 1),
            created_at: at,
            updated_at: at,
            ready_at: None,
            deleting_at: None,
            deleted_at: None,
            endpoint: None,
            ca_pem: None,
            receipt: None,
            version: 1,
            desired_since: None,
            last_used_at: None,
            sleep_rule: None,
            sleep_rule_at: None,
            removal_at: None,
            moved_at: None,
            used: None,
            nodes_wanted: 0,
            nodes_since: None,
            placed: hexabase_core::nodes::NodeClass::Shared,
            nodes_message: None,
            plan_wish: None,
        }
    }

    #[tokio::test]
    async fn however_many_wait_one_looks_for_all() {
        let (id, loads) = (workspace(3), Arc::new(AtomicUsize::new(0)));
        let load = || {
            let (loads, row) = (Arc::clone(&loads), row(&id));
            async move {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok::<_, Infallible>(row)
            }
        };
        let (first, rung) = (Waiter::enter(&id).unwrap(), Instant::now());
        let mut looks = tokio::task::JoinSet::new();
        for _ in 1..200 {
            let (waiter, load) = (Waiter::enter(&id).unwrap(), load());
            looks.spawn(async move { waiter.look(rung, load).await });
        }
        assert_eq!(looks.join_all().await.len(), 199);
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        // What happens after that is not missed.
        first.look(Instant::now(), load()).await.unwrap();
        assert_eq!(loads.load(Ordering::Relaxed), 2);
        // A look that failed is nobody's.
        let failed = first.look(Instant::now(), async { Err::<Workspace, _>("no answer") }).await;
        assert_eq!((failed.is_err(), first.look(rung, load()).await.is_ok()), (true, true));
        assert_eq!(loads.load(Ordering::Relaxed), 2);
    }
}
