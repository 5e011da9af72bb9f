use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::*;

const MESSAGE: &[u8] = b"signed";

fn ec() -> Key {
    Key::on_curve("ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
}

/// With the PKCS#1 form of its public half.
fn rsa() -> (Key, Vec<u8>) {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let der = AsDer::<Pkcs8V1Der<'static>>::as_der(&pair).unwrap().as_ref().to_vec();
    // A sequence, a number of 257 bytes with a zero in front, and 65537.
    assert_eq!((public.len(), &public[..9]), (270, &[0x30, 0x82, 1, 10, 2, 0x82, 1, 1, 0][..]));
    let jwk = json!({ "kty": "RSA", "kid": "rsa", "n": encode(&public[9..265]), "e": encode([1u8, 0, 1]) });
    (Key { algorithm: "RS256", der, jwk }, public)
}

fn holds(algorithm: &'static dyn VerificationAlgorithm, key: &Key, signature: &[u8]) -> bool {
    UnparsedPublicKey::new(algorithm, asn1::point(&key.jwk)).verify(MESSAGE, signature).is_ok()
}

#[test]
fn a_member_can_come_twice() {
    let object = json!({ "a": 1, "b": 2 });
    assert_eq!(twice(&object, ("a", &json!(1)), ("a", &json!("x"))), "{\"a\":1,\"b\":2,\"a\":\"x\"}");
    assert_eq!(twice(&object, ("a", &json!(1)), ("A", &json!(2))), "{\"a\":1,\"b\":2,\"A\":2}");
}

#[test]
fn a_signature_holds_as_der_and_with_the_other_s() {
    let key = ec();
    // Often enough that numbers with their first bit set are among them, and without.
    for _ in 0..64 {
        let signature = key.signature(MESSAGE);
        let (r, s) = signature.split_at(32);
        assert!(holds(&ECDSA_P256_SHA256_ASN1, &key, &asn1::signature(r, s)));
        assert!(holds(&ECDSA_P256_SHA256_FIXED, &key, &[r, &negated(s)].concat()));
        assert_eq!(negated(&negated(s)), s);
    }
}

#[test]
fn a_key_on_p_384_signs() {
    let key = Key::on_curve("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING);
    let signature = key.signature(MESSAGE);
    assert_eq!(signature.len(), 96);
    assert!(holds(&ECDSA_P384_SHA384_FIXED, &key, &signature));
}

#[test]
fn what_is_encrypted_to_a_key_is_read_with_it() {
    let (key, public) = rsa();
    assert_eq!(asn1::rsa_public_key(&key.jwk), public);
    let token = encrypted::encrypted(&key, "a token").unwrap();
    let parts: Vec<Vec<u8>> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let private = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(&key.der).unwrap()).unwrap();
    let mut secret = vec![0; private.min_output_size()];
    let secret = private.decrypt(&OAEP_SHA256_MGF1SHA256, &parts[1], &mut secret, None).unwrap();
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&parts[2]).unwrap();
    let header = Aad::from(token.split('.').next().unwrap().as_bytes());
    let mut sealed = [parts[3].as_slice(), &parts[4]].concat();
    assert_eq!(cipher.open_in_place(nonce, header, &mut sealed).unwrap(), b"a token");
}

#[test]
fn a_certificate_holds_its_key_and_name() {
    for key in [ec(), rsa().0] {
        let certificate = asn1::certificate(&key, "evil.example");
        for part in [asn1::public_key(&key.jwk), b"evil.example".to_vec()] {
            assert!(certificate.windows(part.len()).any(|window| window == part), "{}", key.algorithm);
        }
    }
}

#[test]
fn only_lenient_readers_overlook_stray_bits() {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone);
    let lenient = GeneralPurpose::new(&alphabet::URL_SAFE, config);
    for bytes in ["a", "ab", "abcd", "abcde"] {
        let text = signatures::stray(&encode(bytes));
        assert_ne!(text, encode(bytes));
        assert!(URL_SAFE_NO_PAD.decode(&text).is_err(), "{text}");
        assert_eq!(lenient.decode(&text).unwrap(), bytes.as_bytes());
    }
}

#[test]
fn every_bad_token_has_a_name_of_its_own_and_none_is_empty() {
    let (own, foreign) = ([ec(), rsa().0], [ec(), rsa().0]);
    let mould = Mould {
        claims: json!({
            "iss": "https://localhost:1/oidc/ws-1", "aud": "ws-1", "ws": "ws-1", "sub": "usr-1", "sid": "ses-1", "jti": "1",
            "exp": 1_600, "iat": 1_000, "nbf": 1_000, "token_use": "workspace", "groups": ["WSUsers"],
        }),
        own,
        foreign,
        other_workspace: ("ws-2".to_owned(), "https://localhost:1/oidc/ws-2".to_owned()),
        platform_issuer: "https://localhost:1/oidc/platform".to_owned(),
        elsewhere: Vec::new(),
        other_person: ("usr-2".to_owned(), "ses-2".to_owned()),
        now: 1_000,
    };
    let bad = bad(&mould);
    let names: std::collections::BTreeSet<&str> = bad.iter().map(|token| token.name.as_str()).collect();
    assert_eq!(names.len(), bad.len());
    // What no key could be made for would be refused for that alone.
    let empty: Vec<&str> =
        bad.iter().filter(|token| token.authorization == ["Bearer "]).map(|token| &*token.name).collect();
    assert_eq!(empty, ["a header with a scheme and a space"]);
}
