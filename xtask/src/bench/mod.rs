//! `cargo xtask bench [NAME]`: figures, measured on programs built for release; never part of the tests.
//!
//! To add one: a file here with a function that returns its [`Figure`]s, and a line in `BENCHES`.

mod churn;
mod examples;
mod gateway;
mod identity;
mod raw;
mod revoke;
mod stage;
mod workspace;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

pub(crate) use self::gateway::flood::run as flood;
use crate::lock::{self, Lock};
use crate::{cargo, host};

/// What to measure.
#[derive(Clone, Debug, Args)]
#[group(id = "bench")]
pub(crate) struct Options {
    /// Which figures; all but churn when absent.
    name: Option<String>,
    /// Also write them to a file, as an array of {name, value, unit, target, holds, detail}.
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    host: host::Options,
}

/// One measured figure.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What it is meant to be, such as `<= 20`; empty when it only informs.
    pub(crate) target: String,
    /// Whether it is.
    pub(crate) holds: bool,
    pub(crate) detail: String,
}

impl Figure {
    /// A figure that is meant to be at most `most`.
    pub(crate) fn at_most(name: &'static str, value: f64, unit: &'static str, most: f64, detail: String) -> Self {
        Self { name, value, unit, target: format!("<= {most}"), holds: value <= most, detail }
    }

    /// A figure that is meant to be at least `least`.
    pub(crate) fn at_least(name: &'static str, value: f64, unit: &'static str, least: f64, detail: String) -> Self {
        Self { name, value, unit, target: format!(">= {least}"), holds: value >= least, detail }
    }

    /// A figure without a target.
    pub(crate) fn plain(name: &'static str, value: f64, unit: &'static str, detail: String) -> Self {
        Self { name, value, unit, target: String::new(), holds: true, detail }
    }
}

type Bench = fn(&host::Options) -> Result<Vec<Figure>>;

const BENCHES: &[(&str, Bench)] = &[
    ("workspace", workspace::run),
    ("identity", identity::run),
    ("revoke", revoke::run),
    ("gateway", gateway::run),
    ("flood", gateway::fairness::run),
    (AN_HOUR, churn::run),
];

/// Takes more than an hour, and is measured only when it is asked for.
const AN_HOUR: &str = "churn";

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = |name: &str| options.name.as_deref().map_or(name != AN_HOUR, |only| only == name);
    let chosen: Vec<_> = BENCHES.iter().filter(|(name, _)| wanted(name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = BENCHES.iter().map(|(name, _)| *name).collect();
        bail!("there is no such bench; there are: {}", names.join(", "));
    }
    if cfg!(debug_assertions) {
        // Sending and reading is part of many figures, so what measures is optimised as well.
        return cargo::run_this_optimized();
    }
    let Some(_alone) = Lock::try_exclusive(&lock::path("bench")?)? else {
        bail!("another bench is running on this machine: wait for its end, or end it");
    };
    let mut figures = Vec::new();
    for (_, bench) in chosen {
        figures.extend(bench(&options.host.or_devhost())?);
    }
    println!("{:<36} {:>12} {:<8} {:>10} {:<5} detail", "figure", "value", "unit", "target", "holds");
    for Figure { name, value, unit, target, holds, detail } in &figures {
        let holds = if target.is_empty() {
            ""
        } else if *holds {
            "yes"
        } else {
            "NO"
        };
        println!("{name:<36} {value:>12.1} {unit:<8} {target:>10} {holds:<5} {detail}");
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&figures)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The value below which a share of the samples lies; the samples are sorted by it.
pub(crate) fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    let place = (share * last as f64).ceil() as usize;
    samples.get(place.min(last)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_the_samples_themselves() {
        let mut samples = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(percentile(&mut samples, 0.5), 3.0);
        assert_eq!(percentile(&mut samples, 0.95), 5.0);
    }
}
