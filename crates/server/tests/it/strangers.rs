//! Ids of other people's things are answered like ids that do not exist, at every route.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use hexabase_backends::store::roles::{self, NewRole};
use hexabase_backends::store::workspaces;
use hexabase_core::ids::{Id as _, RoleId};
use hexabase_testkit::http::{Answer, Http};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Person, Platform, claims, items, text};
use crate::tokens::{in_a_day, make_token};

/// Ids to put into a path.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    pub(crate) organization: String,
    pub(crate) workspace: String,
    pub(crate) project: String,
    pub(crate) user: String,
    pub(crate) group: String,
    pub(crate) assignment: String,
    pub(crate) role: String,
    pub(crate) identity: String,
    pub(crate) invitation: String,
    pub(crate) session: String,
    pub(crate) token: String,
    pub(crate) account: String,
}

impl Ids {
    pub(crate) fn absent() -> Self {
        let absent = |prefix: &str| format!("{prefix}-00000000000000000000");
        Self {
            organization: absent("org"),
            workspace: absent("ws"),
            project: absent("prj"),
            user: absent("usr"),
            group: absent("grp"),
            assignment: absent("ra"),
            role: absent("rol"),
            identity: absent("idn"),
            invitation: absent("inv"),
            session: absent("ses"),
            token: absent("tok"),
            account: absent("usr"),
        }
    }

    fn malformed() -> Self {
        let malformed = || "nonsense".to_owned();
        Self {
            organization: malformed(),
            workspace: malformed(),
            project: malformed(),
            user: malformed(),
            group: malformed(),
            assignment: malformed(),
            role: malformed(),
            identity: malformed(),
            invitation: malformed(),
            session: malformed(),
            token: malformed(),
            account: malformed(),
        }
    }

    /// What `person` has: an organisation, a workspace, a project, a group with a role, a custom role.
    pub(crate) async fn of(platform: &Platform, person: &Person) -> Result<Self> {
        let workspace = person.workspace("shop").await?;
        let base = format!("/api/v1/workspaces/{workspace}");
        let make = async |noun: &str, body: Value| {
            let made = person.api.post(&format!("{base}/{noun}"), &body).await?.expect(201)?.json()?;
            anyhow::Ok(text(&made["id"]))
        };
        let project = make("projects", json!({ "name": "web" })).await?;
        let group = make("groups", json!({ "name": "team" })).await?;
        let given = json!({ "group": group, "role": "edit", "project": project });
        let assignment = make("role-assignments", given).await?;
        // Through the API only a workspace that answers would let one be made.
        let store = platform.store().await?;
        let tx = store.begin().await?;
        let scope = workspaces::scope_for(&tx, &person.id.parse()?, &workspace.parse()?).await?.context("no scope")?;
        let id = RoleId::from_parts(platform.clock.now(), 1);
        let new = NewRole { id, project_id: None, name: "reader".parse()?, rules: Vec::new() };
        roles::insert(&tx, &scope, &new, platform.clock.now()).await?;
        tx.commit().await?;
        let invitations = format!("/api/v1/organizations/{}/invitations", person.organization);
        let invited = person.api.post(&invitations, &json!({ "email": "guest@example.test" })).await?;
        let invitation = text(&invited.expect(201)?.json()?["id"]);
        let identities = items(&person.api.get("/api/v1/me/identities").await?);
        let identity = text(&identities[0]["id"]);
        let session = text(&claims(person.api.token())?["sid"]);
        let accounts = format!("/api/v1/organizations/{}/service-accounts", person.organization);
        let account = text(&person.api.post(&accounts, &json!({ "name": "x" })).await?.expect(201)?.json()?["id"]);
        let token = make_token(&person.api, "/api/v1/me/tokens", json!({ "name": "deploy", "access": "read" })).await?;
        Ok(Self {
            organization: person.organization.clone(),
            workspace,
            project,
            user: person.id.clone(),
            group,
            assignment,
            role: new.id.to_string(),
            identity,
            invitation,
            session,
            token: token.id,
            account,
        })
    }

    pub(crate) fn fill(&self, path: &str) -> String {
        let path = path.replace("{organization}", &self.organization).replace("{workspace}", &self.workspace);
        let path = path.replace("{project}", &self.project).replace("{user}", &self.user);
        let path = path.replace("{invitation}", &self.invitation).replace("{identity}", &self.identity);
        let path = path.replace("{session}", &self.session).replace("{token}", &self.token);
        let path = path.replace("{account}", &self.account).replace("{role}", &self.role);
        let path = path.replace("{group}", &self.group).replace("{assignment}", &self.assignment);
        let path = path.replace("{namespace}", "web").replace("{pod}", "worker");
        // What is asked about somebody has to be asked.
        if path.contains("/access/") {
            format!("{path}?verb=get&resource=pods")
        } else if path.ends_with("/estimate") {
            format!("{path}?plan=standard")
        } else if path.ends_with("/service-account-tokens") {
            format!("{path}?user={}", self.user)
        } else {
            path
        }
    }
}

/// A good body for a route; a route that is not here fails the tests until it is.
fn body_of(method: &str, path: &str) -> Result<Option<Value>> {
    Ok(match (method, path) {
        ("post", "/organizations") => Some(json!({ "name": "Another" })),
        ("patch", "/organizations/{organization}") => Some(json!({ "name": "Renamed" })),
        ("post", "/organizations/{organization}/transfer") => Some(json!({ "user": "usr-00000000000000000000" })),
        ("patch", "/organizations/{organization}/members/{user}") => Some(json!({ "role": "admin" })),
        ("post", "/organizations/{organization}/invitations") => Some(json!({ "email": "guest@example.test" })),
        ("post", "/organizations/{organization}/invitations/{invitation}/resend") => None,
        ("post", "/invitations/accept") => Some(json!({ "token": "hxi_nonsense" })),
        ("post", "/organizations/{organization}/workspaces") => Some(json!({ "name": "other", "plan": "standard" })),
        ("post", "/workspaces/{workspace}/members") => Some(json!({ "email": "alice@example.test" })),
        ("post", "/workspaces/{workspace}/service-account-tokens/revoke") => {
            Some(json!({ "user": "usr-00000000000000000000" }))
        }
        ("post", "/workspaces/{workspace}/projects") => Some(json!({ "name": "other" })),
        ("patch", "/workspaces/{workspace}/projects/{project}") => Some(json!({ "labels": { "team": "shop" } })),
        ("put", "/workspaces/{workspace}/nodes") => Some(json!({ "count": 1 })),
        ("put", "/workspaces/{workspace}/plan") => Some(json!({ "plan": "premium" })),
        ("post", "/organizations/{organization}/service-accounts") => Some(json!({ "name": "other" })),
        ("post", "/me/tokens" | "/organizations/{organization}/service-accounts/{account}/tokens") => {
            Some(json!({ "name": "x", "access": "read", "expires_at": in_a_day() }))
        }
        ("post", "/workspaces/{workspace}/groups") => Some(json!({ "name": "other" })),
        ("patch", "/workspaces/{workspace}/groups/{group}") => Some(json!({ "display_name": "Another" })),
        ("put", "/workspaces/{workspace}/groups/{group}/members/{user}") => None,
        ("post", "/workspaces/{workspace}/role-assignments") => {
            Some(json!({ "group": "grp-00000000000000000000", "role": "hexabase:workspace-viewer" }))
        }
        ("post", path) if path.ends_with("roles") => Some(json!({ "name": "other", "rules": [rule()] })),
        ("put", path) if path.ends_with("roles/{role}") => Some(json!({ "rules": [rule()] })),
        (
            "post",
            "/workspaces/{workspace}/sleep" | "/workspaces/{workspace}/wake" | "/workspaces/{workspace}/restore",
        ) => None,
        ("put", "/workspaces/{workspace}/sleep-rule") => Some(json!({ "after_minutes": 30 })),
        ("post", "/me/sessions/end-others") | ("get" | "delete", _) => None,
        _ => anyhow::bail!("{method} {path} is new: give it a body here"),
    })
}

fn rule() -> Value {
    json!({ "api_groups": [""], "resources": ["pods"], "verbs": ["get"] })
}

/// Every operation of the document.
pub(crate) fn operations() -> Result<Vec<(Method, String, Option<Value>)>> {
    let document = serde_json::to_value(hexabase_server::http::openapi())?;
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().context("no paths")? {
        for method in operations.as_object().context("no operations")?.keys() {
            if ["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                let body = body_of(method, path)?;
                found.push((Method::from_bytes(method.to_uppercase().as_bytes())?, path.clone(), body));
            }
        }
    }
    assert!(found.len() >= 19, "the document has lost routes: {found:?}");
    Ok(found)
}

pub(crate) async fn ask(api: &Http, method: &Method, path: &str, body: Option<&Value>) -> Result<Answer> {
    let request = api.request(method.clone(), &format!("/api/v1{path}"));
    api.send(match body {
        Some(body) => request.json(body),
        None => request,
    })
    .await
}

/// What an answer tells: status, body without the request's id, and the headers that are not about the one request.
#[derive(Debug, PartialEq)]
struct Told {
    status: u16,
    body: Value,
    headers: BTreeSet<(String, String)>,
}

fn told(answer: &Answer) -> Result<Told> {
    let mut body = answer.json()?;
    body.as_object_mut().map(|body| body.remove("request_id"));
    let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), format!("{value:?}")));
    let headers = headers.filter(|(name, _)| name != "x-request-id" && name != "date").collect();
    Ok(Told { status: answer.status, body, headers })
}

#[tokio::test]
async fn other_peoples_things_look_like_things_that_do_not_exist() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, mallory) = (platform.person("alice").await?, platform.person("mallory").await?);
    let (hers, own) = (Ids::of(&platform, &alice).await?, Ids::of(&platform, &mallory).await?);
    let absent = Ids::absent();
    let mut asked = 0;
    for (method, path, body) in operations()?.into_iter().filter(|(_, path, _)| path.contains('{')) {
        let expected = ask(&mallory.api, &method, &absent.fill(&path), body.as_ref()).await?;
        assert_eq!(expected.status, 404, "{method} {path}: {}", expected.text);
        // All of hers; hers where something of one's own goes on; and one's own where hers goes on.
        let mixed = [
            hers.clone(),
            // What belongs to an account hangs on no organisation: there, one's own is one's own.
            Ids {
                organization: hers.organization.clone(),
                workspace: hers.workspace.clone(),
                identity: hers.identity.clone(),
                session: hers.session.clone(),
                token: hers.token.clone(),
                ..own.clone()
            },
            Ids { organization: hers.organization.clone(), workspace: hers.workspace.clone(), ..absent.clone() },
            Ids::malformed(),
        ];
        for ids in mixed {
            let answer = ask(&mallory.api, &method, &ids.fill(&path), body.as_ref()).await?;
            assert_eq!(told(&answer)?, told(&expected)?, "{method} {path} with {ids:?}");
            asked += 1;
        }
    }
    assert!(asked >= 40, "{asked}");
    // Nothing happened to hers.
    let workspace = alice.api.get(&format!("/api/v1/workspaces/{}", hers.workspace)).await?.expect(200)?.json()?;
    assert_eq!(workspace["phase"], "creating");
    let project = format!("/api/v1/workspaces/{}/projects/{}", hers.workspace, hers.project);
    assert_eq!(alice.api.get(&project).await?.expect(200)?.json()?["phase"], "creating");
    Ok(())
}

#[tokio::test]
async fn in_ones_own_workspace_other_peoples_things_do_not_exist_either() -> Result<()> {
    let platform = Platform::start().await?;
    let (alice, mallory) = (platform.person("alice").await?, platform.person("mallory").await?);
    let (hers, own) = (Ids::of(&platform, &alice).await?, Ids::of(&platform, &mallory).await?);
    let absent = Ids::absent();
    let mut asked = 0;
    // Names in Kubernetes are no ids: what is behind them is for the workspace itself to say.
    let with_ids = |path: &str| path.matches('{').count() >= 2 && !path.contains("{pod}");
    for (method, path, body) in operations()?.into_iter().filter(|(_, path, _)| with_ids(path)) {
        let within = |other: &Ids| {
            let (organization, workspace) = (own.organization.clone(), own.workspace.clone());
            Ids { organization, workspace, ..other.clone() }.fill(&path)
        };
        let expected = ask(&mallory.api, &method, &within(&absent), body.as_ref()).await?;
        assert_eq!(expected.status, 404, "{method} {path}: {}", expected.text);
        for other in [&hers, &Ids::malformed()] {
            let answer = ask(&mallory.api, &method, &within(other), body.as_ref()).await?;
            assert_eq!(told(&answer)?, told(&expected)?, "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked >= 6, "{asked}");
    Ok(())
}

#[tokio::test]
async fn an_id_of_another_kind_or_spelling_is_no_id() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let ids = Ids::of(&platform, &alice).await?;
    let upper = ids.workspace.to_uppercase();
    for id in [&ids.organization, &ids.project, &ids.user, &upper, "%00", "..%2f..", "%252e", "%20", "%f0%9f%92%a9"] {
        let answer = alice.api.get(&format!("/api/v1/workspaces/{id}")).await?;
        assert_eq!(answer.status, 404, "{id}: {}", answer.text);
        assert_eq!(answer.json()?["code"], "not_found");
    }
    Ok(())
}
