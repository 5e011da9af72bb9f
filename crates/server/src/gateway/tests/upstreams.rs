//! API servers that are down, moved or not the right ones.

use axum::body::Body;
use tokio::net::TcpListener;

use crate::gateway::testkit::*;
use crate::gateway::*;

#[tokio::test]
async fn an_api_server_that_is_down_or_not_the_right_one_is_503_and_hears_nothing() {
    let world = World::start(GatewaySettings::default()).await;
    let right = world.tenant.upstream.clone();
    let other = Tenant::start().await.upstream;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    for wrong in [
        Upstream { address: nobody, ..right.clone() },
        Upstream { address: "no-such-host.invalid:443".into(), ..right.clone() },
        Upstream { ca_pem: other.ca_pem.clone(), ..right.clone() },
        Upstream { server_name: "localhost".into(), ..right.clone() },
        Upstream { ca_pem: "".into(), ..right.clone() },
        Upstream { ca_pem: "not a certificate".into(), ..right.clone() },
        Upstream { address: "127.0.0.1".into(), ..right.clone() },
        Upstream { address: "user@127.0.0.1:1/path".into(), ..right.clone() },
    ] {
        *world.orders.upstream.lock().unwrap() = wrong.clone();
        let response = world.get("/api").await;
        assert_eq!(response.status(), 503, "{wrong:?}");
        assert_eq!(status(response).await["reason"], "ServiceUnavailable");
        let (_, head) = world.exec(&format!("Upgrade: websocket\r\nAuthorization: Bearer {TOKEN}\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    }
    assert_eq!(world.tenant.count(), 0);
    *world.orders.upstream.lock().unwrap() = right;
    assert_eq!(world.get("/api").await.status(), 200, "a corrected upstream is used at once");
}

#[tokio::test]
async fn a_rotated_certificate_authority_takes_effect_with_the_next_request() {
    let world = World::start(GatewaySettings::default()).await;
    assert_eq!(world.get("/api").await.status(), 200);
    let moved = Tenant::start().await;
    *world.orders.upstream.lock().unwrap() = moved.upstream.clone();
    assert_eq!(world.get("/api").await.status(), 200);
    assert_eq!((world.tenant.count(), moved.count()), (1, 1));
}

#[tokio::test]
async fn only_requests_without_effect_are_offered_for_repetition() {
    let world = World::start(GatewaySettings::default()).await;
    for (method, retry) in [("GET", true), ("POST", false), ("DELETE", false)] {
        let response = world.send(admitted(method, "/break").body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers().contains_key("retry-after"), retry, "{method}");
    }
}
