//! `hxb`, the command line of Hexabase AI, and the credential plugin through which kubectl signs in to workspaces.
//!
//! Invariants: no secret comes from a flag or goes into a kubeconfig; the session file is private to the user and changed
//! only under its lock, so that two processes never use up the same refresh token; what `-o json` prints is what the API
//! answered, fields of newer servers included; every failure says what to do next and has an exit code of its own
//! ([`error::Kind`]).
//!
//! ```text
//! args ─► commands/<noun> ─► resolve (names to ids) ─► client ─► {server}/api/v1
//!                        └─► output | progress          └─ session ─► oauth ─► {server}/oidc/platform
//! kubectl ─► hxb credential ─► credential (cache, lock) ─► token exchange at {server}/oidc/{workspace}
//! ```
//!
//! To add a command: a variant in `args.rs`, a function in `commands/<noun>.rs`, a scenario in `tests/it`.

mod args;
pub mod audit;
mod callback;
mod client;
mod clock;
mod commands;
mod config;
mod context;
mod credential;
mod device;
pub mod error;
mod files;
mod http;
mod kubeconfig;
mod login;
mod oauth;
mod output;
mod progress;
mod random;
mod receipt;
mod resolve;
mod session;
mod settings;
mod token;
mod wait;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};
use crate::error::{Error, Kind};

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Refused only when a provider is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 });
        }
    };
    let verbose = args.global.verbose;
    let one_line = matches!(args.command, Command::Credential { .. });
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Error::new(Kind::Failure, "cannot start").because(error), verbose, one_line),
    };
    let result = runtime.block_on(commands::run(args));
    // A prompt or a lock that still waits in a thread of its own must not keep the process alive.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error, verbose, one_line),
    }
}

fn report(error: &Error, verbose: bool, one_line: bool) -> ExitCode {
    let _ = std::io::stderr().write_all(error.render(verbose, one_line).as_bytes());
    ExitCode::from(error.kind().exit_code())
}
