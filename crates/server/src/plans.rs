//! `hexabase plans`: the operator's hand on the plans, straight on the database. Running servers offer what it holds.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;
use hexabase_app::clock::Clock;
use hexabase_app::plan_terms::{self, PlanInUse, PlanTerms};
use hexabase_backends::store::Store;
use hexabase_core::plans::Plan;
use serde::de::DeserializeOwned;

use crate::break_glass::operator;
use crate::config::{Config, HostConfig};
use crate::run;

/// What to do with the plans.
#[derive(Debug, Clone, Subcommand)]
pub enum PlansCommand {
    /// Show every plan, who made its newest version, and how many workspaces are under which.
    List,
    /// Make a plan of a file; new workspaces can choose it at once.
    Create {
        /// TOML file with its terms; docs/guides/plans.md has one.
        file: PathBuf,
    },
    /// Give a plan a new version of a file. New workspaces get it; those that are there keep theirs until their owners choose
    /// the plan again.
    Version {
        /// TOML file with all of its terms.
        file: PathBuf,
    },
    /// Offer a plan no more. Workspaces under it go on.
    Retire {
        /// Id of the plan.
        plan: String,
    },
    /// Offer a retired plan again.
    Restore {
        /// Id of the plan.
        plan: String,
    },
}

/// Carries it out on the database of a platform that has run before, and returns what to print.
///
/// # Errors
/// The database is not there or cannot be used, the file cannot be read, or its terms break a rule or name a release of Kubernetes
/// that the installation has no image of.
pub async fn execute(config: &Config, command: PlansCommand) -> Result<String> {
    let store = run::open_existing(config).await?;
    let said = act(&store, &Clock::System, &config.host, command).await;
    store.close().await?;
    said
}

async fn act(store: &Store, clock: &Clock, host: &HostConfig, command: PlansCommand) -> Result<String> {
    Ok(match command {
        PlansCommand::List => table(&plan_terms::list(store).await?),
        PlansCommand::Create { file } => {
            let plan = plan_terms::create(store, clock, &terms(&file, host)?, &operator()?).await?;
            told(&plan, "new workspaces can choose it")
        }
        PlansCommand::Version { file } => {
            let plan = plan_terms::add_version(store, clock, &terms(&file, host)?, &operator()?).await?;
            told(&plan, "new workspaces get it, those that are there keep theirs")
        }
        PlansCommand::Retire { plan } => {
            plan_terms::set_retired(store, clock, &plan, true, &operator()?).await?;
            format!("plan {plan} is retired; workspaces under it go on\n")
        }
        PlansCommand::Restore { plan } => {
            plan_terms::set_retired(store, clock, &plan, false, &operator()?).await?;
            format!("plan {plan} is offered again\n")
        }
    })
}

/// What a plan is to say: with a release of Kubernetes that workspaces can be put on.
fn terms(file: &Path, host: &HostConfig) -> Result<PlanTerms> {
    let terms: PlanTerms = read(file)?;
    let releases = host.releases();
    if let Some(wanted) = terms.kubernetes.map(|release| release.to_string()) {
        ensure!(
            releases.contains(&wanted),
            "kubernetes: {wanted} is none of the releases that plans may name: {}. List it in the setting host.kubernetes_releases once \
             the registry has its image",
            releases.join(", ")
        );
    }
    Ok(terms)
}

/// What an operator has written down.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let source = config::File::from(file.to_path_buf()).format(config::FileFormat::Toml);
    let settings = config::Config::builder().add_source(source).build();
    let terms = settings.and_then(config::Config::try_deserialize);
    terms.with_context(|| format!("{} cannot be read", file.display()))
}

fn told(plan: &Plan, what: &str) -> String {
    format!("plan {} has version {} now; {what}\n", plan.id, plan.version)
}

fn table(plans: &[PlanInUse]) -> String {
    let mut text = format!(
        "{:<20}{:<9}{:<10}{:<16}{:<12}{}\n",
        "ID", "VERSION", "STATE", "PRICE/MONTH", "WORKSPACES", "BY VERSION"
    );
    for (record, versions) in plans {
        let plan = &record.plan;
        let state = if plan.active { "offered" } else { "retired" };
        let price = format!("{} {}", plan.price.amount_minor, plan.price.currency);
        let all: u64 = versions.iter().map(|(_, count)| count).sum();
        let each: Vec<String> = versions.iter().map(|(version, count)| format!("{version}: {count}")).collect();
        let (id, version, each) = (&plan.id, plan.version, each.join(", "));
        text.push_str(&format!("{id:<20}{version:<9}{state:<10}{price:<16}{all:<12}{each}\n"));
        for (what, done) in [("made", &record.made), ("retired", &record.retired)] {
            if let Some((by, at)) = done {
                text.push_str(&format!("    {what} by {by} at {at}\n"));
            }
        }
    }
    text
}
