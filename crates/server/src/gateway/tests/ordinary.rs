//! Ordinary requests: what arrives of them, and what comes back.

use std::sync::atomic::Ordering::SeqCst;

use axum::body::Body;
use http::{Request, Version};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::gateway::testkit::*;
use crate::gateway::*;

#[tokio::test]
async fn a_request_arrives_byte_for_byte_with_the_callers_token_and_no_other_identity() {
    let world = World::start(GatewaySettings::default()).await;
    let path = "/api/v1/namespaces/n/configmaps/a%20b?x=%2f..%2F&y=%zz&z=a+b//";
    let lines = format!(
        "Host: evil\r\nauthorization: bearer {TOKEN}\r\nX-Impersonate-User: admin\r\nX_Remote_Group: system:masters\r\n\
         X-Remote-User: admin\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\nCookie: a=b\r\n\
         Connection: close, x-hop, authorization\r\nX-Hop: 1\r\nTE: trailers\r\nKubectl-Command: get\r\n"
    );
    let (_, head) = world.raw(format!("GET /k8s/ws-1{path} HTTP/1.1\r\n{lines}\r\n").as_bytes()).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("warning: 299"), "{head}");
    assert!(!head.contains("set-cookie"), "{head}");
    let seen = world.tenant.last();
    assert_eq!(seen.target, path);
    assert_eq!(seen.authority, world.tenant.upstream.address);
    let mut headers: Vec<String> =
        seen.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    headers.sort();
    assert_eq!(headers, [format!("authorization: Bearer {TOKEN}"), "kubectl-command: get".to_owned()]);
}

#[tokio::test]
async fn a_token_that_was_renewed_is_sent_on_in_place_of_the_one_shown() {
    let world = World::start(GatewaySettings::default()).await;
    let stale = Request::builder().uri("/api").header("authorization", format!("Bearer {STALE}"));
    world.send(stale.body(Body::empty()).unwrap()).await;
    let headers = world.tenant.last().headers;
    let shown: Vec<_> = headers.get_all("authorization").iter().collect();
    assert_eq!(shown, [&format!("Bearer {TOKEN}")]);
}

#[tokio::test]
async fn an_answer_of_a_workspace_that_had_to_be_woken_says_so() {
    let world = World::start(GatewaySettings::default()).await;
    let sleeper = Request::builder().uri("/api").header("authorization", format!("Bearer {SLEEPER}"));
    let response = world.send(sleeper.body(Body::empty()).unwrap()).await;
    let warnings: Vec<_> = response.headers().get_all("warning").iter().collect();
    assert_eq!(warnings, ["299 - \"old\"", "299 - \"the workspace was asleep; it took 6 s to wake\""]);
}

#[tokio::test]
async fn ordinary_requests_share_one_http_2_connection() {
    let world = World::start(GatewaySettings::default()).await;
    for _ in 0..5 {
        let response = world.get("/api").await;
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(within(response.collect()).await.unwrap().to_bytes(), "answer");
    }
    assert_eq!(world.tenant.last().version, Version::HTTP_2);
    assert_eq!(world.tenant.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn http_2_callers_are_served_as_well() {
    let world = World::start(GatewaySettings::default()).await;
    let stream = TcpStream::connect(world.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = admitted("GET", "http://gateway/k8s/ws-1/api?x=1").body(Body::empty()).unwrap();
    let response = within(sender.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(world.tenant.last().target, "/api?x=1");
    assert_eq!(world.tenant.last().authority, world.tenant.upstream.address);
}
