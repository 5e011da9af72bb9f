//! Connections to tenants' API servers: one pooled client per workspace, rebuilt when anything about that API
//! server changes. Connections are never shared between workspaces.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use hexabase_core::ids::WorkspaceId;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;
use tracing::debug;

use super::dial::{DialError, Dialer, KEEP_ALIVE, Misconfigured};
use super::streams::Counted;
use super::{Admission, GatewaySettings, Upstream};

/// What one answer may run ahead of a caller who reads slowly.
const STREAM_WINDOW: u32 = 128 << 10;

/// What one request may run ahead of an API server that reads slowly.
const SEND_BUFFER: usize = 64 << 10;
/// Answers that callers broke off within a second, and whose rest may still arrive.
const BROKEN_OFF: usize = 256;
/// Pieces of others that may arrive before the connection is given up, with all that is under way on it, for as long as it lasts. Each is
/// answered, and the answer held until it is sent, as in `listen.rs`.
const LATE_PIECES: usize = 8 << 10;

/// The client of one API server.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// For ordinary requests: HTTP/2 where the API server offers it.
    pub(super) pooled: Client<Dialer, Counted>,
    dialer: Dialer,
}

impl Link {
    fn new(upstream: &Upstream, settings: &GatewaySettings) -> Result<Self, Misconfigured> {
        let dialer = Dialer::new(upstream, settings.connect_timeout)?;
        // Room for every stream at once, so that callers who stop reading cannot hold up the others of the workspace.
        let connection_window = settings.concurrency.saturating_add(8).saturating_mul(STREAM_WINDOW).min(1 << 30);
        let pooled = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(connection_window)
            .http2_max_send_buf_size(SEND_BUFFER)
            .http2_max_concurrent_reset_streams(BROKEN_OFF)
            .http2_max_local_error_reset_streams(LATE_PIECES)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .build(dialer.clone());
        Ok(Self { pooled, dialer })
    }

    /// A connection of its own, HTTP/1.1, able to switch protocols.
    pub(super) async fn open(&self) -> Result<http1::SendRequest<Empty<Bytes>>, DialError> {
        let stream = self.dialer.http1().await?;
        let (sender, connection) = http1::handshake(stream).await.map_err(DialError::Http)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(error = %error, "connection to the API server ended");
            }
        });
        Ok(sender)
    }
}

#[derive(Debug)]
struct Entry {
    upstream: Upstream,
    link: Link,
    used: Instant,
}

/// The clients of the workspaces used last.
#[derive(Debug)]
pub(super) struct Links {
    settings: GatewaySettings,
    entries: Mutex<HashMap<WorkspaceId, Entry>>,
}

impl Links {
    /// No clients yet.
    pub(super) fn new(settings: GatewaySettings) -> Self {
        Self { settings, entries: Mutex::default() }
    }

    /// The client for `admission`: the one in use, unless address, name or certificate authority changed since.
    pub(super) fn link(&self, admission: &Admission) -> Result<Link, Misconfigured> {
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&admission.workspace)
            && entry.upstream == admission.upstream
        {
            entry.used = now;
            return Ok(entry.link.clone());
        }
        let link = Link::new(&admission.upstream, &self.settings)?;
        entries.remove(&admission.workspace);
        while entries.len() >= self.settings.max_clients.max(1) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(workspace, _)| workspace.clone());
            let Some(oldest) = oldest else { break };
            entries.remove(&oldest);
        }
        let entry = Entry { upstream: admission.upstream.clone(), link: link.clone(), used: now };
        entries.insert(admission.workspace.clone(), entry);
        Ok(link)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hexabase_core::ids::Id;
    use hexabase_core::time::Timestamp;

    use super::*;

    #[tokio::test]
    async fn clients_are_kept_for_the_workspaces_used_last_and_for_no_more() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let upstream = Upstream {
            address: "127.0.0.1:1".into(),
            server_name: "kubernetes".into(),
            ca_pem: certificate.pem().into(),
        };
        let admission = |number: u64| Admission {
            workspace: WorkspaceId::from_parts(Timestamp::from_seconds(1), number),
            upstream: upstream.clone(),
            principal: String::new(),
            expires_at: 0,
            groups: Vec::new(),
            roles: Vec::new(),
            key: String::new(),
            moved_at: None,
            renewed: None,
            woken_in: None,
        };
        let links = Links::new(GatewaySettings { max_clients: 2, ..GatewaySettings::default() });
        let settled = links.link(&admission(0)).unwrap();
        for number in 1..5 {
            links.link(&admission(number)).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(links.link(&admission(0)).unwrap().dialer.same(&settled.dialer), "it is in use");
            assert!(links.entries.lock().unwrap().len() <= 2);
        }
        let moved = Upstream { address: "127.0.0.1:2".into(), ..upstream.clone() };
        let moved = links.link(&Admission { upstream: moved, ..admission(0) }).unwrap();
        assert!(!moved.dialer.same(&settled.dialer));
    }
}
