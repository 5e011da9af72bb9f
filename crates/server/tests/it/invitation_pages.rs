use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexabase_backends::store::Digest;
use hexabase_testkit::browser::{Browser, Page};
use hexabase_testkit::http::Answer;
use serde_json::json;

use crate::invitations::invited;
use crate::support::{HOST, Platform, text};

const COOKIE: &str = "__Host-hexabase_invitation";

async fn give(platform: &Platform, browser: &Browser, token: &str) -> Result<Answer> {
    let form = [("token".to_owned(), token.to_owned()), ("language".to_owned(), "en".to_owned())];
    browser.post(&platform.at("/invitation"), &form).await
}

async fn show(platform: &Platform, browser: &Browser, email: &str) -> Result<Page> {
    browser.open_signed_in(platform.at("/invitation/confirm").as_str(), email).await
}

async fn agree(platform: &Platform, browser: &Browser) -> Result<Answer> {
    browser.post(&platform.at("/invitation/confirm"), &[]).await
}

#[tokio::test]
async fn a_person_opens_the_link_signs_in_for_the_first_time_sees_the_offer_and_joins() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let rename = json!({ "name": "<b>acme</b> & co" });
    alice.api.patch(&format!("/api/v1/organizations/{}", alice.organization), &rename).await?.expect(200)?;
    let shop = alice.workspace("shop").await?;
    let body = json!({ "email": "bob@example.test", "workspaces": [{ "workspace": shop }] });
    let (_, token) = invited(&alice, &alice.organization, body).await?;
    let browser = platform.browser();
    let first = browser.get(&platform.at("/invitation")).await?.expect(200)?;
    assert!(first.text.contains("name=\"token\"") && first.text.contains("action=\"/invitation\""), "{}", first.text);
    let taken = give(&platform, &browser, &token).await?.expect(303)?;
    assert_eq!(taken.header("location"), "/invitation/confirm");
    let held = browser.cookie(HOST, COOKIE).context("no cookie")?;
    assert!(!held.contains("hxi_"), "{held}");
    let line = taken.set_cookies().find(|line| line.starts_with(COOKIE)).context("no cookie")?;
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(line.contains(attribute), "{line}");
    }
    let page = show(&platform, &browser, "bob@example.test").await?;
    assert_eq!(page.url.path(), "/invitation/confirm");
    let html = page.answer.expect(200)?.text;
    for wanted in ["&lt;b&gt;acme&lt;/b&gt; &amp; co", "Alice Example", "Member", "shop", "WSUsers", "bob@example.test"]
    {
        assert!(html.contains(wanted), "{wanted} is missing in {html}");
    }
    assert!(!html.contains("<b>") && !html.contains("hxi_"), "{html}");
    // Nothing has happened by looking.
    let workspace = platform.at(&format!("/api/v1/workspaces/{shop}"));
    browser.get(&workspace).await?.expect(404)?;
    let joined = agree(&platform, &browser).await?.expect(200)?;
    assert!(joined.text.contains("You have joined"), "{}", joined.text);
    browser.get(&workspace).await?.expect(200)?;
    assert!(browser.cookie(HOST, COOKIE).is_none(), "the token is good for nothing any more");
    Ok(())
}

#[tokio::test]
async fn the_first_page_runs_our_script_and_no_other() -> Result<()> {
    let platform = Platform::start().await?;
    let page = platform.nobody().get("/invitation").await?.expect(200)?;
    let (_, rest) = page.text.split_once("<script>").context("no script")?;
    let (script, rest) = rest.split_once("</script>").context("no end of the script")?;
    assert!(!rest.contains("<script"), "{}", page.text);
    let hash = STANDARD.encode(Digest::of(script).as_bytes());
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(policy.ends_with(&format!("script-src 'sha256-{hash}'")), "{policy}");
    // What it does: it takes the token from behind the # out of the address, puts it into the form, and sends that.
    for step in ["location.hash", "history.replaceState", "elements.token", "form.submit()"] {
        assert!(script.contains(step), "{step} is missing in {script}");
    }
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(!platform.nobody().get("/sign-in").await?.header("content-security-policy").contains("script-src"));
    Ok(())
}

#[tokio::test]
async fn another_site_can_neither_plant_a_token_nor_agree() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let (bob, shop) = (platform.person("bob").await?, alice.workspace("shop").await?);
    let body = json!({ "email": bob.email, "workspaces": [{ "workspace": shop }] });
    let (_, token) = invited(&alice, &alice.organization, body).await?;
    let from = |origin: Option<&'static str>, form: Vec<(&'static str, String)>| {
        move |request: reqwest::RequestBuilder| match origin {
            Some(origin) => request.header("origin", origin).form(&form),
            None => request.form(&form),
        }
    };
    for origin in [Some("https://evil.example"), Some("null"), None] {
        let url = platform.at("/invitation");
        let planted = from(origin, vec![("token", token.clone())]);
        bob.browser.request(reqwest::Method::POST, &url, planted).await?.expect(403)?;
        assert!(bob.browser.cookie(HOST, COOKIE).is_none());
    }
    give(&platform, &bob.browser, &token).await?.expect(303)?;
    for origin in [Some("https://evil.example"), Some("null"), None] {
        let url = platform.at("/invitation/confirm");
        bob.browser.request(reqwest::Method::POST, &url, from(origin, vec![])).await?.expect(403)?;
    }
    bob.browser.get(&platform.at(&format!("/api/v1/workspaces/{shop}"))).await?.expect(404)?;
    Ok(())
}

#[tokio::test]
async fn whoever_is_signed_in_as_somebody_else_is_told_for_whom_it_is_and_can_change_that() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, mallory) = (platform.person("alice").await?, platform.person("mallory").await?);
    let (_, token) = invited(&alice, &alice.organization, json!({ "email": "bob@example.test" })).await?;
    give(&platform, &mallory.browser, &token).await?.expect(303)?;
    for answer in [
        show(&platform, &mallory.browser, "mallory@example.test").await?.answer,
        agree(&platform, &mallory.browser).await?,
    ] {
        let html = answer.expect(403)?.text;
        assert!(html.contains("b***@example.test") && html.contains("/auth/logout"), "{html}");
        assert!(!html.contains("bob") && !html.contains("Alice"), "{html}");
    }
    mallory.browser.post(&platform.at("/auth/logout"), &[]).await?.expect(303)?;
    let html = show(&platform, &mallory.browser, "bob@example.test").await?.answer.expect(200)?.text;
    assert!(html.contains("Alice Example"), "{html}");
    agree(&platform, &mallory.browser).await?.expect(200)?;
    // Again, by hand: it is good once.
    give(&platform, &mallory.browser, &token).await?.expect(303)?;
    let html = agree(&platform, &mallory.browser).await?.expect(409)?.text;
    assert!(html.contains("accepted already"), "{html}");
    Ok(())
}

#[tokio::test]
async fn a_pasted_link_is_as_good_as_its_code_and_nonsense_is_not_found() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (_, token) = invited(&alice, &alice.organization, json!({ "email": bob.email })).await?;
    // Without a token there is nothing to confirm.
    let back = bob.browser.get(&platform.at("/invitation/confirm")).await?.expect(303)?;
    assert_eq!(back.header("location"), "/invitation");
    bob.browser.set_cookie(HOST, COOKIE, "made-up");
    bob.browser.get(&platform.at("/invitation/confirm")).await?.expect(303)?;
    give(&platform, &bob.browser, "hxi_nonsense").await?.expect(303)?;
    let html = bob.browser.get(&platform.at("/invitation/confirm")).await?.expect(404)?.text;
    assert!(html.contains("There is no such invitation"), "{html}");
    assert!(bob.browser.cookie(HOST, COOKIE).is_none());
    give(&platform, &bob.browser, &format!(" {}/invitation#token={token}\n", platform.url)).await?.expect(303)?;
    agree(&platform, &bob.browser).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn the_pages_speak_the_language_of_the_invitation() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let shop = alice.workspace("shop").await?;
    let body = json!({ "email": bob.email, "language": "ja", "workspaces": [{ "workspace": shop }] });
    let (_, token) = invited(&alice, &alice.organization, body).await?;
    let first = bob.browser.get(&platform.at("/invitation?language=ja")).await?.expect(200)?;
    assert!(first.text.contains("<html lang=\"ja\">") && first.text.contains("招待コード"), "{}", first.text);
    for odd in ["fr", "%00", "ja'"] {
        let page = bob.browser.get(&platform.at(&format!("/invitation?language={odd}"))).await?.expect(200)?;
        assert!(page.text.contains("<html lang=\"en\">"), "{odd}");
    }
    give(&platform, &bob.browser, &token).await?.expect(303)?;
    let offered = bob.browser.get(&platform.at("/invitation/confirm")).await?.expect(200)?;
    assert!(offered.text.contains("参加する") && offered.text.contains("メンバー"), "{}", offered.text);
    let joined = agree(&platform, &bob.browser).await?.expect(200)?;
    assert!(joined.text.contains("参加しました"), "{}", joined.text);
    assert_eq!(text(&json!(joined.header("cache-control"))), "no-store");
    Ok(())
}
