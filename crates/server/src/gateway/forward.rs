//! One request, from the caller to the tenant and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use tokio_util::sync::CancellationToken;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug, info_span, warn};

use super::headers::{self, Upgrade};
use super::limits::{Hurried, Limits, Permit, Taken};
use super::pace::Step;
use super::path::{self, Target};
use super::status::Failure;
use super::streams::{self, Answer, Counted, Ended, Watch};
use super::upstream::{Link, Links};
use super::{Admission, Authority, GatewaySettings, credential};

/// Everything requests share.
pub(super) struct Gateway<A> {
    authority: A,
    settings: GatewaySettings,
    limits: Limits,
    links: Links,
}

impl<A> Gateway<A> {
    /// A gateway that asks `authority`.
    pub(super) fn new(authority: A, settings: GatewaySettings) -> Self {
        Self { authority, limits: Limits::new(&settings), links: Links::new(settings.clone()), settings }
    }
}

/// What goes with an admitted request until its last byte.
pub(super) struct Passage {
    pub(super) link: Link,
    pub(super) target: Target,
    pub(super) watch: Watch,
    pub(super) permit: Permit,
    pub(super) span: Span,
    /// Invitation to repeat what certainly had no effect.
    pub(super) retry_after: Duration,
}

/// Answers any request below `/k8s`.
pub(super) async fn handle<A: Authority>(State(gateway): State<Arc<Gateway<A>>>, request: Request) -> Response {
    // The query stays out of logs: it holds the command line of an exec.
    let span = info_span!(
        "gateway.request",
        http.method = %request.method(),
        url.path = request.uri().path(),
        workspace.id = Empty,
        principal = Empty,
    );
    let answered = gateway.serve(request, span.clone()).instrument(span.clone()).await;
    let _entered = span.enter();
    match answered {
        Ok(response) => {
            debug!(http.status = response.status().as_u16(), "answered by the API server");
            response
        }
        Err(failure) => {
            debug!(http.status = failure.code(), "answered by the gateway");
            failure.into_response()
        }
    }
}

impl<A: Authority> Gateway<A> {
    async fn serve(&self, mut request: Request, span: Span) -> Result<Response, Failure> {
        let target = path::target(request.method(), request.uri(), request.version())?;
        headers::one_host(request.headers())?;
        let upgrade = Upgrade::asked(request.method(), request.version(), request.headers())?;
        let bearer = credential::take(request.headers_mut(), upgrade == Some(Upgrade::WebSocket))?;
        headers::refuse_impersonation(request.headers())?;
        let stays_open = target.long || upgrade.is_some();
        let taken = match self.limits.hurried(&target.workspace, &bearer, stays_open, Instant::now()) {
            Ok(taken) => taken,
            Err(hurried) => {
                let Hurried { failure, wait } = *hurried;
                if let Some(wait) = wait {
                    // What comes of its body meanwhile is thrown away.
                    drop(request);
                    wait.end().await;
                }
                return Err(failure);
            }
        };
        // Before the admission, so that a revocation while it is decided is not missed.
        let listener = self.settings.revocations.listen();
        let lasts = stays_open || target.token_of.is_some();
        let admitted = self.authority.admit(&target.workspace, Some(bearer.token()), lasts).await;
        let admission = match admitted {
            Ok(admission) => Arc::new(admission),
            Err(refusal) => {
                let failure = Failure::from(refusal);
                self.limits.refused(&target.workspace, &bearer, &failure, Instant::now());
                taken.into_iter().for_each(Taken::give_back);
                return Err(failure);
            }
        };
        span.record("workspace.id", display(&admission.workspace));
        span.record("principal", display(&admission.principal));
        let now = Instant::now();
        self.limits.let_in(&target.workspace, &bearer, &admission.workspace, now);

        let permit = self.limits.enter(&admission.workspace, stays_open, taken, now)?;
        let token_of = target.token_of.clone();
        if let Some(account) = &token_of {
            self.authority.check_room(&admission, account).await?;
        }
        let sent = admission.renewed.as_ref().unwrap_or(&bearer);
        headers::clean_request(request.headers_mut(), sent.header()?);
        let link = self.links.link(&admission).map_err(|error| {
            warn!(error = %error, "cannot use the upstream");
            Failure::unavailable(format!("the workspace's API server cannot be reached; {error}"))
        })?;
        let watch = streams::watch(self.authority.clone(), admission.clone(), listener, &self.settings);
        let retry_after = self.settings.retry_after;
        let passage = Passage { link, target, watch, permit, span, retry_after };
        let mut answer = match upgrade {
            Some(upgrade) => passage.switch(request, upgrade, &admission, self.settings.response_timeout).await,
            None => passage.forward(request, &admission, &self.settings).await,
        }?;
        let given = token_of.filter(|_| answer.status().is_success());
        if let Some(account) = given {
            self.authority.note_token(&admission, &account).await?;
        }
        if let Some(time) = admission.woken_in {
            let seconds = time.as_secs().max(1);
            let sentence = format!("the workspace was asleep; it took {seconds} s to wake");
            headers::add_warning(answer.headers_mut(), &sentence);
        }
        Ok(answer)
    }
}

impl Passage {
    async fn forward(
        mut self,
        request: Request,
        admission: &Admission,
        settings: &GatewaySettings,
    ) -> Result<Response, Failure> {
        let limit = settings.max_request_bytes;
        if request.body().size_hint().lower() > limit {
            return Err(Failure::too_large(limit));
        }
        let (parts, body) = request.into_parts();
        let repeatable = matches!(parts.method, Method::GET | Method::HEAD);
        let overflow = CancellationToken::new();
        let step = self.step();
        let waited = step.waited();
        let mut outgoing = http::Request::new(Counted::new(body, limit, overflow.clone(), step));
        *outgoing.method_mut() = parts.method;
        *outgoing.uri_mut() = self.uri(admission)?;
        *outgoing.headers_mut() = parts.headers;

        let patience = async {
            match self.target.long {
                true => std::future::pending().await,
                // What waits for the workspace's pace is not the API server's fault.
                false => {
                    let begun = tokio::time::Instant::now();
                    let until = || begun + settings.response_timeout + waited.so_far();
                    while tokio::time::Instant::now() < until() {
                        tokio::time::sleep_until(until()).await;
                    }
                }
            }
        };
        let answer = tokio::select! {
            biased;
            () = overflow.cancelled() => return Err(Failure::too_large(limit)),
            ended = &mut self.watch => return Err(ended.into()),
            answer = self.link.pooled.request(outgoing) => answer,
            () = patience => return Err(too_slow()),
        };
        match answer {
            Ok(answer) if answer.status() != StatusCode::SWITCHING_PROTOCOLS => Ok(self.pass(answer)),
            Ok(_) => Err(Failure::unavailable("the workspace's API server switched protocols without being asked")),
            Err(_) if overflow.is_cancelled() => Err(Failure::too_large(limit)),
            Err(error) => {
                let sent = !error.is_connect();
                Err(self.unreachable(&error, sent && !repeatable))
            }
        }
    }

    /// `https://<address of the admission><path and query of the caller>`.
    fn uri(&self, admission: &Admission) -> Result<Uri, Failure> {
        let built = Uri::builder()
            .scheme("https")
            .authority(admission.upstream.address.as_str())
            .path_and_query(self.target.upstream.clone())
            .build();
        built.map_err(|_| Failure::bad_request("the request path is refused: it is not a valid path"))
    }

    /// The tenant's answer as the caller sees it, streaming.
    pub(super) fn pass(self, answer: http::Response<Incoming>) -> Response {
        let (mut parts, body) = answer.into_parts();
        headers::clean_response(&mut parts.headers, &self.target.workspace);
        let step = self.step();
        let body = Answer { body, watch: self.watch, span: self.span, step, _permit: self.permit };
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        response
    }

    fn step(&self) -> Step {
        Step::new(Arc::clone(self.permit.pace()))
    }

    /// The answer when there is none. `perhaps_done` is set when the request may have had an effect.
    pub(super) fn unreachable(&self, error: &(dyn std::error::Error + 'static), perhaps_done: bool) -> Failure {
        warn!(error = %chain(error), "the API server does not answer");
        if perhaps_done {
            return Failure::unavailable(
                "the workspace's API server broke off; check whether the change was made before you repeat it",
            );
        }
        Failure::unavailable("the workspace's API server does not answer; it may be starting, try again shortly")
            .retry(self.retry_after)
    }
}

/// 504. Not retried by itself, because the request may have had an effect.
pub(super) fn too_slow() -> Failure {
    Failure::timeout("the workspace's API server took the request but did not answer in time")
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Revoked => Self::unauthorized(ended.to_string()),
            Ended::Shutdown => Self::unavailable(ended.to_string()).retry(Duration::from_secs(1)),
        }
    }
}

/// An error with its causes, for one log line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
