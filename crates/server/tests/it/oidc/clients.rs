//! Clients that the operator has registered.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hexabase_app::break_glass::{self, BreakGlassRequest};
use hexabase_app::members::Invitee;
use hexabase_testkit::http::Http;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::{code_for, me, pairs, request, web_post, web_tokens};
use crate::support::{
    Platform, SECRET, WEB_REDIRECT_URI, claims, exchange, items, oauth_error, pass, problem, text, web_client,
};
use crate::tokens::in_a_day;

/// The changes that make the good request one of a client of the operator's.
fn web<'a>(client: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("client_id", client), ("redirect_uri", WEB_REDIRECT_URI)], more].concat()
}

#[tokio::test]
async fn a_dashboards_token_tells_who_somebody_is_and_does_nothing_for_them() -> Result<()> {
    let platform = Platform::start_with(|config| {
        let client = web_client("dashboard");
        config.oidc.clients.push(hexabase_server::config::ClientConfig {
            realms: vec!["platform".to_owned(), "workspaces".to_owned()],
            ..client
        });
    })
    .await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let tokens = web_tokens(&platform, &alice, "platform", "dashboard", "openid email").await?;
    let access = text(&tokens["access_token"]);
    assert_eq!(claims(&access)?["aud"], platform.issuer("platform"));
    let bearer = platform.nobody().with_token(&access);
    assert_eq!(bearer.get("/oidc/platform/userinfo").await?.expect(200)?.json()?["email"], alice.email);
    problem(&me(&platform, &access).await?, 401, "unauthenticated");
    assert_eq!(oauth_error(&exchange(&platform, &workspace, &access).await?), "invalid_grant");
    // In a workspace's realm likewise: not at its API server, and with groups for whoever asks for them.
    let tokens = web_tokens(&platform, &alice, &workspace, "dashboard", "openid groups").await?;
    let (access, id_token) = (text(&tokens["access_token"]), claims(&text(&tokens["id_token"]))?);
    assert_eq!(id_token["groups"], serde_json::json!(["WSAdmins", "WorkspaceMembers"]));
    assert_eq!(
        (id_token["aud"].as_str(), id_token["iss"].as_str()),
        (Some("dashboard"), Some(&*platform.issuer(&workspace)))
    );
    let bearer = platform.nobody().with_token(&access);
    let said = bearer.get(&format!("/oidc/{workspace}/userinfo")).await?.expect(200)?.json()?;
    assert_eq!((&said["groups"], &said["email"]), (&id_token["groups"], &Value::Null));
    for token in [access, text(&tokens["id_token"])] {
        let gateway = platform.nobody().with_token(token);
        gateway.get(&format!("/k8s/{workspace}/version")).await?.expect(401)?;
    }
    // It cannot get a token that does more either.
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", alice.api.token()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    let refused = web_post(&platform, &format!("/oidc/{workspace}/token"), "dashboard", &form).await?;
    assert_eq!(oauth_error(&refused), "unauthorized_client");
    Ok(())
}

/// A platform with a client that acts for people.
async fn with_console() -> Result<Platform> {
    Platform::start_with(|config| {
        let client = web_client("console");
        config.oidc.clients.push(hexabase_server::config::ClientConfig {
            realms: vec!["platform".to_owned(), "workspaces".to_owned()],
            acts_for_people: true,
            ..client
        });
    })
    .await
}

#[tokio::test]
async fn a_client_that_acts_for_people_gets_tokens_for_the_api_server() -> Result<()> {
    let platform = with_console().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let tokens = web_tokens(&platform, &alice, "platform", "console", "openid").await?;
    me(&platform, &text(&tokens["access_token"])).await?.expect(200)?;
    let tokens = web_tokens(&platform, &alice, &workspace, "console", "openid").await?;
    let gateway = platform.nobody().with_token(text(&tokens["access_token"]));
    gateway.get(&format!("/k8s/{workspace}/version")).await?.expect(503)?;
    Ok(())
}

#[tokio::test]
async fn a_client_that_acts_for_people_gives_itself_nothing_that_lasts() -> Result<()> {
    let platform = with_console().await?;
    let alice = platform.person("alice").await?;
    let tokens = web_tokens(&platform, &alice, "platform", "console", "openid offline_access").await?;
    let console = platform.nobody().with_token(text(&tokens["access_token"]));
    let token = json!({ "name": "deploy", "access": "write", "expires_at": in_a_day() });
    // Not even what the person was answered to the same request.
    let keyed =
        |api: &Http| api.request(Method::POST, "/api/v1/me/tokens").header("idempotency-key", "one").json(&token);
    alice.api.send(keyed(&alice.api)).await?.expect(201)?;
    let session = format!("/api/v1/me/sessions/{}", text(&claims(alice.api.token())?["sid"]));
    for answer in [
        console.send(keyed(&console)).await?,
        console.get("/api/v1/me/tokens").await?,
        console.get("/api/v1/me/sessions").await?,
        console.send(console.request(Method::POST, "/api/v1/me/sessions/end-others")).await?,
        console.delete(&session).await?,
    ] {
        let refused = problem(&answer, 403, "forbidden");
        assert!(text(&refused["detail"]).starts_with("the program console can neither manage"), "{refused}");
    }
    // What else the person may do it may do, and the log says which program it was.
    let organization = format!("/api/v1/organizations/{}", alice.organization);
    let workspace = json!({ "name": "shop", "plan": "standard" });
    console.post(&format!("{organization}/workspaces"), &workspace).await?.expect(201)?;
    let rows = items(&alice.api.get(&format!("{organization}/audit")).await?);
    let by = format!("session {} of console", text(&claims(console.token())?["sid"]));
    assert_eq!(rows.last().context("no record")?["credential"], by);
    Ok(())
}

#[tokio::test]
async fn break_glass_is_for_people_and_not_for_a_client_that_acts_for_them() -> Result<()> {
    let platform = with_console().await?;
    let (tenant, staff) = (platform.person("tenant").await?, platform.person("staff").await?);
    let tokens = web_tokens(&platform, &staff, "platform", "console", "openid").await?;
    let console = platform.nobody().with_token(text(&tokens["access_token"]));
    let workspace = tenant.workspace("shop").await?;
    let given = BreakGlassRequest {
        organization: tenant.organization.parse()?,
        who: Invitee::User(staff.id.parse()?),
        minutes: 60,
        reason: "support case 17".to_owned(),
        operator: "ada".to_owned(),
    };
    break_glass::start(&platform.store().await?, &platform.clock, &given).await?;
    for path in [format!("/api/v1/organizations/{}", tenant.organization), format!("/api/v1/workspaces/{workspace}")] {
        staff.api.get(&path).await?.expect(200)?;
        problem(&console.get(&path).await?, 404, "not_found");
    }
    Ok(())
}

#[tokio::test]
async fn a_sign_in_without_a_refresh_token_ends_with_its_access_token() -> Result<()> {
    let platform = Platform::start_standing_with(|config| config.oidc.clients.push(web_client("web"))).await?;
    let alice = platform.person("alice").await?;
    let tokens = web_tokens(&platform, &alice, "platform", "web", "openid").await?;
    let access = text(&tokens["access_token"]);
    let sid = claims(&access)?["sid"].clone();
    let listed = async || {
        let rows = items(&alice.browser.get(&platform.at("/api/v1/me/sessions")).await?);
        anyhow::Ok(rows.into_iter().find(|row| row["id"] == sid))
    };
    let end = json!(platform.clock.now().plus_seconds(600).to_string());
    let row = listed().await?.context("no session")?;
    assert_eq!((&row["label"], &row["expires_at"]), (&json!("The client web"), &end));
    // A use does not move its end.
    pass(&platform, 400);
    platform.nobody().with_token(&access).get("/oidc/platform/userinfo").await?.expect(200)?;
    assert_eq!(listed().await?.context("no session")?["expires_at"], end);
    pass(&platform, 200);
    assert_eq!(listed().await?, None);
    // The log tells whose it was.
    let rows = items(&alice.browser.get(&platform.at("/api/v1/me/audit")).await?);
    let started = rows.iter().find(|row| row["action"] == "session.started" && row["subject"] == sid);
    let said = json!({ "kind": "device", "label": "The client web", "realm": "platform", "client": "web" });
    assert_eq!(started.context("no record")?["after"], said);
    Ok(())
}

#[tokio::test]
async fn a_used_code_ends_nothing_in_the_hands_of_another_client() -> Result<()> {
    let platform = Platform::start_with(|config| {
        config.oidc.clients.push(web_client("web"));
        config.oidc.clients.push(web_client("other"));
    })
    .await?;
    let alice = platform.person("alice").await?;
    let changes = web("web", &[("code_challenge", ""), ("code_challenge_method", "")]);
    let code = code_for(&platform, &alice, "platform", &changes).await?;
    let form = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", WEB_REDIRECT_URI)];
    let redeem = async |client: &str| web_post(&platform, "/oidc/platform/token", client, &form).await;
    let tokens = redeem("web").await?.expect(200)?.json()?;
    let bearer = platform.nobody().with_token(text(&tokens["access_token"]));
    for (client, status) in [("other", 200), ("web", 401)] {
        assert_eq!(oauth_error(&redeem(client).await?), "invalid_grant");
        bearer.get("/oidc/platform/userinfo").await?.expect(status)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_is_known_where_it_is_registered_and_nowhere_else() -> Result<()> {
    let platform = Platform::start_with(|config| config.oidc.clients.push(web_client("web"))).await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let answer = alice.browser.get(&request(&platform, &workspace, &web("web", &[]))).await?;
    assert_eq!((answer.status, answer.header("location")), (400, ""));
    for uri in
        ["https://web.example.test/callback/", "https://web.example.test:443/callback", "http://127.0.0.1:1/callback"]
    {
        let answer =
            alice.browser.get(&request(&platform, "platform", &[("client_id", "web"), ("redirect_uri", uri)])).await?;
        assert_eq!((answer.status, answer.header("location")), (400, ""), "{uri}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_proves_itself_by_its_secret_in_one_of_two_ways() -> Result<()> {
    let platform = Platform::start_with(|config| config.oidc.clients.push(web_client("web"))).await?;
    let alice = platform.person("alice").await?;
    let changes = web("web", &[("code_challenge", ""), ("code_challenge_method", "")]);
    let redeem = async |more: &[(&str, &str)]| {
        let code = code_for(&platform, &alice, "platform", &changes).await?;
        let form = [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", WEB_REDIRECT_URI)];
        platform.nobody().post_form("/oidc/platform/token", &[&form[..], more].concat()).await
    };
    redeem(&[("client_id", "web"), ("client_secret", SECRET)]).await?.expect(200)?;
    for wrong in [
        vec![("client_id", "web")],
        vec![("client_id", "web"), ("client_secret", "wrong")],
        vec![("client_id", "hxb"), ("client_secret", SECRET)],
    ] {
        let refused = redeem(&wrong).await?.expect(401)?;
        assert_eq!(oauth_error(&refused), "invalid_client", "{wrong:?}");
    }
    let bad =
        web_post(&platform, "/oidc/platform/token", "hxb", &[("grant_type", "refresh_token"), ("refresh_token", "x")]);
    let bad = bad.await?.expect(401)?;
    assert!(bad.header("www-authenticate").starts_with("Basic"));
    Ok(())
}

#[tokio::test]
async fn a_verifier_for_a_code_without_a_challenge_is_refused() -> Result<()> {
    let platform = Platform::start_with(|config| config.oidc.clients.push(web_client("web"))).await?;
    let alice = platform.person("alice").await?;
    for (challenge, verifier) in [("", super::VERIFIER), (super::CHALLENGE, ""), (super::CHALLENGE, &*"x".repeat(43))] {
        let method = if challenge.is_empty() { "" } else { "S256" };
        let changes = web("web", &[("code_challenge", challenge), ("code_challenge_method", method)]);
        let code = code_for(&platform, &alice, "platform", &changes).await?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", WEB_REDIRECT_URI),
            ("code_verifier", verifier),
        ];
        let refused = web_post(&platform, "/oidc/platform/token", "web", &form).await?;
        assert_eq!(oauth_error(&refused), "invalid_grant", "{challenge:?} {verifier:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_needs_a_challenge_or_a_nonce_must_send_one() -> Result<()> {
    let platform = Platform::start_with(|config| {
        config.oidc.clients.push(hexabase_server::config::ClientConfig { pkce: None, ..web_client("web") });
    })
    .await?;
    let alice = platform.person("alice").await?;
    let plain = [("code_challenge", ""), ("code_challenge_method", "")];
    let answer = alice.browser.get(&request(&platform, "platform", &web("web", &plain))).await?;
    assert!(answer.header("location").contains("code="), "a nonce will do: {answer:?}");
    let neither = [&plain[..], &[("nonce", "")]].concat();
    let answer = alice.browser.get(&request(&platform, "platform", &web("web", &neither))).await?;
    assert_eq!(pairs(&Url::parse(answer.header("location"))?)["error"], "invalid_request");
    Ok(())
}

#[tokio::test]
async fn a_client_gets_id_tokens_of_the_algorithm_it_is_registered_for() -> Result<()> {
    let platform = Platform::start_with(|config| {
        let old = web_client("old");
        config.oidc.clients.push(web_client("new"));
        config
            .oidc
            .clients
            .push(hexabase_server::config::ClientConfig { id_token_signed_response_alg: "RS256".to_owned(), ..old });
    })
    .await?;
    let alice = platform.person("alice").await?;
    let keys = platform.nobody().get("/oidc/platform/jwks").await?.expect(200)?.json()?;
    for (client, algorithm) in [("new", "ES256"), ("old", "RS256")] {
        let tokens = web_tokens(&platform, &alice, "platform", client, "openid").await?;
        let token = text(&tokens["id_token"]);
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().context("no header")?)?;
        let header: Value = serde_json::from_slice(&header)?;
        assert_eq!((&header["alg"], &header["typ"]), (&Value::from(algorithm), &Value::from("JWT")));
        let key = keys["keys"].as_array().context("no keys")?.iter().find(|key| key["kid"] == header["kid"]);
        assert_eq!(key.context("an unknown key")?["alg"], algorithm);
    }
    Ok(())
}
