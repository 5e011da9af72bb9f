//! Who may ask our issuers for tokens: our own programs, and what the operator has registered.

use hexabase_core::ids::WorkspaceId;
use hexabase_oidc::provider::{Client, RedirectUri};

use crate::context::App;
use crate::error::{Error, Result};
use crate::issuer::Realm;

/// The client id of the command line.
pub const HXB: &str = "hxb";

/// A client that the operator has registered.
#[derive(Debug, Clone)]
pub struct RegisteredClient {
    /// What it is to the protocol.
    pub client: Client,
    /// Where it is known.
    pub realms: Vec<Realms>,
}

/// Issuers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Realms {
    /// The platform.
    Platform,
    /// Every workspace.
    Workspaces,
    /// One workspace.
    Workspace(WorkspaceId),
}

impl Realms {
    fn include(&self, realm: &Realm) -> bool {
        match (self, realm) {
            (Self::Platform, Realm::Platform) | (Self::Workspaces, Realm::Workspace(_)) => true,
            (Self::Workspace(one), Realm::Workspace(other)) => one == other,
            _ => false,
        }
    }
}

/// The clients of a realm. Our own are public: they run on people's own machines and could keep no secret. In a workspace's
/// realm kubectl calls itself by the workspace's id, so that its ID token is for whom the tenant's API server expects
/// (kubelogin's `--oidc-client-id`).
pub(crate) fn clients(app: &App, realm: &Realm) -> Result<Vec<Client>> {
    let own = |id: &str, name: &str| -> Result<Client> {
        let client = Client::public(id, loopback()?).map_err(Error::internal)?;
        Ok(client.named(name).acting_for_people())
    };
    let mut clients = vec![own(HXB, "hxb, the command line")?];
    if let Realm::Workspace(id) = realm {
        clients.push(own(id.as_str(), "kubectl")?);
    }
    let registered = app.settings.oidc_clients.iter();
    let here = registered.filter(|registered| registered.realms.iter().any(|realms| realms.include(realm)));
    clients.extend(here.map(|registered| registered.client.clone()));
    Ok(clients)
}

/// Where our own programs wait for a browser, on any port: `hxb`, and kubelogin, whose address has no path.
fn loopback() -> Result<Vec<RedirectUri>> {
    [
        "http://127.0.0.1/callback",
        "http://localhost/callback",
        "http://localhost/",
        "http://127.0.0.1/",
        "http://localhost",
        "http://127.0.0.1",
        "http://[::1]/callback",
    ]
    .into_iter()
    .map(|uri| RedirectUri::loopback(uri).map_err(Error::internal))
    .collect()
}
