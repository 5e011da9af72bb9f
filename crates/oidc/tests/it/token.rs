//! The token endpoint and its clients.

use base64::{Engine, engine::general_purpose::STANDARD};
use hexabase_oidc::{
    Params, hash_token,
    provider::{
        Client, DeviceAuthorizationRequest, EndSessionRequest, Grant, Inquirer, IntrospectionRequest,
        IntrospectionResponse, OAuthError, OAuthErrorCode, RevocationRequest, Scopes, TokenRequest, TokenResponse,
        bearer_token, grant_types, token_types,
    },
};
use secrecy::ExposeSecret;
use url::form_urlencoded;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn parse(pairs: &[(&str, &str)]) -> Result<TokenRequest, OAuthError> {
    TokenRequest::parse(None, &form(pairs))
}

fn code_request() -> Vec<(&'static str, &'static str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", "hxb"),
        ("code", "c"),
        ("redirect_uri", "http://127.0.0.1:1/cb"),
        ("code_verifier", VERIFIER),
    ]
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn clients() -> Vec<Client> {
    vec![
        Client::public("hxb", vec![]).unwrap(),
        Client::confidential("web", vec![], SECRET).unwrap(),
        Client::with_secret_hash("a b&c".replace(' ', "+").as_str(), vec![], hash_token(SECRET)).unwrap(),
    ]
}

#[test]
fn the_four_grants_are_read() {
    let request = parse(&code_request()).unwrap();
    let Grant::AuthorizationCode { code, redirect_uri, code_verifier } = request.grant else { panic!() };
    assert_eq!((code.expose_secret(), redirect_uri.as_str()), ("c", "http://127.0.0.1:1/cb"));
    assert_eq!(code_verifier.unwrap().expose(), VERIFIER);
    let mut without = code_request();
    without.retain(|(key, _)| *key != "code_verifier");
    let Grant::AuthorizationCode { code_verifier, .. } = parse(&without).unwrap().grant else { panic!() };
    assert!(code_verifier.is_none(), "whether there had to be one is decided where the challenge is known");

    let refresh = [("grant_type", "refresh_token"), ("client_id", "hxb"), ("refresh_token", "r"), ("scope", "openid")];
    let Grant::RefreshToken { refresh_token, scopes } = parse(&refresh).unwrap().grant else { panic!() };
    assert_eq!(refresh_token.expose_secret(), "r");
    assert!(scopes.is_within(&Scopes::parse("openid email").unwrap()));
    assert!(!Scopes::parse("openid groups").unwrap().is_within(&scopes));

    let device = [("grant_type", grant_types::DEVICE_CODE), ("client_id", "hxb"), ("device_code", "d")];
    assert!(matches!(parse(&device).unwrap().grant, Grant::DeviceCode { .. }));

    let exchange = [
        ("grant_type", grant_types::TOKEN_EXCHANGE),
        ("client_id", "hxb"),
        ("subject_token", "t"),
        ("subject_token_type", token_types::ACCESS_TOKEN),
        ("requested_token_type", token_types::ID_TOKEN),
        ("audience", "ws-1"),
        ("audience", "ws-2"),
        ("resource", "https://x"),
    ];
    let Grant::TokenExchange(exchange) = parse(&exchange).unwrap().grant else { panic!() };
    assert_eq!(exchange.audiences, ["ws-1", "ws-2"]);
    assert_eq!(exchange.resources, ["https://x"]);
}

#[test]
fn a_request_that_lacks_or_repeats_something_is_refused() {
    let mut verifiers = code_request();
    verifiers.push(("code_verifier", "x"));
    assert_eq!(parse(&verifiers).unwrap_err().code, OAuthErrorCode::InvalidRequest);
    for name in ["grant_type", "client_id", "code", "redirect_uri"] {
        let mut lacking = code_request();
        lacking.retain(|(key, _)| *key != name);
        assert_eq!(parse(&lacking).unwrap_err().code, OAuthErrorCode::InvalidRequest, "without {name}");
        let mut empty = lacking.clone();
        empty.push((name, ""));
        assert_eq!(parse(&empty).unwrap_err().code, OAuthErrorCode::InvalidRequest, "empty {name}");
        let mut twice = code_request();
        twice.push((name, "x"));
        assert_eq!(parse(&twice).unwrap_err().code, OAuthErrorCode::InvalidRequest, "twice {name}");
    }
}

#[test]
fn an_unsupported_grant_is_named_as_such() {
    for grant in
        ["password", "client_credentials", "implicit", "Authorization_Code", "urn:openid:params:grant-type:ciba"]
    {
        let refused = parse(&[("grant_type", grant), ("client_id", "hxb"), ("username", "u"), ("password", "p")]);
        assert_eq!(refused.unwrap_err().code, OAuthErrorCode::UnsupportedGrantType, "{grant}");
    }
}

#[test]
fn a_verifier_that_is_none_is_refused() {
    let (short, long) = ("a".repeat(42), "a".repeat(129));
    let star = format!("{}*", "a".repeat(50));
    for verifier in [short.as_str(), long.as_str(), star.as_str(), "ü"] {
        let mut request = code_request();
        request.retain(|(key, _)| *key != "code_verifier");
        request.push(("code_verifier", verifier));
        assert_eq!(parse(&request).unwrap_err().code, OAuthErrorCode::InvalidRequest, "{verifier}");
    }
}

#[test]
fn an_exchange_with_an_actor_or_an_unknown_type_is_refused() {
    let base = [("grant_type", grant_types::TOKEN_EXCHANGE), ("client_id", "hxb"), ("subject_token", "t")];
    let access = ("subject_token_type", token_types::ACCESS_TOKEN);
    for extra in [
        vec![],
        vec![("subject_token_type", "urn:ietf:params:oauth:token-type:saml2")],
        vec![access, ("requested_token_type", "x")],
        vec![access, ("actor_token", "a")],
        vec![access, ("actor_token_type", token_types::JWT)],
    ] {
        let request = [base.to_vec(), extra.clone()].concat();
        assert_eq!(parse(&request).unwrap_err().code, OAuthErrorCode::InvalidRequest, "{extra:?}");
    }
}

#[test]
fn a_client_proves_itself_by_header_or_form_or_is_public() {
    let clients = clients();
    let body = form(&[("grant_type", "refresh_token"), ("refresh_token", "r")]);
    let accept = |header: Option<&str>, body: &str| {
        let request = TokenRequest::parse(header, body).unwrap();
        request.client.authenticate(&clients).map(|client| client.id().to_owned())
    };
    assert_eq!(accept(Some(&basic("web", SECRET)), &body).unwrap(), "web");
    assert_eq!(accept(Some(&basic("web", SECRET).replace("Basic", "bAsIc")), &body).unwrap(), "web");
    assert_eq!(accept(Some(&basic("a%2Bb%26c", SECRET)), &body).unwrap(), "a+b&c", "form-encoded inside Basic");
    assert_eq!(accept(Some(&basic("hxb", "")), &body).unwrap(), "hxb", "a public client with an empty password");
    assert_eq!(accept(None, &format!("{body}&client_id=web&client_secret={SECRET}")).unwrap(), "web");
    assert_eq!(accept(None, &format!("{body}&client_id=hxb")).unwrap(), "hxb");
    assert_eq!(accept(Some(&basic("web", SECRET)), &format!("{body}&client_id=web")).unwrap(), "web");
}

#[test]
fn a_client_that_does_not_prove_itself_is_refused_with_401() {
    let clients = clients();
    let body = form(&[("grant_type", "refresh_token"), ("refresh_token", "r")]);
    let wrong = [
        (Some(basic("web", "wrong")), body.clone()),
        (Some(basic("web", "")), body.clone()),
        (Some(basic("web", &SECRET[..31])), body.clone()),
        (Some(basic("web", &hash_token(SECRET))), body.clone()),
        (Some(basic("nobody", SECRET)), body.clone()),
        (Some(basic("hxb", SECRET)), body.clone()),
        (None, format!("{body}&client_id=web")),
        (None, format!("{body}&client_id=web&client_secret=wrong")),
        (None, format!("{body}&client_id=hxb&client_secret={SECRET}")),
        (None, format!("{body}&client_id=nobody")),
    ];
    for (header, body) in wrong {
        let request = TokenRequest::parse(header.as_deref(), &body).unwrap();
        let refused = request.client.authenticate(&clients).unwrap_err();
        assert_eq!((refused.code, refused.status()), (OAuthErrorCode::InvalidClient, 401));
        assert_eq!(
            refused.www_authenticate().is_some(),
            header.is_some(),
            "a challenge only for those who tried Basic"
        );
    }
    for header in ["Bearer abc", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", ""] {
        let refused = TokenRequest::parse(Some(header), &body).unwrap_err();
        assert_eq!(refused.code, OAuthErrorCode::InvalidClient, "{header}");
    }
}

#[test]
fn two_ways_of_proof_at_once_are_refused() {
    let body = form(&[("grant_type", "refresh_token"), ("refresh_token", "r")]);
    for body in [format!("{body}&client_secret={SECRET}"), format!("{body}&client_id=other")] {
        let refused = TokenRequest::parse(Some(&basic("web", SECRET)), &body).unwrap_err();
        assert_eq!(refused.code, OAuthErrorCode::InvalidRequest);
    }
}

#[test]
fn an_error_says_its_code_and_nothing_unprintable() {
    let error = OAuthError::new(OAuthErrorCode::InvalidGrant, "a \"quoted\"\r\nline \u{e9}");
    let body = serde_json::to_value(&error).unwrap();
    assert_eq!(body["error"], "invalid_grant");
    assert_eq!(body["error_description"], "a  quoted   line  ");
    assert_eq!(body.as_object().unwrap().len(), 2);
    assert_eq!(OAuthError::new(OAuthErrorCode::TemporarilyUnavailable, "x").status(), 503);
    let token = OAuthError::new(OAuthErrorCode::InvalidToken, "gone");
    assert_eq!(token.www_authenticate().unwrap(), "Bearer error=\"invalid_token\", error_description=\"gone\"");
    assert_eq!(token.status(), 401);
}

#[test]
fn every_error_code_has_one_name() {
    use OAuthErrorCode::{AuthorizationPending, ExpiredToken, InvalidTarget, RequestUriNotSupported, SlowDown};
    for code in [AuthorizationPending, SlowDown, ExpiredToken, InvalidTarget, RequestUriNotSupported] {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}

#[test]
fn no_token_is_ever_printed() {
    let mut answer = TokenResponse::bearer("canary-access".into(), 60);
    answer.refresh_token = Some("canary-refresh".into());
    answer.id_token = Some("canary-id".into());
    assert!(!format!("{answer:?}").contains("canary"));
    let mut request = code_request();
    request.retain(|(key, _)| *key != "code");
    request.push(("code", "canary-code"));
    request.push(("client_secret", "canary-secret"));
    let request = parse(&request).unwrap();
    let printed = format!("{request:?}");
    assert!(!printed.contains("canary") && !printed.contains(VERIFIER), "{printed}");
    let json = serde_json::to_value(TokenResponse::bearer("t".into(), 60)).unwrap();
    assert_eq!(json, serde_json::json!({ "access_token": "t", "token_type": "Bearer", "expires_in": 60 }));
}

#[test]
fn a_device_asks_with_its_client_and_scopes() {
    let request = DeviceAuthorizationRequest::parse(None, "client_id=hxb&scope=openid+offline_access").unwrap();
    assert_eq!(request.client.authenticate(&clients()).unwrap().id(), "hxb");
    assert_eq!(request.scopes.to_string(), "openid offline_access");
    assert_eq!(DeviceAuthorizationRequest::parse(None, "scope=x").unwrap_err().code, OAuthErrorCode::InvalidRequest);
    let scope = DeviceAuthorizationRequest::parse(None, "client_id=hxb&scope=%22").unwrap_err();
    assert_eq!(scope.code, OAuthErrorCode::InvalidScope);
}

#[test]
fn a_bearer_token_comes_in_the_header_or_in_the_form_and_not_in_both() {
    let form = |body: &str| Params::parse(body).unwrap();
    let read = |header: Option<&str>, body: &str| {
        bearer_token(header, Some(&form(body))).map(|token| token.expose_secret().to_owned())
    };
    assert_eq!(read(Some("Bearer t"), "").unwrap(), "t");
    assert_eq!(read(Some("bEARER t"), "x=y").unwrap(), "t");
    assert_eq!(read(None, "access_token=t").unwrap(), "t");
    assert!(bearer_token(None, None).is_err());
    for (header, body) in [
        (None, ""),
        (None, "access_token="),
        (None, "token=t"),
        (Some("Basic dA=="), ""),
        (Some("Bearer"), ""),
        (Some("Bearer "), ""),
        (Some("Bearer a b"), ""),
        (Some("Bearert"), ""),
        (Some(""), ""),
    ] {
        assert_eq!(read(header, body).unwrap_err().code, OAuthErrorCode::InvalidToken, "{header:?} {body}");
    }
    for body in ["access_token=t", "access_token=u"] {
        assert_eq!(read(Some("Bearer t"), body).unwrap_err().code, OAuthErrorCode::InvalidRequest);
    }
    assert_eq!(read(None, "access_token=t&access_token=t").unwrap_err().code, OAuthErrorCode::InvalidRequest);
}

#[test]
fn a_client_or_the_bearer_asks_what_a_token_is() {
    let asked = IntrospectionRequest::parse(Some(&basic("web", SECRET)), "token=t&token_type_hint=x").unwrap();
    assert_eq!(asked.token.expose_secret(), "t");
    let Inquirer::Client(client) = asked.inquirer else { panic!() };
    assert_eq!(client.authenticate(&clients()).unwrap().id(), "web");
    let asked = IntrospectionRequest::parse(Some("Bearer own"), "token=t").unwrap();
    assert!(matches!(asked.inquirer, Inquirer::Bearer(token) if token.expose_secret() == "own"));
    for (header, body) in [(Some("Bearer own"), ""), (None, "token=t"), (Some("Bearer "), "token=t"), (None, "")] {
        assert!(IntrospectionRequest::parse(header, body).is_err(), "{header:?} {body}");
    }
    let nothing = serde_json::to_value(IntrospectionResponse::default()).unwrap();
    assert_eq!(nothing, serde_json::json!({ "active": false }), "who is told no is told nothing else");
}

#[test]
fn a_client_names_itself_and_the_token_that_is_to_end() {
    let asked = RevocationRequest::parse(None, "token=t&client_id=hxb&token_type_hint=access_token").unwrap();
    assert_eq!((asked.client.client_id(), asked.token.expose_secret()), ("hxb", "t"));
    for body in ["token=t", "client_id=hxb", "client_id=hxb&token=", "client_id=hxb&token=t&token=u"] {
        assert_eq!(RevocationRequest::parse(None, body).unwrap_err().code, OAuthErrorCode::InvalidRequest, "{body}");
    }
}

#[test]
fn a_browser_goes_back_with_its_state_after_signing_out() {
    let query =
        "id_token_hint=h&client_id=web&post_logout_redirect_uri=https%3A%2F%2Fa.example%2Fbye%3Fx%3D1&state=a+b&z=1";
    let request = EndSessionRequest::parse(query).unwrap();
    assert_eq!((request.id_token_hint.as_deref(), request.client_id.as_deref()), (Some("h"), Some("web")));
    assert_eq!(request.location().as_deref(), Some("https://a.example/bye?x=1&state=a+b"));
    assert_eq!(EndSessionRequest::parse("state=x").unwrap().location(), None);
    assert!(EndSessionRequest::parse("state=x&state=y").is_err());
}
