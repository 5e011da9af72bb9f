//! Listeners: accept, TLS, HTTP/1.1 or HTTP/2 with upgrades, and an orderly end.

mod flowing;
mod patient;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use self::flowing::Flowing;
use self::patient::Patient;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// To say whether it is HTTP/1 or HTTP/2, and to send the head of a request by HTTP/1. Whoever speaks HTTP/2 is pinged.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of a body is received by HTTP/2 before anybody asks for it, and so also of one that is refused unread: all of an
/// ordinary object, a part of a large one. A long way is still as fast as this much per round trip.
const BODY_WINDOW: u32 = 64 << 10;
/// How many requests may be under way by HTTP/2 on one connection, and room for a body of each: those of a workspace that wait for its
/// pace hold up no others.
const STREAMS: u32 = 200;
const BODIES_WINDOW: u32 = STREAMS * BODY_WINDOW;
/// Pieces of bodies that may arrive by HTTP/2 after their refusal was sent, four of each body at most, for as long as a connection
/// lasts. Each counts as an error of ours, and whoever causes more is hung up on with all that is under way on their connection,
/// watches of other workspaces among them. But anybody can send such pieces, also of what never began and without a token, and what
/// each is answered with, some 600 bytes, is held until it is read.
const LATE_PIECES: usize = 8 << 10;
/// How much of an answer waits by HTTP/2 for a caller who does not read it, beside what waits on the way here.
const ANSWER_BUFFER: usize = 64 << 10;
/// How long whoever reads nothing at all holds all that waits for them.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const DRAIN: Duration = Duration::from_secs(5);

/// What serves each connection.
type Services = IntoMakeServiceWithConnectInfo<Router, SocketAddr>;

/// Opens a listener; port 0 takes any free port.
///
/// # Errors
/// The address, and what is wrong with it.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow!("cannot listen on {address}: another program listens there; choose another port")
        }
        ErrorKind::AddrNotAvailable => anyhow!("cannot listen on {address}: this machine has no such address"),
        _ => anyhow!("cannot listen on {address}: {error}"),
    })
}

/// Serves `router` until `stop`, then gives open requests a few seconds. Without `tls` it serves plain HTTP.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    stop: CancellationToken,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    // Once: what each connection takes of it is shared, where making it anew copies every route.
    let make = router.into_make_service_with_connect_info::<SocketAddr>();
    let connections = TaskTracker::new();
    // Cuts off, when this function returns, whoever still talks then, such as a listener to the live feed.
    let cut = CancellationToken::new();
    let _guard = cut.clone().drop_guard();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let stream = Flowing::new(stream, UNREAD_TIMEOUT);
        let (acceptor, make, stop, cut) = (acceptor.clone(), make.clone(), stop.clone(), cut.clone());
        connections.spawn(async move {
            match acceptor {
                None => connection(Patient::new(stream, HEADER_TIMEOUT), peer, make, stop, cut).await,
                Some(acceptor) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        connection(Patient::new(stream, HEADER_TIMEOUT), peer, make, stop, cut).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, %peer, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                },
            }
        });
    }
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

async fn connection<S>(
    stream: Patient<S>,
    peer: SocketAddr,
    mut make: Services,
    stop: CancellationToken,
    cut: CancellationToken,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let Ok(service) = make.call(PeerAddress(peer)).await;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(BODY_WINDOW)
        .initial_connection_window_size(BODIES_WINDOW)
        .max_local_error_reset_streams(LATE_PIECES)
        .max_send_buf_size(ANSWER_BUFFER)
        .enable_connect_protocol();
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                outcome = served => outcome,
                () = cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, cause = error.source(), %peer, "connection ended early");
    }
}

/// Makes the peer's address available to handlers as `ConnectInfo<SocketAddr>`.
struct PeerAddress(SocketAddr);

impl axum::extract::connect_info::Connected<PeerAddress> for SocketAddr {
    fn connect_info(peer: PeerAddress) -> Self {
        peer.0
    }
}

#[cfg(test)]
mod tests;
