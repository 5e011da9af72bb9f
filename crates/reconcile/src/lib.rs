//! From a desired workspace to Kubernetes objects and back to a status. The only crate that sees kube.
//!
//! ```text
//! DesiredWorkspace ─► Host::reconcile ─► host: namespace ► limits ► authentication ► virtual cluster ► API server
//!                                        tenant:                                    access ► projects
//!                  ◄─ Observed (a status per step, the tenant's endpoint, the projects' phases)
//! Unbound          ─► Host::bind      ─► host: a control plane that is up keeps no more than it is to, nobody waits for that
//! DesiredWorkspace ─► Host::rest      ─► host: the same, and nothing of it runs          ─► Rest
//! an id, a fence   ─► Host::claim     ─► host: whether the namespace is the workspace's, and no newer attempt's
//! WantedNodes      ─► Host::settle_nodes ─► host: nodes of the workspace's own are marked, or handed back ─► FoundNodes
//! Removal          ─► Host::remove    ─► walks back; needs no tenant API ─► Receipt
//! a person's token ─► TenantUser      ─► tenant: what that person may do, roles made with that person's rights, tokens of
//!                                        ServiceAccounts listed and ended, pods, logs, events and usage looked at
//! a witness's one  ─► believes_token  ─► tenant: whether it has fetched the platform's keys since the witness is there
//! ```
//!
//! Invariants: every call reads state and may be repeated at any time by any worker that holds the newest fence; no call
//! waits for the cluster, it returns [`Progress::Wait`] with the reason and when to look again; nothing here sees the
//! store, a clock or the environment.
//!
//! To add a step: one file in `host/` or `tenant/` with a pure `build` and a `progress`, a variant in
//! [`WorkspaceStep`](hexabase_core::phases::WorkspaceStep), its place in `steps.rs`, a golden file.

mod apply;
mod connection;
mod desired;
mod error;
mod exact;
#[cfg(test)]
mod golden;
mod helm;
mod host;
mod labels;
mod ledger;
mod manifest;
mod moving;
mod nodes;
mod preflight;
mod receipt;
mod settings;
mod status;
mod steps;
mod tenant;
mod tenant_user;

pub use connection::Host;
pub use desired::{Authentication, CustomRole, DesiredProject, DesiredWorkspace, Placement, ProjectGrant, Workloads};
pub use error::ReconcileError;
pub use nodes::{FoundNodes, Holder, SeenNode, WantedNodes};
pub use preflight::Finding;
pub use receipt::{Inventory, Lasting, ObjectRef, Receipt, Removal, Removed};
pub use settings::{EndpointMode, HostSettings, Peer};
pub use status::{Fit, Observed, Progress, Rest, StepStatus, TenantEndpoint, Unbound};
pub use tenant::believes_token;
pub use tenant_user::{
    ClaimUsage, Listed, LogQuestion, MOST_LOG_BYTES, Missing, NamespaceUsage, PodUsage, ProjectUsage, Question,
    Renewed, RolePlace, SeenContainer, SeenEvent, SeenLine, SeenLog, SeenPod, ServiceUsage, TenantUser, TokenSecret,
    Told, Turn, Usage, Users, Verdict,
};
