//! What a workspace is to look like: checked values only, so that building objects from them cannot fail.

use hexabase_core::ids::{OrganizationId, ProjectId, WorkspaceId};
use hexabase_core::names::{GroupName, ProjectName, RoleName};
use hexabase_core::nodes::NodeName;
use hexabase_core::plans::{KubernetesVersion, Limits};
use hexabase_core::projects::{NetworkIsolation, PodSecurity, ProjectLabels};
use hexabase_core::quota::Amounts;
use hexabase_core::roles::{ClusterRoleRef, ProjectRoleRef, Rule};
use hexabase_core::time::Timestamp;
use secrecy::SecretString;

use crate::settings::HostSettings;

/// A workspace as the database wants it.
#[derive(Debug, Clone)]
pub struct DesiredWorkspace {
    /// The workspace.
    pub id: WorkspaceId,
    /// Whom it belongs to; a label on the host. Nobody yet, where it is made ahead.
    pub organization: Option<OrganizationId>,
    /// Grows with every lease on the workspace: a worker with a lower one than the host has seen is refused.
    pub fence: i64,
    /// What its projects may use together.
    pub limits: Limits,
    /// What these are to become, if less was asked for: until it is known to be enough for what there is, the host lets in no more
    /// than both give.
    pub smaller: Option<Limits>,
    /// The release of Kubernetes in it; that of the settings when absent.
    pub kubernetes: Option<KubernetesVersion>,
    /// Which tokens its API server trusts.
    pub authentication: Authentication,
    /// A token of that issuer for nobody in particular, of this moment. `Access` is done only once the API server believes
    /// it; without one nothing is proven.
    pub proof: Option<SecretString>,
    /// Groups with a role in the whole workspace. Bindings of the platform that are not listed are deleted.
    pub cluster_roles: Vec<(GroupName, ClusterRoleRef)>,
    /// Custom roles of the whole workspace that the tenant accepted. ClusterRoles of the platform that are not listed are
    /// deleted.
    pub custom_roles: Vec<CustomRole>,
    /// Its projects, those to be removed included.
    pub projects: Vec<DesiredProject>,
    /// On which nodes of the host its pods run.
    pub placement: Placement,
}

impl DesiredWorkspace {
    /// The tag of the image of Kubernetes in it.
    pub(crate) fn kubernetes_tag(&self, settings: &HostSettings) -> String {
        self.kubernetes.map_or_else(|| settings.kubernetes_tag.clone(), |version| version.to_string())
    }

    /// The value of the label and the taint of its own nodes, if its pods run there.
    pub(crate) fn pool(&self) -> Option<&str> {
        self.placement.dedicated.then_some(self.id.as_str())
    }

    /// What of it is applied to the host.
    pub(crate) fn on_host(&self) -> OnHost {
        // All are named, so that whoever adds one says whether it belongs here. What differs with every look does not.
        let Self {
            id: _,
            organization,
            fence: _,
            limits,
            smaller,
            kubernetes,
            authentication,
            proof: _,
            cluster_roles: _,
            custom_roles: _,
            projects,
            placement: Placement { dedicated, own: _, leaving: _, moves: _, insists: _, hurries: _ },
        } = self;
        OnHost {
            organization: organization.clone(),
            limits: limits.clone(),
            smaller: smaller.clone(),
            kubernetes: *kubernetes,
            authentication: authentication.clone(),
            projects: projects.clone(),
            dedicated: *dedicated,
        }
    }
}

/// What of a workspace decides what is applied to the host for it: where two are equal, so is what is applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OnHost {
    organization: Option<OrganizationId>,
    limits: Limits,
    smaller: Option<Limits>,
    kubernetes: Option<KubernetesVersion>,
    authentication: Authentication,
    /// With what is of the tenant's inside only: to apply too often harms nobody.
    projects: Vec<DesiredProject>,
    dedicated: bool,
}

/// On which nodes of the host the pods of a workspace run, but for its control plane, whose nodes are always shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// On its own only; else on those that workspaces share.
    pub dedicated: bool,
    /// Every node that it has, those that it gives back among them. While `dedicated`, a pod on any other one is in the wrong place,
    /// whatever that node says of itself.
    pub own: Vec<NodeName>,
    /// Own nodes that its pods are to leave.
    pub leaving: Vec<NodeName>,
    /// Whether it has or had nodes of its own: only then pods are looked for that are on the wrong ones.
    pub moves: bool,
    /// Set once its pods were asked to move so long ago that budgets of disruption hold them no more: the moment that long ago. A
    /// pod that was made before it and is not ready holds up no other one, nor does one that has been ending since before it.
    pub insists: Option<Timestamp>,
    /// Set once its pods were asked to move so long ago that none which is not ready holds up another one: something may make such
    /// pods anew for ever.
    pub hurries: bool,
}

/// What becomes of a workspace's pods while its control plane sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workloads {
    /// They end, with the grace that each asks for, but at most a minute. What made them inside makes them again when the
    /// workspace wakes; a pod that nothing made is gone.
    Stop,
    /// They go on, and nobody tends them.
    Stay,
}

/// The issuer whose tokens the tenant API server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Equal to the tokens' `iss`; `https`.
    pub issuer_url: String,
    /// Where the tenant API server finds the discovery document, when the issuer's own address cannot be reached from
    /// inside the host. The document's `jwks_uri` has to be reachable at the same host and port.
    pub discovery_url: Option<String>,
    /// The only accepted `aud`.
    pub audience: String,
    /// Certificates that vouch for the issuer's TLS, in PEM; without them the image's own roots.
    pub ca_pem: Option<String>,
}

/// A project as the database wants it: one namespace of the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredProject {
    /// The project; its namespace carries it as a label. One with another's, or that the platform did not make, is not touched.
    pub id: ProjectId,
    /// The namespace.
    pub name: ProjectName,
    /// False: the namespace is to be gone.
    pub present: bool,
    /// What its namespace may use: its share without what projects below it were given of that.
    pub limits: Amounts,
    /// What people wrote on it; labels of the namespace.
    pub labels: ProjectLabels,
    /// Which pods Kubernetes lets in.
    pub pod_security: PodSecurity,
    /// Whom its pods can talk to in the workspace.
    pub network: NetworkIsolation,
    /// Groups with a role in it. Bindings of the platform that are not listed are deleted.
    pub grants: Vec<ProjectGrant>,
    /// Custom roles in it that the tenant accepted. Roles of the platform that are not listed are deleted.
    pub custom_roles: Vec<CustomRole>,
}

/// A role of a group in one project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProjectGrant {
    /// Who.
    pub group: GroupName,
    /// May do what.
    pub role: ProjectRoleRef,
}

/// A role that somebody of the workspace made. One that was never accepted is none: here it would be made with the
/// platform's rights, and what already bears its name has to go, because Kubernetes judges nobody who asks for what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomRole {
    /// Its name.
    pub name: RoleName,
    /// What the tenant accepted from whoever made it.
    pub rules: Vec<Rule>,
}
