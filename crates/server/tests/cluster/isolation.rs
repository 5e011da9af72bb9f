//! Two workspaces at once know nothing of each other.

use anyhow::{Result, ensure};

use crate::access::with_token;
use crate::support::shop;

#[tokio::test]
async fn two_workspaces_cannot_read_each_other_by_gateway_token_or_group_name() -> Result<()> {
    let shop = shop().await?;
    let bea = shop.somebody("bea").await?;
    let bank = bea.workspace("bank").await?;
    bea.project("bank", "vault", &[]).await?;
    bea.kubectl(&["-n", "vault", "create", "configmap", "gold"]).await?;

    // Bea's token at Alice's workspace, and Alice's at Bea's: the gateway refuses both, although both are in a group of the
    // same name there.
    let of_alice = shop.token_of(&shop.alice).await?;
    let printed = bea.hxb(&["credential", "--server", shop.platform.url(), "--workspace", &bank]).await?;
    let credential: serde_json::Value = serde_json::from_str(&printed)?;
    let of_bea = crate::support::text(&credential["status"], "token")?;
    for (token, workspace) in [(&of_alice, &bank), (&of_bea, &shop.id)] {
        let said = with_token(&shop.at, &shop.platform, token, workspace).await?;
        ensure!(said.code != 0 && said.stderr.contains("must be logged in"), "{said:?}");
    }
    // The tenant's own API server refuses it too, when nobody checks before: asked at its Service, past the gateway.
    let namespace = format!("hxb-{bank}");
    let service = ["-n", &namespace, "get", "service", &bank, "-o", "jsonpath={.spec.clusterIP}"];
    let address = shop.at.host(&service).await?.good()?;
    for (token, allowed) in [(&of_bea, true), (&of_alice, false)] {
        let mut direct = tokio::process::Command::new(&shop.at.kubectl);
        direct.args(["--kubeconfig", "/dev/null", "--insecure-skip-tls-verify", "--token", token.as_str()]);
        direct.arg(format!("--server=https://{address}")).args([
            "get",
            "--raw",
            "/api/v1/namespaces/vault/configmaps/gold",
        ]);
        ensure!(direct.output().await?.status.success() == allowed, "the tenant's API server decided wrongly");
    }
    // Neither sees the other's objects or existence.
    ensure!(!shop.alice.kubectl(&["get", "configmaps", "--all-namespaces"]).await?.contains("gold"));
    ensure!(shop.alice.hxb.run(&["workspace", "get", &bank]).await?.code == 4);
    ensure!(!shop.alice.hxb(&["workspace", "list"]).await?.contains("bank"));
    bea.hxb(&["workspace", "delete", "bank", "--yes", "--wait", "--timeout", "3m"]).await?;
    Ok(())
}
