//! Our own configuration document, issuers, and reading those of others.

use hexabase_oidc::{
    Issuer, IssuerError,
    client::{ClientError, ProviderMetadata},
    keys::Algorithm,
    provider::{DiscoveryDocument, ProviderFeatures},
};
use serde_json::{Value, json};

use crate::support::{ISSUER, issuer, with, without};

fn document(features: &ProviderFeatures) -> Value {
    serde_json::to_value(DiscoveryDocument::new(&issuer(), features)).unwrap()
}

#[test]
fn the_document_says_what_the_conformance_plan_looks_for() {
    let all = ProviderFeatures {
        algorithms: Algorithm::ALL.to_vec(),
        refresh: true,
        device: true,
        token_exchange: true,
        groups: true,
        revocation: true,
        introspection: true,
        end_session: true,
        confidential_clients: true,
        public_clients: true,
        claims_parameter: true,
        jwks_base: None,
    };
    let json = document(&all);
    assert_eq!(json["issuer"], ISSUER);
    for (name, value) in json.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            assert!(value.as_str().unwrap().starts_with(&format!("{ISSUER}/")), "{name}");
        }
    }
    assert_eq!(json["id_token_signing_alg_values_supported"], json!(["ES256", "RS256"]));
    assert_eq!(json["response_types_supported"], json!(["code"]));
    assert_eq!(json["subject_types_supported"], json!(["public"]));
    assert_eq!(json["code_challenge_methods_supported"], json!(["S256"]));
    assert!(json["scopes_supported"].as_array().unwrap().contains(&json!("openid")));
    assert_eq!(json["grant_types_supported"].as_array().unwrap().len(), 4);
    assert_eq!(json["authorization_response_iss_parameter_supported"], true);
    assert_eq!(json["claims_parameter_supported"], true);
    assert_eq!(
        json["token_endpoint_auth_methods_supported"],
        json!(["client_secret_basic", "client_secret_post", "none"])
    );
    assert_eq!(
        json["introspection_endpoint_auth_methods_supported"],
        json!(["Bearer", "client_secret_basic", "client_secret_post"])
    );
}

#[test]
fn the_document_promises_no_more_than_it_was_told() {
    let json = document(&ProviderFeatures::default());
    for absent in
        ["device_authorization_endpoint", "revocation_endpoint", "introspection_endpoint", "end_session_endpoint"]
    {
        assert!(json.get(absent).is_none(), "{absent}");
    }
    assert_eq!(json["grant_types_supported"], json!(["authorization_code"]));
    assert!(!json["token_endpoint_auth_methods_supported"].as_array().unwrap().contains(&json!("none")));
}

#[test]
fn the_keys_may_be_served_from_inside_the_cluster() {
    let base = Some("https://hexabase.svc:8443/oidc/ws-1/".to_owned());
    let json = document(&ProviderFeatures { jwks_base: base, ..Default::default() });
    assert_eq!(json["jwks_uri"], "https://hexabase.svc:8443/oidc/ws-1/jwks");
    assert_eq!(json["token_endpoint"], format!("{ISSUER}/token"));
}

#[test]
fn an_issuer_is_https_or_loopback_and_undecorated() {
    for good in [
        "https://a.example",
        "https://a.example/",
        "https://a.example:8443/x/y",
        "http://127.0.0.1:8080/dev",
        "http://[::1]",
        "http://localhost:1",
    ] {
        assert_eq!(Issuer::parse(good).unwrap().as_str(), good);
    }
    let cases = [
        ("", IssuerError::NotAUrl),
        ("a.example", IssuerError::NotAUrl),
        ("/x", IssuerError::NotAUrl),
        ("mailto:a@b", IssuerError::NotAUrl),
        ("http://a.example", IssuerError::Insecure),
        ("http://localhost.evil.example", IssuerError::Insecure),
        ("http://127.0.0.1.evil.example", IssuerError::Insecure),
        ("ftp://127.0.0.1", IssuerError::Insecure),
        ("https://a.example?x", IssuerError::Decorated),
        ("https://a.example#x", IssuerError::Decorated),
        ("https://u@a.example", IssuerError::Decorated),
        ("https://a.example/ x", IssuerError::Decorated),
        ("https://a.example\\x", IssuerError::Decorated),
    ];
    for (bad, expected) in cases {
        assert_eq!(Issuer::parse(bad), Err(expected), "{bad}");
    }
    assert_eq!(Issuer::parse("https://a.example/").unwrap().join("/x"), "https://a.example/x");
    assert!(serde_json::from_str::<Issuer>("\"http://a.example\"").is_err());
}

fn foreign() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://id.example.test/a",
        "token_endpoint": "https://id.example.test/t",
        "jwks_uri": "https://id.example.test/k",
        "userinfo_endpoint": "https://id.example.test/u",
        "response_types_supported": ["code", "token"],
        "id_token_signing_alg_values_supported": ["HS256", "none", "RS256", "ES512"],
    })
}

fn read(json: Value) -> Result<ProviderMetadata, ClientError> {
    ProviderMetadata::from_json(json.to_string().as_bytes(), &issuer())
}

#[test]
fn a_foreign_document_is_read_and_only_our_algorithms_are_taken_from_it() {
    assert_eq!(read(foreign()).unwrap().algorithms(), [Algorithm::Rs256]);
    assert!(read(without(foreign(), "userinfo_endpoint")).unwrap().userinfo_endpoint.is_none());
}

#[test]
fn a_foreign_document_that_is_unsafe_or_useless_is_refused() {
    for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
        for url in [
            "http://id.example.test/x",
            "http://127.0.0.1:6443/x",
            "https://127.0.0.1/x",
            "https://localhost/x",
            "file:///etc/passwd",
        ] {
            let refused = read(with(foreign(), name, json!(url))).unwrap_err();
            assert!(matches!(refused, ClientError::InsecureEndpoint(n) if n == name), "{name} {url}: {refused}");
        }
        assert!(read(with(foreign(), name, json!("x"))).is_err());
    }
    for issuer in ["https://evil.example", "https://id.example.test/oidc/ws-1/", "https://id.example.test/oidc"] {
        assert!(matches!(read(with(foreign(), "issuer", json!(issuer))), Err(ClientError::IssuerMismatch { .. })));
    }
    let types = read(with(foreign(), "response_types_supported", json!(["id_token"])));
    assert!(matches!(types, Err(ClientError::Unsupported("the code flow"))));
    for algorithms in [json!([]), json!(["none"]), json!(["HS256"])] {
        let refused = read(with(foreign(), "id_token_signing_alg_values_supported", algorithms));
        assert!(matches!(refused, Err(ClientError::Unsupported(_))));
    }
    assert!(ProviderMetadata::from_json(b"<html>", &issuer()).is_err());
}
