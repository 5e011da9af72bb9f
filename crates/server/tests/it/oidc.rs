use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hexabase_oidc::jwt::Typ;
use hexabase_testkit::http::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::support::{Person, Platform, SESSION_COOKIE, claims, exchange, oauth_error, pass, problem, refresh, text};

/// The example of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT_URI: &str = "http://127.0.0.1:4711/callback";

type Pairs = BTreeMap<String, String>;

fn pairs(url: &Url) -> Pairs {
    url.query_pairs().into_owned().collect()
}

/// A good authorisation request with some parameters changed; an empty one is left out.
fn request(platform: &Platform, realm: &str, changes: &[(&str, &str)]) -> Url {
    let mut parameters = BTreeMap::from([
        ("response_type", "code"),
        ("client_id", "hxb"),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "openid profile email offline_access"),
        ("state", "a state"),
        ("nonce", "a nonce"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    parameters.extend(changes.iter().copied());
    let mut url = platform.at(&format!("/oidc/{realm}/authorize"));
    url.query_pairs_mut().extend_pairs(parameters.into_iter().filter(|(_, value)| !value.is_empty()));
    url
}

async fn code(platform: &Platform, person: &Person, realm: &str) -> Result<String> {
    let url = request(platform, realm, &[]);
    let back = person.browser.open_signed_in_until(url.as_str(), &person.email, REDIRECT_URI).await?;
    pairs(&back).remove("code").with_context(|| format!("no code in {back}"))
}

/// A good token request with some parameters changed; an empty one is left out.
async fn redeem(platform: &Platform, realm: &str, code: &str, changes: &[(&str, &str)]) -> Result<Answer> {
    let mut form = BTreeMap::from([
        ("grant_type", "authorization_code"),
        ("client_id", "hxb"),
        ("redirect_uri", REDIRECT_URI),
        ("code", code),
        ("code_verifier", VERIFIER),
    ]);
    form.extend(changes.iter().copied());
    let form: Vec<_> = form.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    platform.nobody().post_form(&format!("/oidc/{realm}/token"), &form).await
}

async fn me(platform: &Platform, token: &str) -> Result<Answer> {
    platform.nobody().with_token(token).get("/api/v1/me").await
}

async fn discovery(platform: &Platform, base: &str, realm: &str) -> Result<Value> {
    let url = format!("{base}/oidc/{realm}/.well-known/openid-configuration");
    platform.nobody().get(&url).await?.expect(200)?.json()
}

// Discovery

#[tokio::test]
async fn discovery_says_where_everything_of_an_issuer_is() -> Result<()> {
    let platform = Platform::start().await?;
    let workspace = platform.person("alice").await?.workspace("shop").await?;
    for realm in ["platform", &workspace] {
        let document = discovery(&platform, &platform.url, realm).await?;
        let issuer = platform.issuer(realm);
        assert_eq!(document["issuer"], issuer);
        let endpoints = document.as_object().context("an object")?;
        let endpoints = endpoints.iter().filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri");
        let mut found = 0;
        for (name, url) in endpoints {
            assert!(text(url).starts_with(&format!("{issuer}/")), "{name}: {url}");
            // Says no more than is mounted.
            assert_ne!(platform.nobody().get(&text(url)).await?.status, 404, "{name}: {url}");
            found += 1;
        }
        assert!(found >= 6, "{document}");
        let algorithms = document["id_token_signing_alg_values_supported"].to_string();
        assert!(algorithms.contains("RS256") && algorithms.contains("ES256"), "{algorithms}");
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    }
    for realm in ["nobody", "ws-1", "../platform", ""] {
        let url = format!("{}/oidc/{realm}/.well-known/openid-configuration", platform.url);
        platform.nobody().get(&url).await?.expect(404)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_cluster_listener_sends_api_servers_to_itself_for_the_keys() -> Result<()> {
    let platform = Platform::start().await?;
    let workspace = platform.person("alice").await?.workspace("shop").await?;
    let document = discovery(&platform, &platform.cluster_url, &workspace).await?;
    assert_eq!(document["issuer"], platform.issuer(&workspace), "the issuer is the same under both addresses");
    let jwks = text(&document["jwks_uri"]);
    assert_eq!(jwks, format!("{}/oidc/{workspace}/jwks", platform.cluster_url));
    let there = platform.nobody().get(&jwks).await?.expect(200)?.json()?;
    let here = platform.nobody().get(&format!("/oidc/{workspace}/jwks")).await?.expect(200)?.json()?;
    assert_eq!(there, here);
    Ok(())
}

#[tokio::test]
async fn the_cluster_listener_serves_nothing_but_discovery_and_keys() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let token = alice.workspace_token(&platform, &workspace).await?;
    for path in [
        "/",
        "/sign-in",
        "/device",
        "/api/v1/me",
        "/openapi.json",
        "/oidc/platform/authorize",
        "/oidc/platform/token",
        "/auth/development/start",
        "/k8s/x/version",
        &format!("/k8s/{workspace}/version"),
    ] {
        let url = format!("{}{path}", platform.cluster_url);
        assert_eq!(platform.nobody().with_token(&token).get(&url).await?.status, 404, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_published_keys_hold_nothing_private() -> Result<()> {
    let platform = Platform::start().await?;
    let answer = platform.nobody().get("/oidc/platform/jwks").await?.expect(200)?;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let keys = answer.json()?;
    let keys = keys["keys"].as_array().context("no keys")?;
    assert_eq!(keys.len(), 2);
    for key in keys {
        let names: Vec<&String> = key.as_object().context("a key")?.keys().collect();
        for private in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
            assert!(!names.iter().any(|name| *name == private), "{names:?}");
        }
        assert!(key["kid"].is_string() && key["use"] == "sig", "{key}");
    }
    Ok(())
}

// The authorization code flow

#[tokio::test]
async fn a_program_gets_tokens_for_a_code() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let url = request(&platform, "platform", &[]);
    let back = alice.browser.open_signed_in_until(url.as_str(), &alice.email, REDIRECT_URI).await?;
    let mut back = pairs(&back);
    assert_eq!(back["state"], "a state");
    assert_eq!(back["iss"], platform.issuer("platform"));
    let code = back.remove("code").context("no code")?;
    let answer = redeem(&platform, "platform", &code, &[]).await?.expect(200)?;
    assert_eq!(answer.header("cache-control"), "no-store");
    let tokens = answer.json()?;
    assert_eq!(tokens["token_type"].as_str().map(str::to_ascii_lowercase).as_deref(), Some("bearer"));
    assert!(text(&tokens["refresh_token"]).starts_with("hxr_"));
    let access = text(&tokens["access_token"]);
    let said = claims(&access)?;
    assert_eq!(said["iss"], platform.issuer("platform"));
    assert_eq!((said["aud"].as_str(), said["sub"].as_str()), (Some("hexabase"), Some(&*alice.id)));
    assert_eq!(said["client_id"], "hxb");
    assert_eq!(said["exp"].as_i64().zip(said["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(600));
    assert_eq!(me(&platform, &access).await?.expect(200)?.json()?["id"], alice.id);
    Ok(())
}

#[tokio::test]
async fn any_port_of_a_loopback_redirect_address_will_do() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for address in ["http://127.0.0.1:1/callback", "http://localhost:65535/callback", "http://[::1]:8080/callback"] {
        let url = request(&platform, "platform", &[("redirect_uri", address)]);
        let back = alice.browser.open_signed_in_until(url.as_str(), &alice.email, address).await?;
        let code = pairs(&back).remove("code").context("no code")?;
        redeem(&platform, "platform", &code, &[("redirect_uri", address)]).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_was_not_registered() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for changes in [
        [("redirect_uri", "https://evil.example/callback")],
        [("redirect_uri", "http://127.0.0.1:4711/other")],
        [("redirect_uri", "http://127.0.0.1.evil.example/callback")],
        [("redirect_uri", "http://127.0.0.1@evil.example/callback")],
        [("redirect_uri", "http://127.0.0.1:4711/callback?more=1")],
        [("redirect_uri", "http://127.0.0.1:4711/callback#part")],
        [("redirect_uri", "https://127.0.0.1:4711/callback")],
        [("redirect_uri", "javascript:alert(1)")],
        [("redirect_uri", "")],
        [("client_id", "somebody")],
        [("client_id", "")],
    ] {
        let answer = alice.browser.get(&request(&platform, "platform", &changes)).await?;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{changes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_authorization_request_is_answered_to_the_client_with_the_reason() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for (change, code) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", "id_token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("response_mode", "fragment"), "invalid_request"),
        (("request", "e30.e30."), "request_not_supported"),
        (("request_uri", "https://evil.example/r"), "request_uri_not_supported"),
        (("prompt", "none login"), "invalid_request"),
    ] {
        let answer = alice.browser.get(&request(&platform, "platform", &[change])).await?;
        let location = answer.header("location").to_owned();
        assert!(location.starts_with(REDIRECT_URI), "{change:?}: {} {location}", answer.status);
        let back = pairs(&Url::parse(&location)?);
        assert_eq!((&*back["error"], &*back["state"]), (code, "a state"), "{change:?}");
        assert_eq!(back["iss"], platform.issuer("platform"));
        assert!(!back.contains_key("code"));
    }
    Ok(())
}

#[tokio::test]
async fn a_program_that_may_show_no_page_is_told_that_nobody_is_signed_in() -> Result<()> {
    let platform = Platform::start().await?;
    let answer = platform.browser().get(&request(&platform, "platform", &[("prompt", "none")])).await?;
    let back = pairs(&Url::parse(answer.header("location"))?);
    assert_eq!(back["error"], "login_required");
    let alice = platform.person("alice").await?;
    let answer = alice.browser.get(&request(&platform, "platform", &[("prompt", "none")])).await?;
    assert!(pairs(&Url::parse(answer.header("location"))?).contains_key("code"));
    Ok(())
}

#[tokio::test]
async fn a_code_that_is_used_twice_ends_what_its_first_use_gave() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let code = code(&platform, &alice, "platform").await?;
    let tokens = redeem(&platform, "platform", &code, &[]).await?.expect(200)?.json()?;
    me(&platform, &text(&tokens["access_token"])).await?.expect(200)?;
    assert_eq!(oauth_error(&redeem(&platform, "platform", &code, &[]).await?), "invalid_grant");
    problem(&me(&platform, &text(&tokens["access_token"])).await?, 401, "unauthenticated");
    assert_eq!(oauth_error(&refresh(&platform, &text(&tokens["refresh_token"])).await?), "invalid_grant");
    // Nothing else of hers has ended.
    alice.api.get("/api/v1/me").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn of_ten_uses_of_a_code_at_once_none_gives_lasting_access() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let code = code(&platform, &alice, "platform").await?;
        let answers = futures::future::try_join_all((0..10).map(|_| redeem(&platform, "platform", &code, &[]))).await?;
        let good: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert!(good.len() <= 1, "{answers:?}");
        for answer in good {
            problem(&me(&platform, &text(&answer.json()?["access_token"])).await?, 401, "unauthenticated");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_code_is_good_for_its_own_request_only() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let other_verifier = "x".repeat(43);
    for (change, error) in [
        (("code_verifier", other_verifier.as_str()), "invalid_grant"),
        (("redirect_uri", "http://127.0.0.1:4712/callback"), "invalid_grant"),
        (("redirect_uri", "http://localhost:4711/callback"), "invalid_grant"),
    ] {
        let code = code(&platform, &alice, "platform").await?;
        assert_eq!(oauth_error(&redeem(&platform, "platform", &code, &[change]).await?), error, "{change:?}");
        // It is spent.
        assert_eq!(oauth_error(&redeem(&platform, "platform", &code, &[]).await?), "invalid_grant", "{change:?}");
    }
    // A code of one issuer at another one, and of one client for another one.
    let platforms = code(&platform, &alice, "platform").await?;
    assert_eq!(oauth_error(&redeem(&platform, &workspace, &platforms, &[]).await?), "invalid_grant");
    let workspaces = code(&platform, &alice, &workspace).await?;
    let client = [("client_id", workspace.as_str())];
    assert_eq!(oauth_error(&redeem(&platform, &workspace, &workspaces, &client).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn a_token_request_that_is_not_one_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let code = code(&platform, &alice, "platform").await?;
    for (change, error) in [
        (("client_id", "somebody"), "invalid_client"),
        (("client_id", ""), "invalid_request"),
        (("code_verifier", ""), "invalid_request"),
        (("code_verifier", "short"), "invalid_request"),
        (("redirect_uri", ""), "invalid_request"),
        (("grant_type", ""), "invalid_request"),
        (("grant_type", "password"), "unsupported_grant_type"),
        (("grant_type", "client_credentials"), "unsupported_grant_type"),
        (("grant_type", "implicit"), "unsupported_grant_type"),
    ] {
        let answer = redeem(&platform, "platform", &code, &[change]).await?;
        assert_eq!(oauth_error(&answer), error, "{change:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let nobody = platform.nobody();
    let json = nobody.post("/oidc/platform/token", &json!({ "grant_type": "authorization_code" })).await?;
    assert_eq!(oauth_error(&json), "invalid_request");
    let twice = format!("grant_type=authorization_code&code={code}&code={code}&client_id=hxb");
    let form = nobody.request(Method::POST, "/oidc/platform/token");
    let form = form.header("content-type", "application/x-www-form-urlencoded").body(twice);
    assert_eq!(oauth_error(&nobody.send(form).await?), "invalid_request");
    // None of these used the code up.
    redeem(&platform, "platform", &code, &[]).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_code_is_too_old_after_a_minute() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let code = code(&platform, &alice, "platform").await?;
    pass(&platform, 61);
    assert_eq!(oauth_error(&redeem(&platform, "platform", &code, &[]).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn kubectl_can_sign_in_to_a_workspace_by_itself() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    // kubelogin calls itself what the token's audience must be.
    for client in ["hxb", workspace.as_str()] {
        let url = request(&platform, &workspace, &[("client_id", client)]);
        let back = alice.browser.open_signed_in_until(url.as_str(), &alice.email, REDIRECT_URI).await?;
        let code = pairs(&back).remove("code").context("no code")?;
        let tokens = redeem(&platform, &workspace, &code, &[("client_id", client)]).await?.expect(200)?.json()?;
        let id_token = claims(&text(&tokens["id_token"]))?;
        assert_eq!((id_token["aud"].as_str(), id_token["nonce"].as_str()), (Some(&*workspace), Some("a nonce")));
        assert_eq!(id_token["sub"], alice.id);
    }
    Ok(())
}

#[tokio::test]
async fn a_stranger_gets_no_code_for_a_workspace() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, mallory) = (platform.person("alice").await?, platform.person("mallory").await?);
    let workspace = alice.workspace("shop").await?;
    for realm in [workspace.as_str(), "ws-00000000000000000000"] {
        let answer = mallory.browser.get(&request(&platform, realm, &[])).await?;
        let back = pairs(&Url::parse(answer.header("location"))?);
        assert_eq!(back["error"], "access_denied", "{realm}");
    }
    Ok(())
}

// Refresh tokens

#[tokio::test]
async fn refreshing_gives_a_new_refresh_token_each_time() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let mut token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    for _ in 0..5 {
        pass(&platform, 3600);
        let tokens = refresh(&platform, &token).await?.expect(200)?.json()?;
        me(&platform, &text(&tokens["access_token"])).await?.expect(200)?;
        let next = text(&tokens["refresh_token"]);
        assert_ne!(next, token);
        token = next;
    }
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_that_is_used_again_much_later_ends_the_session() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let stolen = alice.tokens.refresh_token.clone().context("no refresh token")?;
    let tokens = refresh(&platform, &stolen).await?.expect(200)?.json()?;
    pass(&platform, 31);
    assert_eq!(oauth_error(&refresh(&platform, &stolen).await?), "invalid_grant");
    // Neither the thief nor the owner goes on: who is who cannot be told.
    assert_eq!(oauth_error(&refresh(&platform, &text(&tokens["refresh_token"])).await?), "invalid_grant");
    problem(&me(&platform, &text(&tokens["access_token"])).await?, 401, "unauthenticated");
    problem(&alice.api.get("/api/v1/me").await?, 401, "unauthenticated");
    // The browser is another session.
    alice.browser.get(&platform.at("/api/v1/me")).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_program_that_lost_an_answer_may_ask_once_more_within_half_a_minute() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    let lost = refresh(&platform, &token).await?.expect(200)?.json()?;
    pass(&platform, 29);
    let again = refresh(&platform, &token).await?.expect(200)?.json()?;
    pass(&platform, 60);
    for tokens in [lost, again] {
        let next = refresh(&platform, &text(&tokens["refresh_token"])).await?.expect(200)?.json()?;
        me(&platform, &text(&next["access_token"])).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_that_refresh_at_once_are_all_answered() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let token = alice.tokens.refresh_token.clone().context("no refresh token")?;
        let answers = futures::future::try_join_all((0..8).map(|_| refresh(&platform, &token))).await?;
        for answer in answers {
            let tokens = answer.expect(200)?.json()?;
            me(&platform, &text(&tokens["access_token"])).await?.expect(200)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_that_refresh_at_once_all_stay_signed_in() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    let answers = futures::future::try_join_all((0..8).map(|_| refresh(&platform, &token))).await?;
    pass(&platform, 60);
    for answer in answers {
        let tokens = answer.expect(200)?.json()?;
        me(&platform, &text(&tokens["access_token"])).await?.expect(200)?;
        refresh(&platform, &text(&tokens["refresh_token"])).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_is_good_for_its_own_client_and_issuer_only() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    let form = [("grant_type", "refresh_token"), ("client_id", "hxb"), ("refresh_token", token.as_str())];
    let answer = platform.nobody().post_form(&format!("/oidc/{workspace}/token"), &form).await?;
    assert_eq!(oauth_error(&answer), "invalid_grant");
    for bad in ["", "hxr_", &token[..token.len() - 1], &format!("{token}A"), alice.api.token()] {
        let error = oauth_error(&refresh(&platform, bad).await?);
        assert!(["invalid_grant", "invalid_request"].contains(&error.as_str()), "{error}");
    }
    refresh(&platform, &token).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_program_that_is_not_used_for_a_month_is_signed_out() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    pass(&platform, 29 * 24 * 3600);
    let token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    let tokens = refresh(&platform, &token).await?.expect(200)?.json()?;
    pass(&platform, 29 * 24 * 3600);
    let tokens = refresh(&platform, &text(&tokens["refresh_token"])).await?.expect(200)?.json()?;
    pass(&platform, 30 * 24 * 3600 + 1);
    assert_eq!(oauth_error(&refresh(&platform, &text(&tokens["refresh_token"])).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_the_session() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let nobody = platform.nobody();
    let token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    // An unknown token is no error, so that nobody learns which ones exist.
    nobody.post_form("/oidc/platform/revoke", &[("token", "hxr_unknown"), ("client_id", "hxb")]).await?.expect(200)?;
    alice.api.get("/api/v1/me").await?.expect(200)?;
    nobody.post_form("/oidc/platform/revoke", &[("token", &token), ("client_id", "hxb")]).await?.expect(200)?;
    problem(&alice.api.get("/api/v1/me").await?, 401, "unauthenticated");
    assert_eq!(oauth_error(&refresh(&platform, &token).await?), "invalid_grant");
    assert_eq!(
        oauth_error(&nobody.post_form("/oidc/platform/revoke", &[("client_id", "hxb")]).await?),
        "invalid_request"
    );
    Ok(())
}

// The device flow

async fn begin(platform: &Platform) -> Result<Value> {
    let form = [("client_id", "hxb"), ("scope", "openid offline_access")];
    platform.nobody().post_form("/oidc/platform/device_authorization", &form).await?.expect(200)?.json()
}

async fn poll(platform: &Platform, begun: &Value) -> Result<Answer> {
    let code = text(&begun["device_code"]);
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let form = [("grant_type", grant), ("client_id", "hxb"), ("device_code", &code)];
    platform.nobody().post_form("/oidc/platform/token", &form).await
}

#[tokio::test]
async fn a_device_is_signed_in_once_its_code_is_confirmed_elsewhere() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let begun = begin(&platform).await?;
    assert_eq!(begun["verification_uri"], format!("{}/device", platform.url));
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "authorization_pending");
    let page = platform
        .browser()
        .decide_device(&text(&begun["verification_uri_complete"]), "alice@example.test", true)
        .await?;
    page.answer.expect(200)?;
    pass(&platform, 2);
    let tokens = poll(&platform, &begun).await?.expect(200)?.json()?;
    assert_eq!(
        me(&platform, &text(&tokens["access_token"])).await?.expect(200)?.json()?["email"],
        "alice@example.test"
    );
    refresh(&platform, &text(&tokens["refresh_token"])).await?.expect(200)?;
    // Once.
    pass(&platform, 10);
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn a_device_whose_code_is_refused_is_told_so() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let begun = begin(&platform).await?;
    let address = text(&begun["verification_uri_complete"]);
    platform.browser().decide_device(&address, "alice@example.test", false).await?.answer.expect(200)?;
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "access_denied");
    // Nobody can change that.
    assert!(platform.browser().decide_device(&address, "alice@example.test", true).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_device_that_asks_too_often_is_told_to_slow_down() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let begun = begin(&platform).await?;
    let interval = begun["interval"].as_i64().context("no interval")?;
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "authorization_pending");
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "slow_down");
    pass(&platform, interval);
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "slow_down", "the interval has grown by five seconds");
    pass(&platform, interval + 10);
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "authorization_pending");
    Ok(())
}

#[tokio::test]
async fn a_device_code_is_too_old_after_ten_minutes() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let begun = begin(&platform).await?;
    pass(&platform, 601);
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "expired_token");
    let page =
        platform.browser().open_signed_in(&text(&begun["verification_uri_complete"]), "alice@example.test").await?;
    page.answer.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn another_site_cannot_confirm_a_device() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let victim = platform.person("alice").await?;
    let begun = begin(&platform).await?;
    let form = [("user_code", text(&begun["user_code"])), ("decision", "agree".to_owned())];
    for origin in [None, Some("https://evil.example"), Some("null")] {
        let with = |request: reqwest::RequestBuilder| match origin {
            Some(origin) => request.header("origin", origin).form(&form),
            None => request.form(&form),
        };
        victim.browser.request(Method::POST, &platform.at("/device"), with).await?.expect(403)?;
    }
    // A link confirms nothing either.
    victim.browser.get(&platform.at(&format!("/device?user_code={}&decision=agree", form[0].1))).await?.expect(200)?;
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "authorization_pending");
    Ok(())
}

#[tokio::test]
async fn nobody_confirms_a_device_without_signing_in() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let begun = begin(&platform).await?;
    let form = [("user_code".to_owned(), text(&begun["user_code"])), ("decision".to_owned(), "agree".to_owned())];
    let answer = platform.browser().post(&platform.at("/device"), &form).await?.expect(303)?;
    assert_eq!(answer.header("location"), "/sign-in");
    assert_eq!(oauth_error(&poll(&platform, &begun).await?), "authorization_pending");
    Ok(())
}

#[tokio::test]
async fn a_code_that_no_device_shows_confirms_nothing() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for (code, status) in [("BCDF-GHJK", 404), ("nonsense", 400), ("<script>", 400)] {
        let mut url = platform.at("/device");
        url.query_pairs_mut().append_pair("user_code", code);
        let page = alice.browser.get(&url).await?.expect(status)?;
        assert!(!page.text.contains("<script"));
        let form = [("user_code".to_owned(), code.to_owned()), ("decision".to_owned(), "agree".to_owned())];
        alice.browser.post(&platform.at("/device"), &form).await?.expect(status)?;
    }
    Ok(())
}

// Token exchange: what kubectl's plugin does

#[tokio::test]
async fn a_member_gets_a_token_that_says_who_they_are_in_that_workspace() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let answer = alice.exchange(&platform, &workspace).await?.expect(200)?;
    assert_eq!(answer.header("cache-control"), "no-store");
    let answer = answer.json()?;
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:jwt");
    assert_eq!(answer["expires_in"], 600);
    assert!(answer.get("refresh_token").is_none(), "{answer}");
    let said = claims(&text(&answer["access_token"]))?;
    assert_eq!(said["iss"], platform.issuer(&workspace));
    assert_eq!(said["aud"], workspace);
    assert_eq!(said["ws"], workspace);
    assert_eq!(said["sub"], alice.id);
    assert_eq!(said["token_use"], "workspace");
    assert_eq!(said["email"], alice.email);
    // WSAdmins as chosen, WorkspaceMembers above it.
    assert_eq!(said["groups"], json!(["WSAdmins", "WorkspaceMembers"]));
    assert_eq!(said["exp"].as_i64().zip(said["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(600));
    Ok(())
}

#[tokio::test]
async fn groups_in_a_token_are_those_of_the_moment() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let groups = || async { anyhow::Ok(claims(&bob.workspace_token(&platform, &workspace).await?)?["groups"].clone()) };
    assert_eq!(groups().await?, json!(["WSUsers", "WorkspaceMembers"]));
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    assert_eq!(groups().await?, json!(["WSAdmins", "WSUsers", "WorkspaceMembers"]));
    // Groups of another workspace do not count here.
    let own = bob.workspace("own").await?;
    bob.add(&own, &alice.id, &[]).await?.expect(201)?;
    assert_eq!(
        claims(&alice.workspace_token(&platform, &own).await?)?["groups"],
        json!(["WSUsers", "WorkspaceMembers"])
    );
    Ok(())
}

#[tokio::test]
async fn a_stranger_and_a_removed_member_get_no_token() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    let refused = |answer: Answer| (answer.status, answer.text);
    let stranger = refused(bob.exchange(&platform, &workspace).await?);
    let absent = refused(bob.exchange(&platform, "ws-00000000000000000000").await?);
    assert_eq!(stranger, absent, "a stranger does not learn which workspaces exist");
    assert_eq!(stranger.0, 400);
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    bob.exchange(&platform, &workspace).await?.expect(200)?;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    assert_eq!(oauth_error(&bob.exchange(&platform, &workspace).await?), "access_denied");
    Ok(())
}

#[tokio::test]
async fn an_admin_of_the_organization_who_has_no_access_to_a_workspace_gets_no_token() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    alice.remove(&workspace, &alice.id).await?.expect(204)?;
    assert_eq!(oauth_error(&alice.exchange(&platform, &workspace).await?), "access_denied");
    // She still administers it, and can give herself access, which everybody can see.
    alice.add(&workspace, &alice.id, &[]).await?.expect(201)?;
    alice.exchange(&platform, &workspace).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn only_an_access_token_of_the_platform_is_exchanged_and_only_for_a_workspaces() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    let other = bob.workspace("other").await?;
    bob.add(&other, &alice.id, &[]).await?.expect(201)?;
    let workspaces = alice.workspace_token(&platform, &workspace).await?;
    let refresh_token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    for token in [workspaces.as_str(), &refresh_token, "", "garbage", "a.b.c"] {
        for realm in [workspace.as_str(), &other] {
            let answer = exchange(&platform, realm, token).await?;
            assert!(["invalid_grant", "invalid_request"].contains(&oauth_error(&answer).as_str()), "{}", answer.text);
        }
    }
    assert_eq!(oauth_error(&exchange(&platform, "platform", alice.api.token()).await?), "invalid_request");
    // A browser's cookie is no token.
    let cookie = alice.browser.cookie("localhost", SESSION_COOKIE).context("no session")?;
    assert_eq!(oauth_error(&exchange(&platform, &workspace, &cookie).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn an_ended_session_gets_no_token() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    platform
        .nobody()
        .post_form("/oidc/platform/revoke", &[("token", &token), ("client_id", "hxb")])
        .await?
        .expect(200)?;
    assert_eq!(oauth_error(&alice.exchange(&platform, &workspace).await?), "invalid_grant");
    Ok(())
}

#[tokio::test]
async fn a_deleted_workspace_gives_no_tokens() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}")).await?.expect(202)?;
    assert_eq!(oauth_error(&alice.exchange(&platform, &workspace).await?), "access_denied");
    Ok(())
}

// Which token is good where

#[tokio::test]
async fn every_token_is_good_at_its_own_place_and_nowhere_else() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let (one, two) = (alice.workspace("one").await?, alice.workspace("two").await?);
    let (of_one, of_two) =
        (alice.workspace_token(&platform, &one).await?, alice.workspace_token(&platform, &two).await?);
    let refresh_token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    let cookie = alice.browser.cookie("localhost", SESSION_COOKIE).context("no session")?;
    let tokens = [
        ("the platform's", alice.api.token()),
        ("one's", &of_one),
        ("two's", &of_two),
        ("a refresh token", &refresh_token),
        ("a cookie", &cookie),
    ];
    // A gateway without an upstream answers 503 to whoever may pass.
    let places = [
        ("/api/v1/me".to_owned(), "the platform's", 200),
        ("/oidc/platform/userinfo".to_owned(), "the platform's", 200),
        (format!("/oidc/{one}/userinfo"), "one's", 200),
        (format!("/oidc/{two}/userinfo"), "two's", 200),
        (format!("/k8s/{one}/version"), "one's", 503),
        (format!("/k8s/{two}/version"), "two's", 503),
    ];
    for (path, own, passes) in places {
        for (whose, token) in tokens {
            let answer = platform.nobody().with_token(token).get(&path).await?;
            let expected = if whose == own { passes } else { 401 };
            assert_eq!(answer.status, expected, "{whose} token at {path}: {}", answer.text);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_token_that_the_platform_signed_with_other_claims_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let good = claims(alice.api.token())?;
    let forge = |changes: Value, typ: Typ| {
        let mut said = good.clone();
        for (name, value) in changes.as_object().cloned().unwrap_or_default() {
            if value.is_null() {
                said.as_object_mut().map(|said| said.remove(&name));
            } else {
                said[name] = value;
            }
        }
        let platform = &platform;
        async move { platform.forge(&said, typ).await }
    };
    // The forgery itself works.
    me(&platform, &forge(json!({}), Typ::AccessToken).await?).await?.expect(200)?;
    let now = platform.clock.now().as_seconds();
    let workspace = alice.workspace("shop").await?;
    let session_of_bob = claims(bob.api.token())?["sid"].clone();
    for changes in [
        json!({ "aud": workspace }),
        json!({ "aud": "somebody" }),
        json!({ "aud": "" }),
        json!({ "aud": null }),
        json!({ "iss": platform.issuer(&workspace) }),
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": format!("{}/", platform.issuer("platform")) }),
        json!({ "exp": now - 1, "iat": now - 601 }),
        json!({ "exp": now + 100_000 }),
        json!({ "exp": null }),
        json!({ "iat": now + 3600, "exp": now + 4200 }),
        json!({ "nbf": now + 300 }),
        json!({ "sid": "ses-00000000000000000000" }),
        json!({ "sid": session_of_bob }),
        json!({ "sid": null }),
        json!({ "sub": bob.id }),
        json!({ "sub": "" }),
        json!({ "token_use": "workspace" }),
        json!({ "token_use": null }),
    ] {
        let token = forge(changes.clone(), Typ::AccessToken).await?;
        problem(&me(&platform, &token).await?, 401, "unauthenticated");
    }
    problem(&me(&platform, &forge(json!({}), Typ::Jwt).await?).await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn a_token_that_the_platform_did_not_sign_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let stranger = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let good = alice.api.token();
    let parts: Vec<&str> = good.split('.').collect();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0])?)?;
    let with_header = |changes: Value, signature: &str| {
        let mut header = header.clone();
        for (name, value) in changes.as_object().cloned().unwrap_or_default() {
            header[name] = value;
        }
        format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()), parts[1])
    };
    let elsewhere = stranger.forge(&claims(good)?, Typ::AccessToken).await?;
    let flipped = format!("{}{}", if parts[2].starts_with('A') { "B" } else { "A" }, &parts[2][1..]);
    for token in [
        with_header(json!({ "alg": "none" }), ""),
        with_header(json!({ "alg": "none" }), parts[2]),
        with_header(json!({ "alg": "HS256" }), parts[2]),
        with_header(json!({ "alg": "RS256" }), parts[2]),
        with_header(json!({ "kid": "another" }), parts[2]),
        with_header(json!({ "jwk": { "kty": "oct", "k": "AAAA" } }), parts[2]),
        with_header(json!({ "jku": "https://evil.example/jwks" }), parts[2]),
        with_header(json!({ "crit": ["exp"] }), parts[2]),
        with_header(json!({ "typ": "JWT" }), parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.{flipped}", parts[0], parts[1]),
        format!("{good}.{}", parts[2]),
        format!("{good}="),
        elsewhere,
        "x".repeat(9000),
    ] {
        let answer = me(&platform, &token).await?;
        problem(&answer, 401, "unauthenticated");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_access_token_is_over_after_ten_minutes() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let of_workspace = alice.workspace_token(&platform, &workspace).await?;
    pass(&platform, 599);
    alice.api.get("/api/v1/me").await?.expect(200)?;
    let gateway = || platform.nobody().with_token(&of_workspace);
    let path = format!("/k8s/{workspace}/version");
    gateway().get(&path).await?.expect(503)?;
    pass(&platform, 2);
    problem(&alice.api.get("/api/v1/me").await?, 401, "unauthenticated");
    gateway().get(&path).await?.expect(401)?;
    Ok(())
}

#[tokio::test]
async fn the_bearer_of_an_access_token_can_ask_who_they_are() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for method in [Method::GET, Method::POST] {
        let answer = alice.api.send(alice.api.request(method, "/oidc/platform/userinfo")).await?.expect(200)?;
        assert_eq!(answer.header("cache-control"), "no-store");
        let said = answer.json()?;
        assert_eq!((said["sub"].as_str(), said["email"].as_str()), (Some(&*alice.id), Some(&*alice.email)));
        assert_eq!((said["email_verified"].as_bool(), said["name"].as_str()), (Some(true), Some("Alice Example")));
    }
    let refused = platform.nobody().get("/oidc/platform/userinfo").await?.expect(401)?;
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    Ok(())
}

// Several servers

#[tokio::test]
async fn two_servers_on_one_database_accept_each_others_tokens() -> Result<()> {
    let one = Platform::start().await?;
    let two = one.replica().await?;
    let alice = one.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let there = two.nobody().with_token(alice.api.token());
    assert_eq!(there.get("/api/v1/me").await?.expect(200)?.json()?["id"], alice.id);
    // A sign-in that began at one server can end at the other, and so can everything else that is carried along.
    alice.browser.get(&two.at("/api/v1/me")).await?.expect(200)?;
    let token = alice.tokens.refresh_token.clone().context("no refresh token")?;
    let tokens = refresh(&two, &token).await?.expect(200)?.json()?;
    me(&one, &text(&tokens["access_token"])).await?.expect(200)?;
    let code = code(&one, &alice, "platform").await?;
    redeem(&two, "platform", &code, &[]).await?.expect(200)?;
    assert_eq!(oauth_error(&redeem(&one, "platform", &code, &[]).await?), "invalid_grant");
    let of_workspace = text(&exchange(&two, &workspace, alice.api.token()).await?.expect(200)?.json()?["access_token"]);
    one.nobody().with_token(&of_workspace).get(&format!("/k8s/{workspace}/version")).await?.expect(503)?;
    assert_eq!(
        one.nobody().get("/oidc/platform/jwks").await?.json()?,
        two.nobody().get("/oidc/platform/jwks").await?.json()?
    );
    Ok(())
}

#[tokio::test]
async fn a_restart_signs_nobody_out() -> Result<()> {
    let before = Platform::start().await?;
    let alice = before.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let of_workspace = alice.workspace_token(&before, &workspace).await?;
    let kept = before.keep();
    before.stop().await?;
    let after = Platform::start_on(&kept).await?;
    assert_eq!(after.authority, kept.authority);
    let there = after.nobody().with_token(alice.api.token());
    there.get("/api/v1/me").await?.expect(200)?;
    alice.browser.get(&after.at("/api/v1/me")).await?.expect(200)?;
    refresh(&after, &alice.tokens.refresh_token.clone().context("no refresh token")?).await?.expect(200)?;
    after.nobody().with_token(&of_workspace).get(&format!("/k8s/{workspace}/version")).await?.expect(503)?;
    Ok(())
}
