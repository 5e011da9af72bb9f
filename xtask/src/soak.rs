//! `cargo xtask soak`: faults at every step of creating, changing and deleting workspaces, on the real host cluster, and shares of
//! plans under many edits at once. What is done is in `crates/server/tests/cluster/soak` and `crates/backends/tests/it/ledger.rs`;
//! this starts it and adds up what it says.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::cargo::{Cargo, cargo};
use crate::check::{Count, SOAK, on_cluster};
use crate::host::{self, packages};
use crate::progress::{Progress, seconds};

/// The test that knows of seeds, rounds and cases.
const ROUNDS: &str = "soak::rounds::a_workspace_is_whole_whatever_call_fails_and_wherever_its_platform_is_killed";

/// How many tests tell what came of them: rounds, two of storms, control planes that never come up, and three of workers that were
/// stopped.
const REPORTS: u64 = 7;

/// The beginning of the names of those that edit shares, on each database.
const EDITS: &str = "ledger::no_hundred_thousand_edits";
/// How many databases there are.
const DATABASES: u64 = 2;

/// What to break.
#[derive(Clone, Debug, Args)]
#[group(id = "soak")]
pub(crate) struct Options {
    /// Decides which call has which fault in which round; the same seed does the same again.
    #[arg(long)]
    seed: Option<u64>,
    /// Only this part of all calls, such as kills:2/6 or wire:0/16.
    #[arg(long, value_name = "MEANS:NUMBER/PARTS", conflicts_with = "case")]
    round: Option<String>,
    /// Only this one, as a failed run has printed it: 'create after POST /api/v1/namespaces = killed'.
    #[arg(long, conflicts_with = "seed")]
    case: Option<String>,
    /// One seed after the other for so long, such as 90m or 8h.
    #[arg(long = "for", value_name = "TIME", value_parser = duration, conflicts_with_all = ["case", "round"])]
    time: Option<Duration>,
    #[command(flatten)]
    host: host::Options,
}

fn duration(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600)];
    let known = units.into_iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(seconds)
    });
    known.map(Duration::from_secs).ok_or_else(|| "write a time such as 90m or 8h".to_owned())
}

/// Runs it; true if nothing was lost, orphaned or doubled, and nothing else was wrong.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let progress = Progress::new();
    let host_options = options.host.or_devhost();
    host::preflight(&host_options)?;
    let mut missing = packages::missing_for_tests();
    missing.extend(host::missing_packages(&host_options)?);
    packages::ensure(&missing, options.host.yes, &progress)?;
    let _hold = host::hold()?;
    let host = host::ensure(&host_options)?;

    let mut wishes = Vec::new();
    let mut wish = |name: &'static str, value: Option<String>| wishes.extend(value.map(|value| (name, value)));
    wish("HEXABASE_SOAK_SEED", options.seed.map(|seed| seed.to_string()));
    wish("HEXABASE_SOAK_ROUND", options.round.clone());
    wish("HEXABASE_SOAK_CASE", options.case.clone());
    wish("HEXABASE_SOAK_SECONDS", options.time.map(|time| time.as_secs().to_string()));
    let mut arguments = vec!["--", "--include-ignored", "--nocapture", "--test-threads=2"];
    match options.round.is_some() || options.case.is_some() {
        true => arguments.extend(["--exact", ROUNDS]),
        false => arguments.push(SOAK),
    }
    let mut sum = Sum::default();
    let outcome = on_cluster(&host, &arguments, &wishes, |command| follow(command, &mut sum));
    let is_whole = options.round.is_none() && options.case.is_none();
    let told = if is_whole { sum.all_told() } else { Ok(()) };
    let edits = if is_whole { edit_shares() } else { Ok(()) };
    for error in [&outcome, &told, &edits].into_iter().filter_map(|outcome| outcome.as_ref().err()) {
        eprintln!("{error:#}");
    }
    eprintln!("it took {}", seconds(progress.elapsed()));
    println!("{}", sum.line());
    Ok(outcome.is_ok() && told.is_ok() && edits.is_ok() && sum.is_good())
}

/// Edits shares of a plan a hundred thousand times at once, on each database.
fn edit_shares() -> Result<()> {
    eprintln!("\n== a hundred thousand edits of shares, on SQLite and PostgreSQL");
    // The whole workspace, so that nothing is compiled anew with other features.
    let command = cargo(&["test", "--workspace", "--locked", "--test", "it", "--", "--include-ignored", EDITS]);
    let mut count = Count::default();
    let status = command.each_line(|line| count.add(line))?;
    ensure!(status.success(), "shares were not edited as they should be ({status})");
    all_were_edited(&count)
}

/// A name that nothing has is a success as well.
fn all_were_edited(count: &Count) -> Result<()> {
    let passed = count.passed;
    ensure!(
        passed == DATABASES,
        "shares were edited on {passed} of {DATABASES} databases: is {EDITS} still what they are called?"
    );
    Ok(())
}

/// Shows what the tests say, and adds it up.
fn follow(command: Cargo, sum: &mut Sum) -> Result<()> {
    let status = command.each_line(|line| sum.add(line))?;
    ensure!(status.success(), "something was not in order ({status}); what fails says how to see it again");
    Ok(())
}

/// What came of all cases.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    /// How many tests told what came of them.
    reports: u64,
    cases: u64,
    lost: u64,
    orphaned: u64,
    doubled: u64,
}

impl Sum {
    /// Takes a line such as `soak: 22 cases, 0 lost, 0 orphaned, 0 doubled`; the harness may have written before it.
    fn add(&mut self, line: &str) {
        let Some((_, told)) = line.split_once("soak: ") else { return };
        for part in told.split(", ") {
            let Some((number, word)) = part.split_once(' ') else { return };
            let Ok(number) = number.parse::<u64>() else { return };
            match word {
                "cases" => {
                    self.reports += 1;
                    self.cases += number;
                }
                "lost" => self.lost += number,
                "orphaned" => self.orphaned += number,
                "doubled" => self.doubled += number,
                _ => {}
            }
        }
    }

    fn is_good(&self) -> bool {
        let Self { reports: _, cases, lost, orphaned, doubled } = self;
        *cases > 0 && lost + orphaned + doubled == 0
    }

    /// A test that is no longer found under its name, or not compiled, says nothing, and is missed by nobody else.
    fn all_told(&self) -> Result<()> {
        let reports = self.reports;
        ensure!(
            reports >= REPORTS,
            "only {reports} of {REPORTS} tests told what came of them: did all run to their end?"
        );
        Ok(())
    }

    /// The closing line.
    fn line(&self) -> String {
        let Self { reports: _, cases, lost, orphaned, doubled } = self;
        format!("{cases} cases, {lost} lost, {orphaned} orphaned, {doubled} doubled")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_tests_say_is_added_up() {
        let mut sum = Sum::default();
        sum.add("test soak::storms::a ... soak: 5 cases, 0 lost, 0 orphaned, 0 doubled");
        assert!(sum.is_good());
        sum.add("soak: 22 cases, 1 lost, 2 orphaned, 3 doubled");
        sum.add("the soak: it went well");
        assert_eq!(sum.line(), "27 cases, 1 lost, 2 orphaned, 3 doubled");
        assert!(!sum.is_good() && !Sum::default().is_good());
    }

    #[test]
    fn a_test_that_tells_nothing_is_missed() {
        let mut sum = Sum::default();
        for _ in 1..REPORTS {
            sum.add("soak: 5 cases, 0 lost, 0 orphaned, 0 doubled");
        }
        assert!(sum.is_good() && sum.all_told().is_err());
        sum.add("soak: 1 cases, 0 lost, 0 orphaned, 0 doubled");
        assert!(sum.all_told().is_ok());
    }

    #[test]
    fn edits_that_no_test_makes_are_told() {
        let result =
            |passed: u64| format!("test result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; 9 filtered out");
        let edited = |lines: &[String]| {
            let mut count = Count::default();
            lines.iter().for_each(|line| count.add(line));
            all_were_edited(&count).is_ok()
        };
        assert!(edited(&[result(0), result(2), result(0)]));
        assert!(!edited(&[result(0), result(0)]) && !edited(&[result(1)]));
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("90m").unwrap(), Duration::from_secs(5_400));
        assert_eq!(duration("2h").unwrap(), Duration::from_secs(7_200));
        for wrong in ["", "90", "m", "1d", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
