//! What ends a stream, or a request that waits, before its time.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::TINY;
use crate::gateway::testkit::*;
use crate::gateway::*;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_stream_ends_when_the_caller_is_no_longer_admitted() {
    let world = World::start(GatewaySettings { recheck: TINY, ..GatewaySettings::default() }).await;
    let mut watch = world.get(WATCH).await.into_body();
    let lines = format!("Upgrade: websocket\r\nAuthorization: Bearer {TOKEN}\r\n");
    let (mut tunnel, _) = world.exec(&lines).await;
    within(tunnel.read_exact(&mut [0; 6])).await.unwrap();
    until(|| world.orders.checks.load(SeqCst) > 6).await;
    world.tenant.send("still open").await;
    assert_eq!(chunk(&mut watch).await.unwrap().unwrap(), "still open");

    world.orders.admitted.store(false, SeqCst);
    assert!(chunk(&mut watch).await.unwrap().is_err(), "it breaks off instead of ending as if it were complete");
    assert_eq!(within(tunnel.read(&mut [0; 6])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_revocation_is_heard_at_once_by_those_it_concerns() {
    let settings = GatewaySettings { recheck: HOUR, ..GatewaySettings::default() };
    let revocations = settings.revocations.clone();
    let world = World::start(settings).await;
    let mut watch = world.get(WATCH).await.into_body();

    revocations.member(&workspace_id(), "usr-bob");
    revocations.principal("usr-bob");
    world.tenant.send("open").await;
    assert_eq!(chunk(&mut watch).await.unwrap().unwrap(), "open");
    assert_eq!(world.orders.checks.load(SeqCst), 0);

    revocations.member(&workspace_id(), "usr-alice");
    until(|| world.orders.checks.load(SeqCst) == 1).await;
    world.tenant.send("only demoted").await;
    assert_eq!(chunk(&mut watch).await.unwrap().unwrap(), "only demoted");

    world.orders.admitted.store(false, SeqCst);
    revocations.workspace(&workspace_id());
    assert!(chunk(&mut watch).await.unwrap().is_err());
}

#[tokio::test]
async fn an_authority_that_does_not_answer_ends_streams() {
    let settings = GatewaySettings { recheck: TINY, recheck_timeout: TINY, ..GatewaySettings::default() };
    let world = World::start(settings).await;
    let mut watch = world.get(WATCH).await.into_body();
    world.orders.silent.store(true, SeqCst);
    assert!(chunk(&mut watch).await.unwrap().is_err());
}

#[tokio::test]
async fn a_server_shutting_down_ends_its_streams() {
    let settings = GatewaySettings::default();
    let shutdown = settings.shutdown.clone();
    let world = World::start(settings).await;
    let mut watch = world.get(WATCH).await.into_body();
    shutdown.cancel();
    assert!(chunk(&mut watch).await.unwrap().is_err());
    assert_eq!(world.get("/api").await.status(), 503);
}

#[tokio::test]
async fn an_answer_may_take_only_so_long_except_for_streams() {
    let settings = GatewaySettings { response_timeout: TINY * 4, recheck: TINY, ..GatewaySettings::default() };
    let world = World::start(settings).await;
    let response = world.get("/slow").await;
    assert_eq!(response.status(), 504);
    assert_eq!(status(response).await["reason"], "Timeout");

    let before = world.orders.checks.load(SeqCst);
    let waiting = async {
        until(|| world.orders.checks.load(SeqCst) > before + 10).await;
        world.tenant.go_on.notify_waiters();
    };
    let (response, ()) = futures::future::join(world.get("/slow?watch=1"), waiting).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_revocation_also_ends_a_request_that_waits_for_its_answer() {
    let world = World::start(GatewaySettings { recheck: TINY, ..GatewaySettings::default() }).await;
    world.orders.admitted.store(false, SeqCst);
    assert_eq!(world.get("/slow").await.status(), 401);
}
