//! A program of the person's own machine is let in by a click, once for each sign-in of the browser.

use anyhow::{Context as _, Result};
use reqwest::Method;
use url::Url;

use super::{REDIRECT_URI, pairs, redeem, request};
use crate::support::{Platform, SECRET, WEB_REDIRECT_URI, text, web_client};

#[tokio::test]
async fn a_signed_in_browser_asks_before_it_gives_a_code_to_a_port_of_its_machine() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    let signed_in = browser.open_signed_in(platform.at("/sign-in").as_str(), "alice@example.test").await?;
    signed_in.answer.expect(200)?;
    let url = request(&platform, "platform", &[]);
    let page = browser.get(&url).await?.expect(200)?;
    for shown in ["hxb, the command line", "on this machine", "Alice Example", "alice@example.test"] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    // Who may show nothing is told that somebody would have to be asked.
    let silent = browser.get(&request(&platform, "platform", &[("prompt", "none")])).await?;
    assert_eq!(pairs(&Url::parse(silent.header("location"))?)["error"], "consent_required");
    let cancelled = browser.press_button(&url, &page.text, "confirm", "cancel").await?.expect(303)?;
    let back = pairs(&Url::parse(cancelled.header("location"))?);
    assert_eq!((&*back["error"], &*back["state"]), ("access_denied", "a state"));
    // Still unanswered.
    browser.get(&url).await?.expect(200)?;
    let answer = browser.press_button(&url, &page.text, "confirm", "continue").await?.expect(303)?;
    let code = pairs(&Url::parse(answer.header("location"))?).remove("code").context("no code")?;
    redeem(&platform, "platform", &code, &[]).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn what_was_let_in_is_remembered_for_this_program_host_issuer_and_sign_in() -> Result<()> {
    let platform = Platform::start().await?;
    // Signing in with hxb let it in, on 127.0.0.1.
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let passes = async |browser: &hexabase_testkit::browser::Browser, realm: &str, changes: &[(&str, &str)]| {
        let answer = browser.get(&request(&platform, realm, changes)).await?;
        anyhow::Ok(answer.header("location").contains("code="))
    };
    assert!(passes(&alice.browser, "platform", &[]).await?);
    assert!(passes(&alice.browser, "platform", &[("redirect_uri", "http://127.0.0.1:1/callback")]).await?);
    assert!(passes(&alice.browser, "platform", &[("prompt", "none")]).await?);
    for changes in [
        [("redirect_uri", "http://localhost:4711/callback")],
        [("redirect_uri", "http://[::1]:4711/callback")],
        [("prompt", "consent")],
    ] {
        assert!(!passes(&alice.browser, "platform", &changes).await?, "{changes:?}");
    }
    assert!(!passes(&alice.browser, &workspace, &[]).await?);
    let elsewhere = platform.browser();
    elsewhere.open_signed_in(platform.at("/sign-in").as_str(), &alice.email).await?.answer.expect(200)?;
    assert!(!passes(&elsewhere, "platform", &[]).await?);
    Ok(())
}

#[tokio::test]
async fn another_site_cannot_press_the_button() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    browser.open_signed_in(platform.at("/sign-in").as_str(), "alice@example.test").await?.answer.expect(200)?;
    let url = request(&platform, "platform", &[]);
    let decision = platform.at("/oidc/platform/authorize/decision");
    let form = |person: &str| {
        [
            ("request", url.query().unwrap_or_default().to_owned()),
            ("person", person.to_owned()),
            ("confirm", "continue".to_owned()),
        ]
    };
    let me = browser.get(&platform.at("/api/v1/me")).await?.expect(200)?.json()?;
    let alice = text(&me["id"]);
    for origin in [None, Some("https://evil.example"), Some("null")] {
        let with = |request: reqwest::RequestBuilder| match origin {
            Some(origin) => request.header("origin", origin).form(&form(&alice)),
            None => request.form(&form(&alice)),
        };
        browser.request(Method::POST, &decision, with).await?.expect(403)?;
    }
    // A page that showed somebody else lets nothing in: it is shown anew.
    let stale: Vec<_> =
        form("usr-00000000000000000000").into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let page = browser.post(&decision, &stale).await?.expect(200)?;
    assert!(page.text.contains("Alice Example"));
    browser.get(&url).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn somebody_else_can_sign_in_instead() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = platform.browser();
    browser.open_signed_in(platform.at("/sign-in").as_str(), "alice@example.test").await?.answer.expect(200)?;
    let url = request(&platform, "platform", &[]);
    let page = browser.get(&url).await?.expect(200)?;
    let other = browser.press_button(&url, &page.text, "confirm", "other").await?.expect(303)?;
    let sign_in = url.join(other.header("location"))?;
    assert_eq!(pairs(&sign_in)["prompt"], "select_account");
    let back = browser.open_signed_in_until(sign_in.as_str(), "bob@example.test", REDIRECT_URI).await?;
    let tokens = redeem(&platform, "platform", &pairs(&back)["code"], &[]).await?.expect(200)?.json()?;
    let me = platform.nobody().with_token(text(&tokens["access_token"])).get("/api/v1/me").await?.expect(200)?;
    assert_eq!(me.json()?["email"], "bob@example.test");
    Ok(())
}

#[tokio::test]
async fn a_client_whose_address_has_an_owner_is_let_in_without_a_click_unless_it_wants_one() -> Result<()> {
    let platform = Platform::start_with(|config| config.oidc.clients.push(web_client("web"))).await?;
    let alice = platform.person("alice").await?;
    let url = |more: &[(&str, &str)]| {
        request(&platform, "platform", &[&[("client_id", "web"), ("redirect_uri", WEB_REDIRECT_URI)], more].concat())
    };
    let answer = alice.browser.get(&url(&[])).await?.expect(303)?;
    assert!(answer.header("location").starts_with(WEB_REDIRECT_URI));
    let asked = url(&[("prompt", "consent")]);
    let page = alice.browser.get(&asked).await?.expect(200)?;
    assert!(
        page.text.contains("The client web") && !page.text.contains("on this machine") && !page.text.contains(SECRET)
    );
    let answer = alice.browser.press_button(&asked, &page.text, "confirm", "continue").await?.expect(303)?;
    assert!(answer.header("location").contains("code="));
    Ok(())
}

#[tokio::test]
async fn what_a_person_lets_in_is_in_their_own_log() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let store = platform.store().await?;
    let entries = hexabase_backends::store::audit::list_of_user(&store, &alice.id.parse()?, 0, 100).await?;
    let confirmed: Vec<_> = entries.iter().filter(|entry| entry.entry.action == "client.confirmed").collect();
    assert_eq!(confirmed.len(), 1, "{entries:?}");
    let after = confirmed[0].entry.after.clone().context("nothing said")?;
    assert_eq!((after["client"].as_str(), after["redirect_host"].as_str()), (Some("hxb"), Some("127.0.0.1")));
    Ok(())
}
