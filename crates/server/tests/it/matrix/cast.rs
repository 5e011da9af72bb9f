//! Everybody who asks, and what they ask for.

use std::cell::Cell;

use anyhow::{Context as _, Result};
use hexabase_backends::store::roles::{self, NewRole};
use hexabase_backends::store::workspaces;
use hexabase_core::ids::{Id as _, RoleId};
use hexabase_oidc::jwt::Typ;
use hexabase_testkit::http::{Answer, Http};
use reqwest::Method;
use serde_json::{Value, json};

use crate::strangers::Ids;
use crate::support::{Person, Platform, claims, items, text};
use crate::tokens::make_token;

const TOKENS: &str = "/api/v1/me/tokens";

/// What a caller is, towards the cast's organisation and workspace; by default a stranger.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// Without a credential, or with one that is over.
    pub(super) unknown: bool,
    /// In the organisation.
    pub(super) belongs: bool,
    /// Admin of it.
    pub(super) admin: bool,
    /// Member of the workspace.
    pub(super) member: bool,
    /// In its `WSAdmins`.
    pub(super) workspace_admin: bool,
    /// With a token that only reads.
    pub(super) reads_only: bool,
    /// With a token for one workspace.
    pub(super) bound: bool,
    /// With a token for another workspace.
    pub(super) elsewhere: bool,
}

/// Somebody who asks.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) name: &'static str,
    pub(super) standing: Standing,
    pub(super) is_token: bool,
    pub(super) api: Http,
    /// The person's own identity.
    identity: Option<String>,
}

/// Everybody, in one organisation with one workspace, and somebody else's.
pub(super) struct Cast {
    platform: Platform,
    alice: Person,
    people: Vec<Person>,
    pub(super) callers: Vec<Caller>,
    own: Ids,
    pub(super) foreign: Ids,
    made: Cell<u32>,
}

impl Cast {
    pub(super) async fn gather() -> Result<Self> {
        let platform = Platform::start().await?;
        let (alice, mallory) = (platform.person("alice").await?, platform.person("mallory").await?);
        let (own, foreign) = (Ids::of(&platform, &alice).await?, Ids::of(&platform, &mallory).await?);
        let made = Cell::new(0);
        let mut cast = Self { platform, alice, people: Vec::new(), callers: Vec::new(), own, foreign, made };
        cast.nobodies().await?;
        cast.members().await?;
        cast.admins().await?;
        Ok(cast)
    }

    /// Who is nobody.
    async fn nobodies(&mut self) -> Result<()> {
        let over = make_token(&self.alice.api, TOKENS, json!({ "name": "over" })).await?;
        self.alice.api.delete(&format!("{TOKENS}/{}", over.id)).await?.expect(204)?;
        let expired = self.platform.forge(&expired(&self.alice, &self.platform)?, Typ::AccessToken).await?;
        let unknown = Standing { unknown: true, ..Standing::default() };
        for (name, api) in [
            ("nobody", self.platform.nobody()),
            ("with a revoked token", self.platform.nobody().with_token(over.secret)),
            ("with an expired access token", self.platform.nobody().with_token(expired)),
        ] {
            self.callers.push(Caller { name, standing: unknown, is_token: false, api, identity: None });
        }
        Ok(())
    }

    /// Who is somebody else, or in the organisation without administering it.
    async fn members(&mut self) -> Result<()> {
        let base = format!("/api/v1/workspaces/{}", self.own.workspace);
        let editors = self.post(&format!("{base}/groups"), json!({ "name": "editors" })).await?;
        let given = json!({ "group": editors, "role": "hexabase:workspace-editor" });
        self.post(&format!("{base}/role-assignments"), given).await?;
        let sam = self.platform.person("sam").await?;
        self.join("of another organization", sam, Standing::default()).await?;
        let olga = self.platform.person("olga").await?;
        self.invite(&olga, "member").await?;
        let belongs = Standing { belongs: true, ..Standing::default() };
        self.join("member of the organization", olga, belongs).await?;
        for (name, who, groups) in [
            ("viewer", "vera", &["WSUsers"][..]),
            ("editor", "ed", &["WSUsers", "editors"][..]),
            ("workspace admin", "wendy", &["WSAdmins"][..]),
        ] {
            let person = self.platform.person(who).await?;
            self.alice.add(&self.own.workspace, &person.id, groups).await?.expect(201)?;
            let workspace_admin = groups.contains(&"WSAdmins");
            self.join(name, person, Standing { member: true, workspace_admin, ..belongs }).await?;
        }
        Ok(())
    }

    /// Who administers the organisation: one without access to the workspace, its owner, and the owner's tokens.
    async fn admins(&mut self) -> Result<()> {
        let boss = self.platform.person("boss").await?;
        self.invite(&boss, "admin").await?;
        let admin = Standing { belongs: true, admin: true, ..Standing::default() };
        self.join("admin of the organization", boss, admin).await?;
        let owner = Standing { member: true, workspace_admin: true, ..admin };
        self.callers.push(caller("owner", &self.alice, owner).await?);
        let (own, other) = (self.own.workspace.clone(), self.alice.workspace("elsewhere").await?);
        let bound = Standing { bound: true, ..owner };
        for (name, body, standing) in [
            ("owner's token", json!({}), owner),
            ("owner's reading token", json!({ "access": "read" }), Standing { reads_only: true, ..owner }),
            ("token for the workspace", json!({ "workspace": own }), bound),
            (
                "reading token for the workspace",
                json!({ "workspace": own, "access": "read" }),
                Standing { reads_only: true, ..bound },
            ),
            ("token for another workspace", json!({ "workspace": other }), Standing { elsewhere: true, ..bound }),
        ] {
            let made = make_token(&self.alice.api, TOKENS, body).await?;
            let api = self.platform.nobody().with_token(made.secret);
            self.callers.push(Caller { name, standing, is_token: true, api, identity: None });
        }
        Ok(())
    }

    async fn join(&mut self, name: &'static str, person: Person, standing: Standing) -> Result<()> {
        self.callers.push(caller(name, &person, standing).await?);
        self.people.push(person);
        Ok(())
    }

    /// Makes somebody a member of the organisation, with this role.
    async fn invite(&self, person: &Person, role: &str) -> Result<()> {
        let path = format!("/api/v1/organizations/{}/invitations", self.own.organization);
        let invited = self.alice.api.post(&path, &json!({ "email": person.email, "role": role })).await?;
        let url = text(&invited.expect(201)?.json()?["accept_url"]);
        let secret = url.rsplit(['=', '/', '#']).next().context("no token in the link")?.to_owned();
        person.api.post("/api/v1/invitations/accept", &json!({ "token": secret })).await?.expect(200)?;
        Ok(())
    }

    /// The ids that a caller lives with.
    pub(super) fn ids_of(&self, caller: &Caller) -> Ids {
        let identity = caller.identity.clone().unwrap_or_else(|| self.own.identity.clone());
        Ids { identity, ..self.own.clone() }
    }

    /// The same, with something new where the operation takes it away; and a token for it, where the caller's is for what
    /// would be taken away.
    pub(super) async fn target(&self, method: &Method, path: &str, caller: &Caller) -> Result<(Ids, Option<Http>)> {
        if path == "/workspaces/{workspace}" && *method == Method::DELETE && caller.standing.bound {
            let workspace = self.alice.workspace(&self.name("gone")).await?;
            let made = make_token(&self.alice.api, TOKENS, json!({ "workspace": workspace })).await?;
            let api = self.platform.nobody().with_token(made.secret);
            return Ok((Ids { workspace, ..self.ids_of(caller) }, Some(api)));
        }
        Ok((self.fresh(method, path, caller).await?, None))
    }

    async fn fresh(&self, method: &Method, path: &str, caller: &Caller) -> Result<Ids> {
        let ids = self.ids_of(caller);
        let (workspace, organization) = (&self.own.workspace, &self.own.organization);
        let last = path.rsplit('/').next().unwrap_or_default();
        let base = format!("/api/v1/workspaces/{workspace}");
        Ok(match (method.as_str(), last) {
            ("DELETE", "{session}") => {
                let person = self.person(caller)?;
                let tokens = person.browser.tokens(&self.platform.issuer("platform"), "hxb", &person.email).await?;
                Ids { session: text(&claims(&tokens.access_token)?["sid"]), ..ids }
            }
            ("DELETE", "{token}") if path.starts_with("/me") => {
                let made = make_token(&caller.api, TOKENS, json!({ "name": "gone" })).await?;
                Ids { token: made.id, ..ids }
            }
            ("DELETE", "{token}") => {
                let path = format!("/api/v1/organizations/{organization}/service-accounts/{}/tokens", ids.account);
                Ids { token: make_token(&self.alice.api, &path, json!({ "name": "gone" })).await?.id, ..ids }
            }
            ("DELETE", "{account}") => {
                let path = format!("/api/v1/organizations/{organization}/service-accounts");
                Ids { account: self.post(&path, json!({ "name": "gone" })).await?, ..ids }
            }
            ("DELETE", "{invitation}") => {
                let path = format!("/api/v1/organizations/{organization}/invitations");
                let email = format!("{}@example.test", self.name("guest"));
                Ids { invitation: self.post(&path, json!({ "email": email })).await?, ..ids }
            }
            ("DELETE", "{workspace}") => {
                let workspace = self.alice.workspace(&self.name("gone")).await?;
                if !caller.standing.admin {
                    let person = self.person(caller)?;
                    self.alice.add(&workspace, &person.id, &["WSAdmins"]).await?.expect(201)?;
                }
                Ids { workspace, ..ids }
            }
            ("DELETE", "{group}") => {
                Ids { group: self.post(&format!("{base}/groups"), json!({ "name": self.name("gone") })).await?, ..ids }
            }
            ("DELETE", "{project}") => {
                let made = self.post(&format!("{base}/projects"), json!({ "name": self.name("gone") })).await?;
                Ids { project: made, ..ids }
            }
            ("DELETE", "{assignment}") => {
                let group = self.post(&format!("{base}/groups"), json!({ "name": self.name("given") })).await?;
                let given = json!({ "group": group, "role": "hexabase:workspace-viewer" });
                Ids { assignment: self.post(&format!("{base}/role-assignments"), given).await?, ..ids }
            }
            ("DELETE" | "PUT" | "PATCH", "{user}") => {
                let guest = self.platform.person(&self.name("guest")).await?;
                self.alice.add(workspace, &guest.id, &["WSUsers"]).await?.expect(201)?;
                if path.contains("/groups/") && *method == Method::DELETE {
                    let path = format!("{base}/groups/{}/members/{}", ids.group, guest.id);
                    self.alice.api.put(&path).await?.expect(204)?;
                }
                Ids { user: guest.id, ..ids }
            }
            (_, "roles" | "{role}") if path.contains("{project}") => {
                Ids { role: self.role(Some(&ids.project)).await?, ..ids }
            }
            _ => ids,
        })
    }

    /// A custom role of a project: through the API only a workspace that answers would let one be made.
    async fn role(&self, project: Option<&str>) -> Result<String> {
        let store = self.platform.store().await?;
        let tx = store.begin().await?;
        let (user, workspace) = (self.alice.id.parse()?, self.own.workspace.parse()?);
        let scope = workspaces::scope_for(&tx, &user, &workspace).await?.context("no scope")?;
        let name = self.name("role");
        let id = RoleId::from_parts(self.platform.clock.now(), u64::from(self.made.get()) + 7);
        let new =
            NewRole { id, project_id: project.map(str::parse).transpose()?, name: name.parse()?, rules: Vec::new() };
        roles::insert(&tx, &scope, &new, self.platform.clock.now()).await?;
        tx.commit().await?;
        Ok(new.id.to_string())
    }

    async fn post(&self, path: &str, body: Value) -> Result<String> {
        Ok(text(&self.alice.api.post(path, &body).await?.expect(201)?.json()?["id"]))
    }

    fn name(&self, kind: &str) -> String {
        self.made.set(self.made.get() + 1);
        format!("{kind}-{}", self.made.get())
    }

    fn person(&self, caller: &Caller) -> Result<&Person> {
        let mut all = self.people.iter().chain([&self.alice]);
        all.find(|person| person.api.token() == caller.api.token())
            .with_context(|| format!("{} is no person", caller.name))
    }

    /// Asks; of an answer that goes on for ever only the status is taken.
    pub(super) async fn ask(
        &self,
        api: &Http,
        method: &Method,
        path: &str,
        ids: &Ids,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let request = api.request(method.clone(), &format!("/api/v1{}", ids.fill(path)));
        if path == "/events" {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            return Ok(Answer { status, headers, text: String::new() });
        }
        let body = body.map(|body| self.body(path, method, body));
        api.send(match &body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// The body of an operation, about things that are there.
    fn body(&self, path: &str, method: &Method, body: &Value) -> Value {
        match (method.as_str(), path.rsplit('/').next().unwrap_or_default()) {
            ("POST", "workspaces") => json!({ "name": "shop", "plan": "standard" }),
            // The one that it has.
            ("PUT", "plan") => json!({ "plan": "standard" }),
            // As many as its plan gives.
            ("PUT", "nodes") => json!({ "count": 0 }),
            ("POST", "projects") => json!({ "name": "web" }),
            ("POST", "groups") => json!({ "name": "team" }),
            ("POST", "role-assignments") => {
                json!({ "group": self.own.group, "role": "edit", "project": self.own.project })
            }
            ("POST", "members") => json!({ "user": self.alice.id, "groups": ["WSAdmins"] }),
            _ => body.clone(),
        }
    }
}

async fn caller(name: &'static str, person: &Person, standing: Standing) -> Result<Caller> {
    let identities = items(&person.api.get("/api/v1/me/identities").await?);
    let identity = Some(text(&identities[0]["id"]));
    Ok(Caller { name, standing, is_token: false, api: person.api.clone(), identity })
}

/// What the person's access token says, an hour ago.
fn expired(person: &Person, platform: &Platform) -> Result<Value> {
    let now = platform.clock.now().as_seconds();
    let mut claims = claims(person.api.token())?;
    for (name, ago) in [("iat", 7_200), ("nbf", 7_200), ("exp", 3_600)] {
        claims[name] = json!(now - ago);
    }
    Ok(claims)
}
