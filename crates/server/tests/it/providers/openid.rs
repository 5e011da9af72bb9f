//! Against the certified provider.

use std::path::Path;

use anyhow::{Context as _, Result};
use hexabase_app::clock::Clock;
use hexabase_oidc::Issuer;
use hexabase_oidc::client::{
    Callback, ClientError, JwksCache, LoginAttempt, Outbound, ProviderMetadata, Reach, RelyingParty,
};
use hexabase_server::config::{ProviderConfig, ProviderKind};
use hexabase_testkit::oidc_provider::{OidcProvider, RegisteredClient};
use serde_json::json;
use url::Url;

use super::{
    AUTHORIZE, acme, come_back, identities, is_signed_in, me, openid, redirect_uri, registered, shared, signed_in,
    until_callback, with_parameter_of,
};
use crate::support::{Platform, items, pass};

#[tokio::test]
async fn a_person_signs_in_with_a_certified_provider() -> Result<()> {
    let provider = shared()?;
    provider.person("grace@example.test", "grace-1", json!({ "email_verified": true, "name": "Grace H." })).await?;
    // Google is an OpenID provider with a preset issuer; here another one takes its place.
    let settings = async |url: &str| {
        let google = registered(url, "google", json!({})).await?;
        let google = ProviderConfig { kind: ProviderKind::Google, display_name: None, ..google };
        Ok(vec![google])
    };
    let platform = Platform::start_with_providers(Clock::System, settings).await?;
    let choice = platform.browser().get(&platform.at("/sign-in")).await?.expect(200)?;
    assert!(choice.text.contains("Continue with Google"), "{}", choice.text);
    let browser = signed_in(&platform, "google", "grace@example.test").await?;
    let grace = me(&platform, &browser).await?;
    assert_eq!((grace["email"].as_str(), grace["email_verified"].as_bool()), (Some("grace@example.test"), Some(true)));
    assert_eq!(grace["display_name"], "Grace H.");
    let own = identities(&platform, &browser).await?;
    assert_eq!((own[0]["issuer"].as_str(), own[0]["subject"].as_str()), (Some(&*provider.issuer), Some("grace-1")));
    assert_eq!((own[0]["provider"].as_str(), own[0]["provider_name"].as_str()), (Some("google"), Some("Google")));
    let again = signed_in(&platform, "google", "grace@example.test").await?;
    assert_eq!(me(&platform, &again).await?["id"], grace["id"]);
    Ok(())
}

#[tokio::test]
async fn every_way_to_sign_and_to_show_a_secret_that_the_provider_offers_works() -> Result<()> {
    let ways = [
        ("one", json!({ "id_token_signed_response_alg": "ES256" })),
        ("two", json!({ "id_token_signed_response_alg": "RS256" })),
        ("three", json!({ "token_endpoint_auth_method": "none" })),
    ];
    for (id, metadata) in ways {
        let settings = async |url: &str| {
            let mut settings = registered(url, id, metadata).await?;
            if id == "three" {
                settings.client_secret = None;
            }
            Ok(vec![settings])
        };
        let platform = Platform::start_with_providers(Clock::System, settings).await?;
        let browser = signed_in(&platform, id, "heidi@example.test").await.with_context(|| format!("way {id}"))?;
        assert_eq!(me(&platform, &browser).await?["email"], "heidi@example.test", "way {id}");
    }
    Ok(())
}

#[tokio::test]
async fn an_issuer_that_ends_in_a_slash_signs_people_in() -> Result<()> {
    let provider = OidcProvider::start(Path::new(env!("CARGO_TARGET_TMPDIR")), true)?;
    assert!(provider.issuer.ends_with('/'));
    let settings = async |url: &str| {
        let client = provider.register(&[&redirect_uri(url, "slash")], json!({})).await?;
        Ok(vec![openid("slash", &provider.issuer, &client)])
    };
    let platform = Platform::start_with_providers(Clock::System, settings).await?;
    let browser = signed_in(&platform, "slash", "ivan@example.test").await?;
    assert_eq!(identities(&platform, &browser).await?[0]["issuer"], provider.issuer);
    Ok(())
}

#[tokio::test]
async fn the_same_address_at_two_providers_is_two_people() -> Result<()> {
    let platform = acme().await?;
    let at_acme = signed_in(&platform, "acme", "judy@example.test").await?;
    let at_home = signed_in(&platform, "development", "judy@example.test").await?;
    let (one, other) = (me(&platform, &at_acme).await?, me(&platform, &at_home).await?);
    assert_eq!(one["email"], other["email"]);
    assert_ne!(one["id"], other["id"]);
    Ok(())
}

#[tokio::test]
async fn an_address_that_the_provider_has_not_verified_counts_for_nothing() -> Result<()> {
    let platform = acme().await?;
    let claims = json!({ "email_verified": false, "name": "Mallory" });
    shared()?.person("victim@example.test", "mallory-1", claims).await?;
    let mallory = me(&platform, &signed_in(&platform, "acme", "victim@example.test").await?).await?;
    assert_eq!(
        (mallory["email"].as_str(), mallory["email_verified"].as_bool()),
        (Some("victim@example.test"), Some(false))
    );
    // Access that is given to the address does not go to whoever merely says that it is theirs.
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let path = format!("/api/v1/workspaces/{workspace}/members");
    alice.api.post(&path, &json!({ "email": "victim@example.test" })).await?.expect(422)?;
    assert_eq!(items(&alice.api.get(&path).await?).len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_provider_at_which_the_person_says_no_signs_nobody_in() -> Result<()> {
    let platform = acme().await?;
    let browser = platform.browser();
    let page = come_back(&platform, &browser, "acme", "nobody").await?.expect(401)?;
    assert!(page.text.contains("access_denied"), "{}", page.text);
    assert!(!is_signed_in(&browser));
    Ok(())
}

/// A platform with two providers: the shared one and another of the same kind.
async fn two_providers(other: &OidcProvider) -> Result<Platform> {
    let settings = async |url: &str| {
        let client = other.register(&[&redirect_uri(url, "other")], json!({})).await?;
        Ok(vec![registered(url, "acme", json!({})).await?, openid("other", &other.issuer, &client)])
    };
    Platform::start_with_providers(Clock::System, settings).await
}

#[tokio::test]
async fn what_one_provider_answered_is_refused_as_the_answer_of_another() -> Result<()> {
    let other = OidcProvider::start(Path::new(env!("CARGO_TARGET_TMPDIR")), false)?;
    let platform = two_providers(&other).await?;
    // Brought to the other one's callback as it is: the attempt was for this one.
    let browser = platform.browser();
    let mut back = until_callback(&platform, &browser, "acme", "karl@example.test").await?;
    back.set_path("/auth/other/callback");
    browser.get(&back).await?.expect(401)?;
    assert!(!is_signed_in(&browser));
    // Code and issuer of one with the state of the other: the issuer shows it.
    let browser = platform.browser();
    let stolen = until_callback(&platform, &browser, "acme", "karl@example.test").await?;
    let back = until_callback(&platform, &browser, "other", "karl@example.test").await?;
    let mixed = with_parameter_of(&with_parameter_of(&back, &stolen, "code")?, &stolen, "iss")?;
    let page = browser.get(&mixed).await?.expect(401)?;
    assert!(page.text.contains("iss is not the provider"), "{}", page.text);
    assert!(!is_signed_in(&browser));
    // The code alone: the other one has never made it.
    let browser = platform.browser();
    let back = until_callback(&platform, &browser, "other", "karl@example.test").await?;
    let page = browser.get(&with_parameter_of(&back, &stolen, "code")?).await?.expect(401)?;
    assert!(page.text.contains("invalid_grant"), "{}", page.text);
    assert!(!is_signed_in(&browser));
    Ok(())
}

#[tokio::test]
async fn the_code_of_another_attempt_is_refused_by_the_provider_itself() -> Result<()> {
    let platform = acme().await?;
    let (attacker, victim) = (platform.browser(), platform.browser());
    let planted = until_callback(&platform, &attacker, "acme", "mallory@example.test").await?;
    let back = until_callback(&platform, &victim, "acme", "lena@example.test").await?;
    let page = victim.get(&with_parameter_of(&back, &planted, "code")?).await?.expect(401)?;
    assert!(page.text.contains("invalid_grant"), "{}", page.text);
    assert!(!is_signed_in(&victim));
    Ok(())
}

#[tokio::test]
async fn the_provider_sends_people_back_to_the_registered_address_and_to_no_other() -> Result<()> {
    let provider = shared()?;
    let registered_at = |url: &str| {
        [format!("{url}/auth/acme/callback/"), format!("{url}/auth/acme"), format!("{url}/auth/ACME/callback")]
    };
    let settings = async |url: &str| {
        let addresses = registered_at(url);
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let client = provider.register(&addresses, json!({})).await?;
        Ok(vec![openid("acme", &provider.issuer, &client)])
    };
    let platform = Platform::start_with_providers(Clock::System, settings).await?;
    let browser = platform.browser();
    let away = browser.get(&platform.at("/auth/acme/start")).await?.expect(303)?;
    let address = Url::parse(away.header("location"))?;
    let asked =
        address.query_pairs().find(|(name, _)| name == "redirect_uri").context("no redirect_uri")?.1.into_owned();
    assert_eq!(asked, redirect_uri(&platform.url, "acme"), "exactly this one");
    let page = browser.get(&address).await?.expect(400)?;
    assert!(page.text.contains("invalid_redirect_uri"), "{}", page.text);
    assert_eq!(page.header("location"), "");
    Ok(())
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_the_verifier_of_its_attempt() -> Result<()> {
    let provider = shared()?;
    let redirect_uri = "https://localhost:9/auth/acme/callback";
    let client = provider.register(&[redirect_uri], json!({})).await?;
    let us = RelyingParty {
        client_id: client.id,
        client_secret: Some(client.secret.into()),
        redirect_uri: redirect_uri.to_owned(),
        scopes: "openid email".to_owned(),
    };
    let http = Outbound::new(Reach { loopback: true, ..Reach::default() })?;
    let metadata = ProviderMetadata::discover(&http, &Issuer::parse(&provider.issuer)?).await?;
    let now = Clock::System.now().as_seconds();
    for thief in [false, true] {
        let mut attempt = LoginAttempt::start()?;
        let browser = hexabase_testkit::browser::Browser::new("")?;
        let address = us.authorization_url(&metadata, &attempt, None)?;
        let back = browser.open_signed_in_until(&address, "mike@example.test", redirect_uri).await?;
        if thief {
            attempt.code_verifier = LoginAttempt::start()?.code_verifier;
        }
        let callback = Callback::parse(back.query().unwrap_or_default())?;
        let outcome = us.finish(&http, &JwksCache::new(), &metadata, &callback, &attempt, now).await;
        match outcome {
            Ok(identity) => assert_eq!((thief, identity.email.as_deref()), (false, Some("mike@example.test"))),
            Err(ClientError::CodeRefused { code, .. }) => assert_eq!((thief, &*code), (true, "invalid_grant")),
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_configuration_is_told_from_a_provider_that_is_away() -> Result<()> {
    let provider = shared()?;
    let client = RegisteredClient { id: "x".to_owned(), secret: "y".to_owned() };
    let settings = async |url: &str| {
        let wrong_secret = ProviderConfig {
            client_secret: Some("wrong".to_owned().into()),
            ..registered(url, "secret", json!({})).await?
        };
        Ok(vec![
            openid("slash", &format!("{}/", provider.issuer), &client),
            openid("path", &provider.at("/no/such"), &client),
            openid("away", "http://127.0.0.1:1", &client),
            openid("private", "https://10.0.0.1", &client),
            openid("metadata", "https://169.254.169.254", &client),
            wrong_secret,
        ])
    };
    let platform = Platform::start_with_providers(Clock::System, settings).await?;
    for (id, sentence) in [
        ("slash", "the provider&#39;s configuration names another issuer"),
        ("path", "answered with status 404"),
        ("private", "leads to an address that is not public"),
        ("metadata", "leads to an address that is not public"),
    ] {
        let page = platform.browser().get(&platform.at(&format!("/auth/{id}/start"))).await?.expect(503)?;
        assert!(
            page.text.contains(sentence) && page.text.contains("trying again does not help"),
            "{id}: {}",
            page.text
        );
    }
    let page = platform.browser().get(&platform.at("/auth/away/start")).await?.expect(503)?;
    assert!(page.text.contains("The away does not answer; try again in a moment"), "{}", page.text);
    let page = come_back(&platform, &platform.browser(), "secret", "nina@example.test").await?.expect(503)?;
    assert!(page.text.contains("invalid_client") && page.text.contains("does not help"), "{}", page.text);
    Ok(())
}

#[tokio::test]
async fn a_new_sign_in_that_a_client_wants_is_a_new_one_at_the_provider_too() -> Result<()> {
    let settings = async |url: &str| Ok(vec![registered(url, "acme", json!({})).await?]);
    let platform = Platform::start_with_providers(Clock::standing_at(Clock::System.now()), settings).await?;
    let browser = signed_in(&platform, "acme", "olga@example.test").await?;
    pass(&platform, 5);
    let request = platform.at(&format!("{AUTHORIZE}&prompt=login"));
    let away = browser.get(&request).await?.expect(303)?;
    let sign_in = platform.at("/").join(away.header("location"))?;
    // The provider would not ask anything: whoever takes the demand out of the address is asked once more.
    let mut start = platform.at("/auth/acme/start");
    start.query_pairs_mut().extend_pairs(sign_in.query_pairs().filter(|(name, _)| name != "prompt"));
    let callback = platform.at("/auth/acme/callback");
    let back = browser.open_signed_in_until(start.as_str(), "olga@example.test", callback.as_str()).await?;
    let answer = browser.get(&back).await?.expect(303)?;
    let answer = browser.get(&platform.at("/").join(answer.header("location"))?).await?.expect(303)?;
    assert!(answer.header("location").starts_with("/sign-in?"), "{answer:?}");
    // Asked as it is to be, the provider has her sign in.
    start.set_query(sign_in.query());
    let asked = browser.get(&start).await?.expect(303)?;
    assert!(asked.header("location").contains("prompt=login&max_age=0"), "{asked:?}");
    let back = browser.open_signed_in_until(start.as_str(), "olga@example.test", callback.as_str()).await?;
    let end = browser.open_signed_in_until(back.as_str(), "olga@example.test", "http://127.0.0.1:9/callback").await?;
    assert!(end.query_pairs().any(|(name, _)| name == "code"), "{end}");
    Ok(())
}
