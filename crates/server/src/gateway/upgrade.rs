//! Exec, attach, port-forward and cp: requests that turn their connection into a tunnel (WebSocket or SPDY).

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use http::header::HOST;
use http::{HeaderValue, StatusCode, Uri};
use http_body_util::Empty;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tracing::{Instrument, info};

use super::Admission;
use super::dial::DialError;
use super::forward::{Passage, too_slow};
use super::headers::{self, Upgrade};
use super::pace::Paced;
use super::status::Failure;
use super::streams::Ended;

/// Copied at a time in each direction; `kubectl cp` of large files profits from more than the default.
const CHUNK: usize = 32 << 10;

#[derive(Debug, thiserror::Error)]
enum SwitchError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the request was not answered")]
    Send(#[from] hyper::Error),
}

impl Passage {
    /// Asks the tenant to switch; once it agrees, connects both sides until one of them, or the admission, ends.
    pub(super) async fn switch(
        mut self,
        mut request: Request,
        upgrade: Upgrade,
        admission: &Admission,
        patience: Duration,
    ) -> Result<Response, Failure> {
        let caller = hyper::upgrade::on(&mut request);
        let outgoing = self.outgoing(request, upgrade, admission)?;
        let link = self.link.clone();
        let sent = async move { Ok::<_, SwitchError>(link.open().await?.send_request(outgoing).await?) };
        let answer = tokio::select! {
            biased;
            ended = &mut self.watch => return Err(ended.into()),
            answer = sent => answer,
            () = tokio::time::sleep(patience) => return Err(too_slow()),
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let sent = matches!(error, SwitchError::Send(_));
                return Err(self.unreachable(&error, sent));
            }
        };
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(self.pass(answer));
        }
        if Upgrade::read(answer.headers()) != Some(upgrade) {
            return Err(Failure::unavailable("the workspace's API server switched to a protocol nobody asked for"));
        }
        let tenant = hyper::upgrade::on(&mut answer);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        headers::clean_response(response.headers_mut(), &self.target.workspace);
        upgrade.mark(response.headers_mut());
        let span = self.span.clone();
        tokio::spawn(self.tunnel(upgrade, caller, tenant).instrument(span));
        Ok(response)
    }

    fn outgoing(
        &self,
        request: Request,
        upgrade: Upgrade,
        admission: &Admission,
    ) -> Result<http::Request<Empty<Bytes>>, Failure> {
        let host = HeaderValue::try_from(admission.upstream.address.as_str());
        let host = host.map_err(|_| Failure::unavailable("the address of the workspace's API server is not valid"))?;
        let (parts, _) = request.into_parts();
        let mut outgoing = http::Request::new(Empty::new());
        *outgoing.method_mut() = parts.method;
        *outgoing.uri_mut() = Uri::from(self.target.upstream.clone());
        *outgoing.headers_mut() = parts.headers;
        outgoing.headers_mut().insert(HOST, host);
        upgrade.mark(outgoing.headers_mut());
        Ok(outgoing)
    }

    /// Both sides are closed when this returns, whatever the reason.
    async fn tunnel(self, upgrade: Upgrade, caller: OnUpgrade, tenant: OnUpgrade) {
        let Self { watch, permit, .. } = self;
        info!(protocol = upgrade.name(), "tunnel opened");
        let copied = async {
            let (caller, tenant) = futures::try_join!(caller, tenant).map_err(std::io::Error::other)?;
            let (caller, mut tenant) = (TokioIo::new(caller), TokioIo::new(tenant));
            let mut caller = Paced::new(caller, permit.pace());
            tokio::io::copy_bidirectional_with_sizes(&mut caller, &mut tenant, CHUNK, CHUNK).await
        };
        let ended: Result<_, Ended> = tokio::select! {
            biased;
            ended = watch => Err(ended),
            copied = copied => Ok(copied),
        };
        match ended {
            Ok(Ok((up, down))) => info!(bytes.up = up, bytes.down = down, "tunnel closed"),
            Ok(Err(error)) => info!(error = %error, "tunnel broke off"),
            Err(ended) => info!(reason = %ended, "tunnel ended"),
        }
        drop(permit);
    }
}
