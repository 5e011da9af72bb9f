//! Which storage classes the claims of a workspace may name.

use kube::api::DynamicObject;

use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::manifest::Kind;
use crate::settings::HostSettings;

/// Provisioners whose volumes are folders of a node, of no size.
const FOLDERS: [&str; 4] =
    ["rancher.io/local-path", "k8s.io/minikube-hostpath", "microk8s.io/hostpath", "docker.io/hostpath"];
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// That of the control planes' volumes, the host's default, which a claim without a class gets, and what the settings add;
/// sorted. A claim that names the empty class would bind to whatever volume lies about, so that it is never among them.
pub(crate) async fn classes(host: &Cluster, settings: &HostSettings) -> Result<Vec<String>, ReconcileError> {
    let found = host.list(Kind::StorageClass, None, "").await?;
    Ok(allowed(settings, &found))
}

/// Those among them that are known without asking the host.
pub(crate) fn named(settings: &HostSettings) -> Vec<String> {
    allowed(settings, &[])
}

fn allowed(settings: &HostSettings, found: &[DynamicObject]) -> Vec<String> {
    let defaults = found.iter().filter(|class| is_default(class)).filter_map(|class| class.metadata.name.clone());
    let mut classes: Vec<String> = defaults.chain(settings.storage_class.clone()).collect();
    classes.extend(settings.tenant_storage_classes.iter().cloned());
    classes.retain(|class| !class.is_empty());
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// Those among them whose volumes are known to grow beyond what was asked for.
pub(crate) fn without_sizes(settings: &HostSettings, found: &[DynamicObject]) -> Vec<String> {
    let is_folder = |name: &String| {
        let class = found.iter().find(|class| class.metadata.name.as_ref() == Some(name));
        let provisioner = class.and_then(|class| class.data.get("provisioner")?.as_str());
        provisioner.is_some_and(|provisioner| FOLDERS.contains(&provisioner))
    };
    allowed(settings, found).into_iter().filter(is_folder).collect()
}

/// Whether the host gives this class to claims without one.
pub(crate) fn is_default(class: &DynamicObject) -> bool {
    let annotation = class.metadata.annotations.as_ref().and_then(|annotations| annotations.get(IS_DEFAULT));
    annotation.is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_default_the_control_planes_own_and_what_the_settings_add_are_allowed_and_no_others() {
        let class = |name: &str, default: &str| -> DynamicObject {
            serde_json::from_value(json!({ "metadata": { "name": name, "annotations": { IS_DEFAULT: default } } }))
                .unwrap()
        };
        let found = [class("standard", "true"), class("foreign", "false"), class("fast", "false")];
        let mut settings = HostSettings::new(None, "helm".into(), "chart".into());
        assert_eq!(allowed(&settings, &found), ["standard"]);
        settings.storage_class = Some("fast".to_owned());
        settings.tenant_storage_classes = vec!["archive".to_owned(), "standard".to_owned(), String::new()];
        assert_eq!(allowed(&settings, &found), ["archive", "fast", "standard"]);
        assert!(allowed(&HostSettings::new(None, "helm".into(), "chart".into()), &found[1..]).is_empty());
    }

    #[test]
    fn folders_of_a_node_are_told_from_volumes_that_have_a_size_where_workspaces_get_them() {
        let class = |name: &str, provisioner: &str| -> DynamicObject {
            serde_json::from_value(json!({ "metadata": { "name": name }, "provisioner": provisioner })).unwrap()
        };
        let found = [class("local", "rancher.io/local-path"), class("disks", "ebs.csi.aws.com")];
        let mut settings = HostSettings::new(None, "helm".into(), "chart".into());
        settings.storage_class = Some("disks".to_owned());
        assert!(without_sizes(&settings, &found).is_empty(), "no claim of theirs may name it");
        settings.tenant_storage_classes = vec!["local".to_owned()];
        assert_eq!(without_sizes(&settings, &found), ["local"]);
    }
}
