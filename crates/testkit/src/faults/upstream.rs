//! The servers behind a proxy.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, Response};
use serde_json::Value;

/// The name in the certificate of every workspace's API server.
const TENANT: &str = "kubernetes";

/// A server, and who calls it.
pub(super) struct Upstream {
    base: String,
    /// With the proxy's own identity.
    own: Client,
    /// For callers who say who they are.
    theirs: Client,
    token: Option<String>,
}

impl Upstream {
    pub(super) fn of_kubeconfig(kubeconfig: &Value) -> anyhow::Result<Self> {
        let at = |pointer: &str| kubeconfig.pointer(pointer).and_then(Value::as_str);
        let base = at("/clusters/0/cluster/server").context("the kubeconfig names no server")?;
        let authority =
            at("/clusters/0/cluster/certificate-authority-data").context("the kubeconfig has no authority")?;
        let certificate = at("/users/0/user/client-certificate-data");
        let identity = match (certificate, at("/users/0/user/client-key-data")) {
            (Some(certificate), Some(key)) => Some(identity(&decoded(certificate)?, &decoded(key)?)?),
            _ => None,
        };
        let token = at("/users/0/user/token").map(str::to_owned);
        anyhow::ensure!(identity.is_some() || token.is_some(), "the kubeconfig has neither a certificate nor a token");
        Self::new(base, &decoded(authority)?, None, identity, token)
    }

    pub(super) fn of_server(base: &str, authority_pem: &str) -> anyhow::Result<Self> {
        Self::new(base, authority_pem.as_bytes(), None, None, None)
    }

    /// The API server of a workspace.
    pub(super) fn of_tenant(
        address: IpAddr,
        port: u16,
        authority: &[u8],
        identity: Option<Identity>,
    ) -> anyhow::Result<Self> {
        Self::new(&format!("https://{TENANT}:{port}"), authority, Some(SocketAddr::new(address, port)), identity, None)
    }

    fn new(
        base: &str,
        authority: &[u8],
        address: Option<SocketAddr>,
        identity: Option<Identity>,
        token: Option<String>,
    ) -> anyhow::Result<Self> {
        let trusted = Certificate::from_pem_bundle(authority).context("the authority cannot be read")?;
        let client = |identity: Option<Identity>| {
            let mut builder = Client::builder().redirect(Policy::none()).no_proxy().tls_certs_only(trusted.clone());
            if let Some(address) = address {
                builder = builder.resolve(TENANT, address);
            }
            if let Some(identity) = identity {
                builder = builder.identity(identity);
            }
            builder.build().context("making an HTTP client")
        };
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { base, own: client(identity)?, theirs: client(None)?, token })
    }

    /// Sends a call on.
    pub(super) async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> reqwest::Result<Response> {
        for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TE] {
            headers.remove(name);
        }
        // Some answers are changed on their way.
        headers.remove(header::ACCEPT_ENCODING);
        let url = format!("{}{path_and_query}", self.base);
        if headers.contains_key(header::AUTHORIZATION) {
            return self.theirs.request(method, url).headers(headers).body(body).send().await;
        }
        let mut request = self.own.request(method, url).headers(headers).body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.send().await
    }
}

/// A client certificate with its key, both PEM.
pub(super) fn identity(certificate: &[u8], key: &[u8]) -> anyhow::Result<Identity> {
    Identity::from_pem(&[certificate, b"\n", key].concat()).context("the client certificate cannot be used")
}

pub(super) fn decoded(text: &str) -> anyhow::Result<Vec<u8>> {
    STANDARD.decode(text).context("not base64")
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
