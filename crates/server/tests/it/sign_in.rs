use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use hexabase_testkit::browser::Browser;
use hexabase_testkit::http::Answer;
use reqwest::Method;
use url::Url;

use crate::support::{ATTEMPT_COOKIE, HOST, Platform, SESSION_COOKIE, items, pass, problem, text};

const EMAIL: &str = "alice@example.test";

/// Goes as far as the address that the development issuer sends the browser back to, without opening it.
async fn until_callback(platform: &Platform, browser: &Browser, return_to: &str) -> Result<Url> {
    let start = with_return_to(platform, "/auth/development/start", return_to);
    browser.open_signed_in_until(start.as_str(), EMAIL, platform.at("/auth/development/callback").as_str()).await
}

fn with_return_to(platform: &Platform, path: &str, return_to: &str) -> Url {
    let mut url = platform.at(path);
    url.query_pairs_mut().append_pair("return_to", return_to);
    url
}

fn is_signed_in(browser: &Browser) -> bool {
    browser.cookie(HOST, SESSION_COOKIE).is_some()
}

/// The same address with one query parameter changed.
fn changed(url: &Url, name: &str, value: &str) -> Url {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut url = url.clone();
    let change =
        |(key, old): &(String, String)| (key.clone(), if key == name { value.to_owned() } else { old.clone() });
    url.query_pairs_mut().clear().extend_pairs(pairs.iter().map(change));
    url
}

async fn me(platform: &Platform, browser: &Browser) -> Result<Answer> {
    browser.get(&platform.at("/api/v1/me")).await
}

#[tokio::test]
async fn the_first_sign_in_makes_the_person_and_a_private_organization() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let me = alice.api.get("/api/v1/me").await?.expect(200)?.json()?;
    assert_eq!(me["email"], EMAIL);
    assert_eq!(me["email_verified"], true);
    assert_eq!(me["display_name"], "Alice Example");
    assert_eq!(me["organizations"].as_array().map(Vec::len), Some(1));
    assert_eq!(me["organizations"][0]["role"], "admin");
    let organizations = items(&alice.api.get("/api/v1/organizations").await?);
    assert_eq!(organizations.len(), 1);
    assert_eq!(organizations[0]["personal"], true);
    Ok(())
}

#[tokio::test]
async fn signing_in_again_makes_nothing() -> Result<()> {
    let platform = Platform::start().await?;
    let first = platform.person("alice").await?;
    let second = platform.person("alice").await?;
    assert_eq!(first.id, second.id);
    assert_eq!(items(&second.api.get("/api/v1/organizations").await?).len(), 1);
    assert_eq!(first.organization, second.organization);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_first_sign_ins_at_once_make_one_person_and_one_organization() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let sign_in = || async {
            let browser = Browser::sign_in(&platform.authority, &platform.url, EMAIL).await?;
            let me = me(&platform, &browser).await?.expect(200)?.json()?;
            anyhow::Ok((text(&me["id"]), me["organizations"].clone()))
        };
        let found = futures::future::try_join_all((0..20).map(|_| sign_in())).await?;
        let people: BTreeSet<_> = found.iter().map(|(id, _)| id).collect();
        assert_eq!(people.len(), 1, "{people:?}");
        let organizations: BTreeSet<_> = found.iter().map(|(_, organizations)| organizations.to_string()).collect();
        assert_eq!(organizations.len(), 1, "{organizations:?}");
        assert_eq!(found[0].1.as_array().map(Vec::len), Some(1));
    }
    Ok(())
}

#[tokio::test]
async fn the_session_cookie_belongs_to_this_host_and_to_no_script() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    let started = browser.get(&platform.at("/auth/development/start")).await?;
    let attempt = started.set_cookies().find(|line| line.starts_with(ATTEMPT_COOKIE)).context("no attempt cookie")?;
    let back = until_callback(&platform, &browser, "/").await?;
    let answer = browser.get(&back).await?;
    let session = answer.set_cookies().find(|line| line.starts_with(SESSION_COOKIE)).context("no session cookie")?;
    for line in [attempt, session] {
        let attributes: Vec<&str> = line.split("; ").skip(1).collect();
        for wanted in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(attributes.contains(&wanted), "{wanted} is missing in {line}");
        }
        assert!(!line.contains("Domain="), "{line}");
    }
    // The attempt is over.
    assert!(answer.set_cookies().any(|line| line.starts_with(ATTEMPT_COOKIE) && line.contains("Max-Age=0")));
    assert!(browser.cookie(HOST, ATTEMPT_COOKIE).is_none());
    Ok(())
}

#[tokio::test]
async fn a_callback_with_another_state_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    let back = until_callback(&platform, &browser, "/").await?;
    browser.get(&changed(&back, "state", "another")).await?.expect(401)?;
    assert!(!is_signed_in(&browser));
    Ok(())
}

#[tokio::test]
async fn a_callback_with_another_issuer_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    let back = until_callback(&platform, &browser, "/").await?;
    browser.get(&changed(&back, "iss", "https://evil.example")).await?.expect(401)?;
    assert!(!is_signed_in(&browser));
    Ok(())
}

#[tokio::test]
async fn a_callback_with_another_persons_code_is_refused() -> Result<()> {
    // The state is ours, the code was made for another attempt: its nonce and PKCE verifier are not ours.
    let platform = Platform::start().await?;
    let (attacker, victim) = (platform.browser(), platform.browser());
    let planted = until_callback(&platform, &attacker, "/").await?;
    let code = planted.query_pairs().find(|(name, _)| name == "code").context("no code")?.1.into_owned();
    let back = until_callback(&platform, &victim, "/").await?;
    victim.get(&changed(&back, "code", &code)).await?.expect(401)?;
    assert!(!is_signed_in(&victim));
    Ok(())
}

#[tokio::test]
async fn a_callback_in_a_browser_that_did_not_begin_is_refused() -> Result<()> {
    // Login CSRF: the attacker has the victim open the attacker's own callback.
    let platform = Platform::start().await?;
    let back = until_callback(&platform, &platform.browser(), "/").await?;
    let victim = platform.browser();
    victim.get(&back).await?.expect(401)?;
    assert!(!is_signed_in(&victim));
    Ok(())
}

#[tokio::test]
async fn a_callback_with_the_attempt_of_another_browser_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let (one, other) = (platform.browser(), platform.browser());
    let back = until_callback(&platform, &one, "/").await?;
    until_callback(&platform, &other, "/").await?;
    let swapped = other.cookie(HOST, ATTEMPT_COOKIE).context("no attempt")?;
    one.set_cookie(HOST, ATTEMPT_COOKIE, &swapped);
    one.get(&back).await?.expect(401)?;
    assert!(!is_signed_in(&one));
    Ok(())
}

#[tokio::test]
async fn a_changed_or_invented_attempt_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    let back = until_callback(&platform, &browser, "/").await?;
    let sealed = browser.cookie(HOST, ATTEMPT_COOKIE).context("no attempt")?;
    let flipped = format!("{}{}", if sealed.starts_with('A') { "B" } else { "A" }, &sealed[1..]);
    for value in [flipped.as_str(), &sealed[..sealed.len() - 4], "", "e30", "nonsense!"] {
        browser.set_cookie(HOST, ATTEMPT_COOKIE, value);
        browser.get(&back).await?.expect(401)?;
        assert!(!is_signed_in(&browser), "{value:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_callback_that_is_opened_twice_signs_in_once() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    let back = until_callback(&platform, &browser, "/").await?;
    let attempt = browser.cookie(HOST, ATTEMPT_COOKIE).context("no attempt")?;
    browser.get(&back).await?.expect(303)?;
    // The attempt's cookie is gone, and does not help a thief who kept a copy.
    browser.get(&back).await?.expect(401)?;
    let thief = platform.browser();
    thief.set_cookie(HOST, ATTEMPT_COOKIE, &attempt);
    thief.get(&back).await?.expect(401)?;
    assert!(!is_signed_in(&thief));
    Ok(())
}

#[tokio::test]
async fn an_attempt_ends_after_ten_minutes() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let browser = platform.browser();
    let back = until_callback(&platform, &browser, "/").await?;
    pass(&platform, 601);
    browser.get(&back).await?.expect(401)?;
    assert!(!is_signed_in(&browser));
    Ok(())
}

#[tokio::test]
async fn a_provider_that_says_no_signs_nobody_in() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    let back = until_callback(&platform, &browser, "/").await?;
    let state = back.query_pairs().find(|(name, _)| name == "state").context("no state")?.1.into_owned();
    let mut refused = platform.at("/auth/development/callback");
    refused.query_pairs_mut().append_pair("error", "access_denied").append_pair("state", &state);
    let page = browser.get(&refused).await?.expect(401)?;
    assert!(!page.text.contains("<script"));
    assert!(!is_signed_in(&browser));
    Ok(())
}

#[tokio::test]
async fn signing_in_leads_back_to_this_site_only() -> Result<()> {
    let platform = Platform::start().await?;
    let here = Url::parse(&platform.url)?;
    for wanted in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\/evil.example/",
        "/\t/evil.example/",
        "\t//evil.example/",
        "/\n/evil.example/",
        "/\r\n/evil.example/",
        "javascript:alert(1)",
        "evil.example",
        "/\u{0}/evil.example",
        "",
    ] {
        let browser = platform.browser();
        let back = until_callback(&platform, &browser, wanted).await?;
        let answer = browser.get(&back).await?.expect(303)?;
        let location = answer.headers.get("location").context("no location")?.to_str()?;
        // As a browser reads it, which drops tabs and line ends.
        let target = here.join(location)?;
        assert_eq!(target.origin(), here.origin(), "{wanted:?} led to {target}");
    }
    Ok(())
}

#[tokio::test]
async fn signing_in_leads_back_to_where_the_person_wanted_to_go() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    let back = until_callback(&platform, &browser, "/device?user_code=BCDF-GHJK").await?;
    let answer = browser.get(&back).await?.expect(303)?;
    assert_eq!(answer.header("location"), "/device?user_code=BCDF-GHJK");
    Ok(())
}

#[tokio::test]
async fn the_sign_in_page_writes_nothing_that_a_visitor_sent_as_html() -> Result<()> {
    let platform = Platform::start().await?;
    let url = with_return_to(&platform, "/sign-in", "/\"><script>alert(1)</script>");
    let page = platform.browser().get(&url).await?.expect(200)?;
    assert!(!page.text.contains("<script"), "{}", page.text);
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    Ok(())
}

#[tokio::test]
async fn an_unknown_provider_is_a_page_that_says_so() -> Result<()> {
    let platform = Platform::start().await?;
    platform.browser().get(&platform.at("/auth/nobody/start")).await?.expect(404)?;
    platform.browser().get(&platform.at("/auth/nobody/callback?code=x&state=y")).await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn a_session_that_was_planted_in_the_browser_ends_when_somebody_signs_in() -> Result<()> {
    let platform = Platform::start().await?;
    // The attacker plants an own session in the victim's browser and waits for the victim to sign in.
    let attacker = platform.person("mallory").await?;
    let planted = attacker.browser.cookie(HOST, SESSION_COOKIE).context("no session")?;
    let victim = platform.browser();
    victim.set_cookie(HOST, SESSION_COOKIE, &planted);
    let back = until_callback(&platform, &victim, "/").await?;
    victim.get(&back).await?.expect(303)?;
    let fresh = victim.cookie(HOST, SESSION_COOKIE).context("no session")?;
    assert_ne!(fresh, planted);
    assert_eq!(me(&platform, &victim).await?.expect(200)?.json()?["email"], EMAIL);
    problem(&me(&platform, &attacker.browser).await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn the_session_changes_with_every_sign_in() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = Browser::sign_in(&platform.authority, &platform.url, EMAIL).await?;
    let first = browser.cookie(HOST, SESSION_COOKIE).context("no session")?;
    let back = until_callback(&platform, &browser, "/").await?;
    browser.get(&back).await?.expect(303)?;
    assert_ne!(browser.cookie(HOST, SESSION_COOKIE), Some(first.clone()));
    let old = platform.browser();
    old.set_cookie(HOST, SESSION_COOKIE, &first);
    problem(&me(&platform, &old).await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn signing_out_ends_the_session_for_every_copy_of_its_cookie() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = Browser::sign_in(&platform.authority, &platform.url, EMAIL).await?;
    let copy = browser.cookie(HOST, SESSION_COOKIE).context("no session")?;
    browser.post(&platform.at("/auth/logout"), &[]).await?.expect(303)?;
    assert!(!is_signed_in(&browser));
    let thief = platform.browser();
    thief.set_cookie(HOST, SESSION_COOKIE, &copy);
    problem(&me(&platform, &thief).await?, 401, "unauthenticated");
    // Once more, signed out already.
    browser.post(&platform.at("/auth/logout"), &[]).await?.expect(303)?;
    Ok(())
}

#[tokio::test]
async fn another_site_cannot_sign_anybody_out() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = Browser::sign_in(&platform.authority, &platform.url, EMAIL).await?;
    let url = platform.at("/auth/logout");
    for origin in [None, Some("https://evil.example"), Some("null")] {
        let with = |request: reqwest::RequestBuilder| match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        };
        browser.request(Method::POST, &url, with).await?.expect(403)?;
    }
    browser.get(&url).await?.expect(405)?;
    me(&platform, &browser).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn another_site_cannot_change_anything_with_a_browsers_cookie() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = Browser::sign_in(&platform.authority, &platform.url, EMAIL).await?;
    let url = platform.at("/api/v1/organizations");
    let ours = platform.url.as_str();
    let cases: [(Option<&str>, bool); 6] = [
        (None, false),
        (None, true),
        (Some(ours), false),
        (Some("https://evil.example"), true),
        (Some("null"), true),
        (Some("https://localhost"), true),
    ];
    let body = serde_json::json!({ "name": "Crossed" });
    for (origin, header) in cases {
        let with = |mut request: reqwest::RequestBuilder| {
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            if header {
                request = request.header("x-hexabase-request", "1");
            }
            request.json(&body)
        };
        problem(&browser.request(Method::POST, &url, with).await?, 403, "cross_site");
    }
    let from_our_page =
        |request: reqwest::RequestBuilder| request.header("origin", ours).header("x-hexabase-request", "1").json(&body);
    browser.request(Method::POST, &url, from_our_page).await?.expect(201)?;
    assert_eq!(items(&browser.get(&url).await?).len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_browser_that_is_not_used_for_a_week_is_signed_out() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let browser = Browser::sign_in(&platform.authority, &platform.url, EMAIL).await?;
    pass(&platform, 6 * 24 * 3600);
    me(&platform, &browser).await?.expect(200)?;
    // Its use moved the end.
    pass(&platform, 6 * 24 * 3600);
    me(&platform, &browser).await?.expect(200)?;
    pass(&platform, 7 * 24 * 3600 + 1);
    problem(&me(&platform, &browser).await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn a_browser_that_is_used_keeps_its_cookie() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let browser = Browser::sign_in(&platform.authority, &platform.url, EMAIL).await?;
    let token = browser.cookie(HOST, SESSION_COOKIE).context("no session")?;
    let given_again = |answer: &Answer| -> Option<String> {
        answer.set_cookies().find(|line| line.starts_with(SESSION_COOKIE)).map(str::to_owned)
    };
    assert_eq!(given_again(&me(&platform, &browser).await?.expect(200)?), None, "it is new");
    for path in ["/api/v1/me", "/"] {
        pass(&platform, 6 * 24 * 3600);
        let line = given_again(&browser.get(&platform.at(path)).await?.expect(200)?).context("no cookie")?;
        assert!(line.starts_with(&format!("{SESSION_COOKIE}={token};")), "{line}");
        for wanted in ["Max-Age=604800", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(line.split("; ").any(|attribute| attribute == wanted), "{wanted} is missing in {line}");
        }
        assert_eq!(given_again(&me(&platform, &browser).await?.expect(200)?), None, "it was given just now");
    }
    Ok(())
}

#[tokio::test]
async fn an_invented_session_is_nobody() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    for value in ["", "hxs_", "hxs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "' or 1=1 --"] {
        browser.set_cookie(HOST, SESSION_COOKIE, value);
        problem(&me(&platform, &browser).await?, 401, "unauthenticated");
    }
    Ok(())
}

#[tokio::test]
async fn a_way_back_that_no_browser_can_keep_is_refused_at_once() -> Result<()> {
    let platform = Platform::start().await?;
    let start = |length| with_return_to(&platform, "/auth/development/start", &format!("/{}", "x".repeat(length)));
    platform.browser().get(&start(2000)).await?.expect(303)?;
    let answer = platform.browser().get(&start(4000)).await?.expect(400)?;
    assert!(answer.text.contains("longer than a browser can keep"), "{}", answer.text);
    assert_eq!((answer.header("location"), answer.set_cookies().count()), ("", 0));
    Ok(())
}
