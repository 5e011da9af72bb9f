//! `Authorization` headers that hold no one bearer token.

use super::Bench;

/// Whoever speaks to the API server past the gateway chooses which one to show.
const FIRST_COUNTS: &str = "the API server reads the first of two headers, and that one is good";

pub(super) fn add(bench: &mut Bench<'_>) {
    let own = &bench.mould.own[0];
    let good = own.sign(&own.header(), bench.payload());
    let foreign = &bench.mould.foreign[0];
    let bad = foreign.sign(&foreign.header(), bench.payload());
    for (name, value) in [
        ("a scheme alone", "Bearer".to_owned()),
        ("a scheme and a space", "Bearer ".to_owned()),
        ("a token without a scheme", good.clone()),
        ("a tab", format!("Bearer\t{good}")),
        ("another scheme", format!("Token {good}")),
        ("Basic", format!("Basic {good}")),
        ("Negotiate", format!("Negotiate {good}")),
        ("a colon", format!("Bearer: {good}")),
        ("quotes", format!("Bearer \"{good}\"")),
        ("a parameter", format!("Bearer token={good}")),
        ("two tokens with a comma", format!("Bearer {good}, Bearer {good}")),
        ("two tokens without a space", format!("Bearer {good},{good}")),
        ("a bad token in front", format!("Bearer {bad},{good}")),
        ("percent signs", format!("Bearer {}", good.replace('.', "%2E"))),
        ("the word null", "Bearer null".to_owned()),
        ("the word undefined", "Bearer undefined".to_owned()),
        ("a hash", "Bearer 5f4dcc3b5aa765d61d8327deb882cf99".to_owned()),
        ("a personal token", "Bearer hxb_0000000000000000000000000000000000000000000".to_owned()),
    ] {
        bench.add_header(format!("a header with {name}"), &[&value]);
    }
    bench.add_header("no header", &[]);
    bench.add_header("an empty header", &[""]);
    let (good, bad) = (format!("Bearer {good}"), format!("Bearer {bad}"));
    bench.add_header("two headers, the bad one first", &[&bad, &good]);
    for (name, second) in [("the bad one last", &bad), ("both good", &good)] {
        bench.add_header(format!("two headers, {name}"), &[&good, second]);
        if let Some(last) = bench.tokens.last_mut() {
            last.tenant_cannot = Some(FIRST_COUNTS);
        }
    }
}
