//! Every moment of every operation. Each round is the life of a workspace in which a part of all moments is struck; together
//! the rounds hold every moment once. A round is named by its means and its part, such as `kills:2/6`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::stream::{self, StreamExt as _};
use hexabase_testkit::faults::{Aim, Boundary, Fault, Means, Share};

use super::report;
use crate::lane::{Lane, Toll};
use crate::surroundings::wish;

const SEED: u64 = 1;
/// Parts for kills and for faults of the wire: a life takes some twenty kills per operation in its stride, while faults make the
/// worker wait longer and longer.
const KILLS: u64 = 6;
const WIRE: u64 = 16;
/// So many lives more are there for moments at which nobody was killed: a call that does not come in every life may have stayed away,
/// and one may come only after another one has failed.
const FURTHER: usize = 4;
/// Lives at the same time, as far as two cores carry them.
const AT_ONCE: usize = 2;

/// One part of all moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Round(Share);

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Share { of, number, means, .. } = self.0;
        let means = match means {
            Means::Kills => "kills",
            Means::Wire => "wire",
        };
        write!(f, "{means}:{number}/{of}")
    }
}

impl FromStr for Round {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (means, part) = text.split_once(':').context("a round is written as kills:2/6")?;
        let (number, of) = part.split_once('/').context("a round is written as kills:2/6")?;
        let means = match means {
            "kills" => Means::Kills,
            "wire" => Means::Wire,
            other => bail!("a round is of kills or of wire, not of {other}"),
        };
        let (number, of): (u64, u64) = (number.parse()?, of.parse()?);
        ensure!(number < of, "of {of} parts there is none with the number {number}");
        Ok(Self(Share { seed: SEED, of, number, means }))
    }
}

/// What came of a life.
struct Lived {
    toll: Toll,
    struck: Vec<(Boundary, Fault)>,
    /// Every moment at which something is changed, and whether the platform was killed there.
    moments: BTreeMap<Boundary, bool>,
}

/// One life. What went wrong is told at once, with how to see it again.
async fn live(aim: Aim, title: &str, replay: &str) -> Result<Lived> {
    let begun = Instant::now();
    let mut lane = Lane::start().await?;
    lane.proxy.aim(aim);
    let lived = lane.life(true).await;
    let struck = lane.proxy.struck();
    println!("{title}: {} strikes in {:.0?}", struck.len(), begun.elapsed());
    let mut toll = std::mem::take(&mut lane.toll);
    if let Err(error) = lived {
        println!("FAILED {title}: {error:#}\nreplay with: cargo xtask soak {replay}");
        for (moment, fault) in &struck {
            println!("  one of it alone: cargo xtask soak --case '{moment} = {fault}'");
        }
        if toll.is_empty() {
            // Whatever it was: it does not do what it should.
            toll.lost.push(format!("{error:#}"));
        }
    }
    Ok(Lived { toll, moments: killed(lane.proxy.met(), &struck), struck })
}

/// Whether the platform was killed at each of the moments that were met and at which something is changed; a call that failed there is
/// something else.
fn killed(met: BTreeMap<Boundary, bool>, struck: &[(Boundary, Fault)]) -> BTreeMap<Boundary, bool> {
    let steps = met.into_iter().filter(|(_, is_step)| *is_step).map(|(moment, _)| moment);
    let was_killed = |moment: &Boundary| struck.iter().any(|(other, fault)| other == moment && *fault == Fault::Halt);
    steps.map(|moment| (was_killed(&moment), moment)).map(|(hit, moment)| (moment, hit)).collect()
}

#[tokio::test]
#[ignore = "takes an hour; `cargo xtask soak`"]
async fn a_workspace_is_whole_whatever_call_fails_and_wherever_its_platform_is_killed() -> Result<()> {
    if let Some(case) = wish("CASE") {
        let (moment, fault) = case.rsplit_once(" = ").unwrap_or((case.as_str(), "killed"));
        let these = BTreeMap::from([(moment.parse::<Boundary>()?, fault.parse::<Fault>()?)]);
        let lived = live(Aim::These(these), &case, &format!("--case '{case}'")).await?;
        report(lived.struck.len(), std::slice::from_ref(&lived.toll));
        ensure!(lived.struck.len() == 1, "the call did not come by: {case}");
        ensure!(lived.toll.is_empty(), "{:#?}", lived.toll);
        return Ok(());
    }
    let mut seed: u64 = wish("SEED").map_or(Ok(SEED), |text| text.parse()).context("a seed is a number")?;
    let time = wish("SECONDS").map(|text| text.parse().map(Duration::from_secs)).transpose()?;
    let begun = Instant::now();
    let (mut all, mut missed) = (Vec::new(), Vec::new());
    loop {
        let (lived, left) = of_one_seed(seed).await?;
        all.extend(lived);
        missed.extend(left.iter().map(|moment| format!("seed {seed}: {moment}")));
        if time.is_none_or(|time| begun.elapsed() >= time) {
            break;
        }
        seed = seed.wrapping_add(1);
    }
    let (cases, tolls): (Vec<usize>, Vec<Toll>) = all.into_iter().map(|lived| (lived.struck.len(), lived.toll)).unzip();
    report(cases.iter().sum(), &tolls);
    let failed: Vec<&Toll> = tolls.iter().filter(|toll| !toll.is_empty()).collect();
    ensure!(failed.is_empty(), "{failed:#?}");
    ensure!(missed.is_empty(), "nobody was killed where something is changed: {missed:#?}");
    Ok(())
}

/// All rounds of a seed, or the one that was asked for; and, of all rounds, the moments at which nobody was killed.
async fn of_one_seed(seed: u64) -> Result<(Vec<Lived>, BTreeSet<Boundary>)> {
    let rounds: Vec<Share> = match wish("ROUND") {
        Some(round) => vec![Share { seed, ..round.parse::<Round>()?.0 }],
        None => {
            let parts = |means, of| (0..of).map(move |number| Share { seed, of, number, means });
            parts(Means::Kills, KILLS).chain(parts(Means::Wire, WIRE)).collect()
        }
    };
    let is_whole = rounds.len() > 1;
    let lives = stream::iter(rounds).map(|share| async move {
        let round = Round(share);
        live(Aim::Share(share), &round.to_string(), &format!("--seed {seed} --round {round}")).await
    });
    let lived: Vec<Result<Lived>> = lives.buffer_unordered(AT_ONCE).collect().await;
    let mut lived = lived.into_iter().collect::<Result<Vec<_>>>()?;
    if !is_whole {
        return Ok((lived, BTreeSet::new()));
    }
    for number in 0..FURTHER {
        let Some(aim) = further(&lived, number > 0) else { break };
        lived.push(live(Aim::These(aim), "what was missed", &format!("--seed {seed}")).await?);
    }
    let moments: BTreeSet<&Boundary> = lived.iter().flat_map(|life| life.moments.keys()).collect();
    let left = missed(&lived);
    println!("seed {seed}: {} moments, and nobody was killed at {} of them", moments.len(), left.len());
    Ok((lived, left))
}

/// Kills at all moments at which nobody was killed; where some come only after something has failed, `beside` that which struck a
/// life in which one came.
fn further(lived: &[Lived], beside: bool) -> Option<BTreeMap<Boundary, Fault>> {
    let missed = missed(lived);
    let first = missed.first()?;
    let company = lived.iter().find(|life| beside && life.moments.contains_key(first));
    let mut aim: BTreeMap<Boundary, Fault> = company.into_iter().flat_map(|life| life.struck.iter().cloned()).collect();
    aim.extend(missed.into_iter().map(|moment| (moment, Fault::Halt)));
    Some(aim)
}

/// Moments that came by in some life and at which nobody was killed in any.
fn missed(lived: &[Lived]) -> BTreeSet<Boundary> {
    let mut hit: BTreeMap<&Boundary, bool> = BTreeMap::new();
    for (moment, killed) in lived.iter().flat_map(|life| &life.moments) {
        *hit.entry(moment).or_default() |= killed;
    }
    hit.into_iter().filter(|(_, killed)| !killed).map(|(moment, _)| moment.clone()).collect()
}

#[test]
fn a_moment_at_which_only_a_call_failed_is_missed_until_somebody_is_killed_there() -> Result<()> {
    let moment: Boundary = "create before POST /api/v1/namespaces".parse()?;
    let read: Boundary = "create before GET /api/v1/namespaces".parse()?;
    let life = |fault: Fault| {
        let met = BTreeMap::from([(moment.clone(), true), (read.clone(), false)]);
        let struck = vec![(moment.clone(), fault)];
        Lived { toll: Toll::default(), moments: killed(met, &struck), struck }
    };
    let mut lived = vec![life(Fault::Unavailable)];
    ensure!(missed(&lived) == BTreeSet::from([moment.clone()]));
    let rare: Boundary = "create before PUT /api/v1/namespaces".parse()?;
    lived[0].moments.insert(rare.clone(), false);
    lived[0].struck.push((read.clone(), Fault::Unavailable));
    let kills = BTreeMap::from([(moment.clone(), Fault::Halt), (rare.clone(), Fault::Halt)]);
    ensure!(further(&lived, false) == Some(kills.clone()));
    let beside = kills.into_iter().chain([(read.clone(), Fault::Unavailable)]).collect();
    ensure!(further(&lived, true) == Some(beside));
    lived[0].moments.remove(&rare);
    lived.push(life(Fault::Halt));
    ensure!(missed(&lived).is_empty());
    Ok(())
}

#[test]
fn a_round_is_read_as_it_is_written() -> Result<()> {
    for text in ["kills:0/6", "wire:15/16"] {
        ensure!(text.parse::<Round>()?.to_string() == text);
    }
    for wrong in ["", "kills", "kills:6/6", "wires:0/1", "kills:x/2"] {
        ensure!(wrong.parse::<Round>().is_err(), "{wrong}");
    }
    Ok(())
}
