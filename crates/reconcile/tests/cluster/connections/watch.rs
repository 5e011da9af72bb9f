//! Tries again and again, while something else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

use super::places::{Place, Tenant, everywhere};
use super::{Caller, WANTED};

/// How many rounds there were, and what was reached that should not, or not reached that should.
type Seen = (usize, Vec<String>);

/// A watch that goes on until it is stopped.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Seen>,
}

impl Watch {
    /// The tenant's `caller` and the outsider try everything that is in the other namespace at the moment; the caller also
    /// what is fixed and its own, which it has to reach all the time.
    pub(super) fn start(caller: &Caller, outsider: &Caller, own: &Tenant, fixed: &[Place], other: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, caller, outsider) = (Arc::clone(&stop), caller.clone(), outsider.clone());
        let (own, fixed) = (own.places("own"), fixed.to_vec());
        let task = tokio::spawn(async move {
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
        Self { stop, task }
    }

    /// Ends it after the round that it is in.
    pub(super) async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}
