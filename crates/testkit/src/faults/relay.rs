//! One call on its way: held at the gate, struck before, sent on, struck afterwards.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use futures::{StreamExt as _, stream};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::aim::Fault;
use super::book::{Book, Passing};
use super::calls::{self, Boundary, Side};
use super::lock;
use super::tenants::{self, Current, Place, Tenant};
use super::upstream::Upstream;

/// More than any call or answer of a worker has.
const MOST: usize = 64 << 20;
/// By which names it is called: itself, and the name of every workspace's API server.
const NAMES: [&str; 3] = ["127.0.0.1", "localhost", "kubernetes"];

/// Whether calls pass. Those of an earlier generation were made by somebody who is dead.
#[derive(Debug, Clone, Copy)]
struct Gate {
    state: State,
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Somebody is being asked for something: who asks may have to look into a workspace, but nobody begins with it yet.
    Asking,
    /// Somebody is to be killed.
    Halted,
}

impl Gate {
    fn lets(&self, place: Place) -> bool {
        self.state == State::Open || (self.state == State::Asking && place == Place::Tenant)
    }
}

/// What all connections of a proxy share.
pub(super) struct Relay {
    book: Mutex<Book>,
    gate: watch::Sender<Gate>,
    halt: mpsc::UnboundedSender<Boundary>,
    opened: mpsc::UnboundedSender<Opened>,
    pub(super) tenants: Mutex<HashMap<String, Tenant>>,
    tls: TlsAcceptor,
    authority_pem: String,
}

/// Somewhere to listen.
pub(super) struct Opened {
    pub(super) listener: TcpListener,
    pub(super) place: Place,
    pub(super) upstream: Current,
}

/// A call that was read to its end.
struct Asked {
    place: Place,
    name: String,
    changes: bool,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    /// The generation in which it came.
    born: u64,
}

/// What is decided about a call that comes by.
enum Verdict {
    Pass,
    Strike(Fault),
    /// Its caller is to be killed or stopped.
    Halted,
    /// Somebody else's caller is.
    Wait,
}

impl Relay {
    pub(super) fn new(
        halt: mpsc::UnboundedSender<Boundary>,
        opened: mpsc::UnboundedSender<Opened>,
    ) -> anyhow::Result<Self> {
        // A second one in the same process finds it installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(NAMES.map(str::to_owned).to_vec())?.self_signed(&key)?;
        let authority_pem = certificate.pem();
        let chain = vec![CertificateDer::from_pem_slice(authority_pem.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        Ok(Self {
            book: Mutex::new(Book::new()),
            gate: watch::Sender::new(Gate { state: State::Open, generation: 0 }),
            halt,
            opened,
            tenants: Mutex::default(),
            tls: TlsAcceptor::from(Arc::new(tls)),
            authority_pem,
        })
    }

    pub(super) fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Has somebody listen there.
    pub(super) fn open(&self, opened: Opened) {
        // Nobody is there any more when the proxy ends.
        let _ = self.opened.send(opened);
    }

    pub(super) fn begin(&self, operation: &str) -> bool {
        let mut book = self.book();
        if self.gate.borrow().state == State::Halted {
            return false;
        }
        self.gate.send_modify(|gate| gate.state = State::Asking);
        operation.clone_into(&mut book.operation);
        book.strikes = true;
        true
    }

    pub(super) fn rest(&self) -> bool {
        let mut book = self.book();
        let is_halted = self.gate.borrow().state == State::Halted;
        book.strikes &= is_halted;
        !is_halted
    }

    /// Lets calls pass; those that wait only if their caller lives.
    pub(super) fn open_gate(&self, callers_are_dead: bool) {
        let _book = self.book();
        self.gate.send_modify(|gate| {
            gate.state = State::Open;
            gate.generation += u64::from(callers_are_dead);
        });
    }

    /// Waits until calls pass; an error for those whose callers are dead by then.
    async fn pass_gate(&self, place: Place, born: u64) -> io::Result<()> {
        let mut gate = self.gate.subscribe();
        let seen = gate.wait_for(|gate| gate.lets(place) || gate.generation != born).await.map(|gate| gate.generation);
        if seen.is_ok_and(|generation| generation == born) { Ok(()) } else { Err(ended()) }
    }

    /// Decides under the lock: once somebody is to be killed, no other call passes.
    fn judge(&self, place: Place, passing: &Passing<'_>) -> Verdict {
        let mut book = self.book();
        let gate = *self.gate.borrow();
        match gate.state {
            State::Open => {}
            State::Asking if place == Place::Tenant => return Verdict::Pass,
            State::Asking | State::Halted => return Verdict::Wait,
        }
        match book.meet(passing) {
            None => Verdict::Pass,
            Some((boundary, Fault::Halt)) => {
                self.gate.send_modify(|gate| gate.state = State::Halted);
                let _ = self.halt.send(boundary);
                Verdict::Halted
            }
            Some((_, fault)) => Verdict::Strike(fault),
        }
    }

    /// What happens to a call here; it may be held for long.
    async fn meet(&self, asked: &Asked, side: Side, status: Option<u16>) -> io::Result<Option<Fault>> {
        let passing = Passing { name: &asked.name, changes: asked.changes, side, status };
        loop {
            self.pass_gate(asked.place, asked.born).await?;
            match self.judge(asked.place, &passing) {
                Verdict::Pass => return Ok(None),
                Verdict::Strike(fault) => return Ok(Some(fault)),
                // Of a caller that was only stopped, the call goes on where it was held.
                Verdict::Halted => return self.pass_gate(asked.place, asked.born).await.map(|()| None),
                Verdict::Wait => {}
            }
        }
    }

    async fn answer(
        &self,
        upstream: &Upstream,
        place: Place,
        request: Request<Incoming>,
    ) -> io::Result<Response<Body>> {
        let born = self.gate.borrow().generation;
        let mut asked = Asked::read(place, request, born).await?;
        if let Some(fault) = self.meet(&asked, Side::Before, None).await? {
            return self.strike(fault, None).await;
        }
        self.bend(&mut asked);
        let Asked { method, uri, headers, body, .. } = &asked;
        let path_and_query = uri.path_and_query().map_or("/", |whole| whole.as_str());
        let sent = upstream.send(method.clone(), path_and_query, headers.clone(), body.clone()).await;
        let response = sent.map_err(io::Error::other)?;
        let (status, mut headers) = (response.status(), response.headers().clone());
        for name in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            headers.remove(name);
        }
        let is_told = place == Place::Host && *method == Method::GET && status == StatusCode::OK;
        let body = if is_told && tenants::concerns(uri.path()) {
            let whole = response.bytes().await.map_err(io::Error::other)?;
            Body::from(tenants::turn(self, uri.path(), whole).map_err(io::Error::other)?)
        } else {
            Body::from_stream(response.bytes_stream())
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        match self.meet(&asked, Side::After, Some(status.as_u16())).await? {
            Some(fault) => self.strike(fault, Some(answer)).await,
            None => Ok(answer),
        }
    }

    /// Carries a fault out; `answer` is what the server said, if it was asked.
    async fn strike(&self, fault: Fault, answer: Option<Response<Body>>) -> io::Result<Response<Body>> {
        match fault {
            Fault::Unavailable => Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")),
            Fault::TooMany => {
                let mut refused = refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests");
                refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                Ok(refused)
            }
            Fault::Gone => Ok(refusal(StatusCode::GONE, "Expired")),
            Fault::Cut => match answer {
                Some(answer) => cut(answer).await,
                None => Err(ended()),
            },
            Fault::Reset | Fault::Halt => Err(ended()),
            // Until the caller goes away, or the proxy does.
            Fault::Silence => std::future::pending().await,
            Fault::Late => {
                let late = self.book().late;
                tokio::time::sleep(late).await;
                answer.ok_or_else(ended)
            }
        }
    }

    fn bend(&self, asked: &mut Asked) {
        let Some(bend) = self.book().bend else { return };
        if let Ok(mut body) = serde_json::from_slice::<Value>(&asked.body) {
            bend(asked.method.as_str(), asked.uri.path(), &mut body);
            asked.body = Bytes::from(body.to_string());
        }
    }
}

impl Asked {
    async fn read(place: Place, request: Request<Incoming>, born: u64) -> io::Result<Self> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(Body::new(body), MOST).await.map_err(io::Error::other)?;
        let name = calls::name(&parts.method, &parts.uri, &parts.headers);
        let name = if place == Place::Tenant { format!("{name} (tenant)") } else { name };
        let changes = calls::changes(&parts.method, &parts.uri);
        Ok(Self { place, name, changes, method: parts.method, uri: parts.uri, headers: parts.headers, body, born })
    }
}

fn refusal(code: StatusCode, reason: &str) -> Response<Body> {
    let status = json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": "a test had this call fail", "reason": reason, "code": code.as_u16() });
    let mut response = Response::new(Body::from(status.to_string()));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The first half of the answer; then its connection ends.
async fn cut(answer: Response<Body>) -> io::Result<Response<Body>> {
    let (parts, body) = answer.into_parts();
    let whole = axum::body::to_bytes(body, MOST).await.map_err(io::Error::other)?;
    let half = whole.slice(..whole.len() / 2);
    // What is there is sent only when for a moment no more comes.
    let rest = stream::once(async {
        tokio::task::yield_now().await;
        Err(ended())
    });
    Ok(Response::from_parts(parts, Body::from_stream(stream::iter([Ok(half)]).chain(rest))))
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "a test ended this connection")
}

/// Serves whoever connects there; ends with its task.
pub(super) async fn listen(relay: Arc<Relay>, opened: Opened) {
    let Opened { listener, place, upstream } = opened;
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.spawn(connection(Arc::clone(&relay), stream, place, Arc::clone(&upstream)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(relay: Arc<Relay>, stream: TcpStream, place: Place, upstream: Current) {
    let Ok(stream) = relay.tls.accept(stream).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let (relay, upstream) = (Arc::clone(&relay), Arc::clone(&lock(&upstream)));
        async move { relay.answer(&upstream, place, request).await }
    });
    // Where there is no answer, or half of one, it ends with an error.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
