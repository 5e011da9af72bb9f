//! The OAuth endpoints of the stub.

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::{Form, Json};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;

use crate::stub::{self, Stub};

pub(crate) async fn discovery(State(stub): State<Stub>) -> Json<Value> {
    let issuer = format!("{}/oidc/platform", stub.address());
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "device_authorization_endpoint": format!("{issuer}/device"),
        "revocation_endpoint": format!("{issuer}/revoke"),
    }))
}

pub(crate) async fn authorize(State(stub): State<Stub>, Query(query): stub::Parameters) -> Redirect {
    assert_eq!(
        [&query["response_type"], &query["client_id"], &query["code_challenge_method"]],
        ["code", "hxb", "S256"]
    );
    stub.world().challenges.insert("code-1".to_owned(), query["code_challenge"].clone());
    let mut back = Url::parse(&query["redirect_uri"]).unwrap();
    assert_eq!((back.scheme(), back.host_str(), back.path()), ("http", Some("127.0.0.1"), "/callback"));
    back.query_pairs_mut().append_pair("code", "code-1").append_pair("state", &query["state"]);
    Redirect::to(back.as_str())
}

fn refusal(word: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": word, "error_description": format!("It says {word}.") })))
        .into_response()
}

/// New tokens, each other than the ones before.
fn tokens(stub: &Stub) -> Response {
    let mut world = stub.world();
    world.refreshes += 1;
    let number = world.refreshes;
    world.access_token = format!("access-{number}");
    world.refresh_token = format!("refresh-{number}");
    let body = json!({ "access_token": world.access_token, "refresh_token": world.refresh_token, "token_type": "Bearer", "expires_in": 600 });
    Json(body).into_response()
}

pub(crate) async fn token(State(stub): State<Stub>, Form(form): stub::Form) -> Response {
    assert_eq!(form["client_id"], "hxb");
    match form["grant_type"].as_str() {
        "authorization_code" => {
            let challenge = stub.world().challenges.remove(&form["code"]);
            let answer = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
            if challenge == Some(answer) { tokens(&stub) } else { refusal("invalid_grant") }
        }
        "refresh_token" => {
            let current = stub.world().refresh_token == form["refresh_token"];
            if current { tokens(&stub) } else { refusal("invalid_grant") }
        }
        "urn:ietf:params:oauth:grant-type:device_code" => {
            assert_eq!(form["device_code"], "device-1");
            let answer = stub.world().device_answers.pop_front();
            answer.map_or_else(|| tokens(&stub), refusal)
        }
        _ => refusal("unsupported_grant_type"),
    }
}

pub(crate) async fn device(State(stub): State<Stub>) -> Json<Value> {
    let page = format!("{}/device", stub.address());
    Json(json!({
        "device_code": "device-1", "user_code": "ABCD-EFGH", "verification_uri": page,
        "verification_uri_complete": format!("{page}?code=ABCD-EFGH"), "expires_in": 600, "interval": 0,
    }))
}

pub(crate) async fn revoke(State(stub): State<Stub>, Form(form): stub::Form) {
    stub.world().revoked.push(form["token"].clone());
}

pub(crate) async fn exchange(
    State(stub): State<Stub>,
    Path(workspace): stub::Segment,
    Form(form): stub::Form,
) -> Response {
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!(form["subject_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    if workspace != crate::harness::WORKSPACE {
        return StatusCode::NOT_FOUND.into_response();
    }
    if form["subject_token"] != stub.world().access_token {
        return refusal("invalid_request");
    }
    let mut world = stub.world();
    world.exchanges += 1;
    Json(json!({ "access_token": format!("workspace-{}", world.exchanges), "token_type": "Bearer", "expires_in": 600 }))
        .into_response()
}
