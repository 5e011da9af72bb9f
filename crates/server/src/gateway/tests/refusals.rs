//! Whom the gateway turns away, and with which words.

use std::sync::atomic::Ordering::SeqCst;

use axum::body::Body;
use http::Request;

use crate::gateway::testkit::*;
use crate::gateway::*;

#[tokio::test]
async fn every_refusal_is_a_kubernetes_status() {
    let world = World::start(GatewaySettings::default()).await;
    for (credential, code, reason, retry) in [
        (None, 401, "Unauthorized", None),
        (Some(""), 401, "Unauthorized", None),
        (Some("Bearer "), 401, "Unauthorized", None),
        (Some("Basic dTpw"), 401, "Unauthorized", None),
        (Some("Bearer a b"), 401, "Unauthorized", None),
        (Some("Bearer unknown"), 401, "Unauthorized", None),
        (Some("Bearer forbidden"), 403, "Forbidden", None),
        (Some("Bearer stranger"), 404, "NotFound", None),
        (Some("Bearer asleep"), 503, "ServiceUnavailable", Some("7")),
        (Some("Bearer busy"), 429, "TooManyRequests", Some("7")),
    ] {
        let mut request = Request::builder().uri("/api");
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        let response = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), code, "{credential:?}");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers().contains_key("www-authenticate"), code == 401);
        assert_eq!(response.headers().get("retry-after").map(|value| value.to_str().unwrap()), retry);
        let status = status(response).await;
        assert_eq!((&status["kind"], &status["reason"]), (&"Status".into(), &reason.into()));
        assert!(status["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    assert_eq!(world.orders.asked.load(SeqCst), 5, "requests without a usable token cost the authority nothing");
    assert_eq!(world.tenant.count(), 0);
}

#[tokio::test]
async fn two_credentials_are_none() {
    let world = World::start(GatewaySettings::default()).await;
    let twice = admitted("GET", "/api").header("authorization", format!("Bearer {TOKEN}"));
    let response = world.send(twice.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 401);
    assert_eq!(world.tenant.count(), 0);
}

#[tokio::test]
async fn a_request_as_somebody_else_is_refused_with_a_sentence() {
    let world = World::start(GatewaySettings::default()).await;
    for name in ["impersonate-user", "impersonate-group", "impersonate-uid"] {
        let response = world.send(admitted("GET", "/api").header(name, "bob").body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 403, "{name}");
        let status = status(response).await;
        assert_eq!((&status["kind"], &status["reason"]), (&"Status".into(), &"Forbidden".into()));
        assert!(status["message"].as_str().is_some_and(|message| message.contains("--as")), "{status}");
    }
    let lines = format!("Upgrade: websocket\r\nAuthorization: Bearer {TOKEN}\r\nImpersonate-User: bob\r\n");
    let (_, head) = world.exec(&lines).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert_eq!((world.tenant.count(), world.orders.asked.load(SeqCst)), (0, 0));
}

#[tokio::test]
async fn request_lines_that_smuggle_never_leave() {
    let world = World::start(GatewaySettings::default()).await;
    for target in [
        "/k8s/ws-1/../ws-2/api",
        "/k8s/ws-1/%2e%2e/ws-2",
        "/k8s/ws-1/api%2fv1",
        "/k8s/ws-1//evil.example/",
        "/k8s//api",
        "/k8s/",
        "/k8s/ws-1/api\\v1",
        "/k8s/ws-1/%00",
        "http://evil.example/k8s/ws-1/api",
        "https://evil.example:443/k8s/ws-1/api",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        let (_, head) = world.raw(request.as_bytes()).await;
        assert!(head.starts_with("HTTP/1.1 400"), "{target}: {head}");
    }
    for request in [
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n",
        "TRACE /k8s/ws-1/api HTTP/1.1\r\nHost: gateway\r\n",
        "POST /k8s/ws-1/api HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "POST /k8s/ws-1/api HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: gzip\r\n",
        "GET /k8s/ws-1/api HTTP/1.1\r\nHost: gateway\r\nImpersonate-User : admin\r\n",
        "GET /k8s/ws-1/api HTTP/1.1\r\nHost: gateway\r\n Impersonate-User: admin\r\n",
    ] {
        let request = format!("{request}Authorization: Bearer {TOKEN}\r\n\r\n");
        let (_, head) = world.raw(request.as_bytes()).await;
        assert!(head.starts_with("HTTP/1.1 4"), "{request}: {head}");
    }
    assert_eq!((world.tenant.count(), world.orders.asked.load(SeqCst)), (0, 0));
}
