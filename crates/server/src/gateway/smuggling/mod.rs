//! Hand-made requests that mean one thing to one program and another thing to the next. Each is sent as bytes to the
//! gateway as the platform serves it, in front of an API server that takes down what arrives: once over HTTP/1.1, where a
//! request ends where its reader thinks it does, and once over HTTP/2. After each, somebody else in the same workspace asks
//! something innocent, on connections that the attack may have poisoned.
//!
//! Of every attack at most its outer request may arrive, as the one whose token it carries, and nothing that was hidden in it.

mod bodies;
mod heads;
pub(crate) mod http2;
mod recorder;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::recorder::{Arrived, Recorder};
use super::testkit::*;
use super::*;

/// How long a server may keep silent before the next attack is tried.
const PATIENCE: Duration = Duration::from_millis(500);
/// What attacks hide. To the gateway it is a request without a good token, to an API server one of the platform's own.
const SMUGGLED: &str = "GET /k8s/ws-1/smuggled HTTP/1.1\r\nHost: evil\r\nAuthorization: Bearer platform\r\n\
    Impersonate-User: system:admin\r\nConnection: close\r\n\r\n";

/// What may become of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing of it arrives.
    Refused,
    /// At most its outer request arrives.
    Alone,
}

/// An attack. Its outer request is for `/outer`, which is numbered before it is sent.
struct Attack {
    name: String,
    bytes: Vec<u8>,
    outcome: Outcome,
}

impl Attack {
    fn new(name: &str, bytes: impl Into<Vec<u8>>, outcome: Outcome) -> Self {
        Self { name: name.escape_debug().to_string(), bytes: bytes.into(), outcome }
    }

    fn numbered(&self, number: usize) -> Vec<u8> {
        let (from, to) = (b"/outer", format!("/outer-{number:03}"));
        match self.bytes.windows(from.len()).position(|window| window == from) {
            Some(at) => [&self.bytes[..at], to.as_bytes(), &self.bytes[at + from.len()..]].concat(),
            None => self.bytes.clone(),
        }
    }
}

/// The outer request of an attack in whatever follows its method, path and version.
fn outer(method: &str, rest: &str) -> String {
    let first = format!("{method} /k8s/ws-1/outer HTTP/1.1\r\nHost: gateway\r\n");
    format!("{first}Authorization: Bearer {TOKEN}\r\nConnection: close\r\n{rest}")
}

/// Sends bytes and reads until the server hangs up, or has been silent for long.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has heard enough hangs up.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let mut piece = [0; 4_096];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await {
        answer.extend_from_slice(&piece[..count]);
    }
    answer
}

fn settings() -> GatewaySettings {
    GatewaySettings { rate: 100_000, burst: 100_000, ..GatewaySettings::default() }
}

/// Somebody else's request, which nothing may befall.
async fn bystander(world: &World, number: usize) {
    let request = Request::builder().uri(format!("/bystander-{number:03}"));
    let request = request.header("authorization", format!("Bearer {BOB}")).body(Body::empty()).unwrap();
    let response = world.send(request).await;
    assert_eq!(response.status(), 200, "after attack {number}");
}

/// Fails unless what arrived is what may arrive.
fn judge(attacks: &[(String, Outcome)], arrived: &[Arrived]) {
    for one in arrived {
        let whose = if one.target.starts_with("/outer-") { TOKEN } else { BOB };
        assert_eq!(one.all("authorization"), [format!("Bearer {whose}")], "{one:?}");
        one.assert_clean();
    }
    let count = |prefix: String| arrived.iter().filter(|one| one.target.starts_with(&prefix)).count();
    let mut allowed = 0;
    for (number, (name, outcome)) in attacks.iter().enumerate() {
        assert_eq!(count(format!("/bystander-{number:03}")), 1, "{name}");
        let of_attack = count(format!("/outer-{number:03}"));
        assert!(of_attack <= usize::from(*outcome == Outcome::Alone), "{name}: {of_attack} arrived");
        allowed += 1 + of_attack;
    }
    assert_eq!(arrived.len(), allowed, "nothing else arrives: {arrived:?}");
}

fn attacks() -> Vec<Attack> {
    [heads::targets(), heads::lines(), heads::headers(), bodies::framing(), bodies::chunks(), bodies::upgrades()]
        .into_iter()
        .flatten()
        .collect()
}

async fn attack(world: &World) -> Vec<(String, Outcome)> {
    let mut tried = Vec::new();
    for (number, attack) in attacks().iter().enumerate() {
        let answer = exchange(world.address, &attack.numbered(number)).await;
        let good = answer.starts_with(b"HTTP/1.1 2") || answer.starts_with(b"HTTP/1.0 2");
        assert!(attack.outcome == Outcome::Alone || !good, "{} was answered", attack.name);
        bystander(world, number).await;
        tried.push((attack.name.clone(), attack.outcome));
    }
    tried
}

#[test]
fn there_are_as_many_attacks_as_were_asked_for() {
    let (raw, frames) = (attacks().len(), http2::attacks().len());
    assert!(raw >= 150 && frames >= 30, "{raw} over HTTP/1 and {frames} over HTTP/2");
}

#[tokio::test]
async fn an_ordinary_request_arrives_so_that_silence_means_something() {
    let world = World::start(settings()).await;
    let recorder = Recorder::start().await;
    *world.orders.upstream.lock().unwrap() = recorder.upstream.clone();
    let answer = exchange(world.address, outer("GET", "\r\n").as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let with_body = outer("POST", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let answer = exchange(world.address, with_body.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let arrived = recorder.arrived();
    assert_eq!(arrived.iter().map(|one| one.target.as_str()).collect::<Vec<_>>(), ["/outer", "/outer"]);
}

#[tokio::test]
async fn no_attack_in_bytes_smuggles_anything_to_an_api_server_that_speaks_http_1() {
    let world = World::start(settings()).await;
    let recorder = Recorder::start().await;
    *world.orders.upstream.lock().unwrap() = recorder.upstream.clone();
    let tried = attack(&world).await;
    judge(&tried, &recorder.arrived());
}

#[tokio::test]
async fn no_attack_in_bytes_smuggles_anything_to_an_api_server_that_speaks_http_2() {
    let world = World::start(settings()).await;
    let tried = attack(&world).await;
    judge(&tried, &Arrived::at(&world.tenant));
}

#[tokio::test]
async fn no_attack_in_frames_smuggles_anything() {
    for speaks_http_1 in [true, false] {
        let world = World::start(settings()).await;
        let recorder = Recorder::start().await;
        if speaks_http_1 {
            *world.orders.upstream.lock().unwrap() = recorder.upstream.clone();
        }
        let mut tried = Vec::new();
        for (number, attack) in http2::attacks().into_iter().enumerate() {
            attack.send(world.address, number).await;
            bystander(&world, number).await;
            tried.push((attack.name.to_owned(), attack.outcome));
        }
        judge(&tried, &if speaks_http_1 { recorder.arrived() } else { Arrived::at(&world.tenant) });
    }
}
