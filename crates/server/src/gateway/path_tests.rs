use super::*;

fn upstream(raw: &str) -> Result<String, &'static str> {
    split(raw).map(|target| target.upstream.as_str().to_owned())
}

#[test]
fn what_kubectl_asks_passes_byte_for_byte() {
    for path in [
        "",
        "/",
        "/api",
        "/apis/",
        "/api/v1/namespaces/default/pods?limit=500",
        "/api/v1/namespaces/default/pods/p/exec?command=sh&command=-c&command=echo%20%2Fetc%2F..%2f%00&stdin=true",
        "/apis/apps/v1/namespaces/n/deployments?labelSelector=app%3Dweb%2Ctier%21%3Ddb&watch=true",
        "/api/v1/namespaces/n/services/https:web:443/proxy/a/b.js?x=//../..",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aadmin",
        "/api/v1/namespaces/n/configmaps/kube-root-ca.crt",
        "/api/v1/namespaces/n/configmaps/...",
        "/api/v1/namespaces/n/configmaps/..a",
        "/api/v1/namespaces/n/configmaps/%E2%82%AC",
        "/api/v1/namespaces/n/services/s/proxy/100%25",
        "/openapi/v3/apis/apps/v1?hash=%22A%22",
        "/version?",
    ] {
        let expected = if path.is_empty() || path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
        assert_eq!(upstream(&format!("/k8s/ws-1{path}")), Ok(expected), "{path}");
    }
    assert_eq!(upstream("/k8s/ws-1?x=1").as_deref(), Ok("/?x=1"));
    assert_eq!(split("/k8s/ws-1/api").unwrap().workspace, "ws-1");
}

#[test]
fn every_path_two_programs_may_read_differently_is_refused() {
    for path in [
        "/..",
        "/.",
        "/../ws-2/api",
        "/api/../../ws-2",
        "/api/..",
        "/api/.",
        "/api/./v1",
        "/api/../",
        "/%2e%2e/ws-2",
        "/%2E%2E/ws-2",
        "/.%2e/ws-2",
        "/%2e./ws-2",
        "/%2e/api",
        "/api/%2E",
        "/api/%2e%2E",
        "/api/..;/x",
        "/api/..;a=b/x",
        "/api/.;/x",
        "/api/%2e%2e;/x",
        "/api/..%3b/x",
        "/api/..%20/x",
        "/api/%20../x",
        "/api/%252e%252e/x",
        "/api/%25252e%25252e/x",
        "/api/%2525252525252e/x",
        "/api/%25%32%65%25%32%65/x",
        "/api%2fv1",
        "/api%2Fv1",
        "/%2f",
        "/%2fexample.com/",
        "/..%2f..%2fws-2",
        "/..%2Fws-2",
        "/%2e%2e%2fws-2",
        "/api%252fv1",
        "/api%25252Fv1",
        "/api%5cv1",
        "/api%5Cv1",
        "/api%255cv1",
        "/..%5cws-2",
        "/api\\v1",
        "/..\\ws-2",
        "//",
        "//api",
        "//example.com/api",
        "/api//v1",
        "/api/v1//",
        "///",
        "/api/%00",
        "/api/%00/x",
        "/api%00",
        "/api/%2500",
        "/api/%0d%0aHost:%20evil",
        "/api/%0a",
        "/api/%09",
        "/api/%7f",
        "/api/%ff",
        "/api/%c0%ae%c0%ae/x",
        "/api/%c0%af",
        "/api/%e2%82",
        "/api/%ed%a0%80",
        "/api/%25ff",
        "/api/%",
        "/api/%2",
        "/api/%zz",
        "/api/%u002e%u002e/x",
        "/api/%+2",
        "/api#x",
        "/#/../ws-2",
        "/api?x#y",
        "/\u{e9}",
        "/api/\u{ff0e}\u{ff0e}/x",
        "/api v1",
        "/api\tv1",
        "/api\0",
        "/api\r\nHost: evil",
    ] {
        assert!(split(&format!("/k8s/ws-1{path}")).is_err(), "{path}");
    }
}

#[test]
fn a_workspace_is_named_plainly_or_not_at_all() {
    let long = format!("/k8s/{}", "a".repeat(MAX_WORKSPACE + 1));
    for raw in [
        "",
        "/",
        "*",
        "/k8s",
        "/k8s/",
        "/k8s//api",
        "/k8s//ws-1/api",
        "/k8s/./api",
        "/k8s/../api",
        "/k8s/%2e%2e/api",
        "/k8s/ws%2d1/api",
        "/k8s/ws-1%2fapi",
        "/k8s/ws-1;x/api",
        "/k8s/ws-1:443/api",
        "/k8s/ws-1@evil/api",
        "/k8s/ws.1/api",
        "/k8s/?x=/k8s/ws-1/api",
        "/K8S/ws-1/api",
        "/%6b8s/ws-1/api",
        "/x/k8s/ws-1/api",
        "k8s/ws-1/api",
        "example.com:443",
        long.as_str(),
    ] {
        assert!(split(raw).is_err(), "{raw}");
    }
}

#[test]
fn absolute_urls_and_tunnels_are_refused_but_http_2_may_name_its_authority() {
    let absolute: Uri = "http://evil.example/k8s/ws-1/api".parse().unwrap();
    assert!(target(&Method::GET, &absolute, Version::HTTP_11).is_err());
    assert!(target(&Method::GET, &absolute, Version::HTTP_10).is_err());
    let seen = target(&Method::GET, &absolute, Version::HTTP_2).unwrap();
    assert_eq!(seen.upstream.as_str(), "/api");
    let plain = Uri::from_static("/k8s/ws-1/api");
    assert!(target(&Method::GET, &plain, Version::HTTP_11).is_ok());
    assert!(target(&Method::CONNECT, &plain, Version::HTTP_2).is_err());
    assert!(target(&Method::TRACE, &plain, Version::HTTP_11).is_err());
    assert!(target(&Method::CONNECT, &Uri::from_static("evil.example:443"), Version::HTTP_11).is_err());
}

#[test]
fn long_requests_are_those_kubernetes_calls_long_running() {
    for (raw, long) in [
        ("/api/v1/pods?watch=true", true),
        ("/api/v1/pods?watch=1&limit=1", true),
        ("/api/v1/pods?w%61tch=true", true),
        ("/api/v1/pods?watch=false", false),
        ("/api/v1/pods?watch=0", false),
        ("/api/v1/watch/pods", true),
        ("/apis/apps/v1/watch/namespaces/n/deployments", true),
        ("/api/v1/namespaces/n/pods/p/log", true),
        ("/api/v1/namespaces/n/pods/p/l%6Fg?follow=true", true),
        ("/api/v1/w%61tch/pods", true),
        ("/api/v1/namespaces/n/services/s/pr%256Fxy/a", true),
        ("/api/v1/namespaces/n/pods/p/exec", true),
        ("/api/v1/namespaces/n/pods/p/attach", true),
        ("/api/v1/namespaces/n/pods/p/portforward", true),
        ("/api/v1/namespaces/n/services/s/proxy/a/b", true),
        ("/api/v1/nodes/n/proxy/stats", true),
        ("/apis/x.io/v1/namespaces/n/things/t/proxy", true),
        ("/api/v1/namespaces/log", false),
        ("/api/v1/namespaces/n/pods/log", false),
        ("/api/v1/namespaces/n/pods/p/status", false),
        ("/apis/apps/v1/namespaces/n/deployments", false),
        ("/version", false),
        ("/", false),
    ] {
        assert_eq!(split(&format!("/k8s/ws-1{raw}")).unwrap().long, long, "{raw}");
    }
}

/// Everything any number of decodings makes of `path`.
fn decoded(path: &str) -> String {
    let mut text = path.to_lowercase();
    loop {
        let next = text.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace("%25", "%");
        if next == text {
            return text.replace('\\', "/");
        }
        text = next;
    }
}

#[test]
fn no_combination_of_dangerous_pieces_gets_through() {
    const PIECES: [&str; 10] = [".", "/", "%2e", "%2F", "%25", "\\", ";", "a", "2e", "5c"];
    let mut accepted = 0;
    for number in 0..PIECES.len().pow(5) {
        let pieces = (0..5).map(|place| PIECES[number / PIECES.len().pow(place) % PIECES.len()]);
        let path = format!("/{}", pieces.collect::<String>());
        if split(&format!("/k8s/ws-1{path}")).is_err() {
            continue;
        }
        accepted += 1;
        let seen = decoded(&path);
        assert_eq!(seen.matches('/').count(), path.matches('/').count(), "{path}");
        assert!(!seen.contains("//"), "{path}");
        for segment in seen.split('/') {
            let name = segment.split(';').next().unwrap_or_default();
            assert!(name != "." && name != "..", "{path}");
        }
    }
    assert!(accepted > 1_000, "the pieces also make harmless paths");
}

#[test]
fn the_path_at_which_tokens_are_made_is_known_however_it_is_written() {
    let token_of = |path: &str| {
        let found = split(&format!("/k8s/ws-1{path}")).unwrap().token_of;
        found.map(|ServiceAccount { namespace, name }| format!("{namespace}/{name}"))
    };
    for path in [
        "/api/v1/namespaces/web/serviceaccounts/robot/token",
        "/api/v1/namespaces/web/serviceaccounts/robot/token/",
        "/api/v1/namespaces/web/serviceaccounts/robot/token?dryRun=All&fieldManager=x",
        "/api/v1/namespaces/web/serviceaccounts/robot/token?",
        "/api/v1/namespaces/web/serviceaccounts/r%6Fbot/token",
        "/%61%70%69/v1/namespaces/web/%73erviceaccounts/robot/%74oken",
        "/api/v1/namespaces/web/serviceaccounts/robot/%2574oken",
    ] {
        assert_eq!(token_of(path).as_deref(), Some("web/robot"), "{path}");
    }
    for path in [
        "/api/v1/namespaces/web/serviceaccounts/robot",
        "/api/v1/namespaces/web/serviceaccounts/token",
        "/api/v1/namespaces/web/serviceaccounts/robot/token/x",
        "/api/v1/namespaces/web/secrets/robot/token",
        "/api/v1/serviceaccounts/robot/token",
        "/apis/v1/namespaces/web/serviceaccounts/robot/token",
        "/apis/example.com/v1/namespaces/web/serviceaccounts/robot/token",
        "/api/v1/namespaces/web/services/web/proxy/api/v1/namespaces/web/serviceaccounts/robot/token",
        "/API/v1/namespaces/web/serviceaccounts/robot/token",
        "/x?/api/v1/namespaces/web/serviceaccounts/robot/token",
    ] {
        assert_eq!(token_of(path), None, "{path}");
    }
}
