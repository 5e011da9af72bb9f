//! Claims that a good signature must not make good: what only a mistake of the platform's, or a stolen key, could sign.

use serde_json::{Value, json};

use super::{Bench, changed, encode};

/// A tenant's API server does not know who is a member, and which sessions live.
const UNKNOWN_THERE: &str =
    "only the platform knows sessions and members; there the token's life of ten minutes bounds it";
/// Times are compared as numbers there, with a minute of tolerance for `nbf`.
const TOLERATED: &str = "the API server tolerates a minute in nbf, for clocks that differ";
/// Nothing there reads it.
const UNREAD: &str = "the API server does not read this claim";

pub(super) fn add(bench: &mut Bench<'_>) {
    whose(bench);
    who(bench);
    when(bench);
    groups(bench);
    others(bench);
    payloads(bench);
}

fn each(bench: &mut Bench<'_>, claim: &str, values: &[Value]) {
    for value in values {
        let shown: String = value.to_string().chars().take(60).collect();
        let what = if value.is_null() { "left out".to_owned() } else { shown };
        let token = bench.with_claim(claim, value.clone());
        bench.add(format!("{claim} {what}"), token);
    }
    // Null is not the same as left out.
    let own = &bench.mould.own[0];
    bench.add(format!("{claim} null"), own.sign(&own.header(), bench.written(claim, "null")));
}

/// Issuer, audience, workspace, kind.
fn whose(bench: &mut Bench<'_>) {
    let text = |name: &str| bench.mould.claims[name].as_str().unwrap_or_default().to_owned();
    let (iss, aud) = (text("iss"), text("aud"));
    let (other, other_issuer) = bench.mould.other_workspace.clone();
    let upper = iss.to_uppercase();
    let issuers = [
        json!(other_issuer),
        json!(bench.mould.platform_issuer),
        json!(format!("{iss}/")),
        json!(format!("{iss}?x")),
        json!(format!("{iss}#x")),
        json!(iss.replace("https", "http")),
        json!(iss.replace("https", "HTTPS")),
        json!(upper),
        json!(iss.replace("/oidc/", "//oidc/")),
        json!(iss.replace("/oidc/", "/x/../oidc/")),
        json!(iss.replace("localhost", "localhost.evil.example")),
        json!(iss.replace("https://", "https://evil.example@")),
        json!(format!("https://evil.example/oidc/{aud}")),
        json!("https://kubernetes.default.svc"),
        json!(""),
        json!(7),
        json!([iss]),
        Value::Null,
    ];
    each(bench, "iss", &issuers);
    let audiences = [
        json!(other),
        json!([aud, other]),
        json!([aud]),
        json!([other, aud]),
        json!([[aud]]),
        json!({ "aud": aud }),
        json!("hexabase"),
        json!("hxb"),
        json!("kubernetes"),
        json!(iss),
        json!(aud.to_uppercase()),
        json!(format!("{aud} ")),
        json!(&aud[..aud.len() - 1]),
        json!("*"),
        json!(""),
        json!([]),
        json!(1),
        Value::Null,
    ];
    each(bench, "aud", &audiences);
    let workspaces = [
        json!(other),
        json!(aud.to_uppercase()),
        json!(format!("{aud} ")),
        json!([aud]),
        json!(""),
        json!(1),
        json!(true),
        Value::Null,
    ];
    each(bench, "ws", &workspaces);
    let kinds = [
        json!("access"),
        json!("Workspace"),
        json!("workspace "),
        json!(["workspace"]),
        json!(""),
        json!(1),
        Value::Null,
    ];
    each(bench, "token_use", &kinds);
    let own = &bench.mould.own[0];
    let all =
        changed(&bench.mould.claims, &[("iss", json!(other_issuer)), ("aud", json!(other)), ("ws", json!(other))]);
    bench.add("everything of another workspace", own.sign(&own.header(), all.to_string()));
}

fn who(bench: &mut Bench<'_>) {
    let sub = bench.mould.claims["sub"].as_str().unwrap_or_default().to_owned();
    let subjects = [
        json!("system:admin"),
        json!("system:masters"),
        json!("system:anonymous"),
        json!("system:kube-controller-manager"),
        json!("system:serviceaccount:kube-system:default"),
        json!("system:node:node-1"),
        json!("SYSTEM:admin"),
        json!("System:admin"),
        json!(" system:admin"),
        json!("\u{200b}system:admin"),
        json!("kubernetes-super-admin"),
        json!("hexabase:usr-00000000000000000000"),
        json!("admin"),
        json!("*"),
        json!(""),
        json!(" "),
        json!(format!("{sub} ")),
        json!(format!("{sub}\n")),
        json!(format!("{sub}\u{0}")),
        json!(format!("{sub}0")),
        json!(&sub[..sub.len() - 1]),
        json!(sub.to_uppercase()),
        json!(sub.replace("usr", "u\u{455}r")),
        json!(sub.replace("usr", "ses")),
        json!("../../etc/passwd"),
        json!("u".repeat(300)),
        json!(7),
        json!(true),
        json!([sub]),
        json!({ "sub": sub }),
        Value::Null,
    ];
    each(bench, "sub", &subjects);
    let (person, session) = bench.mould.other_person.clone();
    let token = bench.with_claim("sub", json!(person));
    bench.add_for_gateway("another member's sub with this session", token, UNKNOWN_THERE);
    let token = bench.with_claim("sid", json!(session));
    bench.add_for_gateway("another member's session", token, UNKNOWN_THERE);
    let token = bench.with_claim("sid", json!("ses-00000000000000000000"));
    bench.add_for_gateway("a session that never was", token, UNKNOWN_THERE);
    let token = bench.with_claim("sub", json!("usr-00000000000000000000"));
    bench.add_for_gateway("a person who never was", token, UNKNOWN_THERE);
}

fn when(bench: &mut Bench<'_>) {
    let now = bench.mould.now;
    let times = [
        ("over since a second", now - 600, now - 1),
        ("over since an hour", now - 4_200, now - 3_600),
        ("over since 1970", 0, 600),
        ("a second too long", now, now + 601),
        ("an hour long", now, now + 3_600),
        ("ten years long", now, now + 315_360_000),
        ("made long ago and not over", now - 86_400, now + 300),
        ("over before it begins", now + 300, now + 100),
        ("over when it begins", now + 100, now + 100),
        ("of an hour ahead", now + 3_600, now + 4_200),
        ("of a year ahead", now + 31_536_000, now + 31_536_600),
        ("before 1970", -600, -1),
        ("of the end of time", i64::MAX - 600, i64::MAX),
    ];
    let own = &bench.mould.own[0];
    for (name, from, until) in times {
        let claims = changed(&bench.mould.claims, &[("iat", json!(from)), ("nbf", json!(from)), ("exp", json!(until))]);
        bench.add(name, own.sign(&own.header(), claims.to_string()));
    }
    let odd = |name: &str, values: &[Value], bench: &mut Bench<'_>| each(bench, name, values);
    let soon = now + 300;
    odd(
        "exp",
        &[json!(soon.to_string()), json!([soon]), json!({}), json!(true), json!(-1), json!(0), Value::Null],
        bench,
    );
    odd(
        "iat",
        &[json!(now.to_string()), json!([now]), json!(false), json!(now + 3_600), json!(0), json!(-1), Value::Null],
        bench,
    );
    odd(
        "nbf",
        &[json!(now.to_string()), json!(now + 3_600), json!(now - 86_400), json!(true), json!(0), Value::Null],
        bench,
    );
    let ahead =
        changed(&bench.mould.claims, &[("iat", json!(now + 50)), ("nbf", json!(now + 50)), ("exp", json!(now + 550))]);
    bench.add_for_gateway("of less than a minute ahead", own.sign(&own.header(), ahead.to_string()), TOLERATED);
}

fn groups(bench: &mut Bench<'_>) {
    let many: Vec<String> = (0..201).map(|number| format!("group-{number}")).collect();
    let lists = [
        json!(["system:masters"]),
        json!(["WSUsers", "system:masters"]),
        json!(["SYSTEM:masters"]),
        json!(["System:Authenticated"]),
        json!([" system:masters"]),
        json!(["system:masters "]),
        json!(["\u{200b}system:masters"]),
        json!(["\u{ff53}ystem:masters"]),
        json!(["system"]),
        json!(["hexabase:WSAdmins"]),
        json!(["WSAdmins\n"]),
        json!(["WSAdmins\u{0}"]),
        json!(["WSAdmins,system:masters"]),
        json!(["WS Admins"]),
        json!(["\u{202e}snimdASW"]),
        json!(["管理者"]),
        json!(["../WSAdmins"]),
        json!(["*"]),
        json!([""]),
        json!([" "]),
        json!(["g".repeat(256)]),
        json!([1]),
        json!([true]),
        json!([null]),
        json!([["WSAdmins"]]),
        json!([{ "name": "WSAdmins" }]),
        json!("WSAdmins"),
        json!("system:masters"),
        json!({ "WSAdmins": true }),
        json!(1),
        json!(true),
        json!(many),
        Value::Null,
    ];
    each(bench, "groups", &lists);
}

fn others(bench: &mut Bench<'_>) {
    for claim in ["jti", "sid"] {
        each(bench, claim, &[json!(""), json!(1), json!(["x"]), json!({}), Value::Null]);
    }
    for value in [json!(1), json!({ "address": "a@example.test" }), json!([1])] {
        let token = bench.with_claim("email", value.clone());
        bench.add(format!("email {value}"), token);
    }
    for (claim, value) in
        [("name", json!(1)), ("azp", json!(1)), ("azp", json!(true)), ("azp", json!(["hxb"])), ("azp", json!({}))]
    {
        let token = bench.with_claim(claim, value.clone());
        bench.add_for_gateway(format!("{claim} {value}"), token, UNREAD);
    }
    for (name, token) in &bench.mould.elsewhere {
        let authorization = vec![format!("Bearer {token}")];
        bench.tokens.push(super::BadToken {
            name: format!("a good token: {name}"),
            authorization,
            tenant_cannot: None,
        });
    }
}

/// Payloads that are not an object as it should be.
fn payloads(bench: &mut Bench<'_>) {
    let own = &bench.mould.own[0];
    let header = own.header();
    let good = bench.payload();
    for (name, payload) in [
        ("nothing", String::new()),
        ("an empty object", "{}".to_owned()),
        ("an array", format!("[{good}]")),
        ("a text", json!(good).to_string()),
        ("null", "null".to_owned()),
        ("half an object", good[..good.len() / 2].to_owned()),
        ("something after it", format!("{good}x")),
        ("two objects", format!("{good}{good}")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("a trailing comma", format!("{},}}", &good[..good.len() - 1])),
        ("a token", encode(&good)),
    ] {
        bench.add(format!("a payload of {name}"), own.sign(&header, payload));
    }
    let deep = good.trim_end_matches('}').to_owned() + ",\"x\":" + &"[".repeat(20_000) + &"]".repeat(20_000) + "}";
    bench.add("nested 20,000 deep", own.sign(&header, deep));
    let padded = changed(&bench.mould.claims, &[("x", json!("x".repeat(20_000)))]);
    bench.add_for_gateway("larger than 16 KB", own.sign(&header, padded.to_string()), UNREAD);
}
