//! Who may do what in a workspace.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::support::{shop, text};

const NAMESPACES: &str = "/api/v1/namespaces";

#[tokio::test]
async fn the_creator_is_known_by_id_and_inherited_groups() -> Result<()> {
    let shop = shop().await?;
    let who: Value = serde_json::from_str(&shop.alice.kubectl(&["auth", "whoami", "-o", "json"]).await?)?;
    let user = text(&shop.alice.json(&["whoami"]).await?, "id")?;
    ensure!(who["status"]["userInfo"]["username"] == format!("hexabase:{user}"), "{who}");
    let groups = who["status"]["userInfo"]["groups"].to_string();
    ensure!(groups.contains("\"hexabase:WSAdmins\"") && groups.contains("\"hexabase:WorkspaceMembers\""), "{groups}");
    Ok(())
}

#[tokio::test]
async fn the_preset_roles_and_their_bindings_are_there() -> Result<()> {
    let shop = shop().await?;
    let expected =
        [("hexabase:workspace-admin", "hexabase:WSAdmins"), ("hexabase:workspace-viewer", "hexabase:WorkspaceMembers")];
    for (role, group) in expected {
        shop.alice.kubectl(&["get", "clusterrole", role]).await?;
        let bindings: Value =
            serde_json::from_str(&shop.alice.kubectl(&["get", "clusterrolebindings", "-o", "json"]).await?)?;
        let bound = bindings["items"].as_array().into_iter().flatten().any(|binding| {
            binding["roleRef"]["name"] == role
                && binding["subjects"][0]["kind"] == "Group"
                && binding["subjects"][0]["name"] == group
        });
        ensure!(bound, "{role} is not bound to {group}");
    }
    Ok(())
}

#[tokio::test]
async fn a_viewer_reads_and_neither_changes_nor_sees_secrets() -> Result<()> {
    let shop = shop().await?;
    let viewer = shop.viewer("viewer").await?;
    viewer.kubectl(&["get", "pods", "--all-namespaces"]).await?;
    viewer.refused(&["create", "configmap", "note"], "forbidden").await?;
    viewer.refused(&["get", "secrets", "--all-namespaces"], "forbidden").await?;
    viewer.refused(&["delete", "namespace", "kube-public"], "forbidden").await?;
    let said = viewer.try_kubectl(&["auth", "can-i", "create", "serviceaccounts/token"]).await?;
    ensure!(said.code == 1 && said.stdout == "no\n", "{said:?}");
    let said = viewer.hxb.run(&["workspace", "delete", "shop", "--yes"]).await?;
    ensure!(said.code == 5 && said.stderr.contains("WSAdmins"), "{said:?}");
    Ok(())
}

#[tokio::test]
async fn a_stranger_learns_nothing_and_gets_no_token() -> Result<()> {
    let shop = shop().await?;
    let stranger = shop.somebody("stranger").await?;
    let own = stranger.hxb.run(&["workspace", "get", &shop.id]).await?;
    let absent = stranger.hxb.run(&["workspace", "get", "ws-00000000000000000000"]).await?;
    ensure!(own.code == 4 && own.stderr == absent.stderr, "{own:?} {absent:?}");
    let credential = ["credential", "--server", shop.platform.url(), "--workspace", &shop.id];
    let refused = stranger.hxb.run(&credential).await?;
    ensure!(refused.code == 5 && refused.stdout.is_empty() && refused.stderr.contains("not a member"), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_removed_member_is_refused_with_the_token_still_in_hand() -> Result<()> {
    let shop = shop().await?;
    let leaver = shop.viewer("leaver").await?;
    let token = shop.token_of(&leaver).await?;
    ensure!(shop.at.with_token(&shop.platform, &token, &shop.id, NAMESPACES).await?.code == 0);
    let id = text(&leaver.json(&["whoami"]).await?, "id")?;
    shop.alice.hxb(&["member", "remove", "-w", "shop", &id]).await?;
    let said = shop.at.with_token(&shop.platform, &token, &shop.id, NAMESPACES).await?;
    ensure!(said.code != 0 && said.stderr.contains("no longer, a member"), "{said:?}");
    let said = leaver.hxb.run(&["workspace", "get", &shop.id]).await?;
    ensure!(said.code == 4, "{said:?}");
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_tokens() -> Result<()> {
    let shop = shop().await?;
    let person = shop.viewer("sleeper").await?;
    let token = shop.token_of(&person).await?;
    ensure!(shop.at.with_token(&shop.platform, &token, &shop.id, NAMESPACES).await?.code == 0);
    person.hxb(&["logout"]).await?;
    let said = shop.at.with_token(&shop.platform, &token, &shop.id, NAMESPACES).await?;
    ensure!(said.code != 0 && said.stderr.contains("must be logged in"), "{said:?}");
    Ok(())
}

#[tokio::test]
async fn forged_tokens_are_refused_by_gateway_and_tenant() -> Result<()> {
    let shop = shop().await?;
    let good = shop.token_of(&shop.alice).await?;
    let [header, claims, signature] = good.splitn(3, '.').collect::<Vec<_>>()[..] else { anyhow::bail!("no JWT") };
    let broken: String = signature.chars().rev().collect();
    let forged = [
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.".to_owned(),
        format!("eyJhbGciOiJub25lIn0.{claims}."),
        format!("{header}.{claims}."),
        format!("{header}.{claims}.{broken}"),
        format!("{header}.{}.{signature}", claims.chars().rev().collect::<String>()),
        "garbage".to_owned(),
    ];
    // Both take the genuine one: what they refuse below, they refuse because it is forged.
    shop.at.with_token(&shop.platform, &good, &shop.id, NAMESPACES).await?.good()?;
    shop.at.directly(&good, &shop.id, NAMESPACES).await?.good()?;
    for token in &forged {
        let by_gateway = shop.at.with_token(&shop.platform, token, &shop.id, NAMESPACES).await?;
        let by_tenant = shop.at.directly(token, &shop.id, NAMESPACES).await?;
        for said in [by_gateway, by_tenant] {
            ensure!(said.code != 0 && said.stderr.contains("must be logged in"), "{token}: {said:?}");
        }
    }
    Ok(())
}
