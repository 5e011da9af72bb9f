//! Against the double of GitHub.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use hexabase_app::clock::Clock;
use hexabase_server::config::{ProviderConfig, ProviderKind};
use hexabase_testkit::github::{CLIENT_ID, CLIENT_SECRET, GitHub, GitHubUser};
use tokio::sync::OnceCell;

use super::{
    AUTHORIZE, come_back, identities, is_signed_in, me, redirect_uri, signed_in, until_callback, with_parameter_of,
};
use crate::support::{ATTEMPT_COOKIE, HOST, Platform};

/// Settings of the double.
pub(super) fn github(double: &GitHub) -> ProviderConfig {
    ProviderConfig {
        id: "github".to_owned(),
        kind: ProviderKind::GitHub,
        display_name: None,
        issuer: Some(double.url.clone()),
        api_url: None,
        client_id: CLIENT_ID.to_owned(),
        client_secret: Some(CLIENT_SECRET.to_owned().into()),
        client_secret_file: None,
        allow_private_networks: false,
    }
}

/// A platform with a GitHub.
pub(super) async fn site(clock: Clock) -> Result<(Platform, Arc<GitHub>)> {
    let double = OnceCell::new();
    let settings = async |url: &str| {
        let made = Arc::new(GitHub::start(&redirect_uri(url, "github")).await?);
        let settings = vec![github(&made)];
        double.set(made)?;
        Ok(settings)
    };
    let platform = Platform::start_with_providers(clock, settings).await?;
    Ok((platform, double.into_inner().context("the platform did not ask for its providers")?))
}

#[tokio::test]
async fn a_person_signs_in_with_github_and_is_known_by_number() -> Result<()> {
    let (platform, github) = site(Clock::System).await?;
    github.user(GitHubUser::new(583_231, "mona", "mona@example.test"));
    let browser = signed_in(&platform, "github", "mona").await?;
    let mona = me(&platform, &browser).await?;
    assert_eq!((mona["email"].as_str(), mona["email_verified"].as_bool()), (Some("mona@example.test"), Some(true)));
    assert_eq!(mona["display_name"], "mona", "without a name it is the login");
    let own = identities(&platform, &browser).await?;
    assert_eq!((own[0]["issuer"].as_str(), own[0]["subject"].as_str()), (Some(&*github.url), Some("583231")));
    // The login is another, the number is the same.
    let renamed =
        GitHubUser { name: Some("Mona L.".to_owned()), ..GitHubUser::new(583_231, "lisa", "mona@example.test") };
    github.user(renamed);
    let again = me(&platform, &signed_in(&platform, "github", "lisa").await?).await?;
    assert_eq!((&again["id"], again["display_name"].as_str()), (&mona["id"], Some("Mona L.")));
    // Somebody takes the login that was given up, and even the address.
    github.user(GitHubUser::new(7, "mona", "mona@example.test"));
    let other = me(&platform, &signed_in(&platform, "github", "mona").await?).await?;
    assert_ne!(other["id"], mona["id"]);
    Ok(())
}

#[tokio::test]
async fn only_the_primary_verified_address_at_github_is_taken() -> Result<()> {
    let (platform, github) = site(Clock::System).await?;
    let emails = |all: &[(&str, bool, bool)]| {
        all.iter().map(|(email, primary, verified)| ((*email).to_owned(), *primary, *verified)).collect()
    };
    for (id, addresses, expected) in [
        (
            1,
            emails(&[("a@example.test", false, true), ("b@example.test", true, true), ("c@example.test", false, true)]),
            Some("b@example.test"),
        ),
        (2, emails(&[("a@example.test", true, false), ("b@example.test", false, true)]), None),
        (3, emails(&[]), None),
    ] {
        let login = format!("user-{id}");
        github.user(GitHubUser { emails: addresses, ..GitHubUser::new(id, &login, "") });
        let person = me(&platform, &signed_in(&platform, "github", &login).await?).await?;
        assert_eq!(
            (person["email"].as_str(), person["email_verified"].as_bool()),
            (expected, Some(expected.is_some())),
            "{id}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn whoever_withholds_the_address_at_github_signs_in_without_one() -> Result<()> {
    let (platform, github) = site(Clock::System).await?;
    for (id, grants, asked) in [(1, "read:user", false), (2, "", true), (3, "user", true)] {
        let login = format!("user-{id}");
        github.user(GitHubUser { grants: grants.to_owned(), ..GitHubUser::new(id, &login, "x@example.test") });
        let before = github.asked().len();
        let person = me(&platform, &signed_in(&platform, "github", &login).await?).await?;
        assert_eq!(person["email"].as_str().is_some(), grants == "user", "{grants:?}");
        let emails = github.asked()[before..].iter().any(|line| line == "GET /user/emails");
        assert_eq!(emails, asked, "{grants:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_github_that_answers_no_more_is_a_page_that_says_until_when() -> Result<()> {
    let clock = Clock::standing_at(Clock::System.now());
    let (platform, github) = site(clock.clone()).await?;
    github.user(GitHubUser::new(1, "mona", "mona@example.test"));
    let until = clock.now().plus_seconds(1800).as_seconds();
    github.limit_until(Some(until));
    let browser = platform.browser();
    let page = come_back(&platform, &browser, "github", "mona").await?.expect(503)?;
    let until = hexabase_core::time::Timestamp::from_seconds(until);
    assert!(page.text.contains(&format!("GitHub answers nothing more to this server until {until}")), "{}", page.text);
    assert!(!is_signed_in(&browser));
    github.limit_until(None);
    assert_eq!(me(&platform, &signed_in(&platform, "github", "mona").await?).await?["email"], "mona@example.test");
    Ok(())
}

#[tokio::test]
async fn a_github_code_of_another_attempt_is_refused() -> Result<()> {
    let (platform, github) = site(Clock::System).await?;
    github.user(GitHubUser::new(1, "mallory", "mallory@example.test"));
    github.user(GitHubUser::new(2, "mona", "mona@example.test"));
    let (attacker, victim) = (platform.browser(), platform.browser());
    let planted = until_callback(&platform, &attacker, "github", "mallory").await?;
    let back = until_callback(&platform, &victim, "github", "mona").await?;
    // There is no nonce here: the verifier alone tells them apart.
    let page = victim.get(&with_parameter_of(&back, &planted, "code")?).await?.expect(401)?;
    assert!(page.text.contains("bad_verification_code"), "{}", page.text);
    assert!(!is_signed_in(&victim));
    Ok(())
}

#[tokio::test]
async fn a_github_callback_that_is_opened_twice_signs_in_once() -> Result<()> {
    let (platform, github) = site(Clock::System).await?;
    github.user(GitHubUser::new(1, "mona", "mona@example.test"));
    let browser = platform.browser();
    let back = until_callback(&platform, &browser, "github", "mona").await?;
    let attempt = browser.cookie(HOST, ATTEMPT_COOKIE).unwrap_or_default();
    browser.get(&back).await?.expect(303)?;
    let thief = platform.browser();
    thief.get(&back).await?.expect(401)?;
    thief.set_cookie(HOST, ATTEMPT_COOKIE, &attempt);
    let page = thief.get(&back).await?.expect(401)?;
    assert!(page.text.contains("bad_verification_code"), "{}", page.text);
    assert!(!is_signed_in(&thief));
    Ok(())
}

#[tokio::test]
async fn a_github_that_does_not_know_us_is_the_operators_to_mend() -> Result<()> {
    let double = OnceCell::new();
    let settings = async |url: &str| {
        let made = GitHub::start(&redirect_uri(url, "github")).await?;
        made.user(GitHubUser::new(1, "mona", "mona@example.test"));
        let settings = ProviderConfig { client_secret: Some("another".to_owned().into()), ..github(&made) };
        double.set(made)?;
        Ok(vec![settings])
    };
    let platform = Platform::start_with_providers(Clock::System, settings).await?;
    let page = come_back(&platform, &platform.browser(), "github", "mona").await?.expect(503)?;
    assert!(page.text.contains("incorrect_client_credentials") && page.text.contains("does not help"), "{}", page.text);
    Ok(())
}

#[tokio::test]
async fn github_is_not_offered_where_a_new_sign_in_is_wanted_and_counts_for_none() -> Result<()> {
    let (platform, github) = site(Clock::System).await?;
    github.user(GitHubUser::new(1, "mona", "mona@example.test"));
    let browser = signed_in(&platform, "github", "mona").await?;
    // When she signed in at GitHub nobody knows, so that it is never young enough.
    for wanted in ["max_age=10000", "prompt=login"] {
        let answer = browser.get(&platform.at(&format!("{AUTHORIZE}&{wanted}"))).await?.expect(303)?;
        let location = answer.header("location");
        assert!(location.starts_with("/sign-in?") && location.contains("prompt=login"), "{wanted}: {location}");
    }
    let page = browser.get(&platform.at("/sign-in?prompt=login")).await?.expect(200)?;
    let offered = |provider: &str| page.text.contains(&format!("/auth/{provider}/start"));
    assert!(offered("development") && !offered("github"), "{}", page.text);
    assert!(page.text.contains("GitHub cannot be asked to have you sign in again"), "{}", page.text);
    let refused = browser.get(&platform.at("/auth/github/start?prompt=login")).await?.expect(403)?;
    assert_eq!(refused.header("location"), "");
    let other = browser.get(&platform.at("/auth/github/start?prompt=select_account")).await?.expect(303)?;
    assert!(other.header("location").contains("prompt=select_account"), "{other:?}");
    Ok(())
}
