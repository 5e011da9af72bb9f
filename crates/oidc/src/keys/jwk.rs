//! Public keys as RFC 7517 writes them.

use aws_lc_rs::{
    digest,
    signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::Algorithm;

/// A public key (RFC 7517). Members we do not know are dropped when a foreign set is read, so a private key that
/// someone published by mistake is not carried on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type: `EC` or `RSA`; sets of foreign providers may hold others, which verify nothing.
    pub kty: String,
    /// Key id; ours is the RFC 7638 thumbprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Intended use; ours is `sig`. A key marked for anything else verifies nothing.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub use_: Option<String>,
    /// The one algorithm the key is for, where its owner says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Curve of an EC key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// x coordinate of an EC key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// y coordinate of an EC key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// Modulus of an RSA key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// Public exponent of an RSA key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
}

impl Jwk {
    /// A P-256 key from its uncompressed point (`04 || x || y`), with `kid`, `use` and `alg` set.
    pub(crate) fn from_p256_point(point: &[u8]) -> Option<Self> {
        let (tag, coordinates) = point.split_first()?;
        if *tag != 4 || coordinates.len() != 64 {
            return None;
        }
        let (x, y) = coordinates.split_at(32);
        let mut jwk = Self::bare("EC", Algorithm::Es256);
        jwk.crv = Some("P-256".into());
        jwk.x = Some(URL_SAFE_NO_PAD.encode(x));
        jwk.y = Some(URL_SAFE_NO_PAD.encode(y));
        jwk.kid = jwk.thumbprint();
        Some(jwk)
    }

    /// An RSA key from big-endian modulus and exponent, with `kid`, `use` and `alg` set.
    pub(crate) fn from_rsa_components(n: &[u8], e: &[u8]) -> Self {
        let mut jwk = Self::bare("RSA", Algorithm::Rs256);
        jwk.n = Some(URL_SAFE_NO_PAD.encode(n));
        jwk.e = Some(URL_SAFE_NO_PAD.encode(e));
        jwk.kid = jwk.thumbprint();
        jwk
    }

    fn bare(kty: &str, alg: Algorithm) -> Self {
        Self {
            kty: kty.into(),
            kid: None,
            use_: Some("sig".into()),
            alg: Some(alg.as_str().into()),
            crv: None,
            x: None,
            y: None,
            n: None,
            e: None,
        }
    }

    /// The SHA-256 thumbprint (RFC 7638), base64url; `None` for key types we do not use.
    pub fn thumbprint(&self) -> Option<String> {
        let canonical = match self.kty.as_str() {
            "EC" => {
                let (crv, x, y) = (self.crv.as_ref()?, self.x.as_ref()?, self.y.as_ref()?);
                serde_json::json!({ "crv": crv, "kty": "EC", "x": x, "y": y })
            }
            "RSA" => serde_json::json!({ "e": self.e.as_ref()?, "kty": "RSA", "n": self.n.as_ref()? }),
            _ => return None,
        };
        // Members in lexicographic order, no white space: what the RFC hashes. Built by hand because a feature of
        // serde_json elsewhere in the build (`preserve_order`) could change the order of a map.
        let mut members: Vec<_> = canonical.as_object()?.iter().collect();
        members.sort_by_key(|(name, _)| name.as_str());
        let body: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let digest = digest::digest(&digest::SHA256, format!("{{{}}}", body.join(",")).as_bytes());
        Some(URL_SAFE_NO_PAD.encode(digest))
    }

    /// The algorithm this key may verify, decided by the key alone and never by a token: `None` for a key of another
    /// type, curve, use or declared algorithm.
    pub fn algorithm(&self) -> Option<Algorithm> {
        if self.use_.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let by_type = match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("RSA", None) => Algorithm::Rs256,
            _ => return None,
        };
        match self.alg.as_deref() {
            Some(declared) if declared != by_type.as_str() => None,
            _ => Some(by_type),
        }
    }

    /// Whether `signature` over `message` was made by this key. False for keys that do not verify anything; RSA keys
    /// below 2048 bits are among them.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let decode = |member: &Option<String>| member.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        match self.algorithm() {
            Some(Algorithm::Es256) => {
                let (Some(x), Some(y)) = (decode(&self.x), decode(&self.y)) else { return false };
                if x.len() != 32 || y.len() != 32 {
                    return false;
                }
                let point = [&[4u8], x.as_slice(), y.as_slice()].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Some(Algorithm::Rs256) => {
                let (Some(n), Some(e)) = (decode(&self.n), decode(&self.e)) else { return false };
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            None => false,
        }
    }
}

/// A JWK set (RFC 7517 section 5): what a `jwks_uri` serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys, in the order they are published.
    pub keys: Vec<Jwk>,
}

impl JwkSet {
    /// Reads a foreign set; keys that do not even have a type are left out rather than spoiling the others.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Loose {
            keys: Vec<serde_json::Value>,
        }
        let loose: Loose = serde_json::from_slice(json)?;
        Ok(Self { keys: loose.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect() })
    }

    /// The keys of that id. More than one only when a provider reuses an id for two algorithms.
    pub fn with_kid<'a>(&'a self, kid: &'a str) -> impl Iterator<Item = &'a Jwk> {
        self.keys.iter().filter(move |key| key.kid.as_deref() == Some(kid))
    }
}
