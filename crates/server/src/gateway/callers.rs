//! Who came lately: who was let in, and to which workspace, and who was refused; by the hash of what they showed.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hexabase_core::ids::WorkspaceId;

use super::credential::Bearer;
use super::status::Failure;

/// Callers remembered before all are forgotten.
const CALLERS: usize = 16_384;
/// How often somebody may be refused by whoever decides before the answer is the one of before, and for how long after the
/// first time. Whoever waits for the end of a refusal does not ask that often.
const REFUSALS: u32 = 10;
const MEMORY: Duration = Duration::from_secs(1);

/// Who came lately.
#[derive(Debug, Default)]
pub(super) struct Callers {
    hasher: RandomState,
    let_in: Mutex<HashMap<u64, WorkspaceId>>,
    refused: Mutex<HashMap<u64, Refused>>,
}

#[derive(Debug)]
struct Refused {
    since: Instant,
    times: u32,
    last: Failure,
}

impl Callers {
    /// Remembers that `bearer` was let in to what `named` names.
    pub(super) fn let_in(&self, named: &str, bearer: &Bearer, workspace: &WorkspaceId) {
        let caller = self.caller(named, bearer);
        let mut known = lock(&self.let_in);
        make_room(&mut known, caller);
        known.insert(caller, workspace.clone());
    }

    /// The workspace to which `bearer` was let in.
    pub(super) fn workspace(&self, named: &str, bearer: &Bearer) -> Option<WorkspaceId> {
        lock(&self.let_in).get(&self.caller(named, bearer)).cloned()
    }

    /// Remembers that `bearer` was refused what `named` names.
    pub(super) fn refuse(&self, named: &str, bearer: &Bearer, failure: &Failure, now: Instant) {
        let caller = self.caller(named, bearer);
        let mut refused = lock(&self.refused);
        make_room(&mut refused, caller);
        let entry = refused.entry(caller).or_insert_with(|| Refused { since: now, times: 0, last: failure.clone() });
        if now.saturating_duration_since(entry.since) >= MEMORY {
            (entry.since, entry.times) = (now, 0);
        }
        entry.times = entry.times.saturating_add(1);
        entry.last = failure.clone();
    }

    /// What to answer to somebody who was refused too often within a second.
    pub(super) fn refusal(&self, named: &str, bearer: &Bearer, now: Instant) -> Option<Failure> {
        let refused = lock(&self.refused);
        let entry = refused.get(&self.caller(named, bearer))?;
        let again = entry.times >= REFUSALS && now.saturating_duration_since(entry.since) < MEMORY;
        again.then(|| entry.last.clone())
    }

    fn caller(&self, named: &str, bearer: &Bearer) -> u64 {
        self.hasher.hash_one((named, bearer.token()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_room<T>(all: &mut HashMap<u64, T>, caller: u64) {
    if all.len() >= CALLERS && !all.contains_key(&caller) {
        all.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_refused_often_is_told_the_same_for_a_second() {
        let callers = Callers::default();
        let (bearer, other) = (Bearer::new("refused".to_owned()), Bearer::new("other".to_owned()));
        let start = Instant::now();
        for _ in 0..REFUSALS {
            assert!(callers.refusal("one", &bearer, start).is_none());
            callers.refuse("one", &bearer, &Failure::forbidden("not a member"), start);
        }
        assert_eq!(callers.refusal("one", &bearer, start).map(|failure| failure.code()), Some(403));
        assert!(callers.refusal("two", &bearer, start).is_none());
        assert!(callers.refusal("one", &other, start).is_none(), "it is nobody else's");
        assert!(callers.refusal("one", &bearer, start + MEMORY).is_none());
        callers.refuse("one", &bearer, &Failure::forbidden("not a member"), start + MEMORY);
        assert!(callers.refusal("one", &bearer, start + MEMORY).is_none(), "it is counted anew");
    }
}
