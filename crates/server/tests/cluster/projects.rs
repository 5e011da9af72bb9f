//! Projects that change while something runs in them.

use anyhow::{Context, Result, ensure};

use crate::support::{BUSYBOX, Shop, shop, text, until};

/// What a project's namespace may use of CPU.
async fn cpu(shop: &Shop, project: &str) -> Result<String> {
    let hard = "jsonpath={.spec.hard.limits\\.cpu}";
    shop.alice.kubectl(&["-n", project, "get", "resourcequota", "hexabase-quota", "-o", hard]).await
}

async fn until_cpu(shop: &Shop, project: &str, expected: &str) -> Result<()> {
    let title = format!("{expected} of CPU in {project}");
    until(&title, async || Ok(cpu(shop, project).await? == expected)).await
}

async fn is_there(shop: &Shop, namespace: &str, binding: &str) -> Result<bool> {
    Ok(shop.alice.try_kubectl(&["-n", namespace, "get", "rolebinding", binding]).await?.code == 0)
}

#[tokio::test]
async fn a_share_is_lowered_no_further_than_pods_use_and_a_project_moves_with_its_own() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "hall", &["--cpu", "1", "--memory", "1Gi", "--pods", "6"]).await?;
    alice.project("shop", "yard", &["--cpu", "500m", "--memory", "512Mi", "--pods", "3"]).await?;
    let small = ["--below", "hall", "--cpu", "200m", "--memory", "128Mi", "--pods", "1"];
    alice.project("shop", "room", &small).await?;
    until_cpu(shop, "hall", "800m").await?;
    alice.run_pod("hall", "busy", "600m").await?;

    // 500m would be left beside what the project below has.
    let refused = alice.hxb.run(&["project", "update", "hall", "-w", "shop", "--cpu", "700m"]).await?;
    let names_it = refused.stderr.contains("500m of cpu would be left") && refused.stderr.contains("busy (600m)");
    ensure!(refused.code != 0 && names_it, "{refused:?}");
    alice.hxb(&["project", "update", "hall", "-w", "shop", "--cpu", "900m"]).await?;
    until_cpu(shop, "hall", "700m").await?;
    // Nor is what is used given to one below it.
    let more = ["project", "update", "room", "-w", "shop", "--cpu", "400m"];
    let another = ["project", "create", "closet", "-w", "shop", "--below", "hall", "--cpu", "200m"];
    for arguments in [&more[..], &another[..]] {
        let refused = alice.hxb.run(arguments).await?;
        let is_told =
            refused.stderr.contains("500m of cpu would be left for the namespace of hall, in which 600m is used");
        ensure!(refused.code != 0 && is_told && refused.stderr.contains("busy (600m)"), "{refused:?}");
    }

    for (group, project) in [("hall-people", "hall"), ("yard-people", "yard")] {
        alice.hxb(&["group", "create", group, "-w", "shop"]).await?;
        alice.hxb(&["access", "grant", "view", group, "-w", "shop", "-p", project]).await?;
    }
    let [of_hall, of_yard] = ["hexabase:view:hall-people", "hexabase:view:yard-people"];
    until("the binding of above", async || is_there(shop, "room", of_hall).await).await?;
    alice.hxb(&["project", "update", "room", "-w", "shop", "--below", "yard"]).await?;
    until_cpu(shop, "hall", "900m").await?;
    until_cpu(shop, "yard", "300m").await?;
    until("the bindings of where it stands", async || {
        Ok(is_there(shop, "room", of_yard).await? && !is_there(shop, "room", of_hall).await?)
    })
    .await?;
    ensure!(is_there(shop, "hall", of_hall).await?, "who may look there goes on to");
    ensure!(cpu(shop, "room").await? == "200m");
    Ok(())
}

#[tokio::test]
async fn labels_and_the_network_of_a_project_change_in_place() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "signs", &["--cpu", "100m", "--pods", "1", "--label", "team=hall"]).await?;
    let label = ["get", "namespace", "signs", "-o", "jsonpath={.metadata.labels.team}"];
    until("the label", async || Ok(alice.kubectl(&label).await? == "hall")).await?;
    alice.hxb(&["project", "update", "signs", "-w", "shop", "--no-label", "team"]).await?;
    until("the end of the label", async || Ok(alice.kubectl(&label).await?.is_empty())).await?;

    // One that is isolated has a policy of its own on the host.
    let project = text(&alice.json(&["project", "get", "signs", "-w", "shop"]).await?, "id")?;
    let (namespace, policy) = (format!("hxb-{}", shop.id), format!("hexabase-project-{project}"));
    let get = ["-n", &namespace, "get", "networkpolicy", &policy];
    for (network, is_isolated) in [("isolated", true), ("open", false), ("isolated", true)] {
        alice.hxb(&["project", "update", "signs", "-w", "shop", "--network", network]).await?;
        let title = format!("the project being {network}");
        until(&title, async || Ok((shop.at.host(&get).await?.code == 0) == is_isolated)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_project_that_says_nothing_lets_in_no_pod_that_runs_as_root() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.hxb(&["project", "create", "strict", "-w", "shop", "--cpu", "100m", "--pods", "1"]).await?;
    let run = ["-n", "strict", "run", "rooted", "--image", BUSYBOX, "--", "sleep", "600"];
    let mut said = None;
    until("a refusal that is not for the ServiceAccount that is to come", async || {
        let is_ready = alice.json(&["project", "get", "strict", "-w", "shop"]).await?["phase"] == "ready";
        said = Some(alice.try_kubectl(&run).await?);
        Ok(is_ready && said.as_ref().is_some_and(|said| !said.stderr.contains("serviceaccount")))
    })
    .await?;
    let said = said.context("nobody asked")?;
    ensure!(said.code != 0 && said.stderr.contains("violates PodSecurity \"restricted"), "{said:?}");
    Ok(())
}
