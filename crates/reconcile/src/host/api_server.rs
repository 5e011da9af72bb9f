//! Step 5: the tenant's API server answers.

use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::Client;

use crate::apply::Cluster;
use crate::error::ReconcileError;
use crate::host::workload;
use crate::labels::Names;
use crate::manifest::Kind;
use crate::settings::EndpointMode;
use crate::status::{Progress, TenantEndpoint};
use crate::tenant;

/// When to look again; a start takes 15 to 20 s.
const SOON: u64 = 250;
/// A name in every tenant API server's certificate.
pub(crate) const SERVER_NAME: &str = "kubernetes";

/// A tenant whose API server answers.
pub(crate) struct Tenant {
    pub(crate) endpoint: TenantEndpoint,
    pub(crate) cluster: Cluster,
}

/// What vCluster writes once it is up: its certificate authority and a client of `system:masters`.
pub(crate) struct Credentials {
    pub(crate) ca: String,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// A client for the tenant, or what it still waits for. The credentials are read anew every time: vCluster renews them.
pub(crate) async fn progress(
    host: &Cluster,
    mode: &EndpointMode,
    names: &Names,
    pod: &Pod,
) -> Result<Result<Tenant, Progress>, ReconcileError> {
    let wait = |text: String| Ok(Err(Progress::wait(SOON, text)));
    if !workload::is_ready(pod) {
        let pod = pod.metadata.name.as_deref().unwrap_or(&names.name);
        return wait(format!("pod {pod}: runs, its API server is starting"));
    }
    let secret = format!("vc-{}", names.name);
    let found: Option<Secret> = host.get_as(Kind::Secret, Some(&names.namespace), &secret).await?;
    let Some(credentials) = found.and_then(credentials) else {
        return wait(format!("Secret {secret}: not written by vCluster yet"));
    };
    let service: Option<Service> = host.get_as(Kind::Service, Some(&names.namespace), &names.name).await?;
    let Some(endpoint) = service.and_then(|service| endpoint(&service, mode, names, &credentials.ca)) else {
        return wait(format!("Service {}: has no address yet", names.name));
    };
    let cluster = match tenant::connect(&endpoint, &credentials).await {
        Ok(cluster) => cluster,
        Err(error) => return wait(format!("Secret {secret}: {error}")),
    };
    match readyz(&cluster.client).await {
        Ok(()) => Ok(Ok(Tenant { endpoint, cluster })),
        Err(reason) => wait(format!("https://{}:{}/readyz: {reason}", endpoint.host, endpoint.port)),
    }
}

async fn readyz(client: &Client) -> Result<(), String> {
    let request = http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
    match client.request_text(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => Err(error.to_string()),
    }
}

fn credentials(secret: Secret) -> Option<Credentials> {
    let mut data = secret.data?;
    let mut take = |key: &str| data.remove(key).map(|bytes| bytes.0).filter(|bytes| !bytes.is_empty());
    let ca = String::from_utf8(take("certificate-authority")?).ok()?;
    Some(Credentials { ca, certificate: take("client-certificate")?, key: take("client-key")? })
}

/// Where the Service is reached from here.
fn endpoint(service: &Service, mode: &EndpointMode, names: &Names, ca: &str) -> Option<TenantEndpoint> {
    let spec = service.spec.as_ref()?;
    let port = spec.ports.iter().flatten().find(|port| port.name.as_deref() == Some("https"))?;
    let (host, port) = match mode {
        EndpointMode::ClusterIp => {
            let address = spec.cluster_ip.clone().filter(|address| !address.is_empty() && address != "None")?;
            (address, port.port)
        }
        EndpointMode::ServiceDns => (format!("{}.{}.svc", names.name, names.namespace), port.port),
        EndpointMode::NodePort { address } => (address.clone(), port.node_port.filter(|port| *port > 0)?),
    };
    Some(TenantEndpoint {
        host,
        port: u16::try_from(port).ok()?,
        server_name: SERVER_NAME.to_owned(),
        ca_pem: ca.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(mode: &EndpointMode) -> Option<(String, u16)> {
        let service = serde_json::from_value(json!({ "metadata": {}, "spec": { "clusterIP": "10.96.0.9",
            "ports": [{ "name": "kubelet", "port": 10250, "nodePort": 31000 },
                      { "name": "https", "port": 443, "nodePort": 30443 }] } }))
        .unwrap();
        let names = Names::of(&"ws-0123456789abcdefghjk".parse().unwrap());
        endpoint(&service, mode, &names, "ca").map(|endpoint| (endpoint.host, endpoint.port))
    }

    #[test]
    fn each_mode_leads_to_the_service_in_its_own_way() {
        assert_eq!(found(&EndpointMode::ClusterIp), Some(("10.96.0.9".to_owned(), 443)));
        let name = "ws-0123456789abcdefghjk.hxb-ws-0123456789abcdefghjk.svc".to_owned();
        assert_eq!(found(&EndpointMode::ServiceDns), Some((name, 443)));
        let mode = EndpointMode::NodePort { address: "192.0.2.7".to_owned() };
        assert_eq!(found(&mode), Some(("192.0.2.7".to_owned(), 30443)));
    }

    #[test]
    fn a_secret_without_all_three_parts_is_not_there_yet() {
        let secret = |value| serde_json::from_value::<Secret>(value).unwrap();
        assert!(credentials(secret(json!({ "metadata": {} }))).is_none());
        let part = json!({ "metadata": {}, "data": { "certificate-authority": "Y2E=", "client-key": "aw==" } });
        assert!(credentials(secret(part)).is_none());
    }
}
