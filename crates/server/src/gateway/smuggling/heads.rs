//! Attacks in the request line and in the lines after it.

use super::Outcome::{Alone, Refused};
use super::{Attack, Outcome, SMUGGLED, TOKEN, outer};

/// Targets of a request that is in order otherwise.
pub(super) fn targets() -> Vec<Attack> {
    let table: [(&str, Outcome); 46] = [
        ("/k8s/ws-1/../ws-2/outer", Refused),
        ("/k8s/ws-1/outer/../../ws-2/api", Refused),
        ("/k8s/ws-1/outer/..", Refused),
        ("/k8s/ws-1/./outer", Refused),
        ("/k8s/ws-1/%2e%2e/ws-2/outer", Refused),
        ("/k8s/ws-1/%2E%2E/ws-2/outer", Refused),
        ("/k8s/ws-1/.%2e/ws-2/outer", Refused),
        ("/k8s/ws-1/%252e%252e/ws-2/outer", Refused),
        ("/k8s/ws-1/%25252e%25252e/ws-2/outer", Refused),
        ("/k8s/ws-1/..;/ws-2/outer", Refused),
        ("/k8s/ws-1/..%3b/ws-2/outer", Refused),
        ("/k8s/ws-1/..%20/ws-2/outer", Refused),
        ("/k8s/ws-1/outer%2fapi", Refused),
        ("/k8s/ws-1/outer%2Fapi", Refused),
        ("/k8s/ws-1/outer%252fapi", Refused),
        ("/k8s/ws-1/outer%5capi", Refused),
        ("/k8s/ws-1/outer%255capi", Refused),
        ("/k8s/ws-1/outer\\api", Refused),
        ("/k8s/ws-1/..\\ws-2\\outer", Refused),
        ("/k8s/ws-1//outer", Refused),
        ("/k8s/ws-1//evil.example/outer", Refused),
        ("/k8s//ws-1/outer", Refused),
        ("//k8s/ws-1/outer", Refused),
        ("//evil.example/k8s/ws-1/outer", Refused),
        ("/k8s/ws%2d1/outer", Refused),
        ("/k8s/ws-1;x/outer", Refused),
        ("/k8s/ws-1:443/outer", Refused),
        ("/k8s/user@ws-1/outer", Refused),
        ("/k8s/?x=/k8s/ws-1/outer", Refused),
        ("/K8S/ws-1/outer", Refused),
        ("/%6b8s/ws-1/outer", Refused),
        ("/x/../k8s/ws-1/outer", Refused),
        ("/k8s/ws-1/outer%00", Refused),
        ("/k8s/ws-1/outer%0d%0aHost:%20evil", Refused),
        ("/k8s/ws-1/outer%0aHost:%20evil", Refused),
        ("/k8s/ws-1/outer%7f", Refused),
        ("/k8s/ws-1/outer%ff", Refused),
        ("/k8s/ws-1/%c0%ae%c0%ae/outer", Refused),
        ("/k8s/ws-1/outer%zz", Refused),
        ("/k8s/ws-1/outer%", Refused),
        ("http://evil.example/k8s/ws-1/outer", Refused),
        ("http://gateway/k8s/ws-1/outer", Refused),
        ("https://user:password@evil.example:443/k8s/ws-1/outer", Refused),
        ("/k8s/ws-1/outer?x=%0d%0aImpersonate-User:%20admin", Alone),
        ("/k8s/ws-1/outer?x=/../ws-2&y=//evil.example", Alone),
        ("/k8s/ws-1/outer#/../ws-2", Alone),
    ];
    let whole = |target: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n")
    };
    let mut attacks: Vec<Attack> =
        table.into_iter().map(|(target, outcome)| Attack::new(target, whole(target), outcome)).collect();
    let mut bytes = whole("/k8s/ws-1/outer?").into_bytes();
    if let Some(at) = bytes.iter().position(|byte| *byte == b'?') {
        bytes[at] = 0xe9;
    }
    attacks.push(Attack::new("a byte in the path that no text holds", bytes, Refused));
    attacks
}

/// Request lines as a whole.
pub(super) fn lines() -> Vec<Attack> {
    let rest = format!("Host: gateway\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n");
    let table: [(&str, Outcome); 27] = [
        ("GET /k8s/ws-1/outer HTTP/1.0\r\n", Alone),
        ("GET /k8s/ws-1/outer HTTP/1.2\r\n", Refused),
        ("GET /k8s/ws-1/outer HTTP/0.9\r\n", Refused),
        ("GET /k8s/ws-1/outer HTTP/2.0\r\n", Refused),
        ("GET /k8s/ws-1/outer HTTP/1.1x\r\n", Refused),
        ("GET /k8s/ws-1/outer HTTP/1.1 x\r\n", Refused),
        ("GET /k8s/ws-1/outer http/1.1\r\n", Refused),
        ("GET /k8s/ws-1/outer HTTP 1.1\r\n", Refused),
        ("GET /k8s/ws-1/outer\r\n", Refused),
        ("GET  /k8s/ws-1/outer HTTP/1.1\r\n", Refused),
        ("GET\t/k8s/ws-1/outer HTTP/1.1\r\n", Refused),
        ("GET /k8s/ws-1/outer\tHTTP/1.1\r\n", Refused),
        ("GET /k8s/ws-1/outer x HTTP/1.1\r\n", Refused),
        (" GET /k8s/ws-1/outer HTTP/1.1\r\n", Refused),
        ("\r\n\r\nGET /k8s/ws-1/outer HTTP/1.1\r\n", Alone),
        ("\nGET /k8s/ws-1/outer HTTP/1.1\n", Alone),
        ("G\0ET /k8s/ws-1/outer HTTP/1.1\r\n", Refused),
        ("GET: /k8s/ws-1/outer HTTP/1.1\r\n", Refused),
        ("CONNECT gateway:443 HTTP/1.1\r\n", Refused),
        ("CONNECT /k8s/ws-1/outer HTTP/1.1\r\n", Refused),
        ("TRACE /k8s/ws-1/outer HTTP/1.1\r\n", Refused),
        ("OPTIONS * HTTP/1.1\r\n", Refused),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused),
        ("PRI /k8s/ws-1/outer HTTP/1.1\r\n", Alone),
        ("get /k8s/ws-1/outer HTTP/1.1\r\n", Alone),
        ("TRACK /k8s/ws-1/outer HTTP/1.1\r\n", Alone),
        ("GET k8s/ws-1/outer HTTP/1.1\r\n", Refused),
    ];
    let whole = |line: &str| format!("{line}{rest}{SMUGGLED}");
    table.into_iter().map(|(line, outcome)| Attack::new(line, whole(line), outcome)).collect()
}

/// Lines that follow those of a request that is in order otherwise.
pub(super) fn headers() -> Vec<Attack> {
    let table: [(&str, Outcome); 73] = [
        // Who asks.
        ("Impersonate-User: system:admin", Refused),
        ("impersonate-group: system:masters", Refused),
        ("IMPERSONATE-UID: 0", Refused),
        ("Impersonate-Extra-Scopes: all", Refused),
        ("Impersonate_User: system:admin", Refused),
        ("Impersonate.Group: system:masters", Refused),
        ("-Impersonate-User: system:admin", Refused),
        ("Impersonate-User:", Refused),
        ("Connection: impersonate-user\r\nImpersonate-User: system:admin", Refused),
        ("Authorization: Bearer platform", Refused),
        ("authorization:", Refused),
        ("AUTHORIZATION: Basic cGxhdGZvcm06eA==", Refused),
        ("Authorization : Bearer platform", Refused),
        ("Authorization\t: Bearer platform", Refused),
        ("Authorization_: Bearer platform", Alone),
        ("X-Remote-User: system:admin", Alone),
        ("X-Remote-Group: system:masters", Alone),
        ("X_Remote_User: system:admin", Alone),
        ("X.Remote.User: system:admin", Alone),
        ("X-Remote-Extra-Scopes: all", Alone),
        ("X-Impersonate-User: system:admin", Alone),
        ("X-Forwarded-User: system:admin", Alone),
        ("X-Forwarded-For: 127.0.0.1", Alone),
        ("X-Forwarded-Host: evil", Alone),
        ("Forwarded: for=127.0.0.1;host=evil", Alone),
        ("X-Real-IP: 127.0.0.1", Alone),
        ("Cookie: __Host-hexabase_session=platform", Alone),
        ("Proxy-Authorization: Bearer platform", Alone),
        ("Proxy: http://evil", Alone),
        ("Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.cGxhdGZvcm0", Alone),
        // Where to, and for what.
        ("Host: evil", Refused),
        ("host:", Refused),
        ("X-Host: evil", Alone),
        ("X-Original-URL: /smuggled", Alone),
        ("X-Rewrite-URL: /smuggled", Alone),
        ("X-HTTP-Method-Override: DELETE", Alone),
        ("X-Method-Override: DELETE", Alone),
        // What belongs to one connection.
        ("Connection: authorization", Alone),
        ("Connection: close, authorization, host", Alone),
        ("Connection: x-remote-user\r\nX-Remote-User: system:admin", Alone),
        ("Connection: content-length\r\nContent-Length: 0", Alone),
        ("Connection: ,,, authorization ,", Alone),
        ("Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive", Alone),
        ("TE: trailers, chunked", Alone),
        ("Trailer: Authorization, Impersonate-User", Alone),
        ("Expect: 100-continue", Alone),
        ("Expect: 200-ok", Alone),
        // Lines that are none.
        (" Impersonate-User: system:admin", Refused),
        ("\tImpersonate-User: system:admin", Refused),
        ("X: y\r\n Impersonate-User: system:admin", Refused),
        ("X: y\r\n\tImpersonate-User: system:admin", Refused),
        ("X: y\rImpersonate-User: system:admin", Refused),
        ("X: y\r\rImpersonate-User: system:admin", Refused),
        ("X: y\nX-Remote-User: system:admin", Alone),
        ("X: y\nImpersonate-User: system:admin", Refused),
        ("X: y\n\r\nImpersonate-User: system:admin", Alone),
        ("X\0: y", Refused),
        ("X: y\0Impersonate-User: system:admin", Refused),
        ("X: \u{1}", Refused),
        ("X: \u{7f}", Refused),
        ("X: \u{b}y", Refused),
        ("X: \u{e9}", Alone),
        ("X\u{e9}: y", Refused),
        (": y", Refused),
        ("X", Refused),
        ("X Y: z", Refused),
        ("X : y", Refused),
        ("X\r: y", Refused),
        ("X@Y: z", Refused),
        ("X(Y): z", Refused),
        ("\"X\": z", Refused),
        ("GET /k8s/ws-1/smuggled HTTP/1.1", Refused),
        ("X: y\r\n\r\nGET /k8s/ws-1/smuggled HTTP/1.1", Alone),
    ];
    let mut attacks: Vec<Attack> = table
        .into_iter()
        .map(|(line, outcome)| Attack::new(line, outer("GET", &format!("{line}\r\n\r\n")), outcome))
        .collect();
    let many = (0..200).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    attacks.push(Attack::new("two hundred headers", outer("GET", &format!("{many}\r\n")), Refused));
    let long = "y".repeat(1 << 20);
    attacks.push(Attack::new("a header of a megabyte", outer("GET", &format!("X: {long}\r\n\r\n")), Refused));
    attacks
}
