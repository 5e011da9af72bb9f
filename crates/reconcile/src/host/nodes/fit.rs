//! Which volumes can be reached from which nodes: what is bound to one node does not follow a pod to another.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume};

use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::host::volumes;
use crate::labels::{Names, OBJECT_NAME, OBJECT_NAMESPACE};
use crate::manifest::Kind;

/// A claim of the tenant's whose volume can be reached from none of the nodes that were asked about.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    /// Its name on the host.
    pub(crate) claim: String,
    /// Its name as the tenant knows it: namespace and name.
    pub(crate) title: String,
    /// Its volume.
    pub(crate) volume: PersistentVolume,
}

impl Bound {
    /// Whether its volume can be reached from this node.
    pub(crate) fn is_on(&self, node: &Node) -> bool {
        fits(&self.volume, node)
    }
}

/// The claims of the workspace whose volumes can be reached from none of these nodes. Its control plane's own is not among
/// them: that one stays where it is.
pub(crate) async fn bound(host: &Cluster, names: &Names, nodes: &[&Node]) -> Result<Vec<Bound>, ReconcileError> {
    let own = format!("data-{}-0", names.name);
    let stuck = volumes::of_workspace(host, names).await?.into_iter().filter_map(|volume| {
        let claim = volume.spec.as_ref()?.claim_ref.as_ref()?.name.clone()?;
        let reached = nodes.iter().any(|node| fits(&volume, node));
        (claim != own && !reached).then_some((claim, volume))
    });
    let stuck: Vec<(String, PersistentVolume)> = stuck.collect();
    if stuck.is_empty() {
        return Ok(Vec::new());
    }
    let titles = titles(host, names).await?;
    let told = |(claim, volume): (String, PersistentVolume)| {
        let title = titles.get(&claim).cloned().unwrap_or_else(|| claim.clone());
        Bound { claim, title, volume }
    };
    Ok(stuck.into_iter().map(told).collect())
}

/// The claims of the host's namespace, as the tenant knows them.
async fn titles(host: &Cluster, names: &Names) -> Result<BTreeMap<String, String>, ReconcileError> {
    let claims = host.list_metadata(Kind::PersistentVolumeClaim, Some(&names.namespace), "").await?;
    let title = |metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        let annotations = metadata.annotations?;
        Some((metadata.name?, format!("{}/{}", annotations.get(OBJECT_NAMESPACE)?, annotations.get(OBJECT_NAME)?)))
    };
    Ok(claims.into_iter().filter_map(title).collect())
}

/// As Kubernetes' scheduler judges it.
fn fits(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else { return true };
    required.node_selector_terms.iter().any(|term| selects(term, node))
}

fn selects(term: &NodeSelectorTerm, node: &Node) -> bool {
    let (labels, fields) = (term.match_expressions.iter().flatten(), term.match_fields.iter().flatten());
    let of_labels = |name: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    // The only field that there is.
    let of_fields = |name: &str| node.metadata.name.as_deref().filter(|_| name == "metadata.name");
    let asks = labels.clone().next().is_some() || fields.clone().next().is_some();
    asks && labels.into_iter().all(|wish| holds(wish, of_labels(&wish.key)))
        && fields.into_iter().all(|wish| holds(wish, of_fields(&wish.key)))
}

fn holds(wish: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = wish.values.as_deref().unwrap_or_default();
    let is_among = |found: &str| values.iter().any(|value| value == found);
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.first().and_then(|value| number(value));
    match wish.operator.as_str() {
        "In" => found.is_some_and(is_among),
        "NotIn" => !found.is_some_and(is_among),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => found.and_then(number).zip(bound).is_some_and(|(found, bound)| found > bound),
        "Lt" => found.and_then(number).zip(bound).is_some_and(|(found, bound)| found < bound),
        // What is not understood keeps a volume where it is.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volume(affinity: Value) -> PersistentVolume {
        serde_json::from_value(json!({ "metadata": { "name": "disk" }, "spec": { "nodeAffinity": affinity } })).unwrap()
    }

    fn node(name: &str, labels: Value) -> Node {
        serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } })).unwrap()
    }

    fn terms(terms: Value) -> PersistentVolume {
        volume(json!({ "required": { "nodeSelectorTerms": terms } }))
    }

    #[test]
    fn a_volume_without_a_wish_is_reached_from_everywhere() {
        let one = node("one", json!({}));
        assert!(fits(&volume(Value::Null), &one) && fits(&volume(json!({})), &one));
        assert!(!fits(&terms(json!([])), &one) && !fits(&terms(json!([{}])), &one));
    }

    #[test]
    fn a_volume_is_reached_where_one_of_its_terms_holds_as_a_whole() {
        let at =
            |key: &str, operator: &str, values: &[&str]| json!({ "key": key, "operator": operator, "values": values });
        let host = |name: &str| json!({ "matchExpressions": [at("kubernetes.io/hostname", "In", &[name])] });
        let one = node("one", json!({ "kubernetes.io/hostname": "one", "zone": "a", "disks": "4" }));
        for (wanted, fitting) in [
            (json!([host("one")]), true),
            (json!([host("two")]), false),
            (json!([host("two"), host("one")]), true),
            (json!([{ "matchFields": [at("metadata.name", "In", &["one"])] }]), true),
            (json!([{ "matchFields": [at("metadata.uid", "In", &["one"])] }]), false),
            (json!([{ "matchExpressions": [at("zone", "In", &["a"]), at("rack", "Exists", &[])] }]), false),
            (json!([{ "matchExpressions": [at("zone", "NotIn", &["b"]), at("rack", "DoesNotExist", &[])] }]), true),
            (json!([{ "matchExpressions": [at("disks", "Gt", &["3"]), at("disks", "Lt", &["5"])] }]), true),
            (json!([{ "matchExpressions": [at("zone", "Gt", &["3"])] }]), false),
            (json!([{ "matchExpressions": [at("zone", "Like", &["a"])] }]), false),
        ] {
            assert_eq!(fits(&terms(wanted.clone()), &one), fitting, "{wanted}");
        }
    }
}
