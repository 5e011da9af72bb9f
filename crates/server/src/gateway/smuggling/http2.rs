//! Attacks in frames of HTTP/2, made byte by byte, because no client library would send them.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::Change::{Body, First, Instead, More, Trailers, Tunnel, Without};
use super::Outcome::{Alone, Refused};
use super::{Outcome, PATIENCE, SMUGGLED, TOKEN};

/// What stands for the numbered path of the outer request.
const OUTER: &str = "{outer}";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

type Fields = &'static [(&'static str, &'static str)];

/// How an attack differs from a request that is in order.
#[derive(Clone, Copy)]
enum Change {
    /// Fields after those that are in order.
    More(Fields),
    /// Fields before them.
    First(Fields),
    /// Another value of one.
    Instead(&'static str, &'static str),
    /// CONNECT for a protocol (RFC 8441).
    Tunnel(&'static str),
    /// One is missing.
    Without(&'static str),
    /// Further fields, and a body.
    Body(Fields, &'static str),
    /// Fields after a body of five bytes.
    Trailers(Fields),
}

/// An attack.
pub(super) struct Frames {
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    change: Change,
}

pub(super) fn attacks() -> Vec<Frames> {
    let table: [(&str, Change, Outcome); 61] = [
        ("nothing wrong", More(&[]), Alone),
        // What HTTP/2 does not have.
        ("connection", More(&[("connection", "authorization")]), Refused),
        ("transfer-encoding", Body(&[("transfer-encoding", "chunked")], "0\r\n\r\n"), Refused),
        ("transfer-encoding without a body", More(&[("transfer-encoding", "chunked")]), Refused),
        ("upgrade", More(&[("upgrade", "h2c")]), Refused),
        ("upgrade to a websocket", More(&[("upgrade", "websocket")]), Refused),
        ("keep-alive", More(&[("keep-alive", "timeout=5")]), Refused),
        ("proxy-connection", More(&[("proxy-connection", "keep-alive")]), Refused),
        ("te: chunked", More(&[("te", "chunked")]), Refused),
        ("te: trailers", More(&[("te", "trailers")]), Alone),
        // Names and values that become lines of HTTP/1.
        ("a capital letter", More(&[("X-Remote-User", "system:admin")]), Refused),
        ("a line in a value", More(&[("x", "y\r\nimpersonate-user: system:admin")]), Refused),
        ("half a line in a value", More(&[("x", "y\nimpersonate-user: system:admin")]), Refused),
        ("the other half in a value", More(&[("x", "y\rimpersonate-user: system:admin")]), Refused),
        ("a request in a value", More(&[("x", "y\r\n\r\nGET /smuggled HTTP/1.1\r\n")]), Refused),
        ("nothing in a value", More(&[("x", "y\0z")]), Refused),
        ("a line in a name", More(&[("x: y\r\nimpersonate-user", "system:admin")]), Refused),
        ("a colon in a name", More(&[("impersonate-user:x", "system:admin")]), Refused),
        ("a space in a name", More(&[("impersonate-user ", "system:admin")]), Refused),
        ("a space before a name", More(&[(" impersonate-user", "system:admin")]), Refused),
        ("no name", More(&[("", "system:admin")]), Refused),
        ("nothing in a name", More(&[("x\0", "y")]), Refused),
        // What says where to.
        ("a line in the path", Instead(":path", "{outer} HTTP/1.1\r\nhost: evil\r\n\r\n"), Refused),
        ("a space in the path", Instead(":path", "{outer} HTTP/1.1"), Refused),
        ("an encoded slash", Instead(":path", "{outer}%2f..%2fws-2"), Refused),
        ("dots", Instead(":path", "/k8s/ws-1/../ws-2/outer"), Refused),
        ("a whole address as path", Instead(":path", "http://evil/k8s/ws-1/outer"), Refused),
        ("two slashes", Instead(":path", "//evil/k8s/ws-1/outer"), Refused),
        ("an empty path", Instead(":path", ""), Refused),
        ("a star", Instead(":path", "*"), Refused),
        ("a relative path", Instead(":path", "k8s/ws-1/outer"), Refused),
        ("a fragment", Instead(":path", "{outer}#/../ws-2"), Alone),
        ("no path", Without(":path"), Refused),
        ("a second path", More(&[(":path", "/k8s/ws-1/smuggled")]), Refused),
        ("a path too early", First(&[(":path", "/k8s/ws-1/smuggled")]), Refused),
        ("a header too early", First(&[("x", "y")]), Refused),
        ("a pseudo-header of no request", More(&[(":status", "200")]), Refused),
        ("a pseudo-header of nobody", First(&[(":user", "system:admin")]), Refused),
        ("a line in the method", Instead(":method", "GET /smuggled HTTP/1.1\r\nx:"), Refused),
        ("a space in the method", Instead(":method", "GET /smuggled"), Refused),
        ("no method", Without(":method"), Refused),
        ("a tunnel", Instead(":method", "CONNECT"), Refused),
        ("a tunnel of a protocol", Tunnel("websocket"), Refused),
        ("a protocol without a tunnel", First(&[(":protocol", "websocket")]), Refused),
        ("an echo", Instead(":method", "TRACE"), Refused),
        ("another authority", Instead(":authority", "evil"), Alone),
        ("somebody in the authority", Instead(":authority", "admin@gateway"), Alone),
        ("a line in the authority", Instead(":authority", "gateway\r\nx-remote-user: admin"), Refused),
        ("another host", More(&[("host", "evil")]), Alone),
        ("two other hosts", More(&[("host", "evil"), ("host", "worse")]), Refused),
        ("another scheme", Instead(":scheme", "https"), Alone),
        // Who asks.
        ("somebody else", More(&[("impersonate-user", "system:admin")]), Refused),
        ("a second token", More(&[("authorization", "Bearer platform")]), Refused),
        ("a proxy's word", More(&[("x-remote-user", "system:admin"), ("x-forwarded-user", "admin")]), Alone),
        ("cookies in crumbs", More(&[("cookie", "a=platform"), ("cookie", "b=platform")]), Alone),
        // Where it ends.
        ("less than announced", Body(&[("content-length", "500")], "hello"), Alone),
        ("more than announced", Body(&[("content-length", "5")], SMUGGLED), Alone),
        ("nothing announced, and a request", Body(&[("content-length", "0")], SMUGGLED), Alone),
        ("two lengths", Body(&[("content-length", "5"), ("content-length", "6")], "hello"), Alone),
        ("an identity in the trailers", Trailers(&[("authorization", "Bearer x"), ("x-remote-user", "x")]), Alone),
        ("a path in the trailers", Trailers(&[(":path", "/smuggled"), ("impersonate-user", "x")]), Alone),
    ];
    table.into_iter().map(|(name, change, outcome)| Frames { name, outcome, change }).collect()
}

impl Frames {
    /// Sends it and waits for what becomes of it.
    pub(super) async fn send(&self, address: SocketAddr, number: usize) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that has heard enough hangs up.
        stream.write_all(&self.bytes(number)).await.ok();
        let good = tokio::time::timeout(PATIENCE, answered(&mut stream)).await.unwrap_or(false);
        assert!(self.outcome == Alone || !good, "{} was answered", self.name);
    }

    fn bytes(&self, number: usize) -> Vec<u8> {
        let bearer = format!("Bearer {TOKEN}");
        let mut fields = vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "gateway"),
            (":path", OUTER),
            ("authorization", bearer.as_str()),
        ];
        let (mut body, mut trailers) = (None, None);
        match self.change {
            More(more) => fields.extend(more),
            First(more) => fields = [more, &fields].concat(),
            Instead(name, value) => fields.iter_mut().filter(|field| field.0 == name).for_each(|field| field.1 = value),
            Tunnel(protocol) => {
                fields[0] = (":method", "CONNECT");
                fields.insert(1, (":protocol", protocol));
            }
            Without(name) => fields.retain(|field| field.0 != name),
            Body(more, data) => {
                fields.extend(more);
                body = Some(data);
            }
            Trailers(more) => {
                body = Some("hello");
                trailers = Some(more);
            }
        }
        let last = |is_last: bool| if is_last { END_STREAM } else { 0 };
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        bytes.extend(frame(HEADERS, END_HEADERS | last(body.is_none()), 1, &block(&fields, number)));
        if let Some(data) = body {
            bytes.extend(frame(DATA, last(trailers.is_none()), 1, data.as_bytes()));
        }
        if let Some(trailers) = trailers {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers, number)));
        }
        bytes
    }
}

/// A frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals that nobody remembers (RFC 7541 section 6.2.2), without Huffman's coding.
fn block(fields: &[(&str, &str)], number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        let value = value.replace(OUTER, &format!("/k8s/ws-1/outer-{number:03}"));
        bytes.push(0);
        for text in [name.as_bytes(), value.as_bytes()] {
            assert!(text.len() < 127, "a length of one byte");
            bytes.push(text.len() as u8);
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

/// Whether the answer to the first stream is a 200; false when there is none.
async fn answered(stream: &mut TcpStream) -> bool {
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        if stream.read_exact(&mut payload).await.is_err() {
            break;
        }
        match head[3] {
            // The status 200 is a field of its own in every table.
            HEADERS => return payload.first() == Some(&0x88),
            RST_STREAM | GOAWAY => return false,
            _ => {}
        }
    }
    false
}
