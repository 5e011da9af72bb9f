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
        let (organization, path) =
            (format!("/api/v1/organizations/{}", tenant.organization), format!("/api/v1/workspaces/{workspace}"));
        for path in [&organization, &path] {
            problem(&staff.api.get(path).await?, 404, "not_found");
        }
        let given = start(&platform, &tenant, &staff).await?;
        assert_eq!(staff.api.get(&organization).await?.expect(200)?.json()?["role"], "admin");
        staff.api.get(&path).await?.expect(200)?;
        staff.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
        staff.api.post(&format!("{path}/projects"), &json!({ "name": "rescue" })).await?.expect(201)?;
        assert_eq!(end(&platform, &tenant, &staff).await?.id, given.id);
        for path in [&organization, &path] {
            problem(&staff.api.get(path).await?, 404, "not_found");
        }
        let rows = log(&tenant).await?;
        let actions: Vec<_> = rows[2..].iter().map(|row| text(&row["action"])).collect();
        assert_eq!(actions, ["break_glass.started", "member.added", "project.created", "break_glass.ended"]);
        let started = &rows[2];
        assert_eq!((text(&started["actor"]), text(&started["subject"])), ("operator".to_owned(), given.id.to_string()));
        assert_eq!(
            (text(&started["after"]["reason"]), text(&started["after"]["user"])),
            (REASON.to_owned(), staff.id.clone())
        );
        assert_eq!(text(&started["after"]["granted_by"]), "ada");
        let by = format!("session {} under break-glass {}", text(&claims(staff.api.token())?["sid"]), given.id);
        for row in &rows[3..5] {
            assert_eq!((text(&row["actor"]), text(&row["on_behalf_of"])), (staff.id.clone(), "operator".to_owned()));
            assert_eq!(text(&row["credential"]), by);
        }
        assert!(rows[..2].iter().all(|row| row.get("on_behalf_of").is_none()));
        // Whom they let in stays, as if one of the organisation's own admins had.
        bob.api.get(&path).await?.expect(200)?;
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
    let workspace = tenant.workspace("shop").await?;
    start(&platform, &tenant, &staff).await?;
    problem(&staff.add(&workspace, &staff.id, &["WSAdmins"]).await?, 403, "forbidden");
    let by_address = json!({ "email": staff.email, "groups": [] });
    problem(&staff.api.post(&format!("/api/v1/workspaces/{workspace}/members"), &by_address).await?, 403, "forbidden");
    let accounts = format!("/api/v1/organizations/{}/service-accounts", tenant.organization);
    problem(&staff.api.post(&accounts, &json!({ "name": "backdoor" })).await?, 403, "forbidden");
    staff.api.get(&accounts).await?.expect(200)?;
    let workspaces = format!("/api/v1/organizations/{}/workspaces", tenant.organization);
    problem(&staff.api.post(&workspaces, &json!({ "name": "own", "plan": "standard" })).await?, 403, "forbidden");
    let invitations = format!("/api/v1/organizations/{}/invitations", tenant.organization);
    problem(&staff.api.post(&invitations, &json!({ "email": staff.email, "role": "admin" })).await?, 403, "forbidden");
    let bound = json!({ "name": "backdoor", "access": "write", "workspace": workspace, "expires_at": crate::tokens::in_a_day() });
    let made = staff.api.post("/api/v1/me/tokens", &bound).await?;
    if made.status == 201 {
        let token = platform.nobody().with_token(text(&made.json()?["secret"]));
        problem(&token.get(&format!("/api/v1/workspaces/{workspace}")).await?, 404, "not_found");
    }
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
    assert_eq!(log(&tenant).await?.len(), 2);
    break_glass::start(&store, &platform.clock, &good).await?;
    let again = break_glass::start(&store, &platform.clock, &good).await;
    assert!(again.is_err_and(|error| error.to_string().contains("has access until")));
    assert_eq!(log(&tenant).await?.len(), 3);
    Ok(())
}
