//! The authorisation request: who is told what.

use hexabase_oidc::provider::{
    AuthorizationError, AuthorizationRequest, ClaimsRequest, Client, ClientError, CodeVerifier, OAuthError,
    OAuthErrorCode, Pkce, RedirectUri, RedirectUriError, append_query, native_target,
};
use url::{Url, form_urlencoded};

use crate::support::{ISSUER, issuer};

const CALLBACK: &str = "https://app.example.test/cb?tenant=1";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn clients() -> Vec<Client> {
    vec![
        Client::public("app", vec![RedirectUri::exact(CALLBACK).unwrap()]).unwrap(),
        Client::public(
            "hxb",
            vec![
                RedirectUri::loopback("http://127.0.0.1/cb").unwrap(),
                RedirectUri::loopback("http://[::1]/cb").unwrap(),
            ],
        )
        .unwrap(),
    ]
}

const GOOD: [(&str, &str); 8] = [
    ("client_id", "app"),
    ("redirect_uri", CALLBACK),
    ("response_type", "code"),
    ("scope", "openid email"),
    ("state", "s t&a=te"),
    ("nonce", "n"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

/// The good request with one parameter replaced, added or (empty) taken away.
fn query(name: &str, value: &str) -> String {
    let kept = GOOD.into_iter().filter(|(key, _)| *key != name);
    let added = (!value.is_empty()).then_some((name, value));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(kept.chain(added)).finish()
}

fn parse(query: &str) -> Result<AuthorizationRequest, AuthorizationError> {
    AuthorizationRequest::parse(query, &issuer(), &clients())
}

fn shown(query: &str) -> OAuthError {
    match parse(query) {
        Err(AuthorizationError::Show(error)) => error,
        other => panic!("{query} gave {other:?}"),
    }
}

/// The error code, and that the browser goes to the registered URI with state and iss.
fn redirected(query: &str) -> OAuthErrorCode {
    match parse(query) {
        Err(AuthorizationError::Redirect { location, error }) => {
            assert!(location.starts_with(&format!("{CALLBACK}&error={}&", error.code.as_str())), "{location}");
            let url = Url::parse(&location).unwrap();
            let iss: Vec<_> = url.query_pairs().filter(|(name, _)| name == "iss").collect();
            assert_eq!(iss.len(), 1);
            assert_eq!(iss[0].1, ISSUER);
            error.code
        }
        other => panic!("{query} gave {other:?}"),
    }
}

#[test]
fn a_good_request_is_read_and_answered() {
    let request = parse(&query("prompt", "login select_account")).unwrap();
    assert_eq!((request.client_id.as_str(), request.nonce.as_deref()), ("app", Some("n")));
    assert!(request.scopes.contains("openid") && request.prompt.login && request.prompt.select_account);
    assert_eq!(
        request.success_location("c/o+de", &issuer()),
        "https://app.example.test/cb?tenant=1&code=c%2Fo%2Bde&state=s+t%26a%3Dte\
         &iss=https%3A%2F%2Fid.example.test%2Foidc%2Fws-1"
    );
    let no = OAuthError::new(OAuthErrorCode::AccessDenied, "no");
    assert!(request.error_location(&no, &issuer()).contains("&error=access_denied&error_description=no&state="));
}

#[test]
fn unknown_parameters_and_scopes_are_ignored() {
    for (name, value) in
        [("extra", "foobar"), ("display", "page"), ("ui_locales", "se"), ("acr_values", "1 2"), ("claims", "{}")]
    {
        assert!(parse(&query(name, value)).is_ok(), "{name}");
    }
    let request = parse(&query("scope", "openid address phone openid")).unwrap();
    assert_eq!(request.scopes.to_string(), "openid address phone");
    assert_eq!(request.scopes.limited_to(&["openid", "email"]).to_string(), "openid");
}

#[test]
fn a_wrong_client_or_redirect_uri_is_shown_and_never_redirected() {
    for bad in [
        String::new(),
        "%".to_owned(),
        query("client_id", ""),
        query("client_id", "other"),
        query("client_id", "APP"),
        query("client_id", "app\u{0}"),
        query("redirect_uri", ""),
        query("redirect_uri", "https://evil.example/cb"),
        query("redirect_uri", "https://app.example.test/cb"),
        query("redirect_uri", "https://app.example.test/cb?tenant=1&x=1"),
        query("redirect_uri", "https://app.example.test/cb?tenant=1#f"),
        query("redirect_uri", "https://app.example.test/cb/?tenant=1"),
        query("redirect_uri", "https://app.example.test/./cb?tenant=1"),
        query("redirect_uri", "https://APP.example.test/cb?tenant=1"),
        query("redirect_uri", "https://app.example.test:443/cb?tenant=1"),
        query("redirect_uri", "https://u@app.example.test/cb?tenant=1"),
        query("redirect_uri", "http://app.example.test/cb?tenant=1"),
        query("redirect_uri", "//app.example.test/cb?tenant=1"),
        query("redirect_uri", "javascript:alert(1)"),
        format!("{}&client_id=hxb", query("x", "")),
        format!("{}&client_id=app", query("x", "")),
        format!("{}&redirect_uri=https%3A%2F%2Fevil.example", query("x", "")),
    ] {
        assert_eq!(shown(&bad).status(), 400, "{bad}");
    }
    assert_eq!(shown(&"a=b&".repeat(65)).code, OAuthErrorCode::InvalidRequest);
    assert_eq!(shown(&format!("{}&pad={}", query("x", ""), "x".repeat(70_000))).code, OAuthErrorCode::InvalidRequest);
}

#[test]
fn everything_else_is_told_to_the_client() {
    use OAuthErrorCode::{
        InvalidRequest, InvalidScope, RegistrationNotSupported, RequestNotSupported, RequestUriNotSupported,
        UnsupportedResponseType,
    };
    let (longest, long) = ("x".repeat(1024), "x".repeat(1025));
    assert!(parse(&query("state", &longest)).is_ok() && parse(&query("nonce", &longest)).is_ok());
    let cases = [
        ("response_type", "", InvalidRequest),
        ("response_type", "token", UnsupportedResponseType),
        ("response_type", "id_token", UnsupportedResponseType),
        ("response_type", "code id_token", UnsupportedResponseType),
        ("response_type", "none", UnsupportedResponseType),
        ("response_mode", "fragment", InvalidRequest),
        ("response_mode", "form_post", InvalidRequest),
        ("code_challenge", "", InvalidRequest),
        ("code_challenge", "short", InvalidRequest),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM", InvalidRequest),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=", InvalidRequest),
        ("code_challenge_method", "", InvalidRequest),
        ("code_challenge_method", "plain", InvalidRequest),
        ("code_challenge_method", "s256", InvalidRequest),
        ("prompt", "none login", InvalidRequest),
        ("prompt", "create", InvalidRequest),
        ("max_age", "-1", InvalidRequest),
        ("max_age", "soon", InvalidRequest),
        ("scope", "openid \"x\"", InvalidScope),
        ("scope", "openid \u{e9}", InvalidScope),
        ("request", "eyJhbGciOiJub25lIn0.e30.", RequestNotSupported),
        ("request_uri", "https://evil.example/r", RequestUriNotSupported),
        ("registration", "{}", RegistrationNotSupported),
        ("state", long.as_str(), InvalidRequest),
        ("nonce", long.as_str(), InvalidRequest),
        ("nonce", "a\nb", InvalidRequest),
        ("claims", "[]", InvalidRequest),
        ("claims", "{\"userinfo\":[]}", InvalidRequest),
        ("claims", "{\"userinfo\":{\"name\":true}}", InvalidRequest),
        ("claims", "{\"id_token\":{\"sub\":{\"value\":1}}}", InvalidRequest),
        (
            "claims",
            "{\"id_token\":{\"sub\":{\"value\":\"a\"}},\"userinfo\":{\"sub\":{\"value\":\"b\"}}}",
            InvalidRequest,
        ),
    ];
    for (name, value, code) in cases {
        assert_eq!(redirected(&query(name, value)), code, "{name}={value}");
    }
}

#[test]
fn a_parameter_that_comes_twice_is_refused() {
    for name in [
        "response_type",
        "scope",
        "state",
        "nonce",
        "prompt",
        "max_age",
        "code_challenge",
        "login_hint",
        "display",
        "claims",
    ] {
        let twice = format!("{}&{name}=a&{name}=b", query(name, ""));
        assert_eq!(redirected(&twice), OAuthErrorCode::InvalidRequest, "{name}");
    }
}

#[test]
fn a_state_that_came_once_is_returned_with_the_error() {
    let Err(AuthorizationError::Redirect { location, .. }) = parse(&query("response_type", "token")) else { panic!() };
    assert!(location.contains("&state=s+t%26a%3Dte&"), "{location}");
}

#[test]
fn a_native_client_may_listen_on_any_port_of_its_loopback_address() {
    let client = &clients()[1];
    for good in ["http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "http://[::1]:8000/cb"] {
        assert!(client.allows_redirect_to(good), "{good}");
    }
    for bad in [
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:08000/cb",
        "http://127.0.0.1:+80/cb",
        "http://127.0.0.1:80@evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1@evil.example/cb",
        "http://127.0.0.1:8000/cb/",
        "http://127.0.0.1:8000/cb?x=1",
        "http://127.0.0.1:8000/other",
        "http://127.0.0.1:8000/x/cb",
        "http://127.0.0.2:8000/cb",
        "http://localhost:8000/cb",
        "http://2130706433:8000/cb",
        "https://127.0.0.1:8000/cb",
        "http://evil.example/http://127.0.0.1/cb",
        " http://127.0.0.1:8000/cb",
    ] {
        assert!(!client.allows_redirect_to(bad), "{bad}");
    }
}

#[test]
fn only_an_answer_over_https_goes_to_the_owner_of_a_name() {
    for (uri, target) in [
        ("http://127.0.0.1:4711/cb", Some("127.0.0.1")),
        ("http://[::1]:80/cb", Some("[::1]")),
        ("http://localhost", Some("localhost")),
        ("com.example.app:/cb", Some("com.example.app")),
        ("https://app.example.test/cb", None),
        ("https://localhost/cb", None),
    ] {
        assert_eq!(native_target(uri).as_deref(), target, "{uri}");
    }
}

#[test]
fn a_redirect_uri_that_must_not_be_registered_is_refused() {
    use RedirectUriError::{Fragment, NotAUrl, NotLoopback, Scheme};
    let cases = [
        ("https://a.example/cb#x", Fragment),
        ("https://u:p@a.example/cb", NotAUrl),
        ("https://a.example\\@evil.example/", NotAUrl),
        ("/cb", NotAUrl),
        ("https://a.example/ cb", NotAUrl),
        ("https://a.example/\u{e9}", NotAUrl),
        ("http://a.example/cb", Scheme),
        ("javascript:alert(1)", Scheme),
        ("data:text/html,x", Scheme),
        ("myapp:/cb", Scheme),
    ];
    for (uri, expected) in cases {
        assert_eq!(RedirectUri::exact(uri), Err(expected), "{uri}");
    }
    assert!(RedirectUri::exact("com.example.app:/cb").is_ok());
    for uri in ["http://127.0.0.1:80/cb", "https://127.0.0.1/cb", "http://10.0.0.1/cb", "http://127.0.0.1.evil/cb"] {
        assert_eq!(RedirectUri::loopback(uri), Err(NotLoopback), "{uri}");
    }
}

#[test]
fn a_client_has_a_plain_id_and_a_long_secret() {
    assert_eq!(Client::public("", vec![]).unwrap_err(), ClientError::Id);
    assert_eq!(Client::public("a:b", vec![]).unwrap_err(), ClientError::Id);
    assert_eq!(Client::confidential("a", vec![], "short").unwrap_err(), ClientError::Secret);
    assert_eq!(Client::with_secret_hash("a", vec![], "xx".into()).unwrap_err(), ClientError::Secret);
}

#[test]
fn a_query_is_added_to_without_touching_the_rest() {
    assert_eq!(append_query("https://a.example", [("a", "b c")]), "https://a.example?a=b+c");
    assert_eq!(append_query("https://a.example/?", [("a", "b")]), "https://a.example/?a=b");
    assert_eq!(append_query("com.example:/x?y=%20", [("a", "\r\nb")]), "com.example:/x?y=%20&a=%0D%0Ab");
    assert_eq!(append_query("https://a.example/x", []), "https://a.example/x");
}

#[test]
fn the_challenge_of_the_request_is_met_by_its_verifier_only() {
    let request = parse(&query("x", "")).unwrap();
    let verifier = CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
    let challenge = request.code_challenge.unwrap();
    assert!(challenge.is_met_by(&verifier), "the example of RFC 7636 appendix B");
    assert!(!challenge.is_met_by(&CodeVerifier::generate().unwrap()));
    // Sending the challenge itself is what worked with `plain`.
    assert!(!challenge.is_met_by(&CodeVerifier::parse(CHALLENGE).unwrap()));
}

#[test]
fn only_a_client_with_a_secret_may_go_without_a_challenge_and_only_as_far_as_it_is_registered() {
    let redirect = || vec![RedirectUri::exact(CALLBACK).unwrap()];
    let secret = "0123456789abcdef0123456789abcdef";
    let bare = |name: &str| {
        let kept = GOOD.into_iter().filter(|(key, _)| !key.starts_with("code_challenge") && *key != name);
        form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
    };
    for (pkce, with_nonce, without) in
        [(Pkce::Required, false, false), (Pkce::OrNonce, true, false), (Pkce::Optional, true, true)]
    {
        let confidential = Client::confidential("app", redirect(), secret).unwrap().with_pkce(pkce);
        let public = Client::public("app", redirect()).unwrap().with_pkce(pkce);
        let parse = |client: &Client, query: &str| {
            AuthorizationRequest::parse(query, &issuer(), std::slice::from_ref(client)).map(|it| it.code_challenge)
        };
        assert_eq!(parse(&confidential, &bare("")).is_ok_and(|it| it.is_none()), with_nonce, "{pkce:?}");
        assert_eq!(parse(&confidential, &bare("nonce")).is_ok_and(|it| it.is_none()), without, "{pkce:?}");
        assert!(parse(&public, &bare("")).is_err() && parse(&public, &bare("nonce")).is_err(), "{pkce:?}");
        // Half of one is a mistake, whoever makes it.
        for name in ["code_challenge", "code_challenge_method"] {
            assert!(parse(&confidential, &query(name, "")).is_err(), "{pkce:?} without {name}");
        }
        assert!(parse(&confidential, &query("x", "")).is_ok_and(|it| it.is_some()), "{pkce:?}");
    }
}

#[test]
fn single_claims_are_asked_for_by_name() {
    let wanted = "{\"userinfo\":{\"name\":{\"essential\":true},\"email\":null},\"id_token\":{\"auth_time\":{\"essential\":true},\
                  \"sub\":{\"value\":\"usr-1\"}},\"other\":1}";
    let request = parse(&query("claims", wanted)).unwrap();
    let mut claims = request.claims;
    claims.userinfo.sort();
    claims.id_token.sort();
    let expected = ClaimsRequest {
        userinfo: vec!["email".into(), "name".into()],
        id_token: vec!["auth_time".into(), "sub".into()],
        subject: Some("usr-1".into()),
    };
    assert_eq!(claims, expected);
    assert_eq!(parse(&query("x", "")).unwrap().claims, ClaimsRequest::default());
    let many = (0..51).map(|number| format!("\"c{number}\":null")).collect::<Vec<_>>().join(",");
    assert_eq!(redirected(&query("claims", &format!("{{\"userinfo\":{{{many}}}}}"))), OAuthErrorCode::InvalidRequest);
}

#[test]
fn a_client_is_sent_back_to_after_signing_out_where_it_is_registered_and_nowhere_else() {
    let client = Client::public("app", vec![]).unwrap().returning_to(vec!["https://app.example.test/bye".into()]);
    assert!(client.allows_return_to("https://app.example.test/bye"));
    for other in ["https://app.example.test/bye/", "https://app.example.test/bye?x", "https://evil.example/", ""] {
        assert!(!client.allows_return_to(other), "{other}");
    }
}
