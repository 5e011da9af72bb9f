//! Whether a person is asked, whatever their session.

use anyhow::{Context as _, Result};
use hexabase_testkit::http::Answer;

use super::Suite;
use crate::support::{broken, claims, pass, text};

/// Errors that say that somebody would have to be shown something (OpenID Connect Core section 3.1.2.6).
const NEEDS_A_PAGE: [&str; 4] =
    ["login_required", "interaction_required", "account_selection_required", "consent_required"];

/// Whether the browser is sent to the sign-in page.
fn is_asked_to_sign_in(answer: &Answer) -> bool {
    answer.status == 303 && answer.header("location").starts_with("/sign-in?")
}

/// Somebody who is signed in signs in again, and the ID token says when.
async fn again(suite: &Suite, changes: &[(&str, &str)]) -> Result<()> {
    let first = suite.flow(&[]).await?;
    pass(&suite.platform, 2);
    let request = suite.request(changes);
    assert!(is_asked_to_sign_in(&suite.alice.browser.get(&request).await?));
    let second = suite.flow(changes).await?;
    let now = suite.platform.clock.now().as_seconds();
    assert_eq!(second.id_token["auth_time"].as_i64(), Some(now), "recent");
    assert!(first.id_token["auth_time"].as_i64() < Some(now), "later than the first");
    assert_eq!(first.id_token["sub"], second.id_token["sub"]);
    Ok(())
}

#[tokio::test]
async fn oidcc_prompt_login() -> Result<()> {
    for suite in Suite::start_standing().await? {
        again(&suite, &[("prompt", "login")]).await?;
        // Coming back without having signed in again does not count.
        let answer = suite.alice.browser.get(&suite.request(&[("prompt", "login")])).await?;
        let sign_in = suite.platform.at("/").join(answer.header("location"))?;
        let back = sign_in.query_pairs().find(|(name, _)| name == "return_to").context("no way back")?.1.into_owned();
        assert!(is_asked_to_sign_in(&suite.alice.browser.get(&suite.platform.at(&back)).await?));
    }
    Ok(())
}

#[tokio::test]
async fn oidcc_prompt_none_not_logged_in() -> Result<()> {
    // As long as some clients have it, and with every character that needs no escape.
    let state = format!("{}-._~", "a1B2c3D4".repeat(16).split_at(124).0);
    for suite in Suite::start().await? {
        let answer = suite.new_browser().get(&suite.request(&[("prompt", "none"), ("state", &state)])).await?;
        let back = Suite::told(&answer)?;
        assert!(NEEDS_A_PAGE.contains(&&*back["error"]), "{back:?}");
        assert_eq!((&back["state"], &back["iss"]), (&state, &suite.issuer()));
        // Nothing else, no code least of all, and a description as RFC 6749 section 4.1.2.1 has it.
        let known = ["error", "error_description", "error_uri", "state", "iss"];
        assert!(back.keys().all(|name| known.contains(&name.as_str())), "{back:?}");
        let plain = |byte: u8| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(back["error_description"].bytes().all(plain), "{back:?}");
    }
    Ok(())
}

/// The answer comes at once, for the same person and the same sign-in.
#[tokio::test]
async fn oidcc_prompt_none_logged_in() -> Result<()> {
    for suite in Suite::start_standing().await? {
        let first = suite.flow(&[]).await?;
        pass(&suite.platform, 2);
        let request = suite.request(&[("prompt", "none")]);
        let back = Suite::told(&suite.alice.browser.get(&request).await?)?;
        let second = suite.finish(suite.client, &back["code"], Some("a-nonce")).await?;
        for claim in ["sub", "auth_time"] {
            assert_eq!(first.id_token[claim], second.id_token[claim], "{claim}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn oidcc_max_age_1() -> Result<()> {
    for suite in Suite::start_standing().await? {
        again(&suite, &[("max_age", "1")]).await?;
        pass(&suite.platform, 2);
        let silent = suite.request(&[("max_age", "1"), ("prompt", "none")]);
        assert_eq!(Suite::told(&suite.alice.browser.get(&silent).await?)?["error"], "login_required");
    }
    Ok(())
}

/// A sign-in that is young enough is used again, and the ID token says when it was.
#[tokio::test]
async fn oidcc_max_age_10000() -> Result<()> {
    for suite in Suite::start_standing().await? {
        let first = suite.flow(&[]).await?;
        pass(&suite.platform, 2);
        let request = suite.request(&[("max_age", "10000")]);
        assert!(!is_asked_to_sign_in(&suite.alice.browser.get(&request).await?));
        let second = suite.flow(&[("max_age", "10000")]).await?;
        assert!(second.id_token["auth_time"].is_i64());
        for claim in ["sub", "auth_time"] {
            assert_eq!(first.id_token[claim], second.id_token[claim], "{claim}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn oidcc_id_token_hint() -> Result<()> {
    for suite in Suite::start_standing().await? {
        let first = suite.flow(&[]).await?;
        pass(&suite.platform, 2);
        let hint = text(&first.tokens["id_token"]);
        let silent = |hint: &str| suite.request(&[("prompt", "none"), ("id_token_hint", hint)]);
        let back = Suite::told(&suite.alice.browser.get(&silent(&hint)).await?)?;
        let second = suite.finish(suite.client, &back["code"], Some("a-nonce")).await?;
        for claim in ["sub", "auth_time"] {
            assert_eq!(first.id_token[claim], second.id_token[claim], "{claim}");
        }
        // Somebody else's, and one that is none of ours, are not answered for Alice.
        let bob = suite.somebody("bob").await?;
        let of_bob = suite.flow_in(&bob.browser, &[]).await?;
        let of_bob = text(&of_bob.tokens["id_token"]);
        assert_eq!(claims(&of_bob)?["sub"], bob.id);
        for hint in [of_bob.as_str(), "a.b.c", &broken(&hint)?] {
            let back = Suite::told(&suite.alice.browser.get(&silent(hint)).await?)?;
            assert_eq!(back["error"], "login_required", "{hint}");
        }
        // With a page to show, another person is asked to sign in.
        let answer = suite.alice.browser.get(&suite.request(&[("id_token_hint", &of_bob)])).await?;
        let address = answer.header("location");
        assert!(is_asked_to_sign_in(&answer) && address.contains("prompt=select_account"), "{answer:?}");
    }
    Ok(())
}
