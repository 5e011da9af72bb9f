//! Things drawn at random: verifiers, opaque tokens, user codes.

use std::collections::HashSet;

use hexabase_oidc::{
    hash_token, hashes_match, opaque_token,
    provider::{CodeVerifier, UserCode},
};

#[test]
fn an_opaque_token_has_a_prefix_and_256_bits() {
    let tokens: HashSet<String> = (0..1000).map(|_| opaque_token("hxr_").unwrap()).collect();
    assert_eq!(tokens.len(), 1000);
    assert!(tokens.iter().all(|token| token.starts_with("hxr_") && token.len() == 4 + 43));
}

#[test]
fn a_token_is_known_by_its_sha256() {
    assert_eq!(hash_token("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert!(hashes_match(&hash_token("abc"), &hash_token("abc")));
    assert!(!hashes_match(&hash_token("abc"), &hash_token("abd")));
    assert!(!hashes_match(&hash_token("abc"), &hash_token("abc")[..63]), "a truncated hash is another hash");
    assert!(!hashes_match("", ""), "nothing is not a hash");
}

#[test]
fn a_new_verifier_is_a_valid_one_and_is_not_printed() {
    let verifier = CodeVerifier::generate().unwrap();
    assert!(CodeVerifier::parse(verifier.expose()).is_ok());
    assert!(verifier.challenge().is_met_by(&verifier));
    assert!(!format!("{verifier:?}").contains(verifier.expose()));
}

#[test]
fn a_user_code_survives_being_typed_by_a_person() {
    let code = UserCode::generate().unwrap();
    let shown = code.to_string();
    assert_eq!((shown.len(), shown.find('-')), (9, Some(4)));
    for typed in [
        shown.clone(),
        shown.to_lowercase(),
        shown.replace('-', ""),
        shown.replace('-', " "),
        format!("  {} ", shown.replace('-', " – ")),
        shown.replace('-', "."),
    ] {
        assert_eq!(UserCode::parse(&typed).unwrap(), code, "{typed}");
    }
}

#[test]
fn what_cannot_be_a_user_code_is_refused() {
    for typed in [
        "",
        "BCDF-GHJ",
        "BCDF-GHJKL",
        "ACDF-GHJK",
        "0CDF-GHJK",
        "BCDF+GHJK",
        "ＢCDF-GHJK",
        "BCDF-GHJ\u{301}K",
        &"-".repeat(65),
    ] {
        assert!(UserCode::parse(typed).is_err(), "{typed}");
    }
}

#[test]
fn every_letter_of_a_user_code_is_equally_likely() {
    let mut counts = std::collections::HashMap::new();
    let codes = 100_000;
    for _ in 0..codes {
        for letter in UserCode::generate().unwrap().as_str().chars() {
            *counts.entry(letter).or_insert(0u32) += 1;
        }
    }
    let expected = codes * 8 / 20;
    assert_eq!(counts.len(), 20);
    // Seven standard deviations: wrong once in 10^10 runs, and well below the bias of a plain modulo.
    for (letter, count) in counts {
        assert!(count.abs_diff(expected) < 7 * 195, "{letter}: {count} of {expected}");
    }
}
