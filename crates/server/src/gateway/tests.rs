//! The gateway in front of a TLS server, over real connections.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Request, Version};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::testkit::*;
use super::*;

const TINY: Duration = Duration::from_millis(5);
const HOUR: Duration = Duration::from_secs(3_600);

/// A body the test sends piece by piece.
fn piecemeal() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let stream = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    (sender, Body::from_stream(futures::StreamExt::map(stream, Ok::<_, std::io::Error>)))
}

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

#[tokio::test]
async fn a_websocket_carries_bytes_both_ways() {
    let world = World::start(GatewaySettings::default()).await;
    let lines = format!(
        "Upgrade: websocket\r\nAuthorization: Bearer {TOKEN}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Remote-User: admin\r\n"
    );
    let (mut tunnel, head) = world.exec(&lines).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
    assert!(head.contains("sec-websocket-protocol: v5.channel.k8s.io") && !head.contains("set-cookie"), "{head}");
    let mut greeting = [0; 6];
    within(tunnel.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"hello:");
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let (mut reader, mut writer) = tunnel.split();
    let mut received = vec![0; sent.len()];
    let (wrote, read) = within(futures::future::join(writer.write_all(&sent), reader.read_exact(&mut received))).await;
    assert!(wrote.is_ok() && read.is_ok());
    assert!(received == sent);
    let seen = world.tenant.last();
    assert_eq!((seen.version, seen.target.as_str()), (Version::HTTP_11, EXEC));
    assert_eq!(seen.authority, world.tenant.upstream.address);
    assert!(seen.headers.contains_key("sec-websocket-key") && !seen.headers.contains_key("x-remote-user"));
    writer.shutdown().await.unwrap();
    assert_eq!(within(reader.read(&mut received)).await.unwrap(), 0, "the tenant closes after the caller");
}

#[tokio::test]
async fn spdy_is_carried_as_well() {
    let world = World::start(GatewaySettings::default()).await;
    let request = format!(
        "POST /k8s/ws-1{EXEC} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         Content-Length: 0\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let (mut tunnel, head) = world.raw(request.as_bytes()).await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("SPDY/3.1"), "{head}");
    tunnel.write_all(b"ping").await.unwrap();
    let mut received = [0; 10];
    within(tunnel.read_exact(&mut received)).await.unwrap();
    assert_eq!(&received, b"hello:ping");
    assert_eq!(world.tenant.last().headers["x-stream-protocol-version"], "v4.channel.k8s.io");
}

#[tokio::test]
async fn a_browser_shows_its_token_as_a_sub_protocol_which_the_tenant_does_not_see() {
    use base64::Engine;
    let world = World::start(GatewaySettings::default()).await;
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(TOKEN);
    let protocols = format!("base64url.bearer.authorization.k8s.io.{token}, v5.channel.k8s.io");
    let (_, head) = world.exec(&format!("Upgrade: websocket\r\nSec-WebSocket-Protocol: {protocols}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let seen = world.tenant.last();
    assert_eq!(seen.headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(seen.headers["sec-websocket-protocol"], "v5.channel.k8s.io");
}

#[tokio::test]
async fn an_upgrade_the_tenant_declines_is_an_ordinary_answer_and_h2c_is_none() {
    let world = World::start(GatewaySettings::default()).await;
    for upgrade in ["websocket", "h2c"] {
        let request = format!(
            "GET /k8s/ws-1/api HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\nUpgrade: {upgrade}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        let (mut stream, head) = world.raw(request.as_bytes()).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut body = [0; 6];
        within(stream.read_exact(&mut body)).await.unwrap();
        assert_eq!(&body, b"answer");
        assert_eq!(world.tenant.last().headers.contains_key("upgrade"), upgrade == "websocket");
    }
}

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
