//! What a server lets pass of what was changed by another one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hexabase_backends::store::{service_account_tokens, workspaces as rows};
use hexabase_testkit::http::Http;
use serde_json::json;

use super::{Tenant, status, version};
use crate::support::{Person, Platform, shop, soon};

/// Alice's workspace on two servers of one platform, and Bob, who has access and asks the second one.
struct Elsewhere {
    alice: Person,
    bob: Person,
    workspace: String,
    api: Http,
    // Both serve until the end of the test.
    servers: [Platform; 2],
}

impl Elsewhere {
    async fn set() -> Result<Self> {
        let (one, alice, workspace) = shop().await?;
        let two = one.replica().await?;
        let bob = one.person("bob").await?;
        alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
        Tenant::of(&one, &workspace).await?;
        let api = two.nobody().with_token(bob.workspace_token(&one, &workspace).await?);
        Ok(Self { alice, bob, workspace, api, servers: [one, two] })
    }
}

#[tokio::test]
async fn an_open_watch_on_another_server_ends_without_being_told() -> Result<()> {
    let Elsewhere { alice, bob, workspace, api, servers: _servers } = Elsewhere::set().await?;
    let path = format!("/k8s/{workspace}/api/v1/pods?watch=true");
    let mut watch = api.request(reqwest::Method::GET, &path).send().await?.error_for_status()?;
    soon("the first event", watch.chunk()).await??;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    // The bell rings on the first server only: the second one finds out at its next check, after 20 seconds.
    soon("the end of the watch", async { while let Ok(Some(_)) = watch.chunk().await {} }).await?;
    status(&api.get(&path).await?, 403, "Forbidden");
    Ok(())
}

#[tokio::test]
async fn another_server_lets_whoever_was_removed_pass_for_a_moment_at_most_and_begin_no_watch() -> Result<()> {
    let Elsewhere { alice, bob, workspace, api, servers: _servers } = Elsewhere::set().await?;
    api.get(&version(&workspace)).await?.expect(200)?;
    let begun = Instant::now();
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    let watch = api.get(&format!("/k8s/{workspace}/api/v1/pods?watch=true")).await?;
    status(&watch, 403, "Forbidden");
    soon("the refusal", async {
        while api.get(&version(&workspace)).await?.status != 403 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    })
    .await??;
    // Two seconds, and what a slow machine takes.
    ensure!(begun.elapsed() < Duration::from_secs(6), "it took {:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn another_server_gives_whoever_was_removed_no_token_of_a_service_account() -> Result<()> {
    let Elsewhere { alice, bob, workspace, api, servers } = Elsewhere::set().await?;
    api.get(&version(&workspace)).await?.expect(200)?;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    let path = format!("/k8s/{workspace}/api/v1/namespaces/web/serviceaccounts/robot/token");
    status(&api.post(&path, &json!({})).await?, 403, "Forbidden");
    let store = servers[0].store().await?;
    let scope = rows::scope_for(&store, &alice.id.parse()?, &workspace.parse()?).await?.context("hers")?;
    assert_eq!(service_account_tokens::list(&store, &scope, None).await?, []);
    Ok(())
}
