use anyhow::Result;
use hexabase_backends::store::workspaces as rows;
use serde_json::json;

use crate::support::{Person, Platform, items, problem, text};

const PATH: &str = "/api/v1/organizations";

#[tokio::test]
async fn whoever_makes_an_organization_is_its_admin() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let made = alice.api.post(PATH, &json!({ "name": "株式会社ヘキサ" })).await?.expect(201)?.json()?;
    assert_eq!((made["name"].as_str(), made["personal"].as_bool()), (Some("株式会社ヘキサ"), Some(false)));
    assert_eq!(made["role"], "admin");
    let id = text(&made["id"]);
    let same = alice.api.get(&format!("{PATH}/{id}")).await?.expect(200)?.json()?;
    assert_eq!(same, made);
    let members = items(&alice.api.get(&format!("{PATH}/{id}/members")).await?);
    assert_eq!(members.len(), 1);
    assert_eq!((members[0]["user"].as_str(), members[0]["role"].as_str()), (Some(&*alice.id), Some("admin")));
    let names: Vec<String> =
        items(&alice.api.get(PATH).await?).iter().map(|organization| text(&organization["name"])).collect();
    assert_eq!(names, ["Alice Example's organization", "株式会社ヘキサ"]);
    Ok(())
}

#[tokio::test]
async fn a_name_that_breaks_a_rule_is_refused_with_the_rule() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for name in ["", " ", " lead", "trail ", "two\nlines", "bell\u{7}", &"x".repeat(81)] {
        let answer = alice.api.post(PATH, &json!({ "name": name })).await?;
        let body = problem(&answer, 422, "invalid");
        assert_eq!(body["field"], "name", "{name:?}");
        assert!(text(&body["detail"]).contains("display name"), "{body}");
    }
    alice.api.post(PATH, &json!({ "name": "x".repeat(80) })).await?.expect(201)?;
    assert_eq!(items(&alice.api.get(PATH).await?).len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_person_administers_twenty_organizations_at_most() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for number in 0..19 {
        alice.api.post(PATH, &json!({ "name": format!("Organization {number}") })).await?.expect(201)?;
    }
    let refused = problem(&alice.api.post(PATH, &json!({ "name": "one more" })).await?, 409, "limit_reached");
    assert!(text(&refused["detail"]).contains("20 organizations, which nobody can raise; hand one over"), "{refused}");
    assert_eq!(items(&alice.api.get(PATH).await?).len(), 20);
    Ok(())
}

#[tokio::test]
async fn somebody_with_access_to_a_workspace_sees_its_organization_but_makes_no_workspaces_there() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let path = format!("{PATH}/{}", alice.organization);
    assert_eq!(bob.api.get(&path).await?.expect(200)?.json()?["role"], "member");
    assert_eq!(items(&bob.api.get(&format!("{path}/members")).await?).len(), 2);
    let refused = bob.api.post(&format!("{path}/workspaces"), &json!({ "name": "mine", "plan": "free" })).await?;
    let refused = problem(&refused, 403, "forbidden");
    assert!(text(&refused["detail"]).contains("only an admin of the organization"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_member_sees_only_the_workspaces_they_have_access_to() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let shared = alice.workspace("shared").await?;
    let hidden = alice.workspace("hidden").await?;
    alice.add(&shared, &bob.id, &[]).await?.expect(201)?;
    for path in [format!("{PATH}/{}/workspaces", alice.organization), "/api/v1/workspaces".to_owned()] {
        let seen: Vec<String> = items(&bob.api.get(&path).await?).iter().map(|row| text(&row["id"])).collect();
        assert_eq!(seen, [shared.as_str()], "{path}");
    }
    problem(&bob.api.get(&format!("/api/v1/workspaces/{hidden}")).await?, 404, "not_found");
    assert_eq!(items(&alice.api.get("/api/v1/workspaces").await?).len(), 2);
    Ok(())
}

#[tokio::test]
async fn addresses_are_told_to_admins_only_and_access_to_the_organization_ends_with_the_last_workspace() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let shared = text(&alice.api.get("/api/v1/organizations").await?.expect(200)?.json()?["items"][0]["id"]);
    let members = format!("{PATH}/{shared}/members");
    let addresses = |answer| items(&answer).iter().filter(|member| !member["email"].is_null()).count();
    assert_eq!(addresses(alice.api.get(&members).await?), 2);
    assert_eq!(addresses(bob.api.get(&members).await?), 1, "one's own");
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    problem(&bob.api.get(&members).await?, 404, "not_found");
    assert_eq!(items(&bob.api.get(PATH).await?).len(), 1);
    Ok(())
}

#[tokio::test]
async fn an_admin_renames_and_a_member_does_not() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let id = alice.make_organization("acme").await?;
    let workspace = alice.workspace_in(&id, "shop").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let path = format!("{PATH}/{id}");
    let renamed = alice.api.patch(&path, &json!({ "name": "Acme & Söhne" })).await?.expect(200)?.json()?;
    assert_eq!((renamed["name"].as_str(), renamed["role"].as_str()), (Some("Acme & Söhne"), Some("admin")));
    assert_eq!(bob.api.get(&path).await?.expect(200)?.json()?["name"], "Acme & Söhne");
    let refused = problem(&bob.api.patch(&path, &json!({ "name": "Bob's" })).await?, 403, "forbidden");
    assert!(text(&refused["detail"]).contains("only an admin of the organization may rename it"), "{refused}");
    for body in [json!({ "name": " " }), json!({}), json!({ "name": "x", "personal": false })] {
        problem(&alice.api.patch(&path, &body).await?, 422, "invalid");
    }
    // The personal one may have another name too.
    let own = format!("{PATH}/{}", alice.organization);
    assert_eq!(alice.api.patch(&own, &json!({ "name": "Mine" })).await?.expect(200)?.json()?["personal"], true);
    Ok(())
}

#[tokio::test]
async fn an_organization_with_workspaces_is_not_deleted_and_says_which_they_are() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let id = alice.make_organization("acme").await?;
    let path = format!("{PATH}/{id}");
    let mut workspaces = Vec::new();
    for number in 0..6 {
        workspaces.push(alice.workspace_in(&id, &format!("shop-{number}")).await?);
    }
    let refused = problem(&alice.api.delete(&path).await?, 409, "organization_not_empty");
    let detail = text(&refused["detail"]);
    assert!(detail.starts_with("6 workspaces are still there: shop-0 (creating), "), "{detail}");
    assert!(detail.contains("shop-4") && !detail.contains("shop-5") && detail.contains("and 1 more"), "{detail}");
    for workspace in &workspaces[1..] {
        gone(&platform, &alice, workspace).await?;
    }
    // One that is on its way out is still in the way: something of it may be on the host.
    alice.api.delete(&format!("/api/v1/workspaces/{}", workspaces[0])).await?.expect(202)?;
    let refused = problem(&alice.api.delete(&path).await?, 409, "organization_not_empty");
    assert!(text(&refused["detail"]).starts_with("1 workspace is still there: shop-0 (deleting);"), "{refused}");
    gone(&platform, &alice, &workspaces[0]).await?;
    alice.api.delete(&path).await?.expect(204)?;
    for gone in [path.clone(), format!("{path}/members"), format!("/api/v1/workspaces/{}", workspaces[0])] {
        problem(&alice.api.get(&gone).await?, 404, "not_found");
    }
    problem(&alice.api.delete(&path).await?, 404, "not_found");
    assert_eq!(items(&alice.api.get(PATH).await?).len(), 1);
    Ok(())
}

/// Deletes a workspace and does what the worker does once nothing of it is left.
async fn gone(platform: &Platform, admin: &Person, workspace: &str) -> Result<()> {
    admin.api.delete(&format!("/api/v1/workspaces/{workspace}")).await?.expect(202)?;
    let tx = platform.store().await?.begin().await?;
    rows::set_deleted(&tx, &workspace.parse()?, &json!({}), platform.clock.now()).await?;
    Ok(tx.commit().await?)
}

#[tokio::test]
async fn the_personal_organization_stays_with_its_person() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let path = format!("{PATH}/{}", alice.organization);
    let bobs = format!("{path}/members/{}", bob.id);
    problem(&bob.api.delete(&format!("{PATH}/{}", bob.organization)).await?, 409, "personal_organization");
    problem(
        &alice.api.post(&format!("{path}/transfer"), &json!({ "user": bob.id })).await?,
        409,
        "personal_organization",
    );
    alice.api.patch(&bobs, &json!({ "role": "admin" })).await?.expect(200)?;
    let alices = format!("{path}/members/{}", alice.id);
    for asker in [&alice, &bob] {
        problem(&asker.api.delete(&alices).await?, 409, "personal_organization");
        problem(&asker.api.patch(&alices, &json!({ "role": "member" })).await?, 409, "personal_organization");
    }
    // The other admin may go.
    bob.api.delete(&bobs).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn an_organization_is_handed_over_to_a_member_in_one_step() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob, carol) =
        (platform.person("alice").await?, platform.person("bob").await?, platform.person("carol").await?);
    let id = alice.make_organization("acme").await?;
    let workspace = alice.workspace_in(&id, "shop").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let path = format!("{PATH}/{id}/transfer");
    for user in [json!(carol.id), json!(alice.id), json!("bob"), json!("usr-00000000000000000000")] {
        let refused = problem(&alice.api.post(&path, &json!({ "user": user })).await?, 422, "invalid");
        assert_eq!(refused["field"], "user", "{user}");
    }
    problem(&bob.api.post(&path, &json!({ "user": bob.id })).await?, 403, "forbidden");
    let after = alice.api.post(&path, &json!({ "user": bob.id })).await?.expect(200)?.json()?;
    assert_eq!((after["id"].as_str(), after["role"].as_str()), (Some(&*id), Some("member")));
    assert_eq!(bob.api.get(&format!("{PATH}/{id}")).await?.expect(200)?.json()?["role"], "admin");
    problem(&alice.api.post(&path, &json!({ "user": bob.id })).await?, 403, "forbidden");
    // He came through the workspace; as its admin he stays when he loses that.
    bob.add(&workspace, &alice.id, &["WSAdmins"]).await?.expect(201)?;
    bob.remove(&workspace, &bob.id).await?.expect(204)?;
    assert_eq!(bob.api.get(&format!("{PATH}/{id}")).await?.expect(200)?.json()?["role"], "admin");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_workspace_is_not_made_in_an_organization_that_is_deleted_at_the_same_time() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = platform.person("alice").await?;
        let (mut deleted, mut made) = (0, 0);
        for round in 0..16 {
            let id = alice.make_organization(&format!("acme-{round}")).await?;
            let path = format!("{PATH}/{id}");
            let workspaces = format!("{path}/workspaces");
            let body = json!({ "name": "shop", "plan": "standard" });
            let (creation, deletion) = tokio::try_join!(alice.api.post(&workspaces, &body), alice.api.delete(&path))?;
            match (creation.status, deletion.status) {
                (201, 409) => {
                    made += 1;
                    problem(&deletion, 409, "organization_not_empty");
                    assert_eq!(items(&alice.api.get(&workspaces).await?).len(), 1);
                }
                (404, 204) => {
                    deleted += 1;
                    problem(&alice.api.get(&path).await?, 404, "not_found");
                    let left = items(&alice.api.get("/api/v1/workspaces").await?);
                    assert!(left.iter().all(|workspace| workspace["organization"] != *id), "{left:?}");
                }
                other => anyhow::bail!("{other:?}: {} {}", creation.text, deletion.text),
            }
        }
        assert_eq!(deleted + made, 16);
    }
    Ok(())
}
