//! Headers that bring a key, point to one, name one in a strange way, or want to be read otherwise.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Bench, asn1, changed, encode};

/// Of no effect on a reader that takes its keys from the issuer and from nowhere else.
const IGNORED: &str = "the API server does not read this member, and the token is signed by the platform's own key";
/// The API server tries every key when none is named.
const ANY_KEY: &str = "the API server tries every key of the issuer, and the token is signed by one of them";

pub(super) fn add(bench: &mut Bench<'_>) {
    brought(bench);
    named(bench);
    read_otherwise(bench);
    written_otherwise(bench);
}

/// A key of the attacker's, in or behind the header.
fn brought(bench: &mut Bench<'_>) {
    let (own, foreign) = (&bench.mould.own[0], &bench.mould.foreign[0]);
    let issuer = bench.mould.claims["iss"].as_str().unwrap_or_default();
    let set = json!({ "keys": [foreign.jwk] });
    let certificate = |key, name| STANDARD.encode(asn1::certificate(key, name));
    let (foreign_x5c, own_x5c) = (certificate(foreign, "evil.example"), certificate(own, "hexabase.example"));
    let members = [
        ("jwk", foreign.jwk.clone()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("jku", json!(format!("{issuer}/jwks"))),
        ("jku", json!(format!("{issuer}@evil.example/jwks"))),
        ("jku", json!(format!("data:application/json,{set}"))),
        ("jku", json!("file:///etc/passwd")),
        ("jku", json!("http://169.254.169.254/latest/meta-data/")),
        ("jwks", set),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!([foreign_x5c])),
        ("x5c", json!([own_x5c, foreign_x5c])),
        ("x5c", json!("MIIB")),
        ("x5t", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("x5t#S256", json!("AAAA")),
    ];
    for (name, value) in members {
        let shown: String = value.to_string().chars().take(100).collect();
        for (whose, kid) in [("our id", own.kid()), ("its own id", foreign.kid())] {
            let header = changed(&own.header(), &[(name, value.clone()), ("kid", json!(kid))]);
            bench.add(
                format!("{name} {shown} with a foreign key under {whose}"),
                foreign.sign(&header, bench.payload()),
            );
        }
    }
    for (name, value) in [
        ("jwk", own.jwk.clone()),
        ("jku", json!(format!("{issuer}/jwks"))),
        ("x5u", json!("https://evil.example/")),
        ("x5c", json!([own_x5c])),
    ] {
        let header = changed(&own.header(), &[(name, value)]);
        bench.add_for_gateway(format!("{name} with our own key"), own.sign(&header, bench.payload()), IGNORED);
    }
}

/// Key ids that are no ids.
fn named(bench: &mut Bench<'_>) {
    let (own, foreign) = (&bench.mould.own[0], &bench.mould.foreign[0]);
    let kid = own.kid();
    let long = "k".repeat(8_000);
    let ids = [
        json!(""),
        json!(" "),
        json!("../../../../../../dev/null"),
        json!("/dev/null"),
        json!("file:///dev/null"),
        json!("' OR '1'='1"),
        json!("x' UNION SELECT private_sealed FROM signing_keys --"),
        json!("key; rm -rf /"),
        json!("$(id)"),
        json!("{{7*7}}"),
        json!("http://evil.example/key"),
        json!(format!("{kid}\u{0}")),
        json!(format!("{kid} ")),
        json!(format!(" {kid}")),
        json!(format!("{kid}\n")),
        json!(kid.to_lowercase() + "x"),
        json!("\u{202e}kid"),
        json!("ключ"),
        json!(long),
    ];
    for id in &ids {
        let shown: String = id.to_string().chars().take(100).collect();
        let header = changed(&own.header(), &[("kid", id.clone())]);
        bench.add(format!("kid {shown}"), foreign.sign(&header, bench.payload()));
    }
    for id in [json!(1), json!([kid]), json!({ "kid": kid }), json!(true)] {
        let header = changed(&own.header(), &[("kid", id.clone())]);
        bench.add(format!("kid {id} by our own key"), own.sign(&header, bench.payload()));
    }
    let header = changed(&own.header(), &[("kid", Value::Null)]);
    bench.add("no kid, by a foreign key", foreign.sign(&header, bench.payload()));
    bench.add_for_gateway("no kid, by our own key", own.sign(&header, bench.payload()), ANY_KEY);
}

/// Members that change how the rest is to be read, and types.
fn read_otherwise(bench: &mut Bench<'_>) {
    let (own, foreign) = (&bench.mould.own[0], &bench.mould.foreign[0]);
    let payload = bench.payload();
    for (name, crit) in [
        ("an unknown member", json!(["hexabase"])),
        ("a claim", json!(["exp"])),
        ("itself", json!(["crit"])),
        ("alg", json!(["alg"])),
        ("an empty name", json!([""])),
    ] {
        let header = changed(&own.header(), &[("crit", crit)]);
        bench.add(format!("crit with {name}, by our own key"), own.sign(&header, &payload));
        bench.add(format!("crit with {name}, by a foreign key"), foreign.sign(&header, &payload));
    }
    let b64 = changed(&own.header(), &[("b64", json!(false)), ("crit", json!(["b64"]))]);
    bench.add("an unencoded payload", own.sign_parts(&encode(b64.to_string()), &payload));
    bench.add("an unencoded payload that is encoded", foreign.sign(&b64, &payload));
    for (name, value) in
        [("zip", json!("DEF")), ("enc", json!("A256GCM")), ("epk", own.jwk.clone()), ("b64", json!(false))]
    {
        let header = changed(&own.header(), &[(name, value)]);
        bench.add(format!("{name}, by a foreign key"), foreign.sign(&header, &payload));
    }
    for typ in
        [json!("at+jwt"), json!("application/at+jwt"), json!("JOSE"), json!("dpop+jwt"), json!("logout+jwt"), json!("")]
    {
        let header = changed(&own.header(), &[("typ", typ.clone())]);
        bench.add_for_gateway(format!("typ {typ}"), own.sign(&header, &payload), IGNORED);
        bench.add(format!("typ {typ}, by a foreign key"), foreign.sign(&header, &payload));
    }
    let header = changed(&own.header(), &[("typ", Value::Null)]);
    bench.add_for_gateway("no typ", own.sign(&header, &payload), IGNORED);
    let nested = own.sign(&own.header(), &payload);
    let header = changed(&own.header(), &[("cty", json!("JWT"))]);
    bench.add("a token in a token", own.sign(&header, nested));
}

/// Headers that are not an object as it should be.
fn written_otherwise(bench: &mut Bench<'_>) {
    let own = &bench.mould.own[0];
    let payload = encode(bench.payload());
    let (alg, kid) = (own.algorithm, own.kid());
    let texts = [
        (
            "alg twice, none at last",
            format!("{{\"alg\":\"{alg}\",\"typ\":\"JWT\",\"kid\":\"{kid}\",\"alg\":\"none\"}}"),
        ),
        (
            "kid twice, another at last",
            format!("{{\"alg\":\"{alg}\",\"typ\":\"JWT\",\"kid\":\"{kid}\",\"kid\":\"other\"}}"),
        ),
        ("an array", format!("[\"{alg}\",\"{kid}\"]")),
        ("a text", format!("\"{alg}\"")),
        ("a number", "1".to_owned()),
        ("null", "null".to_owned()),
        ("nothing", String::new()),
        ("an empty object", "{}".to_owned()),
        ("half an object", format!("{{\"alg\":\"{alg}\",\"kid\":\"{kid}\"")),
        ("single quotes", format!("{{'alg':'{alg}','typ':'JWT','kid':'{kid}'}}")),
        ("a comment", format!("{{/* */\"alg\":\"{alg}\",\"typ\":\"JWT\",\"kid\":\"{kid}\"}}")),
        ("a byte order mark", format!("\u{feff}{{\"alg\":\"{alg}\",\"typ\":\"JWT\",\"kid\":\"{kid}\"}}")),
        ("something after it", format!("{{\"alg\":\"{alg}\",\"typ\":\"JWT\",\"kid\":\"{kid}\"}}{{}}")),
    ];
    for (name, text) in texts {
        bench.add(format!("a header with {name}"), own.sign_parts(&encode(text), &payload));
    }
    let mut invalid = own.header().to_string().into_bytes();
    invalid.insert(2, 0xff);
    bench.add("a header that is not UTF-8", own.sign_parts(&encode(invalid), &payload));
}
