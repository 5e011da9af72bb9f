//! Signing in with a provider over HTTP. What a hostile one is refused for is in `hostile_provider.rs`.

use std::sync::{Arc, Mutex};

use hexabase_oidc::{
    Issuer,
    client::{ClientError, LoginAttempt, ProviderMetadata, RelyingParty},
};
use serde_json::{Value, json};

use crate::provider_double::{Fake, Site, sign_in, site};
use crate::support::{EC, NOW, RSA, serve};

#[tokio::test]
async fn a_person_signs_in() {
    let site = site(Fake::default()).await;
    let identity = site.sign_in_at(NOW).await.unwrap();
    assert_eq!((identity.issuer.as_str(), identity.subject.as_str()), (site.issuer.as_str(), "abc"));
    assert_eq!((identity.email.as_deref(), identity.email_verified), (Some("alice@example.test"), true));
    assert_eq!(site.count("GET /u"), 0, "userinfo is asked only when the address is missing");
}

#[tokio::test]
async fn userinfo_is_asked_when_the_address_is_missing_and_must_be_about_the_same_person() {
    let identity = sign_in(Fake { id_token: json!({}), ..Fake::default() }).await.unwrap();
    assert_eq!((identity.email.as_deref(), identity.email_verified), (Some("late@example.test"), true));
    let userinfo = json!({ "sub": "other", "email": "x@example.test" });
    let refused = sign_in(Fake { id_token: json!({}), userinfo, ..Fake::default() }).await.unwrap_err();
    assert!(matches!(refused, ClientError::UserInfoSubject));
    let userinfo = json!({ "sub": "abc", "email": "x@example.test" });
    let unverified = sign_in(Fake { id_token: json!({}), userinfo, ..Fake::default() }).await.unwrap();
    assert!(!unverified.email_verified);
}

#[tokio::test]
async fn the_token_endpoints_refusals_are_told_apart() {
    let answer = |status, body| Fake { token: (status, Some(body)), ..Fake::default() };
    let refused = sign_in(answer(400, json!({ "error": "invalid_grant" }))).await.unwrap_err();
    assert!(matches!(refused, ClientError::CodeRefused { code, .. } if code == "invalid_grant"));
    let refused = sign_in(answer(500, json!({}))).await.unwrap_err();
    assert!(matches!(refused, ClientError::Status { status: 500, .. }));
    let refused = sign_in(answer(200, json!({ "access_token": "a", "token_type": "mac" }))).await.unwrap_err();
    assert!(matches!(refused, ClientError::TokenAnswer("a Bearer token")));
    let refused = sign_in(answer(200, json!({ "access_token": "a", "token_type": "Bearer" }))).await.unwrap_err();
    assert!(matches!(refused, ClientError::TokenAnswer("an ID token")));
    assert!(matches!(sign_in(answer(200, json!([]))).await.unwrap_err(), ClientError::NotUnderstood { .. }));
}

#[tokio::test]
async fn the_secret_goes_where_the_provider_wants_it() {
    for (methods, in_form) in
        [(json!({}), false), (json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] }), true)]
    {
        let seen = Arc::new(Mutex::new(String::new()));
        let (fake, own) = (Fake { metadata: methods, ..Fake::default() }, Arc::clone(&seen));
        let (base, _) = serve(move |base, asked| {
            if asked.line == "POST /t" {
                *own.lock().unwrap() = format!("{}\n{}", asked.head, asked.body);
                return (400, String::new(), json!({ "error": "x" }).to_string());
            }
            fake.answer(base, asked, None)
        })
        .await;
        let site = Site { issuer: Issuer::parse(&base).unwrap(), ..site(Fake::default()).await };
        let _ = site.sign_in_at(NOW).await;
        let seen = seen.lock().unwrap();
        // "us:s%2Fe+c"
        assert_eq!(seen.contains("Basic dXM6cyUyRmUrYw=="), !in_form, "{seen}");
        assert_eq!(seen.contains("client_secret=s%2Fe+c"), in_form, "{seen}");
    }
}

#[tokio::test]
async fn keys_are_fetched_once_again_on_an_unknown_kid_and_then_not_for_a_while() {
    let site = site(Fake::default()).await;
    site.sign_in_at(NOW).await.unwrap();
    site.sign_in_at(NOW + 1).await.unwrap();
    assert_eq!(site.count("GET /k"), 1, "the set is kept");
    site.shared.lock().unwrap().0.key = RSA.clone();
    assert!(site.sign_in_at(NOW + 2).await.is_err(), "unknown, and fetched just now");
    assert_eq!(site.count("GET /k"), 1);
    site.shared.lock().unwrap().0.published.push(RSA.clone());
    site.sign_in_at(NOW + 30).await.unwrap();
    assert_eq!(site.count("GET /k"), 2, "a rotated key is found");
    for second in 31..59 {
        site.sign_in_at(NOW + second).await.unwrap();
    }
    assert_eq!(site.count("GET /k"), 2);
}

#[tokio::test]
async fn an_old_set_is_fetched_again_and_used_when_that_fails() {
    let site = site(Fake { id_token: json!({ "exp": NOW + 100_000 }), ..Fake::default() }).await;
    let metadata = ProviderMetadata::discover(&site.http, &site.issuer).await.unwrap();
    let get = async |now| site.cache.get(&site.http, &metadata, Some(EC.kid()), now).await.map(|set| set.keys.len());
    assert_eq!(get(NOW).await.unwrap(), 1);
    assert_eq!(get(NOW + 600).await.unwrap(), 1);
    assert_eq!(site.count("GET /k"), 2, "after ten minutes");
    let mut broken = metadata.clone();
    broken.jwks_uri = "http://127.0.0.1:1/".parse().unwrap();
    let get = async |now| site.cache.get(&site.http, &broken, Some(EC.kid()), now).await.map(|set| set.keys.len());
    assert_eq!(get(NOW + 2000).await.unwrap(), 1, "the provider is away; the old set still serves");
    assert!(get(NOW + 600 + 6 * 3600).await.is_err(), "but not for ever");
}

#[tokio::test]
async fn a_provider_without_keys_is_not_asked_by_everybody_who_waits() {
    let (base, log) = serve(|_, _| (500, String::new(), String::new())).await;
    let good = site(Fake::default()).await;
    let mut metadata = ProviderMetadata::discover(&good.http, &good.issuer).await.unwrap();
    metadata.jwks_uri = format!("{base}/k").parse().unwrap();
    let get = async |now| good.cache.get(&good.http, &metadata, Some("kid"), now).await.map(|_| ()).unwrap_err();
    assert!(matches!(get(NOW).await, ClientError::Status { status: 500, .. }));
    for now in [NOW - 1, NOW, NOW + 4] {
        assert!(matches!(get(now).await, ClientError::KeysUnavailable(_)));
    }
    assert!(matches!(get(NOW + 5).await, ClientError::Status { status: 500, .. }));
    assert_eq!(log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn the_browser_is_sent_with_everything_the_callback_is_checked_against() {
    let site = site(Fake { metadata: json!({}), ..Fake::default() }).await;
    let metadata = ProviderMetadata::discover(&site.http, &site.issuer).await.unwrap();
    let us = RelyingParty {
        client_id: "us".into(),
        client_secret: None,
        redirect_uri: "http://127.0.0.1:9/cb".into(),
        scopes: "openid email".into(),
    };
    let attempt = LoginAttempt::start().unwrap();
    let url: url::Url = us.authorization_url(&metadata, &attempt, Some("a@b.c")).unwrap().parse().unwrap();
    let get = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap();
    assert_eq!((get("response_type"), get("code_challenge_method")), ("code".into(), "S256".into()));
    assert_eq!(
        (get("state"), get("nonce"), get("login_hint")),
        (attempt.state.clone(), attempt.nonce.clone(), "a@b.c".into())
    );
    assert!(!url.as_str().contains(&attempt.code_verifier));
    assert!(!url.as_str().contains("prompt"), "{url}");
    assert_eq!(format!("{attempt:?}"), "LoginAttempt");
    let anew = us.authorization_url(&metadata, &attempt.anew(NOW), None).unwrap();
    assert!(anew.ends_with("&prompt=login&max_age=0"), "{anew}");
}

#[tokio::test]
async fn a_sign_in_that_was_to_be_a_new_one_is_refused_when_the_provider_says_that_it_is_old() {
    let at = async |said: Value, since: Option<i64>| {
        let id_token = json!({ "email": "alice@example.test", "auth_time": said });
        let site = site(Fake { id_token, ..Fake::default() }).await;
        let attempt = LoginAttempt::start().unwrap();
        let attempt = since.map_or(attempt.clone(), |since| attempt.anew(since));
        site.finish(&attempt, NOW).await.map(|identity| identity.auth_time)
    };
    let since = Some(NOW - 10);
    assert!(matches!(at(json!(NOW - 41), since).await, Err(ClientError::NotAnew)));
    assert_eq!(at(json!(NOW - 40), since).await.unwrap(), since, "its clock may be a little behind");
    assert_eq!(at(json!(NOW - 5), since).await.unwrap(), Some(NOW - 5));
    assert_eq!(at(Value::Null, since).await.unwrap(), since, "it says nothing");
    assert_eq!(at(json!(NOW - 3600), None).await.unwrap(), Some(NOW - 3600));
    assert_eq!(at(json!(NOW + 30), None).await.unwrap(), Some(NOW));
    assert_eq!(at(Value::Null, None).await.unwrap(), None);
}
