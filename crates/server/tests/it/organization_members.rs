use anyhow::{Context as _, Result};
use hexabase_testkit::http::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::gateway::Tenant;
use crate::support::{Person, Platform, exchange, items, problem, soon, text};
use crate::tokens::{in_a_day, make_token};

fn members(organization: &str) -> String {
    format!("/api/v1/organizations/{organization}/members")
}

/// Alice's organisation `acme` with its workspace `shop`, in which everybody else has access.
async fn acme(alice: &Person, others: &[&Person]) -> Result<(String, String)> {
    let id = alice.make_organization("acme").await?;
    let workspace = alice.workspace_in(&id, "shop").await?;
    for other in others {
        alice.add(&workspace, &other.id, &["WSAdmins"]).await?.expect(201)?;
    }
    Ok((id, workspace))
}

async fn set_role(asker: &Person, organization: &str, user: &str, role: &str) -> Result<Answer> {
    asker.api.patch(&format!("{}/{user}", members(organization)), &json!({ "role": role })).await
}

async fn remove(asker: &Person, organization: &str, user: &str) -> Result<Answer> {
    asker.api.delete(&format!("{}/{user}", members(organization))).await
}

async fn roles(asker: &Person, organization: &str) -> Result<Vec<(String, String)>> {
    let rows = items(&asker.api.get(&members(organization)).await?);
    Ok(rows.iter().map(|row| (text(&row["user"]), text(&row["role"]))).collect())
}

#[tokio::test]
async fn people_are_listed_in_pages_and_found_by_name_or_address() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let mut others = Vec::new();
    for name in ["bob", "carol", "dora"] {
        others.push(platform.person(name).await?);
    }
    let (id, _) = acme(&alice, &others.iter().collect::<Vec<_>>()).await?;
    let mut seen = Vec::new();
    let mut path = format!("{}?limit=2", members(&id));
    for _ in 0..2 {
        let answer = alice.api.get(&path).await?;
        seen.extend(items(&answer).iter().map(|row| text(&row["user"])));
        let cursor = text(&answer.json()?["next_cursor"]);
        path = format!("{}?limit=2&cursor={cursor}", members(&id));
    }
    assert_eq!(seen.len(), 4);
    assert!(seen.is_sorted());
    let find = async |asker: &Person, search: &str| -> Result<Vec<String>> {
        let answer = asker.api.get(&format!("{}?search={search}", members(&id))).await?;
        Ok(items(&answer).iter().map(|row| text(&row["display_name"])).collect())
    };
    assert_eq!(find(&alice, "CAROL").await?, ["Carol Example"]);
    assert_eq!(find(&alice, "dora%40Example.TEST").await?, ["dora"]);
    assert_eq!(find(&alice, "%20").await?.len(), 4, "nothing is asked for");
    assert_eq!(find(&alice, "a%25b").await?.len(), 0, "no wildcards");
    // A member is told no addresses, and finds nobody by one but oneself.
    assert_eq!(find(&others[0], "carol").await?, ["Carol Example"]);
    assert_eq!(find(&others[0], "example.test").await?, ["Bob Example"]);
    problem(&alice.api.get(&format!("{}?search={}", members(&id), "x".repeat(81))).await?, 422, "invalid");
    problem(&alice.api.get(&format!("{}?q=x", members(&id))).await?, 422, "invalid");
    Ok(())
}

#[tokio::test]
async fn an_admin_gives_roles_and_a_member_does_not() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob, carol) =
        (platform.person("alice").await?, platform.person("bob").await?, platform.person("carol").await?);
    let (id, _) = acme(&alice, &[&bob, &carol]).await?;
    for answer in [set_role(&bob, &id, &bob.id, "admin").await?, remove(&bob, &id, &carol.id).await?] {
        let refused = problem(&answer, 403, "forbidden");
        assert!(text(&refused["detail"]).contains("only an admin of the organization"), "{refused}");
    }
    let changed = set_role(&alice, &id, &bob.id, "admin").await?.expect(200)?.json()?;
    assert_eq!((&changed["user"], &changed["role"]), (&json!(bob.id), &json!("admin")));
    // At once: she may do what admins may.
    bob.workspace_in(&id, "bobs").await?;
    set_role(&bob, &id, &alice.id, "member").await?.expect(200)?;
    problem(&set_role(&alice, &id, &alice.id, "admin").await?, 403, "forbidden");
    for role in ["owner", "Admin", "", "viewer"] {
        problem(&set_role(&bob, &id, &carol.id, role).await?, 422, "invalid");
    }
    for nobody in ["usr-00000000000000000000", "nonsense", &id] {
        problem(&set_role(&bob, &id, nobody, "admin").await?, 404, "not_found");
        problem(&remove(&bob, &id, nobody).await?, 404, "not_found");
    }
    Ok(())
}

#[tokio::test]
async fn the_last_admin_neither_leaves_nor_is_demoted() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (id, _) = acme(&alice, &[&bob]).await?;
    for answer in [set_role(&alice, &id, &alice.id, "member").await?, remove(&alice, &id, &alice.id).await?] {
        let refused = problem(&answer, 409, "last_admin");
        assert!(text(&refused["detail"]).contains("make somebody else one first"), "{refused}");
    }
    set_role(&alice, &id, &alice.id, "admin").await?.expect(200)?;
    set_role(&alice, &id, &bob.id, "admin").await?.expect(200)?;
    remove(&alice, &id, &alice.id).await?.expect(200)?;
    problem(&remove(&bob, &id, &bob.id).await?, 409, "last_admin");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_admins_who_demote_each_other_at_once_exactly_one_succeeds() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
        for round in 0..8 {
            let (id, _) = acme(&alice, &[&bob]).await?;
            set_role(&alice, &id, &bob.id, "admin").await?.expect(200)?;
            let answers = match round % 2 {
                0 => tokio::try_join!(
                    set_role(&alice, &id, &bob.id, "member"),
                    set_role(&bob, &id, &alice.id, "member")
                )?,
                _ => tokio::try_join!(remove(&alice, &id, &alice.id), remove(&bob, &id, &bob.id))?,
            };
            let won = |answer: &Answer| answer.status == 200;
            assert!(won(&answers.0) != won(&answers.1), "{answers:?}");
            let left = if won(&answers.0) == (round % 2 == 0) { &alice } else { &bob };
            let admins = roles(left, &id).await?;
            assert_eq!(admins.iter().filter(|(_, role)| role == "admin").count(), 1, "{admins:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn whoever_is_taken_out_loses_every_workspace_at_once() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (id, shop) = acme(&alice, &[&bob]).await?;
    let bank = alice.workspace_in(&id, "bank").await?;
    alice.add(&bank, &bob.id, &["WSUsers"]).await?.expect(201)?;
    let elsewhere = alice.workspace("elsewhere").await?;
    alice.add(&elsewhere, &bob.id, &[]).await?.expect(201)?;
    // She is no member of the shop any more: he is the last of its administrators.
    bob.remove(&shop, &alice.id).await?.expect(204)?;
    Tenant::of(&platform, &shop).await?;
    let token = bob.workspace_token(&platform, &shop).await?;
    let gateway = platform.nobody().with_token(&token);
    let path = format!("/k8s/{shop}/api/v1/pods?watch=true");
    let mut watch = gateway.request(reqwest::Method::GET, &path).send().await?.error_for_status()?;
    soon("the first event", watch.chunk()).await??;
    remove(&alice, &id, &bob.id).await?.expect(200)?;
    soon("the end of the watch", async { while let Ok(Some(_)) = watch.chunk().await {} }).await?;
    assert_eq!(gateway.get(&path).await?.status, 403);
    for workspace in [&shop, &bank] {
        problem(&bob.api.get(&format!("/api/v1/workspaces/{workspace}")).await?, 404, "not_found");
        assert_eq!(bob.exchange(&platform, workspace).await?.status, 400);
        let left = items(&alice.api.get(&format!("/api/v1/workspaces/{workspace}/members")).await?);
        assert!(left.iter().all(|member| member["user"] != *bob.id), "{left:?}");
    }
    problem(&bob.api.get(&format!("/api/v1/organizations/{id}")).await?, 404, "not_found");
    assert_eq!(roles(&alice, &id).await?, [(alice.id.clone(), "admin".to_owned())]);
    // What he has elsewhere is his.
    bob.api.get(&format!("/api/v1/workspaces/{elsewhere}")).await?.expect(200)?;
    problem(&remove(&alice, &id, &bob.id).await?, 404, "not_found");
    // Coming back brings no old group back.
    let again = alice.add(&shop, &bob.id, &[]).await?.expect(201)?.json()?;
    assert_eq!(again["groups"], json!(["WSUsers"]));
    Ok(())
}

#[tokio::test]
async fn a_member_may_leave_by_themselves() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (id, shop) = acme(&alice, &[&bob]).await?;
    remove(&bob, &id, &bob.id).await?.expect(200)?;
    problem(&bob.api.get(&format!("/api/v1/workspaces/{shop}")).await?, 404, "not_found");
    problem(&remove(&bob, &id, &bob.id).await?, 404, "not_found");
    assert_eq!(roles(&alice, &id).await?.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_taken_out_while_given_access_is_in_the_organization_and_the_workspace_or_in_neither() -> Result<()>
{
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
        let (id, shop) = acme(&alice, &[&bob]).await?;
        let bank = alice.workspace_in(&id, "bank").await?;
        for _ in 0..8 {
            let (removed, added) = tokio::try_join!(remove(&alice, &id, &bob.id), alice.add(&bank, &bob.id, &[]))?;
            assert_eq!((removed.status, added.status), (200, 201), "{removed:?} {added:?}");
            let people = items(&alice.api.get(&format!("/api/v1/workspaces/{bank}/members")).await?);
            let in_bank = people.iter().any(|member: &Value| member["user"] == *bob.id);
            let in_organization = roles(&alice, &id).await?.iter().any(|(user, _)| *user == bob.id);
            assert_eq!(in_bank, in_organization);
            alice.add(&shop, &bob.id, &[]).await?.expect(201)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_change_is_told_once() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (id, _) = acme(&alice, &[&bob]).await?;
    let path = format!("/api/v1/organizations/{id}");
    for name in ["Acme", "Acme"] {
        alice.api.patch(&path, &json!({ "name": name })).await?.expect(200)?;
    }
    for role in ["admin", "admin", "member"] {
        set_role(&alice, &id, &bob.id, role).await?.expect(200)?;
    }
    alice.api.post(&format!("{path}/transfer"), &json!({ "user": bob.id })).await?.expect(200)?;
    remove(&bob, &id, &alice.id).await?.expect(200)?;
    problem(&remove(&bob, &id, &bob.id).await?, 409, "last_admin");
    let store = platform.store().await?;
    let scope = hexabase_backends::store::organizations::scope_for(&store, &bob.id.parse()?, &id.parse()?).await?;
    let scope = scope.context("Bob administers it")?;
    let rows = hexabase_backends::store::audit::list(&store, &scope, &Default::default(), 0, 100).await?;
    let told: Vec<_> = rows.iter().map(|row| row.entry.action.as_str()).collect();
    let expected = [
        "organization.created",
        "workspace.created",
        "member.added",
        "organization.renamed",
        "organization.member_role_changed",
        "organization.member_role_changed",
        "organization.transferred",
        "organization.member_removed",
    ];
    assert_eq!(told, expected);
    let last = rows.last().context("no entry")?;
    assert_eq!((last.entry.actor.as_str(), last.entry.subject.as_str()), (&*bob.id, &*alice.id));
    assert_eq!(last.entry.before.as_ref().map(|before| before["role"].clone()), Some(json!("member")));
    Ok(())
}

/// What the organisation's log says, newest last.
async fn log(admin: &Person, organization: &str) -> Result<Vec<Value>> {
    Ok(items(&admin.api.get(&format!("/api/v1/organizations/{organization}/audit?limit=200")).await?))
}

#[tokio::test]
async fn whoever_goes_takes_the_tokens_along_that_they_made_for_service_accounts() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
        let (id, shop) = acme(&alice, &[&bob]).await?;
        let _tenant = Tenant::of(&platform, &shop).await?;
        let accounts = format!("/api/v1/organizations/{id}/service-accounts");
        let account =
            text(&alice.api.post(&accounts, &json!({ "name": "pipeline" })).await?.expect(201)?.json()?["id"]);
        alice.add(&shop, &account, &["WSUsers"]).await?.expect(201)?;
        let tokens = format!("{accounts}/{account}/tokens");
        // Once taken out, once by themselves.
        for asker in [&alice, &bob] {
            alice.add(&shop, &bob.id, &[]).await?.expect(201)?;
            set_role(&alice, &id, &bob.id, "admin").await?.expect(200)?;
            let hers = make_token(&alice.api, &tokens, json!({})).await?;
            let (one, two) =
                (make_token(&bob.api, &tokens, json!({})).await?, make_token(&bob.api, &tokens, json!({})).await?);
            let listed = items(&alice.api.get(&tokens).await?);
            let by = |maker: &Person| listed.iter().filter(|row| row["created_by"] == *maker.id).count();
            assert_eq!((by(&alice), by(&bob)), (1, 2));
            let inside = text(&exchange(&platform, &shop, &one.secret).await?.expect(200)?.json()?["access_token"]);
            let path = format!("/k8s/{shop}/api/v1/pods?watch=true");
            let mut watch = platform.nobody().with_token(&inside).request(Method::GET, &path).send().await?;
            soon("the first event", watch.chunk()).await??;
            let before = log(&alice, &id).await?.len();
            let said = remove(asker, &id, &bob.id).await?.expect(200)?.json()?;
            assert_eq!(said, json!({ "tokens_ended": 2 }));
            for made in [&one, &two] {
                let refused = platform.nobody().with_token(&made.secret).get("/api/v1/me").await?;
                problem(&refused, 401, "unauthenticated");
            }
            soon("the end of the watch", async { while let Ok(Some(_)) = watch.chunk().await {} }).await?;
            platform.nobody().with_token(&hers.secret).get("/api/v1/me").await?.expect(200)?;
            let mut rows = log(&alice, &id).await?;
            assert_eq!(rows.len(), before + 1);
            let last = rows.pop().context("no record")?;
            let mut ended = [one.id, two.id];
            ended.sort();
            assert_eq!((&last["subject"], &last["before"]["tokens"]), (&json!(bob.id), &json!(ended)));
            alice.api.delete(&format!("{tokens}/{}", hers.id)).await?.expect(204)?;
        }
        // What he makes for himself is his.
        let own = make_token(&bob.api, "/api/v1/me/tokens", json!({})).await?;
        alice.add(&shop, &bob.id, &[]).await?.expect(201)?;
        let said = remove(&alice, &id, &bob.id).await?.expect(200)?.json()?;
        assert_eq!(said, json!({ "tokens_ended": 0 }));
        platform.nobody().with_token(&own.secret).get("/api/v1/me").await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_is_made_while_its_maker_is_taken_out_does_not_outlive_that() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
        let (id, shop) = acme(&alice, &[&bob]).await?;
        let accounts = format!("/api/v1/organizations/{id}/service-accounts");
        let account =
            text(&alice.api.post(&accounts, &json!({ "name": "pipeline" })).await?.expect(201)?.json()?["id"]);
        let tokens = format!("{accounts}/{account}/tokens");
        let wanted = json!({ "name": "x", "access": "write", "expires_at": in_a_day() });
        for _ in 0..8 {
            set_role(&alice, &id, &bob.id, "admin").await?.expect(200)?;
            let (made, removed) = tokio::try_join!(bob.api.post(&tokens, &wanted), remove(&alice, &id, &bob.id))?;
            removed.expect(200)?;
            assert!([201, 404].contains(&made.status), "{made:?}");
            let left = items(&alice.api.get(&tokens).await?);
            assert!(left.is_empty(), "{left:?}");
            alice.add(&shop, &bob.id, &[]).await?.expect(201)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_service_account_is_neither_the_last_admin_nor_given_an_organization() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let (id, _) = acme(&alice, &[]).await?;
    let accounts = format!("/api/v1/organizations/{id}/service-accounts");
    let body = json!({ "name": "pipeline", "role": "admin" });
    let account = text(&alice.api.post(&accounts, &body).await?.expect(201)?.json()?["id"]);
    let kinds: Vec<_> = items(&alice.api.get(&members(&id)).await?).iter().map(|row| text(&row["kind"])).collect();
    assert_eq!(kinds, ["person", "service"]);
    for answer in [set_role(&alice, &id, &alice.id, "member").await?, remove(&alice, &id, &alice.id).await?] {
        problem(&answer, 409, "last_admin");
    }
    let transfer = format!("/api/v1/organizations/{id}/transfer");
    let refused = problem(&alice.api.post(&transfer, &json!({ "user": account })).await?, 422, "invalid");
    assert!(text(&refused["detail"]).contains("service account"), "{refused}");
    // It may itself become an ordinary member.
    set_role(&alice, &id, &account, "member").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn only_a_person_who_is_signed_in_makes_an_admin() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let (id, _) = acme(&alice, &[&bob]).await?;
    let made = make_token(&alice.api, "/api/v1/me/tokens", json!({})).await?;
    let token = platform.nobody().with_token(&made.secret);
    let base = format!("/api/v1/organizations/{id}");
    let (member, admin) = (json!({ "role": "member" }), json!({ "role": "admin" }));
    let invitation = |role: &str| json!({ "email": format!("{role}@example.test"), "role": role });
    let waits = alice.api.post(&format!("{base}/invitations"), &invitation("admin")).await?.expect(201)?.json()?;
    let resend = format!("{base}/invitations/{}/resend", text(&waits["id"]));
    let other = json!({ "email": "second@example.test", "role": "admin" });
    for answer in [
        token.patch(&format!("{}/{}", members(&id), bob.id), &admin).await?,
        token.post(&format!("{base}/transfer"), &json!({ "user": bob.id })).await?,
        token.post(&format!("{base}/invitations"), &other).await?,
        token.send(token.request(Method::POST, &resend)).await?,
    ] {
        let refused = problem(&answer, 403, "forbidden");
        assert!(text(&refused["detail"]).contains("make anybody an admin; sign in"), "{refused}");
    }
    assert_eq!(roles(&alice, &id).await?.iter().filter(|(_, role)| role == "admin").count(), 1);
    // Ordinary members are no danger.
    token.post(&format!("{base}/invitations"), &invitation("member")).await?.expect(201)?;
    set_role(&alice, &id, &bob.id, "admin").await?.expect(200)?;
    token.patch(&format!("{}/{}", members(&id), bob.id), &member).await?.expect(200)?;
    // Nor does a token of the invited person accept to be one.
    let carol = platform.person("carol").await?;
    let body = json!({ "email": carol.email, "role": "admin" });
    let invited = alice.api.post(&format!("{base}/invitations"), &body).await?.expect(201)?.json()?;
    let secret = text(&invited["accept_url"]).rsplit('=').next().context("no token")?.to_owned();
    let hers = make_token(&carol.api, "/api/v1/me/tokens", json!({})).await?;
    let accept = json!({ "token": secret });
    let refused = platform.nobody().with_token(&hers.secret).post("/api/v1/invitations/accept", &accept).await?;
    problem(&refused, 403, "forbidden");
    carol.api.post("/api/v1/invitations/accept", &accept).await?.expect(200)?;
    Ok(())
}
