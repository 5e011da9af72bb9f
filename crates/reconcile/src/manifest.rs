//! Objects as they are applied: JSON of a kind from a closed list.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject};
use serde_json::{Map, Value, json};

use crate::receipt::ObjectRef;

macro_rules! kinds {
    ($($kind:ident: $group:literal, $version:literal, $plural:literal, $scope:ident $(, $name:literal)?;)*) => {
        /// Every kind of object the platform writes or removes. A chart that renders any other is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Kind { $($kind,)* }

        impl Kind {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$kind,)*];

            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => kinds!(@name $kind $($name)?),)* }
            }

            const fn group(self) -> &'static str {
                match self { $(Self::$kind => $group,)* }
            }

            const fn version(self) -> &'static str {
                match self { $(Self::$kind => $version,)* }
            }

            const fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural,)* }
            }

            pub(crate) const fn is_namespaced(self) -> bool {
                match self { $(Self::$kind => kinds!(@$scope),)* }
            }
        }
    };
    (@namespaced) => { true };
    (@cluster) => { false };
    (@name $kind:ident) => { stringify!($kind) };
    (@name $kind:ident $name:literal) => { $name };
}

kinds! {
    Namespace: "", "v1", "namespaces", cluster;
    Node: "", "v1", "nodes", cluster;
    PersistentVolume: "", "v1", "persistentvolumes", cluster;
    ClusterRole: "rbac.authorization.k8s.io", "v1", "clusterroles", cluster;
    ClusterRoleBinding: "rbac.authorization.k8s.io", "v1", "clusterrolebindings", cluster;
    IngressClass: "networking.k8s.io", "v1", "ingressclasses", cluster;
    StorageClass: "storage.k8s.io", "v1", "storageclasses", cluster;
    ApiService: "apiregistration.k8s.io", "v1", "apiservices", cluster, "APIService";
    PriorityClass: "scheduling.k8s.io", "v1", "priorityclasses", cluster;
    MutatingAdmissionPolicy:
        "admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies", cluster;
    MutatingAdmissionPolicyBinding:
        "admissionregistration.k8s.io", "v1", "mutatingadmissionpolicybindings", cluster;
    MutatingAdmissionPolicyBeta:
        "admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicies", cluster, "MutatingAdmissionPolicy";
    MutatingAdmissionPolicyBindingBeta:
        "admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicybindings", cluster,
        "MutatingAdmissionPolicyBinding";
    ValidatingAdmissionPolicy:
        "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", cluster;
    ValidatingAdmissionPolicyBinding:
        "admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", cluster;
    ConfigMap: "", "v1", "configmaps", namespaced;
    Secret: "", "v1", "secrets", namespaced;
    ServiceAccount: "", "v1", "serviceaccounts", namespaced;
    Service: "", "v1", "services", namespaced;
    Endpoints: "", "v1", "endpoints", namespaced;
    PersistentVolumeClaim: "", "v1", "persistentvolumeclaims", namespaced;
    Pod: "", "v1", "pods", namespaced;
    LimitRange: "", "v1", "limitranges", namespaced;
    ResourceQuota: "", "v1", "resourcequotas", namespaced;
    Deployment: "apps", "v1", "deployments", namespaced;
    StatefulSet: "apps", "v1", "statefulsets", namespaced;
    EndpointSlice: "discovery.k8s.io", "v1", "endpointslices", namespaced;
    Ingress: "networking.k8s.io", "v1", "ingresses", namespaced;
    NetworkPolicy: "networking.k8s.io", "v1", "networkpolicies", namespaced;
    PodDisruptionBudget: "policy", "v1", "poddisruptionbudgets", namespaced;
    Role: "rbac.authorization.k8s.io", "v1", "roles", namespaced;
    RoleBinding: "rbac.authorization.k8s.io", "v1", "rolebindings", namespaced;
}

impl Kind {
    pub(crate) fn api_version(self) -> String {
        if self.group().is_empty() { self.version().to_owned() } else { format!("{}/{}", self.group(), self.version()) }
    }

    pub(crate) fn resource(self) -> ApiResource {
        ApiResource {
            group: self.group().to_owned(),
            version: self.version().to_owned(),
            api_version: self.api_version(),
            kind: self.as_str().to_owned(),
            plural: self.plural().to_owned(),
        }
    }

    fn find(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == kind && known.api_version() == api_version)
    }

    /// A reference to an object of this kind.
    pub(crate) fn object(self, namespace: Option<&str>, name: &str) -> ObjectRef {
        let namespace = namespace.filter(|_| self.is_namespaced()).map(ToOwned::to_owned);
        ObjectRef { kind: self.as_str().to_owned(), namespace, name: name.to_owned() }
    }
}

/// An object to be applied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) kind: Kind,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    /// The whole object, `apiVersion`, `kind` and `metadata` included.
    pub(crate) json: Value,
}

impl Manifest {
    /// An object with these labels and, beside `metadata`, the fields of `body`.
    pub(crate) fn new(
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        labels: &Map<String, Value>,
        body: Value,
    ) -> Self {
        let mut json = Map::new();
        json.insert("apiVersion".to_owned(), json!(kind.api_version()));
        json.insert("kind".to_owned(), json!(kind.as_str()));
        let mut metadata = json!({ "name": name, "labels": labels });
        if let Some(namespace) = namespace {
            metadata["namespace"] = json!(namespace);
        }
        json.insert("metadata".to_owned(), metadata);
        if let Value::Object(body) = body {
            json.extend(body);
        }
        Self { kind, namespace: namespace.map(ToOwned::to_owned), name: name.to_owned(), json: Value::Object(json) }
    }

    /// An object that the chart rendered, or what is wrong with it.
    pub(crate) fn parse(json: Value) -> Result<Self, String> {
        let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
        let (Some(api_version), Some(kind), Some(name)) = (text("/apiVersion"), text("/kind"), text("/metadata/name"))
        else {
            return Err("an object without apiVersion, kind or name".to_owned());
        };
        let namespace = text("/metadata/namespace");
        let Some(kind) = Kind::find(&api_version, &kind) else {
            return Err(format!("{api_version} {kind} {name} is not on the list of kinds that a chart may hold"));
        };
        Ok(Self { kind, namespace, name, json })
    }

    /// Adds labels, over those of the same name.
    pub(crate) fn label(&mut self, labels: &Map<String, Value>) {
        let Some(metadata) = self.json.get_mut("metadata").and_then(Value::as_object_mut) else { return };
        let present = metadata.entry("labels").or_insert_with(|| json!({}));
        match present {
            Value::Object(present) => present.extend(labels.clone()),
            other => *other = Value::Object(labels.clone()),
        }
    }

    /// `Kind name`, as messages show it.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.kind.as_str(), self.name)
    }
}

/// A label of an object that was read.
pub(crate) fn label<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    label_of(&object.metadata, name)
}

/// A label of an object of which the metadata was read.
pub(crate) fn label_of<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str)
}

/// What holds up the end of a namespace, in Kubernetes' words; nothing if it is not ending.
pub(crate) fn ending(namespace: &DynamicObject) -> Option<String> {
    namespace.metadata.deletion_timestamp.as_ref()?;
    let conditions = namespace.data.pointer("/status/conditions").and_then(Value::as_array);
    let messages: Vec<&str> = conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition["status"] == "True")
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    Some(if messages.is_empty() { "Terminating".to_owned() } else { format!("Terminating: {}", messages.join("; ")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_that_renders_an_unknown_kind_is_refused() {
        let webhook = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": "x" } });
        assert!(Manifest::parse(webhook).unwrap_err().contains("MutatingWebhookConfiguration x"));
        assert!(Manifest::parse(json!({ "kind": "Secret" })).is_err());
    }

    #[test]
    fn labels_are_added_to_those_that_are_there() {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "x", "namespace": "n", "labels": { "app": "vcluster" } } });
        let mut manifest = Manifest::parse(secret).unwrap();
        let mut labels = Map::new();
        labels.insert("a".to_owned(), json!("b"));
        manifest.label(&labels);
        assert_eq!(manifest.json["metadata"]["labels"], json!({ "app": "vcluster", "a": "b" }));
        assert_eq!(manifest.namespace.as_deref(), Some("n"));
    }

    #[test]
    fn a_reference_to_a_cluster_scoped_object_has_no_namespace() {
        assert_eq!(Kind::ClusterRole.object(Some("n"), "x").namespace, None);
        assert_eq!(Kind::Secret.object(Some("n"), "x").namespace.as_deref(), Some("n"));
    }

    #[test]
    fn a_namespace_that_does_not_end_says_why() {
        let found = |metadata: Value, conditions: Value| {
            let namespace = json!({ "metadata": metadata, "status": { "conditions": conditions } });
            ending(&serde_json::from_value(namespace).unwrap())
        };
        let deleted = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let condition = |status: &str, message: &str| json!({ "type": "x", "status": status, "message": message });
        let conditions = json!([condition("False", "all fine"), condition("True", "Some content has finalizers: x")]);
        assert_eq!(found(deleted.clone(), conditions).as_deref(), Some("Terminating: Some content has finalizers: x"));
        assert_eq!(found(deleted, json!([])).as_deref(), Some("Terminating"));
        assert_eq!(found(json!({}), json!([])), None);
    }
}
