//! Who was given how much, and of whose share: a plan's amounts go to projects, and a project's to the projects below it.

use std::collections::BTreeMap;

use super::{Amounts, Resource};

/// What somebody was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share<K> {
    /// Of whose share; of the whole when absent.
    pub from: Option<K>,
    /// How much.
    pub amounts: Amounts,
}

/// Why an edit of the ledger was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal<K> {
    /// Whoever is to give it has not so much left.
    Short {
        /// Who; the whole when absent.
        from: Option<K>,
        /// Everything of which that is so.
        each: Vec<TooMuch>,
    },
    /// More than what was asked for is given on already.
    InUse {
        /// Of whose share; of the whole when absent.
        of: Option<K>,
        /// Everything of which that is so.
        each: Vec<GivenOn<K>>,
    },
    /// Nobody has such a share.
    Unknown,
    /// It would be given of itself.
    Circle,
}

/// What more was asked for of than there is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch {
    /// Of what.
    pub resource: Resource,
    /// How much was to be had afterwards.
    pub asked: u64,
    /// The most that could be had.
    pub most: u64,
}

/// What more is given on of than was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenOn<K> {
    /// Of what.
    pub resource: Resource,
    /// How much was to be had afterwards.
    pub asked: u64,
    /// How much is given on.
    pub given: u64,
    /// To whom.
    pub to: Vec<K>,
}

/// The shares of one whole. Nobody gives more than they have: no edit makes that untrue, and where it was untrue before, as
/// with rows of older versions, an edit only ever makes it better.
///
/// It is read from rows and decides about one edit under the lock of who has the whole; the row that is then written is the
/// reservation, so that two edits at once cannot both have the last of something.
#[derive(Debug, Clone)]
pub struct Ledger<K> {
    whole: Amounts,
    shares: BTreeMap<K, Share<K>>,
}

impl<K: Ord + Clone> Ledger<K> {
    /// The ledger as it was written down.
    pub fn new(whole: Amounts, shares: impl IntoIterator<Item = (K, Share<K>)>) -> Self {
        Self { whole, shares: shares.into_iter().collect() }
    }

    /// What there is to be given in all.
    pub fn whole(&self) -> &Amounts {
        &self.whole
    }

    /// What somebody was given.
    pub fn get(&self, key: &K) -> Option<&Share<K>> {
        self.shares.get(key)
    }

    /// What a holder has: the whole, or their share; nothing, if there is no such holder.
    pub fn had(&self, holder: Option<&K>) -> Amounts {
        let Some(key) = holder else { return self.whole.clone() };
        self.shares.get(key).map_or(Amounts::NONE, |share| share.amounts.clone())
    }

    /// What a holder has given on.
    pub fn given(&self, holder: Option<&K>) -> Amounts {
        let given = self.shares.values().filter(|share| share.from.as_ref() == holder);
        given.fold(Amounts::NONE, |sum, share| sum.plus(&share.amounts))
    }

    /// What a holder can still give, which is also what is left for the holder's own use.
    pub fn left(&self, holder: Option<&K>) -> Amounts {
        self.had(holder).less(&self.given(holder))
    }

    /// Gives a share to somebody new.
    pub fn reserve(&mut self, key: K, from: Option<K>, amounts: Amounts) -> Result<(), Refusal<K>> {
        self.check_holder(from.as_ref())?;
        self.check_enough(from.as_ref(), &Amounts::NONE, &amounts)?;
        self.shares.insert(key, Share { from, amounts });
        Ok(())
    }

    /// Makes a share larger or smaller.
    pub fn resize(&mut self, key: &K, amounts: Amounts) -> Result<(), Refusal<K>> {
        let share = self.shares.get(key).ok_or(Refusal::Unknown)?.clone();
        self.check_enough(share.from.as_ref(), &share.amounts, &amounts)?;
        self.check_given(Some(key), &share.amounts, &amounts)?;
        self.shares.insert(key.clone(), Share { amounts, ..share });
        Ok(())
    }

    /// Lets a share be given by somebody else, with all that was given of it.
    pub fn relocate(&mut self, key: &K, from: Option<K>) -> Result<(), Refusal<K>> {
        let share = self.shares.get(key).ok_or(Refusal::Unknown)?.clone();
        if share.from == from {
            return Ok(());
        }
        self.check_holder(from.as_ref())?;
        if self.chain(from.as_ref()).any(|above| above == key) {
            return Err(Refusal::Circle);
        }
        self.check_enough(from.as_ref(), &Amounts::NONE, &share.amounts)?;
        self.shares.insert(key.clone(), Share { from, ..share });
        Ok(())
    }

    /// Makes the whole larger or smaller.
    pub fn replace_whole(&mut self, whole: Amounts) -> Result<(), Refusal<K>> {
        self.check_given(None, &self.whole, &whole)?;
        self.whole = whole;
        Ok(())
    }

    /// Whether nobody has given more than they have.
    pub fn is_balanced(&self) -> bool {
        let mut holders = std::iter::once(None).chain(self.shares.keys().map(Some));
        holders.all(|holder| self.given(holder).exceeds(&self.had(holder)).is_none())
    }

    /// A holder, the one of whose share it is, and so on.
    fn chain<'a>(&'a self, holder: Option<&'a K>) -> impl Iterator<Item = &'a K> {
        let above = move |key: &&'a K| self.shares.get(*key).and_then(|share| share.from.as_ref());
        // Bounded by their number, should there be a circle after all.
        std::iter::successors(holder, above).take(self.shares.len())
    }

    fn check_holder(&self, holder: Option<&K>) -> Result<(), Refusal<K>> {
        match holder.is_none_or(|key| self.shares.contains_key(key)) {
            true => Ok(()),
            false => Err(Refusal::Unknown),
        }
    }

    /// Whether a holder of whose share somebody has `now` can let them have `asked`.
    fn check_enough(&self, from: Option<&K>, now: &Amounts, asked: &Amounts) -> Result<(), Refusal<K>> {
        let (left, mut each) = (self.left(from), Vec::new());
        for resource in Resource::ALL.iter().copied() {
            let (now, asked, left) = (now.get(resource), asked.get(resource), left.get(resource));
            if asked.saturating_sub(now) > left {
                each.push(TooMuch { resource, asked, most: now.saturating_add(left) });
            }
        }
        match each.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Short { from: from.cloned(), each }),
        }
    }

    /// Whether a holder who has `now` can have `asked`, with what is given on.
    fn check_given(&self, holder: Option<&K>, now: &Amounts, asked: &Amounts) -> Result<(), Refusal<K>> {
        let (all, mut each) = (self.given(holder), Vec::new());
        for resource in Resource::ALL.iter().copied() {
            let (now, asked, given) = (now.get(resource), asked.get(resource), all.get(resource));
            if asked < now && asked < given {
                let users = self.shares.iter().filter(|(_, share)| share.from.as_ref() == holder);
                let users = users.filter(|(_, share)| share.amounts.get(resource) > 0);
                let to = users.map(|(key, _)| key.clone()).collect();
                each.push(GivenOn { resource, asked, given, to });
            }
        }
        match each.is_empty() {
            true => Ok(()),
            false => Err(Refusal::InUse { of: holder.cloned(), each }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(number: u64) -> Amounts {
        Amounts::of(|resource| if resource == Resource::Pods { number } else { 1000 * number })
    }

    /// 10 in all; 6 to the first, of which 2 to the second; 3 to the third.
    fn ledger() -> Ledger<u32> {
        let mut ledger = Ledger::new(pods(10), []);
        ledger.reserve(1, None, pods(6)).unwrap();
        ledger.reserve(2, Some(1), pods(2)).unwrap();
        ledger.reserve(3, None, pods(3)).unwrap();
        ledger
    }

    fn short(from: Option<u32>, asked: u64, most: u64) -> Refusal<u32> {
        let (asked, most) = (pods(asked), pods(most));
        let each = Resource::ALL.iter().copied().map(|resource| TooMuch {
            resource,
            asked: asked.get(resource),
            most: most.get(resource),
        });
        Refusal::Short { from, each: each.collect() }
    }

    #[test]
    fn what_is_left_is_what_was_not_given_on() {
        let ledger = ledger();
        assert_eq!(ledger.left(None), pods(1));
        assert_eq!((ledger.left(Some(&1)), ledger.left(Some(&2)), ledger.left(Some(&3))), (pods(4), pods(2), pods(3)));
        assert_eq!(ledger.left(Some(&9)), Amounts::NONE);
    }

    #[test]
    fn nobody_is_given_more_than_is_left() {
        let mut ledger = ledger();
        assert_eq!(ledger.reserve(4, None, pods(2)), Err(short(None, 2, 1)));
        assert_eq!(ledger.reserve(4, Some(1), pods(5)), Err(short(Some(1), 5, 4)));
        assert_eq!(ledger.reserve(4, Some(9), pods(1)), Err(Refusal::Unknown));
        assert_eq!(ledger.resize(&3, pods(5)), Err(short(None, 5, 4)));
        // Of what there is enough nothing is said.
        let many = Amounts { pods: 9, ..pods(4) };
        let each = vec![TooMuch { resource: Resource::Pods, asked: 9, most: 4 }];
        assert_eq!(ledger.resize(&3, many), Err(Refusal::Short { from: None, each }));
        ledger.resize(&3, pods(4)).unwrap();
        assert_eq!(ledger.left(None), Amounts::NONE);
        assert_eq!(ledger.get(&4), None);
    }

    #[test]
    fn nobody_keeps_less_than_was_given_on_and_it_is_said_of_what_and_to_whom() {
        let mut ledger = ledger();
        let in_use = |of: Option<u32>, asked: u64, given: u64, to: &[u32]| {
            let (asked, given) = (pods(asked), pods(given));
            let each = Resource::ALL.iter().copied().map(|resource| GivenOn {
                resource,
                asked: asked.get(resource),
                given: given.get(resource),
                to: to.to_vec(),
            });
            Err(Refusal::InUse { of, each: each.collect() })
        };
        assert_eq!(ledger.resize(&1, pods(1)), in_use(Some(1), 1, 2, &[2]));
        ledger.resize(&1, pods(2)).unwrap();
        assert_eq!(ledger.replace_whole(pods(4)), in_use(None, 4, 5, &[1, 3]));
        // Of what there would be enough nothing is said.
        let fewer = Amounts { pods: 4, ..pods(5) };
        let each = vec![GivenOn { resource: Resource::Pods, asked: 4, given: 5, to: vec![1, 3] }];
        assert_eq!(ledger.replace_whole(fewer), Err(Refusal::InUse { of: None, each }));
        ledger.replace_whole(pods(5)).unwrap();
        assert_eq!(ledger.resize(&9, pods(1)), Err(Refusal::Unknown));
    }

    #[test]
    fn a_share_moves_with_what_was_given_of_it_and_never_below_itself() {
        let mut ledger = ledger();
        assert_eq!(ledger.relocate(&1, Some(2)), Err(Refusal::Circle));
        assert_eq!(ledger.relocate(&1, Some(1)), Err(Refusal::Circle));
        assert_eq!(ledger.relocate(&2, None), Err(short(None, 2, 1)));
        ledger.relocate(&3, Some(1)).unwrap();
        assert_eq!((ledger.left(None), ledger.left(Some(&1))), (pods(4), pods(1)));
        ledger.relocate(&2, None).unwrap();
        ledger.relocate(&2, None).unwrap();
        assert_eq!((ledger.left(None), ledger.left(Some(&1))), (pods(2), pods(3)));
    }

    #[test]
    fn a_ledger_that_overshoots_from_before_gets_better_only() {
        let share = |number| Share { from: None, amounts: pods(number) };
        let mut ledger = Ledger::new(pods(10), [(1, share(10)), (2, share(10))]);
        assert!(!ledger.is_balanced());
        assert_eq!(ledger.reserve(3, None, pods(1)), Err(short(None, 1, 0)));
        assert_eq!(ledger.resize(&1, pods(11)), Err(short(None, 11, 10)));
        ledger.resize(&1, pods(9)).unwrap();
        ledger.replace_whole(pods(12)).unwrap();
        ledger.resize(&1, pods(2)).unwrap();
        assert!(ledger.is_balanced());
    }

    #[test]
    fn no_hundred_thousand_edits_ever_overshoot() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut ledger, mut done) = (Ledger::new(pods(40), []), [0_u32; 4]);
        for _ in 0..100_000 {
            let key = random.u32(..10);
            let from = Some(random.u32(..12)).filter(|key| *key < 10);
            let numbers: Vec<u64> = Resource::ALL.iter().map(|_| random.u64(..12)).collect();
            let amounts = Amounts::of(|resource| numbers[resource as usize] * 1000);
            let kind = random.usize(..4);
            let edit = match kind {
                0 if ledger.get(&key).is_none() => ledger.reserve(key, from, amounts),
                1 => ledger.relocate(&key, from),
                2 => ledger.replace_whole(Amounts::of(|resource| 20_000 + 2 * amounts.get(resource))),
                _ => ledger.resize(&key, amounts),
            };
            done[kind] += u32::from(edit.is_ok());
            assert!(ledger.is_balanced(), "{ledger:?}");
        }
        // They were no refusals alone.
        assert!(done.iter().all(|done| *done > 20), "{done:?}");
        assert!((0..10).filter(|key| ledger.get(key).is_some()).count() > 3);
    }
}
