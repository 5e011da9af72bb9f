//! Tokens that must not be accepted, each for its own reason.

use hexabase_oidc::{
    jwt::{self, Expectation, ExpectedTyp, MAX_TOKEN_BYTES, TokenError, Typ},
    keys::{Algorithm, JwkSet},
};
use serde_json::{Value, json};

use crate::support::{EC, NOW, RSA, b64, expectation, header, jwks, payload, raw_token, with, without};

fn verify(token: &str) -> Result<Value, TokenError> {
    jwt::verify(token, &jwks(), &expectation())
}

fn with_header(header: Value) -> Result<Value, TokenError> {
    verify(&raw_token(&EC, &header.to_string(), &payload().to_string()))
}

fn with_payload(payload: Value) -> Result<Value, TokenError> {
    verify(&raw_token(&EC, &header(&EC).to_string(), &payload.to_string()))
}

#[test]
fn the_plain_token_is_accepted_with_both_algorithms() {
    for key in [&*EC, &*RSA] {
        let token = raw_token(key, &header(key).to_string(), &payload().to_string());
        assert_eq!(verify(&token).unwrap()["sub"], "usr_1");
    }
}

#[test]
fn an_algorithm_outside_the_list_is_refused_in_every_spelling() {
    for alg in
        ["none", "None", "NONE", "nOnE", "", "HS256", "HS512", "ES384", "RS512", "PS256", "EdDSA", "es256", "ES256 "]
    {
        assert_eq!(with_header(with(header(&EC), "alg", json!(alg))), Err(TokenError::AlgorithmNotAllowed), "{alg:?}");
    }
}

#[test]
fn an_algorithm_that_is_no_string_is_refused() {
    for alg in [json!(null), json!(1), json!(["ES256"]), json!({ "ES256": true })] {
        assert_eq!(with_header(with(header(&EC), "alg", alg)), Err(TokenError::Malformed("alg")));
    }
    assert_eq!(with_header(without(header(&EC), "alg")), Err(TokenError::Malformed("alg")));
}

#[test]
fn an_unsigned_token_is_refused_however_it_is_written() {
    let none = json!({ "alg": "none", "kid": EC.kid(), "typ": "JWT" }).to_string();
    assert_eq!(
        verify(&format!("{}.{}.", b64(&none), b64(payload().to_string()))),
        Err(TokenError::AlgorithmNotAllowed)
    );
    let signed = raw_token(&EC, &header(&EC).to_string(), &payload().to_string());
    let (unsigned, _) = signed.rsplit_once('.').unwrap();
    assert_eq!(verify(&format!("{unsigned}.")), Err(TokenError::BadSignature));
    assert_eq!(verify(unsigned), Err(TokenError::Malformed("three parts are expected")));
}

#[test]
fn hmac_with_the_public_key_as_secret_is_refused() {
    use aws_lc_rs::hmac;
    let modulus = RSA.public_jwk().n.clone().unwrap();
    let signed = format!(
        "{}.{}",
        b64(json!({ "alg": "HS256", "kid": RSA.kid(), "typ": "JWT" }).to_string()),
        b64(payload().to_string())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, modulus.as_bytes()), signed.as_bytes());
    assert_eq!(verify(&format!("{signed}.{}", b64(tag))), Err(TokenError::AlgorithmNotAllowed));
}

#[test]
fn a_key_id_of_another_algorithm_is_refused() {
    let claimed = json!({ "alg": "RS256", "typ": "JWT", "kid": EC.kid() });
    assert_eq!(verify(&raw_token(&RSA, &claimed.to_string(), &payload().to_string())), Err(TokenError::KeyMismatch));
    let claimed = json!({ "alg": "ES256", "typ": "JWT", "kid": RSA.kid() });
    assert_eq!(verify(&raw_token(&EC, &claimed.to_string(), &payload().to_string())), Err(TokenError::KeyMismatch));
}

#[test]
fn an_algorithm_of_ours_that_is_not_expected_here_is_refused() {
    let token = raw_token(&RSA, &header(&RSA).to_string(), &payload().to_string());
    let expected = Expectation { algorithms: &[Algorithm::Es256], ..expectation() };
    assert_eq!(jwt::verify::<Value>(&token, &jwks(), &expected), Err(TokenError::AlgorithmNotAllowed));
}

#[test]
fn a_token_without_a_usable_key_id_is_refused() {
    assert_eq!(with_header(without(header(&EC), "kid")), Err(TokenError::MissingKeyId));
    assert_eq!(with_header(with(header(&EC), "kid", json!(""))), Err(TokenError::MissingKeyId));
    assert_eq!(with_header(with(header(&EC), "kid", json!(7))), Err(TokenError::Malformed("kid")));
    assert_eq!(with_header(with(header(&EC), "kid", json!("another"))), Err(TokenError::UnknownKey));
    assert_eq!(with_header(with(header(&EC), "kid", json!("../../dev/null"))), Err(TokenError::UnknownKey));
}

#[test]
fn a_header_that_brings_or_points_to_a_key_is_refused() {
    let own = serde_json::to_value(EC.public_jwk()).unwrap();
    let cases = [
        ("jwk", own),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("epk", json!({})),
    ];
    for (name, value) in cases {
        assert!(
            matches!(with_header(with(header(&EC), name, value)), Err(TokenError::ForbiddenHeader(n)) if n == name)
        );
    }
}

#[test]
fn a_header_member_that_appears_twice_is_refused() {
    let kid = EC.kid();
    for doubled in [
        format!(r#"{{"alg":"ES256","alg":"ES256","typ":"JWT","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"none","alg":"ES256","typ":"JWT","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"ES256","typ":"JWT","kid":"other","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"ES256","typ":"at+jwt","typ":"JWT","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{kid}","\u006bid":"{kid}"}}"#),
    ] {
        let token = raw_token(&EC, &doubled, &payload().to_string());
        assert_eq!(verify(&token), Err(TokenError::Malformed("header")), "{doubled}");
    }
}

#[test]
fn a_claim_that_appears_twice_is_refused() {
    let plain = payload().to_string();
    for extra in [r#""sub":"root","#, r#""aud":"other","#, r#""exp":9999999999,"#, r#""iss":"x","#] {
        let doubled = format!("{{{extra}{}", &plain[1..]);
        let token = raw_token(&EC, &header(&EC).to_string(), &doubled);
        assert_eq!(verify(&token), Err(TokenError::Malformed("payload")), "{doubled}");
    }
}

#[test]
fn a_token_of_another_shape_is_refused() {
    let good = raw_token(&EC, &header(&EC).to_string(), &payload().to_string());
    let parts: Vec<&str> = good.split('.').collect();
    let (h, p, s) = (parts[0], parts[1], parts[2]);
    let cases = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "a.b.c".into(),
        format!("{h}.{p}"),
        format!("{h}.{p}.{s}.{s}"),
        format!("{h}.{p}.{s}.."),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{h}=.{p}.{s}"),
        format!("{h}.{p}.{s}="),
        format!("{h}.{p}.{}", s.replace(['-', '_'], "+")) + "+",
        format!("Bearer {good}"),
        good.replace('.', ":"),
        format!("{}.{p}.{s}", b64("[]")),
        format!("{}.{p}.{s}", b64("null")),
        format!("{}.{p}.{s}", b64("\"ES256\"")),
        format!("{}.{p}.{s}", b64(format!("{}x", header(&EC)))),
        format!("{}.{p}.{s}", b64([0xff, 0xfe])),
    ];
    for case in cases {
        assert!(matches!(verify(&case), Err(TokenError::Malformed(_))), "{case:?} gave {:?}", verify(&case));
    }
}

#[test]
fn a_payload_that_is_no_object_is_refused() {
    for body in ["[]", "null", "7", "\"text\"", "", "{", "{}{}", "{\"iss\":}"] {
        let token = raw_token(&EC, &header(&EC).to_string(), body);
        assert_eq!(verify(&token), Err(TokenError::Malformed("payload")), "{body}");
    }
}

#[test]
fn an_oversize_token_is_refused_before_anything_else() {
    let big = with(payload(), "pad", json!("x".repeat(MAX_TOKEN_BYTES)));
    assert_eq!(with_payload(big), Err(TokenError::TooLarge));
    assert_eq!(verify(&"a".repeat(MAX_TOKEN_BYTES + 1)), Err(TokenError::TooLarge));
    assert!(matches!(verify(&"a".repeat(MAX_TOKEN_BYTES)), Err(TokenError::Malformed(_))));
}

#[test]
fn a_changed_bit_anywhere_is_refused() {
    let good = raw_token(&EC, &header(&EC).to_string(), &payload().to_string());
    for index in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(verify(&changed).is_err(), "changed at {index}");
    }
}

#[test]
fn a_signature_of_another_key_or_length_is_refused() {
    let other = hexabase_oidc::keys::SigningKey::generate(Algorithm::Es256).unwrap();
    let token = raw_token(&other, &header(&EC).to_string(), &payload().to_string());
    assert_eq!(verify(&token), Err(TokenError::BadSignature));
    let good = raw_token(&EC, &header(&EC).to_string(), &payload().to_string());
    let (signed, _) = good.rsplit_once('.').unwrap();
    // r = s = 0 was once accepted by others (CVE-2022-21449).
    for signature in [vec![0; 64], vec![0xff; 64], vec![1; 63], vec![1; 65], vec![0x30, 6, 2, 1, 1, 2, 1, 1]] {
        assert_eq!(verify(&format!("{signed}.{}", b64(signature))), Err(TokenError::BadSignature));
    }
}

#[test]
fn a_key_that_is_not_for_signatures_verifies_nothing() {
    let good = raw_token(&EC, &header(&EC).to_string(), &payload().to_string());
    let changes: [fn(&mut hexabase_oidc::keys::Jwk); 6] = [
        |jwk| jwk.use_ = Some("enc".into()),
        |jwk| jwk.alg = Some("ES384".into()),
        |jwk| jwk.alg = Some("RS256".into()),
        |jwk| jwk.crv = Some("P-384".into()),
        |jwk| jwk.crv = None,
        |jwk| jwk.kty = "oct".into(),
    ];
    for change in changes {
        let mut jwk = EC.public_jwk().clone();
        change(&mut jwk);
        let keys = JwkSet { keys: vec![jwk] };
        assert_eq!(jwt::verify::<Value>(&good, &keys, &expectation()), Err(TokenError::KeyMismatch));
    }
}

#[test]
fn a_broken_key_verifies_nothing_and_does_not_panic() {
    let good = raw_token(&EC, &header(&EC).to_string(), &payload().to_string());
    for (x, y) in [("", ""), ("AA", "AA"), ("!", "!"), (&*"A".repeat(43), &*"A".repeat(43))] {
        let mut jwk = EC.public_jwk().clone();
        (jwk.x, jwk.y) = (Some(x.into()), Some(y.into()));
        let keys = JwkSet { keys: vec![jwk] };
        assert_eq!(jwt::verify::<Value>(&good, &keys, &expectation()), Err(TokenError::BadSignature));
    }
}

#[test]
fn an_empty_key_set_accepts_nothing() {
    let good = raw_token(&EC, &header(&EC).to_string(), &payload().to_string());
    assert_eq!(jwt::verify::<Value>(&good, &JwkSet::default(), &expectation()), Err(TokenError::UnknownKey));
}

#[test]
fn another_type_of_token_is_refused() {
    for typ in ["at+jwt", "logout+jwt", "JWS", "", "dpop+jwt", "application/at+jwt"] {
        assert_eq!(with_header(with(header(&EC), "typ", json!(typ))), Err(TokenError::WrongType), "{typ}");
    }
    assert_eq!(with_header(without(header(&EC), "typ")), Err(TokenError::WrongType));
    assert_eq!(with_header(with(header(&EC), "typ", json!(1))), Err(TokenError::Malformed("typ")));
    for typ in ["jwt", "application/jwt"] {
        assert!(with_header(with(header(&EC), "typ", json!(typ))).is_ok(), "{typ}");
    }
    let token = raw_token(&EC, &header(&EC).to_string(), &payload().to_string());
    let expected = Expectation { typ: ExpectedTyp::Exactly(Typ::AccessToken), ..expectation() };
    assert_eq!(jwt::verify::<Value>(&token, &jwks(), &expected), Err(TokenError::WrongType));
}

#[test]
fn another_issuer_is_refused_however_similar() {
    for iss in [
        "",
        "https://id.example.test/oidc/ws-2",
        "https://id.example.test/oidc/ws-1/",
        "HTTPS://id.example.test/oidc/ws-1",
    ] {
        assert_eq!(with_payload(with(payload(), "iss", json!(iss))), Err(TokenError::WrongIssuer), "{iss}");
    }
    assert_eq!(with_payload(without(payload(), "iss")), Err(TokenError::Malformed("iss")));
    assert_eq!(
        with_payload(with(payload(), "iss", json!([crate::support::ISSUER]))),
        Err(TokenError::Malformed("iss"))
    );
}

#[test]
fn another_audience_is_refused() {
    for aud in [json!("other"), json!(""), json!("app "), json!(["other"]), json!([]), json!(["APP"])] {
        assert_eq!(with_payload(with(payload(), "aud", aud.clone())), Err(TokenError::WrongAudience), "{aud}");
    }
    for aud in [json!(null), json!(1), json!(["app", 1]), json!({ "app": true })] {
        assert_eq!(with_payload(with(payload(), "aud", aud.clone())), Err(TokenError::Malformed("aud")), "{aud}");
    }
    assert_eq!(with_payload(without(payload(), "aud")), Err(TokenError::Malformed("aud")));
}

#[test]
fn an_empty_expectation_accepts_nothing() {
    let anonymous = with(with(payload(), "iss", json!("")), "aud", json!(""));
    let token = raw_token(&EC, &header(&EC).to_string(), &anonymous.to_string());
    let no_issuer = Expectation { issuer: "", audience: "", ..expectation() };
    assert_eq!(jwt::verify::<Value>(&token, &jwks(), &no_issuer), Err(TokenError::WrongIssuer));
    let token = raw_token(&EC, &header(&EC).to_string(), &with(payload(), "aud", json!("")).to_string());
    let no_audience = Expectation { audience: "", ..expectation() };
    assert_eq!(jwt::verify::<Value>(&token, &jwks(), &no_audience), Err(TokenError::WrongAudience));
    let no_algorithm = Expectation { algorithms: &[], ..expectation() };
    assert_eq!(jwt::verify::<Value>(&token, &jwks(), &no_algorithm), Err(TokenError::AlgorithmNotAllowed));
}

#[test]
fn the_times_are_checked_to_the_second() {
    let cases = [
        ("exp", json!(NOW + 1), Ok(())),
        ("exp", json!(NOW), Err(TokenError::Expired)),
        ("exp", json!(NOW - 1), Err(TokenError::Expired)),
        ("exp", json!(0), Err(TokenError::Expired)),
        ("exp", json!(i64::MIN), Err(TokenError::Expired)),
        ("exp", json!(i64::MAX), Ok(())),
        ("exp", json!(u64::MAX), Err(TokenError::Malformed("exp"))),
        ("exp", json!(1e300), Err(TokenError::Malformed("exp"))),
        ("exp", json!("1900000000"), Err(TokenError::Malformed("exp"))),
        ("exp", json!(null), Err(TokenError::Malformed("exp"))),
        ("nbf", json!(NOW), Ok(())),
        ("nbf", json!(NOW + 1), Err(TokenError::NotYetValid)),
        ("nbf", json!("soon"), Err(TokenError::Malformed("nbf"))),
        ("iat", json!(NOW + 1), Err(TokenError::NotYetValid)),
        ("iat", json!(i64::MAX), Err(TokenError::NotYetValid)),
        ("iat", json!(true), Err(TokenError::Malformed("iat"))),
    ];
    for (name, value, expected) in cases {
        let found = with_payload(with(payload(), name, value.clone())).map(|_| ());
        assert_eq!(found, expected, "{name} = {value}");
    }
    assert_eq!(with_payload(without(payload(), "exp")), Err(TokenError::Malformed("exp")));
    assert_eq!(with_payload(without(payload(), "iat")), Err(TokenError::Malformed("iat")));
    assert!(with_payload(without(payload(), "nbf")).is_ok());
}

#[test]
fn leeway_works_both_ways_and_no_further() {
    let token =
        |name: &str, at: i64| raw_token(&EC, &header(&EC).to_string(), &with(payload(), name, json!(at)).to_string());
    let expected = Expectation { leeway: 60, ..expectation() };
    let verify = |token: String| jwt::verify::<Value>(&token, &jwks(), &expected).map(|_| ());
    assert_eq!(verify(token("exp", NOW - 59)), Ok(()));
    assert_eq!(verify(token("exp", NOW - 60)), Err(TokenError::Expired));
    assert_eq!(verify(token("iat", NOW + 60)), Ok(()));
    assert_eq!(verify(token("iat", NOW + 61)), Err(TokenError::NotYetValid));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        proptest::prop_assert!(verify(&text).is_err());
        let _ = jwt::key_id(&text);
    }

    #[test]
    fn no_header_and_payload_make_the_reader_panic(header in "[ -~]{0,80}", body in "[ -~]{0,80}") {
        let token = format!("{}.{}.{}", b64(header), b64(body), b64([0; 64]));
        proptest::prop_assert!(verify(&token).is_err());
    }
}
