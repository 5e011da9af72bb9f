//! Signing in with a provider over HTTP, and providers that misbehave.

use std::sync::{Arc, Mutex};

use hexabase_oidc::{
    Issuer,
    client::{Callback, ClientError, Identity, JwksCache, LoginAttempt, ProviderMetadata, RelyingParty, http_client},
    jwt::{self, TokenError, Typ},
    keys::{JwkSet, SigningKey},
    provider::append_query,
};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::support::{Asked, EC, NOW, RSA, serve};

/// A provider whose answers a test can bend.
#[derive(Clone)]
struct Fake {
    key: SigningKey,
    published: Vec<SigningKey>,
    id_token: Value,
    token: (u16, Option<Value>),
    userinfo: Value,
    metadata: Value,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            key: EC.clone(),
            published: vec![EC.clone()],
            id_token: json!({ "email": "alice@example.test", "email_verified": true, "name": "Alice" }),
            token: (200, None),
            userinfo: json!({ "sub": "abc", "email": "late@example.test", "email_verified": true }),
            metadata: json!({}),
        }
    }
}

type Shared = Arc<Mutex<(Fake, Option<LoginAttempt>)>>;

impl Fake {
    fn answer(&self, base: &str, asked: &Asked, attempt: Option<&LoginAttempt>) -> (u16, String, String) {
        let merged = |mut base: Value, more: &Value| {
            for (name, value) in more.as_object().unwrap() {
                base[name] = value.clone();
            }
            base
        };
        let (status, body) = match asked.line.as_str() {
            "GET /.well-known/openid-configuration" => {
                let plain = json!({
                    "issuer": base,
                    "authorization_endpoint": format!("{base}/a"),
                    "token_endpoint": format!("{base}/t"),
                    "jwks_uri": format!("{base}/k"),
                    "userinfo_endpoint": format!("{base}/u"),
                    "response_types_supported": ["code"],
                    "id_token_signing_alg_values_supported": ["ES256", "RS256"],
                    "authorization_response_iss_parameter_supported": true,
                });
                (200, merged(plain, &self.metadata))
            }
            "GET /k" => {
                let keys = self.published.iter().map(|key| key.public_jwk().clone()).collect();
                (200, serde_json::to_value(JwkSet { keys }).unwrap())
            }
            "POST /t" => match &self.token {
                (status, Some(body)) => (*status, body.clone()),
                (status, None) => {
                    let attempt = attempt.unwrap();
                    let form: Vec<_> = form_urlencoded::parse(asked.body.as_bytes()).collect();
                    assert!(
                        form.iter().any(|(name, value)| name == "code_verifier" && *value == attempt.code_verifier)
                    );
                    let plain = json!({
                        "iss": base, "sub": "abc", "aud": "us", "iat": NOW, "exp": NOW + 60, "nonce": attempt.nonce,
                    });
                    let id_token = jwt::sign(&self.key, &merged(plain, &self.id_token), Typ::Jwt).unwrap();
                    (*status, json!({ "access_token": "at", "token_type": "bearer", "id_token": id_token }))
                }
            },
            "GET /u" => {
                assert!(asked.head.to_ascii_lowercase().contains("authorization: bearer at"));
                (200, self.userinfo.clone())
            }
            other => panic!("asked {other}"),
        };
        (status, "content-type: application/json\r\n".into(), body.to_string())
    }
}

struct Site {
    http: reqwest::Client,
    issuer: Issuer,
    cache: JwksCache,
    shared: Shared,
    log: Arc<Mutex<Vec<String>>>,
}

async fn site(fake: Fake) -> Site {
    let shared: Shared = Arc::new(Mutex::new((fake, None)));
    let own = Arc::clone(&shared);
    let (base, log) = serve(move |base, asked| {
        let (fake, attempt) = own.lock().unwrap().clone();
        fake.answer(base, asked, attempt.as_ref())
    })
    .await;
    let issuer = Issuer::parse(&base).unwrap();
    Site { http: http_client().unwrap(), issuer, cache: JwksCache::new(), shared, log }
}

impl Site {
    async fn sign_in_at(&self, now: i64) -> Result<Identity, ClientError> {
        let us = RelyingParty {
            client_id: "us".into(),
            client_secret: Some("s/e c".to_owned().into()),
            redirect_uri: "http://127.0.0.1:9/cb".into(),
            scopes: "openid email".into(),
        };
        let metadata = ProviderMetadata::discover(&self.http, &self.issuer).await?;
        let attempt = LoginAttempt::start().unwrap();
        self.shared.lock().unwrap().1 = Some(attempt.clone());
        let query = append_query("", [("code", "c"), ("state", &attempt.state), ("iss", self.issuer.as_str())]);
        let callback = Callback::parse(query.trim_start_matches('?')).unwrap();
        us.finish(&self.http, &self.cache, &metadata, &callback, &attempt, now).await
    }

    fn count(&self, line: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|asked| *asked == line).count()
    }
}

async fn sign_in(fake: Fake) -> Result<Identity, ClientError> {
    site(fake).await.sign_in_at(NOW).await
}

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
async fn a_forged_id_token_is_refused() {
    let forged = Fake { key: RSA.clone(), ..Fake::default() };
    assert!(matches!(sign_in(forged).await.unwrap_err(), ClientError::IdToken(TokenError::UnknownKey)));
    for (claims, part) in [
        (json!({ "nonce": "x" }), "nonce"),
        (json!({ "aud": "them" }), "audience"),
        (json!({ "iss": "https://evil.example" }), "issuer"),
        (json!({ "exp": NOW - 100 }), "expired"),
        (json!({ "azp": "them" }), "azp"),
        (json!({ "at_hash": "x" }), "at_hash"),
    ] {
        let refused = sign_in(Fake { id_token: claims, ..Fake::default() }).await.unwrap_err();
        assert!(refused.to_string().contains(part), "{refused}");
    }
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
    let get = async |now| site.cache.get(&site.http, &metadata, EC.kid(), now).await.map(|set| set.keys.len());
    assert_eq!(get(NOW).await.unwrap(), 1);
    assert_eq!(get(NOW + 600).await.unwrap(), 1);
    assert_eq!(site.count("GET /k"), 2, "after ten minutes");
    let mut broken = metadata.clone();
    broken.jwks_uri = "http://127.0.0.1:1/".parse().unwrap();
    let get = async |now| site.cache.get(&site.http, &broken, EC.kid(), now).await.map(|set| set.keys.len());
    assert_eq!(get(NOW + 2000).await.unwrap(), 1, "the provider is away; the old set still serves");
    assert!(get(NOW + 600 + 6 * 3600).await.is_err(), "but not for ever");
}

#[tokio::test]
async fn a_provider_without_keys_is_not_asked_by_everybody_who_waits() {
    let (base, log) = serve(|_, _| (500, String::new(), String::new())).await;
    let good = site(Fake::default()).await;
    let mut metadata = ProviderMetadata::discover(&good.http, &good.issuer).await.unwrap();
    metadata.jwks_uri = format!("{base}/k").parse().unwrap();
    let get = async |now| good.cache.get(&good.http, &metadata, "kid", now).await.map(|_| ()).unwrap_err();
    assert!(matches!(get(NOW).await, ClientError::Status { status: 500, .. }));
    for now in [NOW - 1, NOW, NOW + 4] {
        assert!(matches!(get(now).await, ClientError::KeysUnavailable(_)));
    }
    assert!(matches!(get(NOW + 5).await, ClientError::Status { status: 500, .. }));
    assert_eq!(log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_provider_that_redirects_or_sends_too_much_is_refused() {
    let (base, log) = serve(|base, asked| match asked.line.as_str() {
        "GET /elsewhere" => (200, String::new(), json!({ "issuer": base }).to_string()),
        _ => (302, "location: /elsewhere\r\n".into(), String::new()),
    })
    .await;
    let refused = ProviderMetadata::discover(&http_client().unwrap(), &Issuer::parse(&base).unwrap()).await;
    assert!(matches!(refused, Err(ClientError::Redirected { .. })));
    assert_eq!(log.lock().unwrap().len(), 1);
    let obedient = reqwest::Client::new();
    let refused = ProviderMetadata::discover(&obedient, &Issuer::parse(&base).unwrap()).await;
    assert!(matches!(refused, Err(ClientError::Redirected { .. })), "even by a client that follows");
    let (base, _) = serve(|_, _| (200, String::new(), " ".repeat(1024 * 1024 + 1))).await;
    let refused = ProviderMetadata::discover(&http_client().unwrap(), &Issuer::parse(&base).unwrap()).await;
    assert!(matches!(refused, Err(ClientError::TooLarge { .. })));
    let (base, _) = serve(|_, _| (404, String::new(), String::new())).await;
    let refused = ProviderMetadata::discover(&http_client().unwrap(), &Issuer::parse(&base).unwrap()).await;
    assert!(matches!(refused, Err(ClientError::Status { status: 404, .. })));
    let nobody = Issuer::parse("http://127.0.0.1:1").unwrap();
    let refused = ProviderMetadata::discover(&http_client().unwrap(), &nobody).await;
    assert!(matches!(refused, Err(ClientError::Unreachable { .. })));
}

#[tokio::test]
async fn a_callback_of_another_attempt_or_provider_is_refused() {
    let site = site(Fake::default()).await;
    let metadata = ProviderMetadata::discover(&site.http, &site.issuer).await.unwrap();
    let attempt = LoginAttempt::start().unwrap();
    let (state, iss) = (attempt.state.as_str(), site.issuer.as_str());
    let code = |query: &str| Callback::parse(query).unwrap().code(&attempt, &metadata).map(str::to_owned);
    assert_eq!(code(&format!("code=c&state={state}&iss={iss}")).unwrap(), "c");
    for query in [
        "code=c".to_owned(),
        format!("code=c&state=x&iss={iss}"),
        format!("code=c&state=&iss={iss}"),
        format!("code=c&state={}&iss={iss}", &state[1..]),
    ] {
        assert!(matches!(code(&query), Err(ClientError::StateMismatch)), "{query}");
    }
    for query in [format!("code=c&state={state}"), format!("code=c&state={state}&iss=https://evil.example")] {
        assert!(matches!(code(&query), Err(ClientError::CallbackIssuer)), "{query}");
    }
    let refused = code(&format!("error=access_denied&error_description=no&state={state}&iss={iss}"));
    assert!(matches!(refused, Err(ClientError::Refused { code, .. }) if code == "access_denied"));
    let forged = code(&format!("error=access_denied&state=x&iss={iss}"));
    assert!(matches!(forged, Err(ClientError::StateMismatch)), "an error is believed no sooner than a code");
    for query in [
        format!("state={state}&iss={iss}"),
        format!("code=a&code=b&state={state}&iss={iss}"),
        format!("code=a&state={state}&state={state}"),
    ] {
        assert!(matches!(code(&query), Err(ClientError::BadCallback(_))), "{query}");
    }
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
    assert_eq!(format!("{attempt:?}"), "LoginAttempt");
}
