//! Objects into which somebody else goes on writing: each time a workload is put straight, or a Secret that it has mounted is made anew,
//! its pods are made anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So often within this time, and whoever it is does not give up.
const MOST: usize = 3;
const SPAN: Duration = Duration::from_secs(600);
/// For so long such an object is left as it is.
const REST: Duration = Duration::from_secs(3_600);

/// When objects were put straight or made anew, by where they are. Each worker knows of what it did itself since it was started, and
/// forgets it after an hour.
#[derive(Clone, Default)]
pub(crate) struct Fights(Arc<Mutex<HashMap<String, Vec<Instant>>>>);

impl Fights {
    /// Notes that an object was put straight or made anew.
    pub(crate) fn note(&self, place: &str, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, moments| moments.last().is_some_and(|last| now.duration_since(*last) < REST));
        let moments = all.entry(place.to_owned()).or_default();
        if moments.len() == MOST {
            moments.remove(0);
        }
        moments.push(now);
    }

    /// Whether that was done so often that it is left alone for now.
    pub(crate) fn is_on(&self, place: &str, now: Instant) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some([first, .., last]) = all.get(place).filter(|moments| moments.len() == MOST).map(Vec::as_slice) else {
            return false;
        };
        last.duration_since(*first) <= SPAN && now.duration_since(*last) < REST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether an object is left alone so many seconds after it was last put straight.
    fn is_on(seconds: &[u64], later: u64) -> bool {
        let (fights, begun) = (Fights::default(), Instant::now());
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        for moment in seconds {
            fights.note("x", at(*moment));
        }
        assert!(!fights.is_on("y", at(later)), "another one is not meant");
        fights.is_on("x", at(seconds.last().copied().unwrap_or_default() + later))
    }

    #[test]
    fn what_is_put_straight_again_and_again_is_left_alone_for_an_hour() {
        assert!(!is_on(&[], 0) && !is_on(&[0, 30], 30));
        assert!(is_on(&[0, 30, 60], 30) && is_on(&[0, 30, 60], 3_599));
        assert!(!is_on(&[0, 30, 60], 3_600));
        assert!(!is_on(&[0, 30, 601], 30), "as somebody does who mends something now and then");
        assert!(is_on(&[0, 1_200, 1_230, 1_260], 30));
    }
}
