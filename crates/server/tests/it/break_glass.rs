//! Break-glass: staff of the platform in an organisation of others, for a short time and in its own log.

use anyhow::{Context as _, Result};
use hexabase_app::break_glass::{self, BreakGlassRequest};
use hexabase_app::members::Invitee;
use hexabase_backends::store::break_glass::BreakGlass;
use serde_json::{Value, json};

use crate::support::{Person, Platform, claims, items, pass, problem, text};
use crate::tokens::make_token;

const REASON: &str = "nobody of theirs can sign in, support case 17";

fn request(tenant: &Person, staff: &Person) -> Result<BreakGlassRequest> {
    Ok(BreakGlassRequest {
        organization: tenant.organization.parse()?,
        who: Invitee::Email(staff.email.clone()),
        minutes: 60,
        reason: REASON.to_owned(),
        operator: "ada".to_owned(),
    })
}

async fn start(platform: &Platform, tenant: &Person, staff: &Person) -> Result<BreakGlass> {
    Ok(break_glass::start(&platform.store().await?, &platform.clock, &request(tenant, staff)?).await?)
}

async fn end(platform: &Platform, tenant: &Person, staff: &Person) -> Result<BreakGlass> {
    let (organization, who) = (tenant.organization.parse()?, Invitee::User(staff.id.parse()?));
    Ok(break_glass::end(&platform.store().await?, &platform.clock, &organization, &who, "ada").await?)
}

async fn log(tenant: &Person) -> Result<Vec<Value>> {
    Ok(items(&tenant.api.get(&format!("/api/v1/organizations/{}/audit", tenant.organization)).await?))
}

#[tokio::test]
async fn staff_are_let_in_for_a_while_and_the_organization_sees_who_why_and_what() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (tenant, staff) = (platform.person("tenant").await?, platform.person("staff").await?);
        let bob = platform.person("bob").await?;
        let workspace = tenant.workspace("shop").await?;
        tenant.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
        let (organization, path) =
            (format!("/api/v1/organizations/{}", tenant.organization), format!("/api/v1/workspaces/{workspace}"));
        for path in [&organization, &path] {
            problem(&staff.api.get(path).await?, 404, "not_found");
        }
        let given = start(&platform, &tenant, &staff).await?;
        assert_eq!(staff.api.get(&organization).await?.expect(200)?.json()?["role"], "admin");
        staff.api.get(&path).await?.expect(200)?;
        staff.remove(&workspace, &bob.id).await?.expect(204)?;
        staff.api.post(&format!("{path}/projects"), &json!({ "name": "rescue" })).await?.expect(201)?;
        assert_eq!(end(&platform, &tenant, &staff).await?.id, given.id);
        for path in [&organization, &path] {
            problem(&staff.api.get(path).await?, 404, "not_found");
        }
        let rows = log(&tenant).await?;
        let actions: Vec<_> = rows[3..].iter().map(|row| text(&row["action"])).collect();
        assert_eq!(actions, ["break_glass.started", "member.removed", "project.created", "break_glass.ended"]);
        let started = &rows[3];
        assert_eq!((text(&started["actor"]), text(&started["subject"])), ("operator".to_owned(), given.id.to_string()));
        assert_eq!(
            (text(&started["after"]["reason"]), text(&started["after"]["user"])),
            (REASON.to_owned(), staff.id.clone())
        );
        assert_eq!(text(&started["after"]["granted_by"]), "ada");
        let by = format!("session {} under break-glass {}", text(&claims(staff.api.token())?["sid"]), given.id);
        for row in &rows[4..6] {
            assert_eq!((text(&row["actor"]), text(&row["on_behalf_of"])), (staff.id.clone(), "operator".to_owned()));
            assert_eq!(text(&row["credential"]), by);
        }
        assert!(rows[..3].iter().all(|row| row.get("on_behalf_of").is_none()));
        problem(&bob.api.get(&path).await?, 404, "not_found");
        // And the feed told it.
        let feed =
            tenant.api.request(reqwest::Method::GET, "/api/v1/events").header("last-event-id", "0").send().await?;
        let mut feed = feed;
        let heard = crate::support::soon("the event", async {
            let mut heard = String::new();
            while !heard.contains("break_glass.ended") {
                heard.push_str(std::str::from_utf8(&feed.chunk().await?.context("the feed ended")?)?);
            }
            anyhow::Ok(heard)
        });
        assert!(heard.await??.contains("event: break_glass.started"));
    }
    Ok(())
}

#[tokio::test]
async fn it_ends_by_itself() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let (tenant, staff) = (platform.person("tenant").await?, platform.person("staff").await?);
    let short = BreakGlassRequest { minutes: 5, ..request(&tenant, &staff)? };
    break_glass::start(&platform.store().await?, &platform.clock, &short).await?;
    let path = format!("/api/v1/organizations/{}", tenant.organization);
    pass(&platform, 299);
    staff.api.get(&path).await?.expect(200)?;
    pass(&platform, 1);
    problem(&staff.api.get(&path).await?, 404, "not_found");
    let over = end(&platform, &tenant, &staff).await;
    assert!(over.is_err_and(|error| error.to_string().contains("no such access")), "there is nothing to end");
    // Another time needs another reason.
    start(&platform, &tenant, &staff).await?;
    Ok(())
}

#[tokio::test]
async fn it_opens_one_organization_to_one_person_who_is_signed_in() -> Result<()> {
    let platform = Platform::start().await?;
    let (tenant, other, staff) =
        (platform.person("tenant").await?, platform.person("other").await?, platform.person("staff").await?);
    let (hers, theirs) = (tenant.workspace("shop").await?, other.workspace("shop").await?);
    let made = make_token(&staff.api, "/api/v1/me/tokens", json!({})).await?;
    start(&platform, &tenant, &staff).await?;
    let token = platform.nobody().with_token(&made.secret);
    for (path, status) in [
        (format!("/api/v1/organizations/{}", tenant.organization), 200),
        (format!("/api/v1/workspaces/{hers}"), 200),
        (format!("/api/v1/organizations/{}", other.organization), 404),
        (format!("/api/v1/workspaces/{theirs}"), 404),
    ] {
        staff.api.get(&path).await?.expect(status)?;
        staff.browser.get(&platform.at(&path)).await?.expect(status)?;
        // Not for a program: who acts is to be a person.
        token.get(&path).await?.expect(404)?;
    }
    other.api.get(&format!("/api/v1/workspaces/{hers}")).await?.expect(404)?;
    // Inside the virtual cluster nobody is admin by it.
    let answer = staff.exchange(&platform, &hers).await?;
    assert_eq!(crate::support::oauth_error(&answer), "access_denied");
    Ok(())
}

#[tokio::test]
async fn it_gives_no_access_that_outlasts_it() -> Result<()> {
    let platform = Platform::start().await?;
    let (tenant, staff) = (platform.person("tenant").await?, platform.person("staff").await?);
    let friend = platform.person("friend").await?;
    let workspace = tenant.workspace("shop").await?;
    tenant.add(&workspace, &friend.id, &["WSUsers"]).await?.expect(201)?;
    let base = format!("/api/v1/workspaces/{workspace}");
    let organization = format!("/api/v1/organizations/{}", tenant.organization);
    let groups = items(&tenant.api.get(&format!("{base}/groups")).await?);
    let group = |name: &str| groups.iter().find(|group| group["name"] == name).map(|group| text(&group["id"]));
    let (admins, users) = (group("WSAdmins").context("no group")?, group("WSUsers").context("no group")?);
    let made = tenant.api.post(&format!("{base}/groups"), &json!({ "name": "staff" })).await?.expect(201)?.json()?;
    let below = format!("{base}/groups/{}", text(&made["id"]));
    let role = json!({ "group": users, "role": "hexabase:workspace-admin" });
    start(&platform, &tenant, &staff).await?;
    // To themselves or to others, as strangers and as members whose groups give them next to nothing.
    for is_member in [false, true] {
        if is_member {
            tenant.add(&workspace, &staff.id, &["WSUsers"]).await?.expect(201)?;
        }
        let mut answers = vec![
            staff.api.patch(&below, &json!({ "parent": admins })).await?,
            staff.api.post(&format!("{base}/role-assignments"), &role).await?,
            staff.api.post(&format!("{organization}/service-accounts"), &json!({ "name": "backdoor" })).await?,
            staff
                .api
                .post(&format!("{organization}/workspaces"), &json!({ "name": "own", "plan": "standard" }))
                .await?,
            staff.api.post(&format!("{organization}/invitations"), &json!({ "email": staff.email })).await?,
        ];
        for user in [&staff, &friend] {
            answers.push(staff.add(&workspace, &user.id, &["WSAdmins"]).await?);
            answers.push(staff.api.post(&format!("{base}/members"), &json!({ "email": user.email })).await?);
            answers.push(staff.api.put(&format!("{base}/groups/{admins}/members/{}", user.id)).await?);
        }
        let made = if is_member { &[&staff, &friend][..] } else { &[&friend][..] };
        for user in made {
            let path = format!("{organization}/members/{}", user.id);
            answers.push(staff.api.patch(&path, &json!({ "role": "admin" })).await?);
        }
        for answer in &answers {
            problem(answer, 403, "forbidden");
        }
        assert_eq!(answers.len(), if is_member { 13 } else { 12 });
    }
    staff.api.get(&format!("{organization}/service-accounts")).await?.expect(200)?;
    tenant.remove(&workspace, &staff.id).await?.expect(204)?;
    // What they see by it they can make a token for, which does not.
    staff.api.get(&base).await?.expect(200)?;
    let made = make_token(&staff.api, "/api/v1/me/tokens", json!({ "workspace": workspace })).await?;
    problem(&platform.nobody().with_token(&made.secret).get(&base).await?, 404, "not_found");
    Ok(())
}

#[tokio::test]
async fn it_disposes_of_nothing_that_is_the_organizations() -> Result<()> {
    let platform = Platform::start().await?;
    let (tenant, staff) = (platform.person("tenant").await?, platform.person("staff").await?);
    let id = tenant.make_organization("acme").await?;
    let organization = format!("/api/v1/organizations/{id}");
    let request = BreakGlassRequest { organization: id.parse()?, ..request(&tenant, &staff)? };
    break_glass::start(&platform.store().await?, &platform.clock, &request).await?;
    for answer in [
        staff.api.delete(&organization).await?,
        staff.api.patch(&organization, &json!({ "name": "Ours" })).await?,
        staff.api.post(&format!("{organization}/transfer"), &json!({ "user": staff.id })).await?,
    ] {
        let refused = problem(&answer, 403, "forbidden");
        assert!(text(&refused["detail"]).contains("neither deletes nor renames nor hands over"), "{refused}");
    }
    let workspace = tenant.workspace_in(&id, "shop").await?;
    let path = format!("/api/v1/workspaces/{workspace}");
    problem(&staff.api.delete(&path).await?, 403, "forbidden");
    assert_eq!(staff.api.get(&path).await?.expect(200)?.json()?["phase"], "creating");
    // What a group of the workspace gives them anyway is theirs to do.
    tenant.add(&workspace, &staff.id, &["WSAdmins"]).await?.expect(201)?;
    staff.api.delete(&path).await?.expect(202)?;
    Ok(())
}

#[tokio::test]
async fn it_takes_access_away() -> Result<()> {
    let platform = Platform::start().await?;
    let (tenant, staff, bob) =
        (platform.person("tenant").await?, platform.person("staff").await?, platform.person("bob").await?);
    let workspace = tenant.workspace("shop").await?;
    tenant.add(&workspace, &bob.id, &["WSAdmins", "WSUsers"]).await?.expect(201)?;
    let organization = format!("/api/v1/organizations/{}", tenant.organization);
    let member = format!("{organization}/members/{}", bob.id);
    tenant.api.patch(&member, &json!({ "role": "admin" })).await?.expect(200)?;
    let accounts = format!("{organization}/service-accounts");
    let account = text(&tenant.api.post(&accounts, &json!({ "name": "x" })).await?.expect(201)?.json()?["id"]);
    let made = make_token(&tenant.api, &format!("{accounts}/{account}/tokens"), json!({})).await?;
    start(&platform, &tenant, &staff).await?;
    let groups = items(&staff.api.get(&format!("/api/v1/workspaces/{workspace}/groups")).await?);
    let admins = groups.iter().find(|group| group["name"] == "WSAdmins").context("no group")?;
    let group = format!("/api/v1/workspaces/{workspace}/groups/{}/members/{}", text(&admins["id"]), bob.id);
    staff.api.delete(&group).await?.expect(204)?;
    staff.api.patch(&member, &json!({ "role": "member" })).await?.expect(200)?;
    staff.api.delete(&format!("{accounts}/{account}/tokens/{}", made.id)).await?.expect(204)?;
    problem(&platform.nobody().with_token(&made.secret).get("/api/v1/me").await?, 401, "unauthenticated");
    staff.api.delete(&format!("{accounts}/{account}")).await?.expect(200)?;
    staff.api.delete(&member).await?.expect(200)?;
    problem(&bob.api.get(&organization).await?, 404, "not_found");
    Ok(())
}

#[tokio::test]
async fn what_an_operator_gets_wrong_is_refused_and_leaves_no_trace() -> Result<()> {
    let platform = Platform::start().await?;
    let (tenant, staff) = (platform.person("tenant").await?, platform.person("staff").await?);
    let store = platform.store().await?;
    let accounts = format!("/api/v1/organizations/{}/service-accounts", tenant.organization);
    let program = text(&tenant.api.post(&accounts, &json!({ "name": "pipeline" })).await?.expect(201)?.json()?["id"]);
    let good = request(&tenant, &staff)?;
    for wrong in [
        BreakGlassRequest { minutes: 0, ..good.clone() },
        BreakGlassRequest { minutes: 241, ..good.clone() },
        BreakGlassRequest { reason: " ".to_owned(), ..good.clone() },
        BreakGlassRequest { reason: "two\nlines".to_owned(), ..good.clone() },
        BreakGlassRequest { reason: "x".repeat(501), ..good.clone() },
        BreakGlassRequest { organization: "org-00000000000000000000".parse()?, ..good.clone() },
        BreakGlassRequest { who: Invitee::Email("nobody@example.test".to_owned()), ..good.clone() },
        BreakGlassRequest { who: Invitee::User("usr-00000000000000000000".parse()?), ..good.clone() },
        BreakGlassRequest { who: Invitee::User(program.parse()?), ..good.clone() },
    ] {
        assert!(break_glass::start(&store, &platform.clock, &wrong).await.is_err(), "{wrong:?}");
    }
    let herself = BreakGlassRequest { who: Invitee::User(tenant.id.parse()?), ..good.clone() };
    let needless = break_glass::start(&store, &platform.clock, &herself).await;
    assert!(needless.is_err_and(|error| error.to_string().contains("administers the organization")));
    assert_eq!(log(&tenant).await?.len(), 2);
    break_glass::start(&store, &platform.clock, &good).await?;
    let again = break_glass::start(&store, &platform.clock, &good).await;
    assert!(again.is_err_and(|error| error.to_string().contains("has access until")));
    assert_eq!(log(&tenant).await?.len(), 3);
    Ok(())
}
