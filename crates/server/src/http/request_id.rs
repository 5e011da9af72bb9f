//! Every request has an id: in the answer's header `x-request-id`, in problems, and in the log.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use hexabase_app::Origin;
use hexabase_core::ids::RequestId;
use tracing::Instrument as _;

use super::client_address::client_address;
use crate::state::ServerState;

/// The header that carries the id.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of the request being answered, or nothing outside of one.
pub fn current() -> String {
    CURRENT.try_with(ToString::to_string).unwrap_or_default()
}

/// Lets work that goes on in a task of its own keep the id and the span of the request being answered.
pub(super) fn kept<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let id = CURRENT.try_with(Clone::clone).ok();
    let work = work.in_current_span();
    async move {
        match id {
            Some(id) => CURRENT.scope(id, work).await,
            None => work.await,
        }
    }
}

/// Gives the request its id and a span, and notes where it came from.
pub async fn layer(State(state): State<ServerState>, mut request: Request, next: Next) -> Response {
    let Ok(id) = state.app.new_id::<RequestId>() else { return next.run(request).await };
    let span = tracing::info_span!("http", request.id = %id, method = %request.method(), path = %request.uri().path());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address = |ConnectInfo(peer): &ConnectInfo<SocketAddr>| {
        client_address(peer.ip(), request.headers(), &state.proxies).to_string()
    };
    let source = peer.map(address);
    request.extensions_mut().insert(Origin { request_id: id.clone(), source });
    let value = HeaderValue::from_str(id.as_str());
    let started = tokio::time::Instant::now();
    let answer = async {
        let response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), duration_ms = started.elapsed().as_millis(), "answered");
        response
    };
    let mut response = CURRENT.scope(id, answer.instrument(span)).await;
    if let Ok(value) = value {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
