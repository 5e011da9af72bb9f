//! Who was let pass a moment ago: of requests that come close together, only the first is looked up
//! (docs/adr/0025-let-pass-a-moment-ago.md).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hexabase_app::keys::RELOAD_SECONDS;
use hexabase_backends::store::Digest;
use hexabase_core::time::Timestamp;

use crate::gateway::Admission;

/// For how long somebody passes who was looked up, where nothing is known to have changed since. What this process writes is
/// known at once, what another one writes is not; nor is it known sooner that a signing key was revoked there.
const MOMENT: Duration = Duration::from_secs(RELOAD_SECONDS);
/// Callers remembered before those are forgotten whose moment is over, and all if that is nobody's.
const REMEMBERED: usize = 4_096;

/// When, by all that a decision hangs on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// How often this process had changed the database.
    pub(super) changes: u64,
    pub(super) at: Instant,
    /// By the platform's clock, which may be set.
    pub(super) time: Timestamp,
}

/// Who was let pass lately, by the digest of the token that they showed.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent(Arc<Mutex<HashMap<Digest, Passed>>>);

#[derive(Debug)]
struct Passed {
    admission: Admission,
    /// Before the look-up began.
    since: Now,
}

impl Recent {
    /// What was granted to whoever showed this a moment ago, for this workspace.
    pub(super) fn find(&self, shown: &Digest, workspace: &str, now: Now) -> Option<Admission> {
        let all = self.lock();
        let Passed { admission, since } = all.get(shown)?;
        let good = since.holds(now)
            && admission.workspace.as_str() == workspace
            && admission.expires_at > now.time.as_seconds();
        good.then(|| admission.clone())
    }

    /// Remembers what was granted; the look-up began `since`.
    pub(super) fn keep(&self, shown: Digest, admission: &Admission, since: Now) {
        let mut all = self.lock();
        if all.len() >= REMEMBERED && !all.contains_key(&shown) {
            all.retain(|_, passed| passed.since.holds(since));
            if all.len() >= REMEMBERED {
                all.clear();
            }
        }
        // Whoever comes next has not waited.
        let admission = Admission { woken_in: None, ..admission.clone() };
        all.insert(shown, Passed { admission, since });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Passed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    /// Whether what was found at this moment may be taken for what is found now.
    fn holds(&self, now: Self) -> bool {
        let passed = now.time.millis_since(self.time);
        self.changes == now.changes
            && now.at.saturating_duration_since(self.at) < MOMENT
            && (0..MOMENT.as_millis() as i64).contains(&passed)
    }
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::{Id as _, WorkspaceId};

    use super::*;
    use crate::gateway::{Bearer, Upstream};

    const EXPIRES: i64 = 1_000;

    fn now() -> Now {
        Now { changes: 7, at: Instant::now(), time: Timestamp::from_seconds(100) }
    }

    fn admission() -> Admission {
        Admission {
            workspace: WorkspaceId::from_parts(Timestamp::from_seconds(1), 1),
            upstream: Upstream { address: "127.0.0.1:1".into(), server_name: "kubernetes".into(), ca_pem: "".into() },
            principal: "somebody".into(),
            expires_at: EXPIRES,
            groups: Vec::new(),
            roles: Vec::new(),
            key: String::new(),
            moved_at: None,
            renewed: Some(Bearer::new("renewed".to_owned())),
            woken_in: Some(Duration::from_secs(8)),
        }
    }

    #[test]
    fn whoever_was_let_pass_passes_for_a_moment_while_nothing_changes() {
        let (recent, admission, now) = (Recent::default(), admission(), now());
        let (shown, workspace) = (Digest::of("token"), admission.workspace.to_string());
        assert!(recent.find(&shown, &workspace, now).is_none(), "nobody was let pass yet");
        recent.keep(shown, &admission, now);
        let found = recent.find(&shown, &workspace, now).unwrap();
        assert_eq!(found.principal, "somebody");
        assert!(found.renewed.is_some());
        assert_eq!(found.woken_in, None, "nobody waited this time");

        let find = |now| recent.find(&shown, &workspace, now).is_some();
        assert!(find(Now { at: now.at + MOMENT / 2, ..now }));
        assert!(!find(Now { at: now.at + MOMENT, ..now }), "the moment is over");
        assert!(!find(Now { changes: now.changes + 1, ..now }), "something was changed");
        assert!(
            !find(Now { time: now.time.plus_seconds(RELOAD_SECONDS as i64), ..now }),
            "it is later by the platform's clock"
        );
        assert!(!find(Now { time: now.time.plus_millis(-1), ..now }), "that clock was set back");
    }

    #[test]
    fn what_was_granted_is_granted_for_the_same_token_and_workspace_only() {
        let (recent, admission, now) = (Recent::default(), admission(), now());
        let workspace = admission.workspace.to_string();
        recent.keep(Digest::of("token"), &admission, now);
        assert!(recent.find(&Digest::of("other"), &workspace, now).is_none());
        assert!(recent.find(&Digest::of("token"), "ws-other", now).is_none());
        assert!(recent.find(&Digest::of("token"), &workspace, now).is_some());
    }

    #[test]
    fn a_token_whose_time_ends_within_the_moment_does_not_pass_afterwards() {
        let (recent, admission) = (Recent::default(), admission());
        let (shown, workspace) = (Digest::of("token"), admission.workspace.to_string());
        let before = Now { time: Timestamp::from_seconds(EXPIRES).plus_millis(-500), ..now() };
        recent.keep(shown, &admission, before);
        assert!(recent.find(&shown, &workspace, Now { time: before.time.plus_millis(499), ..before }).is_some());
        assert!(recent.find(&shown, &workspace, Now { time: before.time.plus_millis(500), ..before }).is_none());
    }

    #[test]
    fn no_more_callers_are_remembered_than_there_is_room_for() {
        let (recent, admission, now) = (Recent::default(), admission(), now());
        for number in 0..=REMEMBERED {
            recent.keep(Digest::of(number.to_string()), &admission, now);
        }
        assert!(recent.lock().len() <= REMEMBERED);
        let recent = Recent::default();
        for number in 0..REMEMBERED {
            recent.keep(Digest::of(number.to_string()), &admission, now);
        }
        let later = Now { changes: now.changes + 1, ..now };
        recent.keep(Digest::of("another one"), &admission, later);
        assert_eq!(recent.lock().len(), 1, "those of before pass no more");
    }
}
