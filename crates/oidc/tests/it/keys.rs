//! Keys, their ids and their forms.

use hexabase_oidc::{
    jwt::{self, Typ},
    keys::{Algorithm, Jwk, JwkSet, KeyError, SigningKey},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::{EC, RSA, expectation, jwks, payload};

#[test]
fn the_thumbprint_is_the_one_of_rfc_7638() {
    let jwk: Jwk = serde_json::from_value(json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"
    }))
    .unwrap();
    assert_eq!(jwk.thumbprint().as_deref(), Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
}

#[test]
fn a_public_key_says_what_it_is_for_and_nothing_private() {
    for key in [&*EC, &*RSA] {
        let jwk = serde_json::to_value(key.public_jwk()).unwrap();
        assert_eq!(jwk["use"], "sig");
        assert_eq!(jwk["alg"], key.algorithm().as_str());
        assert_eq!(jwk["kid"], key.kid());
        assert_eq!(key.public_jwk().thumbprint().as_deref(), Some(key.kid()));
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(jwk.get(private).is_none());
        }
    }
}

#[test]
fn a_stored_key_comes_back_with_the_same_id_and_signs() {
    for key in [&*EC, &*RSA] {
        let der = key.to_pkcs8_der().unwrap();
        let back = SigningKey::from_pkcs8_der(key.algorithm(), der.expose_secret()).unwrap();
        assert_eq!(back.kid(), key.kid());
        let token = jwt::sign(&back, &payload(), Typ::Jwt).unwrap();
        assert!(jwt::verify::<Value>(&token, &jwks(), &expectation()).is_ok());
    }
}

#[test]
fn bytes_that_are_no_key_of_that_algorithm_are_refused() {
    let (ec, rsa) = (EC.to_pkcs8_der().unwrap(), RSA.to_pkcs8_der().unwrap());
    let cut = &ec.expose_secret()[..40];
    for (alg, der) in [
        (Algorithm::Es256, rsa.expose_secret()),
        (Algorithm::Rs256, ec.expose_secret()),
        (Algorithm::Es256, &[][..]),
        (Algorithm::Es256, cut),
    ] {
        assert_eq!(SigningKey::from_pkcs8_der(alg, der).unwrap_err(), KeyError::Decode(alg));
    }
}

#[test]
fn printing_a_key_shows_its_id_only() {
    let text = format!("{:?}", *EC);
    assert!(text.contains(EC.kid()) && !text.to_lowercase().contains("private"), "{text}");
}

#[test]
fn a_foreign_set_is_read_past_the_keys_that_make_no_sense() {
    let set = json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "okp" },
        { "no": "type" },
        7,
        { "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "weak", "d": "secret" },
        EC.public_jwk(),
    ] });
    let set = JwkSet::from_json(set.to_string().as_bytes()).unwrap();
    assert_eq!(set.keys.len(), 3);
    assert!(set.with_kid(EC.kid()).next().is_some());
    assert!(!serde_json::to_string(&set).unwrap().contains("secret"));
    assert_eq!(set.with_kid("okp").next().unwrap().algorithm(), None);
}

#[test]
fn a_short_rsa_key_verifies_nothing() {
    let mut jwk = RSA.public_jwk().clone();
    jwk.n = jwk.n.map(|n| n[..170].to_owned());
    let token = jwt::sign(&RSA, &payload(), Typ::Jwt).unwrap();
    let refused = jwt::verify::<Value>(&token, &JwkSet { keys: vec![jwk] }, &expectation());
    assert_eq!(refused, Err(jwt::TokenError::BadSignature));
}
