//! Why a call could not be carried out at all. What merely takes time is no error but a [`Progress`](crate::Progress).

use hexabase_core::ids::OrganizationId;

/// Why [`Host`](crate::Host) could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Another worker has taken over with a higher fence: stop.
    #[error("the namespace {namespace} was last changed under fence {found}, this attempt carries {own}")]
    Fenced {
        /// The workspace's namespace on the host.
        namespace: String,
        /// The fence of this attempt.
        own: i64,
        /// The fence on the host.
        found: i64,
    },
    /// The namespace's name is taken by something that is not this workspace, or is another organization's. Nothing was
    /// changed.
    #[error(
        "the namespace {namespace} exists on the host and does not say that it belongs to this workspace and to this organization"
    )]
    NotOurs {
        /// The namespace.
        namespace: String,
        /// The other organization whose it is by what it says. Without one that may have been taken off.
        owner: Option<OrganizationId>,
    },
    /// No client could be made from the kubeconfig or the surroundings.
    #[error("there is no usable configuration for the host cluster")]
    Configuration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer: network, TLS, time-out, or a server error. Try again.
    #[error("{api} did not answer")]
    Unreachable {
        /// Which API server.
        api: &'static str,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server answered no.
    #[error("{action} {object}: {message}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// Kind and name.
        object: String,
        /// HTTP status.
        code: u16,
        /// Kubernetes' own sentence.
        message: String,
    },
    /// A workload was put straight several times, or a Secret that it has mounted was made anew, and somebody else has written into it
    /// again. It is left as it is for now, because pods are made anew each time.
    #[error(
        "{object}: {managers} goes on writing into it on the host; it is left so for an hour and can be used; an operator of the host \
         can exempt the namespace {namespace}"
    )]
    Contested {
        /// Kind and name.
        object: String,
        /// Its namespace on the host.
        namespace: String,
        /// Who, by the names that Kubernetes knows the writers by.
        managers: String,
    },
    /// The vCluster chart could not be turned into objects: a mistake in the settings or the chart.
    #[error("the vCluster chart could not be rendered: {reason}")]
    Rendering {
        /// Helm's own words, or what is wrong with its output.
        reason: String,
    },
}

impl ReconcileError {
    /// Whether the API server answered, and its answer is about the one object. A webhook of the tenant's that does not work
    /// makes it answer 500, and may be there for some objects only.
    pub(crate) fn concerns_one_object(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Contested { .. } => true,
            Self::Unreachable { source, .. } => matches!(&**source, kube::Error::Api(status) if status.code == 500),
            _ => false,
        }
    }

    /// Whether the API server answered with this HTTP status.
    pub(crate) fn is(&self, status: u16) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == status)
    }
}
