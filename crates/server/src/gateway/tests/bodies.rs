//! Bodies of requests and answers, which flow as they come.

use std::sync::atomic::Ordering::SeqCst;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use crate::gateway::testkit::*;
use crate::gateway::*;

/// A body the test sends piece by piece.
fn piecemeal() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let stream = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    (sender, Body::from_stream(futures::StreamExt::map(stream, Ok::<_, std::io::Error>)))
}

#[tokio::test]
async fn a_watch_streams_each_event_as_it_happens() {
    let world = World::start(GatewaySettings::default()).await;
    let mut body = world.get(WATCH).await.into_body();
    for event in ["{\"type\":\"ADDED\"}", "{\"type\":\"MODIFIED\"}"] {
        world.tenant.send(event).await;
        assert_eq!(chunk(&mut body).await.unwrap().unwrap(), event);
    }
    *world.tenant.feed.lock().unwrap() = None;
    assert!(chunk(&mut body).await.is_none(), "the tenant ended the watch regularly");
}

#[tokio::test]
async fn callers_who_stop_reading_hold_up_nobody() {
    let world = World::start(GatewaySettings::default()).await;
    let mut stalled = Vec::new();
    for _ in 0..6 {
        stalled.push(world.get("/flood").await);
    }
    // Until every flood is stuck at its caller, and a while beyond.
    let settled = async {
        let mut unchanged = 0;
        while unchanged < 50 {
            let before = world.tenant.flooded.load(SeqCst);
            assert_eq!(within(world.get("/api").await.collect()).await.unwrap().to_bytes(), "answer");
            unchanged = if world.tenant.flooded.load(SeqCst) == before { unchanged + 1 } else { 0 };
        }
    };
    within(settled).await;
    assert_eq!(world.tenant.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let world = World::start(GatewaySettings::default()).await;
    let (sender, body) = piecemeal();
    sender.send(Bytes::from_static(b"one")).await.unwrap();
    let request = admitted("POST", "/api/v1/namespaces/n/services/s/proxy/echo").body(body).unwrap();
    let mut answer = world.send(request).await.into_body();
    assert_eq!(chunk(&mut answer).await.unwrap().unwrap(), "one");
    sender.send(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(chunk(&mut answer).await.unwrap().unwrap(), "two");
    drop(sender);
    assert!(chunk(&mut answer).await.is_none());
}

#[tokio::test]
async fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let world = World::start(GatewaySettings { max_request_bytes: 1_000, ..GatewaySettings::default() }).await;
    let fits = admitted("POST", "/api").body(Body::from(vec![b'x'; 1_000])).unwrap();
    let response = world.send(fits).await;
    assert_eq!(response.headers()["x-body-bytes"], "1000");

    let announced = admitted("POST", "/api").body(Body::from(vec![b'x'; 1_001])).unwrap();
    let response = world.send(announced).await;
    assert_eq!(response.status(), 413);
    assert_eq!(status(response).await["reason"], "RequestEntityTooLarge");
    assert_eq!(world.tenant.count(), 1, "an announced length is refused before the tenant hears of it");

    let (sender, body) = piecemeal();
    let pieces = async {
        for _ in 0..4 {
            sender.send(Bytes::from_static(&[b'x'; 300])).await.unwrap();
        }
    };
    let request = admitted("PATCH", "/api").body(body).unwrap();
    let (response, ()) = futures::future::join(world.send(request), pieces).await;
    assert_eq!(response.status(), 413, "although the body has not ended");
    drop(sender);
}
