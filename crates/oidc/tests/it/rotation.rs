//! When a key may do what.

use hexabase_oidc::{
    jwt::{SignError, TokenError, Typ},
    keys::{Algorithm, KeyRing, KeyState, KeyStateError, RingError, RotationPolicy, SigningKey},
};
use serde_json::{Value, json};

use crate::support::{EC, ISSUER, NOW, RSA, expectation, payload};

const POLICY: RotationPolicy = RotationPolicy { jwks_max_age: 300, longest_token_life: 600, sign_for: 86_400 };

#[test]
fn a_key_is_published_before_it_signs_and_after() {
    let state = KeyState { publish_from: 100, sign_from: 200, sign_until: 300, publish_until: 400 };
    let seen: Vec<_> = [99, 100, 199, 200, 299, 300, 399, 400]
        .map(|now| (state.is_published(now), state.may_sign(now)))
        .into_iter()
        .collect();
    let (no, yes) = (false, true);
    let expected = [(no, no), (yes, no), (yes, no), (yes, yes), (yes, yes), (yes, no), (yes, no), (no, no)];
    assert_eq!(seen, expected);
}

#[test]
fn a_successor_obeys_the_rules_and_a_first_key_does_not_pretend_to() {
    let first = POLICY.first(NOW);
    assert_eq!(first.check(&POLICY), Err(KeyStateError::SignsTooEarly));
    assert!(first.may_sign(NOW));
    let next = POLICY.successor(NOW, first.sign_until);
    assert_eq!(next.check(&POLICY), Ok(()));
    assert!(next.sign_from < first.sign_until, "no gap");
    let late = POLICY.successor(first.sign_until - 10, first.sign_until);
    assert_eq!(late.check(&POLICY), Ok(()), "even a late successor waits until it is known");
    let backwards = KeyState { publish_from: 5, sign_from: 4, sign_until: 9, publish_until: 9999 };
    assert_eq!(backwards.check(&POLICY), Err(KeyStateError::OutOfOrder));
    let hasty = KeyState { publish_until: next.sign_until + 10, ..next };
    assert_eq!(hasty.check(&POLICY), Err(KeyStateError::WithdrawnTooEarly));
}

#[test]
fn no_token_of_a_year_of_rotations_is_refused_by_a_verifier_with_an_old_set() {
    let mut ring = KeyRing::new();
    let mut cached: Option<(i64, hexabase_oidc::keys::JwkSet)> = None;
    let mut made = 0;
    for now in (NOW..NOW + 12 * 86_400).step_by(60) {
        if let Some(state) = ring.rotation_due(Algorithm::Es256, now, &POLICY) {
            ring.add(SigningKey::generate(Algorithm::Es256).unwrap(), state).unwrap();
            made += 1;
        }
        // A verifier that refetches max-age + 30 s after its last fetch, as the API server was seen to do.
        if cached.as_ref().is_none_or(|(at, _)| now - at >= 330) {
            cached = Some((now, ring.jwks(now)));
        }
        let kid = ring.signer(Algorithm::Es256, now).expect("somebody signs at all times").kid();
        let (_, set) = cached.as_ref().unwrap();
        assert!(set.with_kid(kid).next().is_some(), "unknown key at {}", now - NOW);
        assert!(ring.jwks(now).keys.len() <= 3);
    }
    assert_eq!(made, 13);
}

#[test]
fn a_key_with_an_open_end_is_replaced_in_time_and_then_given_an_end() {
    let open = |state: KeyState| KeyState { sign_until: i64::MAX, publish_until: i64::MAX, ..state };
    let first = open(POLICY.first(NOW));
    let mut ring = KeyRing::new();
    ring.add(EC.clone(), first).unwrap();
    let due = POLICY.successor_due_at(NOW + POLICY.sign_for);
    assert_eq!(ring.rotation_due(Algorithm::Es256, due - 1, &POLICY), None);
    let next = ring.rotation_due(Algorithm::Es256, due, &POLICY).unwrap();
    assert_eq!(next.check(&POLICY), Ok(()));
    let retired = POLICY.retired(first, next.sign_from);
    assert!(retired.sign_until > next.sign_from && retired.publish_until - retired.sign_until == POLICY.tail());
    assert!(ring.jwks(NOW + 100 * POLICY.sign_for).keys.len() == 1, "nobody rotates: it goes on");
    ring.add(SigningKey::generate(Algorithm::Es256).unwrap(), open(next)).unwrap();
    assert_eq!(ring.rotation_due(Algorithm::Es256, due, &POLICY), None);
    assert_eq!(ring.published_until(due - 1), next.publish_from);
}

#[test]
fn an_old_id_token_of_ours_is_good_as_a_hint_and_no_other() {
    let mut ring = KeyRing::new();
    ring.add(EC.clone(), POLICY.first(NOW)).unwrap();
    let hint = |token: &str, now: i64| ring.verify_hint(token, ISSUER, now);
    let token = ring.sign(Algorithm::Es256, &payload(), Typ::Jwt, NOW).unwrap();
    let much_later = NOW + 50_000;
    let claims = hint(&token, much_later).unwrap();
    assert_eq!((claims.sub.as_str(), claims.aud.contains("app")), ("usr_1", true));
    assert!(ring.verify::<Value>(&token, &expectation()).is_ok());
    let other_issuer = ring.verify_hint(&token, "https://id.example.test/oidc/ws-2", much_later);
    assert_eq!(other_issuer, Err(TokenError::WrongIssuer));
    let access = ring.sign(Algorithm::Es256, &payload(), Typ::AccessToken, NOW).unwrap();
    assert_eq!(hint(&access, NOW), Err(TokenError::WrongType));
    let mut foreign = KeyRing::new();
    foreign.add(SigningKey::generate(Algorithm::Es256).unwrap(), POLICY.first(NOW)).unwrap();
    let forged = foreign.sign(Algorithm::Es256, &payload(), Typ::Jwt, NOW).unwrap();
    assert_eq!(hint(&forged, NOW), Err(TokenError::UnknownKey));
    let (start, _) = token.rsplit_once('.').unwrap();
    assert!(hint(start, NOW).is_err() && hint("", NOW).is_err() && hint(&format!("{start}."), NOW).is_err());
    let gone = POLICY.first(NOW).publish_until;
    assert_eq!(hint(&token, gone), Err(TokenError::UnknownKey));
}

#[test]
fn the_newest_key_that_may_sign_signs() {
    let mut ring = KeyRing::new();
    let old = POLICY.first(NOW);
    let new = POLICY.successor(NOW, old.sign_until);
    let second = SigningKey::generate(Algorithm::Es256).unwrap();
    ring.add(EC.clone(), old).unwrap();
    ring.add(second.clone(), new).unwrap();
    assert_eq!(ring.signer(Algorithm::Es256, NOW).unwrap().kid(), EC.kid());
    assert_eq!(ring.jwks(NOW).keys.len(), 2, "the successor is published ahead");
    assert_eq!(ring.signer(Algorithm::Es256, new.sign_from).unwrap().kid(), second.kid());
    assert_eq!(ring.jwks(old.publish_until).keys.len(), 1);
    assert_eq!(ring.algorithms(NOW), [Algorithm::Es256]);
}

#[test]
fn a_ring_without_a_key_of_that_algorithm_does_not_sign() {
    let mut ring = KeyRing::new();
    ring.add(RSA.clone(), POLICY.first(NOW)).unwrap();
    let refused = ring.sign(Algorithm::Es256, &payload(), Typ::Jwt, NOW).unwrap_err();
    assert!(matches!(refused, SignError::NoKey(Algorithm::Es256)));
    assert!(ring.sign(Algorithm::Rs256, &payload(), Typ::Jwt, NOW).is_ok());
    assert!(ring.sign(Algorithm::Rs256, &payload(), Typ::Jwt, NOW - 1).is_err());
}

#[test]
fn a_revoked_key_is_refused_at_once_by_ourselves() {
    let state = POLICY.first(NOW - 1000);
    let mut ring = KeyRing::new();
    ring.add(EC.clone(), state).unwrap();
    let token = ring.sign(Algorithm::Es256, &payload(), Typ::Jwt, NOW).unwrap();
    assert!(ring.verify::<Value>(&token, &expectation()).is_ok());
    let mut after = KeyRing::new();
    after.add(EC.clone(), state.revoked(NOW)).unwrap();
    assert_eq!(after.verify::<Value>(&token, &expectation()), Err(TokenError::UnknownKey));
    assert!(after.jwks(NOW).keys.is_empty());
    assert_eq!(after.rotation_due(Algorithm::Es256, NOW, &POLICY), Some(POLICY.first(NOW)));
}

#[test]
fn a_key_that_only_verifies_is_published_but_never_chosen() {
    let mut ring = KeyRing::new();
    ring.add_public(EC.public_jwk().clone(), POLICY.first(NOW)).unwrap();
    assert_eq!(ring.jwks(NOW).keys.len(), 1);
    assert!(ring.signer(Algorithm::Es256, NOW).is_none());
    assert_eq!(ring.add(EC.clone(), POLICY.first(NOW)), Err(RingError::Duplicate(EC.kid().to_owned())));
    let mut nameless = RSA.public_jwk().clone();
    nameless.kid = None;
    assert_eq!(ring.add_public(nameless, POLICY.first(NOW)), Err(RingError::Unusable));
    let mut renamed = RSA.public_jwk().clone();
    renamed.kid = Some("the-id-of-another-key".to_owned());
    assert_eq!(ring.add_public(renamed, POLICY.first(NOW)), Err(RingError::Unusable));
}

#[test]
fn a_witness_is_published_and_neither_signs_nor_is_believed() {
    let mut ring = KeyRing::new();
    ring.add_witness(&EC, POLICY.first(NOW)).unwrap();
    assert_eq!(ring.jwks(NOW).keys, [EC.public_jwk().clone()]);
    assert!(ring.signer(Algorithm::Es256, NOW).is_none() && ring.algorithms(NOW).is_empty());
    let token = hexabase_oidc::jwt::sign(&EC, &payload(), Typ::Jwt).unwrap();
    assert_eq!(ring.verify::<Value>(&token, &expectation()), Err(TokenError::UnknownKey));
    assert_eq!(ring.verify_hint(&token, ISSUER, NOW), Err(TokenError::UnknownKey));
    // Those who fetch the set believe it.
    assert!(hexabase_oidc::jwt::verify::<Value>(&token, &ring.jwks(NOW), &expectation()).is_ok());
    assert_eq!(ring.add(EC.clone(), POLICY.first(NOW)), Err(RingError::Duplicate(EC.kid().to_owned())));
}

#[test]
fn claims_too_large_for_any_reader_are_not_signed() {
    let claims = json!({ "iss": ISSUER, "pad": "x".repeat(20_000) });
    assert!(matches!(hexabase_oidc::jwt::sign(&EC, &claims, Typ::Jwt), Err(SignError::TooLarge)));
}
