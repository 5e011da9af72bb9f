//! Two workspaces at once know nothing of each other.

use anyhow::{Result, ensure};

use crate::support::shop;

/// What Bea keeps, and Alice must not read.
const GOLD: &str = "/api/v1/namespaces/vault/configmaps/gold";

#[tokio::test]
async fn two_workspaces_cannot_read_each_other_by_gateway_token_or_group_name() -> Result<()> {
    let shop = shop().await?;
    let bea = shop.somebody("bea").await?;
    let bank = bea.workspace("bank").await?;
    bea.project("bank", "vault", &[]).await?;
    bea.kubectl(&["-n", "vault", "create", "configmap", "gold"]).await?;

    // Bea's token at Alice's workspace, and Alice's at Bea's, although both are in a group of the same name there: the
    // gateway refuses them, and so does the tenant's own API server when nobody checks before it.
    let of_alice = shop.token_of(&shop.alice).await?;
    let of_bea = bea.token(&bank).await?;
    shop.at.with_token(&shop.platform, &of_bea, &bank, GOLD).await?.good()?;
    shop.at.directly(&of_bea, &bank, GOLD).await?.good()?;
    for (token, workspace) in [(&of_alice, &bank), (&of_bea, &shop.id)] {
        let by_gateway = shop.at.with_token(&shop.platform, token, workspace, GOLD).await?;
        let by_tenant = shop.at.directly(token, workspace, GOLD).await?;
        for said in [by_gateway, by_tenant] {
            ensure!(said.code != 0 && said.stderr.contains("must be logged in"), "{said:?}");
        }
    }
    // Neither sees the other's objects or existence.
    ensure!(!shop.alice.kubectl(&["get", "configmaps", "--all-namespaces"]).await?.contains("gold"));
    ensure!(shop.alice.hxb.run(&["workspace", "get", &bank]).await?.code == 4);
    ensure!(!shop.alice.hxb(&["workspace", "list"]).await?.contains("bank"));
    bea.hxb(&["workspace", "delete", "bank", "--yes", "--wait", "--timeout", "10m"]).await?;
    Ok(())
}
