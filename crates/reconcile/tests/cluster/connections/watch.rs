//! Tries again and again, while something else happens.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::places::{Place, Tenant, everywhere};
use super::{Caller, WANTED};

/// Longest that a pod that comes and goes may take to answer: it may go in the middle of that, without a word.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon it is asked again where it could not be.
const PAUSE: Duration = Duration::from_millis(200);

/// How many rounds there were, and what was reached that should not, or not reached that should.
type Seen = (usize, Vec<String>);

/// A watch that goes on until it is stopped.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    expected: Arc<Mutex<Vec<Place>>>,
    resident: JoinHandle<Seen>,
    newcomer: JoinHandle<Seen>,
}

impl Watch {
    /// The tenant's caller and the outsider try everything that is in the newcomer's namespace at the moment; the caller also
    /// what is fixed and its own, which it has to reach all the time. The newcomer, whose pod may not be there, tries the
    /// tenant's and what is fixed, of which it may reach `public`.
    pub(super) fn start([caller, outsider, newcomer]: [&Caller; 3], own: &Tenant, fixed: &[Place]) -> Self {
        let (stop, expected) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let foreign = [own.places("other"), fixed.to_vec()].concat();
        let visits = tokio::spawn(visit(Arc::clone(&stop), newcomer.clone(), foreign, Arc::clone(&expected)));
        let (stopped, caller, outsider) = (Arc::clone(&stop), caller.clone(), outsider.clone());
        let other = newcomer.namespace.clone();
        let (own, fixed) = (own.places("own"), fixed.to_vec());
        let resident = tokio::spawn(async move {
            let (mut rounds, mut wrong) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let foreign = everywhere(&caller.client, &other).await;
                let all = [own.clone(), fixed.clone(), foreign.clone()].concat();
                let of_all = [own.clone(), foreign].concat();
                let (inside, outside) = tokio::join!(caller.reached(&all), outsider.reached(&of_all));
                // Who could not be asked has seen nothing.
                if let Some(reached) = &inside {
                    let is_wanted = |name: &String| WANTED.contains(&name.as_str());
                    wrong.extend(
                        reached.iter().filter(|name| !is_wanted(name)).map(|name| format!("{rounds}: to {name}")),
                    );
                    let missing = WANTED.iter().filter(|name| !reached.contains(**name));
                    wrong.extend(missing.map(|name| format!("{rounds}: not to {name}")));
                }
                wrong.extend(outside.iter().flatten().map(|name| format!("{rounds}: from outside to {name}")));
                rounds += usize::from(inside.is_some() && outside.is_some());
            }
            (rounds, wrong)
        });
        Self { stop, expected, resident, newcomer: visits }
    }

    /// What of its own the newcomer has to reach all the time from now on, beside `public`; nothing at all if there is none.
    pub(super) fn expect_of_newcomer(&self, places: Vec<Place>) {
        *self.expected.lock().unwrap() = places;
    }

    /// Ends it after the round that it is in. First what the tenant and the outsider saw, then the newcomer.
    pub(super) async fn stop(self) -> [Seen; 2] {
        self.stop.store(true, Ordering::Relaxed);
        [self.resident.await.unwrap(), self.newcomer.await.unwrap()]
    }
}

/// What the newcomer sees, from the moment when its pod is there until it is there no more. A round counts in which it reached
/// `public`: whose network is not made yet reaches nothing, and shows nothing by that.
async fn visit(stop: Arc<AtomicBool>, newcomer: Caller, foreign: Vec<Place>, expected: Arc<Mutex<Vec<Place>>>) -> Seen {
    let (mut rounds, mut wrong) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let own = expected.lock().unwrap().clone();
        let all = [foreign.clone(), own.clone()].concat();
        // Not there yet, or not any more.
        let Some(reached) = timeout(PATIENCE, newcomer.reached(&all)).await.ok().flatten() else {
            sleep(PAUSE).await;
            continue;
        };
        let wanted: BTreeSet<&str> = own.iter().map(|place| place.name.as_str()).chain(["public"]).collect();
        let unwanted = reached.iter().filter(|name| !wanted.contains(name.as_str()));
        wrong.extend(unwanted.map(|name| format!("{rounds}: from the newcomer to {name}")));
        // What was expected when the round began may have been over before it ended.
        if !own.is_empty() && *expected.lock().unwrap() == own {
            let missing = wanted.iter().filter(|name| !reached.contains(**name));
            wrong.extend(missing.map(|name| format!("{rounds}: not from the newcomer to {name}")));
        }
        rounds += usize::from(reached.contains("public"));
    }
    (rounds, wrong)
}
