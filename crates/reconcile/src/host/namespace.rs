//! Step 1: the host namespace, which also holds the fence.

use hexabase_core::ids::OrganizationId;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::apply::Cluster;
use crate::desired::DesiredWorkspace;
use crate::error::ReconcileError;
use crate::labels::{
    self, FENCE, MANAGED_BY, MANAGER, NOBODY, NODE_POOL, Names, ORGANIZATION, OWNER, RENDERING, RUNTIME_CLASSES,
    STORAGE_CLASSES, WORKSPACE,
};
use crate::manifest::{Kind, Manifest, ending, label};
use crate::settings::HostSettings;

/// How often a lost race for the fence is run again within one call.
const ATTEMPTS: usize = 3;

/// The namespace, with Pod Security "baseline": the control plane runs as root, and nothing in it needs more. It says what
/// the workspace may ask of the host, because vCluster, which may write nearly everything in it, has no right over it
/// itself.
pub(crate) fn build(
    settings: &HostSettings,
    desired: &DesiredWorkspace,
    storage_classes: &[String],
    names: &Names,
) -> Manifest {
    let mut labels = labels::of_workspace(&desired.id, desired.organization.as_ref());
    labels.insert("pod-security.kubernetes.io/enforce".to_owned(), json!("baseline"));
    labels.insert("pod-security.kubernetes.io/enforce-version".to_owned(), json!("latest"));
    let mut manifest = Manifest::new(Kind::Namespace, None, &names.namespace, &labels, Value::Null);
    // Also those that name nothing: what is not written is not restored either.
    for (name, values) in [(STORAGE_CLASSES, storage_classes), (RUNTIME_CLASSES, &settings.tenant_runtime_classes)] {
        manifest.json["metadata"]["annotations"][name] = json!(values.join(","));
    }
    manifest.json["metadata"]["annotations"][NODE_POOL] = json!(desired.pool().unwrap_or_default());
    manifest
}

/// What stands where the namespace belongs, once it is certain that this attempt may write.
pub(crate) enum Claim {
    /// Nothing.
    Absent,
    /// The namespace is ours, and no newer attempt has written.
    Ours {
        /// Which of all that ever had this name.
        uid: String,
        /// What holds up its end, when it is being deleted.
        ending: Option<String>,
        /// The rendering that was applied and pruned last.
        rendering: Option<String>,
    },
}

/// Reads the namespace and raises its fence to `fence`, for a workspace of this organization, or of nobody.
pub(crate) async fn claim(
    host: &Cluster,
    names: &Names,
    organization: Option<&OrganizationId>,
    fence: i64,
) -> Result<Claim, ReconcileError> {
    let mut attempt = 1;
    loop {
        let Some(found) = host.get(Kind::Namespace, None, &names.namespace).await? else {
            return Ok(Claim::Absent);
        };
        let Some(raise) = check(&found, names, organization, fence)? else { return Ok(ours(&found)) };
        match host.merge(Kind::Namespace, None, &names.namespace, &raise).await {
            Ok(()) => return Ok(ours(&found)),
            Err(error) if error.is(404) => return Ok(Claim::Absent),
            Err(error) if error.is(409) && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Creates the namespace under `fence`, unless somebody was faster, and makes its labels true.
///
/// The fence goes with the namespace. Whoever was overtaken between looking and creating makes it anew after a removal;
/// the sweep of the host takes such a one away.
pub(crate) async fn ensure(
    host: &Cluster,
    settings: &HostSettings,
    storage_classes: &[String],
    names: &Names,
    desired: &DesiredWorkspace,
) -> Result<Claim, ReconcileError> {
    let wanted = build(settings, desired, storage_classes, names);
    let organization = desired.organization.as_ref();
    let mut claimed = claim(host, names, organization, desired.fence).await?;
    if let Claim::Absent = claimed {
        let mut first = wanted.clone();
        first.json["metadata"]["annotations"][FENCE] = json!(desired.fence.to_string());
        first.json["metadata"]["annotations"][OWNER] = json!(owner(organization));
        claimed = match host.create(&first).await {
            Ok(created) => ours(&created),
            Err(error) if error.is(409) => claim(host, names, organization, desired.fence).await?,
            Err(error) => return Err(error),
        };
    }
    mend(host, wanted, claimed).await
}

/// Applies the namespace to the very one that was claimed: an apply without a uid would make a namespace that was removed
/// meanwhile anew, without a fence.
async fn mend(host: &Cluster, mut wanted: Manifest, claimed: Claim) -> Result<Claim, ReconcileError> {
    if let Claim::Ours { uid, ending: None, .. } = &claimed {
        wanted.json["metadata"]["uid"] = json!(uid);
        match host.apply(&wanted).await {
            Ok(_) => {}
            Err(error) if error.is(409) => return Ok(Claim::Absent),
            Err(error) => return Err(error),
        }
    }
    Ok(claimed)
}

/// Whether the namespace, which has the right name, is this workspace's. Somebody may have taken a label off, which is put back:
/// the fence as well says whose it is.
pub(crate) fn belongs_to(found: &DynamicObject, workspace: &str) -> bool {
    let is_fenced = annotation(found, FENCE).is_some();
    let is_ours = |name: &str, value: &str| label(found, name).map_or(is_fenced, |found| found == value);
    is_ours(MANAGED_BY, MANAGER) && is_ours(WORKSPACE, workspace)
}

/// What [`OWNER`] says of the namespace of this organization, or of nobody.
fn owner(organization: Option<&OrganizationId>) -> &str {
    organization.map_or(NOBODY, OrganizationId::as_str)
}

/// Whether the namespace is this organization's, or nobody's yet and says so. One that says nothing of it is nobody's to take:
/// what is missing may have been taken off.
///
/// What was used says whose it is, and stays theirs. A database that lost its last writes may take a workspace for one that
/// was made ahead and that nobody has; the host knows better.
fn may_have(found: &DynamicObject, organization: Option<&OrganizationId>) -> bool {
    let (own, label) = (owner(organization), label(found, ORGANIZATION));
    match annotation(found, OWNER) {
        // Versions before this annotation wrote the label only, and made nothing ahead.
        None => label == Some(own),
        Some(NOBODY) => label.is_none_or(|label| label == own),
        Some(noted) => noted == own,
    }
}

/// The organization whose the namespace is by what it says, if that is another one.
fn other(found: &DynamicObject, organization: Option<&OrganizationId>) -> Option<OrganizationId> {
    let named = match annotation(found, OWNER) {
        None | Some(NOBODY) => label(found, ORGANIZATION),
        noted => noted,
    };
    named.filter(|named| *named != owner(organization))?.parse().ok()
}

/// Whether this attempt may write: the patch that raises the fence and notes whose the namespace is, or nothing if both are
/// already so.
fn check(
    found: &DynamicObject,
    names: &Names,
    organization: Option<&OrganizationId>,
    fence: i64,
) -> Result<Option<Value>, ReconcileError> {
    if !may_have(found, organization) || !belongs_to(found, &names.name) {
        let (namespace, owner) = (names.namespace.clone(), other(found, organization));
        return Err(ReconcileError::NotOurs { namespace, owner });
    }
    let last = annotation(found, FENCE).and_then(|text| text.parse::<i64>().ok());
    match last {
        Some(last) if last > fence => {
            Err(ReconcileError::Fenced { namespace: names.namespace.clone(), own: fence, found: last })
        }
        Some(last) if last == fence && annotation(found, OWNER) == Some(owner(organization)) => Ok(None),
        _ => Ok(Some(json!({ "metadata": {
            "resourceVersion": found.metadata.resource_version,
            "annotations": { FENCE: fence.to_string(), OWNER: owner(organization) },
        } }))),
    }
}

fn ours(found: &DynamicObject) -> Claim {
    let rendering = annotation(found, RENDERING).map(ToOwned::to_owned);
    Claim::Ours { uid: found.metadata.uid.clone().unwrap_or_default(), ending: ending(found), rendering }
}

pub(crate) fn annotation<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(name)).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::kubernetes::FakeKubernetes;

    use super::*;
    use crate::connection::Host;
    use crate::settings::HostSettings;

    const ID: &str = "ws-0123456789abcdefghjk";

    fn found(workspace: &str, fence: Option<&str>) -> DynamicObject {
        let mut object = json!({ "metadata": { "name": "hxb", "resourceVersion": "7",
            "labels": { MANAGED_BY: MANAGER, WORKSPACE: workspace }, "annotations": { OWNER: NOBODY } } });
        if let Some(fence) = fence {
            object["metadata"]["annotations"][FENCE] = json!(fence);
        }
        serde_json::from_value(object).unwrap()
    }

    fn checked(object: &DynamicObject, fence: i64) -> Result<Option<Value>, ReconcileError> {
        check(object, &Names::of(&ID.parse().unwrap()), None, fence)
    }

    #[test]
    fn a_lower_fence_than_the_namespace_carries_is_refused() {
        assert!(matches!(checked(&found(ID, Some("8")), 7), Err(ReconcileError::Fenced { own: 7, found: 8, .. })));
    }

    #[test]
    fn the_same_fence_writes_nothing_and_a_higher_one_raises_it_for_exactly_what_was_read() {
        assert_eq!(checked(&found(ID, Some("8")), 8).unwrap(), None);
        for object in [found(ID, Some("8")), found(ID, None), found(ID, Some("x"))] {
            let patch = checked(&object, 9).unwrap().unwrap();
            assert_eq!(patch["metadata"]["annotations"][FENCE], "9");
            assert_eq!(patch["metadata"]["resourceVersion"], "7");
        }
    }

    #[test]
    fn a_namespace_that_is_not_this_workspaces_is_never_touched() {
        let mut plain = found(ID, None);
        plain.metadata.labels = None;
        for object in [plain, found("ws-0123456789abcdefghj0", None)] {
            assert!(matches!(checked(&object, 9), Err(ReconcileError::NotOurs { .. })));
        }
    }

    #[test]
    fn what_the_workspace_may_ask_of_the_host_is_written_also_where_that_is_nothing() {
        let settings = HostSettings::new(None, "helm".into(), "chart".into());
        let desired = crate::golden::desired();
        let built = build(&settings, &desired, &[], &Names::of(&desired.id));
        let expected = json!({ STORAGE_CLASSES: "", RUNTIME_CLASSES: "", NODE_POOL: "" });
        assert_eq!(built.json["metadata"]["annotations"], expected);
        let mut dedicated = desired.clone();
        dedicated.placement.dedicated = true;
        let built = build(&settings, &dedicated, &[], &Names::of(&desired.id));
        assert_eq!(built.json["metadata"]["annotations"][NODE_POOL], desired.id.as_str());
    }

    #[test]
    fn a_namespace_that_lost_a_label_is_still_known_by_its_fence() {
        for name in [MANAGED_BY, WORKSPACE] {
            let mut bare = found(ID, Some("8"));
            bare.metadata.labels.as_mut().unwrap().remove(name);
            assert!(checked(&bare, 9).unwrap().is_some());
            assert!(matches!(checked(&bare, 7), Err(ReconcileError::Fenced { .. })));
        }
        let foreign = found("ws-0123456789abcdefghj0", Some("8"));
        assert!(matches!(checked(&foreign, 9), Err(ReconcileError::NotOurs { .. })));
    }

    /// The organizations of two people.
    fn two() -> (OrganizationId, OrganizationId) {
        ("org-0123456789abcdefghjk".parse().unwrap(), "org-0123456789abcdefghj0".parse().unwrap())
    }

    /// A namespace whose annotation and label say that it is so.
    fn owned(annotation: Option<&str>, label: Option<&str>) -> DynamicObject {
        let mut object = found(ID, Some("8"));
        let metadata = &mut object.metadata;
        let annotations = metadata.annotations.as_mut().unwrap();
        annotations.remove(OWNER);
        annotations.extend(annotation.map(|owner| (OWNER.to_owned(), owner.to_owned())));
        metadata.labels.as_mut().unwrap().extend(label.map(|owner| (ORGANIZATION.to_owned(), owner.to_owned())));
        object
    }

    #[test]
    fn what_an_organization_has_used_is_nobody_elses_and_what_nobody_has_may_become_anybodys() {
        let names = Names::of(&ID.parse().unwrap());
        let (alices, bobs) = two();
        let spare = found(ID, Some("8"));
        for of in [None, Some(&alices)] {
            assert!(check(&spare, &names, of, 9).is_ok());
        }
        // Also when one of the two was taken off, or somebody wrote another label.
        let alice = Some(alices.as_str());
        let used = [(alice, alice), (alice, None), (None, alice), (alice, Some(bobs.as_str())), (Some(NOBODY), alice)];
        for (annotation, label) in used {
            let object = owned(annotation, label);
            let patch = check(&object, &names, Some(&alices), 9).unwrap().unwrap();
            assert_eq!(patch["metadata"]["annotations"][OWNER], alices.as_str());
            for of in [None, Some(&bobs)] {
                let refused = check(&object, &names, of, 9);
                let Err(ReconcileError::NotOurs { owner, .. }) = refused else {
                    panic!("{annotation:?} {label:?} {refused:?}");
                };
                assert_eq!(owner.as_ref(), Some(&alices), "{annotation:?} {label:?}");
            }
        }
    }

    #[test]
    fn a_namespace_that_does_not_say_whose_it_is_is_nobodys_to_take() {
        let names = Names::of(&ID.parse().unwrap());
        let (alices, _) = two();
        for of in [None, Some(&alices)] {
            let refused = check(&owned(None, None), &names, of, 9);
            assert!(matches!(refused, Err(ReconcileError::NotOurs { owner: None, .. })), "{refused:?}");
        }
        // Nor does a label that somebody wrote over make it another one's.
        for name in [MANAGED_BY, WORKSPACE, ORGANIZATION] {
            let mut bent = owned((name != ORGANIZATION).then_some(alices.as_str()), None);
            bent.metadata.labels.as_mut().unwrap().insert(name.to_owned(), "helm".to_owned());
            let refused = check(&bent, &names, Some(&alices), 9);
            assert!(matches!(refused, Err(ReconcileError::NotOurs { owner: None, .. })), "{name} {refused:?}");
        }
    }

    #[test]
    fn whose_it_is_is_noted_also_where_the_fence_is_not_raised() {
        let names = Names::of(&ID.parse().unwrap());
        let (alices, _) = two();
        let noted = check(&found(ID, Some("8")), &names, Some(&alices), 8).unwrap().unwrap();
        assert_eq!(noted["metadata"]["annotations"][OWNER], alices.as_str());
        assert_eq!(check(&owned(Some(alices.as_str()), None), &names, Some(&alices), 8).unwrap(), None);
    }

    #[tokio::test]
    async fn a_namespace_that_was_removed_meanwhile_is_not_made_anew_by_an_apply() {
        let server = FakeKubernetes::start().await.unwrap();
        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let host = Host::connect(settings).await.unwrap().cluster;
        let names = Names::of(&ID.parse().unwrap());
        let path = format!("/api/v1/namespaces/{}", names.namespace);
        server.put(&path, serde_json::to_value(found(ID, Some("8"))).unwrap());
        let wanted = Manifest::new(Kind::Namespace, None, &names.namespace, &serde_json::Map::new(), Value::Null);

        let claimed = claim(&host, &names, None, 9).await.unwrap();
        server.remove(&path);
        assert!(matches!(mend(&host, wanted.clone(), claimed).await.unwrap(), Claim::Absent));
        assert_eq!(server.get(&path), None);

        // As long as it is the one that was claimed, its labels are made true.
        server.put(&path, serde_json::to_value(found(ID, Some("8"))).unwrap());
        let claimed = claim(&host, &names, None, 9).await.unwrap();
        assert!(matches!(mend(&host, wanted, claimed).await.unwrap(), Claim::Ours { ending: None, .. }));
        assert_eq!(server.get(&path).unwrap()["metadata"]["annotations"][FENCE], "9");
    }
}
