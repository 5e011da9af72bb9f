use std::convert::Infallible;

use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::gateway::smuggling::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame};

const MOMENT: Duration = Duration::from_millis(100);
const WHILE: Duration = Duration::from_secs(1);

/// The server's side of a connection to `router`, whose caller has a moment to say what they speak, and a while
/// to read.
fn serving(stream: DuplexStream, router: Router) -> JoinHandle<()> {
    let (peer, never) = (SocketAddr::from(([127, 0, 0, 1], 1)), CancellationToken::new());
    let stream = Patient::new(Flowing::new(stream, WHILE), MOMENT);
    let make = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(connection(stream, peer, make, never.clone(), never))
}

/// Fails a test that hangs.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("the test hangs")
}

#[tokio::test]
async fn whoever_does_not_say_what_they_speak_is_hung_up_on() {
    for said in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let (mut caller, stream) = tokio::io::duplex(1 << 10);
        caller.write_all(said.as_bytes()).await.unwrap();
        within(serving(stream, Router::new())).await.unwrap();
        // Kept until here, or its end would be the reason.
        drop(caller);
    }
}

#[tokio::test]
async fn whoever_has_said_it_is_waited_for() {
    let (mut caller, stream) = tokio::io::duplex(1 << 10);
    let slow = || async {
        tokio::time::sleep(3 * MOMENT).await;
        "late"
    };
    // Shorter than the beginning of HTTP/2.
    caller.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let served = serving(stream, Router::new().route("/", get(slow)));
    let mut answer = String::new();
    within(caller.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("late"), "{answer}");
    within(served).await.unwrap();
}

#[tokio::test]
async fn no_more_of_a_body_than_its_window_is_received_unasked() {
    let (mut caller, stream) = tokio::io::duplex(1 << 10);
    caller.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let served = serving(stream, Router::new());
    let mut head = [0; 9];
    within(caller.read_exact(&mut head)).await.unwrap();
    let [_, _, length, kind, ..] = head;
    assert_eq!(kind, 4, "the server begins with its settings");
    let mut settings = vec![0; length.into()];
    within(caller.read_exact(&mut settings)).await.unwrap();
    let initial_window_size = [0, 4];
    let setting = settings.chunks(6).find(|setting| setting.starts_with(&initial_window_size)).unwrap();
    assert!(setting.ends_with(&BODY_WINDOW.to_be_bytes()), "{setting:?}");
    drop(caller);
    within(served).await.unwrap();
}

#[tokio::test]
async fn whoever_reads_nothing_is_hung_up_on() {
    let (mut caller, stream) = tokio::io::duplex(1 << 10);
    let long = || async { "x".repeat(1 << 20) };
    caller.write_all(b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n").await.unwrap();
    within(serving(stream, Router::new().route("/", get(long)))).await.unwrap();
    drop(caller);
}

#[tokio::test]
async fn whoever_reads_slowly_gets_all() {
    let (mut caller, stream) = tokio::io::duplex(1 << 10);
    let long = || async { "x".repeat(8 << 10) };
    caller.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let served = serving(stream, Router::new().route("/", get(long)));
    let mut received = 0;
    let slowly = async {
        loop {
            tokio::time::sleep(WHILE / 6).await;
            match caller.read(&mut [0; 1 << 10]).await.unwrap() {
                0 => break,
                bytes => received += bytes,
            }
        }
    };
    within(slowly).await;
    assert!(received > 8 << 10, "{received}");
    within(served).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_of_bodies_after_their_refusal_ends_nothing_else_on_the_connection() {
    let told = Arc::new(Notify::new());
    let news = Arc::clone(&told);
    let watch = move || {
        let news = Arc::clone(&news);
        let body = async move {
            news.notified().await;
            Ok::<_, Infallible>("news")
        };
        async { Body::from_stream(futures::stream::once(body)) }
    };
    let refuse = || async { StatusCode::TOO_MANY_REQUESTS };
    let router = Router::new().route("/watch", get(watch)).route("/refused", post(refuse));
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, None, router, stop.clone()));

    // All on one connection.
    let caller = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let open = within(caller.get(format!("http://{address}/watch")).send()).await.unwrap();
    let upload = |_| async {
        // As much of each as its window is under way, in four pieces: of all together more than the library forgives by itself.
        let body = vec![b'x'; 1 << 20];
        // Some are told so, of others the upload is broken off.
        let _ = caller.post(format!("http://{address}/refused")).body(body).send().await;
    };
    within(futures::future::join_all((0..400).map(upload))).await;
    told.notify_one();
    assert_eq!(within(open.text()).await.unwrap(), "news");
    drop(caller);
    stop.cancel();
    within(served).await.unwrap();
}

#[tokio::test]
async fn whoever_sends_pieces_of_what_never_began_and_reads_nothing_is_hung_up_on() {
    // Each would be held as what it is answered with: ten megabytes.
    let pieces = 16 << 10;
    // Room for all that both send, so that only the number of pieces can end it.
    let (mut caller, stream) = tokio::io::duplex(1 << 20);
    let mut attack = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    attack.extend(frame(SETTINGS, 0, 0, &[]));
    // GET / as the last of all: those before may have been, and be forgotten.
    attack.extend(frame(HEADERS, END_STREAM | END_HEADERS, 2 * pieces + 1, &[0x82, 0x84, 0x86]));
    for number in 0..pieces {
        attack.extend(frame(DATA, 0, 2 * number + 1, &[]));
    }
    caller.write_all(&attack).await.unwrap();
    within(serving(stream, Router::new())).await.unwrap();
    let mut told = Vec::new();
    within(caller.read_to_end(&mut told)).await.unwrap();
    assert!(String::from_utf8_lossy(&told).contains("too_many_internal_resets"));
}
