//! The label and the taint of a node.

use hexabase_core::ids::WorkspaceId;
use k8s_openapi::api::core::v1::{Node, Taint};
use serde_json::{Value, json};

use crate::labels::{NODE_OFFER, NODE_POOL, OFFERED, POOL_LABEL};
use crate::nodes::Holder;

/// The only effect that is used: what runs on a node is asked to leave by name, never thrown out by a taint.
const EFFECT: &str = "NoSchedule";
/// Values that no id of a workspace has.
const FREE: &str = "free";
const LEAVING: &str = "leaving";

/// What a node is to say of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark<'a> {
    /// Nothing: anybody's pods may come.
    None,
    /// That nobody's may.
    Free,
    /// That this workspace's may.
    Of(&'a WorkspaceId),
    /// That no more of this workspace's may, and nobody else's yet.
    Leaving(&'a WorkspaceId),
}

impl<'a> Mark<'a> {
    fn label(self) -> Option<&'a str> {
        match self {
            Self::None => None,
            Self::Free => Some(FREE),
            Self::Of(id) => Some(id.as_str()),
            Self::Leaving(_) => Some(LEAVING),
        }
    }

    fn taint(self) -> Option<&'a str> {
        match self {
            Self::None => None,
            Self::Free => Some(FREE),
            Self::Of(id) | Self::Leaving(id) => Some(id.as_str()),
        }
    }
}

fn label<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    node.metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str)
}

fn taints(node: &Node) -> impl Iterator<Item = &Taint> {
    node.spec.iter().flat_map(|spec| spec.taints.iter().flatten())
}

/// Whether the operator offers the node to workspaces.
pub(crate) fn is_offered(node: &Node) -> bool {
    label(node, NODE_OFFER) == Some(OFFERED)
}

/// Whether tenants' pods may be put on the node and would run there, but for whose it is.
pub(crate) fn is_usable(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let takes_pods = node.spec.as_ref().is_none_or(|spec| spec.unschedulable != Some(true));
    // Tenants' pods may tolerate the pool's taint and no other.
    let is_open = taints(node).all(|taint| taint.key == NODE_POOL || taint.effect == "PreferNoSchedule");
    ready && takes_pods && is_open
}

/// Whose the node is. The taint counts, which keeps others away; somebody may have taken it off and left the label.
pub(crate) fn holder(node: &Node) -> Holder {
    let taint =
        taints(node).find(|taint| taint.key == NODE_POOL).map(|taint| taint.value.as_deref().unwrap_or_default());
    match taint.or_else(|| label(node, POOL_LABEL).filter(|label| *label != LEAVING)) {
        None => Holder::Nobody,
        Some(FREE) => Holder::Free,
        Some(value) => match value.parse() {
            Ok(id) => Holder::Workspace(id),
            Err(_) => Holder::Unknown(value.to_owned()),
        },
    }
}

/// Whether the node keeps pods away by a taint of ours, whosesoever.
pub(crate) fn is_tainted(node: &Node) -> bool {
    taints(node).any(|taint| taint.key == NODE_POOL)
}

/// What closes the workspace's node to others again, where somebody took the taint off that does; nothing, while it is there.
pub(crate) fn reclosed<'a>(node: &Node, id: &'a WorkspaceId) -> Option<Mark<'a>> {
    let closes = |taint: &Taint| taint.effect == EFFECT && taint.value.as_deref() == Some(id.as_str());
    let is_closed = taints(node).any(|taint| taint.key == NODE_POOL && closes(taint));
    let is_of = label(node, POOL_LABEL) == Some(id.as_str());
    (!is_closed).then_some(if is_of { Mark::Of(id) } else { Mark::Leaving(id) })
}

/// What makes the node say so, for exactly the one that was read; nothing, when it does. All other taints stay.
pub(crate) fn patch(node: &Node, mark: Mark<'_>) -> Option<Value> {
    let (ours, mut kept): (Vec<Taint>, Vec<Taint>) = taints(node).cloned().partition(|taint| taint.key == NODE_POOL);
    let is_right = |taint: &Taint| taint.effect == EFFECT && taint.value.as_deref() == mark.taint();
    let is_tainted = match mark.taint() {
        None => ours.is_empty(),
        Some(_) => ours.len() == 1 && ours.iter().all(is_right),
    };
    if is_tainted && label(node, POOL_LABEL) == mark.label() {
        return None;
    }
    kept.extend(mark.taint().map(|value| Taint {
        key: NODE_POOL.to_owned(),
        value: Some(value.to_owned()),
        effect: EFFECT.to_owned(),
        time_added: None,
    }));
    Some(json!({
        "metadata": { "resourceVersion": node.metadata.resource_version, "labels": { POOL_LABEL: mark.label() } },
        "spec": { "taints": kept },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ws-0123456789abcdefghjk";

    fn node(labels: Value, taints: Value) -> Node {
        let metadata = json!({ "name": "one", "resourceVersion": "7", "labels": labels });
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "taints": taints } })).unwrap()
    }

    fn taint(value: &str, effect: &str) -> Value {
        json!({ "key": NODE_POOL, "value": value, "effect": effect })
    }

    #[test]
    fn a_node_that_is_as_it_should_be_is_not_written() {
        let id = ID.parse().unwrap();
        for (mark, label, value) in
            [(Mark::Free, "free", "free"), (Mark::Of(&id), ID, ID), (Mark::Leaving(&id), "leaving", ID)]
        {
            let found = node(json!({ POOL_LABEL: label }), json!([taint(value, "NoSchedule")]));
            assert_eq!(patch(&found, mark), None, "{mark:?}");
        }
        assert_eq!(patch(&node(json!({}), json!([])), Mark::None), None);
    }

    #[test]
    fn label_and_taint_are_mended_and_other_taints_stay() {
        let id: WorkspaceId = ID.parse().unwrap();
        let other = json!({ "key": "example.com/gpu", "effect": "NoExecute" });
        for (labels, taints) in [
            (json!({}), json!([other])),
            (json!({ POOL_LABEL: ID }), json!([other])),
            (json!({ POOL_LABEL: ID }), json!([other, taint(ID, "PreferNoSchedule")])),
            (json!({ POOL_LABEL: "leaving" }), json!([taint(ID, "NoSchedule"), other])),
            (json!({ POOL_LABEL: ID }), json!([other, taint(ID, "NoSchedule"), taint("free", "NoExecute")])),
        ] {
            let patch = patch(&node(labels, taints), Mark::Of(&id)).unwrap();
            assert_eq!(patch["metadata"]["labels"][POOL_LABEL], ID);
            assert_eq!(patch["metadata"]["resourceVersion"], "7");
            assert_eq!(patch["spec"]["taints"], json!([other, taint(ID, "NoSchedule")]));
        }
        let freed =
            patch(&node(json!({ POOL_LABEL: "free" }), json!([taint("free", "NoSchedule")])), Mark::None).unwrap();
        assert_eq!(freed["metadata"]["labels"], json!({ POOL_LABEL: null }));
        assert_eq!(freed["spec"]["taints"], json!([]));
    }

    #[test]
    fn whose_a_node_is_its_taint_says_and_else_its_label() {
        let id: WorkspaceId = ID.parse().unwrap();
        for (labels, taints, expected) in [
            (json!({}), json!([]), Holder::Nobody),
            (json!({ POOL_LABEL: "leaving" }), json!([]), Holder::Nobody),
            (json!({ POOL_LABEL: ID }), json!([taint("free", "NoSchedule")]), Holder::Free),
            (json!({}), json!([taint(ID, "NoSchedule")]), Holder::Workspace(id.clone())),
            (json!({ POOL_LABEL: ID }), json!([]), Holder::Workspace(id)),
            (json!({}), json!([taint("gold", "NoSchedule")]), Holder::Unknown("gold".to_owned())),
        ] {
            assert_eq!(holder(&node(labels, taints)), expected);
        }
    }

    #[test]
    fn a_node_is_usable_when_it_is_ready_and_takes_pods() {
        let with = |ready: &str, unschedulable: bool| {
            let status = json!({ "conditions": [{ "type": "Ready", "status": ready }] });
            is_usable(
                &serde_json::from_value(json!({ "spec": { "unschedulable": unschedulable }, "status": status }))
                    .unwrap(),
            )
        };
        assert!(with("True", false));
        assert!(!with("True", true) && !with("False", false) && !with("Unknown", false));
        let tainted = |taint: Value| {
            let status = json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
            is_usable(&serde_json::from_value(json!({ "spec": { "taints": [taint] }, "status": status })).unwrap())
        };
        assert!(tainted(taint(ID, "NoSchedule")) && tainted(json!({ "key": "a", "effect": "PreferNoSchedule" })));
        assert!(!tainted(json!({ "key": "a", "effect": "NoSchedule" })));
        assert!(is_offered(&node(json!({ NODE_OFFER: "workspaces" }), json!([]))));
        assert!(!is_offered(&node(json!({ NODE_OFFER: "others" }), json!([]))));
    }
}
