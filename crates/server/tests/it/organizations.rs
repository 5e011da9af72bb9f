use anyhow::Result;
use serde_json::json;

use crate::support::{Platform, items, problem, text};

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
    assert!(text(&refused["detail"]).contains("20"), "{refused}");
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
