//! What is logged of all that.

use std::sync::atomic::Ordering::SeqCst;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;

use super::TINY;
use crate::gateway::testkit::*;
use crate::gateway::*;

#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_holds_a_token_or_a_command_line() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With a single subscriber alive, tests on other threads, which have none, could switch call sites off for good.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let guard = tracing::subscriber::set_default(subscriber);
    let settings = GatewaySettings { recheck: TINY, ..GatewaySettings::default() };
    let world = World::start(settings).await;
    let first = world.get("/api?secret=query-canary").await;
    within(first.collect()).await.unwrap();
    world.exec(&format!("Upgrade: websocket\r\nAuthorization: Bearer {TOKEN}\r\n")).await;
    world.get("/break").await;
    let mut watch = world.get(WATCH).await.into_body();
    world.orders.admitted.store(false, SeqCst);
    chunk(&mut watch).await;
    world.send(Request::get("/api").header("authorization", "Bearer bad canary").body(Body::empty()).unwrap()).await;
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("gateway")).collect();
    assert!(ours.iter().any(|line| line.contains("workspace.id=ws-") && line.contains("principal=usr-alice")));
    for line in text.lines() {
        assert!(!line.contains("canary") && !line.contains("command=sh"), "{line}");
    }
}
