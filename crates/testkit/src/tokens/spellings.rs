//! Claims that two readers may read differently: names in another case, members that come twice, and times that are no whole
//! numbers.

use serde_json::{Value, json};

use super::{Bench, changed, twice};

/// Go's reader of structures finds a member whatever the case of its name; it reads the issuer so, and little else.
const ANY_CASE: &str = "the API server finds the issuer whatever the case of its name";
/// The JSON reader there takes the last of two members.
const LAST_COUNTS: &str = "the API server reads the last of two members, and that one is good";
/// Times are numbers there, of whatever kind.
const ANY_NUMBER: &str = "to the API server a time is a number, however it is written";

pub(super) fn add(bench: &mut Bench<'_>) {
    other_cases(bench);
    doubled(bench);
    numbers(bench);
}

fn other_cases(bench: &mut Bench<'_>) {
    let own = &bench.mould.own[0];
    let claims = &bench.mould.claims;
    for name in ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "sid", "ws", "groups", "token_use"] {
        let capital = name[..1].to_uppercase() + &name[1..];
        for other in [name.to_uppercase(), capital] {
            let renamed = changed(claims, &[(name, Value::Null), (other.as_str(), claims[name].clone())]);
            let token = own.sign(&own.header(), renamed.to_string());
            let what = format!("{other} in the place of {name}");
            match name {
                "iss" => bench.add_for_gateway(what, token, ANY_CASE),
                _ => bench.add(what, token),
            }
        }
    }
    let (evil, good) = (json!("https://evil.example"), &claims["iss"]);
    let token = own.sign(&own.header(), twice(claims, ("iss", &evil), ("ISS", good)));
    bench.add_for_gateway("a foreign iss, and ours as ISS", token, ANY_CASE);
}

fn doubled(bench: &mut Bench<'_>) {
    let own = &bench.mould.own[0];
    let claims = &bench.mould.claims;
    let (other, other_issuer) = bench.mould.other_workspace.clone();
    for (name, bad) in [
        ("iss", json!(other_issuer)),
        ("sub", json!("system:admin")),
        ("groups", json!(["system:masters"])),
        ("ws", json!(other)),
        ("aud", json!(other)),
        ("exp", json!(bench.mould.now - 1)),
        ("token_use", json!("access")),
    ] {
        let good = &claims[name];
        // The same name, with its first letter as an escape.
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        for (how, again) in [("", name), (" with an escape", escaped.as_str())] {
            let token = own.sign(&own.header(), twice(claims, (name, good), (again, &bad)));
            bench.add(format!("{name} twice{how}, bad at last"), token);
            let token = own.sign(&own.header(), twice(claims, (name, &bad), (again, good)));
            bench.add_for_gateway(format!("{name} twice{how}, good at last"), token, LAST_COUNTS);
        }
    }
}

fn numbers(bench: &mut Bench<'_>) {
    let own = &bench.mould.own[0];
    let (now, soon) = (bench.mould.now, bench.mould.now + 300);
    for (name, text) in [
        ("exp", format!("{soon}.0")),
        ("exp", format!("{soon}.5")),
        ("exp", format!("{soon}e0")),
        ("exp", format!("{}E+1", soon / 10)),
        ("iat", format!("{now}.0")),
        ("iat", format!("{now}e0")),
        ("nbf", format!("{now}.0")),
        ("nbf", format!("{now}e0")),
    ] {
        let token = own.sign(&own.header(), bench.written(name, &text));
        bench.add_for_gateway(format!("{name} written {text}"), token, ANY_NUMBER);
    }
    for text in ["1e18", "1e400", "-1e400", "18446744073709551616", "0x7fffffff", "NaN", "Infinity"] {
        let token = own.sign(&own.header(), bench.written("exp", text));
        bench.add(format!("exp written {text}"), token);
    }
}
