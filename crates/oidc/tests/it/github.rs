//! GitHub's ways: refusals with the status 200, scopes that were not granted, several addresses, limits.

use std::sync::{Arc, Mutex};

use hexabase_oidc::{
    Issuer,
    client::{Callback, ClientError, Fault, GitHub, Identity, LoginAttempt, RelyingParty},
    provider::append_query,
};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::provider_double::outbound;
use crate::support::{NOW, serve};

/// What a GitHub answers; a test bends one of them. Status, headers, body.
#[derive(Clone)]
struct Answers {
    token: (u16, &'static str, Value),
    user: (u16, &'static str, Value),
    emails: (u16, &'static str, Value),
}

impl Default for Answers {
    fn default() -> Self {
        let emails = json!([
            { "email": "old@example.test", "primary": false, "verified": true, "visibility": null },
            { "email": "mona@example.test", "primary": true, "verified": true, "visibility": "private" },
        ]);
        let user = json!({ "id": 583_231, "login": "mona", "name": "Mona L.", "email": "public@example.test", "avatar_url": "https://a.example/1" });
        Self {
            token: (200, "", json!({ "access_token": "gho_1", "scope": "user:email", "token_type": "bearer" })),
            user: (200, "x-oauth-scopes: user:email\r\n", user),
            emails: (200, "", emails),
        }
    }
}

struct Site {
    github: GitHub,
    issuer: String,
    us: RelyingParty,
    attempt: LoginAttempt,
    /// Method and path of each request, and what was sent with it.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

async fn site(answers: Answers) -> Site {
    let asked: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let log = Arc::clone(&asked);
    let (base, _) = serve(move |_, request| {
        let sent = if request.body.is_empty() { &request.head } else { &request.body };
        log.lock().unwrap().push((request.line.clone(), sent.clone()));
        let (status, headers, body) = match request.line.as_str() {
            "POST /login/oauth/access_token" => &answers.token,
            "GET /api/v3/user" => &answers.user,
            "GET /api/v3/user/emails?per_page=100" => &answers.emails,
            other => panic!("asked {other}"),
        };
        (*status, (*headers).to_owned(), body.to_string())
    })
    .await;
    let us = RelyingParty {
        client_id: "Iv1.1".into(),
        client_secret: Some("shh".to_owned().into()),
        redirect_uri: "https://hexabase.example/auth/github/callback".into(),
        scopes: "user:email".into(),
    };
    let github = GitHub::new(Issuer::parse(&base).unwrap(), None).unwrap();
    Site { github, issuer: base, us, attempt: LoginAttempt::start().unwrap(), asked }
}

impl Site {
    async fn come_back(&self, more: &[(&str, &str)]) -> Result<Identity, ClientError> {
        let pairs = [("code", "c-1"), ("state", self.attempt.state.as_str())];
        let query = append_query("", pairs.iter().chain(more).copied());
        let callback = Callback::parse(query.trim_start_matches('?')).unwrap();
        self.github.finish(&self.us, &outbound(), &callback, &self.attempt, NOW).await
    }

    fn lines(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(line, _)| line.clone()).collect()
    }
}

async fn sign_in(answers: Answers) -> Result<Identity, ClientError> {
    site(answers).await.come_back(&[]).await
}

#[tokio::test]
async fn the_number_is_the_subject_and_the_address_is_the_primary_verified_one() {
    let site = site(Answers::default()).await;
    let identity = site.come_back(&[]).await.unwrap();
    assert_eq!((identity.issuer.as_str(), identity.subject.as_str()), (site.issuer.as_str(), "583231"));
    assert_eq!((identity.email.as_deref(), identity.email_verified), (Some("mona@example.test"), true));
    assert_eq!(identity.name.as_deref(), Some("Mona L."));
    let asked = site.asked.lock().unwrap();
    let form: Vec<_> = form_urlencoded::parse(asked[0].1.as_bytes()).into_owned().collect();
    let sent = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap();
    assert_eq!((sent("client_id"), sent("client_secret"), sent("code")), ("Iv1.1".into(), "shh".into(), "c-1".into()));
    assert_eq!(
        (sent("code_verifier"), sent("redirect_uri")),
        (site.attempt.code_verifier.clone(), site.us.redirect_uri.clone())
    );
    let head = asked[1].1.to_ascii_lowercase();
    assert!(head.contains("authorization: bearer gho_1") && head.contains("user-agent: hexabase/"), "{head}");
}

#[tokio::test]
async fn the_browser_is_sent_with_state_and_challenge_and_no_secret() {
    let site = site(Answers::default()).await;
    let url = Url::parse(&site.github.authorization_url(&site.us, &site.attempt).unwrap()).unwrap();
    assert!(url.as_str().starts_with(&format!("{}/login/oauth/authorize?", site.issuer)));
    let get = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap();
    assert_eq!((get("scope"), get("code_challenge_method")), ("user:email".into(), "S256".into()));
    assert_eq!((get("state"), get("redirect_uri")), (site.attempt.state.clone(), site.us.redirect_uri.clone()));
    assert!(!url.as_str().contains("shh") && !url.as_str().contains(&site.attempt.code_verifier));
}

#[tokio::test]
async fn only_an_address_that_is_primary_and_verified_counts() {
    for emails in [
        json!([{ "email": "a@b.c", "primary": true, "verified": false }]),
        json!([{ "email": "a@b.c", "primary": false, "verified": true }]),
        json!([{ "email": "a@b.c" }]),
        json!([]),
    ] {
        let identity = sign_in(Answers { emails: (200, "", emails.clone()), ..Answers::default() }).await.unwrap();
        assert_eq!((identity.email, identity.email_verified), (None, false), "{emails}");
    }
}

#[tokio::test]
async fn whoever_did_not_grant_the_address_signs_in_without_one() {
    let granted = |scope: &str| json!({ "access_token": "gho_1", "scope": scope, "token_type": "bearer" });
    for (scope, headers, asked) in [
        ("user:email,read:org", "", true),
        ("repo,user", "", true),
        ("read:user", "", false),
        ("", "x-oauth-scopes: read:user\r\n", false),
        ("", "x-oauth-scopes: read:org, user:email\r\n", true),
        ("", "x-oauth-scopes: \r\n", true),
        ("", "", true),
    ] {
        let Answers { user, .. } = Answers::default();
        let answers = Answers { token: (200, "", granted(scope)), user: (200, headers, user.2), ..Answers::default() };
        let site = site(answers).await;
        let identity = site.come_back(&[]).await.unwrap();
        assert_eq!(identity.email.is_some(), asked, "{scope:?} {headers:?}");
        assert_eq!(site.lines().len(), if asked { 3 } else { 2 }, "{scope:?} {headers:?}");
    }
    // As it answers for a token without the scope, and for one of a GitHub App without the permission.
    for status in [403, 404] {
        let emails = (status, "x-ratelimit-remaining: 4990\r\n", json!({ "message": "Not Found" }));
        assert_eq!(sign_in(Answers { emails, ..Answers::default() }).await.unwrap().email, None, "{status}");
    }
}

#[tokio::test]
async fn a_refusal_with_the_status_200_is_a_refusal() {
    let refuse = |code: &str| Answers {
        token: (200, "", json!({ "error": code, "error_description": "no" })),
        ..Answers::default()
    };
    let refused = sign_in(refuse("bad_verification_code")).await.unwrap_err();
    assert_eq!(refused.fault(), Fault::Refusal);
    assert!(matches!(refused, ClientError::CodeRefused { code, .. } if code == "bad_verification_code"));
    for code in ["incorrect_client_credentials", "redirect_uri_mismatch"] {
        assert_eq!(sign_in(refuse(code)).await.unwrap_err().fault(), Fault::Configuration, "{code}");
    }
    for body in [
        json!({}),
        json!({ "access_token": "x" }),
        json!({ "access_token": "x", "token_type": "mac" }),
        json!({ "token_type": "bearer" }),
    ] {
        let refused = sign_in(Answers { token: (200, "", body.clone()), ..Answers::default() }).await.unwrap_err();
        assert!(matches!(refused, ClientError::TokenAnswer(_)), "{body}: {refused}");
    }
}

#[tokio::test]
async fn a_person_without_a_name_is_shown_by_login_and_a_number_that_is_none_is_nobody() {
    for name in [Value::Null, json!(""), json!("  ")] {
        let user = json!({ "id": 7, "login": "mona", "name": name });
        let identity = sign_in(Answers { user: (200, "", user), ..Answers::default() }).await.unwrap();
        assert_eq!((identity.name.as_deref(), identity.subject.as_str()), (Some("mona"), "7"));
    }
    for id in [json!("7"), json!(-7), json!(7.5), Value::Null] {
        let user = json!({ "id": id, "login": "mona" });
        let refused = sign_in(Answers { user: (200, "", user), ..Answers::default() }).await;
        assert!(matches!(refused, Err(ClientError::NotUnderstood { .. })), "{id}");
    }
}

#[tokio::test]
async fn a_limit_is_told_with_its_end() {
    let reset: &'static str =
        Box::leak(format!("x-ratelimit-remaining: 0\r\nx-ratelimit-reset: {}\r\n", NOW + 1800).into());
    let message = json!({ "message": "API rate limit exceeded" });
    for (status, headers, until) in [
        (403, reset, NOW + 1800),
        (429, reset, NOW + 1800),
        (429, "retry-after: 90\r\n", NOW + 90),
        (403, "retry-after: 90\r\n", NOW + 90),
        (403, "x-ratelimit-remaining: 0\r\n", NOW + 60),
        (429, "", NOW + 60),
        (429, "retry-after: -5\r\n", NOW + 1),
        (429, "retry-after: 9223372036854775807\r\n", NOW + 24 * 3600),
        (429, "retry-after: soon\r\n", NOW + 60),
    ] {
        for place in 0..3 {
            let mut answers = Answers::default();
            let one = [&mut answers.token, &mut answers.user, &mut answers.emails].into_iter().nth(place).unwrap();
            *one = (status, headers, message.clone());
            let refused = sign_in(answers).await.unwrap_err();
            assert_eq!(refused.fault(), Fault::RateLimit(until), "{status} {headers:?} at {place}");
        }
    }
    let plain = sign_in(Answers { user: (403, "x-ratelimit-remaining: 9\r\n", message), ..Answers::default() }).await;
    assert!(matches!(plain, Err(ClientError::Status { status: 403, .. })), "another 403");
}

#[tokio::test]
async fn a_callback_of_another_attempt_or_provider_redeems_nothing() {
    let site = site(Answers::default()).await;
    let evil = site.come_back(&[("iss", "https://evil.example")]).await;
    assert!(matches!(evil, Err(ClientError::CallbackIssuer)));
    let other = Site { attempt: LoginAttempt::start().unwrap(), ..site };
    let query = format!("code=c&state={}", LoginAttempt::start().unwrap().state);
    let refused =
        other.github.finish(&other.us, &outbound(), &Callback::parse(&query).unwrap(), &other.attempt, NOW).await;
    assert!(matches!(refused, Err(ClientError::StateMismatch)));
    assert!(other.lines().is_empty());
    // If GitHub begins to say who it is.
    for iss in [other.issuer.clone(), format!("{}/login/oauth", other.issuer)] {
        other.come_back(&[("iss", &iss)]).await.unwrap();
    }
}

#[test]
fn the_api_is_where_github_and_enterprise_servers_have_it() {
    let shown = |issuer: &str, api: Option<&str>| {
        let parse = |text: &str| Issuer::parse(text).unwrap();
        format!("{:?}", GitHub::new(parse(issuer), api.map(parse)).unwrap())
    };
    assert!(shown("https://github.com", None).contains("https://api.github.com"));
    assert!(shown("https://github.acme.example", None).contains("https://github.acme.example/api/v3"));
    assert!(shown("https://acme.ghe.com", Some("https://api.acme.ghe.com")).contains("https://api.acme.ghe.com"));
}
