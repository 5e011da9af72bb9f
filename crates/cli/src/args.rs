//! The command line: a noun, then a verb.

mod access;
mod credentials;
mod identities;
mod inside;
mod invitations;
mod members;
mod nodes;
mod number;
mod organizations;
mod plans;
mod projects;
mod time;
mod workspaces;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub(crate) use self::access::{Access, Group, Role, Rules, Within};
pub(crate) use self::credentials::{AccountToken, Audit, AuditFilters, NewToken, Of, ServiceAccount, Session, Token};
pub(crate) use self::identities::Identity;
pub(crate) use self::inside::Pod;
pub(crate) use self::invitations::{Invitation, MailLanguage};
pub(crate) use self::members::Member;
pub(crate) use self::nodes::Nodes;
pub(crate) use self::organizations::{Org, OrgMember, Role as OrgRole};
pub(crate) use self::plans::Plan;
pub(crate) use self::projects::{Level, Network, Project, Quota};
pub(crate) use self::workspaces::{Goal, In, Workspace};

use crate::error::EXIT_CODES;
use crate::output::Format;

/// Hexabase AI from the command line: workspaces, projects, people, and kubectl's sign-in.
#[derive(Debug, Parser)]
#[command(name = "hxb", version, after_long_help = EXIT_CODES, propagate_version = false, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, ClapArgs)]
pub(crate) struct Global {
    /// How to print results.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// What other programs call `-o json`.
    #[arg(long, global = true, hide = true)]
    pub(crate) json: bool,
    /// Address of the server; the one last signed in to when absent.
    #[arg(long, global = true, env = "HEXABASE_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Where servers and sessions are kept [default: $XDG_CONFIG_HOME/hexabase/hxb.json].
    #[arg(long, global = true, env = "HXB_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The authority that signed the server's certificate (PEM); `hxb login` remembers it.
    #[arg(long, global = true, env = "HXB_CERTIFICATE_AUTHORITY", value_name = "FILE")]
    pub(crate) certificate_authority: Option<PathBuf>,
    /// File with an API token to use in place of the session, at the server of --server or HEXABASE_SERVER; the variable
    /// HXB_TOKEN, which holds the token itself, does the same.
    #[arg(long, global = true, env = "HXB_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Show causes and request ids of failures.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

impl Global {
    /// How to print results.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in, in a browser.
    Login {
        /// Address of the server, such as hexabase.example.
        #[arg(value_name = "SERVER")]
        address: Option<String>,
        /// Sign in on another device: shows an address and a code.
        #[arg(long, conflicts_with = "no_browser")]
        device: bool,
        /// Print the address of the sign-in page, open nothing.
        #[arg(long)]
        no_browser: bool,
    },
    /// End the session, here and at the server.
    Logout,
    /// Show who is signed in, and where.
    Whoami,
    /// What you sign in with.
    #[command(subcommand)]
    Identity(Identity),
    /// Where you are signed in.
    #[command(subcommand)]
    Session(Session),
    /// API tokens, for programs that act as you.
    #[command(subcommand)]
    Token(Token),
    /// Organizations.
    #[command(subcommand, visible_alias = "organization")]
    Org(Org),
    /// Invitations into an organization.
    #[command(subcommand)]
    Invitation(Invitation),
    /// Plans: what a workspace may use and what it costs.
    #[command(subcommand)]
    Plan(Plan),
    /// Workspaces: virtual clusters.
    #[command(subcommand, visible_alias = "ws")]
    Workspace(Workspace),
    /// Projects: namespaces with a quota inside a workspace.
    #[command(subcommand)]
    Project(Project),
    /// Pods of a workspace, and their logs.
    #[command(subcommand)]
    Pod(Pod),
    /// People with access to a workspace.
    #[command(subcommand)]
    Member(Member),
    /// Groups of a workspace, and who is in them.
    #[command(subcommand)]
    Group(Group),
    /// Roles that groups can be given.
    #[command(subcommand)]
    Role(Role),
    /// Who may do what inside a workspace: give, take and explain.
    #[command(subcommand)]
    Access(Access),
    /// Programs of an organization, with tokens of their own.
    #[command(subcommand)]
    ServiceAccount(ServiceAccount),
    /// The audit log: who changed what, and the proof that nobody changed the log.
    #[command(subcommand)]
    Audit(Audit),
    /// Let kubectl reach a workspace: write its entry into the kubeconfig.
    Kubeconfig {
        /// NAME, ORG/NAME or id.
        #[arg(value_name = "WORKSPACE")]
        workspace: String,
        /// The file to change [default: the first of $KUBECONFIG, or ~/.kube/config].
        #[arg(long, value_name = "PATH", conflicts_with = "print")]
        file: Option<PathBuf>,
        /// Print a kubeconfig of its own, change no file.
        #[arg(long)]
        print: bool,
        /// Name of the context [default: hexabase-NAME].
        #[arg(long, value_name = "NAME")]
        context: Option<String>,
        /// Make it the current context.
        #[arg(long)]
        set_current: bool,
        /// The program that signs kubectl in.
        #[arg(long, value_enum, default_value_t)]
        plugin: Plugin,
    },
    /// Give kubectl a token: the client-go credential plugin that a kubeconfig names.
    #[command(hide = true)]
    Credential {
        /// Id of the workspace.
        #[arg(long, value_name = "ID")]
        workspace: String,
    },
    /// Print the completion script of a shell.
    Completion {
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the version.
    Version,
    /// What the exit codes mean.
    #[command(hide = true, after_help = EXIT_CODES)]
    ExitCodes,
}

/// Who signs kubectl in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Plugin {
    /// This program, with the session of `hxb login`.
    #[default]
    Hxb,
    /// kubelogin (`kubectl oidc-login`), with a browser of its own.
    Kubelogin,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
