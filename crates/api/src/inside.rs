//! What runs inside a workspace: pods, their logs, Kubernetes' events, and what is used.

use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which pods are wanted.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PodQuery {
    /// Those of one namespace; of all when absent, which takes the right to list them everywhere.
    pub namespace: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most items wanted, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// A pod.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How it stands, in the word that kubectl uses.
    #[schema(example = "CrashLoopBackOff")]
    pub status: String,
    /// How many of its containers are ready.
    pub ready: u32,
    /// How often its containers were started again, together.
    pub restarts: u32,
    /// Its containers.
    pub containers: Vec<PodContainer>,
    /// When it was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
}

/// A container of a pod.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PodContainer {
    /// Its name.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// `Running`, or what it waits for or how it ended, in Kubernetes' word.
    #[schema(example = "Running")]
    pub state: String,
}

/// What is wanted of a log.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PodLogQuery {
    /// The container, where the pod has several.
    pub container: Option<String>,
    /// The run before this one.
    pub previous: Option<bool>,
    /// Lines from the end, 1 to 5000; 200 when absent.
    #[param(minimum = 1, maximum = 5000)]
    pub tail_lines: Option<u32>,
    /// Only what was written in the last so many seconds.
    #[param(minimum = 1)]
    pub since_seconds: Option<u32>,
}

/// The end of a log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PodLog {
    /// Its lines, oldest first.
    pub lines: Vec<PodLogLine>,
    /// Whether it was cut off, because the lines that were asked for are longer than 1 MiB: the newest are missing then,
    /// and fewer are to be asked for.
    pub cut: bool,
}

/// A line of a log.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PodLogLine {
    /// When it was written.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// The line; what is no text in it is replaced.
    pub text: String,
}

/// Which of Kubernetes' events are wanted.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KubernetesEventQuery {
    /// Those of one namespace; of all when absent, which takes the right to list them everywhere.
    pub namespace: Option<String>,
    /// Those about objects of this kind, such as `Pod`.
    pub kind: Option<String>,
    /// Those about objects of this name.
    pub name: Option<String>,
}

/// What Kubernetes noticed lately; it forgets after an hour.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KubernetesEvents {
    /// At most 500, the newest first; of the first 5000 that Kubernetes tells.
    pub items: Vec<KubernetesEvent>,
    /// Whether there are more; ask for one namespace or object then.
    pub more: bool,
}

/// Something that Kubernetes noticed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KubernetesEvent {
    /// Its namespace.
    pub namespace: String,
    /// Kind of the object that it is about.
    #[schema(example = "Pod")]
    pub kind: String,
    /// Name of that object.
    pub name: String,
    /// Whether it is a warning.
    pub warning: bool,
    /// Why, in one word.
    #[schema(example = "BackOff")]
    pub reason: String,
    /// What, as a sentence.
    pub message: String,
    /// How often.
    pub count: u32,
    /// The first time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_at: Option<Timestamp>,
    /// The last time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_at: Option<Timestamp>,
}

/// Of what usage is wanted.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WorkspaceUsageQuery {
    /// Of one namespace; of all when absent, which takes the right to list pods everywhere.
    pub namespace: Option<String>,
}

/// What is used in a workspace, as the caller may see it there.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceUsage {
    /// All of it together.
    pub total: UsedAmounts,
    /// What the plan gives to the whole workspace.
    pub limits: UsageLimits,
    /// Each namespace in which something is.
    pub namespaces: Vec<NamespaceUsage>,
    /// Whether something in the workspace measures what pods use, and told it within three seconds; else only what they request is known.
    pub measured: bool,
    /// Why volume claims were not counted, in Kubernetes' words; absent when they were.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub claims_unread: Option<String>,
    /// Whether there is more than was counted.
    pub cut: bool,
}

/// What is used in a namespace.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamespaceUsage {
    /// The namespace.
    pub namespace: String,
    /// What is used there.
    pub used: UsedAmounts,
}

/// Amounts as Kubernetes quantities.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UsedAmounts {
    /// Pods that are not over.
    pub pods: u32,
    /// CPU that they request.
    #[schema(example = "1500m")]
    pub cpu_requested: String,
    /// CPU that they may use at most, which the plan bounds as well.
    #[schema(example = "4")]
    pub cpu_limited: String,
    /// Memory that they request.
    #[schema(example = "512Mi")]
    pub memory_requested: String,
    /// Memory that they may use at most, which the plan bounds as well.
    #[schema(example = "2Gi")]
    pub memory_limited: String,
    /// Storage that volume claims request.
    #[schema(example = "5Gi")]
    pub storage_requested: String,
    /// CPU that the pods use; absent where nothing measures it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu_used: Option<String>,
    /// Memory that they use; absent where nothing measures it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_used: Option<String>,
}

/// What a plan gives, as Kubernetes quantities.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UsageLimits {
    /// Pods.
    pub pods: u32,
    /// CPU.
    pub cpu: String,
    /// Memory.
    pub memory: String,
    /// Storage of volume claims.
    pub storage: String,
}
