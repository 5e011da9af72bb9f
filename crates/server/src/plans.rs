//! `hexabase plans`: the operator's hand on the plans, straight on the database. Running servers offer what it holds.

mod file;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail, ensure};
use clap::Subcommand;
use hexabase_app::Error;
use hexabase_app::clock::Clock;
use hexabase_app::plan_terms::{self, PlanInUse, PlanTerms};
use hexabase_backends::store::Store;
use hexabase_core::plans::Plan;

pub(crate) use self::file::read;
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
            let terms = terms(&file, host)?;
            let added = plan_terms::add_version(store, clock, &terms, &operator()?).await;
            let plan = added.map_err(|cause| match cause {
                Error::NotFound(_) => no_such_plan(&terms.id),
                cause => cause.into(),
            })?;
            told(&plan, "new workspaces get it, those that are there keep theirs")
        }
        PlansCommand::Retire { plan } => {
            set_retired(store, clock, &plan, true).await?;
            format!("plan {plan} is retired; workspaces under it go on\n")
        }
        PlansCommand::Restore { plan } => {
            set_retired(store, clock, &plan, false).await?;
            format!("plan {plan} is offered again\n")
        }
    })
}

fn no_such_plan(id: &str) -> anyhow::Error {
    anyhow!("there is no such plan: {id}; those that there are: hexabase plans list")
}

/// Retires a plan or offers it again; says which of both it is that cannot be done.
async fn set_retired(store: &Store, clock: &Clock, id: &str, retired: bool) -> Result<()> {
    let Err(cause) = plan_terms::set_retired(store, clock, id, retired, &operator()?).await else { return Ok(()) };
    if !matches!(cause, Error::NotFound(_)) {
        return Err(cause.into());
    }
    let all = plan_terms::list(store).await?;
    if all.iter().all(|(record, _)| record.plan.id != id) {
        return Err(no_such_plan(id));
    }
    let so = if retired { "retired" } else { "offered" };
    bail!("the plan {id} is {so} already; nothing was changed")
}

/// What a plan is to say: what breaks no rule, with a release of Kubernetes that workspaces can be put on.
fn terms(file: &Path, host: &HostConfig) -> Result<PlanTerms> {
    let terms: PlanTerms = read(file)?;
    // Looked at here as well, where it is known what file it comes of; the version matters to no rule.
    if let Err(Error::Invalid { field, detail }) = terms.plan(1) {
        bail!("{}: {field}: {detail}", file.display());
    }
    let releases = host.releases();
    if let Some(wanted) = terms.kubernetes.map(|release| release.to_string()) {
        ensure!(
            releases.contains(&wanted),
            "{}: kubernetes: {wanted} is none of the releases that plans may name: {}. List it in the setting host.kubernetes_releases \
             once the registry has its image",
            file.display(),
            releases.join(", ")
        );
    }
    Ok(terms)
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
        let price = plan.price.to_string();
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
