//! Who came lately: who was let in, and to which workspace, who was refused, and who is being looked up for the first time; by
//! the hash of what they showed.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hexabase_core::ids::WorkspaceId;

use super::credential::Bearer;
use super::status::Failure;

/// Callers remembered before those are forgotten whose time is over, and all if that is nobody's.
const CALLERS: usize = 16_384;
/// How often somebody may be refused by whoever decides before the answer is the one of before, and for how long after the
/// first time. Whoever waits for the end of a refusal does not ask that often.
const REFUSALS: u32 = 10;
const MEMORY: Duration = Duration::from_secs(1);
/// How often somebody who was never let in may be looked up in that time without an end: a program may begin with many requests
/// at once, and whoever breaks off again and again is told nothing by whoever decides.
const LOOK_UPS: u32 = 64;
/// The same of somebody who was: all that they had open may break at once, and comes again at once.
const LOOK_UPS_OF_KNOWN: u32 = 200;
/// For how long somebody who was let in is taken for one of the workspace's people: what they ask is charged to it before they are
/// looked up, also when they break off and it is never found out that they are none any more.
const ACQUAINTANCE: Duration = Duration::from_secs(10);
/// For how long it is known to which workspace somebody was let in: no token lives longer.
const KNOWN: Duration = Duration::from_secs(10 * 60);

/// Who came lately.
#[derive(Debug, Default)]
pub(super) struct Callers {
    hasher: RandomState,
    let_in: Mutex<HashMap<u64, (WorkspaceId, Instant)>>,
    strangers: Mutex<HashMap<u64, Stranger>>,
}

/// Somebody who was let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// To this one.
    pub(super) workspace: WorkspaceId,
    /// So that they are taken for one of its people.
    pub(super) lately: bool,
}

/// Somebody who is being looked up, or was refused.
#[derive(Debug)]
struct Stranger {
    since: Instant,
    /// Look-ups that began and are not known to have ended.
    begun: u32,
    refused: u32,
    last: Option<Failure>,
}

impl Callers {
    /// Remembers that `bearer` was let in to what `named` names.
    pub(super) fn let_in(&self, named: &str, bearer: &Bearer, workspace: &WorkspaceId, now: Instant) {
        let caller = self.caller(named, bearer);
        if let Some(stranger) = lock(&self.strangers).get_mut(&caller) {
            stranger.begun = stranger.begun.saturating_sub(1);
        }
        let mut known = lock(&self.let_in);
        make_room(&mut known, caller, |(_, at)| now.saturating_duration_since(*at) < KNOWN);
        known.insert(caller, (workspace.clone(), now));
    }

    /// Who `bearer` is, if they were let in.
    pub(super) fn known(&self, named: &str, bearer: &Bearer, now: Instant) -> Option<Known> {
        let known = lock(&self.let_in);
        let (workspace, at) = known.get(&self.caller(named, bearer))?;
        let ago = now.saturating_duration_since(*at);
        (ago < KNOWN).then(|| Known { workspace: workspace.clone(), lately: ago < ACQUAINTANCE })
    }

    /// Remembers that `bearer`, who was not let in lately, is being looked up.
    pub(super) fn begin(&self, named: &str, bearer: &Bearer, now: Instant) {
        self.note(named, bearer, now, |stranger| stranger.begun = stranger.begun.saturating_add(1));
    }

    /// Remembers that `bearer` was refused what `named` names.
    pub(super) fn refuse(&self, named: &str, bearer: &Bearer, failure: &Failure, now: Instant) {
        self.note(named, bearer, now, |stranger| {
            stranger.begun = stranger.begun.saturating_sub(1);
            stranger.refused = stranger.refused.saturating_add(1);
            stranger.last = Some(failure.clone());
        });
    }

    /// What to answer to somebody who was refused too often within a second, or broke off too often.
    pub(super) fn refusal(&self, named: &str, bearer: &Bearer, is_known: bool, now: Instant) -> Option<Failure> {
        let strangers = lock(&self.strangers);
        let stranger = strangers.get(&self.caller(named, bearer))?;
        if now.saturating_duration_since(stranger.since) >= MEMORY {
            return None;
        }
        if stranger.refused >= REFUSALS {
            return stranger.last.clone();
        }
        let most = if is_known { LOOK_UPS_OF_KNOWN } else { LOOK_UPS };
        let message = "too many requests with this token are being looked up; wait for their answers";
        (stranger.begun >= most).then(|| Failure::too_many(message, MEMORY))
    }

    fn note(&self, named: &str, bearer: &Bearer, now: Instant, change: impl FnOnce(&mut Stranger)) {
        let caller = self.caller(named, bearer);
        let mut strangers = lock(&self.strangers);
        make_room(&mut strangers, caller, |stranger| now.saturating_duration_since(stranger.since) < MEMORY);
        let fresh = || Stranger { since: now, begun: 0, refused: 0, last: None };
        let stranger = strangers.entry(caller).or_insert_with(fresh);
        if now.saturating_duration_since(stranger.since) >= MEMORY {
            *stranger = fresh();
        }
        change(stranger);
    }

    fn caller(&self, named: &str, bearer: &Bearer) -> u64 {
        self.hasher.hash_one((named, bearer.token()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_room<T>(all: &mut HashMap<u64, T>, caller: u64, is_remembered: impl Fn(&T) -> bool) {
    if all.len() >= CALLERS && !all.contains_key(&caller) {
        all.retain(|_, one| is_remembered(one));
        if all.len() >= CALLERS {
            all.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::Id;
    use hexabase_core::time::Timestamp;

    use super::*;

    #[test]
    fn whoever_is_refused_often_is_told_the_same_for_a_second() {
        let callers = Callers::default();
        let (bearer, other) = (Bearer::new("refused".to_owned()), Bearer::new("other".to_owned()));
        let start = Instant::now();
        for _ in 0..REFUSALS {
            assert!(callers.refusal("one", &bearer, false, start).is_none());
            callers.refuse("one", &bearer, &Failure::forbidden("not a member"), start);
        }
        assert_eq!(callers.refusal("one", &bearer, false, start).map(|failure| failure.code()), Some(403));
        assert!(callers.refusal("two", &bearer, false, start).is_none());
        assert!(callers.refusal("one", &other, false, start).is_none(), "it is nobody else's");
        assert!(callers.refusal("one", &bearer, false, start + MEMORY).is_none());
        callers.refuse("one", &bearer, &Failure::forbidden("not a member"), start + MEMORY);
        assert!(callers.refusal("one", &bearer, false, start + MEMORY).is_none(), "it is counted anew");
    }

    #[test]
    fn whoever_breaks_off_again_and_again_is_looked_up_no_more_for_a_second() {
        let callers = Callers::default();
        let (bearer, start) = (Bearer::new("impatient".to_owned()), Instant::now());
        let workspace = WorkspaceId::from_parts(Timestamp::from_seconds(1), 1);
        for _ in 0..2 * LOOK_UPS {
            assert!(callers.refusal("one", &bearer, false, start).is_none());
            callers.begin("one", &bearer, start);
            callers.let_in("one", &bearer, &workspace, start);
        }
        for _ in 0..LOOK_UPS {
            assert!(callers.refusal("one", &bearer, false, start).is_none());
            callers.begin("one", &bearer, start);
        }
        assert_eq!(callers.refusal("one", &bearer, false, start).map(|failure| failure.code()), Some(429));
        assert!(callers.refusal("one", &bearer, false, start + MEMORY).is_none());
    }

    #[test]
    fn all_that_somebody_had_open_may_begin_again_at_once() {
        let (callers, bearer, now) = (Callers::default(), Bearer::new("known".to_owned()), Instant::now());
        for _ in 0..LOOK_UPS_OF_KNOWN {
            assert!(callers.refusal("one", &bearer, true, now).is_none());
            callers.begin("one", &bearer, now);
        }
        assert_eq!(callers.refusal("one", &bearer, true, now).map(|failure| failure.code()), Some(429));
    }

    #[test]
    fn whoever_was_let_in_is_one_of_the_workspaces_people_for_a_while_and_known_for_as_long_as_a_token_lives() {
        let (callers, bearer, start) = (Callers::default(), Bearer::new("removed".to_owned()), Instant::now());
        let workspace = WorkspaceId::from_parts(Timestamp::from_seconds(1), 1);
        callers.let_in("one", &bearer, &workspace, start);
        let after = |millis| callers.known("one", &bearer, start + Duration::from_millis(millis));
        let known = |lately| Some(Known { workspace: workspace.clone(), lately });
        assert_eq!(after(9_999), known(true));
        assert_eq!(after(10_000), known(false));
        assert_eq!(after(599_999), known(false));
        assert_eq!(after(600_000), None);
        callers.let_in("one", &bearer, &workspace, start + ACQUAINTANCE);
        assert_eq!(after(10_000), known(true));
    }

    #[test]
    fn whoever_asks_too_often_is_not_forgotten_because_many_asked_before() {
        let (callers, start) = (Callers::default(), Instant::now());
        let refuse = |token: &str, now| {
            callers.refuse("one", &Bearer::new(token.to_owned()), &Failure::forbidden("not a member"), now);
        };
        for number in 1..CALLERS {
            refuse(&number.to_string(), start);
        }
        for _ in 0..REFUSALS {
            refuse("impatient", start + MEMORY);
        }
        assert_eq!(lock(&callers.strangers).len(), CALLERS);
        refuse("one more", start + MEMORY);
        assert_eq!(lock(&callers.strangers).len(), 2);
        assert!(callers.refusal("one", &Bearer::new("impatient".to_owned()), false, start + MEMORY).is_some());
    }
}
