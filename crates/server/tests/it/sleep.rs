//! Sleep by hand and by use, rules of sleep, and deletions that can be undone. What the worker does is played here.

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use hexabase_app::keys::RevocationRequest;
use hexabase_backends::store::workspaces::{self as rows, Workspace};
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::time::Timestamp;
use hexabase_oidc::jwt::key_id;
use hexabase_testkit::http::Answer;
use serde_json::{Value, json};

use crate::gateway::{Tenant, status, version};
use crate::groups::{made, put, take_out};
use crate::role_assignments::give;
use crate::support::{Person, Platform, items, pass, problem, shop, soon, text};

fn at(workspace: &str, verb: &str) -> String {
    format!("/api/v1/workspaces/{workspace}/{verb}")
}

async fn row(platform: &Platform, workspace: &str) -> Result<Workspace> {
    let row = rows::load_for_job(&platform.store().await?, &workspace.parse()?).await?;
    row.context("no workspace")
}

async fn post(person: &Person, workspace: &str, verb: &str) -> Result<Value> {
    person.api.post(&at(workspace, verb), &json!({})).await?.expect(202)?.json()
}

/// What the worker does once it is that far with it.
async fn set_phase(platform: &Platform, workspace: &str, phase: WorkspacePhase) -> Result<()> {
    let store = platform.store().await?;
    let tx = store.begin().await?;
    rows::set_progress(&tx, &workspace.parse()?, phase, None, None, platform.clock.now()).await?;
    Ok(tx.commit().await?)
}

/// Waits until somebody has woken it, while `held` is not answered.
async fn woken(
    platform: &Platform,
    workspace: &str,
    held: &mut (impl Future<Output = Result<Answer>> + Unpin),
) -> Result<()> {
    soon("the wish to wake", async {
        while row(platform, workspace).await?.phase != WorkspacePhase::Waking {
            assert!((&mut *held).now_or_never().is_none(), "it was answered");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    })
    .await?
}

/// How often somebody or something has woken it.
async fn wakes(person: &Person) -> Result<usize> {
    let log = format!("/api/v1/organizations/{}/audit?action=workspace.waking", person.organization);
    Ok(items(&person.api.get(&log).await?).len())
}

/// A workspace of Alice's that is asleep and has an API server.
async fn asleep() -> Result<(Platform, Person, String, Tenant)> {
    let (platform, alice, workspace) = shop().await?;
    let tenant = Tenant::of(&platform, &workspace).await?;
    post(&alice, &workspace, "sleep").await?;
    set_phase(&platform, &workspace, WorkspacePhase::Asleep).await?;
    Ok((platform, alice, workspace, tenant))
}

#[tokio::test]
async fn a_workspace_is_put_to_sleep_and_woken_by_hand() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let refused = alice.api.post(&at(&workspace, "sleep"), &json!({})).await?;
    assert!(text(&problem(&refused, 409, "not_ready")["detail"]).contains("creating"));
    let tenant = Tenant::of(&platform, &workspace).await?;
    assert_eq!(post(&alice, &workspace, "wake").await?["phase"], "ready", "it is awake");
    for _ in 0..2 {
        assert_eq!(post(&alice, &workspace, "sleep").await?["phase"], "falling-asleep");
    }
    set_phase(&platform, &workspace, WorkspacePhase::Asleep).await?;
    for _ in 0..2 {
        assert_eq!(post(&alice, &workspace, "wake").await?["phase"], "waking");
    }
    assert_eq!(wakes(&alice).await?, 1, "asking again changes nothing");
    // One that does not wake need not cost memory for ever.
    for phase in [WorkspacePhase::Waking, WorkspacePhase::Failed] {
        set_phase(&platform, &workspace, phase).await?;
        assert_eq!(post(&alice, &workspace, "sleep").await?["phase"], "falling-asleep");
        assert_eq!(post(&alice, &workspace, "wake").await?["phase"], "waking");
    }
    tenant.answers(&platform, &workspace).await?;
    assert_eq!(post(&alice, &workspace, "wake").await?["phase"], "ready");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_wake_a_sleeping_workspace_once_and_are_held_until_it_answers() -> Result<()> {
    let (platform, alice, workspace, tenant) = asleep().await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &workspace).await?);
    let path = version(&workspace);
    let held = futures::future::try_join_all((0..20).map(|_| api.get(&path)));
    let waker = async {
        soon("the wish to wake", async {
            while row(&platform, &workspace).await?.phase != WorkspacePhase::Waking {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            anyhow::Ok(())
        })
        .await??;
        assert_eq!(tenant.heard().len(), 0, "nothing is sent to what does not answer");
        tenant.answers(&platform, &workspace).await
    };
    let (answers, woken) = tokio::join!(held, waker);
    woken?;
    // Whoever came when it was awake already says nothing.
    let mut held = 0;
    for answer in answers? {
        let warning = answer.expect(200)?.header("warning").to_owned();
        held += usize::from(!warning.is_empty());
        assert!(warning.is_empty() || warning.starts_with("299 - \"the workspace was asleep; it took "), "{warning}");
    }
    assert!(held > 0, "nobody was held");
    assert_eq!(wakes(&alice).await?, 1);
    let told = api.get(&path).await?.expect(200)?;
    assert_eq!(told.header("warning"), "", "now it is awake");
    let log = format!("/api/v1/organizations/{}/audit?action=workspace.waking", alice.organization);
    let record = items(&alice.api.get(&log).await?).remove(0);
    assert_eq!((&record["actor"], &record["after"]["used_by"]), (&json!("system"), &json!(alice.id)), "{record}");
    Ok(())
}

#[tokio::test]
async fn whoever_loses_their_access_while_they_wait_does_not_pass() -> Result<()> {
    let (platform, alice, workspace, tenant) = asleep().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let api = platform.nobody().with_token(bob.workspace_token(&platform, &workspace).await?);
    let path = version(&workspace);
    let mut held = Box::pin(api.get(&path));
    woken(&platform, &workspace, &mut held).await?;
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    tenant.answers(&platform, &workspace).await?;
    status(&held.await?, 403, "Forbidden");
    assert_eq!(tenant.heard().len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_token_whose_key_is_revoked_while_it_waits_is_refused_and_not_made_anew() -> Result<()> {
    let (platform, alice, workspace, tenant) = asleep().await?;
    let token = alice.workspace_token(&platform, &workspace).await?;
    let stolen = key_id(&token)?.context("it names no key")?;
    let api = platform.nobody().with_token(token);
    let path = version(&workspace);
    let mut held = Box::pin(api.get(&path));
    woken(&platform, &workspace, &mut held).await?;
    // Other groups than it says: one that may pass would be sent on with a new token.
    let group = made(&alice, &workspace, "late", None).await?;
    put(&alice, &workspace, &group, &alice.id).await?.expect(204)?;
    let request =
        RevocationRequest { kids: vec![stolen.clone()], reason: "it was lost".to_owned(), operator: "ada".to_owned() };
    platform.keys().await?.revoke(&platform.store().await?, &platform.clock, &request).await?;
    soon("the end of the key", async {
        loop {
            let keys = platform.nobody().get("/oidc/platform/jwks").await?.expect(200)?.json()?;
            if !keys.to_string().contains(&stolen) {
                return anyhow::Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await??;
    tenant.answers(&platform, &workspace).await?;
    status(&held.await?, 401, "Unauthorized");
    assert_eq!(tenant.heard().len(), 0);
    Ok(())
}

#[tokio::test]
async fn nobody_is_let_into_a_workspace_that_does_not_wake_in_time() -> Result<()> {
    let (platform, alice, workspace, tenant) = asleep().await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &workspace).await?);
    post(&alice, &workspace, "wake").await?;
    // Its API server may run: what it lacks may be the end of a right.
    set_phase(&platform, &workspace, WorkspacePhase::Failed).await?;
    status(&api.get(&version(&workspace)).await?, 503, "ServiceUnavailable");
    assert_eq!(tenant.heard().len(), 0);
    tenant.answers(&platform, &workspace).await?;
    api.get(&version(&workspace)).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn an_open_watch_ends_when_its_workspace_is_put_to_sleep() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    Tenant::of(&platform, &workspace).await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &workspace).await?);
    let path = format!("/k8s/{workspace}/api/v1/pods?watch=true");
    let mut watch = api.request(reqwest::Method::GET, &path).send().await?.error_for_status()?;
    soon("the first event", watch.chunk()).await??;
    post(&alice, &workspace, "sleep").await?;
    soon("the end of the watch", async { while let Ok(Some(_)) = watch.chunk().await {} }).await
}

#[tokio::test]
async fn a_rule_of_sleep_is_shown_and_a_use_is_noted_only_for_one_that_hangs_on_it() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    Tenant::of(&platform, &workspace).await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &workspace).await?);
    let put = async |rule: Value| {
        let request = alice.api.request(reqwest::Method::PUT, &at(&workspace, "sleep-rule")).json(&rule);
        alice.api.send(request).await
    };
    api.get(&version(&workspace)).await?.expect(200)?;
    assert_eq!(row(&platform, &workspace).await?.last_used_at, None, "nobody asks for it");
    let rule = json!({ "after_minutes": 30, "keep_workloads": false, "sleep_at": "20:00", "wake_at": null });
    let shown = put(rule.clone()).await?.expect(200)?.json()?;
    assert_eq!(shown["sleep_rule"], rule);
    let first = platform.clock.now();
    for seconds in [0, 30, 31] {
        pass(&platform, seconds);
        api.get(&version(&workspace)).await?.expect(200)?;
    }
    let found = row(&platform, &workspace).await?;
    assert_eq!(found.last_used_at, Some(first.plus_seconds(61)));
    // Saying it again is no change, and nothing that it counts begins anew.
    put(rule).await?.expect(200)?;
    assert_eq!((found.sleep_rule_at, row(&platform, &workspace).await?.sleep_rule_at), (Some(first), Some(first)));
    let log = format!("/api/v1/organizations/{}/audit?action=workspace.sleep_rule_changed", alice.organization);
    assert_eq!(items(&alice.api.get(&log).await?).len(), 1);
    assert_eq!(put(json!({})).await?.expect(200)?.json()?["sleep_rule"]["after_minutes"], Value::Null);
    for (bad, field) in [
        (json!({ "after_minutes": 4 }), "sleep_rule"),
        (json!({ "sleep_at": "8:00" }), "sleep_at"),
        (json!({ "wake_at": "24:00" }), "wake_at"),
        (json!({ "sleep_at": "08:00", "wake_at": "08:00" }), "sleep_rule"),
    ] {
        assert_eq!(problem(&put(bad).await?, 422, "invalid")["field"], field);
    }
    problem(&put(json!({ "after": 30 })).await?, 422, "invalid");
    Ok(())
}

#[tokio::test]
async fn a_deletion_can_be_undone_until_its_removal_begins() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let tenant = Tenant::of(&platform, &workspace).await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &workspace).await?);
    let path = format!("/api/v1/workspaces/{workspace}");
    problem(&alice.api.post(&at(&workspace, "restore"), &json!({})).await?, 409, "not_restorable");
    problem(&alice.api.delete(&format!("{path}?grace_minutes=43201")).await?, 422, "invalid");
    problem(&alice.api.delete(&format!("{path}?grace=5")).await?, 422, "invalid");

    let doomed = alice.api.delete(&format!("{path}?grace_minutes=5")).await?.expect(202)?.json()?;
    let end = platform.clock.now().plus_seconds(300);
    assert_eq!((&doomed["phase"], &doomed["removal_at"]), (&json!("to-be-deleted"), &json!(end)));
    // Whoever may know of it is told until when that can be undone, and how, whatever they ask for.
    let until = format!("to be deleted at {}; until then", Timestamp::from_seconds(end.as_seconds()));
    let tells = |said: &str| said.contains(&until) && said.contains("`hxb workspace restore shop`");
    let said = status(&api.get(&version(&workspace)).await?, 403, "Forbidden");
    assert!(tells(&said), "{said}");
    let said = text(&alice.exchange(&platform, &workspace).await?.json()?["error_description"]);
    assert!(tells(&said), "{said}");
    let inside = alice.api.get(&at(&workspace, "pods")).await?;
    let said = text(&problem(&inside, 409, "workspace_deleted")["detail"]);
    assert!(tells(&said) && inside.header("retry-after").is_empty(), "{inside:?}");
    let asleep = alice.api.post(&at(&workspace, "sleep"), &json!({})).await?;
    let said = text(&problem(&asleep, 409, "workspace_deleted")["detail"]);
    assert!(tells(&said), "{said}");
    let bob = platform.person("bob").await?;
    problem(&bob.api.get(&at(&workspace, "pods")).await?, 404, "not_found");
    problem(&alice.create_workspace("shop", "standard").await?, 409, "name_taken");
    pass(&platform, 299);
    let restored = post(&alice, &workspace, "restore").await?;
    assert_eq!((&restored["phase"], restored.get("removal_at")), (&json!("waking"), None));
    tenant.answers(&platform, &workspace).await?;
    api.get(&version(&workspace)).await?.expect(200)?;

    // Nobody has begun with it yet, although its time is over.
    alice.api.delete(&format!("{path}?grace_minutes=1")).await?.expect(202)?;
    pass(&platform, 60);
    assert_eq!(post(&alice, &workspace, "restore").await?["phase"], "waking");

    alice.api.delete(&format!("{path}?grace_minutes=1")).await?.expect(202)?;
    // It need not be waited for.
    assert_eq!(alice.api.delete(&path).await?.expect(202)?.json()?["phase"], "deleting");
    problem(&alice.api.post(&at(&workspace, "restore"), &json!({})).await?, 409, "not_restorable");
    Ok(())
}

#[tokio::test]
async fn what_is_taken_away_while_a_deletion_can_be_undone_does_not_come_back_with_it() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    let group = made(&alice, &workspace, "late", None).await?;
    put(&alice, &workspace, &group, &bob.id).await?.expect(204)?;
    let below = made(&alice, &workspace, "below", Some(&group)).await?;
    let role = json!({ "group": group, "role": "hexabase:workspace-viewer" });
    let given = text(&give(&alice, &workspace, role.clone()).await?.expect(201)?.json()?["id"]);
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}?grace_minutes=5")).await?.expect(202)?;
    problem(&put(&alice, &workspace, &group, &alice.id).await?, 409, "workspace_deleted");
    problem(&give(&alice, &workspace, role).await?, 409, "workspace_deleted");
    take_out(&alice, &workspace, &group, &bob.id).await?.expect(204)?;
    let roles = format!("/api/v1/workspaces/{workspace}/role-assignments");
    alice.api.delete(&format!("{roles}/{given}")).await?.expect(204)?;
    let groups = format!("/api/v1/workspaces/{workspace}/groups");
    let to = async |parent: Value| alice.api.patch(&format!("{groups}/{below}"), &json!({ "parent": parent })).await;
    to(Value::Null).await?.expect(200)?;
    problem(&to(json!(group)).await?, 409, "workspace_deleted");
    alice.api.delete(&format!("{groups}/{group}")).await?.expect(204)?;
    post(&alice, &workspace, "restore").await?;
    let left = items(&alice.api.get(&roles).await?);
    assert!(!left.iter().any(|one| one["id"] == given), "{left:?}");
    Ok(())
}
