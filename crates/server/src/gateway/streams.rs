//! Answers that stay open: each carries the question "is this caller still admitted?" along and ends when it is not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hexabase_core::ids::WorkspaceId;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tracing::{Span, info};

use super::limits::Permit;
use super::pace::Step;
use super::{Admission, Authority, GatewaySettings};

/// Revocations a stream may fall behind before it simply checks again.
const REMEMBERED: usize = 256;

/// Makes open streams ask at once whether they may go on, instead of at their next regular check.
///
/// Clones reach the same streams. It only hurries the question: [`Authority::still_admitted`] gives the answer, so
/// revoke first and announce afterwards.
#[derive(Debug, Clone)]
pub struct Revocations(broadcast::Sender<Revoked>);

#[derive(Debug, Clone)]
struct Revoked {
    workspace: Option<WorkspaceId>,
    principal: Option<String>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self(broadcast::Sender::new(REMEMBERED))
    }
}

impl Revocations {
    /// The rights of `principal` in `workspace` changed.
    pub fn member(&self, workspace: &WorkspaceId, principal: &str) {
        self.announce(Some(workspace.clone()), Some(principal.to_owned()));
    }

    /// Something changed for everybody in `workspace`: it is paused, moved or deleted.
    pub fn workspace(&self, workspace: &WorkspaceId) {
        self.announce(Some(workspace.clone()), None);
    }

    /// Something changed for `principal` everywhere: the account is blocked, or all its sessions ended.
    pub fn principal(&self, principal: &str) {
        self.announce(None, Some(principal.to_owned()));
    }

    /// Anything may have changed, for instance after a gap in the messages that feed this handle.
    pub fn everything(&self) {
        self.announce(None, None);
    }

    fn announce(&self, workspace: Option<WorkspaceId>, principal: Option<String>) {
        // An error means that no stream is open.
        self.0.send(Revoked { workspace, principal }).ok();
    }

    /// Hears what is announced from now on; to be taken before the admission it is about.
    pub(super) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// One stream's ear.
#[derive(Debug)]
pub(super) struct Listener(broadcast::Receiver<Revoked>);

impl Listener {
    async fn concerns(&mut self, admission: &Admission) {
        loop {
            match self.0.recv().await {
                Ok(revoked) => {
                    let here = revoked.workspace.is_none_or(|workspace| workspace == admission.workspace);
                    if here && revoked.principal.is_none_or(|principal| principal == admission.principal) {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Why a stream had to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ended {
    /// The caller is no longer admitted.
    #[error("access to this workspace was taken away")]
    Revoked,
    /// This server stops; the client may connect to another one.
    #[error("the gateway is shutting down; connect again")]
    Shutdown,
}

/// Resolves when a stream must end; does nothing until polled.
pub(super) type Watch = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// Watches over `admission` from now on.
pub(super) fn watch<A: Authority>(
    authority: A,
    admission: Arc<Admission>,
    listener: Listener,
    settings: &GatewaySettings,
) -> Watch {
    let (every, patience) = (settings.recheck, settings.recheck_timeout);
    let shutdown = settings.shutdown.clone();
    Box::pin(async move {
        let revoked = until_revoked(authority, admission, listener, every, patience);
        shutdown.run_until_cancelled_owned(revoked).await.map_or(Ended::Shutdown, |()| Ended::Revoked)
    })
}

async fn until_revoked<A: Authority>(
    authority: A,
    admission: Arc<Admission>,
    mut listener: Listener,
    every: Duration,
    patience: Duration,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = listener.concerns(&admission) => {}
        }
        if !tokio::time::timeout(patience, authority.still_admitted(&admission)).await.unwrap_or(false) {
            return;
        }
    }
}

/// The body of an answer on its way to the caller. Holds the permit until the last byte.
pub(super) struct Answer {
    pub(super) body: Incoming,
    pub(super) watch: Watch,
    pub(super) span: Span,
    pub(super) step: Step,
    pub(super) _permit: Permit,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(ended) = self.watch.as_mut().poll(context) {
            info!(parent: &self.span, reason = %ended, "stream ended");
            self.watch = Box::pin(std::future::pending());
            return Poll::Ready(Some(Err(ended.into())));
        }
        ready!(self.step.poll_ready(context));
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.step.passed(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request on its way to the tenant, counted; trailers are left behind.
pub(super) struct Counted {
    body: axum::body::Body,
    left: u64,
    overflow: CancellationToken,
    step: Step,
}

impl Counted {
    /// `body`, of which `limit` bytes may pass, in step with its workspace; `overflow` is cancelled when it is longer.
    pub(super) fn new(body: axum::body::Body, limit: u64, overflow: CancellationToken, step: Step) -> Self {
        Self { body, left: limit, overflow, step }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        ready!(self.step.poll_ready(context));
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { return Poll::Ready(None) };
                match self.left.checked_sub(data.len() as u64) {
                    Some(left) => {
                        self.left = left;
                        self.step.passed(data.len());
                        Poll::Ready(Some(Ok(Frame::data(data))))
                    }
                    None => {
                        self.overflow.cancel();
                        Poll::Ready(Some(Err("the request body is too large".into())))
                    }
                }
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
