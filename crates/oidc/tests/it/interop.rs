//! Our tokens read by another implementation, and its tokens by ours.

use hexabase_oidc::{
    jwt::{self, Typ},
    keys::Algorithm,
};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::support::{EC, ISSUER, RSA, expectation, jwks, payload};

fn install() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

#[test]
fn another_implementation_reads_our_tokens_through_our_published_keys() {
    install();
    for (key, alg) in [(&*EC, jsonwebtoken::Algorithm::ES256), (&*RSA, jsonwebtoken::Algorithm::RS256)] {
        let token = jwt::sign(key, &payload(), Typ::Jwt).unwrap();
        let published = serde_json::to_string(&jwks()).unwrap();
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&published).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let jwk = set.find(header.kid.as_deref().unwrap()).unwrap();
        let mut validation = Validation::new(alg);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&["app"]);
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap();
        assert_eq!(decoded.claims, payload());
        assert_eq!(decoded.header.typ.as_deref(), Some("JWT"));
    }
}

#[test]
fn we_read_the_tokens_of_another_implementation() {
    install();
    for key in [&*EC, &*RSA] {
        let der = key.to_pkcs8_der().unwrap();
        let (alg, encoding) = match key.algorithm() {
            Algorithm::Es256 => (jsonwebtoken::Algorithm::ES256, EncodingKey::from_ec_der(der.expose_secret())),
            // It wants PKCS#1 for RSA; the PKCS#8 wrapper goes through PEM.
            Algorithm::Rs256 => (jsonwebtoken::Algorithm::RS256, rsa_from_pkcs8(der.expose_secret())),
        };
        let mut header = Header::new(alg);
        header.kid = Some(key.kid().to_owned());
        let token = jsonwebtoken::encode(&header, &payload(), &encoding).unwrap();
        assert_eq!(jwt::verify::<Value>(&token, &jwks(), &expectation()).unwrap(), payload());
    }
}

fn rsa_from_pkcs8(der: &[u8]) -> EncodingKey {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
}
