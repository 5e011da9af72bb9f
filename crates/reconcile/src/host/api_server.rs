//! Step 5: the tenant's API server answers.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::Client;
use kube::config::Kubeconfig;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::apply::Cluster;
use crate::desired::DesiredWorkspace;
use crate::error::ReconcileError;
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

/// The tenant's certificate authority and a client of `system:masters`.
pub(crate) struct Credentials {
    pub(crate) ca: String,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// A client for the tenant whose control plane runs, or what it still waits for. The credentials are read anew every time:
/// vCluster renews them.
pub(crate) async fn progress(
    host: &Cluster,
    mode: &EndpointMode,
    names: &Names,
    desired: &DesiredWorkspace,
) -> Result<Result<Tenant, Progress>, ReconcileError> {
    let wait = |text: String| Ok(Err(Progress::wait(SOON, text)));
    let Some(credentials) = credentials(host, names, desired).await? else {
        return wait(format!("Secret vc-{}: not written by vCluster yet", names.name));
    };
    let service: Option<Service> = host.get_as(Kind::Service, Some(&names.namespace), &names.name).await?;
    let Some(endpoint) = service.and_then(|service| endpoint(&service, mode, names, &credentials.ca)) else {
        return wait(format!("Service {}: has no address yet", names.name));
    };
    let cluster = match tenant::connect(&endpoint, &credentials).await {
        Ok(cluster) => cluster,
        Err(error) => return wait(format!("Service {}: {error}", names.name)),
    };
    match readyz(&cluster.client).await {
        Ok(()) => Ok(Ok(Tenant { endpoint, cluster })),
        Err(reason) => wait(format!("its API server is starting: {reason}")),
    }
}

/// The Secret for administrators is the last thing of all that vCluster writes at its first start; its own certificates are
/// the first, and hold the same. What was made ahead waits for the last: it is to be whole before it sleeps.
async fn credentials(
    host: &Cluster,
    names: &Names,
    desired: &DesiredWorkspace,
) -> Result<Option<Credentials>, ReconcileError> {
    let secret = async |name: String| host.get_as::<Secret>(Kind::Secret, Some(&names.namespace), &name).await;
    let written = secret(format!("vc-{}", names.name)).await?.and_then(for_administrators);
    if written.is_some() || desired.organization.is_none() {
        return Ok(written);
    }
    Ok(secret(format!("{}-certs", names.name)).await?.and_then(own))
}

async fn readyz(client: &Client) -> Result<(), String> {
    let request = http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
    match client.request_text(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(missing(&status.message)),
        Err(error) => Err(error.to_string()),
    }
}

/// The lines about what is not ready, of one about each check.
fn missing(message: &str) -> String {
    let missing: Vec<&str> = message.lines().filter(|line| line.starts_with("[-]")).collect();
    if missing.is_empty() { message.to_owned() } else { missing.join(", ") }
}

fn for_administrators(secret: Secret) -> Option<Credentials> {
    let mut data = secret.data?;
    let mut take = |key: &str| data.remove(key).map(|bytes| bytes.0).filter(|bytes| !bytes.is_empty());
    let ca = String::from_utf8(take("certificate-authority")?).ok()?;
    Some(Credentials { ca, certificate: take("client-certificate")?, key: take("client-key")? })
}

/// Those of the kubeconfig that vCluster itself uses.
fn own(secret: Secret) -> Option<Credentials> {
    let text = secret.data?.remove("admin.conf")?;
    let kubeconfig = Kubeconfig::from_yaml(std::str::from_utf8(&text.0).ok()?).ok()?;
    let cluster = kubeconfig.clusters.into_iter().next()?.cluster?;
    let user = kubeconfig.auth_infos.into_iter().next()?.auth_info?;
    let part = |text: Option<&str>| serde_json::from_value::<ByteString>(json!(text?)).ok().map(|bytes| bytes.0);
    let ca = String::from_utf8(part(cluster.certificate_authority_data.as_deref())?).ok()?;
    let key = part(user.client_key_data.as_ref().map(SecretString::expose_secret))?;
    Some(Credentials { ca, certificate: part(user.client_certificate_data.as_deref())?, key })
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
    use serde_json::Value;

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

    fn secret(data: Value) -> Secret {
        serde_json::from_value(json!({ "metadata": {}, "data": data })).unwrap()
    }

    #[test]
    fn of_all_checks_those_are_told_that_are_not_passed() {
        assert_eq!(
            missing("[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed"),
            "[-]etcd failed: reason withheld"
        );
        assert_eq!(missing("shutting down"), "shutting down");
    }

    #[test]
    fn a_secret_without_all_three_parts_is_not_there_yet() {
        assert!(for_administrators(secret(Value::Null)).is_none());
        assert!(for_administrators(secret(json!({ "certificate-authority": "Y2E=", "client-key": "aw==" }))).is_none());
        assert!(own(secret(json!({ "ca.crt": "Y2E=" }))).is_none());
    }

    #[test]
    fn what_the_control_plane_uses_itself_is_read_from_its_kubeconfig() {
        let kubeconfig = json!({ "apiVersion": "v1", "kind": "Config",
            "clusters": [{ "name": "kubernetes", "cluster": {
                "server": "https://127.0.0.1:6443", "certificate-authority-data": "Y2E=" } }],
            "users": [{ "name": "admin", "user": {
                "client-certificate-data": "Y2VydA==", "client-key-data": "a2V5" } }] });
        let found = own(secret(json!({ "admin.conf": ByteString(kubeconfig.to_string().into_bytes()) }))).unwrap();
        assert_eq!((found.ca.as_str(), &found.certificate[..], &found.key[..]), ("ca", &b"cert"[..], &b"key"[..]));
    }
}
