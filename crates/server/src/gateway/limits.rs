//! How much one workspace may ask at once and per second, so that none slows down another.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hexabase_core::ids::WorkspaceId;

use super::GatewaySettings;
use super::callers::{Callers, Known};
use super::credential::Bearer;
use super::pace::Pace;
use super::status::Failure;

/// Workspaces remembered before those at rest are forgotten.
const REMEMBERED: usize = 4_096;
/// Of a workspace's refusals within a second, how many are told at once, how long further ones are kept back, and how many at most
/// are, of it and of all. Whoever waits as they were told meets none of this; whoever asks again at once costs less the less often
/// they hear no.
const PROMPT: u32 = 50;
const KEPT_BACK: Duration = Duration::from_secs(1);
const MOST_KEPT_BACK: u32 = 300;
const MOST_KEPT_BACK_OF_ALL: u32 = 2_000;

#[derive(Debug)]
struct Usage {
    requests: u32,
    streams: u32,
    tokens: f64,
    refilled: Instant,
    pace: Arc<Pace>,
    refusals: Refusals,
}

/// Refusals without a look-up.
#[derive(Debug)]
struct Refusals {
    since: Instant,
    /// Within the second that began then.
    count: u32,
    kept_back: u32,
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
    /// Refusals of all workspaces that are kept back; changed under the lock of `usage` only.
    kept_back: Arc<AtomicU32>,
    callers: Arc<Callers>,
}

/// A request of the workspace's rate that is taken before its sender is looked up. Spent when dropped: whoever breaks off
/// has cost a look-up.
#[derive(Debug)]
pub(super) struct Taken {
    limits: Limits,
    workspace: WorkspaceId,
}

impl Taken {
    /// The sender was refused, and not for the workspace's sake.
    pub(super) fn give_back(self) {
        if let Some(usage) = self.limits.lock().get_mut(&self.workspace) {
            usage.tokens = (usage.tokens + 1.0).min(self.limits.burst);
        }
    }

    /// Spends it, if it is of `workspace`; says whether it is.
    fn spend(self, workspace: &WorkspaceId) -> bool {
        let is_here = self.workspace == *workspace;
        if !is_here {
            self.give_back();
        }
        is_here
    }
}

/// A refusal without a look-up, and what its sender waits for before they hear it.
#[derive(Debug)]
pub(super) struct Hurried {
    pub(super) failure: Failure,
    pub(super) wait: Option<Wait>,
}

/// One of the refusals that are kept back, until dropped.
#[derive(Debug)]
pub(super) struct Wait {
    limits: Limits,
    workspace: WorkspaceId,
}

impl Wait {
    /// Returns when it may be told.
    pub(super) async fn end(self) {
        tokio::time::sleep(KEPT_BACK).await;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut map = self.limits.lock();
        self.limits.kept_back.fetch_sub(1, Relaxed);
        if let Some(usage) = map.get_mut(&self.workspace) {
            usage.refusals.kept_back = usage.refusals.kept_back.saturating_sub(1);
        }
    }
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
            kept_back: Arc::default(),
            callers: Arc::default(),
        }
    }

    /// Remembers that `bearer` was let in to what `named` names: for [`Limits::hurried`].
    pub(super) fn let_in(&self, named: &str, bearer: &Bearer, workspace: &WorkspaceId, now: Instant) {
        self.callers.let_in(named, bearer, workspace, now);
    }

    /// Remembers that `bearer` was refused after it was looked up: for [`Limits::hurried`].
    pub(super) fn refused(&self, named: &str, bearer: &Bearer, failure: &Failure, now: Instant) {
        self.callers.refuse(named, bearer, failure, now);
    }

    /// Refuses whoever was let in before while the workspace has nothing left of its rate or of its places, so that a flood
    /// costs nothing more than this answer, and what of its bodies is received before that is heard (a window's worth, see
    /// `listen.rs`). Of whoever was let in lately it takes one of the rate at once, so that of many who come at the same time no
    /// more are looked up than may pass; whoever was before may be none of the workspace's people any more, and is charged once
    /// that is known. Whoever is refused again and again is told so without being looked up, and so is whoever never waits to hear
    /// it. Of others nothing is told here: they are judged first.
    pub(super) fn hurried(
        &self,
        named: &str,
        bearer: &Bearer,
        long: bool,
        now: Instant,
    ) -> Result<Option<Taken>, Box<Hurried>> {
        let known = self.callers.known(named, bearer, now);
        if let Some(failure) = self.callers.refusal(named, bearer, known.is_some(), now) {
            return Err(Box::new(Hurried { failure, wait: None }));
        }
        let Some(Known { workspace, lately }) = known else {
            self.callers.begin(named, bearer, now);
            return Ok(None);
        };
        let mut map = self.lock();
        let usage = self.entry(&mut map, &workspace, now);
        let left = self.check_places(usage, long).and_then(|()| match lately {
            true => self.charge(usage),
            false => self.check_rate(usage),
        });
        // Nobody is looked up for this, and so it is charged to nobody.
        if let Err(failure) = left {
            let wait = usage.refusals.another(&self.kept_back, now).then(|| Wait { limits: self.clone(), workspace });
            return Err(Box::new(Hurried { failure, wait }));
        }
        drop(map);
        if !lately {
            self.callers.begin(named, bearer, now);
            return Ok(None);
        }
        Ok(Some(Taken { limits: self.clone(), workspace }))
    }

    /// Admits one more request of `workspace` at `now`, a `long` one counting as a stream as well; `taken` is what was taken
    /// of the rate for it. Looking up who asks has cost something by now, so that the rate is charged even where no place is
    /// left.
    pub(super) fn enter(
        &self,
        workspace: &WorkspaceId,
        long: bool,
        taken: Option<Taken>,
        now: Instant,
    ) -> Result<Permit, Failure> {
        // Before the lock, which it needs itself.
        let paid = taken.is_some_and(|taken| taken.spend(workspace));
        let mut map = self.lock();
        let usage = self.entry(&mut map, workspace, now);
        if !paid {
            self.charge(usage)?;
        }
        self.check_places(usage, long)?;
        usage.requests += 1;
        usage.streams += u32::from(long);
        let pace = Arc::clone(&usage.pace);
        drop(map);
        Ok(Permit { limits: self.clone(), workspace: workspace.clone(), long, pace })
    }

    /// What `workspace` uses, with all that its rate has earned until `now`.
    fn entry<'a>(
        &self,
        map: &'a mut HashMap<WorkspaceId, Usage>,
        workspace: &WorkspaceId,
        now: Instant,
    ) -> &'a mut Usage {
        if map.len() >= REMEMBERED && !map.contains_key(workspace) {
            map.retain(|_, usage| {
                usage.requests > 0
                    || usage.refusals.kept_back > 0
                    || self.refilled(usage, now) < self.burst
                    || !usage.pace.is_rested(now)
            });
        }
        let usage = map.entry(workspace.clone()).or_insert_with(|| Usage {
            requests: 0,
            streams: 0,
            tokens: self.burst,
            refilled: now,
            pace: Arc::new(Pace::new(self.bytes_per_second, now)),
            refusals: Refusals { since: now, count: 0, kept_back: 0 },
        });
        usage.tokens = self.refilled(usage, now);
        usage.refilled = usage.refilled.max(now);
        usage
    }

    fn charge(&self, usage: &mut Usage) -> Result<(), Failure> {
        self.check_rate(usage)?;
        usage.tokens -= 1.0;
        Ok(())
    }

    fn check_rate(&self, usage: &Usage) -> Result<(), Failure> {
        if usage.tokens < 1.0 { Err(self.too_fast(usage.tokens)) } else { Ok(()) }
    }

    fn check_places(&self, usage: &Usage, long: bool) -> Result<(), Failure> {
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
        Ok(())
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

impl Refusals {
    /// Counts one more; whether it is kept back, as one more of `all` that are.
    fn another(&mut self, all: &AtomicU32, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        let has_room = self.kept_back < MOST_KEPT_BACK && all.load(Relaxed) < MOST_KEPT_BACK_OF_ALL;
        let is_kept_back = self.count > PROMPT && has_room;
        self.kept_back += u32::from(is_kept_back);
        all.fetch_add(u32::from(is_kept_back), Relaxed);
        is_kept_back
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
        let stream = limits.enter(&workspace(1), true, None, now).unwrap();
        assert!(limits.enter(&workspace(1), true, None, now).is_err(), "streams have a share of their own");
        let request = limits.enter(&workspace(1), false, None, now).unwrap();
        assert!(limits.enter(&workspace(1), false, None, now).is_err());
        assert!(limits.enter(&workspace(2), true, None, now).is_ok());
        drop(stream);
        let stream = limits.enter(&workspace(1), true, None, now).unwrap();
        drop((stream, request));
        assert_eq!(limits.lock().get(&workspace(1)).map(|usage| (usage.requests, usage.streams)), Some((0, 0)));
    }

    #[test]
    fn the_rate_allows_a_burst_and_then_a_steady_pace() {
        let limits = limits(100, 100, 10, 5);
        let start = Instant::now();
        let admitted = |count: usize, millis: u64| {
            let now = start + Duration::from_millis(millis);
            (0..count).filter(|_| limits.enter(&workspace(1), false, None, now).is_ok()).count()
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
        let code = |named: &str, bearer: &Bearer, millis: u64| match limits.hurried(
            named,
            bearer,
            false,
            start + Duration::from_millis(millis),
        ) {
            Ok(taken) => {
                taken.into_iter().for_each(Taken::give_back);
                200
            }
            Err(hurried) => hurried.failure.code(),
        };
        limits.let_in("one", &known, &workspace(1), start);
        assert_eq!(code("one", &known, 0), 200, "nothing was asked yet");
        let permit = limits.enter(&workspace(1), false, None, start).unwrap();
        assert_eq!(code("one", &known, 0), 429);
        assert_eq!(code("one", &stranger, 0), 200, "who may learn nothing of it");
        assert_eq!(code("two", &known, 0), 200);
        assert_eq!(code("one", &known, 101), 200, "it used up nothing itself");
        drop(permit);
    }

    #[test]
    fn whoever_was_let_in_a_while_ago_is_refused_without_being_judged_and_charged_only_afterwards() {
        let limits = limits(100, 1, 10, 2);
        let (bearer, start) = (Bearer::new("idle".to_owned()), Instant::now());
        limits.let_in("one", &bearer, &workspace(1), start);
        let now = start + Duration::from_secs(60);
        let hurried = |long| limits.hurried("one", &bearer, long, now);
        for _ in 0..10 {
            assert!(hurried(true).unwrap().is_none(), "nothing is taken of the rate");
        }
        let stream = limits.enter(&workspace(1), true, None, now).unwrap();
        assert!(hurried(true).is_err(), "there is no place for another stream");
        assert!(hurried(false).unwrap().is_none());
        let request = limits.enter(&workspace(1), false, None, now).unwrap();
        assert!(hurried(false).is_err(), "nothing is left of the rate");
        drop((stream, request));
    }

    #[test]
    fn whoever_is_being_looked_up_holds_a_part_of_the_rate_and_gives_it_back_only_when_refused() {
        let limits = limits(100, 100, 10, 2);
        let (bearer, now) = (Bearer::new("known".to_owned()), Instant::now());
        limits.let_in("one", &bearer, &workspace(1), now);
        let hurried = || limits.hurried("one", &bearer, false, now);
        let (first, second) = (hurried().unwrap(), hurried().unwrap());
        assert!(hurried().is_err(), "two may pass, and two are being looked up");
        first.unwrap().give_back();
        let third = hurried().unwrap();
        let permit = limits.enter(&workspace(1), false, second, now).unwrap();
        assert!(hurried().is_err(), "what was taken was not charged twice, nor given back");
        assert!(limits.enter(&workspace(2), false, third, now).is_ok());
        let broken_off = hurried().unwrap();
        assert!(broken_off.is_some(), "what is of another workspace is given back");
        drop((broken_off, permit));
        assert!(hurried().is_err(), "whoever breaks off has used it up");
    }

    #[test]
    fn whoever_finds_no_place_is_refused_without_being_judged_and_charged_for_nothing() {
        let limits = limits(2, 1, 10, 3);
        let (bearer, now) = (Bearer::new("known".to_owned()), Instant::now());
        limits.let_in("one", &bearer, &workspace(1), now);
        let stream = limits.enter(&workspace(1), true, None, now).unwrap();
        for _ in 0..10 {
            assert!(limits.hurried("one", &bearer, true, now).is_err());
        }
        let request = limits.enter(&workspace(1), false, None, now).unwrap();
        assert!(limits.hurried("one", &bearer, false, now).is_err());
        // Whoever was looked up is charged.
        assert!(limits.enter(&workspace(1), false, None, now).is_err());
        drop((stream, request));
        assert!(limits.hurried("one", &bearer, false, now).is_err(), "three were looked up");
    }

    #[test]
    fn of_many_refusals_within_a_second_the_later_ones_are_kept_back_and_not_all_of_those() {
        let limits = limits(100, 100, 10, 1);
        let (bearer, start) = (Bearer::new("impatient".to_owned()), Instant::now());
        limits.let_in("one", &bearer, &workspace(1), start);
        let asked = limits.hurried("one", &bearer, false, start).unwrap();
        let refused = |now| limits.hurried("one", &bearer, false, now).unwrap_err();
        for _ in 0..PROMPT {
            assert!(refused(start).wait.is_none());
        }
        let kept_back: Vec<_> = (0..MOST_KEPT_BACK).map(|_| refused(start).wait.unwrap()).collect();
        assert!(refused(start).wait.is_none(), "there is room for no more");
        drop(kept_back);
        assert!(refused(start).wait.is_some());
        let later = start + Duration::from_millis(1_099);
        drop((asked, limits.hurried("one", &bearer, false, later)));
        assert!(refused(later).wait.is_none(), "another second has begun");
    }

    #[test]
    fn of_the_refusals_of_many_workspaces_only_so_many_are_kept_back_together() {
        let limits = limits(100, 100, 10, 1);
        let (bearer, now) = (Bearer::new("impatient".to_owned()), Instant::now());
        let ask = |number: u64| limits.hurried(&number.to_string(), &bearer, false, now);
        let mut kept_back = Vec::new();
        let workspaces = u64::from(MOST_KEPT_BACK_OF_ALL.div_ceil(MOST_KEPT_BACK) + 1);
        for number in 0..workspaces {
            limits.let_in(&number.to_string(), &bearer, &workspace(number), now);
            drop(ask(number).unwrap());
            kept_back.extend((0..PROMPT + MOST_KEPT_BACK).filter_map(|_| ask(number).unwrap_err().wait));
        }
        assert_eq!(kept_back.len(), MOST_KEPT_BACK_OF_ALL as usize);
        drop(kept_back);
        assert!((0..workspaces).all(|number| ask(number).unwrap_err().wait.is_some()));
        assert_eq!(limits.kept_back.load(Relaxed), 0);
    }

    #[test]
    fn workspaces_at_rest_are_forgotten() {
        let limits = limits(10, 10, 10, 5);
        let mut now = Instant::now();
        let busy = limits.enter(&workspace(0), false, None, now).unwrap();
        for number in 1..=REMEMBERED as u64 {
            now += Duration::from_secs(1);
            assert!(limits.enter(&workspace(number), false, None, now).is_ok());
        }
        assert!(limits.lock().len() < 100);
        assert!(limits.lock().contains_key(&workspace(0)));
        drop(busy);
    }
}
