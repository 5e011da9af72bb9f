//! Plans.

use hexabase_core::nodes::NodeClass;
use hexabase_core::plans::StoreKind;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What a workspace may use and what it costs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// Readable, stable name.
    #[schema(example = "standard")]
    pub id: String,
    /// The version that new workspaces get; those that are there keep theirs.
    #[serde(default = "first")]
    pub version: u32,
    /// Name for people.
    pub display_name: String,
    /// What a workspace may use, over all its projects.
    pub limits: Limits,
    /// Price of a workspace per month, in minor units of the currency.
    pub price_minor: i64,
    /// ISO 4217 code.
    #[schema(example = "USD")]
    pub currency: String,
    /// Whether a workspace can have nodes of its own: its node class is `dedicated`.
    pub dedicated_nodes: bool,
    /// On which nodes of the host a workspace can run: `shared`, or `dedicated` as well.
    #[serde(default = "shared")]
    #[schema(value_type = String, example = "dedicated")]
    pub node_class: NodeClass,
    /// How many nodes of its own a workspace can have.
    #[serde(default)]
    pub max_nodes: u32,
    /// The release of Kubernetes in its workspaces; the installation's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "v1.35.4")]
    pub kubernetes: Option<String>,
    /// After how many minutes without use a new workspace falls asleep, until it is given another rule; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep_after_minutes: Option<u32>,
    /// What the control plane of a workspace keeps its objects in; it stays for the workspace's life.
    #[serde(default = "sqlite")]
    #[schema(value_type = String, example = "sqlite")]
    pub store: StoreKind,
}

/// The first version of every plan, before there were others.
pub(crate) fn first() -> u32 {
    1
}

fn shared() -> NodeClass {
    NodeClass::Shared
}

fn sqlite() -> StoreKind {
    StoreKind::Sqlite
}

/// What a workspace may use. Amounts are Kubernetes quantities.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// CPU.
    #[schema(example = "4")]
    pub cpu: String,
    /// Memory.
    #[schema(example = "8Gi")]
    pub memory: String,
    /// Storage of volume claims.
    #[schema(example = "50Gi")]
    pub storage: String,
    /// Pods.
    pub pods: u32,
    /// Services.
    #[serde(default)]
    pub services: u32,
    /// Services that are reached from outside.
    #[serde(default)]
    pub load_balancers: u32,
    /// Claims of volumes.
    #[serde(default)]
    pub persistent_volume_claims: u32,
    /// Secrets, and as many ConfigMaps.
    #[serde(default)]
    pub objects: u32,
    /// Projects.
    pub projects: u32,
    /// People with access; service accounts do not count.
    pub members: u32,
    /// Living workspaces of one organisation under this plan.
    pub workspaces: u32,
}

/// What the cost of a choice is asked for.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EstimateQuery {
    /// Id of a plan.
    pub plan: String,
    /// Id of a workspace of the organisation that is to come under the plan; without it, one more workspace is meant.
    pub workspace: Option<String>,
}

/// What a choice would cost.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// The plan, in the version that the workspace would have.
    pub plan: Plan,
    /// What all workspaces of the organisation cost per month now, by currency.
    pub now: Vec<Price>,
    /// What they would cost per month.
    pub then: Vec<Price>,
    /// How many workspaces the organisation would have under this plan, of which it may have `limits.workspaces`.
    pub workspaces: u64,
}

/// An amount of money per month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Price {
    /// In minor units of the currency.
    pub price_minor: i64,
    /// ISO 4217 code.
    #[schema(example = "USD")]
    pub currency: String,
}

impl From<hexabase_core::plans::Price> for Price {
    fn from(price: hexabase_core::plans::Price) -> Self {
        Self { price_minor: price.amount_minor, currency: price.currency }
    }
}

impl From<hexabase_core::plans::Limits> for Limits {
    fn from(limits: hexabase_core::plans::Limits) -> Self {
        let hexabase_core::plans::Limits { amounts, projects, members, workspaces } = limits;
        Self {
            cpu: amounts.cpu.to_string(),
            memory: amounts.memory.to_string(),
            storage: amounts.storage.to_string(),
            pods: amounts.pods,
            services: amounts.services,
            load_balancers: amounts.load_balancers,
            persistent_volume_claims: amounts.persistent_volume_claims,
            objects: amounts.objects,
            projects,
            members,
            workspaces,
        }
    }
}

impl From<hexabase_core::plans::Plan> for Plan {
    fn from(plan: hexabase_core::plans::Plan) -> Self {
        let node_class = plan.node_class();
        Self {
            id: plan.id,
            version: plan.version,
            display_name: plan.display_name,
            limits: plan.limits.into(),
            price_minor: plan.price.amount_minor,
            currency: plan.price.currency,
            dedicated_nodes: node_class == NodeClass::Dedicated,
            node_class,
            max_nodes: plan.max_nodes,
            kubernetes: plan.kubernetes.map(|version| version.to_string()),
            sleep_after_minutes: plan.sleep_after_minutes,
            store: plan.store,
        }
    }
}
