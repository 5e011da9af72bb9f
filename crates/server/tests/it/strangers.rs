//! Ids of other people's things are answered like ids that do not exist, at every route.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
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
            identity: malformed(),
            invitation: malformed(),
            session: malformed(),
            token: malformed(),
            account: malformed(),
        }
    }

    /// What `person` has: an organisation, a workspace, a project.
    pub(crate) async fn of(person: &Person) -> Result<Self> {
        let workspace = person.workspace("shop").await?;
        let path = format!("/api/v1/workspaces/{workspace}/projects");
        let project = text(&person.api.post(&path, &json!({ "name": "web" })).await?.expect(201)?.json()?["id"]);
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
        path.replace("{session}", &self.session).replace("{token}", &self.token).replace("{account}", &self.account)
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
        ("post", "/workspaces/{workspace}/projects") => Some(json!({ "name": "other" })),
        ("post", "/organizations/{organization}/service-accounts") => Some(json!({ "name": "other" })),
        ("post", "/me/tokens" | "/organizations/{organization}/service-accounts/{account}/tokens") => {
            Some(json!({ "name": "x", "access": "read", "expires_at": in_a_day() }))
        }
        ("post", "/me/sessions/end-others") | ("get" | "delete", _) => None,
        _ => anyhow::bail!("{method} {path} is new: give it a body here"),
    })
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
    let (hers, own, absent) = (Ids::of(&alice).await?, Ids::of(&mallory).await?, Ids::absent());
    let mut asked = 0;
    for (method, path, body) in operations()?.into_iter().filter(|(_, path, _)| path.contains('{')) {
        let expected = ask(&mallory.api, &method, &absent.fill(&path), body.as_ref()).await?;
        assert_eq!(expected.status, 404, "{method} {path}: {}", expected.text);
        // All of hers; hers where something of one's own goes on; and one's own where hers goes on.
        let mixed = [
            hers.clone(),
            Ids {
                project: own.project.clone(),
                user: own.user.clone(),
                invitation: own.invitation.clone(),
                ..hers.clone()
            },
            Ids {
                project: absent.project.clone(),
                user: absent.user.clone(),
                invitation: absent.invitation.clone(),
                ..hers.clone()
            },
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
    let (hers, own, absent) = (Ids::of(&alice).await?, Ids::of(&mallory).await?, Ids::absent());
    let mut asked = 0;
    for (method, path, body) in operations()?.into_iter().filter(|(_, path, _)| path.matches('{').count() == 2) {
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
    let ids = Ids::of(&alice).await?;
    let upper = ids.workspace.to_uppercase();
    for id in [&ids.organization, &ids.project, &ids.user, &upper, "%00", "..%2f..", "%252e", "%20", "%f0%9f%92%a9"] {
        let answer = alice.api.get(&format!("/api/v1/workspaces/{id}")).await?;
        assert_eq!(answer.status, 404, "{id}: {}", answer.text);
        assert_eq!(answer.json()?["code"], "not_found");
    }
    Ok(())
}
