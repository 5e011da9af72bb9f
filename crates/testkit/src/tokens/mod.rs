//! Tokens that must be refused, and unusual ones that must not be: made by name from the claims of a good one and the keys
//! behind it. Pure: whoever asks brings claims, keys and the time.

mod asn1;
mod claims;
mod encrypted;
mod good;
mod headers;
mod shapes;
mod signatures;
mod spellings;
#[cfg(test)]
mod tests;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub use good::good;

/// What good and bad tokens for one workspace are made of.
#[derive(Debug)]
pub struct Mould {
    /// The claims of a good token that is still alive.
    pub claims: Value,
    /// The platform's own keys, ES256 and RS256.
    pub own: [Key; 2],
    /// Keys that nobody trusts, ES256 and RS256.
    pub foreign: [Key; 2],
    /// Another workspace's id, and its issuer.
    pub other_workspace: (String, String),
    /// The platform's own issuer.
    pub platform_issuer: String,
    /// Good tokens for something else, each with a name: of another workspace, of the platform, a refresh token.
    pub elsewhere: Vec<(String, String)>,
    /// Somebody else who is a member, and a session of theirs.
    pub other_person: (String, String),
    /// Seconds since 1970.
    pub now: i64,
}

/// A key pair.
pub struct Key {
    /// `ES256`, `ES384` or `RS256`.
    pub algorithm: &'static str,
    /// The private key, PKCS#8.
    pub der: Vec<u8>,
    /// The public key as published, with its id.
    pub jwk: Value,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("jwk", &self.jwk).finish_non_exhaustive()
    }
}

/// A token, or what stands in its place, that must be refused.
#[derive(Debug)]
pub struct BadToken {
    /// What is wrong with it.
    pub name: String,
    /// The values of the `Authorization` header, usually one.
    pub authorization: Vec<String>,
    /// Why a tenant's API server alone cannot refuse it; it is the gateway's to refuse.
    pub tenant_cannot: Option<&'static str>,
}

/// Every bad token.
pub fn bad(mould: &Mould) -> Vec<BadToken> {
    let mut made = Bench { mould, tokens: Vec::new() };
    signatures::add(&mut made);
    headers::add(&mut made);
    claims::add(&mut made);
    spellings::add(&mut made);
    encrypted::add(&mut made);
    shapes::add(&mut made);
    made.tokens
}

/// Where bad tokens are made.
struct Bench<'a> {
    mould: &'a Mould,
    tokens: Vec<BadToken>,
}

impl Bench<'_> {
    /// A bearer token.
    fn add(&mut self, name: impl Into<String>, token: impl AsRef<str>) {
        self.add_header(name, &[&format!("Bearer {}", token.as_ref())]);
    }

    /// The same, which a tenant's API server cannot tell from a good one.
    fn add_for_gateway(&mut self, name: impl Into<String>, token: impl AsRef<str>, why: &'static str) {
        self.add(name, token);
        if let Some(last) = self.tokens.last_mut() {
            last.tenant_cannot = Some(why);
        }
    }

    fn add_header(&mut self, name: impl Into<String>, values: &[&str]) {
        let authorization = values.iter().map(|value| (*value).to_owned()).collect();
        self.tokens.push(BadToken { name: name.into(), authorization, tenant_cannot: None });
    }

    /// The good claims with one changed, or left out for null, signed with the platform's own key: as only a mistake of the
    /// platform's or a stolen key could make it.
    fn with_claim(&self, name: &str, value: Value) -> String {
        self.mould.own[0].sign(&self.mould.own[0].header(), changed(&self.mould.claims, &[(name, value)]).to_string())
    }

    /// The good claims.
    fn payload(&self) -> String {
        self.mould.claims.to_string()
    }

    /// The good claims with one of them written as this text.
    fn written(&self, name: &str, text: &str) -> String {
        changed(&self.mould.claims, &[(name, json!("\u{1}"))]).to_string().replace("\"\\u0001\"", text)
    }
}

impl Key {
    /// The id.
    pub fn kid(&self) -> &str {
        self.jwk["kid"].as_str().unwrap_or_default()
    }

    /// The header of a good token.
    pub fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "typ": "JWT", "kid": self.kid() })
    }

    /// A token of exactly this header and payload.
    pub fn sign(&self, header: &Value, payload: impl AsRef<[u8]>) -> String {
        self.sign_parts(&encode(header.to_string()), &encode(payload))
    }

    /// A token of parts that are encoded already.
    pub fn sign_parts(&self, header: &str, payload: &str) -> String {
        let signed = format!("{header}.{payload}");
        format!("{signed}.{}", encode(self.signature(signed.as_bytes())))
    }

    /// A new key on this curve.
    fn on_curve(algorithm: &'static str, curve: &str, signing: &'static EcdsaSigningAlgorithm) -> Self {
        let made = EcdsaKeyPair::generate(signing).and_then(|pair| {
            let der = pair.to_pkcs8v1()?.as_ref().to_vec();
            Ok((der, pair.public_key().as_ref().to_vec()))
        });
        let (der, point) = made.unwrap_or_default();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
        let jwk = json!({
            "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y), "kid": format!("a key on {curve}"), "use": "sig",
            "alg": algorithm,
        });
        Self { algorithm, der, jwk }
    }

    /// The signature over these bytes; empty for bytes that are no key.
    fn signature(&self, message: &[u8]) -> Vec<u8> {
        match self.algorithm {
            "ES256" => self.by_curve(&ECDSA_P256_SHA256_FIXED_SIGNING, message),
            "ES384" => self.by_curve(&ECDSA_P384_SHA384_FIXED_SIGNING, message),
            _ => self.by_rsa(&RSA_PKCS1_SHA256, message),
        }
    }

    fn by_curve(&self, signing: &'static EcdsaSigningAlgorithm, message: &[u8]) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(signing, &self.der);
        pair.and_then(|pair| Ok(pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec())).unwrap_or_default()
    }

    fn by_rsa(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let Ok(pair) = RsaKeyPair::from_pkcs8(&self.der) else { return Vec::new() };
        let mut signature = vec![0; pair.public_modulus_len()];
        match pair.sign(encoding, &SystemRandom::new(), message, &mut signature) {
            Ok(()) => signature,
            Err(_) => Vec::new(),
        }
    }
}

/// The order of the group of P-256, big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order less this number, which is below it: of a signature's `s`, the other one that holds as well.
fn negated(number: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let digits = ORDER.iter().zip(number).rev().map(|(order, digit)| {
        let difference = i16::from(*order) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        difference.to_be_bytes()[1]
    });
    let mut digits: Vec<u8> = digits.collect();
    digits.reverse();
    digits
}

/// The bytes of a member of a key.
fn member(jwk: &Value, name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap_or_default()).unwrap_or_default()
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn hmac(algorithm: hmac::Algorithm, key: &[u8], message: &str) -> String {
    encode(hmac::sign(&hmac::Key::new(algorithm, key), message.as_bytes()))
}

/// An object with members changed; one that becomes null is left out.
fn changed(object: &Value, changes: &[(&str, Value)]) -> Value {
    let mut object = object.clone();
    for (name, value) in changes {
        match (value, object.as_object_mut()) {
            (Value::Null, Some(members)) => drop(members.remove(*name)),
            (value, _) => object[*name] = value.clone(),
        }
    }
    object
}

/// The text of an object in which a member comes twice, under names that mean the same: `first` in front, `last` at the end.
fn twice(object: &Value, first: (&str, &Value), last: (&str, &Value)) -> String {
    let rest = changed(object, &[(first.0, Value::Null)]).to_string();
    let rest = rest.trim_start_matches('{').trim_end_matches('}');
    format!("{{\"{}\":{},{rest},\"{}\":{}}}", first.0, first.1, last.0, last.1)
}
