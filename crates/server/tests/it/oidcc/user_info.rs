//! The userinfo endpoint, asked in each of the three ways.

use anyhow::Result;
use reqwest::Method;

use super::{Suite, checked_userinfo};

/// By GET, with the token in the header.
#[tokio::test]
async fn oidcc_userinfo_get() -> Result<()> {
    for suite in Suite::start().await? {
        let flow = suite.flow(&[]).await?;
        suite.userinfo(&flow).await?;
    }
    Ok(())
}

/// By POST, with the token in the header.
#[tokio::test]
async fn oidcc_userinfo_post_header() -> Result<()> {
    for suite in Suite::start().await? {
        let flow = suite.flow(&[]).await?;
        let bearer = suite.platform.nobody().with_token(&flow.access_token);
        let request = bearer.request(Method::POST, &suite.endpoint("userinfo_endpoint"));
        checked_userinfo(&bearer.send(request).await?.expect(200)?, &flow)?;
    }
    Ok(())
}

/// By POST, with the token in the form.
#[tokio::test]
async fn oidcc_userinfo_post_body() -> Result<()> {
    for suite in Suite::start().await? {
        let flow = suite.flow(&[]).await?;
        let form = [("access_token", flow.access_token.as_str())];
        let endpoint = suite.endpoint("userinfo_endpoint");
        let answer = suite.platform.nobody().post_form(&endpoint, &form).await?.expect(200)?;
        checked_userinfo(&answer, &flow)?;
    }
    Ok(())
}
