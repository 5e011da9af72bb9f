//! What a workspace that asks too much is told, and that another one does not notice.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::testkit::*;
use super::*;

/// Seconds' worth of bytes that pass at once.
const BURST: usize = pace::BURST as usize;

/// A request of somebody in the other workspace.
async fn elsewhere(world: &World) -> u16 {
    let request = Request::builder().uri("/api").header("authorization", format!("Bearer {OTHER}"));
    world.send(request.body(Body::empty()).unwrap()).await.status().as_u16()
}

#[tokio::test]
async fn a_stream_holds_its_place_until_it_is_closed() {
    let world = World::start(GatewaySettings { concurrency: 1, ..GatewaySettings::default() }).await;
    let watch = world.get(WATCH).await;
    let refused = world.get("/api").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    drop(watch);
    within(async { while world.get("/api").await.status() != 200 {} }).await;

    let (tunnel, _) = world.exec(&format!("Upgrade: websocket\r\nAuthorization: Bearer {TOKEN}\r\n")).await;
    assert_eq!(world.get("/api").await.status(), 429);
    drop(tunnel);
    within(async { while world.get("/api").await.status() != 200 {} }).await;
}

#[tokio::test]
async fn too_many_requests_per_second_are_429() {
    let world = World::start(GatewaySettings { rate: 1, burst: 2, ..GatewaySettings::default() }).await;
    // On a slow machine a few are earned meanwhile.
    let mut passed = 0;
    within(async {
        while world.get("/api").await.status() != 429 {
            passed += 1;
        }
    })
    .await;
    assert!(passed >= 2, "{passed}");
    assert_eq!(world.orders.asked.load(SeqCst), passed, "of a flood nothing more is asked");
}

#[tokio::test]
async fn of_many_who_come_at_once_no_more_are_looked_up_than_may_pass() {
    let burst = 5;
    let world = World::start(GatewaySettings { rate: 1, burst, ..GatewaySettings::default() }).await;
    assert_eq!(world.get("/api").await.status(), 200);
    world.orders.slow.store(true, SeqCst);
    let answers = futures::future::join_all((0..50).map(|_| world.get("/api"))).await;
    let refused = answers.iter().filter(|answer| answer.status() == 429).count();
    // On a slow machine a few are earned meanwhile.
    let asked = world.orders.asked.load(SeqCst);
    assert!(asked <= burst as usize + 10, "{asked}");
    assert!(refused >= 35, "{refused}");
}

#[tokio::test]
async fn whoever_breaks_off_while_they_are_looked_up_has_used_up_a_part_of_the_rate() {
    let burst = 5;
    let world = World::start(GatewaySettings { rate: 1, burst, ..GatewaySettings::default() }).await;
    assert_eq!(world.get("/api").await.status(), 200);
    world.orders.slow.store(true, SeqCst);
    let request = format!("GET /k8s/ws-1/api HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    let mut refused = 0;
    for _ in 0..50 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // Either it is refused at once, or it is being looked up, and then broken off.
        let (mut first, before) = ([0; 12], world.orders.asked.load(SeqCst));
        let is_looked_up = async {
            while world.orders.asked.load(SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            read = stream.read_exact(&mut first) => refused += usize::from(read.is_ok() && first.ends_with(b"429")),
            () = is_looked_up => {}
        }
    }
    // On a slow machine a few are earned meanwhile.
    let asked = world.orders.asked.load(SeqCst);
    assert!(asked <= burst as usize + 10, "{asked}");
    assert!(refused >= 35, "{refused}");
}

#[tokio::test]
async fn streams_beyond_what_a_workspace_may_are_refused_without_being_looked_up() {
    let world = World::start(GatewaySettings { long_streams: 1, ..GatewaySettings::default() }).await;
    let open = world.get(WATCH).await;
    for _ in 0..20 {
        assert_eq!(world.get(WATCH).await.status(), 429);
    }
    assert_eq!(world.orders.asked.load(SeqCst), 1);
    assert_eq!(world.get("/api").await.status(), 200, "what is no stream passes");
    drop(open);
}

#[tokio::test]
async fn whoever_asks_again_at_once_hears_late_that_there_is_no_place() {
    let world = World::start(GatewaySettings { concurrency: 1, ..GatewaySettings::default() }).await;
    let open = world.get(WATCH).await;
    let ask = |_| async {
        let begun = Instant::now();
        (world.get("/api").await.status().as_u16(), begun.elapsed())
    };
    let second = Duration::from_secs(1);
    let (status, took) = ask(0).await;
    assert_eq!(status, 429);
    assert!(took < second, "{took:?}");
    let answers = futures::future::join_all((0..200).map(ask)).await;
    assert!(answers.iter().all(|(status, _)| *status == 429), "{answers:?}");
    // Fifty are told at once, in each second that a slow machine takes for all of them.
    let late = answers.iter().filter(|(_, took)| *took >= second).count();
    assert!(late >= 50, "{late}");
    assert_eq!(world.orders.asked.load(SeqCst), 1, "nobody was looked up for it");
    drop(open);
    within(async { while world.get("/api").await.status() != 200 {} }).await;
}

#[tokio::test]
async fn whoever_is_refused_again_and_again_is_looked_up_no_more() {
    let world = World::start(GatewaySettings::default()).await;
    for _ in 0..60 {
        let request = Request::builder().uri("/api").header("authorization", "Bearer forbidden");
        assert_eq!(world.send(request.body(Body::empty()).unwrap()).await.status(), 403);
    }
    let asked = world.orders.asked.load(SeqCst);
    assert!(asked < 60, "{asked}");
    assert_eq!(world.get("/api").await.status(), 200, "it is nobody else's");
}

#[tokio::test]
async fn a_refusal_says_what_was_used_up_and_when_to_come_again() {
    for (settings, word) in [
        (GatewaySettings { rate: 1, burst: 1, ..GatewaySettings::default() }, "1 requests per second"),
        (GatewaySettings { concurrency: 1, ..GatewaySettings::default() }, "1 requests in progress"),
        (GatewaySettings { long_streams: 1, ..GatewaySettings::default() }, "1 open streams"),
    ] {
        let world = World::start(settings).await;
        let open = world.get(WATCH).await;
        let refused = world.get(WATCH).await;
        assert_eq!(refused.status(), 429, "{word}");
        let seconds = refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
        let status = status(refused).await;
        assert_eq!((&status["kind"], &status["reason"]), (&"Status".into(), &"TooManyRequests".into()));
        assert_eq!(status["details"]["retryAfterSeconds"], seconds);
        assert!(status["message"].as_str().is_some_and(|message| message.contains(word)), "{status}");
        drop(open);
    }
}

#[tokio::test]
async fn whatever_a_workspace_uses_up_another_one_has_left() {
    let settings = GatewaySettings { rate: 1, burst: 4, long_streams: 1, ..GatewaySettings::default() };
    let world = World::start(settings).await;
    let stream = world.get(WATCH).await;
    assert_eq!(world.get(WATCH).await.status(), 429);
    within(async { while world.get("/api").await.status() != 429 {} }).await;
    assert_eq!(elsewhere(&world).await, 200);
    drop(stream);
}

#[tokio::test]
async fn answers_are_not_faster_than_the_workspace_may_and_another_one_does_not_wait() {
    let rate: u32 = 256 << 10;
    let world = World::start(GatewaySettings { bytes_per_second: rate.into(), ..GatewaySettings::default() }).await;
    let begun = Instant::now();
    let mut flood = world.get("/flood").await.into_body();
    // Some seconds' worth pass at once; of the rest half a second's is read.
    let mut received = 0;
    while received < BURST * rate as usize + rate as usize / 2 {
        received += chunk(&mut flood).await.unwrap().unwrap().len();
    }
    // The last piece may be ahead of its time.
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(200), "{took:?}");
    // On the same account this would take four seconds.
    let begun = Instant::now();
    let request = Request::builder().uri("/flood").header("authorization", format!("Bearer {OTHER}"));
    let mut other = world.send(request.body(Body::empty()).unwrap()).await.into_body();
    let mut received = 0;
    while received < rate as usize * 4 {
        received += chunk(&mut other).await.unwrap().unwrap().len();
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_sent_waits_for_its_turn_and_arrives_whole() {
    let rate: u32 = 256 << 10;
    let world = World::start(GatewaySettings { bytes_per_second: rate.into(), ..GatewaySettings::default() }).await;
    let begun = Instant::now();
    let sent = BURST * rate as usize + rate as usize / 2;
    let response = world.send(admitted("POST", "/api").body(Body::from(vec![b'x'; sent])).unwrap()).await;
    assert_eq!(response.headers()["x-body-bytes"], sent.to_string());
    within(response.collect()).await.unwrap();

    let lines = format!("Upgrade: websocket\r\nAuthorization: Bearer {TOKEN}\r\n");
    let (mut tunnel, _) = world.exec(&lines).await;
    within(tunnel.read_exact(&mut [0; 6])).await.unwrap();
    let sent = vec![b'y'; rate as usize / 4];
    let (mut reader, mut writer) = tunnel.split();
    let mut received = vec![0; sent.len()];
    let (wrote, read) = within(futures::future::join(writer.write_all(&sent), reader.read_exact(&mut received))).await;
    assert!(wrote.is_ok() && read.is_ok() && received == sent);
    // Half a second for the body, and as much for the tunnel's both ways; the last pieces may be ahead of their time.
    assert!(begun.elapsed() > Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_waits_for_its_turn_is_not_taken_for_an_api_server_that_does_not_answer() {
    let rate: u32 = 256 << 10;
    let response_timeout = Duration::from_millis(700);
    let settings = GatewaySettings { bytes_per_second: rate.into(), response_timeout, ..GatewaySettings::default() };
    let world = World::start(settings).await;
    // Some seconds' worth pass at once, the rest takes two more.
    let sent = vec![b'x'; (BURST + 2) * rate as usize];
    let response = world.send(admitted("POST", "/api").body(Body::from(sent)).unwrap()).await;
    assert_eq!(response.status(), 200);
}
