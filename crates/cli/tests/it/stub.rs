//! The server's endpoints, as far as `hxb` uses them.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::harness::{ORGANIZATION, WORKSPACE};
use crate::stub_oauth;

/// What the server has, and what it was asked.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    pub(crate) refreshes: u32,
    pub(crate) exchanges: u32,
    pub(crate) revoked: Vec<String>,
    pub(crate) challenges: HashMap<String, String>,
    pub(crate) device_answers: VecDeque<&'static str>,
    /// Method, path and body of each API request, and its idempotency key.
    pub(crate) requests: Vec<(String, Value, Option<String>)>,
    /// Answers to be given instead of the usual ones, by method and path.
    pub(crate) answers: HashMap<String, (u16, Value)>,
    /// Answers to be given before those, one for each time somebody asks.
    pub(crate) in_turn: HashMap<String, VecDeque<(u16, Value)>>,
    /// States of the workspace, one for each time somebody looks; the last one stays.
    pub(crate) states: VecDeque<Value>,
    /// A log to be exported, and its head.
    pub(crate) export: Option<(String, String)>,
    pub(crate) no_feed: bool,
    pub(crate) feeds: Vec<mpsc::UnboundedSender<String>>,
}

#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    pub(crate) scheme: &'static str,
    world: Arc<Mutex<World>>,
}

impl Stub {
    pub(crate) fn new(address: SocketAddr, scheme: &'static str) -> Self {
        let world =
            World { access_token: "access-0".to_owned(), refresh_token: "refresh-0".to_owned(), ..World::default() };
        Self { address, scheme, world: Arc::new(Mutex::new(world)) }
    }

    /// Serves on a free port until the test ends.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self::new(listener.local_addr().unwrap(), "http");
        let router = stub.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        stub
    }

    pub(crate) fn address(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn answer(&self, request: &str, status: u16, body: Value) {
        self.world().answers.insert(request.to_owned(), (status, body));
    }

    /// Lets the log of every organisation be exported so.
    pub(crate) fn export(&self, lines: &str, head: &str) {
        self.world().export = Some((lines.to_owned(), head.to_owned()));
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/oidc/platform/.well-known/openid-configuration", get(stub_oauth::discovery))
            .route("/oidc/platform/authorize", get(stub_oauth::authorize))
            .route("/oidc/platform/device", post(stub_oauth::device))
            .route("/oidc/platform/revoke", post(stub_oauth::revoke))
            .route("/oidc/platform/token", post(stub_oauth::token))
            .route("/oidc/{workspace}/token", post(stub_oauth::exchange))
            .route("/api/v1/events", get(events))
            .route("/api/v1/{*path}", any(api))
            .with_state(self.clone())
    }
}

pub(crate) fn problem(status: u16, code: &str, detail: &str) -> (u16, Value) {
    let kind = format!("/problems/{code}");
    (
        status,
        json!({ "type": kind, "title": "T", "status": status, "code": code, "detail": detail, "request_id": "req-1" }),
    )
}

pub(crate) fn workspace(phase: &str, steps: &[(&str, &str)]) -> Value {
    let at = "2026-01-01T00:00:00Z";
    let step = |(name, state): &(&str, &str)| json!({ "name": name, "state": state, "message": null, "started_at": at, "finished_at": null });
    json!({
        "id": WORKSPACE, "organization": ORGANIZATION, "name": "shop", "plan": "standard", "phase": phase, "message": null,
        "steps": steps.iter().map(step).collect::<Vec<_>>(), "server": format!("https://hexabase.example/k8s/{WORKSPACE}"),
        "issuer": "https://hexabase.example/oidc/x", "created_at": at, "ready_at": null, "deleted_at": null, "from_the_future": 1,
    })
}

pub(crate) fn organization(number: u32, name: &str, personal: bool) -> Value {
    let at = "2026-01-01T00:00:00Z";
    json!({ "id": format!("org-{number:020}"), "name": name, "personal": personal, "role": "admin", "created_at": at })
}

fn usual(request: &str, world: &mut World) -> (u16, Value) {
    let ws = format!("/workspaces/{WORKSPACE}");
    match request {
        "GET /me" => (
            200,
            json!({ "id": "usr-00000000000000000001", "display_name": "Ada", "email": "ada@example.com", "email_verified": true, "organizations": [] }),
        ),
        "GET /organizations" => (200, json!({ "items": [organization(1, "acme", true)] })),
        "GET /workspaces" => (200, json!({ "items": [workspace("ready", &[])] })),
        other if other == format!("POST /organizations/{ORGANIZATION}/workspaces") => (201, workspace("creating", &[])),
        other if other == format!("GET {ws}") => {
            let state = if world.states.len() > 1 { world.states.pop_front() } else { world.states.front().cloned() };
            if world.states.len() > 1 || state.as_ref() != world.states.front() {
                // The state will be another one next time: tell whoever listens.
                world.feeds.iter().for_each(|feed| drop(feed.send(event())));
            }
            (200, state.unwrap_or_else(|| workspace("ready", &[])))
        }
        other if other == format!("DELETE {ws}") => (202, workspace("deleting", &[])),
        _ => problem(404, "not_found", "There is no such thing."),
    }
}

fn event() -> String {
    let data = json!({
        "sequence": 1, "kind": "workspace.progress", "organization": ORGANIZATION, "workspace": WORKSPACE,
        "subject": WORKSPACE, "data": {}, "at": "2026-01-01T00:00:00Z",
    });
    format!("id: 1\nevent: workspace.progress\ndata: {data}\n\n")
}

fn reply((status, body): (u16, Value)) -> Response {
    let media = if status >= 400 { "application/problem+json" } else { "application/json" };
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, media)], body.to_string()).into_response()
}

fn allowed(stub: &Stub, headers: &HeaderMap) -> bool {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    token == format!("Bearer {}", stub.world().access_token)
}

async fn api(State(stub): State<Stub>, method: Method, uri: Uri, headers: HeaderMap, body: String) -> Response {
    if !allowed(&stub, &headers) {
        return reply(problem(401, "unauthenticated", "The token is not valid."));
    }
    let path = uri.path().trim_start_matches("/api/v1");
    let key = headers.get("idempotency-key").map(|value| value.to_str().unwrap().to_owned());
    let mut world = stub.world();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    world.requests.push((format!("{method} {path}{query}"), serde_json::from_str(&body).unwrap_or(Value::Null), key));
    if let (true, Some((lines, head))) = (path.ends_with("/audit/export"), &world.export) {
        return ([("x-audit-head", head.clone())], lines.clone()).into_response();
    }
    let next = world.in_turn.get_mut(&format!("{method} {path}")).and_then(VecDeque::pop_front);
    let told = world
        .answers
        .get(&format!("{method} {path}{query}"))
        .or_else(|| world.answers.get(&format!("{method} {path}")))
        .cloned();
    let answer = next.or(told);
    reply(answer.unwrap_or_else(|| usual(&format!("{method} {path}"), &mut world)))
}

async fn events(State(stub): State<Stub>, headers: HeaderMap) -> Response {
    if !allowed(&stub, &headers) || stub.world().no_feed {
        return reply(problem(404, "not_found", "There is no feed."));
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let _ = sender.send(": hello\n\n".to_owned());
    stub.world().feeds.push(sender);
    let body = Body::from_stream(UnboundedReceiverStream::new(receiver).map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// The extractors of the OAuth endpoints.
pub(crate) type Form = axum::extract::Form<HashMap<String, String>>;
pub(crate) type Parameters = Query<HashMap<String, String>>;
pub(crate) type Segment = Path<String>;
