//! Signing out at the wish of a client.

use anyhow::{Context as _, Result};
use hexabase_oidc::jwt::Typ;
use hexabase_testkit::http::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::{me, web_post, web_tokens};
use crate::support::{
    HOST, Person, Platform, SESSION_COOKIE, broken, changed, claims, oauth_error, pass, text, web_client,
};

const BYE: &str = "https://web.example.test/bye";

async fn start() -> Result<(Platform, Person, String)> {
    let platform = Platform::start_with(|config| {
        config.oidc.clients.push(web_client("web"));
        config.oidc.clients.push(web_client("other"));
    })
    .await?;
    let alice = platform.person("alice").await?;
    let tokens = web_tokens(&platform, &alice, "platform", "web", "openid").await?;
    Ok((platform, alice, text(&tokens["id_token"])))
}

fn address(platform: &Platform, parameters: &[(&str, &str)]) -> Url {
    let mut url = platform.at("/oidc/platform/end_session");
    url.query_pairs_mut().extend_pairs(parameters);
    url
}

async fn is_signed_in(platform: &Platform, person: &Person) -> Result<bool> {
    Ok(person.browser.get(&platform.at("/api/v1/me")).await?.status == 200)
}

/// Fails unless the page asks the person, who is then still signed in.
#[track_caller]
fn asks(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text.contains("name=\"sign_out\""), "{}", answer.text);
}

#[tokio::test]
async fn a_client_with_the_persons_id_token_signs_them_out_and_gets_them_back() -> Result<()> {
    let (platform, alice, id_token) = start().await?;
    let (sid, cookie) =
        (claims(&id_token)?["sid"].clone(), alice.browser.cookie(HOST, SESSION_COOKIE).context("none")?);
    let url = address(&platform, &[("id_token_hint", &id_token), ("post_logout_redirect_uri", BYE), ("state", "a b")]);
    let answer = alice.browser.get(&url).await?.expect(303)?;
    assert_eq!(answer.header("location"), format!("{BYE}?state=a+b"));
    assert!(alice.browser.cookie(HOST, SESSION_COOKIE).is_none());
    alice.browser.set_cookie(HOST, SESSION_COOKIE, &cookie);
    assert!(!is_signed_in(&platform, &alice).await?, "the session has ended, not only its cookie");
    // The client's own sign-in has ended too; hxb is another one.
    let store = platform.store().await?;
    let live =
        hexabase_backends::store::sessions::find_live(&store, &text(&sid).parse()?, platform.clock.now()).await?;
    assert!(live.is_none());
    me(&platform, alice.api.token()).await?.expect(200)?;
    // Once more changes nothing and is no mistake.
    alice.browser.get(&url).await?.expect(303)?;
    Ok(())
}

#[tokio::test]
async fn without_a_good_hint_the_person_is_asked() -> Result<()> {
    let (platform, alice, _) = start().await?;
    let bob = platform.person("bob").await?;
    let of_bob = text(&web_tokens(&platform, &bob, "platform", "web", "openid").await?["id_token"]);
    for parameters in [
        vec![],
        vec![("state", "x")],
        vec![("client_id", "web")],
        vec![("client_id", "web"), ("post_logout_redirect_uri", BYE)],
        vec![("id_token_hint", of_bob.as_str())],
        vec![("id_token_hint", "garbage")],
    ] {
        asks(&alice.browser.get(&address(&platform, &parameters)).await?);
        assert!(is_signed_in(&platform, &alice).await?, "{parameters:?}");
    }
    let url = address(&platform, &[("client_id", "web"), ("post_logout_redirect_uri", BYE), ("state", "s")]);
    let page = alice.browser.get(&url).await?;
    assert!(page.text.contains("The client web"));
    alice.browser.press_button(&url, &page.text, "sign_out", "no").await?.expect(200)?;
    assert!(is_signed_in(&platform, &alice).await?);
    let done = alice.browser.press_button(&url, &page.text, "sign_out", "yes").await?.expect(303)?;
    assert_eq!(done.header("location"), format!("{BYE}?state=s"));
    assert!(!is_signed_in(&platform, &alice).await?);
    assert!(is_signed_in(&platform, &bob).await?);
    Ok(())
}

#[tokio::test]
async fn another_site_can_neither_press_the_button_nor_forge_the_hint() -> Result<()> {
    let (platform, alice, id_token) = start().await?;
    let decision = platform.at("/oidc/platform/end_session/decision");
    let form = [("request", ""), ("sign_out", "yes")];
    for origin in [None, Some("https://evil.example"), Some("null")] {
        let with = |request: reqwest::RequestBuilder| match origin {
            Some(origin) => request.header("origin", origin).form(&form),
            None => request.form(&form),
        };
        alice.browser.request(Method::POST, &decision, with).await?.expect(403)?;
    }
    let good = claims(&id_token)?;
    let elsewhere = Platform::start().await?;
    let hints = [
        elsewhere.forge(&good, Typ::Jwt).await?,
        platform.forge(&changed(&good, json!({ "iss": platform.issuer("ws-00000000000000000000") })), Typ::Jwt).await?,
        platform.forge(&good, Typ::AccessToken).await?,
        broken(&id_token)?,
    ];
    for hint in hints {
        asks(&alice.browser.get(&address(&platform, &[("id_token_hint", &hint)])).await?);
    }
    assert!(is_signed_in(&platform, &alice).await?);
    // The forgery itself works.
    let hint = platform.forge(&good, Typ::Jwt).await?;
    alice.browser.get(&address(&platform, &[("id_token_hint", &hint)])).await?.expect(200)?;
    assert!(!is_signed_in(&platform, &alice).await?);
    Ok(())
}

#[tokio::test]
async fn nobody_is_sent_where_the_client_is_not_registered() -> Result<()> {
    let (platform, alice, id_token) = start().await?;
    let hint = ("id_token_hint", id_token.as_str());
    for parameters in [
        vec![hint, ("post_logout_redirect_uri", "https://evil.example/")],
        vec![hint, ("post_logout_redirect_uri", "https://web.example.test/bye?more")],
        vec![hint, ("post_logout_redirect_uri", BYE), ("client_id", "other")],
        vec![hint, ("post_logout_redirect_uri", BYE), ("client_id", "nobody")],
        vec![("post_logout_redirect_uri", BYE)],
        vec![("post_logout_redirect_uri", BYE), ("client_id", "hxb")],
        vec![("post_logout_redirect_uri", BYE), ("id_token_hint", "garbage")],
        vec![("state", "x"), ("state", "y")],
    ] {
        let answer = alice.browser.get(&address(&platform, &parameters)).await?;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{parameters:?}");
    }
    assert!(is_signed_in(&platform, &alice).await?);
    // A browser in which nobody is signed in is not a way to send people around.
    let stranger = platform.browser();
    let answer = stranger.get(&address(&platform, &[("client_id", "web"), ("post_logout_redirect_uri", BYE)])).await?;
    assert_eq!((answer.status, answer.header("location")), (200, ""));
    Ok(())
}

#[tokio::test]
async fn the_request_may_be_a_form_of_another_site() -> Result<()> {
    let (platform, alice, id_token) = start().await?;
    let form = [("id_token_hint", id_token.as_str()), ("post_logout_redirect_uri", BYE)];
    let with = |request: reqwest::RequestBuilder| request.header("origin", "https://web.example.test").form(&form);
    let answer =
        alice.browser.request(Method::POST, &platform.at("/oidc/platform/end_session"), with).await?.expect(303)?;
    let answer = alice.browser.get(&platform.at("/").join(answer.header("location"))?).await?.expect(303)?;
    assert_eq!(answer.header("location"), BYE);
    assert!(!is_signed_in(&platform, &alice).await?);
    Ok(())
}

#[tokio::test]
async fn what_others_may_have_seen_signs_nobody_out_behind_their_back() -> Result<()> {
    let platform = Platform::start_standing_with(|config| config.oidc.clients.push(web_client("web"))).await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    // A token for kubectl is for the workspace and was given to hxb: it is nobody's ID token.
    let of_kubectl = alice.workspace_token(&platform, &workspace).await?;
    let mut url = platform.at(&format!("/oidc/{workspace}/end_session"));
    url.query_pairs_mut().append_pair("id_token_hint", &of_kubectl);
    platform.browser().get(&url).await?.expect(200)?;
    me(&platform, alice.api.token()).await?.expect(200)?;
    // An ID token whose time is over leads back, and ends nothing where its person is not signed in.
    let mut tokens = web_tokens(&platform, &alice, "platform", "web", "openid offline_access").await?;
    let hint = text(&tokens["id_token"]);
    let url = address(&platform, &[("id_token_hint", &hint), ("post_logout_redirect_uri", BYE)]);
    let refresh = async |tokens: &Value| {
        let token = text(&tokens["refresh_token"]);
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
        web_post(&platform, "/oidc/platform/token", "web", &form).await
    };
    pass(&platform, 601);
    assert_eq!(platform.browser().get(&url).await?.expect(303)?.header("location"), BYE);
    tokens = refresh(&tokens).await?.expect(200)?.json()?;
    // Where she is signed in it is as good as ever.
    assert_eq!(alice.browser.get(&url).await?.expect(303)?.header("location"), BYE);
    assert_eq!(oauth_error(&refresh(&tokens).await?), "invalid_grant");
    Ok(())
}
