//! The people who use a platform.

use anyhow::{Context as _, Result};
use hexabase_testkit::browser::{Browser, Tokens};
use hexabase_testkit::http::{Answer, Http};
use serde_json::json;

use super::answers::text;
use super::platform::Platform;
use super::tokens::exchange;

impl Platform {
    /// Somebody who has signed in with a browser and with `hxb`.
    pub(crate) async fn person(&self, name: &str) -> Result<Person> {
        let email = format!("{name}@example.test");
        let browser = Browser::sign_in(&self.authority, &self.url, &email).await?;
        let tokens = browser.tokens(&self.issuer("platform"), "hxb", &email).await?;
        let api = self.nobody().with_token(&tokens.access_token);
        let me = api.get("/api/v1/me").await?.expect(200)?.json()?;
        Ok(Person {
            id: text(&me["id"]),
            organization: text(&me["organizations"][0]["organization"]),
            email,
            browser,
            tokens,
            api,
        })
    }
}

/// Somebody signed in.
#[derive(Debug)]
pub(crate) struct Person {
    /// The opaque id.
    pub(crate) id: String,
    /// The private organisation.
    pub(crate) organization: String,
    /// The address.
    pub(crate) email: String,
    /// A browser that is signed in.
    pub(crate) browser: Browser,
    /// What `hxb` was given.
    pub(crate) tokens: Tokens,
    /// The API, as `hxb` uses it.
    pub(crate) api: Http,
}

impl Person {
    /// The refresh token that `hxb` was given.
    pub(crate) fn refresh_token(&self) -> Result<String> {
        self.tokens.refresh_token.clone().context("no refresh token")
    }

    /// Asks for a workspace in the private organisation.
    pub(crate) async fn create_workspace(&self, name: &str, plan: &str) -> Result<Answer> {
        let path = format!("/api/v1/organizations/{}/workspaces", self.organization);
        self.api.post(&path, &json!({ "name": name, "plan": plan })).await
    }

    /// The id of a new workspace under the plan `standard`.
    pub(crate) async fn workspace(&self, name: &str) -> Result<String> {
        Ok(text(&self.create_workspace(name, "standard").await?.expect(201)?.json()?["id"]))
    }

    /// The id of a new organisation.
    pub(crate) async fn make_organization(&self, name: &str) -> Result<String> {
        Ok(text(&self.api.post("/api/v1/organizations", &json!({ "name": name })).await?.expect(201)?.json()?["id"]))
    }

    /// The id of a new workspace of an organisation, under the plan `standard`.
    pub(crate) async fn workspace_in(&self, organization: &str, name: &str) -> Result<String> {
        let path = format!("/api/v1/organizations/{organization}/workspaces");
        let answer = self.api.post(&path, &json!({ "name": name, "plan": "standard" })).await?;
        Ok(text(&answer.expect(201)?.json()?["id"]))
    }

    /// Gives somebody access to a workspace.
    pub(crate) async fn add(&self, workspace: &str, user: &str, groups: &[&str]) -> Result<Answer> {
        self.api
            .post(&format!("/api/v1/workspaces/{workspace}/members"), &json!({ "user": user, "groups": groups }))
            .await
    }

    /// Takes somebody's access away.
    pub(crate) async fn remove(&self, workspace: &str, user: &str) -> Result<Answer> {
        self.api.delete(&format!("/api/v1/workspaces/{workspace}/members/{user}")).await
    }

    /// Asks for a workspace's token in exchange for the platform's.
    pub(crate) async fn exchange(&self, platform: &Platform, workspace: &str) -> Result<Answer> {
        exchange(platform, workspace, self.api.token()).await
    }

    /// A workspace's token.
    pub(crate) async fn workspace_token(&self, platform: &Platform, workspace: &str) -> Result<String> {
        Ok(text(&self.exchange(platform, workspace).await?.expect(200)?.json()?["access_token"]))
    }
}

/// A platform by the system's clock, and Alice with the id of her workspace `shop`.
pub(crate) async fn shop() -> Result<(Platform, Person, String)> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    Ok((platform, alice, workspace))
}
