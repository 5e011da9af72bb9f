//! What a quiet workspace notices of a loud one that is flooded.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hexabase_testkit::http::Http;

use super::flood::{FLOOD, Flood};
use super::{Figure, SMALL, WORKSPACES, Way, percentile, stage, workspace};
use crate::autogroup::Borrowed;
use crate::host::{self, Host};
use crate::people::Person;
use crate::progress::Progress;

/// Rounds without the flood and beside it, in turn; how long the quiet workspace is asked in each, and how often.
const ROUNDS: usize = 5;
const CALM: Duration = Duration::from_secs(15);
const EVERY: Duration = Duration::from_millis(20);
/// How long the flood has before the quiet workspace is asked: its first requests are those that a pause has earned.
const BEGINNING: Duration = Duration::from_secs(5);

/// Measures it.
pub(crate) fn run(options: &host::Options) -> Result<Vec<Figure>> {
    stage::set(options, &WORKSPACES, measure)
}

fn measure(_host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let [quiet, loud] = WORKSPACES;
    let (quiet, loud) = (workspace(alice, quiet, progress)?, workspace(alice, loud, progress)?);
    let (asker, loud) = (Way::new(alice, &quiet)?.http()?, Way::new(alice, &loud)?);
    // Whoever asks has a machine of their own as well: what they wait for is to be the platform, not this machine's processor. Where
    // there are no such groups, what is measured is longer.
    let _priority = Borrowed::new(-20);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // What starts with a workspace is not over when it answers.
    progress.step("let both come to rest", || runtime.block_on(calmly(&asker, 3 * CALM)))?;
    let (mut ratios, mut alone, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    let mut answers = super::flood::Answers::default();
    for round in 1..=ROUNDS {
        let without = progress.step(&format!("ask the quiet one alone, {round} of {ROUNDS}"), || {
            runtime.block_on(calmly(&asker, CALM))
        })?;
        let flood = Flood::start(&loud)?;
        if round == 1 && !flood.is_idle() {
            progress.say("no cgroup with cpu.idle: the flood takes processor time from what is measured");
        }
        let with = progress.step("ask it while the other one is flooded", || {
            runtime.block_on(async {
                tokio::time::sleep(BEGINNING).await;
                calmly(&asker, CALM).await
            })
        })?;
        let came = flood.end()?;
        ensure!(came.is_a_flood(), "that was no flood: {came:?}; alone {without:.1} ms, beside {with:.1} ms");
        answers.add(&came);
        progress.say(&format!("alone {without:.1} ms, beside {with:.1} ms"));
        ratios.push(with / without);
        alone.push(without);
        beside.push(with);
    }
    stage::remove(alice, &WORKSPACES)?;
    let seconds = (ROUNDS as u32 * (BEGINNING + CALM)).as_secs();
    let [ratio, alone, beside] = [ratios, alone, beside].map(|mut values| percentile(&mut values, 0.5));
    let detail = format!("alone {alone:.1} ms, beside {beside:.1} ms; medians of {ROUNDS} rounds");
    let share = format!("of the {FLOOD} who flood with watches and objects of 1 MB, in {seconds} s");
    let count = |name, number: u32| Figure::plain(name, f64::from(number), "", share.clone());
    Ok(vec![
        Figure::at_most("p99 beside a flood / alone", ratio, "x", 1.5, detail),
        count("answers to the flood, passed", answers.passed),
        count("answers to the flood, 429", answers.refused),
        count("answers to the flood, broken", answers.broken),
        count("requests of the flood, hung up on", answers.cut),
        count("objects of 1 MB made by the flood", answers.written),
        count("watches open at the end of a flood", answers.open),
    ])
}

/// The p99 of a calm asker, in ms.
async fn calmly(http: &Http, time: Duration) -> Result<f64> {
    let (end, mut samples) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        let begun = Instant::now();
        http.get(SMALL).await?.expect(200)?;
        samples.push(begun.elapsed().as_secs_f64() * 1_000.0);
        tokio::time::sleep(EVERY).await;
    }
    Ok(percentile(&mut samples, 0.99))
}
