//! Tokens that look unusual and are good all the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Mould, changed, encode, negated};

/// Tokens that gateway and API server must accept, each with a name. One of them is over soon: show each right after it was
/// made.
pub fn good(mould: &Mould) -> Vec<(String, String)> {
    let [es256, rs256] = &mould.own;
    let now = mould.now;
    let with = |changes: &[(&str, Value)]| es256.sign(&es256.header(), changed(&mould.claims, changes).to_string());
    let lasting = |from: i64, until: i64| with(&[("iat", json!(from)), ("nbf", json!(from)), ("exp", json!(until))]);
    let groups = |count: usize| json!((0..count).map(|number| format!("group-{number}")).collect::<Vec<_>>());
    let mut reversed: Vec<(&String, &Value)> = mould.claims.as_object().into_iter().flatten().collect();
    reversed.reverse();
    let reversed: Vec<String> = reversed.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let [low, high] = both_signatures(&with(&[]));
    let spaced = |value: &Value| format!("{value:#}").replace('\n', "\r\n\t");
    let made = [
        ("as the platform makes it", with(&[])),
        ("signed with RS256", rs256.sign(&rs256.header(), mould.claims.to_string())),
        ("without an address", with(&[("email", Value::Null)])),
        ("without a name", with(&[("name", Value::Null)])),
        ("without a client", with(&[("azp", Value::Null)])),
        (
            "with nothing that could be left out",
            with(&[("email", Value::Null), ("name", Value::Null), ("azp", Value::Null)]),
        ),
        (
            "with what an ID token has",
            with(&[("nonce", json!("n")), ("auth_time", json!(now - 50)), ("at_hash", json!("AAAA"))]),
        ),
        (
            "with claims that nobody knows",
            with(&[("acr", json!("1")), ("address", json!({ "country": "JP" })), ("x", json!([1, null]))]),
        ),
        (
            "with names that are claims but for their case",
            with(&[("SUB", json!("system:admin")), ("Groups", json!(["system:masters"])), ("WS", json!("*"))]),
        ),
        ("in no group", with(&[("groups", json!([]))])),
        ("in 200 groups", with(&[("groups", groups(200))])),
        (
            "in groups with long names",
            with(&[(
                "groups",
                json!((0..100).map(|number| format!("{number:03}{}", "g".repeat(60))).collect::<Vec<_>>()),
            )]),
        ),
        ("in groups with every character that a name may have", with(&[("groups", json!(["0", "A.b_c-9", "zZ"]))])),
        ("as long as it may be", lasting(now, now + 600)),
        ("over in half a minute", lasting(now - 570, now + 30)),
        ("of a person with a name in another script", with(&[("name", json!("株式会社 \u{1f980} \"quoted\" \\ "))])),
        ("of a person with an address in another script", with(&[("email", json!("josé+tag@exämple.test"))])),
        ("with its claims in another order", es256.sign(&es256.header(), format!("{{{}}}", reversed.join(",")))),
        (
            "with white space in its JSON",
            es256.sign_parts(&encode(spaced(&es256.header())), &encode(spaced(&mould.claims))),
        ),
        (
            "with its type written out",
            es256.sign(&changed(&es256.header(), &[("typ", json!("application/JWT"))]), mould.claims.to_string()),
        ),
        (
            "with a thumbprint beside the key's id",
            es256.sign(&changed(&es256.header(), &[("x5t", json!("AAAA"))]), mould.claims.to_string()),
        ),
        ("with the lower of the two numbers that hold as s", low),
        ("with the higher one", high),
        (
            "with escapes for plain letters",
            es256.sign(&es256.header(), mould.claims.to_string().replace("workspace", "w\\u006frkspace")),
        ),
    ];
    made.into_iter().map(|(name, token)| (name.to_owned(), token)).collect()
}

/// A token of ES256 with each of the two signatures that anybody can make of one: RFC 7518 has both hold, and nothing here
/// goes by what a token looks like.
fn both_signatures(token: &str) -> [String; 2] {
    let (signed, signature) = token.rsplit_once('.').unwrap_or_default();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    let (r, s) = signature.split_at(signature.len() / 2);
    let mut both = [s.to_vec(), negated(s)];
    both.sort();
    both.map(|s| format!("{signed}.{}", encode([r, s.as_slice()].concat())))
}
