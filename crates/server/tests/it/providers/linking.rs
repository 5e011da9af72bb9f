//! Linking an identity to an account, which only the person does, and taking one away.

use anyhow::{Context as _, Result};
use hexabase_app::clock::Clock;
use hexabase_backends::store::audit;
use hexabase_testkit::browser::Browser;
use hexabase_testkit::github::GitHubUser;
use hexabase_testkit::http::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::github::site;
use super::{come_back, identities, me, signed_in};
use crate::support::{ATTEMPT_COOKIE, HOST, Platform, SESSION_COOKIE, items, pass, problem, text};

const ALICE: &str = "alice@example.test";

/// Presses "Link" for a provider, and signs in there as `whom`; the address that the provider sends the browser back to.
async fn until_linked(platform: &Platform, browser: &Browser, id: &str, whom: &str) -> Result<Url> {
    let pressed = browser.post(&platform.at(&format!("/auth/{id}/link")), &[]).await?.expect(303)?;
    let callback = platform.at(&format!("/auth/{id}/callback"));
    browser.open_signed_in_until(pressed.header("location"), whom, callback.as_str()).await
}

async fn link(platform: &Platform, browser: &Browser, id: &str, whom: &str) -> Result<Answer> {
    let back = until_linked(platform, browser, id, whom).await?;
    browser.get(&back).await
}

/// Takes an identity away, as our page's scripts or `hxb` would.
async fn unlink(platform: &Platform, browser: &Browser, identity: &Value) -> Result<Answer> {
    let url = platform.at(&format!("/api/v1/me/identities/{}", text(&identity["id"])));
    let ours = platform.url.clone();
    browser
        .request(Method::DELETE, &url, |request| request.header("origin", ours).header("x-hexabase-request", "1"))
        .await
}

/// The actions in somebody's own audit log, oldest first, with what they were done to.
async fn audited(platform: &Platform, user: &Value) -> Result<Vec<(String, String, Option<Value>, Option<Value>)>> {
    let rows = audit::list_of_user(&platform.store().await?, &text(user).parse()?, 0, 100).await?;
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|row| row.seq);
    let shown = |row: audit::AuditRow| (row.entry.action, row.entry.subject, row.entry.before, row.entry.after);
    Ok(rows.into_iter().map(shown).filter(|(action, ..)| action.starts_with("identity.")).collect())
}

#[tokio::test]
async fn a_person_links_github_and_signs_in_with_either() -> Result<()> {
    let (platform, github) = site(Clock::System).await?;
    github.user(GitHubUser::new(583_231, "mona", "mona@github.test"));
    let browser = signed_in(&platform, "development", ALICE).await?;
    let alice = me(&platform, &browser).await?;
    let session = browser.cookie(HOST, SESSION_COOKIE);
    let answer = link(&platform, &browser, "github", "mona").await?.expect(303)?;
    assert_eq!(answer.header("location"), "/");
    assert_eq!(browser.cookie(HOST, SESSION_COOKIE), session, "the session goes on");
    assert!(browser.cookie(HOST, ATTEMPT_COOKIE).is_none());
    let own = identities(&platform, &browser).await?;
    let shown: Vec<_> =
        own.iter().map(|one| (text(&one["provider"]), text(&one["email"]), one["primary"] == true)).collect();
    let expected = [("development", ALICE, true), ("github", "mona@github.test", false)];
    assert_eq!(shown, expected.map(|(provider, email, primary)| (provider.to_owned(), email.to_owned(), primary)));
    let page = browser.get(&platform.at("/")).await?.expect(200)?;
    assert!(page.text.contains("GitHub: mona@github.test") && page.text.contains("Unlink it"), "{}", page.text);
    // Another browser, the other identity, the same person with the same name and address.
    let elsewhere = signed_in(&platform, "github", "mona").await?;
    assert_eq!(me(&platform, &elsewhere).await?, alice);
    assert!(identities(&platform, &elsewhere).await?[1]["last_used_at"].is_string());
    let subject = json!({ "issuer": github.url, "subject": "583231" });
    let linked = ("identity.linked".to_owned(), text(&own[1]["id"]), None, Some(subject));
    assert_eq!(audited(&platform, &alice["id"]).await?, [linked]);
    Ok(())
}

#[tokio::test]
async fn linking_what_one_has_already_changes_nothing() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = signed_in(&platform, "development", ALICE).await?;
    link(&platform, &browser, "development", ALICE).await?.expect(303)?;
    let alice = me(&platform, &browser).await?;
    assert_eq!(identities(&platform, &browser).await?.len(), 1);
    assert_eq!(audited(&platform, &alice["id"]).await?, []);
    Ok(())
}

#[tokio::test]
async fn the_identity_of_another_account_is_refused_with_a_page() -> Result<()> {
    let platform = Platform::start().await?;
    let bob = signed_in(&platform, "development", "bob@example.test").await?;
    let alice = signed_in(&platform, "development", ALICE).await?;
    let page = link(&platform, &alice, "development", "bob@example.test").await?.expect(409)?;
    assert!(page.text.contains("that identity belongs to another account"), "{}", page.text);
    for (browser, email) in [(&alice, ALICE), (&bob, "bob@example.test")] {
        assert_eq!(me(&platform, browser).await?["email"], email);
        assert_eq!(identities(&platform, browser).await?.len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn name_and_address_are_those_of_the_primary_identity() -> Result<()> {
    let (platform, github) = site(Clock::System).await?;
    let mona =
        |name: &str| GitHubUser { name: Some(name.to_owned()), ..GitHubUser::new(7, "mona", "mona@github.test") };
    github.user(mona("Mona"));
    let browser = signed_in(&platform, "development", ALICE).await?;
    link(&platform, &browser, "github", "mona").await?.expect(303)?;
    // What the other provider says now is noted, and changes nobody's name.
    github.user(mona("Mona Lisa"));
    signed_in(&platform, "github", "mona").await?;
    assert_eq!(me(&platform, &browser).await?["display_name"], "Alice Example");
    let own = identities(&platform, &browser).await?;
    assert_eq!(own[1]["display_name"], "Mona Lisa");
    // Without the primary one, the next is that.
    unlink(&platform, &browser, &own[0]).await?.expect(204)?;
    let person = me(&platform, &browser).await?;
    assert_eq!(
        (person["display_name"].as_str(), person["email"].as_str()),
        (Some("Mona Lisa"), Some("mona@github.test"))
    );
    github.user(mona("La Gioconda"));
    signed_in(&platform, "github", "mona").await?;
    assert_eq!(me(&platform, &browser).await?["display_name"], "La Gioconda");
    Ok(())
}

#[tokio::test]
async fn an_identity_that_was_taken_away_is_somebody_else_from_then_on() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = signed_in(&platform, "development", ALICE).await?;
    link(&platform, &browser, "development", "carol@example.test").await?.expect(303)?;
    let own = identities(&platform, &browser).await?;
    unlink(&platform, &browser, &own[1]).await?.expect(204)?;
    problem(&unlink(&platform, &browser, &own[1]).await?, 404, "not_found");
    let carol = signed_in(&platform, "development", "carol@example.test").await?;
    let (alice, carol) = (me(&platform, &browser).await?, me(&platform, &carol).await?);
    assert_ne!(alice["id"], carol["id"]);
    let actions: Vec<_> = audited(&platform, &alice["id"]).await?.into_iter().map(|(action, ..)| action).collect();
    assert_eq!(actions, ["identity.linked", "identity.unlinked"]);
    Ok(())
}

#[tokio::test]
async fn the_last_identity_stays() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = signed_in(&platform, "development", ALICE).await?;
    let own = identities(&platform, &browser).await?;
    problem(&unlink(&platform, &browser, &own[0]).await?, 409, "last_identity");
    let path = format!("/account/identities/{}/unlink", text(&own[0]["id"]));
    let page = browser.post(&platform.at(&path), &[]).await?.expect(409)?;
    assert!(page.text.contains("the only identity that you can sign in with"), "{}", page.text);
    assert_eq!(identities(&platform, &browser).await?, own);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_identities_that_are_taken_away_at_once_one_stays() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let browser = signed_in(&platform, "development", ALICE).await?;
        link(&platform, &browser, "development", "carol@example.test").await?.expect(303)?;
        let own = identities(&platform, &browser).await?;
        let both = own.iter().map(|identity| unlink(&platform, &browser, identity));
        let mut answers: Vec<_> =
            futures::future::try_join_all(both).await?.into_iter().map(|answer| answer.status).collect();
        answers.sort_unstable();
        assert_eq!(answers, [204, 409]);
        assert_eq!(identities(&platform, &browser).await?.len(), 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_people_who_link_the_same_identity_at_once_one_gets_it() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let mut backs = Vec::new();
        for email in [ALICE, "bob@example.test"] {
            let browser = signed_in(&platform, "development", email).await?;
            let back = until_linked(&platform, &browser, "development", "carol@example.test").await?;
            backs.push((browser, back));
        }
        let both = backs.iter().map(|(browser, back)| browser.get(back));
        let mut answers: Vec<_> =
            futures::future::try_join_all(both).await?.into_iter().map(|answer| answer.status).collect();
        answers.sort_unstable();
        assert_eq!(answers, [303, 409]);
    }
    Ok(())
}

#[tokio::test]
async fn identities_are_taken_away_on_the_page_too() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = signed_in(&platform, "development", ALICE).await?;
    link(&platform, &browser, "development", "carol@example.test").await?.expect(303)?;
    let own = identities(&platform, &browser).await?;
    let path = format!("/account/identities/{}/unlink", text(&own[0]["id"]));
    assert!(browser.get(&platform.at("/")).await?.expect(200)?.text.contains(&path));
    let answer = browser.post(&platform.at(&path), &[]).await?.expect(303)?;
    assert_eq!(answer.header("location"), "/");
    assert_eq!(identities(&platform, &browser).await?.len(), 1);
    assert_eq!(me(&platform, &browser).await?["email"], "carol@example.test");
    Ok(())
}

#[tokio::test]
async fn another_site_can_neither_link_nor_unlink() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = signed_in(&platform, "development", ALICE).await?;
    link(&platform, &browser, "development", "carol@example.test").await?.expect(303)?;
    let own = identities(&platform, &browser).await?;
    let unlink = format!("/account/identities/{}/unlink", text(&own[0]["id"]));
    for path in ["/auth/development/link", &unlink] {
        let url = platform.at(path);
        for origin in [None, Some("https://evil.example"), Some("null")] {
            let with = |request: reqwest::RequestBuilder| match origin {
                Some(origin) => request.header("origin", origin),
                None => request,
            };
            let answer = browser.request(Method::POST, &url, with).await?.expect(403)?;
            assert!(browser.cookie(HOST, ATTEMPT_COOKIE).is_none() && answer.header("location").is_empty());
        }
        browser.get(&url).await?.expect(405)?;
    }
    assert_eq!(identities(&platform, &browser).await?, own);
    Ok(())
}

#[tokio::test]
async fn whoever_is_not_signed_in_links_nothing() -> Result<()> {
    let platform = Platform::start().await?;
    let nobody = platform.browser();
    let answer = nobody.post(&platform.at("/auth/development/link"), &[]).await?.expect(303)?;
    assert_eq!(answer.header("location"), "/sign-in?return_to=%2F");
    assert!(nobody.cookie(HOST, ATTEMPT_COOKIE).is_none());
    nobody.post(&platform.at("/auth/no-such/link"), &[]).await?.expect(404)?;
    nobody.post(&platform.at("/account/identities/idn-00000000000000000000/unlink"), &[]).await?.expect(401)?;
    problem(&nobody.get(&platform.at("/api/v1/me/identities")).await?, 401, "unauthenticated");
    Ok(())
}

#[tokio::test]
async fn linking_needs_a_sign_in_of_the_last_fifteen_minutes() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let browser = signed_in(&platform, "development", ALICE).await?;
    pass(&platform, 15 * 60);
    link(&platform, &browser, "development", "carol@example.test").await?.expect(303)?;
    pass(&platform, 1);
    let page = browser.post(&platform.at("/auth/development/link"), &[]).await?.expect(403)?;
    assert!(page.text.contains("linking needs a sign-in of the last 15 minutes"), "{}", page.text);
    assert!(page.text.contains("href=\"/sign-in?return_to=%2F\""), "{}", page.text);
    assert!(browser.cookie(HOST, ATTEMPT_COOKIE).is_none());
    come_back(&platform, &browser, "development", ALICE).await?.expect(303)?;
    link(&platform, &browser, "development", "dan@example.test").await?.expect(303)?;
    assert_eq!(identities(&platform, &browser).await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn an_attempt_to_link_is_good_in_the_session_that_began_it_and_in_no_other() -> Result<()> {
    let platform = Platform::start().await?;
    // Mallory begins, and has the victim's browser end it: the victim's account would open to Mallory's identity.
    let mallory = signed_in(&platform, "development", "mallory@example.test").await?;
    let back = until_linked(&platform, &mallory, "development", "second-of-mallory@example.test").await?;
    let attempt = mallory.cookie(HOST, ATTEMPT_COOKIE).context("no attempt")?;
    let victim = signed_in(&platform, "development", ALICE).await?;
    victim.set_cookie(HOST, ATTEMPT_COOKIE, &attempt);
    victim.get(&back).await?.expect(401)?;
    assert_eq!(identities(&platform, &victim).await?.len(), 1);
    // Nobody is signed in by it, and signing out or in again ends it.
    let nobody = platform.browser();
    nobody.set_cookie(HOST, ATTEMPT_COOKIE, &attempt);
    nobody.get(&back).await?.expect(401)?;
    assert!(nobody.cookie(HOST, SESSION_COOKIE).is_none());
    let again = platform.browser();
    come_back(&platform, &again, "development", "mallory@example.test").await?.expect(303)?;
    again.set_cookie(HOST, ATTEMPT_COOKIE, &attempt);
    again.get(&back).await?.expect(401)?;
    assert_eq!(identities(&platform, &again).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn one_person_has_twenty_identities_at_most() -> Result<()> {
    let platform = Platform::start().await?;
    let browser = signed_in(&platform, "development", ALICE).await?;
    for number in 1..20 {
        link(&platform, &browser, "development", &format!("alias-{number}@example.test")).await?.expect(303)?;
    }
    let page = link(&platform, &browser, "development", "alias-20@example.test").await?.expect(409)?;
    assert!(page.text.contains("at most 20 identities"), "{}", page.text);
    assert_eq!(items(&browser.get(&platform.at("/api/v1/me/identities")).await?).len(), 20);
    Ok(())
}
