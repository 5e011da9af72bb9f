//! Connects to a tenant's API server over TLS, trusting that workspace's certificate authority and no other, at the address
//! of the admission whatever the request says.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::{Service, ServiceExt};

use super::Upstream;

/// How often a silent connection is probed.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What is recorded about a workspace's API server cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the upstream of the workspace is misconfigured: {0}")]
pub(super) struct Misconfigured(String);

/// The API server cannot be reached, or is not the one it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    #[error("cannot connect")]
    Connect(#[source] BoxError),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("the HTTP handshake failed")]
    Http(#[source] hyper::Error),
}

/// Opens connections to one API server.
#[derive(Clone)]
pub(super) struct Dialer(Arc<DialerInner>);

struct DialerInner {
    address: Uri,
    server_name: ServerName<'static>,
    connector: HttpConnector,
    timeout: Duration,
    http2: TlsConnector,
    http1: TlsConnector,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialer({})", self.0.address)
    }
}

impl Dialer {
    /// For `upstream`, giving up after `timeout`.
    pub(super) fn new(upstream: &Upstream, timeout: Duration) -> Result<Self, Misconfigured> {
        let wrong = |error: &dyn std::fmt::Display| Misconfigured(error.to_string());
        let address: Uri = format!("http://{}", upstream.address).parse().map_err(|error| wrong(&error))?;
        if address.authority().is_none_or(|authority| authority.as_str() != upstream.address)
            || address.port_u16().is_none()
        {
            return Err(Misconfigured("the address is not host:port".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(upstream.ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(Misconfigured("there is no certificate authority".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEP_ALIVE));
        connector.set_keepalive_interval(Some(KEEP_ALIVE));
        connector.set_connect_timeout(Some(timeout));
        Ok(Self(Arc::new(DialerInner {
            server_name: ServerName::try_from(upstream.server_name.clone()).map_err(|error| wrong(&error))?,
            http2: offering(&[b"h2", b"http/1.1"]),
            http1: offering(&[b"http/1.1"]),
            address,
            connector,
            timeout,
        })))
    }

    /// A connection on which HTTP/1.1 is spoken.
    pub(super) async fn http1(&self) -> Result<Secured, DialError> {
        self.dial(&self.0.http1).await
    }

    #[cfg(test)]
    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    async fn dial(&self, tls: &TlsConnector) -> Result<Secured, DialError> {
        let inner = &self.0;
        let dialled = async {
            let tcp: TokioIo<TcpStream> = inner
                .connector
                .clone()
                .oneshot(inner.address.clone())
                .await
                .map_err(|error| DialError::Connect(error.into()))?;
            let name = inner.server_name.clone();
            tls.connect(name, tcp.into_inner()).await.map(TokioIo::new).map(Secured).map_err(DialError::Tls)
        };
        tokio::time::timeout(inner.timeout, dialled).await.unwrap_or(Err(DialError::Timeout(inner.timeout)))
    }
}

impl Service<Uri> for Dialer {
    type Response = Secured;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Secured, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    /// The URI is not looked at: a request cannot choose where it goes.
    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(&dialer.0.http2).await })
    }
}

/// A verified TLS connection to an API server.
pub(super) struct Secured(TokioIo<TlsStream<TcpStream>>);

impl Connection for Secured {
    fn connected(&self) -> Connected {
        let (_, session) = self.0.inner().get_ref();
        if session.alpn_protocol() == Some(b"h2") { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl Read for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
