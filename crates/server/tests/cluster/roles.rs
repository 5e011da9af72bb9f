//! Groups, roles and what they come to, as a real tenant API server decides it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hexabase_testkit::browser::Said;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::support::{Person, Shop, shop, text, until};

/// How long a right that was taken away may live on.
const REPAIR: Duration = Duration::from_secs(60);

/// The shared workspace with a project `office` and, below it, `desk`; each test has groups of its own there.
async fn office() -> Result<&'static Shop> {
    static OFFICE: OnceCell<()> = OnceCell::const_new();
    let shop = shop().await?;
    OFFICE
        .get_or_try_init(async || {
            shop.alice.project("shop", "office", &[]).await?;
            shop.alice.project("shop", "desk", &["--below", "office"]).await
        })
        .await?;
    Ok(shop)
}

/// A new group with one member who otherwise may only look.
async fn member_of(shop: &Shop, group: &str, name: &str) -> Result<Person> {
    let person = shop.viewer(name).await?;
    shop.alice.hxb(&["group", "create", group, "-w", "shop"]).await?;
    shop.alice.hxb(&["group", "add", group, &format!("{name}@example.test"), "-w", "shop"]).await?;
    Ok(person)
}

async fn can(person: &Person, verb: &str, what: &str, namespace: &str) -> Result<bool> {
    Ok(person.try_kubectl(&["auth", "can-i", verb, what, "-n", namespace]).await?.stdout.trim() == "yes")
}

async fn until_can(person: &Person, verb: &str, what: &str, namespace: &str, expected: bool) -> Result<Duration> {
    let begun = Instant::now();
    let title = format!("{verb} {what} in {namespace} being {expected}");
    until(&title, async || Ok(can(person, verb, what, namespace).await? == expected)).await?;
    Ok(begun.elapsed())
}

/// The id of what was given to a group.
async fn given_to(shop: &Shop, group: &str) -> Result<String> {
    let all = shop.alice.json(&["access", "list", "-w", "shop"]).await?;
    let found = all["items"].as_array().into_iter().flatten().find(|given| given["group_name"] == group);
    text(found.with_context(|| format!("nothing is given to {group}"))?, "id")
}

async fn until_ready(shop: &Shop, role: &str, project: &str) -> Result<()> {
    until("the role", async || {
        let role = shop.alice.json(&["role", "get", role, "-w", "shop", "-p", project]).await?;
        ensure!(role["phase"] != "refused", "{role}");
        Ok(role["phase"] == "ready")
    })
    .await
}

fn refused(said: &Said, word: &str) -> Result<()> {
    ensure!(said.code == 5 && said.stderr.contains(word), "{said:?}");
    Ok(())
}

#[tokio::test]
async fn a_custom_role_works_in_its_project_and_below_and_nowhere_else() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "writers", "writer").await?;
    let alice = &shop.alice;
    let rule = ["--verb", "get", "--verb", "create", "--verb", "delete", "--resource", "configmaps"];
    alice.hxb(&[["role", "create", "writer", "-w", "shop", "-p", "office"].as_slice(), &rule].concat()).await?;
    alice.hxb(&["access", "grant", "writer", "writers", "-w", "shop", "-p", "office"]).await?;
    until_ready(shop, "writer", "office").await?;
    until_can(&bob, "create", "configmaps", "office", true).await?;
    bob.kubectl(&["-n", "office", "create", "configmap", "note"]).await?;
    bob.refused(&["-n", "office", "create", "secret", "generic", "note"], "forbidden").await?;
    // Carried into the project below, and no further.
    until_can(&bob, "create", "configmaps", "desk", true).await?;
    bob.kubectl(&["-n", "desk", "create", "configmap", "note"]).await?;
    bob.refused(&["-n", "default", "create", "configmap", "note"], "forbidden").await?;
    let role: Value = serde_json::from_str(
        &alice.kubectl(&["-n", "office", "get", "role", "hexabase-custom-writer", "-o", "json"]).await?,
    )?;
    ensure!(role["rules"][0]["resources"][0] == "configmaps", "{role}");

    // A role that is given to somebody stays; taken away, its end leaves nothing.
    refused(&alice.hxb.run(&["role", "delete", "writer", "-w", "shop", "-p", "office"]).await?, "writers")?;
    let given = given_to(shop, "writers").await?;
    alice.hxb(&["access", "revoke", &given, "-w", "shop"]).await?;
    until_can(&bob, "create", "configmaps", "office", false).await?;
    alice.hxb(&["role", "delete", "writer", "-w", "shop", "-p", "office"]).await?;
    for namespace in ["office", "desk"] {
        until("the end of the role", async || {
            Ok(alice.try_kubectl(&["-n", namespace, "get", "role", "hexabase-custom-writer"]).await?.code != 0)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_custom_cluster_role_works_in_the_whole_workspace_and_other_rules_take_its_place() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "inspectors", "inspector").await?;
    let alice = &shop.alice;
    let made =
        ["role", "create", "inspector", "-w", "shop", "--verb", "get", "--verb", "list", "--resource", "secrets"];
    alice.hxb(&made).await?;
    alice.hxb(&["access", "grant", "inspector", "inspectors", "-w", "shop"]).await?;
    until_can(&bob, "list", "secrets", "default", true).await?;
    bob.kubectl(&["get", "secrets", "--all-namespaces"]).await?;
    ensure!(!can(&bob, "delete", "secrets", "default").await?);
    let changed =
        ["role", "update", "inspector", "-w", "shop", "--verb", "list", "--resource", "leases", "--api-group"];
    alice.hxb(&[changed.as_slice(), &["coordination.k8s.io"]].concat()).await?;
    until_can(&bob, "list", "secrets", "default", false).await?;
    until_can(&bob, "list", "leases.coordination.k8s.io", "default", true).await?;
    // Edited inside, it is put right.
    let patch = "{\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"verbs\":[\"list\"]}]}";
    alice.kubectl(&["patch", "clusterrole", "hexabase:custom:inspector", "--type", "merge", "-p", patch]).await?;
    let begun = Instant::now();
    until("the accepted rules", async || {
        let shown = ["get", "clusterrole", "hexabase:custom:inspector", "-o", "jsonpath={.rules[*].resources}"];
        Ok(alice.kubectl(&shown).await? == "[\"leases\"]")
    })
    .await?;
    ensure!(begun.elapsed() < REPAIR, "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn nobody_makes_a_role_with_rights_that_they_lack() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "leads", "lead").await?;
    let role = |name: &'static str, verb: &'static str, resource: &'static str| {
        ["role", "create", name, "-w", "shop", "-p", "office", "--verb", verb, "--resource", resource]
    };
    // A viewer may make no role at all; Kubernetes says so.
    refused(&bob.hxb.run(&role("mine", "get", "configmaps")).await?, "cannot")?;
    shop.alice.hxb(&["access", "grant", "admin", "leads", "-w", "shop", "-p", "office"]).await?;
    // A role of a project is judged in those below it as well.
    for namespace in ["office", "desk"] {
        until_can(&bob, "create", "roles", namespace, true).await?;
    }
    // The administrator of a project may not change its Endpoints, so he gives that to nobody.
    let said = bob.hxb.run(&role("beyond", "update", "endpoints")).await?;
    refused(&said, "attempting to grant RBAC permissions not currently held")?;
    bob.hxb(&role("within", "update", "configmaps")).await?;
    until_ready(shop, "within", "office").await?;
    // Nor does the platform do it for anybody by another way.
    let said =
        bob.hxb.run(&["role", "create", "wide", "-w", "shop", "--verb", "get", "--resource", "configmaps"]).await?;
    refused(&said, "clusterroles")?;
    for (verb, resource, why) in [
        ("get", "unicorns", "serves no resource unicorns"),
        ("create", "pods/log", "none of its verbs"),
        ("get", "nodes", "no namespace"),
        ("impersonate", "serviceaccounts", "impersonate"),
        ("delete", "resourcequotas", "platform"),
    ] {
        refused(&shop.alice.hxb.run(&role("odd", verb, resource)).await?, why)?;
    }
    Ok(())
}

#[tokio::test]
async fn whoever_administers_a_project_by_a_binding_of_its_own_widens_no_role_that_holds_below_it() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "chiefs", "chief").await?;
    let carol = member_of(shop, "readers", "reader").await?;
    let alice = &shop.alice;
    let rule = ["--verb", "get", "--resource", "configmaps"];
    alice.hxb(&[["role", "create", "spread", "-w", "shop", "-p", "office"].as_slice(), &rule].concat()).await?;
    alice.hxb(&["access", "grant", "spread", "readers", "-w", "shop", "-p", "office"]).await?;
    until_ready(shop, "spread", "office").await?;
    let own = ["-n", "office", "create", "rolebinding", "chiefs", "--clusterrole=admin", "--group=hexabase:chiefs"];
    alice.kubectl(&own).await?;
    until_can(&bob, "update", "roles", "office", true).await?;
    ensure!(!can(&bob, "update", "roles", "desk").await?);
    let wider =
        ["role", "update", "spread", "-w", "shop", "-p", "office", "--verb", "delete", "--resource", "configmaps"];
    refused(&bob.hxb.run(&wider).await?, "in the project desk")?;
    let made = ["role", "create", "mine", "-w", "shop", "-p", "office", "--verb", "get", "--resource", "configmaps"];
    refused(&bob.hxb.run(&made).await?, "in the project desk")?;
    for namespace in ["office", "desk"] {
        let shown = ["-n", namespace, "get", "role", "hexabase-custom-spread", "-o", "jsonpath={.rules[*].verbs}"];
        ensure!(alice.kubectl(&shown).await? == "[\"get\"]");
        ensure!(!can(&carol, "delete", "configmaps", namespace).await?);
    }
    // Where he may everywhere, he may.
    let own = ["-n", "desk", "create", "rolebinding", "chiefs", "--clusterrole=admin", "--group=hexabase:chiefs"];
    alice.kubectl(&own).await?;
    until_can(&bob, "update", "roles", "desk", true).await?;
    bob.hxb(&wider).await?;
    for namespace in ["office", "desk"] {
        until_can(&carol, "delete", "configmaps", namespace, true).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_role_that_stands_there_already_is_not_accepted_from_somebody_who_lacks_its_rights() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "scribes", "scribe").await?;
    let alice = &shop.alice;
    for namespace in ["office", "desk"] {
        let own =
            ["-n", namespace, "create", "rolebinding", "scribes", "--clusterrole=admin", "--group=hexabase:scribes"];
        alice.kubectl(&own).await?;
        until_can(&bob, "update", "roles", namespace, true).await?;
        // Word for word what the platform would write, by somebody who holds it: to apply it again is no change, and
        // Kubernetes judges nobody who changes nothing.
        let name = "hexabase-custom-planted";
        let rule = ["--verb=update", "--resource=endpoints"];
        alice.kubectl(&[["-n", namespace, "create", "role", name].as_slice(), &rule].concat()).await?;
        alice.kubectl(&["-n", namespace, "label", "role", name, "app.kubernetes.io/managed-by=hexabase"]).await?;
    }
    let asked =
        ["role", "create", "planted", "-w", "shop", "-p", "office", "--verb", "update", "--resource", "endpoints"];
    let said = bob.hxb.run(&asked).await?;
    if said.code == 0 {
        // What stood there was gone only when the role was to be made.
        until("the refusal", async || {
            let role = alice.json(&["role", "get", "planted", "-w", "shop", "-p", "office"]).await?;
            ensure!(role["phase"] != "ready", "{role}");
            Ok(role["phase"] == "refused")
        })
        .await?;
    } else {
        refused(&said, "attempting to grant RBAC permissions not currently held")?;
    }
    for namespace in ["office", "desk"] {
        until("the end of what was planted", async || {
            Ok(alice.try_kubectl(&["-n", namespace, "get", "role", "hexabase-custom-planted"]).await?.code != 0)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn nobodys_finalizer_keeps_a_right_alive_that_was_taken_away() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "tenants", "tenant").await?;
    let alice = &shop.alice;
    alice.hxb(&["access", "grant", "edit", "tenants", "-w", "shop", "-p", "office"]).await?;
    alice.hxb(&["access", "grant", "workspace-editor", "tenants", "-w", "shop"]).await?;
    until_can(&bob, "create", "secrets", "office", true).await?;
    until_can(&bob, "create", "secrets", "default", true).await?;
    let hold = "{\"metadata\":{\"finalizers\":[\"example.com/hold\"]}}";
    let held = [
        ["-n", "office", "patch", "rolebinding", "hexabase:edit:tenants"],
        ["-n", "default", "patch", "clusterrolebinding", "hexabase:workspace-editor:tenants"],
    ];
    for object in held {
        alice.kubectl(&[object.as_slice(), &["--type", "merge", "-p", hold]].concat()).await?;
    }
    let all = alice.json(&["access", "list", "-w", "shop"]).await?;
    for given in all["items"].as_array().into_iter().flatten().filter(|given| given["group_name"] == "tenants") {
        alice.hxb(&["access", "revoke", &text(given, "id")?, "-w", "shop"]).await?;
    }
    let begun = Instant::now();
    for namespace in ["office", "default"] {
        until_can(&bob, "create", "secrets", namespace, false).await?;
    }
    ensure!(begun.elapsed() < REPAIR, "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_role_given_for_a_time_ends_by_itself() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "visitors", "visitor").await?;
    let begun = Instant::now();
    shop.alice.hxb(&["access", "grant", "edit", "visitors", "-w", "shop", "-p", "office", "--for", "40s"]).await?;
    until_can(&bob, "create", "secrets", "office", true).await?;
    until_can(&bob, "create", "secrets", "office", false).await?;
    let lived = begun.elapsed();
    ensure!(lived >= Duration::from_secs(39) && lived < Duration::from_secs(70), "it lived for {lived:?}");
    println!("a role given for 40 s was gone after {lived:.1?}");
    until("the row is forgotten", async || Ok(given_to(shop, "visitors").await.is_err())).await
}

#[tokio::test]
async fn roles_given_in_a_project_hold_in_the_projects_below_it_and_not_above() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "clerks", "clerk").await?;
    let carol = member_of(shop, "guests", "guest").await?;
    shop.alice.hxb(&["access", "grant", "edit", "clerks", "-w", "shop", "-p", "office"]).await?;
    shop.alice.hxb(&["access", "grant", "edit", "guests", "-w", "shop", "-p", "desk"]).await?;
    until_can(&bob, "create", "deployments", "office", true).await?;
    until_can(&bob, "create", "deployments", "desk", true).await?;
    until_can(&carol, "create", "deployments", "desk", true).await?;
    ensure!(!can(&carol, "create", "deployments", "office").await?);
    let said = shop.alice.hxb.run(&["project", "delete", "office", "-w", "shop", "--yes"]).await?;
    refused(&said, "stand below it")
}

#[tokio::test]
async fn the_platforms_bindings_are_put_right_and_the_tenants_own_are_left_alone() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "editors", "editor").await?;
    let alice = &shop.alice;
    alice.hxb(&["access", "grant", "edit", "editors", "-w", "shop", "-p", "office"]).await?;
    until_can(&bob, "create", "secrets", "office", true).await?;
    let own = ["-n", "office", "create", "rolebinding", "own", "--clusterrole=view", "--group=somebody"];
    alice.kubectl(&own).await?;
    let extra = ["-n", "office", "create", "rolebinding", "extra", "--clusterrole=view", "--group=somebody"];
    alice.kubectl(&extra).await?;
    alice.kubectl(&["-n", "office", "label", "rolebinding", "extra", "app.kubernetes.io/managed-by=hexabase"]).await?;
    let patch = "{\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Group\",\"name\":\"nobody\"}]}";
    let bent = ["-n", "office", "patch", "rolebinding", "hexabase:edit:editors", "--type", "merge", "-p", patch];
    alice.kubectl(&bent).await?;
    let begun = Instant::now();
    until("the binding as it was", async || {
        let shown =
            ["-n", "office", "get", "rolebinding", "hexabase:edit:editors", "-o", "jsonpath={.subjects[*].name}"];
        Ok(alice.try_kubectl(&shown).await?.stdout == "hexabase:editors")
    })
    .await?;
    until("the end of the extra binding", async || {
        Ok(alice.try_kubectl(&["-n", "office", "get", "rolebinding", "extra"]).await?.code != 0)
    })
    .await?;
    ensure!(begun.elapsed() < REPAIR, "{:?}", begun.elapsed());
    alice.kubectl(&["-n", "office", "get", "rolebinding", "own"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_token_in_hand_has_the_groups_of_the_moment_at_the_gateway() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "deputies", "deputy").await?;
    let token = shop.token_of(&bob).await?;
    let read = async || shop.at.with_token(&shop.platform, &token, &shop.id, "/api/v1/namespaces/office/secrets").await;
    ensure!(read().await?.stderr.contains("forbidden"));
    shop.alice.hxb(&["group", "move", "deputies", "--below", "WSAdmins", "-w", "shop"]).await?;
    let said = read().await?;
    ensure!(said.code == 0, "{said:?}");
    shop.alice.hxb(&["group", "remove", "deputies", "deputy@example.test", "-w", "shop"]).await?;
    let said = read().await?;
    ensure!(said.code != 0 && said.stderr.contains("forbidden"), "{said:?}");
    // He is a member still, with a token that is as good as new.
    ensure!(shop.at.with_token(&shop.platform, &token, &shop.id, "/api/v1/namespaces").await?.code == 0);
    Ok(())
}

#[tokio::test]
async fn explanations_agree_with_kubernetes_and_name_the_way() -> Result<()> {
    let shop = office().await?;
    let bob = member_of(shop, "juniors", "junior").await?;
    let alice = &shop.alice;
    alice.hxb(&["group", "create", "staff", "-w", "shop"]).await?;
    alice.hxb(&["group", "move", "juniors", "--below", "staff", "-w", "shop"]).await?;
    alice.hxb(&["access", "grant", "edit", "staff", "-w", "shop", "-p", "office"]).await?;
    until_can(&bob, "create", "deployments", "desk", true).await?;
    let own = ["-n", "default", "create", "rolebinding", "by-hand", "--clusterrole=edit", "--group=hexabase:juniors"];
    alice.kubectl(&own).await?;
    until_can(&bob, "delete", "configmaps", "default", true).await?;
    let mut allowed = 0;
    let cases = [
        ("get", "pods", "office"),
        ("list", "po", "default"),
        ("create", "deployments", "office"),
        ("create", "deployments.apps", "desk"),
        ("patch", "deploy/scale", "desk"),
        ("get", "pods/log", "kube-system"),
        ("create", "pods/exec", "office"),
        ("create", "pods/exec", "kube-system"),
        ("get", "secrets", "office"),
        ("get", "secrets", "default"),
        ("get", "secrets", "kube-system"),
        ("delete", "configmaps", "default"),
        ("create", "rolebindings", "office"),
        ("list", "clusterroles", "office"),
        ("delete", "nodes", "office"),
        ("get", "nodes", "office"),
        ("delete", "namespaces", "office"),
        ("update", "resourcequotas", "office"),
        ("create", "serviceaccounts/token", "kube-system"),
        ("list", "networkpolicies", "desk"),
    ];
    for person in [&bob, alice] {
        let who = text(&person.json(&["whoami"]).await?, "id")?;
        for (verb, resource, namespace) in cases {
            let (resource_only, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            let below = format!("--subresource={subresource}");
            let mut asked = vec!["auth", "can-i", verb, resource_only, "-n", namespace];
            asked.extend((!subresource.is_empty()).then_some(below.as_str()));
            let expected = person.try_kubectl(&asked).await?.stdout.trim() == "yes";
            let question = ["access", "explain", verb, resource, "-n", namespace, "-w", "shop"];
            let told = person.json(&question).await?;
            ensure!(told["allowed"] == expected, "{verb} {resource} in {namespace}: kubectl says {expected}, {told}");
            let about = [question.as_slice(), &["--user", &who]].concat();
            ensure!(alice.json(&about).await?["allowed"] == expected, "{verb} {resource} in {namespace}");
            let because = told["because"].as_array().map_or(0, Vec::len);
            let by_hand = namespace == "default" && because == 0;
            ensure!(expected == (because > 0) || (expected && by_hand), "{verb} {resource} in {namespace}: {told}");
            allowed += usize::from(expected);
        }
    }
    ensure!((20..40).contains(&allowed), "{allowed} of 40 are allowed, which tells little");

    let told = bob.json(&["access", "explain", "create", "deployments", "-n", "desk", "-w", "shop"]).await?;
    ensure!(told["because"][0]["path"] == serde_json::json!(["juniors", "staff"]), "{told}");
    let grant = &told["because"][0]["grant"];
    ensure!(grant["role"] == "edit" && grant["project"] == "office" && grant["group"] == "staff", "{told}");
    let told = bob.json(&["access", "explain", "delete", "configmaps", "-n", "default", "-w", "shop"]).await?;
    ensure!(told["because"] == serde_json::json!([]), "{told}");
    ensure!(text(&told, "kubernetes")?.contains("by-hand"), "{told}");
    // About others, only those who may review access are told.
    let who = text(&alice.json(&["whoami"]).await?, "id")?;
    let said = bob.hxb.run(&["access", "explain", "get", "pods", "-w", "shop", "--user", &who]).await?;
    refused(&said, "WSAdmins")?;

    let told = alice.json(&["access", "who-can", "create", "deployments", "-n", "desk", "-w", "shop"]).await?;
    let groups: Vec<&str> =
        told["grants"].as_array().into_iter().flatten().filter_map(|one| one["group"].as_str()).collect();
    ensure!(
        groups.contains(&"staff") && groups.contains(&"WSAdmins") && !groups.contains(&"WorkspaceMembers"),
        "{told}"
    );
    let people = told["people"].as_array().context("no people")?;
    // What others were given in this very moment, Kubernetes may not know yet.
    let confirmed = |key: &str, who: &str| people.iter().any(|one| one[key] == who && one["allowed"] == true);
    ensure!(confirmed("user", &who) && confirmed("email", "junior@example.test"), "{told}");
    Ok(())
}
