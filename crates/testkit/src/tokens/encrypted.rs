//! Tokens that are encrypted to the platform's public key (RFC 7516), as anybody can: that only the platform could read them
//! does not make it the one that wrote them.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use serde_json::json;

use super::{Bench, Key, asn1, encode};

pub(super) fn add(bench: &mut Bench<'_>) {
    let [es256, rs256] = &bench.mould.own;
    let signed = es256.sign(&es256.header(), bench.payload());
    for (name, content) in [("the claims alone", bench.payload()), ("a good token", signed)] {
        bench.add(format!("{name}, encrypted to our key"), encrypted(rs256, &content).unwrap_or_default());
    }
}

/// What only the owner of `key` can read, with RSA-OAEP-256 and A256GCM.
pub(super) fn encrypted(key: &Key, content: &str) -> Result<String, Unspecified> {
    let header = json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM", "typ": "JWT", "cty": "JWT", "kid": key.kid() });
    let header = encode(header.to_string());
    let (mut secret, mut nonce) = ([0; 32], [0; NONCE_LEN]);
    rand::fill(&mut secret)?;
    rand::fill(&mut nonce)?;
    let public = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&asn1::public_key(&key.jwk))?)?;
    let mut wrapped = vec![0; public.ciphertext_size()];
    let wrapped = public.encrypt(&OAEP_SHA256_MGF1SHA256, &secret, &mut wrapped, None)?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret)?);
    let mut text = content.as_bytes().to_vec();
    let unique = Nonce::assume_unique_for_key(nonce);
    let tag = cipher.seal_in_place_separate_tag(unique, Aad::from(header.as_bytes()), &mut text)?;
    Ok([header, encode(wrapped), encode(nonce), encode(text), encode(tag)].join("."))
}
