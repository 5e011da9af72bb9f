//! Keys and signatures as ASN.1 writes them (X.690, RFC 5280, RFC 8017), and as PEM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use super::{Key, member};

/// What a SubjectPublicKeyInfo says of an RSA key.
const RSA: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// And of one on P-256.
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];

/// A public key as SubjectPublicKeyInfo.
pub(super) fn public_key(jwk: &Value) -> Vec<u8> {
    let (algorithm, key) = match jwk["kty"].as_str() {
        Some("RSA") => (RSA, rsa_public_key(jwk)),
        _ => (P256, point(jwk)),
    };
    sequence(&[algorithm, &value(0x03, &[&[0], key.as_slice()].concat())])
}

/// A public key as PKCS#1 has it.
pub(super) fn rsa_public_key(jwk: &Value) -> Vec<u8> {
    sequence(&[&integer(&member(jwk, "n")), &integer(&member(jwk, "e"))])
}

/// An uncompressed point.
pub(super) fn point(jwk: &Value) -> Vec<u8> {
    [&[4], member(jwk, "x").as_slice(), member(jwk, "y").as_slice()].concat()
}

/// A signature of ECDSA.
pub(super) fn signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    sequence(&[&integer(r), &integer(s)])
}

/// A certificate of a key for itself, with this name; nothing for bytes that are no key.
pub(super) fn certificate(key: &Key, name: &str) -> Vec<u8> {
    let made = KeyPair::try_from(key.der.as_slice()).and_then(|pair| {
        let params = CertificateParams::new(vec![name.to_owned()])?;
        Ok(params.self_signed(&pair)?.der().to_vec())
    });
    made.unwrap_or_default()
}

/// Text with lines of 64 characters, as programs write it to files.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(0x30, &parts.concat())
}

/// A number that is not negative: as short as it can be, and with a zero in front where its first bit is set.
fn integer(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len().saturating_sub(1));
    let number = &number[start..];
    let sign: &[u8] = if number.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
    value(0x02, &[sign, number].concat())
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes() {
        [0, low @ 0..0x80] => vec![low],
        [0, low] => vec![0x81, low],
        [high, low] => vec![0x82, high, low],
    };
    [&[tag], length.as_slice(), content].concat()
}
