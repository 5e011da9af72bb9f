//! The verbs of each noun.

use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Org {
    /// List the organisations you are in.
    List,
    /// Show one.
    Get {
        /// Name or id; the only one or your own when absent.
        org: Option<String>,
    },
    /// Make a new one.
    Create {
        /// Name for people.
        name: String,
    },
    /// Show what all of its workspaces may use together, and how much of it is left.
    Quota {
        /// Name or id; the only one or your own when absent.
        org: Option<String>,
    },
    /// List its people.
    Members {
        /// Name or id; the only one or your own when absent.
        org: Option<String>,
    },
    /// Give one another name.
    Rename {
        /// Name or id.
        org: String,
        /// The new name.
        name: String,
    },
    /// Delete one that has no workspaces.
    Delete {
        /// Name or id.
        org: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Hand one over: the other becomes an admin, you become a member.
    Transfer {
        /// Name or id.
        org: String,
        /// E-mail address or user id of a member.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
    },
    /// Leave one, and every workspace of it.
    Leave {
        /// Name or id.
        org: String,
    },
    /// Its people: list them, give them roles, take them out.
    #[command(subcommand)]
    Member(OrgMember),
}

#[derive(Debug, Subcommand)]
pub(crate) enum OrgMember {
    /// List people.
    List {
        #[command(flatten)]
        of: Of,
        /// Only those in whose name or address this text is.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Give a person another role.
    Role {
        /// E-mail address or user id.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        /// What the person may do.
        #[arg(value_enum)]
        role: Role,
        #[command(flatten)]
        of: Of,
    },
    /// Take a person out of the organisation and all of its workspaces.
    Remove {
        /// E-mail address or user id.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Of {
    /// Name or id of the organisation; the only one or your own when absent.
    #[arg(long, value_name = "ORG")]
    pub(crate) org: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Settings, people, billing, and every workspace.
    Admin,
    /// May be put into workspaces.
    #[default]
    Member,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum MailLanguage {
    /// English.
    #[default]
    En,
    /// Japanese.
    Ja,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Invitation {
    /// Invite a person by address, whether or not they have ever signed in.
    Create {
        /// E-mail address.
        email: String,
        #[command(flatten)]
        of: Of,
        /// What the person will be able to do in the organisation.
        #[arg(long, value_enum, default_value_t)]
        role: Role,
        /// A workspace that the person will have access to, and the groups of it; may be repeated [default group: WSUsers].
        #[arg(long = "workspace", short, value_name = "WORKSPACE[:GROUP,…]")]
        workspaces: Vec<String>,
        /// Language of the mail.
        #[arg(long, value_enum, default_value_t)]
        language: MailLanguage,
    },
    /// List invitations.
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Send one again, with a new link.
    Resend {
        /// E-mail address or id of the invitation.
        #[arg(value_name = "EMAIL|ID")]
        invitation: String,
        #[command(flatten)]
        of: Of,
    },
    /// Take one back.
    Revoke {
        /// E-mail address or id of the invitation.
        #[arg(value_name = "EMAIL|ID")]
        invitation: String,
        #[command(flatten)]
        of: Of,
    },
    /// Accept one; its code is asked for, or read from standard input.
    Accept,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// List them; the first one gives your name and address. Others are linked on the server's page, in a browser.
    List,
    /// Take one away; the last one stays.
    Unlink {
        /// Its id, or the id of its provider if you have one identity there.
        #[arg(value_name = "ID|PROVIDER")]
        identity: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plan {
    /// List the plans.
    List,
    /// Show what a plan allows.
    Get {
        /// Id of the plan.
        plan: String,
    },
    /// Say what one more workspace under a plan would cost, or one that is there under another plan.
    Estimate {
        /// Id of the plan.
        plan: String,
        /// Name or id of the organisation; the only one or your own when absent.
        #[arg(long)]
        org: Option<String>,
        /// The workspace that is to come under the plan: NAME, ORG/NAME or id.
        #[arg(long, short, value_name = "WORKSPACE")]
        workspace: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workspace {
    /// Make a workspace.
    Create {
        /// Lower-case letters, digits and hyphens.
        name: String,
        /// Id of a plan: see `hxb plan list`.
        #[arg(long)]
        plan: String,
        /// Name or id of the organisation; the only one or your own when absent.
        #[arg(long)]
        org: Option<String>,
        /// Wait until it can be used (the default).
        #[arg(long, overrides_with = "no_wait")]
        wait: bool,
        /// Return at once.
        #[arg(long, overrides_with = "wait")]
        no_wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// List workspaces.
    List {
        /// Only those of this organisation (name or id).
        #[arg(long)]
        org: Option<String>,
    },
    /// Show one.
    Get {
        /// NAME, ORG/NAME or id.
        workspace: String,
    },
    /// Delete one, and everything in it.
    Delete {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
        /// For how long it can be restored, such as 2h, in whole minutes [default: 1h, but 0s with --yes or --wait].
        #[arg(long, value_name = "TIME", value_parser = duration)]
        grace: Option<Duration>,
        /// Wait until nothing of it is left.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Put one under another plan, or the newest version of its own; it goes on running.
    SetPlan {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// Id of a plan: see `hxb plan list`.
        plan: String,
    },
    /// Show what its plan allows, and how much of it is left.
    Quota {
        /// NAME, ORG/NAME or id.
        workspace: String,
    },
    /// Nodes that are kept for one workspace alone.
    #[command(subcommand)]
    Nodes(Nodes),
    /// Take the deletion of one back, while it can still be undone.
    Restore {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// Wait until it can be used.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Put one to sleep: nothing of it runs until somebody uses it.
    Sleep {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// Wait until it is asleep.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Wake one ahead of its use; kubectl wakes it as well.
    Wake {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// Wait until it can be used.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Say when one sleeps by itself, in the place of what was said before; never, without options.
    SleepRule {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// After so much time without use, such as 30m.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        after: Option<Duration>,
        /// At this time of every day, in UTC.
        #[arg(long, value_name = "HH:MM")]
        at: Option<String>,
        /// Wake it at this time of every day, in UTC.
        #[arg(long, value_name = "HH:MM")]
        wake_at: Option<String>,
        /// Let its pods go on while its control plane sleeps.
        #[arg(long)]
        keep_workloads: bool,
    },
    /// Wait for one, showing each step.
    Wait {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// What to wait for.
        #[arg(long = "for", value_enum, default_value_t)]
        goal: Goal,
        #[command(flatten)]
        timeout: Timeout,
    },
    /// Show what Kubernetes noticed in one lately.
    Events {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// The namespace; all of them when absent.
        #[arg(short, long)]
        namespace: Option<String>,
    },
    /// Show what is used in one, beside what its plan gives.
    Usage {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// The namespace; all of them when absent.
        #[arg(short, long)]
        namespace: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Nodes {
    /// List them, and what keeps the workspace from being on them.
    List {
        /// NAME, ORG/NAME or id.
        workspace: String,
    },
    /// Say how many it is to have; 0 gives all of them back. Its pods are moved, its control plane stays on shared nodes.
    Set {
        /// NAME, ORG/NAME or id.
        workspace: String,
        /// As many as its plan gives at most.
        count: u32,
        /// Wait until they are there and all pods are where they are to be.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        timeout: Timeout,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// It can be used.
    #[default]
    Ready,
    /// Nothing of it runs.
    Asleep,
    /// Nothing of it is left.
    Deleted,
}

#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Timeout {
    /// How long to wait at most, such as 90s or 5m.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub(crate) timeout: Duration,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    parsed.ok_or_else(|| "write a time such as 90s, 5m or 1h".to_owned())
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct In {
    /// The workspace: NAME, ORG/NAME or id.
    #[arg(short, long, value_name = "WORKSPACE")]
    pub(crate) workspace: String,
}

/// A share of the plan.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Quota {
    /// CPU, such as 2 or 500m.
    #[arg(long)]
    pub(crate) cpu: Option<String>,
    /// Memory, such as 4Gi.
    #[arg(long)]
    pub(crate) memory: Option<String>,
    /// Storage of volume claims, such as 20Gi.
    #[arg(long)]
    pub(crate) storage: Option<String>,
    /// Pods.
    #[arg(long)]
    pub(crate) pods: Option<u32>,
    /// Services.
    #[arg(long)]
    pub(crate) services: Option<u32>,
    /// Services that are reached from outside.
    #[arg(long)]
    pub(crate) load_balancers: Option<u32>,
    /// Claims of volumes.
    #[arg(long)]
    pub(crate) volume_claims: Option<u32>,
    /// Secrets, and as many ConfigMaps.
    #[arg(long)]
    pub(crate) objects: Option<u32>,
}

/// Which pods are let into a project (Pod Security Standards).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Only pods that give up what they do not need.
    Restricted,
    /// Ordinary pods.
    Baseline,
}

/// Whom the pods of a project can talk to in its workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// Each other, the workspace's DNS and API server, and the public internet.
    Isolated,
    /// The pods of all projects that are open, too.
    Open,
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write a label as KEY=VALUE".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    /// Make a project.
    Create {
        /// Lower-case letters, digits and hyphens; also the namespace's name.
        name: String,
        #[command(flatten)]
        place: In,
        #[command(flatten)]
        quota: Quota,
        /// The project to stand below (name or id): the roles given there hold in this one too, and its share is one of that
        /// one's.
        #[arg(long, value_name = "PROJECT")]
        below: Option<String>,
        /// A label of its namespace; may be repeated.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// Which pods are let in [default: restricted].
        #[arg(long, value_enum)]
        pod_security: Option<Level>,
        /// Whom its pods can talk to in the workspace [default: isolated].
        #[arg(long, value_enum)]
        network: Option<Network>,
    },
    /// Give one another share, place, labels, Pod Security level or network.
    Update {
        /// Name or id.
        project: String,
        #[command(flatten)]
        place: In,
        #[command(flatten)]
        quota: Quota,
        /// The project to stand below (name or id).
        #[arg(long, value_name = "PROJECT", conflicts_with = "top")]
        below: Option<String>,
        /// Stand at the top.
        #[arg(long)]
        top: bool,
        /// A label to set; may be repeated.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// A label to take away; may be repeated.
        #[arg(long = "no-label", value_name = "KEY")]
        no_labels: Vec<String>,
        /// Which pods are let in; those that run stay.
        #[arg(long, value_enum)]
        pod_security: Option<Level>,
        /// Whom its pods can talk to in the workspace, those that run too.
        #[arg(long, value_enum)]
        network: Option<Network>,
    },
    /// List projects.
    List {
        #[command(flatten)]
        place: In,
    },
    /// Show one.
    Get {
        /// Name or id.
        project: String,
        #[command(flatten)]
        place: In,
    },
    /// Delete one, with its namespace and everything in it.
    Delete {
        /// Name or id.
        project: String,
        #[command(flatten)]
        place: In,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Give a person access.
    Add {
        /// E-mail address or user id of a person who has signed in before.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        place: In,
        /// Name of a group to put the person in; may be repeated [default: WSUsers].
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// List people with access.
    List {
        #[command(flatten)]
        place: In,
    },
    /// Take a person's access away; says which tokens inside the workspace that leaves.
    Remove {
        /// E-mail address or user id.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        place: In,
    },
    /// List the tokens of Kubernetes' service accounts that a person came by inside the workspace.
    Tokens {
        /// E-mail address, or the user id of somebody who is no member any more.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        place: In,
    },
    /// End those tokens: delete Secrets, make service accounts anew.
    RevokeTokens {
        /// E-mail address, or the user id of somebody who is no member any more.
        #[arg(value_name = "EMAIL|USER")]
        person: String,
        #[command(flatten)]
        place: In,
        /// Only in this namespace.
        #[arg(short, long)]
        namespace: Option<String>,
        /// Only of this service account there.
        #[arg(long, value_name = "NAME", requires = "namespace")]
        service_account: Option<String>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h 30s"), Ok(Duration::from_secs(3_630)));
        for bad in ["", "5", "-5m", "soon"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
