//! What was found: a status per step, the tenant's endpoint, the projects' phases.

use std::time::Duration;

use hexabase_core::ids::ProjectId;
use hexabase_core::phases::{ProjectPhase, WorkspaceStep};
use hexabase_core::quota::Amounts;

/// The workspace as one call of [`Host::reconcile`](crate::Host::reconcile) left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Every step, in order. A project that is not yet where it should be keeps only the last step waiting: the
    /// workspace itself is usable as soon as `Access` is done.
    pub steps: Vec<StepStatus>,
    /// Where the tenant's API server answers, once it does.
    pub tenant: Option<TenantEndpoint>,
    /// The phase of every desired project; `Deleted` when nothing of an absent one is left. Empty until the tenant's API
    /// server answers.
    pub projects: Vec<(ProjectId, ProjectPhase)>,
    /// Done once every role and binding in its projects is as desired, whatever else of them is not there yet: before that,
    /// somebody may have a right there that was taken away.
    pub project_rights: Progress,
    /// What is used in it, as the host counts it while the control plane runs.
    pub used: Option<Amounts>,
    /// Done once no pod of it is on a node that it is to leave; `None` while that cannot be known.
    pub moved: Option<Progress>,
    /// Whether what is used fits into the smaller limits that were asked for, once that is known.
    pub fit: Option<Fit>,
    /// Who else on the host goes on writing into its control plane, which is left as it is for now. That keeps nobody out of it.
    pub contested: Option<String>,
    /// Its control plane, if that is up and may still use what only its start needs: for [`Host::bind`](crate::Host::bind).
    pub unbound: Option<Unbound>,
}

/// The pod of a control plane that may use more than it is to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbound {
    pub(crate) pod: String,
    pub(crate) uid: String,
}

impl Observed {
    /// The first step that is not done, with the reason and when to look again.
    pub fn waiting(&self) -> Option<(WorkspaceStep, &str, Duration)> {
        self.steps.iter().find_map(|status| match &status.progress {
            Progress::Done => None,
            Progress::Wait { reason, after } => Some((status.step, reason.as_str(), *after)),
        })
    }

    /// Whether every step up to and including `step` is done.
    pub fn is_done(&self, step: WorkspaceStep) -> bool {
        let mut upto = self.steps.iter().filter(|status| status.step <= step);
        upto.clone().any(|status| status.step == step) && upto.all(|status| status.progress == Progress::Done)
    }

    /// Whether `step` itself is done, whatever became of those before it.
    pub fn has_done(&self, step: WorkspaceStep) -> bool {
        self.steps.iter().any(|status| status.step == step && status.progress == Progress::Done)
    }

    /// Whether all of its people's rights are true, so that nobody has to be kept out of it.
    pub(crate) fn is_open(&self) -> bool {
        self.has_done(WorkspaceStep::Access) && self.project_rights == Progress::Done
    }
}

/// How far a workspace is that goes to sleep, as one call of [`Host::rest`](crate::Host::rest) left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Done once nothing of it runs that is not to run.
    pub stopped: Progress,
    /// Done while everything that it keeps on the host is as it should be.
    pub kept: Progress,
    /// As [`Observed::fit`]; what is stopped is out of the way once it is no longer counted.
    pub fit: Option<Fit>,
}

/// Whether a workspace can do with less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// No more is used, and the host lets in nothing beyond it.
    Fits,
    /// More is used: what and how much, in the tenant's terms. Not by whom, which is not for all who see the workspace.
    Exceeds(String),
}

/// How far one step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepStatus {
    /// The step.
    pub step: WorkspaceStep,
    /// How far it is.
    pub progress: Progress,
}

/// Done, or what is missing and when to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// As desired.
    Done,
    /// Not yet.
    Wait {
        /// Names the object and Kubernetes' own reason; meant for people.
        reason: String,
        /// When to look again.
        after: Duration,
    },
}

impl Progress {
    /// Both: the first reason, and the shorter time.
    #[must_use]
    pub(crate) fn and(self, next: Self) -> Self {
        match (self, next) {
            (Self::Wait { reason, after }, Self::Wait { after: other, .. }) => {
                Self::Wait { reason, after: after.min(other) }
            }
            (Self::Done, next) => next,
            (first, Self::Done) => first,
        }
    }

    pub(crate) fn wait(millis: u64, reason: impl Into<String>) -> Self {
        Self::Wait { reason: reason.into(), after: Duration::from_millis(millis) }
    }
}

/// Where a tenant's API server answers and how to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantEndpoint {
    /// Address or name to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// Name in the server's certificate.
    pub server_name: String,
    /// The tenant's own certificate authority.
    pub ca_pem: String,
}
