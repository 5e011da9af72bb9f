//! How much one workspace may ask at once and per second, so that none slows down another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hexabase_core::ids::WorkspaceId;

use super::GatewaySettings;
use super::status::Failure;

/// Workspaces remembered before those at rest are forgotten.
const REMEMBERED: usize = 4_096;

#[derive(Debug)]
struct Usage {
    requests: u32,
    streams: u32,
    tokens: f64,
    refilled: Instant,
}

/// What every workspace uses right now.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    concurrency: u32,
    long_streams: u32,
    rate: f64,
    burst: f64,
    usage: Arc<Mutex<HashMap<WorkspaceId, Usage>>>,
}

/// Leave to run one request; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limits: Limits,
    workspace: WorkspaceId,
    long: bool,
}

impl Limits {
    /// The limits `settings` state.
    pub(super) fn new(settings: &GatewaySettings) -> Self {
        Self {
            concurrency: settings.concurrency,
            long_streams: settings.long_streams,
            rate: f64::from(settings.rate.max(1)),
            burst: f64::from(settings.burst.max(1)),
            usage: Arc::default(),
        }
    }

    /// Admits one more request of `workspace` at `now`, a `long` one counting as a stream as well.
    pub(super) fn enter(&self, workspace: &WorkspaceId, long: bool, now: Instant) -> Result<Permit, Failure> {
        let mut map = self.lock();
        if map.len() >= REMEMBERED && !map.contains_key(workspace) {
            map.retain(|_, usage| usage.requests > 0 || self.refilled(usage, now) < self.burst);
        }
        let usage = map.entry(workspace.clone()).or_insert_with(|| Usage {
            requests: 0,
            streams: 0,
            tokens: self.burst,
            refilled: now,
        });
        usage.tokens = self.refilled(usage, now);
        usage.refilled = now;
        if usage.tokens < 1.0 {
            let wait = Duration::from_secs_f64((1.0 - usage.tokens) / self.rate);
            return Err(Failure::too_many("this workspace receives too many requests per second", wait));
        }
        if usage.requests >= self.concurrency {
            let message = format!("this workspace already has {} requests in progress", self.concurrency);
            return Err(Failure::too_many(message, Duration::from_secs(1)));
        }
        if long && usage.streams >= self.long_streams {
            let message = format!(
                "this workspace already has {} open streams (watch, logs, exec, port-forward)",
                self.long_streams
            );
            return Err(Failure::too_many(message, Duration::from_secs(5)));
        }
        usage.tokens -= 1.0;
        usage.requests += 1;
        usage.streams += u32::from(long);
        drop(map);
        Ok(Permit { limits: self.clone(), workspace: workspace.clone(), long })
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
