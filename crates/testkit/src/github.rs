//! A double of GitHub with its ways: OAuth 2.0 without OpenID Connect, refusals with the status 200, scopes that a person
//! can withhold, several addresses, rate limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

/// The one application that is registered.
pub const CLIENT_ID: &str = "Iv1.0123456789abcdef";
/// Its secret.
pub const CLIENT_SECRET: &str = "github-client-secret";

/// Somebody with an account.
#[derive(Debug, Clone)]
pub struct GitHubUser {
    /// The number, which never changes and is never given to somebody else.
    pub id: u64,
    /// The name in addresses, which both happens to.
    pub login: String,
    /// The name for people, which many leave empty.
    pub name: Option<String>,
    /// Address, whether it is the primary one, whether it is verified.
    pub emails: Vec<(String, bool, bool)>,
    /// The scopes that the person grants, whatever is asked for.
    pub grants: String,
}

impl GitHubUser {
    /// Somebody with one address, primary and verified, who grants it.
    pub fn new(id: u64, login: &str, email: &str) -> Self {
        let emails = vec![(email.to_owned(), true, true)];
        Self { id, login: login.to_owned(), name: None, emails, grants: "user:email".to_owned() }
    }
}

#[derive(Debug, Default)]
struct World {
    redirect_uri: String,
    users: Vec<GitHubUser>,
    codes: HashMap<String, Grant>,
    tokens: HashMap<String, GitHubUser>,
    made: u64,
    limited_until: Option<i64>,
    asked: Vec<String>,
}

#[derive(Debug)]
struct Grant {
    user: GitHubUser,
    redirect_uri: String,
    challenge: String,
}

type Shared = Arc<Mutex<World>>;
type Fields = HashMap<String, String>;

/// A running double; it stops when this is dropped.
#[derive(Debug)]
pub struct GitHub {
    /// What takes the place of `https://github.com`; the API is below `/api/v3`, as on an Enterprise server.
    pub url: String,
    world: Shared,
    server: JoinHandle<std::io::Result<()>>,
}

impl GitHub {
    /// Starts one whose application sends people back to `redirect_uri` and nowhere else.
    pub async fn start(redirect_uri: &str) -> anyhow::Result<Self> {
        let world = Shared::new(Mutex::new(World { redirect_uri: redirect_uri.to_owned(), ..World::default() }));
        let router = Router::new()
            .route("/login/oauth/authorize", get(page).post(sign_in))
            .route("/login/oauth/access_token", post(redeem))
            .route("/api/v3/user", get(user))
            .route("/api/v3/user/emails", get(emails))
            .with_state(Arc::clone(&world));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, world, server })
    }

    /// Adds somebody, or changes whoever has that number.
    pub fn user(&self, user: GitHubUser) {
        let mut world = locked(&self.world);
        world.users.retain(|one| one.id != user.id);
        world.users.push(user);
    }

    /// Answers nothing more of the API until then, seconds since 1970; `None` ends that.
    pub fn limit_until(&self, until: Option<i64>) {
        locked(&self.world).limited_until = until;
    }

    /// What was asked so far, without the browser's requests.
    pub fn asked(&self) -> Vec<String> {
        locked(&self.world).asked.clone()
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn locked(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).map_or("", String::as_str)
}

/// The page takes a login or an address; who is not known stays on it.
async fn page() -> Html<&'static str> {
    Html(r#"<form method="post" action=""><input name="email"><input name="name"><button>Authorize</button></form>"#)
}

async fn sign_in(
    State(world): State<Shared>,
    Query(asked): Query<Fields>,
    Form(form): Form<Fields>,
) -> Result<Response, StatusCode> {
    let mut world = locked(&world);
    if field(&asked, "client_id") != CLIENT_ID {
        return Err(StatusCode::NOT_FOUND);
    }
    let mut back = Url::parse(&world.redirect_uri).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let redirect_uri = asked.get("redirect_uri").unwrap_or(&world.redirect_uri).clone();
    if redirect_uri != world.redirect_uri {
        back.query_pairs_mut()
            .append_pair("error", "redirect_uri_mismatch")
            .append_pair("state", field(&asked, "state"));
        return Ok(found(back));
    }
    let who = field(&form, "email");
    let known = |user: &&GitHubUser| user.login == who || user.emails.iter().any(|(email, ..)| email == who);
    let user = world.users.iter().find(known).cloned().ok_or(StatusCode::UNAUTHORIZED)?;
    world.made += 1;
    let code = format!("code-{}", world.made);
    let challenge = match field(&asked, "code_challenge_method") {
        "S256" => field(&asked, "code_challenge").to_owned(),
        _ => String::new(),
    };
    world.codes.insert(code.clone(), Grant { user, redirect_uri, challenge });
    back.query_pairs_mut().append_pair("code", &code).append_pair("state", field(&asked, "state"));
    Ok(found(back))
}

fn found(url: Url) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, url.to_string())]).into_response()
}

async fn redeem(State(world): State<Shared>, headers: HeaderMap, Form(form): Form<Fields>) -> Response {
    let mut world = locked(&world);
    world.asked.push("POST /login/oauth/access_token".to_owned());
    let refuse =
        |error: &str| json!({ "error": error, "error_description": "refused", "error_uri": "https://docs.example/" });
    let answer = if field(&form, "client_id") != CLIENT_ID || field(&form, "client_secret") != CLIENT_SECRET {
        refuse("incorrect_client_credentials")
    } else {
        // Good once, whatever comes of it.
        match world.codes.remove(field(&form, "code")) {
            Some(grant) if grant.redirect_uri != field(&form, "redirect_uri") => refuse("redirect_uri_mismatch"),
            Some(grant) if grant.challenge != challenge_of(field(&form, "code_verifier")) => {
                refuse("bad_verification_code")
            }
            Some(grant) => {
                world.made += 1;
                let token = format!("gho_{}", world.made);
                let scope = grant.user.grants.clone();
                world.tokens.insert(token.clone(), grant.user);
                json!({ "access_token": token, "token_type": "bearer", "scope": scope })
            }
            None => refuse("bad_verification_code"),
        }
    };
    // Who does not ask for JSON gets a form.
    match headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()) {
        Some("application/json") => Json(answer).into_response(),
        _ => "error=not_acceptable".into_response(),
    }
}

fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes()))
}

/// Whose token it is, unless GitHub answers no more.
fn bearer(world: &mut World, headers: &HeaderMap, line: &str) -> Result<GitHubUser, Box<Response>> {
    world.asked.push(line.to_owned());
    let message = |status: StatusCode, text: &str| (status, Json(json!({ "message": text }))).into_response();
    if let Some(until) = world.limited_until {
        let mut limited = message(StatusCode::FORBIDDEN, "API rate limit exceeded");
        limited.headers_mut().insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
        limited.headers_mut().insert("x-ratelimit-reset", HeaderValue::from(until));
        return Err(Box::new(limited));
    }
    if !headers.contains_key(header::USER_AGENT) {
        return Err(Box::new(message(StatusCode::FORBIDDEN, "Request forbidden by administrative rules")));
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let user = token.and_then(|token| token.strip_prefix("Bearer ")).and_then(|token| world.tokens.get(token));
    user.cloned().ok_or_else(|| Box::new(message(StatusCode::UNAUTHORIZED, "Bad credentials")))
}

fn shown(user: &GitHubUser, body: Value) -> Response {
    let mut response = Json(body).into_response();
    if let Ok(scopes) = HeaderValue::from_str(&user.grants.replace(',', ", ")) {
        response.headers_mut().insert("x-oauth-scopes", scopes);
    }
    response.headers_mut().insert("x-ratelimit-remaining", HeaderValue::from_static("4999"));
    response
}

async fn user(State(world): State<Shared>, headers: HeaderMap) -> Response {
    match bearer(&mut locked(&world), &headers, "GET /user") {
        Ok(user) => {
            // The address of the profile is one that the person has typed; it proves nothing.
            let body = json!({ "id": user.id, "login": user.login, "name": user.name, "email": "typed@example.test" });
            shown(&user, body)
        }
        Err(refused) => *refused,
    }
}

async fn emails(State(world): State<Shared>, headers: HeaderMap) -> Response {
    match bearer(&mut locked(&world), &headers, "GET /user/emails") {
        Ok(user) if user.grants.split(',').any(|scope| scope == "user:email" || scope == "user") => {
            let one = |(email, primary, verified): &(String, bool, bool)| json!({ "email": email, "primary": primary, "verified": verified, "visibility": null });
            shown(&user, user.emails.iter().map(one).collect())
        }
        Ok(_) => (StatusCode::NOT_FOUND, Json(json!({ "message": "Not Found" }))).into_response(),
        Err(refused) => *refused,
    }
}
