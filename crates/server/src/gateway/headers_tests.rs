use super::*;

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn cleaned(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = map(pairs);
    clean_request(&mut headers, HeaderValue::from_static("Bearer judged"));
    assert_eq!(headers.get_all(AUTHORIZATION).iter().collect::<Vec<_>>(), ["Bearer judged"]);
    headers
}

#[test]
fn no_header_that_claims_an_identity_reaches_a_tenant() {
    for (name, value) in [
        ("Impersonate-User", "admin"),
        ("impersonate-user", "admin"),
        ("IMPERSONATE-USER", "admin"),
        ("iMpErSoNaTe-GrOuP", "system:masters"),
        ("Impersonate-User", ""),
        ("Impersonate-Group", ""),
        ("Impersonate-Uid", "0"),
        ("Impersonate-Extra-Scopes", "all"),
        ("Impersonate-Extra-acme.com%2Fproject", "x"),
        ("Impersonate-Anything", "x"),
        ("Impersonate", "x"),
        ("impersonate_user", "admin"),
        ("Impersonate_Group", "system:masters"),
        ("impersonate.user", "admin"),
        ("_impersonate-user", "admin"),
        ("-impersonate-user", "admin"),
        ("impersonate--user", "admin"),
        ("X-Impersonate-User", "admin"),
        ("X-Remote-User", "admin"),
        ("x-remote-group", "system:masters"),
        ("X-REMOTE-EXTRA-scopes", "x"),
        ("x_remote_user", "admin"),
        ("X-Remote_Group", "system:masters"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Uri", "/x"),
        ("x_forwarded_for", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-Ip", "127.0.0.1"),
        ("True-Client-IP", "127.0.0.1"),
        ("X-Client-IP", "127.0.0.1"),
        ("Via", "1.1 evil"),
        ("X-Original-URL", "/api"),
        ("X-Original-URI", "/api"),
        ("X-Rewrite-URL", "/api"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Method-Override", "DELETE"),
        ("X-Host", "evil"),
        ("Host", "evil"),
        ("Cookie", "__Host-session=secret"),
        ("cookie2", "x"),
        ("Authorization", "Bearer other"),
        ("Proxy-Authorization", "Basic x"),
        ("Proxy-Authenticate", "x"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy", "http://evil"),
        ("Connection", "keep-alive"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Trailer", "Impersonate-User"),
        ("Trailers", "x"),
        ("Transfer-Encoding", "chunked"),
        ("transfer_encoding", "chunked"),
        ("Content-Length", "5"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ("Expect", "100-continue"),
    ] {
        assert_eq!(cleaned(&[(name, value)]).len(), 1, "{name}");
    }
}

#[test]
fn a_wish_to_act_as_somebody_else_is_refused_in_every_spelling() {
    for name in [
        "Impersonate-User",
        "IMPERSONATE-GROUP",
        "Impersonate-Uid",
        "Impersonate-Extra-Scopes",
        "Impersonate-Extra-acme.com%2Fproject",
        "Impersonate",
        "impersonate_user",
        "impersonate.group",
        "_impersonate-user",
        "-impersonate-user",
        "Impersonate-",
    ] {
        let refused = refuse_impersonation(&map(&[("accept", "*/*"), (name, "")]));
        assert_eq!(refused.map_err(|failure| failure.code()), Err(403), "{name}");
    }
    for name in ["X-Impersonate-User", "X-Remote-User", "Personate-User", "Kubectl-Command", "Connection"] {
        assert!(refuse_impersonation(&map(&[(name, "impersonate-user")])).is_ok(), "{name}");
    }
}

#[test]
fn headers_named_by_connection_end_here_and_the_credential_does_not() {
    for connection in [
        "x-secret",
        "X-Secret",
        "close, x-secret",
        "x-secret,close",
        " x-secret ",
        "authorization, x-secret",
        "Authorization,X-SECRET,impersonate-user",
        ",,x-secret,,",
        "host, x-secret",
        "x-secret, upgrade",
        "content-length, x-secret",
        "connection, x-secret",
    ] {
        let headers = cleaned(&[("connection", connection), ("x-secret", "1"), ("content-length", "1")]);
        assert_eq!(headers.len(), 1, "{connection}");
    }
    let twice = cleaned(&[("connection", "close"), ("connection", "x-secret"), ("x-secret", "1")]);
    assert_eq!(twice.len(), 1);
}

#[test]
fn what_kubectl_sends_passes() {
    let pairs = [
        ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
        ("accept-encoding", "gzip"),
        ("content-type", "application/apply-patch+yaml"),
        ("user-agent", "kubectl/v1.36.1"),
        ("kubectl-command", "kubectl apply"),
        ("kubectl-session", "0b3f"),
        ("audit-id", "7d1c"),
        ("if-none-match", "\"A\""),
        ("origin", "https://console.example"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ("x-stream-protocol-version", "v4.channel.k8s.io"),
        ("x-stream-protocol-version", "v3.channel.k8s.io"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let headers = cleaned(&pairs);
    assert_eq!(headers.len(), pairs.len() + 1);
}

#[test]
fn a_tenant_cannot_act_on_the_origin_of_the_platform() {
    let mut headers = map(&[
        ("set-cookie", "__Host-session=evil"),
        ("set-cookie", "b=c"),
        ("set-cookie2", "x"),
        ("clear-site-data", "\"*\""),
        ("strict-transport-security", "max-age=0"),
        ("alt-svc", "h3=\"evil:443\""),
        ("service-worker-allowed", "/"),
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("proxy-authenticate", "Basic"),
        ("trailer", "x"),
        ("warning", "299 - \"deprecated\""),
        ("warning", "299 - \"again\""),
        ("audit-id", "7d1c"),
        ("retry-after", "1"),
        ("content-type", "application/json"),
        ("content-length", "2"),
        ("www-authenticate", "Bearer"),
        ("location", "/api/v1/namespaces/n/services/s/proxy/"),
    ]);
    clean_response(&mut headers, "ws-1");
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["audit-id", "content-length", "content-type", "location", "retry-after", "warning", "www-authenticate"]
    );
    assert_eq!(headers.get_all("warning").iter().count(), 2);
    assert_eq!(headers.get(LOCATION).unwrap(), "/k8s/ws-1/api/v1/namespaces/n/services/s/proxy/");
}

#[test]
fn only_redirects_within_the_tenant_are_moved() {
    for location in ["https://evil.example/", "//evil.example/", "relative", ""] {
        let mut headers = map(&[("location", location)]);
        clean_response(&mut headers, "ws-1");
        assert_eq!(headers.get(LOCATION).unwrap(), location);
    }
}

#[test]
fn only_websocket_and_spdy_are_switched_to() {
    let asked = |method: Method, pairs: &[(&str, &str)]| {
        Upgrade::asked(&method, Version::HTTP_11, &map(pairs)).map_err(|failure| failure.code())
    };
    for (connection, upgrade, expected) in [
        ("Upgrade", "websocket", Some(Upgrade::WebSocket)),
        ("keep-alive, upgrade", "WebSocket", Some(Upgrade::WebSocket)),
        ("Upgrade", "SPDY/3.1", Some(Upgrade::Spdy)),
        ("upgrade", "spdy/3.1", Some(Upgrade::Spdy)),
        ("Upgrade", "h2c", None),
        ("Upgrade, HTTP2-Settings", "h2c", None),
        ("Upgrade", "websocket, h2c", None),
        ("Upgrade", "h2c,websocket", None),
        ("Upgrade", "TLS/1.2", None),
        ("Upgrade", "SPDY/2", None),
        ("Upgrade", "", None),
        ("close", "websocket", None),
        ("", "websocket", None),
    ] {
        assert_eq!(asked(Method::GET, &[("connection", connection), ("upgrade", upgrade)]), Ok(expected));
    }
    let two = [("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")];
    assert_eq!(asked(Method::GET, &two), Ok(None));
    let websocket = [("connection", "upgrade"), ("upgrade", "websocket")];
    assert_eq!(asked(Method::POST, &websocket), Err(400));
    assert_eq!(asked(Method::DELETE, &websocket), Err(400));
    let body = [("connection", "upgrade"), ("upgrade", "SPDY/3.1"), ("content-length", "5")];
    assert_eq!(asked(Method::POST, &body), Err(400));
    let chunked = [("connection", "upgrade"), ("upgrade", "SPDY/3.1"), ("transfer-encoding", "chunked")];
    assert_eq!(asked(Method::POST, &chunked), Err(400));
    let empty = [("connection", "upgrade"), ("upgrade", "SPDY/3.1"), ("content-length", "0")];
    assert_eq!(asked(Method::POST, &empty), Ok(Some(Upgrade::Spdy)));
    assert_eq!(Upgrade::asked(&Method::GET, Version::HTTP_2, &map(&websocket)).ok(), Some(None));
    assert_eq!(Upgrade::asked(&Method::GET, Version::HTTP_10, &map(&websocket)).ok(), Some(None));
}
