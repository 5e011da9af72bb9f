//! ID tokens of external providers.

use hexabase_oidc::{
    client::{ClientError, IdTokenExpectation, validate_id_token},
    jwt::{TokenError, half_hash},
    keys::Algorithm,
};
use serde_json::{Value, json};

use crate::support::{EC, NOW, RSA, header, issuer, jwks, payload, raw_token, with, without};

fn claims() -> Value {
    with(with(payload(), "nonce", json!("n-1")), "email", json!("alice@example.test"))
}

fn validate(claims: Value) -> Result<hexabase_oidc::claims::IdTokenClaims, ClientError> {
    let token = raw_token(&RSA, &without(header(&RSA), "typ").to_string(), &claims.to_string());
    validate_id_token(
        &token,
        &jwks(),
        &IdTokenExpectation {
            issuer: &issuer(),
            client_id: "app",
            nonce: "n-1",
            algorithms: &[Algorithm::Rs256],
            access_token: Some("at"),
            now: NOW,
        },
    )
}

#[test]
fn a_good_id_token_is_accepted_without_a_type_and_a_minute_late() {
    assert_eq!(validate(claims()).unwrap().sub, "usr_1");
    assert!(validate(with(claims(), "exp", json!(NOW - 59))).is_ok());
    assert!(validate(with(claims(), "iat", json!(NOW + 60))).is_ok());
    assert!(validate(with(claims(), "at_hash", json!(half_hash("at")))).is_ok());
    assert!(validate(with(with(claims(), "aud", json!(["app", "x"])), "azp", json!("app"))).is_ok());
}

#[test]
fn each_check_refuses_on_its_own() {
    let token = |name: &str, value: Value| validate(with(claims(), name, value)).unwrap_err();
    let is = |error: ClientError, expected: TokenError| {
        assert!(matches!(&error, ClientError::IdToken(e) if *e == expected), "{error}")
    };
    is(token("iss", json!("https://evil.example")), TokenError::WrongIssuer);
    is(token("aud", json!("other")), TokenError::WrongAudience);
    is(token("exp", json!(NOW - 60)), TokenError::Expired);
    is(token("iat", json!(NOW + 61)), TokenError::NotYetValid);
    is(token("nbf", json!(NOW + 61)), TokenError::NotYetValid);
    is(validate(without(claims(), "iat")).unwrap_err(), TokenError::Malformed("iat"));
    assert!(matches!(token("azp", json!("other")), ClientError::AuthorizedParty));
    assert!(matches!(token("aud", json!(["app", "other"])), ClientError::AuthorizedParty), "shared without azp");
    assert!(matches!(token("nonce", json!("n-2")), ClientError::NonceMismatch));
    assert!(matches!(token("nonce", json!("")), ClientError::NonceMismatch));
    assert!(matches!(validate(without(claims(), "nonce")).unwrap_err(), ClientError::NonceMismatch));
    assert!(matches!(token("at_hash", json!("x")), ClientError::AccessTokenHash));
    assert!(matches!(token("sub", json!("")), ClientError::Subject));
    assert!(matches!(token("sub", json!("system:admin")), ClientError::Subject));
    assert!(matches!(validate(without(claims(), "sub")).unwrap_err(), ClientError::IdToken(TokenError::Claims(_))));
}

#[test]
fn an_algorithm_the_provider_did_not_announce_is_refused() {
    let token = raw_token(&EC, &header(&EC).to_string(), &claims().to_string());
    let expected = IdTokenExpectation {
        issuer: &issuer(),
        client_id: "app",
        nonce: "n-1",
        algorithms: &[Algorithm::Rs256],
        access_token: None,
        now: NOW,
    };
    let refused = validate_id_token(&token, &jwks(), &expected).unwrap_err();
    assert!(matches!(refused, ClientError::IdToken(TokenError::AlgorithmNotAllowed)));
    let nothing_expected = IdTokenExpectation { nonce: "", algorithms: &Algorithm::ALL, ..expected };
    let anonymous = raw_token(&EC, &header(&EC).to_string(), &with(claims(), "nonce", json!("")).to_string());
    assert!(matches!(validate_id_token(&anonymous, &jwks(), &nothing_expected), Err(ClientError::NonceMismatch)));
}

#[test]
fn an_address_counts_as_verified_only_when_it_is_said_to_be() {
    for (said, expected) in [
        (json!(true), Some(true)),
        (json!("true"), Some(true)),
        (json!(false), Some(false)),
        (json!("yes"), Some(false)),
        (json!(1), None),
        (json!(null), None),
    ] {
        assert_eq!(validate(with(claims(), "email_verified", said)).unwrap().email_verified, expected);
    }
}
