//! Attacks in where a request ends: its length, its chunks, its trailers, and what comes after a switch of protocols.

use super::Outcome::{Alone, Refused};
use super::{Attack, Outcome, SMUGGLED, TOKEN, outer};

/// Lengths that contradict each other or themselves.
pub(super) fn framing() -> Vec<Attack> {
    let table: [(&str, Outcome); 50] = [
        // The one length and the other.
        ("Content-Length: {m}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", Alone),
        ("Transfer-Encoding: chunked\r\nContent-Length: {m}\r\n\r\n0\r\n\r\n{hidden}", Alone),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{x}\r\n{hidden}\r\n0\r\n\r\n", Alone),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{x}\r\n{hidden}\r\n0\r\n\r\n", Alone),
        ("Content-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n0\r\n\r\n{hidden}", Alone),
        ("Content-Length: {n}\r\nTransfer_Encoding: chunked\r\n\r\n{hidden}", Alone),
        ("Content-Length: {n}\r\nTransfer-Encoding_: chunked\r\n\r\n{hidden}", Alone),
        ("Content-Length: {n}\r\nX-Transfer-Encoding: chunked\r\n\r\n{hidden}", Alone),
        ("Content-Length: {n}\r\nTransfer-Encoding : chunked\r\n\r\n{hidden}", Refused),
        ("Content-Length: {n}\r\n Transfer-Encoding: chunked\r\n\r\n{hidden}", Refused),
        ("Content-Length: {n}\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n{hidden}", Refused),
        ("Content-Length: {n}\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", Alone),
        ("Content-Length: {n}\r\nConnection: content-length\r\n\r\n{hidden}", Alone),
        ("Content-Length: {n}\r\nConnection: transfer-encoding\r\n\r\n{hidden}", Alone),
        // Codings.
        ("Transfer-Encoding: gzip\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: identity\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: identity\r\nContent-Length: {n}\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding:\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", Alone),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", Alone),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{hidden}", Alone),
        ("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: chun\tked\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Transfer-Encoding:\tCHUNKED \r\n\r\n0\r\n\r\n{hidden}", Alone),
        // Lengths.
        ("Content-Length: 0\r\n\r\n{hidden}", Alone),
        ("Content-Length: 5\r\n\r\nhello{hidden}", Alone),
        ("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello{hidden}", Alone),
        ("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello{hidden}", Refused),
        ("Content-Length: 5\r\nContent_Length: 0\r\n\r\nhello{hidden}", Alone),
        ("Content-Length: 5, 5\r\n\r\nhello{hidden}", Refused),
        ("Content-Length: 5 6\r\n\r\nhello{hidden}", Refused),
        ("Content-Length: +5\r\n\r\nhello{hidden}", Refused),
        ("Content-Length: -5\r\n\r\nhello{hidden}", Refused),
        ("Content-Length: 0x5\r\n\r\nhello{hidden}", Refused),
        ("Content-Length: 5e0\r\n\r\nhello{hidden}", Refused),
        ("Content-Length: 5.0\r\n\r\nhello{hidden}", Refused),
        ("Content-Length:\r\n\r\nhello{hidden}", Refused),
        ("Content-Length: 18446744073709551615\r\n\r\nhello{hidden}", Refused),
        ("Content-Length: 18446744073709551621\r\n\r\nhello{hidden}", Refused),
        ("Content-Length: 9223372036854775807\r\n\r\nhello{hidden}", Refused),
        ("Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello{hidden}", Alone),
    ];
    let mut attacks: Vec<Attack> =
        table.into_iter().map(|(rest, outcome)| Attack::new(rest, outer("POST", &hide(rest)), outcome)).collect();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"] {
        let bytes = outer(method, &hide("Content-Length: {n}\r\n\r\n{hidden}"));
        attacks.push(Attack::new(&format!("{method} with a body"), bytes, Alone));
    }
    let older = |rest: &str| {
        hide(&format!("POST /k8s/ws-1/outer HTTP/1.0\r\nHost: gateway\r\nAuthorization: Bearer {TOKEN}\r\n{rest}"))
    };
    for (rest, outcome) in [
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Content-Length: {m}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}", Refused),
        ("Connection: keep-alive\r\nContent-Length: 5\r\n\r\nhello{hidden}", Alone),
    ] {
        attacks.push(Attack::new(&format!("HTTP/1.0, {rest}"), older(rest), outcome));
    }
    let ends = outer("POST", &hide("Content-Length: 0\r\n\r\n{hidden}")).replace("\r\n", "\n");
    attacks.push(Attack::new("lines that end with half their end", ends, Alone));
    // Kept open, what follows is a request of its own, and without a good token.
    let open = outer("POST", &hide("Content-Length: 5\r\n\r\nhello{hidden}")).replacen("Connection: close\r\n", "", 1);
    attacks.push(Attack::new("two requests on one connection", open, Alone));
    attacks
}

/// Chunks of a body that is announced as such.
pub(super) fn chunks() -> Vec<Attack> {
    let table: [&str; 30] = [
        "5\r\nhello\r\n0\r\n\r\n{hidden}",
        "{x}\r\n{hidden}\r\n0\r\n\r\n",
        "{X}\r\n{hidden}\r\n0\r\n\r\n",
        "00000{x}\r\n{hidden}\r\n00000\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n{hidden}",
        "+5\r\nhello\r\n0\r\n\r\n{hidden}",
        "-5\r\nhello\r\n0\r\n\r\n{hidden}",
        " 5\r\nhello\r\n0\r\n\r\n{hidden}",
        "5 \r\nhello\r\n0\r\n\r\n{hidden}",
        "5 5\r\nhello\r\n0\r\n\r\n{hidden}",
        "5\nhello\r\n0\r\n\r\n{hidden}",
        "5\rhello\r\n0\r\n\r\n{hidden}",
        "\r\nhello\r\n0\r\n\r\n{hidden}",
        "g\r\nhello\r\n0\r\n\r\n{hidden}",
        "5;name=value\r\nhello\r\n0\r\n\r\n{hidden}",
        "5;name=\"\r\nhello\r\n0\r\n\r\n{hidden}",
        "5;\nhello\r\n0\r\n\r\n{hidden}",
        "5;{hidden}\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n{hidden}",
        "5\r\nhello\n0\r\n\r\n{hidden}",
        "5\r\nhelloXX0\r\n\r\n{hidden}",
        "10000000000000005\r\nhello\r\n0\r\n\r\n{hidden}",
        "0;x\r\n\r\n{hidden}",
        "0 \r\n\r\n{hidden}",
        "0\n\n{hidden}",
        "0\r\n{hidden}",
        "0\r\nAuthorization: Bearer platform\r\nImpersonate-User: system:admin\r\n\r\n{hidden}",
        "0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: evil\r\n\r\nhello{hidden}",
        "0\r\nX-Remote-User: system:admin\r\n folded\r\n\r\n{hidden}",
        "0\r\nX : y\r\n\r\n{hidden}",
    ];
    let whole = |body: &str| outer("POST", &hide(&format!("Transfer-Encoding: chunked\r\n\r\n{body}")));
    table.into_iter().map(|body| Attack::new(body, whole(body), Alone)).collect()
}

/// Switches of protocols, with something hidden behind them.
pub(super) fn upgrades() -> Vec<Attack> {
    let table: [(&str, &str, Outcome); 20] = [
        ("GET", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", Alone),
        ("GET", "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n", Alone),
        ("GET", "Connection: Upgrade\r\nUpgrade: SPDY/2\r\n", Alone),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", Alone),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", Alone),
        ("GET", "Connection: Upgrade\r\n", Alone),
        ("GET", "Upgrade: websocket\r\n", Alone),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\n", Alone),
        ("GET", "Connection: Upgrade, authorization\r\nUpgrade: websocket\r\n", Alone),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n", Alone),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nImpersonate-User: system:admin\r\n", Refused),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nX-Remote-User: system:admin\r\n", Alone),
        (
            "GET",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.cGxhdGZvcm0\r\n",
            Refused,
        ),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", Refused),
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", Refused),
        ("POST", "Connection: Upgrade\r\nUpgrade: websocket\r\n", Refused),
        ("DELETE", "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n", Refused),
        ("POST", "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 5\r\n", Refused),
        ("POST", "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nTransfer-Encoding: chunked\r\n", Refused),
        ("POST", "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n", Alone),
    ];
    let whole = |method: &str, lines: &str| {
        let path = "/k8s/ws-1/outer/exec";
        format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {TOKEN}\r\n{lines}\r\n{SMUGGLED}")
    };
    let attack = |(method, lines, outcome): (&str, &str, Outcome)| {
        Attack::new(&format!("{method}, {lines}"), whole(method, lines), outcome)
    };
    table.into_iter().map(attack).collect()
}

/// Fills in what is hidden, its length, the same as a chunk's (in small and in capital letters), and that of an empty body of
/// chunks with it behind.
fn hide(text: &str) -> String {
    let length = SMUGGLED.len();
    text.replace("{hidden}", SMUGGLED)
        .replace("{n}", &length.to_string())
        .replace("{m}", &(length + 5).to_string())
        .replace("{x}", &format!("{length:x}"))
        .replace("{X}", &format!("{length:X}"))
}
