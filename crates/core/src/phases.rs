//! Where a workspace or project stands in its life.

/// A text that names no phase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} \"{text}\"")]
pub struct UnknownValue {
    /// What was expected.
    pub what: &'static str,
    /// What was found.
    pub text: String,
}

/// Declares a closed set of words: the same text in the database, on the wire and in messages.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::phases::UnknownValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::phases::UnknownValue { what: $what, text: text.to_owned() }),
                }
            }
        }
    };
}

words! {
    /// Where a workspace stands.
    WorkspacePhase, "workspace phase" {
        /// Being provisioned; the current step says how far.
        Creating = "creating",
        /// Usable with kubectl.
        Ready = "ready",
        /// A step did not succeed within its time; it is still being tried, and the message says why.
        Failed = "failed",
        /// On its way to sleep: its control plane is being stopped. A request wakes it.
        FallingAsleep = "falling-asleep",
        /// Its control plane does not run, and its pods only where its rule says so. A request wakes it.
        Asleep = "asleep",
        /// Being started again; requests are held until it answers.
        Waking = "waking",
        /// Its deletion was asked for and can still be undone; it sleeps, and nobody has access.
        ToBeDeleted = "to-be-deleted",
        /// Being removed from the host.
        Deleting = "deleting",
        /// Nothing of it is left on the host; kept as a record.
        Deleted = "deleted",
    }
}

words! {
    /// Where a project stands.
    ProjectPhase, "project phase" {
        /// Its namespace is being made.
        Creating = "creating",
        /// Its namespace, quota and roles are in place.
        Ready = "ready",
        /// Its namespace is being removed.
        Deleting = "deleting",
        /// Its namespace is gone; kept as a record.
        Deleted = "deleted",
    }
}

words! {
    /// The steps by which a workspace comes to life, in order; deletion walks them backwards.
    WorkspaceStep, "workspace step" {
        /// The host namespace.
        Namespace = "namespace",
        /// Host quota, limit range and network policies.
        Limits = "limits",
        /// The Secret that tells the tenant API server which tokens to trust.
        Authentication = "authentication",
        /// The virtual cluster's own objects.
        VirtualCluster = "virtual-cluster",
        /// The tenant API server answers.
        ApiServer = "api-server",
        /// Cluster roles and bindings inside the tenant.
        Access = "access",
        /// Namespaces, quotas and bindings of the projects.
        Projects = "projects",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        for phase in WorkspacePhase::ALL {
            assert_eq!(phase.as_str().parse::<WorkspacePhase>(), Ok(*phase));
            assert_eq!(serde_json::to_string(phase).unwrap(), format!("\"{phase}\""));
        }
        assert!("unknown".parse::<WorkspacePhase>().is_err());
    }
}
