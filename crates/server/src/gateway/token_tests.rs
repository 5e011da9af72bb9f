//! Tokens of ServiceAccounts are written down before anybody has them.

use std::sync::atomic::Ordering::SeqCst;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::testkit::*;
use super::*;

const ROBOT: &str = "/api/v1/namespaces/web/serviceaccounts/robot/token";

async fn ask(world: &World, path: &str) -> http::Response<Incoming> {
    world.send(admitted("POST", path).body(Body::from("{}")).unwrap()).await
}

fn noted(world: &World) -> Vec<String> {
    world.orders.noted.lock().unwrap().clone()
}

#[tokio::test]
async fn a_token_is_written_down_before_it_is_given() {
    let world = World::start(GatewaySettings::default()).await;
    let answer = ask(&world, ROBOT).await;
    assert_eq!(answer.status(), 201);
    assert_eq!(noted(&world), ["web/robot"], "although its body was not read");
    assert_eq!(within(answer.collect()).await.unwrap().to_bytes(), "a token");
    for path in [
        "/api/v1/namespaces/web/serviceaccounts/robot/token/",
        "/api/v1/namespaces/web/serviceaccounts/robot/token?dryRun=All",
        "/%61pi/v1/namespaces/w%65b/serviceaccounts/%72obot/toke%6e",
    ] {
        assert!(ask(&world, path).await.status().is_success(), "{path}");
    }
    assert_eq!(noted(&world), ["web/robot"; 4]);
}

#[tokio::test]
async fn a_token_that_cannot_be_written_down_is_kept_back() {
    let world = World::start(GatewaySettings::default()).await;
    world.orders.forgetful.store(true, SeqCst);
    let answer = ask(&world, ROBOT).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let status = status(answer).await;
    assert_eq!((&status["kind"], &status["reason"]), (&"Status".into(), &"ServiceUnavailable".into()));
    assert!(!status.to_string().contains("a token"), "{status}");
    assert_eq!((noted(&world).len(), world.tenant.count()), (1, 1));
    // Everything else goes on.
    assert_eq!(ask(&world, "/api/v1/namespaces/web/serviceaccounts").await.status(), 200);
}

#[tokio::test]
async fn somebody_with_tokens_of_too_many_is_given_no_other_and_is_not_told_to_ask_again() {
    for asked in [0, 1] {
        let world = World::start(GatewaySettings::default()).await;
        let order = if asked == 0 { &world.orders.full } else { &world.orders.fills_up };
        order.store(true, SeqCst);
        let answer = ask(&world, ROBOT).await;
        assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (403, false));
        let status = status(answer).await;
        assert_eq!((&status["kind"], &status["reason"]), (&"Status".into(), &"Forbidden".into()));
        assert!(!status.to_string().contains("a token"), "{status}");
        assert_eq!(world.tenant.count(), asked, "none is made where there is no room for one");
        assert_eq!(ask(&world, "/api/v1/namespaces/web/serviceaccounts").await.status(), 200);
    }
}

#[tokio::test]
async fn what_holds_no_token_is_not_written_down() {
    let world = World::start(GatewaySettings::default()).await;
    for (path, status) in [
        ("/api/v1/namespaces/web/serviceaccounts/locked/token", 403),
        ("/api/v1/namespaces/web/serviceaccounts/robot", 200),
        ("/api/v1/namespaces/web/secrets", 200),
        ("/apis/apps/v1/namespaces/web/serviceaccounts/robot/token", 201),
    ] {
        assert_eq!(ask(&world, path).await.status(), status, "{path}");
    }
    assert_eq!(noted(&world).len(), 0);
}

#[tokio::test]
async fn a_token_in_an_answer_to_an_upgrade_that_was_declined_is_written_down_as_well() {
    for forgetful in [false, true] {
        let world = World::start(GatewaySettings::default()).await;
        world.orders.forgetful.store(forgetful, SeqCst);
        // A body of YAML that is empty is a request with nothing but defaults.
        let request = format!(
            "POST /k8s/ws-1{ROBOT} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
             Content-Type: application/yaml\r\nContent-Length: 0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        let (_, head) = world.raw(request.as_bytes()).await;
        let expected = if forgetful { "HTTP/1.1 503" } else { "HTTP/1.1 201" };
        assert!(head.starts_with(expected), "{head}");
        assert_eq!(noted(&world), ["web/robot"]);
    }
}
