//! When a workspace goes to sleep by itself, and when it wakes.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::words;

/// Minutes without use after which a workspace may be put to sleep. Fewer, and one would fall asleep between two thoughts.
pub const MINUTES: RangeInclusive<u32> = 5..=43_200;

const MINUTES_OF_DAY: u32 = 24 * 60;
const SECONDS_OF_DAY: i64 = 24 * 3_600;

words! {
    /// Why a workspace goes to sleep by itself.
    SleepReason, "reason to sleep" {
        /// Nobody has used it for as long as its rule says.
        Idle = "idle",
        /// It is the time of the day.
        Schedule = "schedule",
    }
}

/// A text that is no time of the day, or a rule that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSleepRule(String);

fn invalid(sentence: impl Into<String>) -> InvalidSleepRule {
    InvalidSleepRule(sentence.into())
}

/// A minute of the day, UTC; as text `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u32);

impl TimeOfDay {
    /// The last moment up to `now` at which it was this late.
    fn last(self, now: Timestamp) -> Timestamp {
        let seconds = now.as_seconds();
        let midnight = seconds - seconds.rem_euclid(SECONDS_OF_DAY);
        let today = midnight + i64::from(self.0) * 60;
        Timestamp::from_seconds(if today > seconds { today - SECONDS_OF_DAY } else { today })
    }
}

impl FromStr for TimeOfDay {
    type Err = InvalidSleepRule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts = text.split_once(':').filter(|(hour, minute)| two_digits(hour) && two_digits(minute));
        let numbers = parts.and_then(|(hour, minute)| Some((hour.parse::<u32>().ok()?, minute.parse::<u32>().ok()?)));
        match numbers {
            Some((hour, minute)) if minute < 60 && hour * 60 + minute < MINUTES_OF_DAY => Ok(Self(hour * 60 + minute)),
            _ => Err(invalid(format!("\"{text}\" is no time of the day; write 00:00 to 23:59, in UTC"))),
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = InvalidSleepRule;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

/// When a workspace sleeps, and what of it. The rule that says nothing is the one of a workspace that never sleeps by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SleepRule {
    /// After how many minutes without use; never when absent.
    pub after_minutes: Option<u32>,
    /// Whether its pods go on while its control plane sleeps.
    pub keep_workloads: bool,
    /// At which time of every day it is put to sleep.
    pub sleep_at: Option<TimeOfDay>,
    /// At which time of every day it is woken.
    pub wake_at: Option<TimeOfDay>,
}

impl SleepRule {
    /// The same rule under a plan by which a workspace sleeps after so many minutes without use at the latest.
    #[must_use]
    pub fn within(self, most: Option<u32>) -> Self {
        let after_minutes = match (self.after_minutes, most) {
            (Some(own), Some(most)) => Some(own.min(most)),
            (own, most) => own.or(most),
        };
        Self { after_minutes, ..self }
    }

    /// The same rule, if it can be meant.
    ///
    /// # Errors
    /// The sentence says what cannot.
    pub fn checked(self) -> Result<Self, InvalidSleepRule> {
        if self.after_minutes.is_some_and(|minutes| !MINUTES.contains(&minutes)) {
            let (least, most) = MINUTES.into_inner();
            return Err(invalid(format!("a workspace can go to sleep after {least} to {most} minutes without use")));
        }
        if self.sleep_at.is_some() && self.sleep_at == self.wake_at {
            return Err(invalid("a workspace cannot be put to sleep and be woken at the same time of the day"));
        }
        Ok(self)
    }

    /// Why a workspace is to be put to sleep now that has been awake since `awake_since`, the rule's own beginning included,
    /// and was last used at `last_used`.
    pub fn tired(&self, awake_since: Timestamp, last_used: Timestamp, now: Timestamp) -> Option<SleepReason> {
        if self.sleep_at.is_some_and(|time| time.last(now) > awake_since) {
            return Some(SleepReason::Schedule);
        }
        let idle = now.millis_since(last_used.max(awake_since));
        let patience = self.after_minutes.map(|minutes| i64::from(minutes) * 60_000);
        patience.is_some_and(|patience| idle >= patience).then_some(SleepReason::Idle)
    }

    /// Whether a workspace is to be woken now that has been asleep since `asleep_since`, the rule's own beginning included.
    pub fn rested(&self, asleep_since: Timestamp, now: Timestamp) -> bool {
        self.wake_at.is_some_and(|time| time.last(now) > asleep_since)
    }
}

/// As the database keeps it.
impl FromStr for SleepRule {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.to_owned().try_into().unwrap()
    }

    fn rule(after_minutes: Option<u32>, sleep_at: Option<&str>, wake_at: Option<&str>) -> SleepRule {
        let time = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        SleepRule { after_minutes, keep_workloads: false, sleep_at: time(sleep_at), wake_at: time(wake_at) }
    }

    #[test]
    fn times_of_the_day_are_written_in_one_way_only() {
        for good in ["00:00", "07:30", "23:59"] {
            assert_eq!(good.parse::<TimeOfDay>().unwrap().to_string(), good);
        }
        for bad in ["", "7:30", "24:00", "12:60", "12", "12:3", "+1:00", "12:00:00", "１２:００"] {
            assert!(bad.parse::<TimeOfDay>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_workspace_is_tired_after_the_time_without_use_that_its_rule_says() {
        let rule = rule(Some(30), None, None);
        let (awake, used) = (at("2026-01-01T10:00:00Z"), at("2026-01-01T10:20:00Z"));
        assert_eq!(rule.tired(awake, used, at("2026-01-01T10:49:59Z")), None);
        assert_eq!(rule.tired(awake, used, at("2026-01-01T10:50:00Z")), Some(SleepReason::Idle));
        // What was used before it was woken says nothing.
        assert_eq!(rule.tired(at("2026-01-01T10:40:00Z"), used, at("2026-01-01T10:50:00Z")), None);
        assert_eq!(SleepRule::default().tired(awake, used, at("2036-01-01T00:00:00Z")), None);
    }

    #[test]
    fn it_is_put_to_sleep_once_an_evening_and_not_again_when_somebody_woke_it() {
        let rule = rule(None, Some("20:00"), Some("08:00"));
        let (morning, evening) = (at("2026-01-01T08:00:00Z"), at("2026-01-01T20:00:00Z"));
        assert_eq!(rule.tired(morning, morning, at("2026-01-01T19:59:59Z")), None);
        assert_eq!(rule.tired(morning, evening, evening), Some(SleepReason::Schedule));
        // Woken at nine, it stays awake until the next evening, past midnight too.
        let nine = at("2026-01-01T21:00:00Z");
        assert_eq!(rule.tired(nine, nine, at("2026-01-02T03:00:00Z")), None);
        assert_eq!(rule.tired(nine, nine, at("2026-01-02T20:00:01Z")), Some(SleepReason::Schedule));
    }

    #[test]
    fn it_is_woken_at_its_time_of_the_day() {
        let rule = rule(None, Some("20:00"), Some("08:00"));
        let asleep = at("2026-01-01T20:00:05Z");
        assert!(!rule.rested(asleep, at("2026-01-02T07:59:59Z")));
        assert!(rule.rested(asleep, at("2026-01-02T08:00:00Z")));
        // Put to sleep by hand after that, it sleeps on.
        assert!(!rule.rested(at("2026-01-02T09:00:00Z"), at("2026-01-02T23:00:00Z")));
    }

    #[test]
    fn a_rule_waits_no_longer_than_its_plan_lets_it() {
        let minutes = |own, most| rule(own, Some("20:00"), None).within(most).after_minutes;
        assert_eq!([minutes(None, Some(90)), minutes(Some(120), Some(90))], [Some(90), Some(90)]);
        assert_eq!(
            [minutes(Some(60), Some(90)), minutes(Some(60), None), minutes(None, None)],
            [Some(60), Some(60), None]
        );
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused() {
        for bad in [rule(Some(0), None, None), rule(Some(4), None, None), rule(Some(43_201), None, None)] {
            assert!(bad.checked().is_err());
        }
        assert!(rule(None, Some("08:00"), Some("08:00")).checked().is_err());
        let good = rule(Some(5), Some("20:00"), None);
        assert_eq!(good.clone().checked(), Ok(good.clone()));
        let kept = serde_json::to_string(&good).unwrap();
        assert_eq!(kept.parse::<SleepRule>().unwrap(), good);
    }
}
