//! The development issuer over HTTP, driven by the relying party that drives Google.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::Router;
use hexabase_oidc::{
    Issuer,
    client::{
        Callback, ClientError, Identity, JwksCache, LoginAttempt, Outbound, ProviderMetadata, Reach, RelyingParty,
    },
    provider::OAuthErrorCode,
};
use tokio::net::TcpListener;
use url::Url;

use super::{DevIdentity, DevIssuer, DevIssuerError};

const CALLBACK: &str = "http://127.0.0.1:9/auth/callback/dev";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

struct Site {
    http: reqwest::Client,
    outbound: Outbound,
    metadata: ProviderMetadata,
    us: RelyingParty,
    now: Arc<AtomicI64>,
}

/// The issuer at `http://127.0.0.1:<port>/dev`.
async fn site(change: impl FnOnce(DevIssuer) -> DevIssuer, secret: Option<&str>) -> Site {
    let now = Arc::new(AtomicI64::new(1_800_000_000));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/dev", listener.local_addr().unwrap());
    let own = Arc::clone(&now);
    let clock = Arc::new(move || own.load(Ordering::Relaxed));
    let dev = change(DevIssuer::new(&url, "hexabase", &[CALLBACK.to_owned()], clock).unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().nest("/dev", dev.router())).await });
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let outbound = Outbound::new(Reach { loopback: true, ..Reach::default() }).unwrap();
    let metadata = ProviderMetadata::discover(&outbound, &Issuer::parse(&url).unwrap()).await.unwrap();
    let us = RelyingParty {
        client_id: "hexabase".into(),
        client_secret: secret.map(|secret| secret.to_owned().into()),
        redirect_uri: CALLBACK.into(),
        scopes: "openid email profile".into(),
    };
    Site { http, outbound, metadata, us, now }
}

impl Site {
    fn url(&self, attempt: &LoginAttempt, hint: Option<&str>) -> String {
        self.us.authorization_url(&self.metadata, attempt, hint).unwrap()
    }

    /// Posts the form as a test would; the query of the redirect to the callback.
    async fn choose(&self, attempt: &LoginAttempt, form: &[(&str, &str)]) -> String {
        let answer = self.http.post(self.url(attempt, None)).form(form).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let location = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        assert!(location.as_str().starts_with(CALLBACK));
        location.query().unwrap().to_owned()
    }

    async fn finish(&self, attempt: &LoginAttempt, query: &str) -> Result<Identity, ClientError> {
        let (callback, cache) = (Callback::parse(query).unwrap(), JwksCache::new());
        let now = self.now.load(Ordering::Relaxed);
        self.us.finish(&self.outbound, &cache, &self.metadata, &callback, attempt, now).await
    }

    async fn sign_in(&self, form: &[(&str, &str)]) -> Identity {
        let attempt = LoginAttempt::start().unwrap();
        let query = self.choose(&attempt, form).await;
        self.finish(&attempt, &query).await.unwrap()
    }
}

fn refused_code(result: Result<Identity, ClientError>) -> String {
    match result {
        Err(ClientError::CodeRefused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_person_signs_in_with_one_form_post() {
    let site = site(|dev| dev, None).await;
    let alice = site.sign_in(&[("email", "alice@example.test")]).await;
    assert_eq!(alice.name.as_deref(), Some("Alice Example"));
    assert_eq!((alice.email.as_deref(), alice.email_verified), (Some("alice@example.test"), true));
    assert_eq!(alice.issuer, site.metadata.issuer.as_str());
}

#[tokio::test]
async fn anybody_can_be_made_up_and_keeps_their_subject() {
    let one = site(|dev| dev, None).await;
    let dana = one.sign_in(&[("email", " Dana@Example.test "), ("name", "Dana D.")]).await;
    assert_eq!((dana.email.as_deref(), dana.name.as_deref()), (Some("dana@example.test"), Some("Dana D.")));
    let restarted = site(|dev| dev, None).await;
    let again = restarted.sign_in(&[("email", "dana@example.test")]).await;
    assert_eq!((again.subject.as_str(), again.name.as_deref()), (dana.subject.as_str(), Some("dana")));
    let other = restarted.sign_in(&[("email", "dan@example.test")]).await;
    assert_ne!(other.subject, dana.subject);
    assert!(!dana.subject.contains("dana"), "the subject says nothing about the address");
}

#[tokio::test]
async fn a_code_is_redeemed_once() {
    let site = site(|dev| dev, None).await;
    let attempt = LoginAttempt::start().unwrap();
    let query = site.choose(&attempt, &[("email", "bob@example.test")]).await;
    site.finish(&attempt, &query).await.unwrap();
    assert_eq!(refused_code(site.finish(&attempt, &query).await), "invalid_grant");
}

#[tokio::test]
async fn a_code_lives_for_a_minute() {
    let site = site(|dev| dev, None).await;
    let attempt = LoginAttempt::start().unwrap();
    let query = site.choose(&attempt, &[("email", "bob@example.test")]).await;
    site.now.fetch_add(60, Ordering::Relaxed);
    assert_eq!(refused_code(site.finish(&attempt, &query).await), "invalid_grant");
}

#[tokio::test]
async fn a_thousand_unused_codes_are_the_most_and_make_room_after_a_minute() {
    let site = site(|dev| dev, None).await;
    let attempt = LoginAttempt::start().unwrap();
    let form = [("email", "bob@example.test")];
    for _ in 0..1000 {
        assert!(site.choose(&attempt, &form).await.starts_with("code="));
    }
    assert!(site.choose(&attempt, &form).await.starts_with("error=temporarily_unavailable"));
    site.now.fetch_add(60, Ordering::Relaxed);
    assert!(site.choose(&attempt, &form).await.starts_with("code="));
}

#[tokio::test]
async fn a_code_needs_its_own_verifier_and_a_wrong_one_uses_it_up() {
    let site = site(|dev| dev, None).await;
    let attempt = LoginAttempt::start().unwrap();
    let query = site.choose(&attempt, &[("email", "bob@example.test")]).await;
    let mut thief = attempt.clone();
    thief.code_verifier = LoginAttempt::start().unwrap().code_verifier;
    assert_eq!(refused_code(site.finish(&thief, &query).await), "invalid_grant");
    assert_eq!(refused_code(site.finish(&attempt, &query).await), "invalid_grant");
}

#[tokio::test]
async fn a_client_with_a_secret_must_show_it() {
    let with_secret = |dev: DevIssuer| dev.with_client_secret(SECRET).unwrap();
    let mut site = site(with_secret, Some(SECRET)).await;
    site.sign_in(&[("email", "bob@example.test")]).await;
    for wrong in [None, Some("another".to_owned())] {
        site.us.client_secret = wrong.map(Into::into);
        let attempt = LoginAttempt::start().unwrap();
        let query = site.choose(&attempt, &[("email", "bob@example.test")]).await;
        let expected = OAuthErrorCode::InvalidClient.as_str();
        assert_eq!(refused_code(site.finish(&attempt, &query).await), expected);
    }
}

#[tokio::test]
async fn the_page_suggests_people_and_preselects_the_hinted_one() {
    let site = site(|dev| dev, None).await;
    let attempt = LoginAttempt::start().unwrap();
    let page = async |hint| site.http.get(site.url(&attempt, hint)).send().await.unwrap().text().await.unwrap();
    let html = page(Some("bob@example.test")).await;
    for email in ["alice@example.test", "bob@example.test", "carol@example.test"] {
        assert!(html.contains(&format!("value=\"{email}\"")), "{email}");
    }
    assert_eq!(html.matches("person hinted").count(), 1);
    assert!(html.contains("value=\"bob@example.test\" autofocus"));
    let html = page(Some("new@example.test")).await;
    assert!(html.contains("type=\"email\" value=\"new@example.test\""));
}

#[tokio::test]
async fn the_form_of_the_page_leads_back_to_the_same_request() {
    let site = site(|dev| dev, None).await;
    let attempt = LoginAttempt::start().unwrap();
    let url = Url::parse(&site.url(&attempt, None)).unwrap();
    let html = site.http.get(url.clone()).send().await.unwrap().text().await.unwrap();
    let action = html.split("action=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    assert_eq!(url.join(&action).unwrap(), url);
}

#[tokio::test]
async fn nothing_a_stranger_sends_becomes_markup() {
    let site = site(|dev| dev.with_identities(vec![DevIdentity::new("<b>", "b@example.test")]), None).await;
    let attempt = LoginAttempt::start().unwrap();
    let url = site.url(&attempt, Some("\"><script>alert(1)</script>"));
    for url in [url.clone(), format!("{url}&x=\"><script>alert(1)</script>")] {
        let answer = site.http.get(&url).send().await.unwrap();
        assert!(answer.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        let html = answer.text().await.unwrap();
        assert!(!html.contains("<script") && !html.contains("<b><b>"), "{html}");
        assert!(html.contains("&lt;b&gt;"));
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_asked_for_again() {
    let site = site(|dev| dev, None).await;
    let attempt = LoginAttempt::start().unwrap();
    for email in ["nobody", "@example.test", "a@", "a b@example.test", "a@b@c", "a@b,c@d", "<a@b>"] {
        let form = [("email", email), ("name", "N")];
        let answer = site.http.post(site.url(&attempt, None)).form(&form).send().await.unwrap();
        assert_eq!(answer.status(), 422, "{email}");
        assert!(answer.text().await.unwrap().contains("not an e-mail address"));
    }
    let answer = site.http.post(site.url(&attempt, None)).form(&[("email", "")]).send().await.unwrap();
    assert_eq!(answer.status(), 200, "nobody chosen: the page again");
}

#[tokio::test]
async fn a_wrong_redirect_uri_is_shown_and_other_errors_go_back() {
    let site = site(|dev| dev, None).await;
    let attempt = LoginAttempt::start().unwrap();
    let url = site.url(&attempt, None);
    let answer = site.http.get(url.replace("callback%2Fdev", "callback%2Fevil")).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.headers().get("location").is_none());
    assert!(answer.text().await.unwrap().contains("redirect_uri is not registered"));
    for (url, error) in [
        (format!("{url}&prompt=none"), "login_required"),
        (url.replace("S256", "plain"), "invalid_request"),
        (url.replace("response_type=code", "response_type=token"), "unsupported_response_type"),
    ] {
        let answer = site.http.get(url).send().await.unwrap();
        let location = answer.headers()["location"].to_str().unwrap();
        assert!(location.starts_with(&format!("{CALLBACK}?error={error}&")), "{location}");
        let told = site.finish(&attempt, location.split_once('?').unwrap().1).await.unwrap_err();
        assert!(matches!(told, ClientError::Refused { code, .. } if code == error));
    }
}

#[tokio::test]
async fn userinfo_answers_the_access_token_and_nothing_else() {
    let site = site(|dev| dev, None).await;
    let attempt = LoginAttempt::start().unwrap();
    let query = site.choose(&attempt, &[("email", "carol@example.test")]).await;
    let callback = Callback::parse(&query).unwrap();
    let code = callback.code(&attempt, &site.metadata).unwrap();
    let tokens = site.us.exchange_code(&site.outbound, &site.metadata, code, &attempt).await.unwrap();
    let url = site.metadata.userinfo_endpoint.clone().unwrap();
    let get = async |token: &str| site.http.get(url.clone()).bearer_auth(token).send().await.unwrap();
    let info: serde_json::Value = get(&tokens.access_token).await.json().await.unwrap();
    assert_eq!((&info["email"], &info["email_verified"]), (&"carol@example.test".into(), &true.into()));
    let form = [("access_token", tokens.access_token.as_str())];
    assert_eq!(site.http.post(url.clone()).form(&form).send().await.unwrap().status(), 200);
    for token in ["", "x", &tokens.id_token.unwrap()] {
        let answer = get(token).await;
        assert_eq!(answer.status(), 401);
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer error=\"invalid_token\""));
    }
    site.now.fetch_add(600, Ordering::Relaxed);
    assert_eq!(get(&tokens.access_token).await.status(), 401);
}

#[tokio::test]
async fn scopes_decide_what_is_told() {
    let mut site = site(|dev| dev, None).await;
    site.us.scopes = "openid".into();
    let bare = site.sign_in(&[("email", "alice@example.test")]).await;
    assert_eq!((bare.email, bare.name, bare.email_verified), (None, None, false));
}

#[tokio::test]
async fn a_request_to_another_host_name_is_refused() {
    let site = site(|dev| dev, None).await;
    let url = site.metadata.issuer.discovery_url();
    for host in ["evil.example", "10.0.0.1:8080", "localhost.evil.example"] {
        let answer = site.http.get(&url).header("host", host).send().await.unwrap();
        assert_eq!(answer.status(), 421, "{host}");
    }
    for host in ["localhost:1", "[::1]:1", "127.0.0.1"] {
        assert_eq!(site.http.get(&url).header("host", host).send().await.unwrap().status(), 200, "{host}");
    }
}

#[test]
fn it_is_not_built_for_an_issuer_url_off_this_computer() {
    let build = |url: &str| DevIssuer::new(url, "hexabase", &[CALLBACK.to_owned()], Arc::new(|| 0)).err();
    for url in ["https://id.example.com", "http://10.0.0.1:8080/dev", "http://localhost.example.com", "https://0.0.0.0"]
    {
        let error = build(url).unwrap();
        assert!(matches!(&error, DevIssuerError::NotLoopback(found) if found == url), "{url}");
        assert!(error.to_string().contains("runs on a loopback address only"), "{error}");
    }
    assert!(matches!(build("nonsense"), Some(DevIssuerError::Issuer { .. })));
    for url in ["http://localhost:8080/dev", "http://127.0.0.1:8080", "https://[::1]:8443/dev"] {
        assert!(build(url).is_none(), "{url}");
    }
    let redirect = DevIssuer::new("http://localhost", "x", &["javascript:alert(1)".to_owned()], Arc::new(|| 0));
    assert!(matches!(redirect.err(), Some(DevIssuerError::RedirectUri { .. })));
}
