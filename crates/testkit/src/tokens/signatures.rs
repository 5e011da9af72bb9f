//! Algorithms that are none, that are confused with each other, and signatures that do not hold.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding,
};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Bench, Key, ORDER, asn1, changed, encode, hmac, member};

/// RFC 7517 leaves it open what `alg` of a key forbids; the API server does not read it.
const ANY_ALGORITHM: &str = "the API server takes every algorithm that the key can make";
/// Its base64 overlooks them, and it checks the signature over the bytes as it would have written them itself.
const OVERLOOKED: &str = "the API server overlooks bits behind the last byte, and the rest is good";
/// The digits of base64url.
const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(super) fn add(bench: &mut Bench<'_>) {
    none(bench);
    symmetric(bench);
    confused(bench);
    of_other_algorithms(bench);
    broken(bench);
    misshapen(bench);
    rewritten(bench);
    stray_bits(bench);
}

fn none(bench: &mut Bench<'_>) {
    let [es256, _] = &bench.mould.own;
    let good = es256.sign(&es256.header(), bench.payload());
    let signature = good.rsplit('.').next().unwrap_or_default().to_owned();
    let payload = encode(bench.payload());
    for alg in ["none", "None", "NONE", "nOnE", "none ", "", "null"] {
        let header = encode(changed(&es256.header(), &[("alg", json!(alg))]).to_string());
        bench.add(format!("alg {alg:?} without a signature"), format!("{header}.{payload}."));
        bench.add(format!("alg {alg:?} with a signature"), format!("{header}.{payload}.{signature}"));
    }
    let bare = encode(json!({ "alg": "none" }).to_string());
    bench.add("alg none and nothing else in the header", format!("{bare}.{payload}."));
    for alg in [Value::Null, json!(0), json!(["ES256"]), json!({ "ES256": true }), json!(true)] {
        let header = encode(changed(&es256.header(), &[("alg", alg.clone())]).to_string());
        bench.add(format!("alg {alg}"), format!("{header}.{payload}.{signature}"));
    }
    for alg in ["es256", "ES256 ", " ES256", "ES256K", "ES384", "ES512", "EdDSA", "RS384", "RS512", "PS256", "RS1"] {
        let header = changed(&es256.header(), &[("alg", json!(alg))]);
        bench.add(format!("alg {alg:?} over a signature of ES256"), es256.sign(&header, bench.payload()));
    }
}

/// A public key taken for a shared secret.
fn symmetric(bench: &mut Bench<'_>) {
    let [es256, rs256] = &bench.mould.own;
    let (ec, rsa) = (asn1::public_key(&es256.jwk), asn1::public_key(&rs256.jwk));
    let (ec_pem, rsa_pem) = (asn1::pem("PUBLIC KEY", &ec), asn1::pem("PUBLIC KEY", &rsa));
    let pkcs1 = asn1::pem("RSA PUBLIC KEY", &asn1::rsa_public_key(&rs256.jwk));
    let secrets: [(&str, Vec<u8>); 13] = [
        ("nothing", Vec::new()),
        ("the word secret", b"secret".to_vec()),
        ("the key's id", es256.kid().as_bytes().to_vec()),
        ("the EC point", asn1::point(&es256.jwk)),
        ("the EC key as DER", ec),
        ("the EC key as PEM", ec_pem.into_bytes()),
        ("the EC key as JWK", es256.jwk.to_string().into_bytes()),
        ("the RSA modulus", member(&rs256.jwk, "n")),
        ("the RSA key as DER", rsa),
        ("the RSA key as PEM without an end of line", rsa_pem.trim_end().as_bytes().to_vec()),
        ("the RSA key as PEM", rsa_pem.into_bytes()),
        ("the RSA key as PEM of PKCS#1", pkcs1.into_bytes()),
        ("the RSA key as JWK", rs256.jwk.to_string().into_bytes()),
    ];
    for (name, secret) in &secrets {
        let kid = if name.contains("RSA") { rs256.kid() } else { es256.kid() };
        for (alg, hash) in [("HS256", HMAC_SHA256), ("HS384", HMAC_SHA384), ("HS512", HMAC_SHA512)] {
            if alg != "HS256" && !name.contains("JWK") {
                continue;
            }
            let header = encode(json!({ "alg": alg, "typ": "JWT", "kid": kid }).to_string());
            let signed = format!("{header}.{}", encode(bench.payload()));
            bench.add(format!("{alg} with {name} as the secret"), format!("{signed}.{}", hmac(hash, secret, &signed)));
        }
    }
}

/// A key of one algorithm under the name of the other.
fn confused(bench: &mut Bench<'_>) {
    let [es256, rs256] = &bench.mould.own;
    let payload = bench.payload();
    let crossed = [
        ("RS256 over a signature of ES256", es256, changed(&es256.header(), &[("alg", json!("RS256"))])),
        ("ES256 over a signature of RS256", rs256, changed(&rs256.header(), &[("alg", json!("ES256"))])),
        ("ES256 under the id of the RSA key", es256, changed(&rs256.header(), &[("alg", json!("ES256"))])),
        ("RS256 under the id of the EC key", rs256, changed(&es256.header(), &[("alg", json!("RS256"))])),
        ("PS256 over a signature of RS256", rs256, changed(&rs256.header(), &[("alg", json!("PS256"))])),
        ("RS512 over a signature of RS256", rs256, changed(&rs256.header(), &[("alg", json!("RS512"))])),
    ];
    for (name, key, header) in crossed {
        bench.add(name, key.sign(&header, &payload));
    }
    for foreign in &bench.mould.foreign {
        let own = bench.mould.own.iter().find(|own| own.algorithm == foreign.algorithm).unwrap_or(&bench.mould.own[0]);
        bench.add(
            format!("a foreign key of {} under its own id", foreign.algorithm),
            foreign.sign(&foreign.header(), &payload),
        );
        bench
            .add(format!("a foreign key of {} under our id", foreign.algorithm), foreign.sign(&own.header(), &payload));
    }
}

/// Signatures that hold, of algorithms and keys that are not the platform's.
fn of_other_algorithms(bench: &mut Bench<'_>) {
    let [es256, rs256] = &bench.mould.own;
    let payload = encode(bench.payload());
    let encodings: [(&str, &'static dyn RsaEncoding); 5] = [
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];
    for (alg, encoding) in encodings {
        let header = encode(changed(&rs256.header(), &[("alg", json!(alg))]).to_string());
        let signed = format!("{header}.{payload}");
        let token = format!("{signed}.{}", encode(rs256.by_rsa(encoding, signed.as_bytes())));
        bench.add_for_gateway(format!("{alg} by our own key"), token, ANY_ALGORITHM);
    }
    let p384 = Key::on_curve("ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING);
    let ours = changed(&p384.header(), &[("kid", json!(es256.kid()))]);
    for (name, header) in [
        ("under its own id", p384.header()),
        ("under our id", ours.clone()),
        ("under our id that it brings along", changed(&ours, &[("jwk", p384.jwk.clone())])),
        ("under our id and algorithm", es256.header()),
    ] {
        bench.add(format!("a foreign key on P-384 {name}"), p384.sign(&header, bench.payload()));
    }
}

fn broken(bench: &mut Bench<'_>) {
    let [es256, rs256] = &bench.mould.own;
    let payload = bench.payload();
    for key in [es256, rs256] {
        let good = key.sign(&key.header(), &payload);
        let Some((signed, signature)) = good.rsplit_once('.') else { continue };
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        let with = |bytes: &[u8]| format!("{signed}.{}", encode(bytes));
        let flipped = |at: usize, bit: u8| {
            let mut bytes = bytes.clone();
            bytes[at] ^= bit;
            with(&bytes)
        };
        let alg = key.algorithm;
        bench.add(format!("{alg} with the first bit flipped"), flipped(0, 0x80));
        bench.add(format!("{alg} with the last bit flipped"), flipped(bytes.len() - 1, 1));
        bench.add(format!("{alg} with a bit in the middle flipped"), flipped(bytes.len() / 2, 4));
        bench.add(format!("{alg} a byte short"), with(&bytes[..bytes.len() - 1]));
        bench.add(format!("{alg} a byte long"), with(&[bytes.as_slice(), &[0]].concat()));
        bench.add(format!("{alg} with a zero in front"), with(&[&[0], bytes.as_slice()].concat()));
        bench.add(format!("{alg} half"), with(&bytes[..bytes.len() / 2]));
        bench.add(format!("{alg} twice"), with(&[bytes.clone(), bytes.clone()].concat()));
        bench.add(format!("{alg} of zeros"), with(&vec![0; bytes.len()]));
        bench.add(format!("{alg} of ones"), with(&vec![0xff; bytes.len()]));
        bench.add(format!("{alg} without a signature"), format!("{signed}."));
        bench.add(format!("{alg} without the last part"), signed);
        let other = key.sign(&key.header(), changed(&bench.mould.claims, &[("jti", json!("another"))]).to_string());
        let of_other = other.rsplit('.').next().unwrap_or_default();
        bench.add(format!("{alg} with the signature of another token"), format!("{signed}.{of_other}"));
    }
}

/// Pairs of numbers that ECDSA never makes, and another form of one that it did.
fn misshapen(bench: &mut Bench<'_>) {
    let [es256, _] = &bench.mould.own;
    let good = es256.sign(&es256.header(), bench.payload());
    let Some((signed, signature)) = good.rsplit_once('.') else { return };
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    let (r, s) = bytes.split_at(bytes.len() / 2);
    let zero = [0; 32];
    let pairs: [(&str, &[u8], &[u8]); 7] = [
        ("swapped halves", s, r),
        ("r of zero", &zero, s),
        ("s of zero", r, &zero),
        ("r of the order", &ORDER, s),
        ("s of the order", r, &ORDER),
        ("both of the order", &ORDER, &ORDER),
        ("r twice", r, r),
    ];
    for (name, r, s) in pairs {
        bench.add(format!("ES256 with {name}"), format!("{signed}.{}", encode([r, s].concat())));
    }
    bench.add("ES256 as DER", format!("{signed}.{}", encode(asn1::signature(r, s))));
}

/// The same bits written otherwise.
fn rewritten(bench: &mut Bench<'_>) {
    let [es256, _] = &bench.mould.own;
    let good = es256.sign(&es256.header(), bench.payload());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { return };
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    bench.add("a signature with padding", format!("{header}.{payload}.{}", URL_SAFE.encode(&bytes)));
    bench.add("a signature with a stray character", format!("{header}.{payload}.{signature}!"));
    bench.add("a signature of the other alphabet", format!("{header}.{payload}.+/{}", &signature[2..]));
    bench.add("a payload with padding", es256.sign_parts(header, &format!("{payload}=")));
    bench.add("a header with padding", es256.sign_parts(&format!("{header}="), payload));
    bench.add("a fourth part", format!("{good}.{signature}"));
    bench.add("five parts, as if encrypted", format!("{good}.{payload}.{signature}"));
    bench.add("a dot in front", format!(".{good}"));
    bench.add("a dot at the end", format!("{good}."));
    bench.add("two dots in a row", format!("{header}..{payload}.{signature}"));
    bench.add("parts in another order", format!("{payload}.{header}.{signature}"));
    bench.add("the payload alone", payload);
    bench.add("dots alone", "..");
    bench.add("only a header", format!("{header}.."));
    let general = json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] });
    bench.add("JSON serialisation", encode(general.to_string()));
    bench.add(
        "JSON serialisation, plain",
        json!({ "payload": payload, "protected": header, "signature": signature }).to_string(),
    );
    let (start, end) = payload.split_at(payload.len() / 2);
    bench.add("a changed payload under the old signature", format!("{header}.{end}{start}.{signature}"));
}

/// Parts whose last digit says more than the last byte, as lenient readers let pass: two texts for one token.
fn stray_bits(bench: &mut Bench<'_>) {
    let [es256, _] = &bench.mould.own;
    // Long enough that the last digit is not full.
    let longer = (1..=3).map(|more| changed(&bench.mould.claims, &[("x", json!("x".repeat(more)))]).to_string());
    let payload = longer.into_iter().find(|text| text.len() % 3 != 0).unwrap_or_default();
    let good = es256.sign(&es256.header(), payload);
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { return };
    for (name, token) in [
        ("header", format!("{}.{payload}.{signature}", stray(header))),
        ("payload", format!("{header}.{}.{signature}", stray(payload))),
        ("signature", format!("{header}.{payload}.{}", stray(signature))),
    ] {
        bench.add_for_gateway(format!("a {name} with stray bits"), token, OVERLOOKED);
    }
    bench.add("a header with stray bits, signed so", es256.sign_parts(&stray(header), payload));
    bench.add("a payload with stray bits, signed so", es256.sign_parts(header, &stray(payload)));
}

/// The same bytes, with a bit behind the last one.
pub(super) fn stray(part: &str) -> String {
    let mut text = part.to_owned();
    let last = text.pop().and_then(|last| DIGITS.find(last)).unwrap_or_default();
    text.push(char::from(DIGITS.as_bytes()[last ^ 1]));
    text
}
