//! Invitations into an organisation, from the request to its end; what is mailed and shown of them is beside this.

mod accepting;
mod at_once;
mod life;
mod making;

use anyhow::{Context as _, Result};
use hexabase_testkit::http::{Answer, Http};
use serde_json::{Value, json};

use crate::support::{Person, items, text};

pub(crate) fn path(organization: &str) -> String {
    format!("/api/v1/organizations/{organization}/invitations")
}

pub(crate) async fn invite(asker: &Person, organization: &str, body: &Value) -> Result<Answer> {
    asker.api.post(&path(organization), body).await
}

async fn resend(asker: &Person, organization: &str, id: &str) -> Result<Answer> {
    asker.api.post(&format!("{}/{id}/resend", path(organization)), &json!({})).await
}

pub(crate) async fn accept(api: &Http, token: &str) -> Result<Answer> {
    api.post("/api/v1/invitations/accept", &json!({ "token": token })).await
}

/// The token in the link that the inviter was shown.
pub(crate) fn token(made: &Value) -> Result<String> {
    let url = text(&made["accept_url"]);
    Ok(url.split_once("#token=").with_context(|| format!("no token in {made}"))?.1.to_owned())
}

/// An invitation of Alice's for this address, with its token.
pub(crate) async fn invited(asker: &Person, organization: &str, body: Value) -> Result<(String, String)> {
    let made = invite(asker, organization, &body).await?.expect(201)?.json()?;
    Ok((text(&made["id"]), token(&made)?))
}

async fn states(asker: &Person, organization: &str) -> Result<Vec<String>> {
    let all = items(&asker.api.get(&path(organization)).await?);
    Ok(all.iter().map(|invitation| text(&invitation["state"])).collect())
}
