//! Which volumes claims may name.

use serde_json::json;

use super::{Case, Place, annotated, case, claim};

const LEGACY_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) fn all() -> Vec<Case> {
    vec![
        case("volume by name", Place::Shared, vec![claim(json!({}))], vec![claim(json!({ "volumeName": "x" }))]),
        case(
            "volume by label",
            Place::Shared,
            vec![claim(json!({}))],
            vec![claim(json!({ "selector": { "matchLabels": { "a": "b" } } }))],
        ),
        case(
            "begin as a copy of another volume",
            Place::Shared,
            vec![claim(json!({}))],
            vec![
                claim(json!({ "dataSource": { "kind": "PersistentVolumeClaim", "name": "data-ws-x-0" } })),
                annotated(
                    claim(json!({ "dataSourceRef": { "kind": "PersistentVolumeClaim", "name": "data-ws-x-0" } })),
                    "vcluster.loft.sh/skip-translate",
                    "true",
                ),
                claim(json!({ "dataSource": { "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot",
                    "name": "x" } })),
            ],
        ),
        case(
            "storage class that the host gives",
            Place::Shared,
            vec![claim(json!({}))],
            vec![claim(json!({ "storageClassName": "foreign" })), claim(json!({ "storageClassName": "" }))],
        ),
        case(
            "name a class of volume attributes",
            Place::Shared,
            vec![claim(json!({}))],
            vec![claim(json!({ "volumeAttributesClassName": "gold" }))],
        ),
        case(
            "name its storage class by annotation",
            Place::Shared,
            vec![claim(json!({}))],
            vec![annotated(claim(json!({ "storageClassName": "local-path" })), LEGACY_CLASS, "foreign")],
        ),
    ]
}
