//! The verbs of groups, roles and access.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};

use super::time::duration;
use super::workspaces::In;

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// Make a group.
    Create {
        /// ASCII letters, digits, '-', '_' and '.'; it never changes.
        name: String,
        #[command(flatten)]
        place: In,
        /// The group to stand below: its members are members of that one too.
        #[arg(long, value_name = "GROUP")]
        below: Option<String>,
        /// Name for people.
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// List groups, with the one each stands below.
    List {
        #[command(flatten)]
        place: In,
    },
    /// Show one.
    Get {
        /// Name or id.
        group: String,
        #[command(flatten)]
        place: In,
    },
    /// Give one another name for people.
    Rename {
        /// Name or id.
        group: String,
        /// Name for people.
        display_name: String,
        #[command(flatten)]
        place: In,
    },
    /// Put one below another, or at the top.
    Move {
        /// Name or id.
        group: String,
        #[command(flatten)]
        place: In,
        /// The group to stand below.
        #[arg(long, value_name = "GROUP", required_unless_present = "top", conflicts_with = "top")]
        below: Option<String>,
        /// At the top.
        #[arg(long)]
        top: bool,
    },
    /// Delete one, below which no group stands and to which no role is given.
    Delete {
        /// Name or id.
        group: String,
        #[command(flatten)]
        place: In,
    },
    /// List everybody who counts as a member of one, and why.
    Members {
        /// Name or id.
        group: String,
        #[command(flatten)]
        place: In,
    },
    /// Put somebody with access to the workspace into one.
    Add {
        /// Name or id.
        group: String,
        /// E-mail address or user id.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        place: In,
    },
    /// Take somebody out of one.
    Remove {
        /// Name or id.
        group: String,
        /// E-mail address or user id.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        place: In,
    },
}

/// In which workspace, or in which project of it.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Within {
    #[command(flatten)]
    pub(crate) place: In,
    /// In this project (name or id) and those below it; in the whole workspace when absent.
    #[arg(short, long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
}

/// What a role allows: one rule by options, or any number from a file.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Rules {
    /// A verb, such as get; may be repeated.
    #[arg(long = "verb", value_name = "VERB", required_unless_present = "file")]
    pub(crate) verbs: Vec<String>,
    /// A resource, such as pods or pods/log; may be repeated.
    #[arg(long = "resource", value_name = "RESOURCE", required_unless_present = "file")]
    pub(crate) resources: Vec<String>,
    /// An API group, such as apps; may be repeated [default: the core group].
    #[arg(long = "api-group", value_name = "GROUP")]
    pub(crate) api_groups: Vec<String>,
    /// Only objects of this name; may be repeated.
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// A YAML file with rules, or a Role as Kubernetes has it; - for standard input.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["verbs", "resources", "api_groups", "names"])]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Make a role, with your own rights in the workspace.
    Create {
        /// Lower-case letters, digits and hyphens.
        name: String,
        #[command(flatten)]
        within: Within,
        #[command(flatten)]
        rules: Rules,
    },
    /// List roles that groups can be given.
    List {
        #[command(flatten)]
        within: Within,
    },
    /// Show one with its rules.
    Get {
        /// Name or id.
        role: String,
        #[command(flatten)]
        within: Within,
    },
    /// Give one other rules.
    Update {
        /// Name or id.
        role: String,
        #[command(flatten)]
        within: Within,
        #[command(flatten)]
        rules: Rules,
    },
    /// Delete one that is given to no group.
    Delete {
        /// Name or id.
        role: String,
        #[command(flatten)]
        within: Within,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Access {
    /// Give a role to a group.
    Grant {
        /// The role: workspace-editor, a custom role's name; in a project view, edit or admin.
        role: String,
        /// The group: name or id.
        group: String,
        #[command(flatten)]
        within: Within,
        /// How long it holds, such as 8h; for good when absent.
        #[arg(long = "for", value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
        time: Option<Duration>,
    },
    /// Take a role away from a group.
    Revoke {
        /// Id of what was given: see `hxb access list`.
        #[arg(value_name = "ID")]
        assignment: String,
        #[command(flatten)]
        place: In,
    },
    /// List which group has which role.
    List {
        #[command(flatten)]
        place: In,
    },
    /// Tell whether somebody may do something inside the workspace, and why.
    Explain {
        /// A verb, such as delete.
        verb: String,
        /// A resource, such as pods, deployments.apps or pods/log.
        resource: String,
        /// The object's name.
        name: Option<String>,
        #[command(flatten)]
        place: In,
        /// The namespace; all of them when absent.
        #[arg(short, long)]
        namespace: Option<String>,
        /// Whom it is about: e-mail address or user id; you when absent.
        #[arg(long, value_name = "EMAIL|USER")]
        user: Option<String>,
    },
    /// Tell who may do something inside the workspace, by the roles that are given here; who was bound inside it by other
    /// means is not told.
    WhoCan {
        /// A verb, such as delete.
        verb: String,
        /// A resource, such as pods, deployments.apps or pods/log.
        resource: String,
        /// The object's name.
        name: Option<String>,
        #[command(flatten)]
        place: In,
        /// The namespace; all of them when absent.
        #[arg(short, long)]
        namespace: Option<String>,
    },
}
