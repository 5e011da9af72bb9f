//! The commands, one file per noun.

mod access;
mod audit;
mod groups;
mod identities;
mod inside;
mod invitations;
mod kubectl;
mod members;
mod nodes;
mod organization_members;
mod organizations;
mod plans;
mod projects;
mod quota;
mod roles;
mod service_account_tokens;
mod service_accounts;
mod sessions;
mod sign_in;
mod tokens;
mod workspaces;

use std::io::{IsTerminal as _, stderr, stdin};

use clap::CommandFactory as _;
use clap_complete::shells;
use serde_json::json;

use crate::args::{Args, Command, Shell};
use crate::context::Context;
use crate::error::{EXIT_CODES, Error, Kind, Result};
use crate::output::{self, say};
use crate::settings::Environment;

/// Runs one command.
pub(crate) async fn run(args: Args) -> Result<()> {
    let format = args.global.format();
    match args.command {
        Command::Completion { shell } => return completion(shell),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            return format.show(&json!({ "version": version }), || format!("hxb {version}"));
        }
        Command::ExitCodes => return output::write(&format!("{EXIT_CODES}\n")),
        _ => {}
    }
    let context = Context::new(args.global, Environment::of_process())?;
    match args.command {
        Command::Login { address, device, no_browser } => {
            sign_in::login(&context, address, sign_in::way(&context, device, no_browser)).await
        }
        Command::Logout => sign_in::logout(&context).await,
        Command::Whoami => sign_in::whoami(&context).await,
        Command::Identity(command) => identities::run(&context, command).await,
        Command::Session(command) => sessions::run(&context, command).await,
        Command::Token(command) => tokens::run(&context, command).await,
        Command::Org(command) => organizations::run(&context, command).await,
        Command::Invitation(command) => invitations::run(&context, command).await,
        Command::Plan(command) => plans::run(&context, command).await,
        Command::Workspace(command) => workspaces::run(&context, command).await,
        Command::Project(command) => projects::run(&context, command).await,
        Command::Pod(command) => inside::run(&context, command).await,
        Command::Member(command) => members::run(&context, command).await,
        Command::Group(command) => groups::run(&context, command).await,
        Command::Role(command) => roles::run(&context, command).await,
        Command::Access(command) => access::run(&context, command).await,
        Command::ServiceAccount(command) => service_accounts::run(&context, command).await,
        Command::Audit(command) => audit::run(&context, command).await,
        Command::Kubeconfig { workspace, file, print, context: name, set_current, plugin } => {
            kubectl::kubeconfig(&context, &workspace, kubectl::Target { file, print, name, set_current, plugin }).await
        }
        Command::Credential { workspace } => kubectl::credential(&context, &workspace).await,
        Command::Completion { .. } | Command::Version | Command::ExitCodes => Ok(()),
    }
}

fn completion(shell: Shell) -> Result<()> {
    let (mut command, mut script) = (Args::command(), Vec::new());
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, "hxb", &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, "hxb", &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, "hxb", &mut script),
    }
    output::write(&String::from_utf8_lossy(&script))
}

/// Makes sure that the user means to delete it: `name` is to be typed, unless `yes` was given.
async fn confirm(yes: bool, what: &str, name: &str) -> Result<()> {
    let warning = format!("This deletes {what} {name} and everything in it, for good. Type its name to go on:");
    let deed = format!("the deletion of {what} {name}");
    confirm_deed(yes, &deed, &warning, name, "give --yes; this cannot be undone").await
}

/// The same for something else than a deletion for good; `hint` is for whoever has no terminal to type the name at.
async fn confirm_deed(yes: bool, deed: &str, warning: &str, name: &str, hint: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(Error::new(Kind::Usage, format!("nobody is here to confirm {deed}")).hint(hint));
    }
    say(warning);
    let read = || {
        let mut line = String::new();
        stdin().read_line(&mut line).map(|_| line)
    };
    let typed = tokio::task::spawn_blocking(read).await;
    match typed {
        Ok(Ok(line)) if line.trim() == name => Ok(()),
        _ => Err(Error::new(Kind::Usage, "that is not the name; nothing was done")),
    }
}
