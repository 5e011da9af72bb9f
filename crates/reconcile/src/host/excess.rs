//! What is too much for a smaller plan, in the tenant's terms, and whose it is.

use std::collections::BTreeMap;

use hexabase_core::quota::{Amounts, Resource};
use kube::api::DynamicObject;
use serde::Deserialize;

use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::host::limits::{PORTS_OF_A_LOAD_BALANCER, SCRATCH};
use crate::labels::{Names, OBJECT_NAME, OBJECT_NAMESPACE};
use crate::manifest::Kind;
use crate::tenant_user::{AskingClaim, AskingPod, ClaimUsage, PodUsage, Users};

/// By how much the host's quota is exceeded: what it calls it, and thousandths.
pub(crate) type Over = (String, u128);

/// One sentence about all of it, with those that use most of each. The control plane's share is on neither side.
pub(crate) async fn told(
    host: &Cluster,
    names: &Names,
    smaller: &Amounts,
    over: &[Over],
) -> Result<String, ReconcileError> {
    let users = users(host, names).await?;
    // What is requested and what is allowed are one amount of the plan: the more of them counts.
    let mut terms: BTreeMap<&str, (Term, u128)> = BTreeMap::new();
    for (name, over) in over {
        if let Some(term) = term(name, smaller, &users) {
            terms.entry(term.what).and_modify(|(_, most)| *most = (*most).max(*over)).or_insert((term, *over));
        }
    }
    let each = terms.into_values().map(|(Term { what, resource, most, who }, over)| {
        let over = if resource == Resource::Cpu { over } else { over.div_ceil(1_000) };
        let used = most.saturating_add(u64::try_from(over).unwrap_or(u64::MAX));
        format!("{} of {what}, of which {} is used{who}", resource.write(most), resource.write(used))
    });
    let each: Vec<String> = each.collect();
    Ok(format!("the plan would allow less than is used in the workspace: {}", each.join("; ")))
}

/// A line of the host's quota as the plan has it.
struct Term {
    what: &'static str,
    resource: Resource,
    most: u64,
    who: String,
}

fn term(name: &str, smaller: &Amounts, users: &Users) -> Option<Term> {
    let plain = |resource: Resource| Term {
        what: resource.as_str(),
        resource,
        most: smaller.get(resource),
        who: users.most_of(resource),
    };
    Some(match name {
        "requests.cpu" | "limits.cpu" => plain(Resource::Cpu),
        "requests.memory" | "limits.memory" => plain(Resource::Memory),
        "requests.storage" => plain(Resource::Storage),
        "pods" => plain(Resource::Pods),
        "services" => plain(Resource::Services),
        "services.loadbalancers" => plain(Resource::LoadBalancers),
        "persistentvolumeclaims" => plain(Resource::PersistentVolumeClaims),
        "secrets" | "configmaps" => plain(Resource::Objects),
        "services.nodeports" => {
            let most = u64::from(smaller.load_balancers.saturating_mul(PORTS_OF_A_LOAD_BALANCER));
            Term { what: "node ports of services", resource: Resource::Services, most, who: String::new() }
        }
        "limits.ephemeral-storage" => Term {
            what: "the disks of nodes (limits.ephemeral-storage)",
            resource: Resource::Storage,
            most: SCRATCH.get().saturating_mul(smaller.pods.into()),
            who: users.most_of_scratch(),
        },
        _ => return None,
    })
}

/// The pods and claims that vCluster brought to the host, as they are called inside; the control plane's own are not among them.
async fn users(host: &Cluster, names: &Names) -> Result<Users, ReconcileError> {
    let place = Some(names.namespace.as_str());
    let pods = host.list(Kind::Pod, place, "").await?;
    let claims = host.list(Kind::PersistentVolumeClaim, place, "").await?;
    let pod = |found: DynamicObject| PodUsage::of(title(&found)?, &AskingPod::deserialize(&found.data).ok()?);
    let claim =
        |found: DynamicObject| Some(ClaimUsage::of(title(&found)?, &AskingClaim::deserialize(&found.data).ok()?));
    Ok(Users {
        pods: pods.into_iter().filter_map(pod).collect(),
        claims: claims.into_iter().filter_map(claim).collect(),
        services: Vec::new(),
    })
}

fn title(found: &DynamicObject) -> Option<String> {
    let annotations = found.metadata.annotations.as_ref()?;
    Some(format!("{}/{}", annotations.get(OBJECT_NAMESPACE)?, annotations.get(OBJECT_NAME)?))
}

#[cfg(test)]
mod tests {
    use hexabase_core::quantity::{Bytes, Cpu};
    use hexabase_testkit::kubernetes::FakeKubernetes;
    use serde_json::{Value, json};

    use super::*;
    use crate::connection::Host;
    use crate::settings::HostSettings;

    #[tokio::test]
    async fn what_is_too_much_is_told_as_the_tenant_knows_it_with_all_that_use_most_of_it() {
        let server = FakeKubernetes::start().await.unwrap();
        let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
        let host = Host::connect(settings).await.unwrap().cluster;
        let names = Names::of(&"ws-0123456789abcdefghjk".parse().unwrap());
        let place = format!("/api/v1/namespaces/{}", names.namespace);
        let metadata = |name: &str, inside: Option<[&str; 2]>| {
            let marks = inside.map(|[namespace, name]| json!({ OBJECT_NAMESPACE: namespace, OBJECT_NAME: name }));
            json!({ "name": name, "namespace": names.namespace, "annotations": marks })
        };
        let pod = |name: &str, inside: Option<[&str; 2]>, cpu: &str| {
            let resources = json!({ "requests": { "cpu": "25m" }, "limits": { "cpu": cpu } });
            let spec = json!({ "containers": [{ "name": "c", "resources": resources }] });
            server.put(&format!("{place}/pods/{name}"), json!({ "metadata": metadata(name, inside), "spec": spec }));
        };
        pod("front-x-web-x-ws", Some(["web", "front"]), "2");
        pod("job-x-default-x-ws", Some(["default", "job"]), "500m");
        pod("ws-0123456789abcdefghjk-0", None, "2");
        let claim = |name: &str, inside: Option<[&str; 2]>| {
            let spec: Value = json!({ "resources": { "requests": { "storage": "3Gi" } } });
            let path = format!("{place}/persistentvolumeclaims/{name}");
            server.put(&path, json!({ "metadata": metadata(name, inside), "spec": spec }));
        };
        claim("data-x-web-x-ws", Some(["web", "data"]));
        claim("data-ws-0", None);

        let smaller =
            Amounts { cpu: Cpu::from_millis(1_000), storage: Bytes::from_gibibytes(1), pods: 1, ..Amounts::NONE };
        let over = |name: &str, over: u128| (name.to_owned(), over);
        let gibibyte: u128 = 1 << 30;
        let over = [
            over("limits.cpu", 1_500),
            over("pods", 1_000),
            over("requests.cpu", 10),
            over("requests.storage", 2 * gibibyte * 1_000),
            over("services.nodeports", 1_000),
        ];
        let sentence = told(&host, &names, &smaller, &over).await.unwrap();
        assert_eq!(
            sentence,
            "the plan would allow less than is used in the workspace: \
             1 of cpu, of which 2500m is used, most of it by the pods web/front (2), default/job (500m); \
             0 of node ports of services, of which 1 is used; \
             1 of pods, of which 2 is used, most of it by the pods web/front, default/job; \
             1Gi of storage, of which 3Gi is used, most of it by the claims web/data (3Gi)"
        );
    }
}
