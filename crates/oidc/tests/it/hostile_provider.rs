//! What a provider, or somebody between it and us, can try while a person signs in: one test for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hexabase_oidc::{
    Issuer,
    client::{Callback, ClientError, Fault, LoginAttempt, ProviderMetadata},
    jwt::TokenError,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::provider_double::{Fake, Site, outbound, sign_in, site};
use crate::support::{EC, NOW, RSA, b64, header, raw_token, serve, without};

/// How a sign-in ends with a provider that puts these claims into the ID token.
async fn with_claims(claims: Value) -> ClientError {
    sign_in(Fake { id_token: claims, ..Fake::default() }).await.unwrap_err()
}

/// How a sign-in ends with a provider that gives this ID token, made of the claims it should have.
async fn with_token(make: impl Fn(Value) -> String) -> Result<(), ClientError> {
    let site = site(Fake::default()).await;
    let attempt = LoginAttempt::start().unwrap();
    let claims = json!({
        "iss": site.issuer, "sub": "abc", "aud": "us", "iat": NOW, "exp": NOW + 60, "nonce": attempt.nonce, "email": "a@b.c",
    });
    let answer = json!({ "access_token": "at", "token_type": "bearer", "id_token": make(claims) });
    site.shared.lock().unwrap().0.token = (200, Some(answer));
    site.finish(&attempt, NOW).await.map(drop)
}

fn refusal(error: &ClientError) -> Option<&TokenError> {
    match error {
        ClientError::IdToken(refusal) => Some(refusal),
        _ => None,
    }
}

#[tokio::test]
async fn an_id_token_with_the_nonce_of_another_sign_in_is_refused() {
    for nonce in [json!("another"), json!(""), Value::Null] {
        let refused = with_claims(json!({ "nonce": nonce })).await;
        assert!(matches!(refused, ClientError::NonceMismatch), "{nonce}: {refused}");
    }
}

#[tokio::test]
async fn an_id_token_for_another_client_is_refused() {
    for audience in [json!("them"), json!(["them", "others"]), json!("US"), json!([])] {
        let refused = with_claims(json!({ "aud": audience })).await;
        assert_eq!(refusal(&refused), Some(&TokenError::WrongAudience), "{audience}");
    }
}

#[tokio::test]
async fn an_id_token_that_was_issued_to_another_client_and_shared_with_us_is_refused() {
    for claims in
        [json!({ "azp": "them" }), json!({ "aud": ["us", "them"], "azp": "them" }), json!({ "aud": ["us", "them"] })]
    {
        let refused = with_claims(claims.clone()).await;
        assert!(matches!(refused, ClientError::AuthorizedParty), "{claims}: {refused}");
    }
}

#[tokio::test]
async fn an_id_token_of_another_issuer_is_refused_even_if_only_a_slash_differs() {
    let site = site(Fake::default()).await;
    for issuer in ["https://evil.example", &format!("{}/", site.issuer), ""] {
        site.shared.lock().unwrap().0.id_token = json!({ "iss": issuer });
        let refused = site.sign_in_at(NOW).await.unwrap_err();
        assert_eq!(refusal(&refused), Some(&TokenError::WrongIssuer), "{issuer}");
    }
}

#[tokio::test]
async fn an_id_token_that_has_expired_is_refused() {
    let refused = with_claims(json!({ "iat": NOW - 4000, "exp": NOW - 60 })).await;
    assert_eq!(refusal(&refused), Some(&TokenError::Expired));
}

#[tokio::test]
async fn an_id_token_of_the_future_is_refused() {
    let refused = with_claims(json!({ "iat": NOW + 61 })).await;
    assert_eq!(refusal(&refused), Some(&TokenError::NotYetValid));
}

#[tokio::test]
async fn an_id_token_that_is_not_signed_is_refused() {
    for alg in ["none", "None", "NONE"] {
        let refused =
            with_token(|claims| format!("{}.{}.", b64(json!({ "alg": alg }).to_string()), b64(claims.to_string())));
        assert_eq!(refusal(&refused.await.unwrap_err()), Some(&TokenError::AlgorithmNotAllowed), "{alg}");
    }
}

#[tokio::test]
async fn an_id_token_signed_with_our_own_secret_is_refused() {
    // HS256 with the client secret is allowed by the specification; whoever stole the secret could then be anybody.
    let refused = with_token(|claims| {
        use aws_lc_rs::hmac;
        let signed = format!("{}.{}", b64(json!({ "alg": "HS256" }).to_string()), b64(claims.to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"s/e c"), signed.as_bytes());
        format!("{signed}.{}", b64(tag))
    });
    assert_eq!(refusal(&refused.await.unwrap_err()), Some(&TokenError::AlgorithmNotAllowed));
}

#[tokio::test]
async fn an_id_token_with_an_algorithm_that_the_provider_did_not_announce_is_refused() {
    let metadata = json!({ "id_token_signing_alg_values_supported": ["RS256"] });
    let refused = sign_in(Fake { metadata, ..Fake::default() }).await.unwrap_err();
    assert_eq!(refusal(&refused), Some(&TokenError::AlgorithmNotAllowed));
}

#[tokio::test]
async fn an_id_token_signed_with_a_key_that_the_provider_does_not_publish_is_refused() {
    let refused = sign_in(Fake { key: RSA.clone(), ..Fake::default() }).await.unwrap_err();
    assert_eq!(refusal(&refused), Some(&TokenError::UnknownKey));
}

#[tokio::test]
async fn an_id_token_for_another_access_token_is_refused() {
    assert!(matches!(with_claims(json!({ "at_hash": "x" })).await, ClientError::AccessTokenHash));
}

#[tokio::test]
async fn an_id_token_that_names_no_key_is_good_where_the_provider_has_one_of_its_algorithm() {
    with_token(|claims| raw_token(&EC, &without(header(&EC), "kid").to_string(), &claims.to_string())).await.unwrap();
    // One of another kind beside it does not matter.
    let nameless = |fake: Fake| async move {
        let site = site(fake).await;
        let attempt = LoginAttempt::start().unwrap();
        let claims = json!({ "iss": site.issuer, "sub": "abc", "aud": "us", "iat": NOW, "exp": NOW + 60, "nonce": attempt.nonce });
        let id_token = raw_token(&EC, &without(header(&EC), "kid").to_string(), &claims.to_string());
        let answer = json!({ "access_token": "at", "token_type": "bearer", "id_token": id_token });
        site.shared.lock().unwrap().0.token = (200, Some(answer));
        site.finish(&attempt, NOW).await
    };
    nameless(Fake { published: vec![EC.clone(), RSA.clone()], ..Fake::default() }).await.unwrap();
    let second = hexabase_oidc::keys::SigningKey::generate(hexabase_oidc::keys::Algorithm::Es256).unwrap();
    let guess = nameless(Fake { published: vec![EC.clone(), second.clone()], ..Fake::default() }).await.unwrap_err();
    assert_eq!(refusal(&guess), Some(&TokenError::MissingKeyId), "which of two, nobody can say");
    let none = nameless(Fake { published: vec![RSA.clone()], ..Fake::default() }).await.unwrap_err();
    assert_eq!(refusal(&none), Some(&TokenError::UnknownKey));
    let other = nameless(Fake { published: vec![second], ..Fake::default() }).await.unwrap_err();
    assert_eq!(refusal(&other), Some(&TokenError::BadSignature));
}

#[tokio::test]
async fn a_rotated_key_without_a_name_is_found_after_half_a_minute() {
    let site = site(Fake::default()).await;
    let metadata = ProviderMetadata::discover(&site.http, &site.issuer).await.unwrap();
    for (now, fetched) in [(NOW, 1), (NOW + 29, 1), (NOW + 30, 2), (NOW + 59, 2)] {
        site.cache.get(&site.http, &metadata, None, now).await.unwrap();
        assert_eq!(site.count("GET /k"), fetched, "after {} s", now - NOW);
    }
}

/// The code of a callback with this query, for an attempt whose state is put in place of `STATE` and a provider whose
/// issuer is put in place of `ISSUER`.
async fn code_of(query: &str) -> Result<String, ClientError> {
    let site = site(Fake::default()).await;
    let metadata = ProviderMetadata::discover(&site.http, &site.issuer).await.unwrap();
    let attempt = LoginAttempt::start().unwrap();
    let query = query.replace("STATE", &attempt.state).replace("ISSUER", site.issuer.as_str());
    Callback::parse(&query)?.code(&attempt, &metadata).map(str::to_owned)
}

#[tokio::test]
async fn a_callback_with_the_state_of_another_attempt_is_refused() {
    assert_eq!(code_of("code=c&state=STATE&iss=ISSUER").await.unwrap(), "c");
    for query in ["code=c", "code=c&state=x&iss=ISSUER", "code=c&state=&iss=ISSUER", "code=c&state=STATEx&iss=ISSUER"] {
        assert!(matches!(code_of(query).await, Err(ClientError::StateMismatch)), "{query}");
    }
    let forged = code_of("error=access_denied&state=x&iss=ISSUER").await;
    assert!(matches!(forged, Err(ClientError::StateMismatch)), "an error is believed no sooner than a code");
}

#[tokio::test]
async fn a_callback_without_the_iss_that_the_provider_announced_is_refused() {
    assert!(matches!(code_of("code=c&state=STATE").await, Err(ClientError::CallbackIssuer)));
}

#[tokio::test]
async fn a_callback_of_another_provider_is_refused() {
    for iss in ["https://evil.example", "ISSUER/", ""] {
        let refused = code_of(&format!("code=c&state=STATE&iss={iss}")).await;
        assert!(matches!(refused, Err(ClientError::CallbackIssuer)), "{iss}");
    }
}

#[tokio::test]
async fn a_callback_that_says_two_things_is_refused() {
    for query in
        ["state=STATE&iss=ISSUER", "code=a&code=b&state=STATE&iss=ISSUER", "code=a&state=STATE&state=STATE&iss=ISSUER"]
    {
        assert!(matches!(code_of(query).await, Err(ClientError::BadCallback(_))), "{query}");
    }
}

#[tokio::test]
async fn a_provider_that_says_no_is_heard() {
    let refused = code_of("error=access_denied&error_description=no&state=STATE&iss=ISSUER").await.unwrap_err();
    assert_eq!(refused.fault(), Fault::Refusal);
    assert!(matches!(refused, ClientError::Refused { code, .. } if code == "access_denied"));
    let unknown = code_of("error=unauthorized_client&state=STATE&iss=ISSUER").await.unwrap_err();
    assert_eq!(unknown.fault(), Fault::Configuration);
}

#[tokio::test]
async fn a_configuration_of_ten_megabytes_is_refused_and_not_read_to_its_end() {
    // Without a length, so that only counting helps.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = Issuer::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.unwrap();
        let piece = vec![b' '; 64 * 1024];
        for _ in 0..160 {
            if stream.write_all(&piece).await.is_err() {
                return;
            }
            count.fetch_add(piece.len(), Ordering::Relaxed);
        }
    });
    let refused = ProviderMetadata::discover(&outbound(), &issuer).await.unwrap_err();
    assert!(matches!(refused, ClientError::TooLarge { .. }), "{refused}");
    assert_eq!(refused.fault(), Fault::Configuration);
    server.await.unwrap();
    let written = written.load(Ordering::Relaxed);
    assert!(written < 10 * 1024 * 1024, "{written} bytes were taken");
}

#[tokio::test]
async fn a_configuration_that_says_it_has_ten_megabytes_is_not_read() {
    let (base, _) = serve(|_, _| (200, String::new(), " ".repeat(10 * 1024 * 1024))).await;
    let refused = ProviderMetadata::discover(&outbound(), &Issuer::parse(&base).unwrap()).await;
    assert!(matches!(refused, Err(ClientError::TooLarge { .. })));
}

#[tokio::test]
async fn a_configuration_behind_a_redirect_is_refused() {
    let (base, log) = serve(|base, asked| match asked.line.as_str() {
        "GET /elsewhere" => (200, String::new(), json!({ "issuer": base }).to_string()),
        _ => (302, "location: /elsewhere\r\n".into(), String::new()),
    })
    .await;
    let refused = ProviderMetadata::discover(&outbound(), &Issuer::parse(&base).unwrap()).await.unwrap_err();
    assert!(matches!(refused, ClientError::Redirected { .. }), "{refused}");
    assert_eq!(refused.fault(), Fault::Configuration);
    assert_eq!(log.lock().unwrap().len(), 1, "it was not followed");
}

#[tokio::test]
async fn keys_at_a_private_address_are_not_fetched() {
    for jwks_uri in
        ["https://10.0.0.1/keys", "https://169.254.169.254/latest", "https://[fd00::1]/keys", "https://0xa.1/k"]
    {
        let metadata = json!({ "jwks_uri": jwks_uri });
        let refused = sign_in(Fake { metadata, ..Fake::default() }).await.unwrap_err();
        assert!(matches!(refused, ClientError::OutOfReach { .. }), "{jwks_uri}: {refused}");
        assert_eq!(refused.fault(), Fault::Configuration);
    }
}

#[tokio::test]
async fn an_address_of_userinfo_or_tokens_that_is_private_is_not_asked() {
    for endpoint in ["token_endpoint", "userinfo_endpoint"] {
        let metadata = json!({ endpoint: "https://192.168.0.1/x" });
        let refused = sign_in(Fake { metadata, id_token: json!({}), ..Fake::default() }).await.unwrap_err();
        assert!(matches!(refused, ClientError::OutOfReach { .. }), "{endpoint}: {refused}");
    }
}

#[tokio::test]
async fn a_configuration_of_another_issuer_is_the_operators_to_mend() {
    let site = site(Fake::default()).await;
    for issuer in ["https://evil.example", &format!("{}/", site.issuer)] {
        site.shared.lock().unwrap().0.metadata = json!({ "issuer": issuer });
        let refused = site.sign_in_at(NOW).await.unwrap_err();
        assert!(refused.to_string().starts_with("the provider's configuration names another issuer"), "{refused}");
        assert_eq!(refused.fault(), Fault::Configuration);
    }
}

#[tokio::test]
async fn an_issuer_that_ends_in_a_slash_is_taken_as_it_is_written() {
    let site = site(Fake::default()).await;
    let slash = format!("{}/", site.issuer);
    site.shared.lock().unwrap().0.metadata = json!({ "issuer": slash });
    site.shared.lock().unwrap().0.id_token = json!({ "iss": slash, "email": "alice@example.test" });
    let slashed = Site { issuer: Issuer::parse(&slash).unwrap(), ..site };
    assert_eq!(slashed.sign_in_at(NOW).await.unwrap().issuer, slash);
}

#[tokio::test]
async fn a_provider_without_pkce_by_s256_is_refused_and_one_that_does_not_say_is_taken() {
    for methods in [json!(["plain"]), json!([])] {
        let metadata = json!({ "code_challenge_methods_supported": methods });
        let refused = sign_in(Fake { metadata, ..Fake::default() }).await.unwrap_err();
        assert!(matches!(refused, ClientError::Unsupported("PKCE with S256")), "{methods}: {refused}");
        assert_eq!(refused.fault(), Fault::Configuration);
    }
    for metadata in [json!({}), json!({ "code_challenge_methods_supported": ["plain", "S256"] })] {
        sign_in(Fake { metadata, ..Fake::default() }).await.unwrap();
    }
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_from_one_that_is_misconfigured() {
    for (status, fault) in
        [(500, Fault::Outage), (503, Fault::Outage), (429, Fault::Outage), (404, Fault::Configuration)]
    {
        let (base, _) = serve(move |_, _| (status, String::new(), String::new())).await;
        let refused = ProviderMetadata::discover(&outbound(), &Issuer::parse(&base).unwrap()).await.unwrap_err();
        assert!(matches!(refused, ClientError::Status { status: found, .. } if found == status));
        assert_eq!(refused.fault(), fault, "{status}");
    }
    let nobody = Issuer::parse("http://127.0.0.1:1").unwrap();
    let refused = ProviderMetadata::discover(&outbound(), &nobody).await.unwrap_err();
    assert!(matches!(refused, ClientError::Unreachable { .. }));
    assert_eq!(refused.fault(), Fault::Outage);
}

#[tokio::test]
async fn an_address_that_the_provider_does_not_vouch_for_is_not_verified() {
    for said in [json!(false), json!("false"), json!(1), Value::Null] {
        let claims = json!({ "email": "alice@example.test", "email_verified": said });
        let identity = sign_in(Fake { id_token: claims, ..Fake::default() }).await.unwrap();
        assert!(!identity.email_verified, "{said}");
    }
}
