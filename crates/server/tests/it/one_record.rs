//! Every operation that changes something leaves one record in one audit log, and one that only looks leaves none.

use anyhow::{Context as _, Result};
use hexabase_backends::store::identities::{self, Identity, Said};
use hexabase_core::ids::{Id as _, IdentityId};
use hexabase_testkit::http::Answer;
use reqwest::Method;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};

use crate::gateway::set_ready;
use crate::strangers::{Ids, ask, operations};
use crate::support::{Person, Platform, text};
use crate::tokens::make_token;

/// What Kubernetes has to answer first, for which these tests have no workspace that does.
fn needs_a_workspace_that_answers(method: &Method, path: &str) -> bool {
    let asks_inside = ["roles", "roles/{role}", "service-account-tokens/revoke"];
    *method != Method::GET && asks_inside.iter().any(|end| path.ends_with(end))
}

/// Somebody who asks for everything; with a new home for each change, so that none stands in the way of another.
struct Walk {
    platform: Platform,
    database: DatabaseConnection,
    number: u32,
}

impl Walk {
    async fn person(&mut self) -> Result<Person> {
        self.number += 1;
        self.platform.person(&format!("person-{}", self.number)).await
    }

    /// Records in all logs together.
    async fn records(&self) -> Result<i64> {
        let backend = self.database.get_database_backend();
        let count = Statement::from_string(backend, "SELECT COUNT(*) AS n FROM audit_entries");
        let row = self.database.query_one_raw(count).await?.context("no count")?;
        Ok(row.try_get("", "n")?)
    }

    /// Somebody else, with access to the workspace.
    async fn guest(&mut self, person: &Person, workspace: &str) -> Result<Person> {
        let guest = self.person().await?;
        person.add(workspace, &guest.id, &[]).await?.expect(201)?;
        Ok(guest)
    }

    /// Makes sure that the operation can be carried out: what it is asked about, and with which body.
    async fn prepare(
        &mut self,
        person: &Person,
        ids: Ids,
        (method, path): (&str, &str),
        body: Option<Value>,
    ) -> Result<(Ids, Option<Value>)> {
        let workspace = ids.workspace.clone();
        let base = format!("/api/v1/workspaces/{workspace}");
        let last = path.rsplit('/').next().unwrap_or_default();
        Ok(match (method, path) {
            ("DELETE", "/me/identities/{identity}") => (Ids { identity: self.identity(person).await?, ..ids }, body),
            ("DELETE" | "PATCH", "/organizations/{organization}") => {
                (Ids { organization: person.make_organization("acme").await?, ..ids }, body)
            }
            ("POST", "/organizations/{organization}/transfer") => {
                let organization = person.make_organization("acme").await?;
                let shop = person.workspace_in(&organization, "shop").await?;
                let guest = self.guest(person, &shop).await?;
                (Ids { organization, ..ids }, Some(json!({ "user": guest.id })))
            }
            ("POST", "/organizations/{organization}/invitations") => {
                (ids, Some(json!({ "email": "new@example.test" })))
            }
            ("POST", "/invitations/accept") => {
                let inviter = self.person().await?;
                let invitations = format!("/api/v1/organizations/{}/invitations", inviter.organization);
                let invited = inviter.api.post(&invitations, &json!({ "email": person.email })).await?.expect(201)?;
                let link = text(&invited.json()?["accept_url"]);
                let token = link.rsplit('=').next().context("no token")?;
                (ids, Some(json!({ "token": token })))
            }
            ("PATCH" | "DELETE", "/organizations/{organization}/members/{user}")
            | ("DELETE", "/workspaces/{workspace}/members/{user}") => {
                (Ids { user: self.guest(person, &workspace).await?.id, ..ids }, body)
            }
            ("POST", "/workspaces/{workspace}/members") => {
                let user = self.person().await?.id;
                (ids, Some(json!({ "user": user })))
            }
            ("DELETE", "/organizations/{organization}/service-accounts/{account}/tokens/{token}") => {
                let accounts = format!("/api/v1/organizations/{}/service-accounts", ids.organization);
                let tokens = format!("{accounts}/{}/tokens", ids.account);
                let token = make_token(&person.api, &tokens, json!({})).await?.id;
                (Ids { token, ..ids }, body)
            }
            ("DELETE", _) if last == "{project}" => {
                // Roles given there would go with it, each with its own record.
                let made =
                    person.api.post(&format!("{base}/projects"), &json!({ "name": "gone" })).await?.expect(201)?;
                (Ids { project: text(&made.json()?["id"]), ..ids }, body)
            }
            ("DELETE", _) if last == "{group}" => {
                let made = person.api.post(&format!("{base}/groups"), &json!({ "name": "gone" })).await?.expect(201)?;
                (Ids { group: text(&made.json()?["id"]), ..ids }, body)
            }
            ("DELETE", "/workspaces/{workspace}/groups/{group}/members/{user}") => {
                let member = format!("{base}/groups/{}/members/{}", ids.group, ids.user);
                person.api.put(&member).await?.expect(204)?;
                (ids, body)
            }
            ("POST", "/workspaces/{workspace}/sleep" | "/workspaces/{workspace}/wake") => {
                set_ready(&self.platform, &workspace, "127.0.0.1:1", "PEM").await?;
                if last == "wake" {
                    person.api.post(&format!("{base}/sleep"), &json!({})).await?.expect(202)?;
                }
                (ids, body)
            }
            ("PUT", "/workspaces/{workspace}/nodes") => {
                let request = person.api.request(Method::PUT, &format!("/api/v1/workspaces/{workspace}/plan"));
                person.api.send(request.json(&json!({ "plan": "premium" }))).await?.expect(200)?;
                (ids, body)
            }
            ("POST", "/workspaces/{workspace}/restore") => {
                person.api.delete(&format!("{base}?grace_minutes=5")).await?.expect(202)?;
                (ids, body)
            }
            ("POST", "/workspaces/{workspace}/role-assignments") => {
                let given = json!({ "group": ids.group, "role": "hexabase:workspace-viewer" });
                (ids, Some(given))
            }
            _ => (ids, body),
        })
    }

    /// A second identity of the person, of which the tests have no provider.
    async fn identity(&self, person: &Person) -> Result<String> {
        let id = IdentityId::from_parts(self.platform.clock.now(), 1);
        let second = Identity {
            id: id.clone(),
            user_id: person.id.parse()?,
            issuer: "https://id.example".to_owned(),
            subject: person.id.clone(),
            said: Said::default(),
            created_at: self.platform.clock.now(),
            last_used_at: None,
        };
        let tx = self.platform.store().await?.begin().await?;
        identities::insert(&tx, &second).await?;
        tx.commit().await?;
        Ok(id.to_string())
    }

    /// Carries a change out; the answer, and how many records it left.
    async fn change(&mut self, method: &Method, path: &str, body: Option<Value>) -> Result<(Answer, i64)> {
        let person = self.person().await?;
        let ids = Ids::of(&self.platform, &person).await?;
        let (ids, body) = self.prepare(&person, ids, (method.as_str(), path), body).await?;
        self.ask(&person, method, &ids.fill(path), body.as_ref()).await
    }

    async fn ask(&self, person: &Person, method: &Method, path: &str, body: Option<&Value>) -> Result<(Answer, i64)> {
        let before = self.records().await?;
        let answer = ask(&person.api, method, path, body).await?;
        Ok((answer, self.records().await? - before))
    }
}

#[tokio::test]
async fn every_change_leaves_one_record_and_every_look_none() -> Result<()> {
    let platform = Platform::start().await?;
    let database = Database::connect(platform.database()).await?;
    let mut walk = Walk { platform, database, number: 0 };
    let onlooker = walk.person().await?;
    let seen = Ids::of(&walk.platform, &onlooker).await?;
    let (mut changes, mut wrong) = (0, Vec::new());
    // The feed does not end.
    for (method, path, body) in operations()?.into_iter().filter(|(_, path, _)| path != "/events") {
        let (answer, left) = match method {
            Method::GET => walk.ask(&onlooker, &method, &seen.fill(&path), None).await?,
            _ => walk.change(&method, &path, body).await?,
        };
        let expected = i64::from(method != Method::GET && !needs_a_workspace_that_answers(&method, &path));
        let carried_out = answer.status < 300;
        if left != expected || (expected == 1 && !carried_out) {
            wrong.push(format!("{method} {path}: {} and {left} records: {}", answer.status, answer.text));
        }
        changes += expected;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(changes >= 30, "{changes}");
    Ok(())
}
