//! What handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use hexabase_app::App;
use tokio_util::task::TaskTracker;

use crate::config::Network;
use crate::cookies::Cookies;
use crate::providers::Providers;

/// What handlers share; cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerState {
    /// The platform.
    pub app: App,
    /// Ways to sign in.
    pub providers: Providers,
    /// Seals what a browser carries for us.
    pub cookies: Arc<Cookies>,
    /// Networks of the reverse proxies whose word is taken for where a request came from.
    pub proxies: Arc<[Network]>,
    /// Requests that are carried out to their end, whether their client waits or not.
    pub requests: TaskTracker,
}

impl FromRef<ServerState> for App {
    fn from_ref(state: &ServerState) -> Self {
        state.app.clone()
    }
}
