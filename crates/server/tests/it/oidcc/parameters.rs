//! Parameters that a provider understands, or ignores, and never trips over.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Flow, Suite};

/// With a sign-in page in between, as the plan asks for by a fresh browser; at each issuer.
async fn with(name: &str, value: &str) -> Result<Vec<(Suite, Flow)>> {
    let mut flows = Vec::new();
    for suite in Suite::start().await? {
        let flow = suite.flow_in(&suite.new_browser(), &[(name, value)]).await?;
        assert_eq!(flow.id_token["sub"], suite.alice.id);
        flows.push((suite, flow));
    }
    Ok(flows)
}

#[tokio::test]
async fn oidcc_display_page() -> Result<()> {
    with("display", "page").await.map(drop)
}

#[tokio::test]
async fn oidcc_display_popup() -> Result<()> {
    with("display", "popup").await.map(drop)
}

#[tokio::test]
async fn oidcc_ensure_request_with_unknown_parameter_succeeds() -> Result<()> {
    with("extra", "foobar").await.map(drop)
}

/// The address that the client knows is offered to the identity provider.
#[tokio::test]
async fn oidcc_login_hint() -> Result<()> {
    for (suite, _) in with("login_hint", "alice@example.test").await? {
        let browser = suite.new_browser();
        let asked = browser.get(&suite.request(&[("login_hint", "alice@example.test")])).await?.expect(303)?;
        let page = browser.get(&suite.platform.at("/").join(asked.header("location"))?).await?.expect(200)?;
        assert!(page.text.contains("login_hint=alice%40example.test"), "{}", page.text);
    }
    Ok(())
}

#[tokio::test]
async fn oidcc_ui_locales() -> Result<()> {
    with("ui_locales", "se").await.map(drop)
}

#[tokio::test]
async fn oidcc_claims_locales() -> Result<()> {
    with("claims_locales", "se").await.map(drop)
}

/// How people signed in at their provider is not known here, so that no class is claimed for it.
#[tokio::test]
async fn oidcc_ensure_request_with_acr_values_succeeds() -> Result<()> {
    for (suite, flow) in with("acr_values", "1 2").await? {
        assert_eq!((&flow.id_token["acr"], &suite.discovery["acr_values_supported"]), (&Value::Null, &Value::Null));
    }
    Ok(())
}

/// A claim that is asked for by name comes from userinfo, without the scope that it belongs to.
#[tokio::test]
async fn oidcc_claims_essential() -> Result<()> {
    let claims = json!({ "userinfo": { "name": { "essential": true } } }).to_string();
    for (suite, flow) in with("claims", &claims).await? {
        let said = suite.userinfo(&flow).await?;
        assert_eq!((&said["name"], &said["email"]), (&json!("Alice Example"), &Value::Null));
        assert_eq!(flow.id_token["name"], Value::Null);
        let claims =
            json!({ "id_token": { "name": null, "email": null, "auth_time": { "essential": true } } }).to_string();
        let flow = suite.flow(&[("claims", &claims)]).await?;
        let told = (&flow.id_token["name"], &flow.id_token["email"]);
        assert_eq!(told, (&json!("Alice Example"), &json!(suite.alice.email)));
        assert!(flow.id_token["auth_time"].is_i64());
        // The one person whose ID token it may be.
        let nobody = json!({ "id_token": { "sub": { "value": "usr-00000000000000000000" } } }).to_string();
        let answer = suite.alice.browser.get(&suite.request(&[("claims", &nobody), ("prompt", "none")])).await?;
        assert_eq!(Suite::told(&answer)?["error"], "login_required");
    }
    Ok(())
}

/// A request by form, from a page of the client.
#[tokio::test]
async fn oidcc_ensure_post_request_succeeds() -> Result<()> {
    for suite in Suite::start().await? {
        let request = suite.request(&[]);
        let form: Vec<(String, String)> = request.query_pairs().into_owned().collect();
        let mut endpoint = request.clone();
        endpoint.set_query(None);
        let answer = suite.alice.browser.post(&endpoint, &form).await?.expect(303)?;
        let next = endpoint.join(answer.header("location"))?;
        let back = suite.callback(&suite.alice.browser, &next).await?;
        let flow = suite.finish(suite.client, &back["code"], Some("a-nonce")).await?;
        assert_eq!(flow.id_token["sub"], suite.alice.id);
    }
    Ok(())
}
