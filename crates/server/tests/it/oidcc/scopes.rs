//! What a scope lets a client learn.

use anyhow::Result;
use serde_json::Value;

use super::Suite;

/// The claims of each scope that there are: nothing is known here of where people live or of their telephones.
const CLAIMS: [(&str, &[&str]); 4] =
    [("profile", &["name"]), ("email", &["email", "email_verified"]), ("address", &[]), ("phone", &[])];

/// Asks for these scopes and compares what userinfo says, and what the document promises.
async fn asking_for(scopes: &[&str]) -> Result<()> {
    for suite in Suite::start().await? {
        let scope = ["openid"].iter().chain(scopes).copied().collect::<Vec<_>>().join(" ");
        let flow = suite.flow(&[("scope", &scope)]).await?;
        let said = suite.userinfo(&flow).await?;
        let mut expected = vec!["sub"];
        let supported = suite.discovery["scopes_supported"].to_string();
        for (scope, claims) in CLAIMS {
            assert_eq!(supported.contains(&format!("\"{scope}\"")), !claims.is_empty(), "{scope}: {supported}");
            let granted = scopes.contains(&scope) && !claims.is_empty();
            let told = flow.tokens["scope"].as_str().unwrap_or_default();
            assert_eq!(told.split(' ').any(|told| told == scope), granted, "{scope}: {told}");
            if granted {
                expected.extend(claims);
            }
        }
        expected.sort_unstable();
        let mut names: Vec<&str> = said.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{said}");
        // What userinfo tells, the ID token need not repeat.
        assert_eq!((&flow.id_token["name"], &flow.id_token["email"]), (&Value::Null, &Value::Null));
    }
    Ok(())
}

#[tokio::test]
async fn oidcc_scope_profile() -> Result<()> {
    asking_for(&["profile"]).await
}

#[tokio::test]
async fn oidcc_scope_email() -> Result<()> {
    asking_for(&["email"]).await
}

/// Not supported, and said to be so: the scope is ignored, and the answer says what was granted.
#[tokio::test]
async fn oidcc_scope_address() -> Result<()> {
    asking_for(&["address"]).await
}

/// As for `address`.
#[tokio::test]
async fn oidcc_scope_phone() -> Result<()> {
    asking_for(&["phone"]).await
}

#[tokio::test]
async fn oidcc_scope_all() -> Result<()> {
    asking_for(&["profile", "email", "address", "phone"]).await
}

/// The order of scopes and of parameters means nothing. (Called `oidcc-ensure-other-scope-order-succeeds` before.)
#[tokio::test]
async fn oidcc_alternate_happy_flow() -> Result<()> {
    for suite in Suite::start().await? {
        let request = suite.request(&[("scope", "email openid")]);
        let mut pairs: Vec<(String, String)> = request.query_pairs().into_owned().collect();
        pairs.reverse();
        let mut reordered = request.clone();
        reordered.query_pairs_mut().clear().extend_pairs(&pairs);
        assert_ne!(reordered, request);
        let back = suite.callback(&suite.alice.browser, &reordered).await?;
        let flow = suite.finish(suite.client, &back["code"], Some("a-nonce")).await?;
        assert_eq!(suite.userinfo(&flow).await?["email"], suite.alice.email);
    }
    Ok(())
}
