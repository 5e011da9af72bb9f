//! A tenant API server over real TLS, an authority to order, and clients that may misbehave.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hexabase_core::ids::{Id, WorkspaceId};
use hexabase_core::time::Timestamp;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsAcceptor;

use super::*;

/// The token the fake authority admits.
pub(super) const TOKEN: &str = "good.token-canary";
/// The token in whose place it has [`TOKEN`] sent on.
pub(super) const STALE: &str = "stale.token-canary";
/// The token of somebody in another workspace.
pub(super) const OTHER: &str = "other.token-canary";
/// The token of somebody else in the workspace of [`TOKEN`].
pub(super) const BOB: &str = "bob.token-canary";
/// The token for which the workspace has to be woken first.
pub(super) const SLEEPER: &str = "sleeper.token-canary";
/// Path of a stream the test feeds by hand.
pub(super) const WATCH: &str = "/api/v1/pods?watch=true";
/// Path at which the tenant switches protocols.
pub(super) const EXEC: &str = "/api/v1/namespaces/n/pods/p/exec?command=sh";

/// Fails a test that hangs.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("the test hangs")
}

/// Waits until `condition` holds.
pub(super) async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// One request as the tenant received it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) version: Version,
    pub(super) target: String,
    pub(super) authority: String,
    pub(super) headers: HeaderMap,
}

/// An API server.
#[derive(Clone)]
pub(super) struct Tenant {
    pub(super) upstream: Upstream,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    pub(super) connections: Arc<AtomicUsize>,
    /// Sends the next chunk of the watch opened last.
    pub(super) feed: Arc<Mutex<Option<mpsc::Sender<Bytes>>>>,
    /// Chunks sent by the endless answers of `/flood`.
    pub(super) flooded: Arc<AtomicUsize>,
    /// Lets requests for `/slow` go on.
    pub(super) go_on: Arc<Notify>,
}

impl Tenant {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (acceptor, ca_pem) = certificates(&[b"h2", b"http/1.1"]);
        let tenant = Self {
            upstream: Upstream { address, server_name: "kubernetes".to_owned(), ca_pem: ca_pem.into() },
            seen: Arc::default(),
            connections: Arc::default(),
            feed: Arc::default(),
            flooded: Arc::default(),
            go_on: Arc::default(),
        };
        let server = tenant.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (server, acceptor) = (server.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    server.connections.fetch_add(1, Ordering::SeqCst);
                    let service = hyper::service::service_fn(|request| server.clone().answer(request));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    builder.serve_connection_with_upgrades(TokioIo::new(tls), service).await.ok();
                });
            }
        });
        tenant
    }

    pub(super) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("the tenant saw no request")
    }

    pub(super) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Sends `chunk` on the open watch.
    pub(super) async fn send(&self, chunk: &'static str) {
        let feed = self.feed.lock().unwrap().clone().expect("no watch is open");
        feed.send(Bytes::from_static(chunk.as_bytes())).await.ok();
    }

    async fn answer(self, mut request: Request<Incoming>) -> io::Result<Response<Body>> {
        let target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
        let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
        let authority = request.uri().authority().map(ToString::to_string).or(host).unwrap_or_default();
        let (version, headers) = (request.version(), request.headers().clone());
        self.seen.lock().unwrap().push(Seen { version, target: target.clone(), authority, headers });
        match request.uri().path() {
            "/break" => Err(io::Error::other("broken on purpose")),
            "/flood" => {
                let chunk = Bytes::from_static(&[b'x'; 64 << 10]);
                let stream = futures::stream::repeat_with(move || {
                    self.flooded.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, io::Error>(chunk.clone())
                });
                Ok(Response::new(Body::from_stream(stream)))
            }
            "/slow" => {
                self.go_on.notified().await;
                Ok(Response::new(Body::empty()))
            }
            _ if target == WATCH => {
                let (sender, mut receiver) = mpsc::channel(8);
                *self.feed.lock().unwrap() = Some(sender);
                let stream = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
                Ok(Response::new(Body::from_stream(futures::StreamExt::map(stream, Ok::<_, io::Error>))))
            }
            path if path.contains("/serviceaccounts/locked/") => {
                Ok(Response::builder().status(403).body(Body::from("forbidden")).unwrap())
            }
            path if path.trim_end_matches('/').ends_with("/token") => {
                Ok(Response::builder().status(201).body(Body::from("a token")).unwrap())
            }
            path if path.ends_with("/proxy/echo") => Ok(Response::new(Body::new(request.into_body()))),
            path if path.ends_with("/exec") && request.headers().contains_key("upgrade") => {
                let upgrade = request.headers()["upgrade"].clone();
                let protocol = request.headers().get("sec-websocket-protocol").cloned();
                let switched = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(switched.await.unwrap()));
                    writer.write_all(b"hello:").await.unwrap();
                    tokio::io::copy(&mut reader, &mut writer).await.ok();
                });
                let mut response = Response::builder().status(101).header("connection", "Upgrade");
                response = response.header("upgrade", upgrade).header("set-cookie", "evil=1");
                if let Some(protocol) = protocol {
                    response = response.header("sec-websocket-protocol", protocol);
                }
                Ok(response.body(Body::empty()).unwrap())
            }
            _ => {
                let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
                let response = Response::builder().header("set-cookie", "evil=1").header("warning", "299 - \"old\"");
                Ok(response.header("x-body-bytes", body.len()).body(Body::from("answer")).unwrap())
            }
        }
    }
}

/// A certificate of an authority of its own, for a server that speaks `protocols`.
pub(super) fn certificates(protocols: &[&[u8]]) -> (TlsAcceptor, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let ca_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["kubernetes".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), ca_pem)
}

/// An authority that does as the test says.
#[derive(Clone)]
pub(super) struct Orders {
    pub(super) upstream: Arc<Mutex<Upstream>>,
    pub(super) admitted: Arc<AtomicBool>,
    /// Takes its time to admit while set.
    pub(super) slow: Arc<AtomicBool>,
    /// Never answers checks while set.
    pub(super) silent: Arc<AtomicBool>,
    /// Cannot write tokens down while set.
    pub(super) forgetful: Arc<AtomicBool>,
    /// Has no room for another token while set.
    pub(super) full: Arc<AtomicBool>,
    /// Gets full while a token is made, while set.
    pub(super) fills_up: Arc<AtomicBool>,
    /// Of which ServiceAccounts tokens were to be written down, as `namespace/name`.
    pub(super) noted: Arc<Mutex<Vec<String>>>,
    pub(super) asked: Arc<AtomicUsize>,
    pub(super) checks: Arc<AtomicUsize>,
}

pub(super) fn workspace_id() -> WorkspaceId {
    WorkspaceId::from_parts(Timestamp::from_seconds(1), 1)
}

pub(super) fn other_workspace_id() -> WorkspaceId {
    WorkspaceId::from_parts(Timestamp::from_seconds(1), 2)
}

impl Authority for Orders {
    async fn admit(&self, _: &str, bearer: Option<&str>, _: bool) -> Result<Admission, Refusal> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.slow.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let message = "as ordered".to_owned();
        let retry_after = Duration::from_secs(7);
        match bearer {
            Some(token @ (TOKEN | STALE | OTHER | BOB | SLEEPER)) => Ok(Admission {
                workspace: if token == OTHER { other_workspace_id() } else { workspace_id() },
                upstream: self.upstream.lock().unwrap().clone(),
                principal: "usr-alice".to_owned(),
                expires_at: 0,
                groups: Vec::new(),
                roles: Vec::new(),
                key: String::new(),
                moved_at: None,
                renewed: (token == STALE).then(|| Bearer::new(TOKEN.to_owned())),
                woken_in: (token == SLEEPER).then(|| Duration::from_millis(6_400)),
            }),
            Some("forbidden") => Err(Refusal::Forbidden { message }),
            Some("stranger") => Err(Refusal::NotFound { message }),
            Some("asleep") => Err(Refusal::Unavailable { message, retry_after }),
            Some("busy") => Err(Refusal::TooManyRequests { message, retry_after }),
            _ => Err(Refusal::Unauthorized { message }),
        }
    }

    async fn still_admitted(&self, admission: &Admission) -> bool {
        assert_eq!(admission.principal, "usr-alice");
        self.checks.fetch_add(1, Ordering::SeqCst);
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.admitted.load(Ordering::SeqCst)
    }

    async fn check_room(&self, admission: &Admission, _: &ServiceAccount) -> Result<(), Refusal> {
        assert_eq!(admission.principal, "usr-alice");
        match self.full.load(Ordering::SeqCst) {
            true => Err(Refusal::Forbidden { message: "too many".to_owned() }),
            false => Ok(()),
        }
    }

    async fn note_token(&self, admission: &Admission, account: &ServiceAccount) -> Result<(), Refusal> {
        assert_eq!(admission.principal, "usr-alice");
        self.noted.lock().unwrap().push(format!("{}/{}", account.namespace, account.name));
        let (message, retry_after) = ("kept back".to_owned(), Duration::from_secs(7));
        match (self.forgetful.load(Ordering::SeqCst), self.fills_up.load(Ordering::SeqCst)) {
            (true, _) => Err(Refusal::Unavailable { message, retry_after }),
            (_, true) => Err(Refusal::Forbidden { message }),
            _ => Ok(()),
        }
    }
}

/// A tenant behind a running gateway.
pub(super) struct World {
    pub(super) tenant: Tenant,
    pub(super) orders: Orders,
    pub(super) address: SocketAddr,
}

impl World {
    pub(super) async fn start(settings: GatewaySettings) -> Self {
        let tenant = Tenant::start().await;
        let orders = Orders {
            upstream: Arc::new(Mutex::new(tenant.upstream.clone())),
            admitted: Arc::new(AtomicBool::new(true)),
            slow: Arc::default(),
            silent: Arc::default(),
            forgetful: Arc::default(),
            full: Arc::default(),
            fills_up: Arc::default(),
            noted: Arc::default(),
            asked: Arc::default(),
            checks: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = router(orders.clone(), settings);
        // As the platform serves it, but for TLS.
        tokio::spawn(crate::listen::serve(listener, None, routes, CancellationToken::new()));
        Self { tenant, orders, address }
    }

    /// Sends `request`, whose path lacks the prefix, on a connection of its own.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Response<Incoming> {
        *request.uri_mut() = format!("/k8s/ws-1{}", request.uri()).parse().unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        within(sender.send_request(request)).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Response<Incoming> {
        self.send(admitted("GET", path).body(Body::empty()).unwrap()).await
    }

    /// Sends bytes as they are and returns the connection with the head of the answer.
    pub(super) async fn raw(&self, bytes: &[u8]) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut head = Vec::new();
        within(async {
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
        })
        .await;
        (stream, String::from_utf8(head).unwrap())
    }

    /// Opens a tunnel with additional header lines.
    pub(super) async fn exec(&self, lines: &str) -> (TcpStream, String) {
        let request = format!("GET /k8s/ws-1{EXEC} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\n{lines}\r\n");
        self.raw(request.as_bytes()).await
    }
}

/// A request with the good token.
pub(super) fn admitted(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {TOKEN}"))
}

/// The body of a refusal.
pub(super) async fn status(response: Response<Incoming>) -> serde_json::Value {
    serde_json::from_slice(&within(response.collect()).await.unwrap().to_bytes()).unwrap()
}

/// The next chunk of a body; `None` at its regular end, `Err` when it broke off.
pub(super) async fn chunk(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    within(body.frame()).await.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
}
