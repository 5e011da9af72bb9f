//! The API servers of workspaces: the host tells where each is and whom to trust there, and the proxy names itself instead.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::lock;
use super::relay::{Opened, Relay};
use super::upstream::{self, Upstream};

/// The file among a control plane's own certificates that holds all that is needed to ask its API server.
const KUBECONFIG: &str = "admin.conf";

/// Behind which of its addresses a proxy was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The server it was started for.
    Host,
    /// The API server of a workspace.
    Tenant,
}

/// Where calls go from here at this moment.
pub(super) type Current = Arc<Mutex<Arc<Upstream>>>;

/// What is known of a workspace's API server.
#[derive(Default)]
pub(super) struct Tenant {
    credentials: Option<Credentials>,
    /// The address and the credentials that `way` was made of.
    made_of: Option<(IpAddr, u16, Credentials)>,
    /// The proxy's own port for it.
    way: Option<(u16, Current)>,
}

#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What the host says about a workspace's API server.
enum Told<'a> {
    Credentials(&'a str),
    /// The same, as the control plane itself has them.
    Certificates(&'a str),
    Address(&'a str),
}

fn told(path: &str) -> Option<Told<'_>> {
    let (workspace, object) = path.strip_prefix("/api/v1/namespaces/hxb-")?.split_once('/')?;
    match object.split_once('/')? {
        ("secrets", name) if name.strip_prefix("vc-") == Some(workspace) => Some(Told::Credentials(workspace)),
        ("secrets", name) if name.strip_suffix("-certs") == Some(workspace) => Some(Told::Certificates(workspace)),
        ("services", name) if name == workspace => Some(Told::Address(workspace)),
        _ => None,
    }
}

/// Whether an answer to a GET of this path is one that [`turn`] changes.
pub(super) fn concerns(path: &str) -> bool {
    told(path).is_some()
}

/// An object of the host's as it is passed on.
pub(super) fn turn(relay: &Relay, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
    let Some(told) = told(path) else { return Ok(body) };
    let mut object: Value = serde_json::from_slice(&body).context("the host's answer is not JSON")?;
    let turned = match told {
        Told::Credentials(workspace) => turn_credentials(relay, workspace, &mut object)?,
        Told::Certificates(workspace) => turn_certificates(relay, workspace, &mut object)?,
        Told::Address(workspace) => turn_address(relay, workspace, &mut object)?,
    };
    Ok(if turned { Bytes::from(object.to_string()) } else { body })
}

fn turn_credentials(relay: &Relay, workspace: &str, secret: &mut Value) -> anyhow::Result<bool> {
    let part = |name: &str| secret["data"][name].as_str().filter(|text| !text.is_empty()).map(upstream::decoded);
    let (Some(authority), Some(certificate), Some(key)) =
        (part("certificate-authority"), part("client-certificate"), part("client-key"))
    else {
        return Ok(false);
    };
    let credentials = Credentials { authority: authority?, certificate: certificate?, key: key? };
    secret["data"]["certificate-authority"] = json!(upstream::base64(relay.authority_pem().as_bytes()));
    lock(&relay.tenants).entry(workspace.to_owned()).or_default().credentials = Some(credentials);
    Ok(true)
}

/// The parts of a kubeconfig with one cluster and one user, whose text is changed in one place.
fn turn_certificates(relay: &Relay, workspace: &str, secret: &mut Value) -> anyhow::Result<bool> {
    let Some(text) = secret["data"][KUBECONFIG].as_str() else { return Ok(false) };
    let text = String::from_utf8(upstream::decoded(text)?)?;
    let part = |name: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim).with_context(|| format!("{KUBECONFIG} without {name}"))
    };
    let authority = part("certificate-authority-data")?;
    let credentials = Credentials {
        authority: upstream::decoded(authority)?,
        certificate: upstream::decoded(part("client-certificate-data")?)?,
        key: upstream::decoded(part("client-key-data")?)?,
    };
    let turned = text.replace(authority, &upstream::base64(relay.authority_pem().as_bytes()));
    secret["data"][KUBECONFIG] = json!(upstream::base64(turned.as_bytes()));
    lock(&relay.tenants).entry(workspace.to_owned()).or_default().credentials = Some(credentials);
    Ok(true)
}

fn turn_address(relay: &Relay, workspace: &str, service: &mut Value) -> anyhow::Result<bool> {
    let Some(address) = service["spec"]["clusterIP"].as_str().and_then(|text| text.parse::<IpAddr>().ok()) else {
        return Ok(false);
    };
    let ports = service["spec"]["ports"].as_array_mut().context("a Service without ports")?;
    let Some(port) = ports.iter_mut().find(|port| port["name"] == "https") else { return Ok(false) };
    let number =
        port["port"].as_u64().and_then(|number| u16::try_from(number).ok()).context("a port without a number")?;
    let mut tenants = lock(&relay.tenants);
    let tenant = tenants.entry(workspace.to_owned()).or_default();
    let Some(credentials) = tenant.credentials.clone() else { return Ok(false) };
    let own = tenant.way(relay, address, number, credentials)?;
    port["port"] = json!(own);
    service["spec"]["clusterIP"] = json!("127.0.0.1");
    Ok(true)
}

impl Tenant {
    /// The proxy's port for it, which stays the same.
    fn way(&mut self, relay: &Relay, address: IpAddr, port: u16, credentials: Credentials) -> anyhow::Result<u16> {
        let made_of = (address, port, credentials);
        if let (Some((own, _)), true) = (&self.way, self.made_of.as_ref() == Some(&made_of)) {
            return Ok(*own);
        }
        let (_, _, Credentials { authority, certificate, key }) = &made_of;
        let identity = upstream::identity(certificate, key)?;
        let upstream = Arc::new(Upstream::of_tenant(address, port, authority, Some(identity))?);
        self.made_of = Some(made_of);
        if let Some((own, current)) = &self.way {
            *lock(current) = upstream;
            return Ok(*own);
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let own = listener.local_addr()?.port();
        let current: Current = Arc::new(Mutex::new(upstream));
        let upstream = Arc::clone(&current);
        relay.open(Opened { listener: TcpListener::from_std(listener)?, place: Place::Tenant, upstream });
        self.way = Some((own, current));
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tells_of_a_workspaces_api_server_is_changed() {
        let namespace = "/api/v1/namespaces/hxb-ws-1";
        for ours in ["/secrets/vc-ws-1", "/secrets/ws-1-certs", "/services/ws-1"] {
            assert!(concerns(&format!("{namespace}{ours}")), "{ours}");
        }
        for other in ["", "/secrets", "/secrets/vc-ws-2", "/secrets/vc-ws-1/x", "/services/ws-1-headless", "/pods/ws-1"]
        {
            assert!(!concerns(&format!("{namespace}{other}")), "{other}");
        }
        assert!(!concerns("/api/v1/namespaces/default/services/ws-1"));
    }
}
