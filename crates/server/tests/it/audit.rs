//! The audit log: read, exported, and checked after somebody tampered with the database.

use anyhow::{Context as _, Result};
use hexabase_cli::audit::{Head, Report, Verifier, Wrong};
use reqwest::Method;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};

use crate::support::{Person, Platform, claims, items, problem, text};
use crate::tokens::make_token;

fn path(person: &Person) -> String {
    format!("/api/v1/organizations/{}/audit", person.organization)
}

async fn listed(person: &Person, query: &str) -> Result<Vec<Value>> {
    Ok(items(&person.api.get(&format!("{}?{query}", path(person))).await?))
}

/// An export: its lines, and the end that the server names.
async fn export(person: &Person) -> Result<(Vec<String>, Head)> {
    let answer = person.api.get(&format!("{}/export", path(person))).await?.expect(200)?;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let head = answer.header("x-audit-head").parse().map_err(anyhow::Error::msg)?;
    Ok((answer.text.lines().map(str::to_owned).collect(), head))
}

fn verify(lines: &[String], heads: &[Head]) -> Report {
    let mut verifier = Verifier::new(heads.to_vec());
    lines.iter().for_each(|line| verifier.line(line));
    verifier.end()
}

/// What `hxb audit verify` finds in the organisation's log, when `once` was written down earlier.
async fn found(person: &Person, once: &[Head]) -> Result<Vec<(u64, Wrong)>> {
    let (lines, head) = export(person).await?;
    let heads: Vec<Head> = once.iter().cloned().chain([head]).collect();
    Ok(verify(&lines, &heads).findings.into_iter().map(|finding| (finding.line, finding.wrong)).collect())
}

/// Changes the database behind the platform's back.
async fn tamper(platform: &Platform, sql: &str) -> Result<()> {
    let connection = Database::connect(platform.database()).await?;
    connection.execute_unprepared(sql).await?;
    Ok(connection.close().await?)
}

/// Alice's organisation with a log of six records.
async fn history(platform: &Platform) -> Result<Person> {
    let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
    let workspace = alice.workspace("shop").await?;
    let projects = format!("/api/v1/workspaces/{workspace}/projects");
    let project = text(&alice.api.post(&projects, &json!({ "name": "web" })).await?.expect(201)?.json()?["id"]);
    alice.add(&workspace, &bob.id, &["WSUsers"]).await?.expect(201)?;
    alice.api.delete(&format!("{projects}/{project}")).await?.expect(202)?;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    Ok(alice)
}

const ACTIONS: [&str; 6] = [
    "organization.created",
    "workspace.created",
    "project.created",
    "member.added",
    "project.deleting",
    "member.removed",
];

#[tokio::test]
async fn every_change_is_in_the_log_once_with_who_what_and_from_where() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = history(&platform).await?;
        let rows = listed(&alice, "").await?;
        assert_eq!(rows.iter().map(|row| text(&row["action"])).collect::<Vec<_>>(), ACTIONS);
        let session = format!("session {}", text(&claims(alice.api.token())?["sid"]));
        for (row, seq) in rows.iter().zip(1..) {
            assert_eq!((&row["seq"], &row["chain"]), (&json!(seq), &json!(alice.organization)), "{row}");
            assert_eq!((&row["actor"], &row["source"]), (&json!(alice.id), &json!("127.0.0.1")), "{row}");
            assert!(text(&row["request_id"]).starts_with("req-") && row.get("on_behalf_of").is_none(), "{row}");
            assert_eq!(row["credential"], if seq == 1 { "sign-in" } else { &session }, "{row}");
        }
        assert_eq!(rows[1]["after"], json!({ "name": "shop", "plan": "standard" }));
        assert_eq!(rows[3]["after"]["groups"], json!(["WSUsers"]));
        assert_eq!(rows[5]["before"], json!({ "user": rows[3]["subject"], "left_organization": true }));
        // Looking, and asking again for what is done already, change nothing.
        let workspace = text(&rows[1]["subject"]);
        alice.api.get(&format!("/api/v1/workspaces/{workspace}")).await?.expect(200)?;
        alice.api.delete(&format!("/api/v1/workspaces/{workspace}")).await?.expect(202)?;
        alice.api.delete(&format!("/api/v1/workspaces/{workspace}")).await?.expect(202)?;
        problem(&alice.remove(&workspace, &alice.organization).await?, 404, "not_found");
        assert_eq!(listed(&alice, "").await?.len(), 7);
    }
    Ok(())
}

#[tokio::test]
async fn the_log_is_filtered_and_paged() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = history(&platform).await?;
    let all = listed(&alice, "").await?;
    let workspace = text(&all[1]["subject"]);
    let count = async |query: &str| anyhow::Ok(listed(&alice, query).await?.len());
    assert_eq!(count("action=project").await?, 2);
    assert_eq!(count("action=project.created").await?, 1);
    for pattern in ["proj", "proj%25", "projec_", "%25"] {
        assert_eq!(count(&format!("action={pattern}")).await?, 0, "{pattern}");
    }
    assert_eq!(count(&format!("actor={}", alice.id)).await?, 6);
    assert_eq!(count("actor=usr-00000000000000000000").await?, 0);
    assert_eq!(count(&format!("subject={workspace}")).await?, 1);
    assert_eq!(count(&format!("workspace={workspace}")).await?, 5);
    assert_eq!(count(&format!("workspace={workspace}&action=member.added&actor={}", alice.id)).await?, 1);
    let third = text(&all[2]["at"]);
    let before = all.iter().filter(|row| text(&row["at"]) < third).count();
    assert_eq!(
        (count(&format!("since={third}")).await?, count(&format!("until={third}")).await?),
        (6 - before, before)
    );
    for (query, status) in
        [("action=project&x=1", 422), ("since=yesterday", 422), ("limit=0", 422), ("workspace=x", 422)]
    {
        alice.api.get(&format!("{}?{query}", path(&alice))).await?.expect(status)?;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = alice.api.get(&format!("{}?limit=4{cursor}", path(&alice))).await?.expect(200)?.json()?;
        seen.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    Ok(())
}

#[tokio::test]
async fn only_admins_read_the_log_of_an_organization() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = history(&platform).await?;
    let (bob, mallory) = (platform.person("bob").await?, platform.person("mallory").await?);
    let workspace = text(&listed(&alice, "").await?[1]["subject"]);
    alice.add(&workspace, &bob.id, &["WSAdmins"]).await?.expect(201)?;
    for path in [path(&alice), format!("{}/head", path(&alice)), format!("{}/export", path(&alice))] {
        problem(&bob.api.get(&path).await?, 403, "forbidden");
        problem(&mallory.api.get(&path).await?, 404, "not_found");
        let reading = make_token(&alice.api, "/api/v1/me/tokens", json!({ "access": "read" })).await?;
        platform.nobody().with_token(&reading.secret).get(&path).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn what_people_do_to_their_own_account_is_in_a_log_of_their_own() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob) = (platform.person("alice").await?, platform.person("bob").await?);
        let made = make_token(&alice.api, "/api/v1/me/tokens", json!({})).await?;
        alice.api.delete(&format!("/api/v1/me/tokens/{}", made.id)).await?.expect(204)?;
        let answer = alice.api.get("/api/v1/me/audit").await?;
        let rows = items(&answer);
        let actions: Vec<_> = rows.iter().map(|row| text(&row["action"])).collect();
        let signed_in = ["session.started", "client.confirmed", "session.started"];
        assert_eq!(actions, [&signed_in[..], &["token.created", "token.revoked"]].concat());
        assert!(rows.iter().all(|row| row["chain"] == alice.id));
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        assert_eq!(verify(&lines, &[]).findings, []);
        assert!(!answer.text.contains(&made.secret[8..]));
        let page = alice.api.get("/api/v1/me/audit?limit=3").await?.json()?;
        let rest = format!("/api/v1/me/audit?cursor={}", text(&page["next_cursor"]));
        assert_eq!(items(&alice.api.get(&rest).await?), rows[3..]);
        assert_eq!(items(&bob.api.get("/api/v1/me/audit").await?).len(), 3);
        assert!(listed(&alice, "").await?.iter().all(|row| !text(&row["action"]).starts_with("token")));
    }
    Ok(())
}

#[tokio::test]
async fn an_export_is_the_whole_log_and_holds_together_wherever_it_is_checked() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = history(&platform).await?;
        let (lines, head) = export(&alice).await?;
        let report = verify(&lines, std::slice::from_ref(&head));
        assert_eq!((report.findings.len(), &report.head, report.chain), (0, &head, Some(alice.organization.clone())));
        assert_eq!(lines.len(), 6);
        let told = alice.api.get(&format!("{}/head", path(&alice))).await?.expect(200)?.json()?;
        assert_eq!(told, json!({ "chain": alice.organization, "seq": head.seq, "hash": head.hash }));
        let records: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
        assert_eq!(records, listed(&alice, "").await?);
        // A later log goes on from there.
        alice.workspace("other").await?;
        let (longer, _) = export(&alice).await?;
        assert_eq!(longer[..6], lines);
        assert_eq!(verify(&longer, &[head]).findings, []);
    }
    Ok(())
}

#[tokio::test]
async fn an_export_of_thousands_of_records_is_whole() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let store = platform.store().await?;
    // As the use cases write them, in fewer transactions.
    let organization = hexabase_backends::store::audit::AuditChain::Organization(alice.organization.parse()?);
    for batch in 0..12_u64 {
        let tx = store.begin().await?;
        for number in 0..100 {
            use hexabase_core::ids::Id as _;
            let now = platform.clock.now();
            let entry = hexabase_core::audit::AuditEntry {
                id: hexabase_core::ids::AuditEntryId::from_parts(now, batch * 1_000 + number),
                at: now,
                actor: alice.id.clone(),
                on_behalf_of: None,
                credential: "sign-in".to_owned(),
                source: None,
                request_id: String::new(),
                action: "member.added".to_owned(),
                subject: workspace.clone(),
                workspace: Some(workspace.parse()?),
                before: None,
                after: Some(json!({ "number": number, "share": 0.1, "name": "\u{1f600}\n" })),
            };
            let chain = organization.clone();
            hexabase_backends::store::audit::append(
                &tx,
                hexabase_backends::store::audit::NewAuditEntry { chain, entry },
            );
        }
        tx.commit().await?;
    }
    let (lines, head) = export(&alice).await?;
    assert_eq!((lines.len(), head.seq), (1_202, 1_202));
    assert_eq!(verify(&lines, &[head]).findings, []);
    Ok(())
}

#[tokio::test]
async fn a_change_of_any_column_of_a_record_is_found() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = history(&platform).await?;
        let (_, once) = export(&alice).await?;
        let chain = &alice.organization;
        tamper(&platform, "CREATE TABLE kept AS SELECT * FROM audit_entries").await?;
        for (column, value) in [
            ("id", "'aud-00000000000000000000'"),
            ("at", "at + 1"),
            ("actor", "'usr-00000000000000000000'"),
            ("on_behalf_of", "'operator'"),
            ("credential", "'sign-in'"),
            ("source", "NULL"),
            ("request_id", "'req-00000000000000000000'"),
            ("action", "'member.removed'"),
            ("subject", "'usr-00000000000000000000'"),
            ("workspace_id", "NULL"),
            ("before", "'{}'"),
            ("after", "'{\"groups\":[\"WSAdmins\"]}'"),
            ("hash", "previous"),
        ] {
            tamper(
                &platform,
                &format!("UPDATE audit_entries SET {column} = {value} WHERE chain = '{chain}' AND seq = 4"),
            )
            .await?;
            let found = found(&alice, std::slice::from_ref(&once)).await?;
            assert_eq!(found.first(), Some(&(4, Wrong::Changed(4))), "{column}");
            restore(&platform).await?;
        }
        tamper(&platform, &format!("UPDATE audit_entries SET previous = hash WHERE chain = '{chain}' AND seq = 4"))
            .await?;
        assert_eq!(found(&alice, &[]).await?, [(4, Wrong::Changed(4)), (4, Wrong::Detached(4))]);
        restore(&platform).await?;
        // Moved to the end, or into another log.
        tamper(&platform, &format!("UPDATE audit_entries SET seq = 9 WHERE chain = '{chain}' AND seq = 4")).await?;
        assert_eq!(found(&alice, &[]).await?[0], (4, Wrong::Missing { from: 4, to: 4, before: 5 }));
        restore(&platform).await?;
        tamper(&platform, &format!("UPDATE audit_entries SET chain = 'org-0' WHERE chain = '{chain}' AND seq = 4"))
            .await?;
        assert_eq!(found(&alice, &[]).await?, [(4, Wrong::Missing { from: 4, to: 4, before: 5 })]);
        restore(&platform).await?;
        assert_eq!(found(&alice, &[once]).await?, []);
    }
    Ok(())
}

async fn restore(platform: &Platform) -> Result<()> {
    tamper(platform, "DELETE FROM audit_entries").await?;
    tamper(platform, "INSERT INTO audit_entries SELECT * FROM kept").await
}

#[tokio::test]
async fn records_that_are_removed_exchanged_or_cut_off_are_found() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let alice = history(&platform).await?;
        let (_, once) = export(&alice).await?;
        let chain = &alice.organization;
        tamper(&platform, "CREATE TABLE kept AS SELECT * FROM audit_entries").await?;
        tamper(&platform, &format!("DELETE FROM audit_entries WHERE chain = '{chain}' AND seq = 3")).await?;
        assert_eq!(found(&alice, &[]).await?, [(3, Wrong::Missing { from: 3, to: 3, before: 4 })]);
        restore(&platform).await?;
        tamper(&platform, &format!("DELETE FROM audit_entries WHERE chain = '{chain}' AND seq = 1")).await?;
        assert_eq!(found(&alice, &[]).await?, [(1, Wrong::Missing { from: 1, to: 1, before: 2 })]);
        restore(&platform).await?;
        for (from, to) in [(2, -2), (3, 2), (-2, 3)] {
            let swap = format!("UPDATE audit_entries SET seq = {to} WHERE chain = '{chain}' AND seq = {from}");
            tamper(&platform, &swap).await?;
        }
        let swapped: Vec<_> =
            found(&alice, &[]).await?.into_iter().map(|(line, wrong)| (line, wrong.to_string())).collect();
        assert!(swapped.iter().any(|(line, wrong)| *line == 2 && wrong.contains("was changed")), "{swapped:?}");
        assert!(swapped.iter().any(|(line, wrong)| *line == 3 && wrong.contains("was changed")), "{swapped:?}");
        restore(&platform).await?;
        // The end is cut off: the server's own word tells it, and when that was changed too, what was written down.
        tamper(&platform, &format!("DELETE FROM audit_entries WHERE chain = '{chain}' AND seq > 4")).await?;
        assert_eq!(found(&alice, &[]).await?, [(4, Wrong::CutOff { once: 6, now: 4 })]);
        let end = format!("SELECT hash FROM audit_entries WHERE chain = '{chain}' AND seq = 4");
        tamper(
            &platform,
            &format!("UPDATE audit_chains SET last_seq = 4, last_hash = ({end}) WHERE chain = '{chain}'"),
        )
        .await?;
        assert_eq!(found(&alice, &[]).await?, []);
        assert_eq!(found(&alice, std::slice::from_ref(&once)).await?, [(4, Wrong::CutOff { once: 6, now: 4 })]);
        // And when others took the places since.
        alice.workspace("other").await?;
        alice.workspace("third").await?;
        assert_eq!(found(&alice, &[once]).await?, [(6, Wrong::Anew(6))]);
    }
    Ok(())
}

#[tokio::test]
async fn nothing_can_be_written_into_the_log_from_outside() -> Result<()> {
    let platform = Platform::start().await?;
    let alice = platform.person("alice").await?;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        for path in [path(&alice), format!("{}/export", path(&alice)), "/api/v1/me/audit".to_owned()] {
            let answer = alice.api.send(alice.api.request(method.clone(), &path).json(&json!({}))).await?;
            problem(&answer, 405, "method_not_allowed");
        }
    }
    listed(&alice, "").await?.pop().context("one record")?;
    Ok(())
}

#[tokio::test]
async fn whoever_administered_a_deleted_organization_reads_its_log_and_nothing_else_of_it() -> Result<()> {
    for platform in Platform::start_on_each_engine().await? {
        let (alice, bob, carol) =
            (platform.person("alice").await?, platform.person("bob").await?, platform.person("carol").await?);
        let mallory = platform.person("mallory").await?;
        let id = alice.make_organization("acme").await?;
        let base = format!("/api/v1/organizations/{id}");
        for (person, role) in [(&bob, "admin"), (&carol, "member")] {
            let body = json!({ "email": person.email, "role": role });
            let invited = alice.api.post(&format!("{base}/invitations"), &body).await?.expect(201)?.json()?;
            let token = text(&invited["accept_url"]).rsplit('=').next().context("no token")?.to_owned();
            person.api.post("/api/v1/invitations/accept", &json!({ "token": token })).await?.expect(200)?;
        }
        let reading = make_token(&alice.api, "/api/v1/me/tokens", json!({ "access": "read" })).await?;
        let elsewhere = alice.workspace("elsewhere").await?;
        let bound = make_token(&alice.api, "/api/v1/me/tokens", json!({ "workspace": elsewhere })).await?;
        bob.api.delete(&base).await?.expect(204)?;
        let log = format!("{base}/audit");
        for api in [&alice.api, &bob.api, &platform.nobody().with_token(&reading.secret)] {
            let rows = items(&api.get(&log).await?);
            let last = rows.last().context("no record")?;
            assert_eq!((&last["action"], &last["actor"]), (&json!("organization.deleted"), &json!(bob.id)));
            let left = last["before"]["members"].as_array().context("no members")?.clone();
            for (person, role) in [(&alice, "admin"), (&bob, "admin"), (&carol, "member")] {
                assert!(left.contains(&json!({ "user": person.id, "role": role })), "{left:?}");
            }
            assert_eq!(left.len(), 3);
            let exported = api.get(&format!("{log}/export")).await?.expect(200)?;
            let lines: Vec<String> = exported.text.lines().map(str::to_owned).collect();
            let head: Head = exported.header("x-audit-head").parse().map_err(anyhow::Error::msg)?;
            assert_eq!((verify(&lines, std::slice::from_ref(&head)).findings, lines.len()), (Vec::new(), rows.len()));
            assert_eq!(api.get(&format!("{log}/head")).await?.expect(200)?.json()?["hash"], head.hash);
            for path in ["", "/members", "/workspaces", "/invitations", "/service-accounts"] {
                problem(&api.get(&format!("{base}{path}")).await?, 404, "not_found");
            }
        }
        problem(&alice.api.delete(&base).await?, 404, "not_found");
        problem(&platform.nobody().with_token(&bound.secret).get(&log).await?, 403, "forbidden");
        for path in [log.clone(), format!("{log}/head"), format!("{log}/export")] {
            for person in [&carol, &mallory] {
                problem(&person.api.get(&path).await?, 404, "not_found");
            }
        }
    }
    Ok(())
}
