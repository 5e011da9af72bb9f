//! `hexabase`: the server binary. Roles are subcommands, so that laptop, CI and cluster run the same program.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use hexabase_server::config::Config;
use hexabase_server::keys::{self, KeysCommand};
use hexabase_server::plans::{self, PlansCommand};
use hexabase_server::run::{self, Role};
use hexabase_server::{break_glass, http, leftovers, nodes, quota};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Gives back within seconds what a storm of requests has taken; the C library's allocator keeps all of it, for each thread.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is logged if nothing is said. Errors of calls to Kubernetes are told by whoever makes the calls, and while a control
/// plane starts they are none.
const LOG: &str = "info,sea_orm_migration=warn,sqlx=warn,kube_client::client::builder=off";

/// Hexabase AI: Kubernetes workspaces for many people on one cluster.
#[derive(Debug, Parser)]
#[command(name = "hexabase", version, about)]
struct Arguments {
    /// Settings file (TOML). Environment variables HEXABASE__SECTION__KEY override it.
    #[arg(long, global = true, env = "HEXABASE_CONFIG")]
    config: Option<PathBuf>,
    /// Which log lines to write, such as `info` or `hexabase_app=debug`.
    #[arg(long, global = true, env = "HEXABASE_LOG", default_value = LOG)]
    log: String,
    /// Form of log lines.
    #[arg(long, global = true, env = "HEXABASE_LOG_FORMAT", default_value = "text", value_parser = ["text", "json"])]
    log_format: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// API, issuers, gateway and worker in one process.
    All,
    /// API, issuers and gateway; needs no access to the host cluster.
    Serve,
    /// The worker, which makes and removes workspaces on the host cluster.
    Work,
    /// Bring the database schema up to date and stop.
    Migrate,
    /// List, rotate or revoke the keys that sign tokens.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// List, make, change or retire the plans of workspaces.
    #[command(subcommand)]
    Plans(PlansCommand),
    /// List the nodes of the host that workspaces can have for themselves, and who has which.
    Nodes,
    /// Set what all workspaces of an organization may use together.
    Quota(quota::Arguments),
    /// Show what is left of workspaces that are gone, in the database and on the host, and what becomes of it.
    Leftovers,
    /// Read the settings, name the first mistake, and stop.
    CheckConfig,
    /// Let one of the platform's staff into an organization for a short time, with a reason that its audit log shows.
    BreakGlass(break_glass::Arguments),
    /// Print the OpenAPI document of the API.
    Openapi,
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<()> {
    if matches!(arguments.command, Command::Openapi) {
        println!("{}", serde_json::to_string_pretty(&http::openapi())?);
        return Ok(());
    }
    let config = Config::load(arguments.config.as_deref())?;
    hexabase_server::run::install_crypto();
    if matches!(arguments.command, Command::CheckConfig) {
        run::check(&config)?;
        println!("{}", verdict(&config));
        return Ok(());
    }
    let filter = EnvFilter::try_new(&arguments.log)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if arguments.log_format == "json" {
        log.json().init()
    } else {
        log.with_ansi(false).init()
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(execute(config, arguments.command))
}

/// What the settings are fit for: the role is not one of them.
fn verdict(config: &Config) -> &'static str {
    match config.host.vcluster_chart {
        Some(_) => "the settings are fine",
        None => "the settings are fine for `serve`; `all` and `work` need host.vcluster_chart as well",
    }
}

async fn execute(config: Config, command: Command) -> Result<()> {
    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));
    match command {
        Command::All => run::run(config, Role::All, stop).await,
        Command::Serve => run::run(config, Role::Serve, stop).await,
        Command::Work => run::run(config, Role::Work, stop).await,
        Command::Migrate => run::migrate(&config).await.map(drop),
        Command::Keys(command) => keys::execute(&config, command).await.map(|said| print!("{said}")),
        Command::Plans(command) => plans::execute(&config, command).await.map(|said| print!("{said}")),
        Command::Nodes => nodes::execute(&config).await.map(|said| print!("{said}")),
        Command::BreakGlass(arguments) => {
            println!("{}", break_glass::execute(&config, arguments).await?);
            Ok(())
        }
        Command::Quota(arguments) => {
            println!("{}", quota::execute(&config, arguments).await?);
            Ok(())
        }
        Command::Leftovers => leftovers::execute(&config).await.map(|said| print!("{said}")),
        Command::CheckConfig | Command::Openapi => Ok(()),
    }
}

async fn cancel_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
}
