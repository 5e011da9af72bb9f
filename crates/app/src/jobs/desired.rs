//! What a workspace is to look like, from its row and its neighbours.

use hexabase_backends::store::jobs::Claim;
use hexabase_backends::store::projects::{self, Project};
use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::roles::{self, Role};
use hexabase_backends::store::workspaces::Workspace;
use hexabase_backends::store::{Db, MAX_PAGE, groups, plans};
use hexabase_core::groups::GroupNode;
use hexabase_core::ids::{GroupId, ProjectId, WorkspaceId};
use hexabase_core::names::{GroupName, RoleName};
use hexabase_core::plans::Plan;
use hexabase_core::quota::Amounts;
use hexabase_core::roles::{ClusterRoleRef, ProjectRoleRef, RolePhase};
use hexabase_core::time::Timestamp;
use hexabase_reconcile::{Authentication, CustomRole, DesiredProject, DesiredWorkspace, Placement, ProjectGrant};

use super::custom_roles::Pending;
use super::nodes;
use crate::context::App;
use crate::error::{Error, Result};
use crate::issuer::{self, Realm};
use crate::projects::{chain, is_wanted, within};
use crate::quota;
use crate::workspaces::DEFAULT_ROLES;

/// A workspace as its rows want it at one moment.
pub(super) struct Wanted {
    pub(super) desired: DesiredWorkspace,
    /// The moment.
    pub(super) at: Timestamp,
    /// Whether roles are still noted whose time is over.
    pub(super) expired: bool,
    /// When a role that is given now ends next.
    pub(super) next_expiry: Option<Timestamp>,
    /// Custom roles that are still to be made.
    pub(super) pending: Vec<Pending>,
}

/// Everything the row and its neighbours say about the workspace, in types that need no more checking.
pub(super) async fn wanted(app: &App, claim: &Claim, row: &Workspace) -> Result<Wanted> {
    let at = app.clock.now();
    let plan = plans::get_version(&app.store, &row.plan_id, row.plan_version).await?;
    let plan = plan.ok_or_else(|| Error::internal("the plan's row is missing"))?;
    let nodes = groups::nodes_for_issuer(&app.store, &row.id).await?;
    let mut given = role_assignments::all_for_job(&app.store, &row.id).await?;
    let all = given.len();
    given.retain(|given| given.holds(at));
    let expired = given.len() < all;
    let roles = roles::list_for_job(&app.store, &row.id).await?;
    let projects = projects::list_for_job(&app.store, &row.id, None, MAX_PAGE).await?;
    let rights = Rights { nodes: &nodes, given: &given, roles: &roles, projects: &projects };
    let ledger = quota::ledger(&plan.limits.amounts, &projects);
    let smaller = match row.wanted_plan() {
        Some(wish) => {
            let wished = plans::get_version(&app.store, &wish.plan, wish.version).await?;
            Some(wished.ok_or_else(|| Error::internal("the row of the plan that was asked for is missing"))?.limits)
        }
        None => None,
    };
    let desired = DesiredWorkspace {
        id: row.id.clone(),
        organization: Some(row.organization_id.clone()),
        fence: claim.epoch,
        limits: plan.limits,
        smaller,
        kubernetes: plan.kubernetes,
        authentication: authentication(app, &row.id),
        proof: Some(issuer::proof(app, &row.id)?),
        cluster_roles: rights.cluster_roles(),
        custom_roles: rights.custom_roles(None),
        projects: projects.iter().map(|project| rights.project(project, ledger.left(Some(&project.id)))).collect(),
        placement: nodes::as_it_is(row),
    };
    let next_expiry = given.iter().filter_map(|given| given.expires_at).min();
    let of = |id: &ProjectId| within(&projects, id).into_iter().cloned().collect();
    let pending = roles.iter().filter(|role| role.phase == RolePhase::Pending);
    let place =
        |role: &Role| Pending { role: role.clone(), places: role.project_id.as_ref().map(of).unwrap_or_default() };
    let pending = pending.map(place).collect();
    Ok(Wanted { desired, at, expired, next_expiry, pending })
}

/// The plan under which workspaces are made ahead: the first that can be chosen and has the installation's own Kubernetes.
/// While there is none, nobody can be given such a workspace.
pub(super) async fn plan_of_spares(db: &impl Db) -> Result<Option<Plan>> {
    Ok(plans::list_active(db).await?.into_iter().find(|plan| plan.kubernetes.is_none()))
}

/// A workspace that is made ahead: nobody's, with what every workspace begins with, under the first plan until somebody
/// chooses one. Its issuer is none as long as it is nobody's, so that nothing has to be proven. `None` where there is no such
/// plan.
pub(super) async fn spare(app: &App, claim: &Claim, id: &WorkspaceId) -> Result<Option<DesiredWorkspace>> {
    let Some(plan) = plan_of_spares(&app.store).await? else { return Ok(None) };
    let given = |group: &str, role| Ok::<_, Error>((group.parse::<GroupName>()?, ClusterRoleRef::Preset(role)));
    Ok(Some(DesiredWorkspace {
        id: id.clone(),
        organization: None,
        fence: claim.epoch,
        limits: plan.limits,
        smaller: None,
        // The installation's own, by which it is known: a plan with another one is given none that was made ahead.
        kubernetes: None,
        authentication: authentication(app, id),
        proof: None,
        cluster_roles: DEFAULT_ROLES.iter().map(|(group, role)| given(group, *role)).collect::<Result<_>>()?,
        custom_roles: Vec::new(),
        projects: Vec::new(),
        placement: Placement::default(),
    }))
}

fn authentication(app: &App, id: &WorkspaceId) -> Authentication {
    let realm = Realm::Workspace(id.clone());
    let cluster_url = app.settings.cluster_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    Authentication {
        issuer_url: realm.issuer(&app.settings),
        discovery_url: cluster_url.map(|url| format!("{url}/oidc/{realm}/.well-known/openid-configuration")),
        audience: id.to_string(),
        ca_pem: app.settings.authority_pem.clone(),
    }
}

/// Who has been given what.
struct Rights<'a> {
    nodes: &'a [GroupNode],
    given: &'a [RoleAssignment],
    roles: &'a [Role],
    projects: &'a [Project],
}

impl Rights<'_> {
    fn group(&self, id: &GroupId) -> Option<GroupName> {
        self.nodes.iter().find(|node| node.id == *id).map(|node| node.name.clone())
    }

    fn cluster_roles(&self) -> Vec<(GroupName, ClusterRoleRef)> {
        let whole = self.given.iter().filter(|given| given.project_id.is_none());
        let known: Vec<CustomRole> = self.custom_roles(None);
        whole
            .filter_map(|given| Some((self.group(&given.group_id)?, given.role.parse().ok()?)))
            .filter(|(_, role)| match role {
                ClusterRoleRef::Preset(_) => true,
                ClusterRoleRef::Custom(name) => is_accepted(&known, name),
            })
            .collect()
    }

    /// The custom roles of the whole workspace, or those that hold in a project: its own and those of the projects above. Of
    /// each what was accepted: one that never was does not hold anywhere.
    fn custom_roles(&self, project: Option<&ProjectId>) -> Vec<CustomRole> {
        let above = project.map(|project| chain(self.projects, project));
        let here = |role: &&Role| match (&role.project_id, &above) {
            (None, None) => true,
            (Some(id), Some(above)) => above.iter().any(|project| project.id == *id),
            _ => false,
        };
        let custom = |role: &Role| Some(CustomRole { name: role.name.clone(), rules: role.accepted.clone()? });
        self.roles.iter().filter(here).filter_map(custom).collect()
    }

    /// A project, of whose share this is left for its own namespace.
    fn project(&self, row: &Project, limits: Amounts) -> DesiredProject {
        let custom_roles = self.custom_roles(Some(&row.id));
        let above = chain(self.projects, &row.id);
        let holds = |given: &&RoleAssignment| {
            given.project_id.as_ref().is_some_and(|id| above.iter().any(|project| project.id == *id))
        };
        let grant = |given: &RoleAssignment| {
            Some(ProjectGrant { group: self.group(&given.group_id)?, role: given.role.parse().ok()? })
        };
        let bound = |grant: &ProjectGrant| match &grant.role {
            ProjectRoleRef::Preset(_) => true,
            ProjectRoleRef::Custom(name) => is_accepted(&custom_roles, name),
        };
        DesiredProject {
            id: row.id.clone(),
            name: row.name.clone(),
            present: is_wanted(row),
            limits,
            labels: row.labels.clone(),
            pod_security: row.pod_security,
            network: row.network,
            grants: self.given.iter().filter(holds).filter_map(grant).filter(bound).collect(),
            custom_roles,
        }
    }
}

/// A role that nobody has accepted is bound to nobody: whatever bears its name meanwhile was not made by us.
fn is_accepted(known: &[CustomRole], name: &RoleName) -> bool {
    known.iter().any(|role| role.name == *name)
}
