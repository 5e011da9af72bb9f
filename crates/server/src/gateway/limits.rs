//! How much one workspace may ask at once and per second, so that none slows down another.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hexabase_core::ids::WorkspaceId;

use super::GatewaySettings;
use super::credential::Bearer;
use super::pace::Pace;
use super::status::Failure;

/// Workspaces remembered before those at rest are forgotten.
const REMEMBERED: usize = 4_096;
/// Callers remembered before all are forgotten.
const CALLERS: usize = 16_384;

#[derive(Debug)]
struct Usage {
    requests: u32,
    streams: u32,
    tokens: f64,
    refilled: Instant,
    pace: Arc<Pace>,
}

/// What every workspace uses right now.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    concurrency: u32,
    long_streams: u32,
    rate: f64,
    burst: f64,
    bytes_per_second: u64,
    usage: Arc<Mutex<HashMap<WorkspaceId, Usage>>>,
    callers: Arc<Callers>,
}

/// Who was let in lately, and to which workspace; by the hash of what they showed.
#[derive(Debug, Default)]
struct Callers {
    hasher: RandomState,
    seen: Mutex<HashMap<u64, WorkspaceId>>,
}

/// Leave to run one request; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limits: Limits,
    workspace: WorkspaceId,
    long: bool,
    pace: Arc<Pace>,
}

impl Permit {
    /// How fast the workspace's bytes pass.
    pub(super) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }
}

impl Limits {
    /// The limits `settings` state.
    pub(super) fn new(settings: &GatewaySettings) -> Self {
        Self {
            concurrency: settings.concurrency,
            long_streams: settings.long_streams,
            rate: f64::from(settings.rate.max(1)),
            burst: f64::from(settings.burst.max(1)),
            bytes_per_second: settings.bytes_per_second,
            usage: Arc::default(),
            callers: Arc::default(),
        }
    }

    /// Remembers that `bearer` was let in to what `named` names: for [`Limits::hurried`].
    pub(super) fn let_in(&self, named: &str, bearer: &Bearer, workspace: &WorkspaceId) {
        let caller = self.callers.hasher.hash_one((named, bearer.token()));
        let mut seen = self.callers.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= CALLERS && !seen.contains_key(&caller) {
            seen.clear();
        }
        seen.insert(caller, workspace.clone());
    }

    /// Refuses whoever was let in before while the workspace's rate is used up, so that a flood costs nothing more than this
    /// answer. Of others nothing is told here: they are judged first.
    pub(super) fn hurried(&self, named: &str, bearer: &Bearer, now: Instant) -> Result<(), Failure> {
        let caller = self.callers.hasher.hash_one((named, bearer.token()));
        let workspace = self.callers.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&caller).cloned();
        let Some(workspace) = workspace else { return Ok(()) };
        let map = self.lock();
        let tokens = map.get(&workspace).map_or(self.burst, |usage| self.refilled(usage, now));
        if tokens < 1.0 { Err(self.too_fast(tokens)) } else { Ok(()) }
    }

    /// Admits one more request of `workspace` at `now`, a `long` one counting as a stream as well.
    pub(super) fn enter(&self, workspace: &WorkspaceId, long: bool, now: Instant) -> Result<Permit, Failure> {
        let mut map = self.lock();
        if map.len() >= REMEMBERED && !map.contains_key(workspace) {
            map.retain(|_, usage| {
                usage.requests > 0 || self.refilled(usage, now) < self.burst || !usage.pace.is_rested(now)
            });
        }
        let usage = map.entry(workspace.clone()).or_insert_with(|| Usage {
            requests: 0,
            streams: 0,
            tokens: self.burst,
            refilled: now,
            pace: Arc::new(Pace::new(self.bytes_per_second, now)),
        });
        usage.tokens = self.refilled(usage, now);
        usage.refilled = now;
        if usage.tokens < 1.0 {
            return Err(self.too_fast(usage.tokens));
        }
        if usage.requests >= self.concurrency {
            let message =
                format!("this workspace already has all of the {} requests in progress that it may", self.concurrency);
            return Err(Failure::too_many(message, Duration::from_secs(1)));
        }
        if long && usage.streams >= self.long_streams {
            let message = format!(
                "this workspace already has all of the {} open streams that it may (watch, logs, exec, port-forward)",
                self.long_streams
            );
            return Err(Failure::too_many(message, Duration::from_secs(5)));
        }
        usage.tokens -= 1.0;
        usage.requests += 1;
        usage.streams += u32::from(long);
        let pace = Arc::clone(&usage.pace);
        drop(map);
        Ok(Permit { limits: self.clone(), workspace: workspace.clone(), long, pace })
    }

    fn too_fast(&self, tokens: f64) -> Failure {
        let message = format!("this workspace receives more than the {} requests per second that it may", self.rate);
        Failure::too_many(message, Duration::from_secs_f64((1.0 - tokens) / self.rate))
    }

    fn refilled(&self, usage: &Usage, now: Instant) -> f64 {
        let earned = now.saturating_duration_since(usage.refilled).as_secs_f64() * self.rate;
        (usage.tokens + earned).min(self.burst)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkspaceId, Usage>> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(usage) = self.limits.lock().get_mut(&self.workspace) {
            usage.requests = usage.requests.saturating_sub(1);
            usage.streams = usage.streams.saturating_sub(u32::from(self.long));
        }
    }
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::Id;
    use hexabase_core::time::Timestamp;

    use super::*;

    fn workspace(number: u64) -> WorkspaceId {
        WorkspaceId::from_parts(Timestamp::from_seconds(1), number)
    }

    fn limits(concurrency: u32, long_streams: u32, rate: u32, burst: u32) -> Limits {
        Limits::new(&GatewaySettings { concurrency, long_streams, rate, burst, ..GatewaySettings::default() })
    }

    #[test]
    fn a_permit_given_back_admits_the_next_and_workspaces_do_not_share() {
        let limits = limits(2, 1, 1_000, 1_000);
        let now = Instant::now();
        let stream = limits.enter(&workspace(1), true, now).unwrap();
        assert!(limits.enter(&workspace(1), true, now).is_err(), "streams have a share of their own");
        let request = limits.enter(&workspace(1), false, now).unwrap();
        assert!(limits.enter(&workspace(1), false, now).is_err());
        assert!(limits.enter(&workspace(2), true, now).is_ok());
        drop(stream);
        let stream = limits.enter(&workspace(1), true, now).unwrap();
        drop((stream, request));
        assert_eq!(limits.lock().get(&workspace(1)).map(|usage| (usage.requests, usage.streams)), Some((0, 0)));
    }

    #[test]
    fn the_rate_allows_a_burst_and_then_a_steady_pace() {
        let limits = limits(100, 100, 10, 5);
        let start = Instant::now();
        let admitted = |count: usize, millis: u64| {
            let now = start + Duration::from_millis(millis);
            (0..count).filter(|_| limits.enter(&workspace(1), false, now).is_ok()).count()
        };
        assert_eq!(admitted(10, 0), 5);
        assert_eq!(admitted(10, 99), 0);
        assert_eq!(admitted(10, 101), 1);
        assert_eq!(admitted(10, 3_600_000), 5);
    }

    #[test]
    fn only_whoever_was_let_in_before_is_refused_without_being_judged() {
        let limits = limits(100, 100, 10, 1);
        let (known, stranger) = (Bearer::new("known".to_owned()), Bearer::new("stranger".to_owned()));
        let start = Instant::now();
        limits.let_in("one", &known, &workspace(1));
        assert!(limits.hurried("one", &known, start).is_ok(), "nothing was asked yet");
        let permit = limits.enter(&workspace(1), false, start).unwrap();
        assert_eq!(limits.hurried("one", &known, start).map_err(|failure| failure.code()), Err(429));
        assert!(limits.hurried("one", &stranger, start).is_ok(), "who may learn nothing of it");
        assert!(limits.hurried("two", &known, start).is_ok());
        assert!(limits.hurried("one", &known, start + Duration::from_millis(101)).is_ok(), "it used up nothing itself");
        drop(permit);
    }

    #[test]
    fn workspaces_at_rest_are_forgotten() {
        let limits = limits(10, 10, 10, 5);
        let mut now = Instant::now();
        let busy = limits.enter(&workspace(0), false, now).unwrap();
        for number in 1..=REMEMBERED as u64 {
            now += Duration::from_secs(1);
            assert!(limits.enter(&workspace(number), false, now).is_ok());
        }
        assert!(limits.lock().len() < 100);
        assert!(limits.lock().contains_key(&workspace(0)));
        drop(busy);
    }
}
