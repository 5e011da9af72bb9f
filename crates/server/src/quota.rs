//! `hexabase quota`: an operator sets what all workspaces of an organisation may use together, straight on the database.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hexabase_app::clock::Clock;
use hexabase_app::organization_quota;
use hexabase_core::ids::OrganizationId;
use hexabase_core::quota::Amounts;

use crate::break_glass::operator;
use crate::config::Config;
use crate::{plans, run};

/// What the operator says.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Id of the organization; its audit log tells of it.
    #[arg(long, value_name = "ID")]
    organization: OrganizationId,
    /// TOML file with the amounts, named as the limits of a plan.
    #[arg(long, value_name = "FILE", required_unless_present = "none")]
    file: Option<PathBuf>,
    /// Whatever the plans of its workspaces give.
    #[arg(long, conflicts_with = "file")]
    none: bool,
}

/// Sets it in the database of a platform that has run before; says what was done.
///
/// # Errors
/// The database or the file is not there or cannot be used, or the organisation's workspaces have more.
pub async fn execute(config: &Config, arguments: Arguments) -> Result<String> {
    let Arguments { organization, file, none } = arguments;
    let file = if none { None } else { file };
    let quota: Option<Amounts> = file.map(|file| plans::read(&file)).transpose()?;
    let store = run::open_existing(config).await?;
    organization_quota::set(&store, &Clock::System, &organization, quota.as_ref(), &operator()?).await?;
    store.close().await?;
    Ok(match quota {
        Some(_) => format!("the workspaces of {organization} may use that together; its audit log says so"),
        None => format!("the workspaces of {organization} may use what their plans give; its audit log says so"),
    })
}
