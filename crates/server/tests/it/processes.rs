//! The real programs: `hexabase` as a process that is killed, and `hxb`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use hexabase_backends::store::{Store, jobs, signing_keys};
use hexabase_testkit::browser::{Browser, Hxb};
use hexabase_testkit::faults::{Aim, Fault, FaultProxy};
use hexabase_testkit::http::Http;
use hexabase_testkit::platform::{Platform, PlatformSpec, build_program};
use reqwest::{Method, RequestBuilder};
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;

use crate::support::{items, problem, soon, text};

const EMAIL: &str = "alice@example.test";
/// What making a workspace leaves to a worker.
const JOB: &str = "reconcile-workspace";

async fn start() -> Result<Platform> {
    Platform::start(PlatformSpec::serve(Path::new(env!("CARGO_BIN_EXE_hexabase")))).await
}

/// Alice's API, and her organisation.
async fn alice(platform: &Platform) -> Result<(Http, String)> {
    let browser = Browser::sign_in(&platform.authority_pem()?, platform.url(), EMAIL).await?;
    let tokens = browser.tokens(&format!("{}/oidc/platform", platform.url()), "hxb", EMAIL).await?;
    let api = platform.nobody()?.with_token(&tokens.access_token);
    let me = api.get("/api/v1/me").await?.expect(200)?.json()?;
    let organization = me["organizations"][0]["organization"].as_str().context("no organization")?;
    Ok((api, organization.to_owned()))
}

/// A request for a workspace, whose name is its key as well.
fn ask(api: &Http, path: &str, name: &str) -> RequestBuilder {
    let body = json!({ "name": name, "plan": "standard" });
    api.request(Method::POST, path).header("idempotency-key", name).json(&body)
}

/// Where the database of a platform is.
fn database(platform: &Platform) -> String {
    format!("sqlite://{}", platform.data().join("hexabase.db").display())
}

async fn hxb() -> Result<&'static PathBuf> {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    PROGRAM
        .get_or_try_init(|| async { tokio::task::spawn_blocking(|| build_program("hexabase-cli", "hxb")).await? })
        .await
}

#[tokio::test]
async fn a_kill_and_a_start_sign_nobody_out_and_lose_nothing() -> Result<()> {
    let mut platform = start().await?;
    let issuer = format!("{}/oidc/platform", platform.url());
    let browser = Browser::sign_in(&platform.authority_pem()?, platform.url(), EMAIL).await?;
    let tokens = browser.tokens(&issuer, "hxb", EMAIL).await?;
    let api = platform.nobody()?.with_token(&tokens.access_token);
    let me = api.get("/api/v1/me").await?.expect(200)?.json()?;
    let organization = me["organizations"][0]["organization"].as_str().context("no organization")?;
    let path = format!("/api/v1/organizations/{organization}/workspaces");
    for round in 0..5 {
        let made =
            api.post(&path, &json!({ "name": format!("shop-{round}"), "plan": "standard" })).await?.expect(201)?;
        // Killed as soon as it has answered: what it has answered is kept.
        platform.kill()?;
        platform.start_again().await?;
        let found = api.get(&format!("/api/v1/workspaces/{}", made.json()?["id"].as_str().unwrap_or_default())).await?;
        assert_eq!(found.expect(200)?.json()?, made.json()?);
    }
    browser.get(&Url::parse(&format!("{}/api/v1/me", platform.url()))?).await?.expect(200)?;
    let refresh = tokens.refresh_token.context("no refresh token")?;
    let form = [("grant_type", "refresh_token"), ("client_id", "hxb"), ("refresh_token", &refresh)];
    platform.nobody()?.post_form("/oidc/platform/token", &form).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_request_whose_server_was_killed_is_carried_out_once_when_it_is_sent_again() -> Result<()> {
    let mut platform = start().await?;
    let (api, organization) = alice(&platform).await?;
    let path = format!("/api/v1/organizations/{organization}/workspaces");
    let mut proxy = FaultProxy::before(platform.url(), &platform.authority_pem()?).await?;
    let through = Http::new(proxy.url(), proxy.authority_pem())?.with_token(api.token());
    // Before it has begun, and when all is done and only the answer is missing.
    for (side, replayed) in [("before", ""), ("after", "true")] {
        let moment = format!("ask-{side} {side} POST /api/v1/organizations/org-ID/workspaces").parse()?;
        proxy.aim(Aim::These([(moment, Fault::Halt)].into()));
        assert!(proxy.begin(&format!("ask-{side}")));
        proxy.open();
        let lost = tokio::spawn(ask(&through, &path, side).send());
        proxy.halted().await?;
        platform.kill()?;
        proxy.forget();
        assert!(lost.await?.is_err());
        platform.start_again().await?;
        let first = api.send(ask(&api, &path, side)).await?.expect(201)?;
        assert_eq!(first.header("idempotent-replayed"), replayed);
        let again = api.send(ask(&api, &path, side)).await?.expect(201)?;
        assert_eq!((again.header("idempotent-replayed"), &again.text), ("true", &first.text));
    }
    let list = api.get(&path).await?.expect(200)?.json()?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");
    let log = api.get(&format!("/api/v1/organizations/{organization}/audit")).await?.expect(200)?;
    assert_eq!(log.text.matches("\"workspace.created\"").count(), 2, "{}", log.text);
    let store = Store::connect(&database(&platform).parse()?).await?;
    assert_eq!(jobs::list_unfinished(&store, JOB, 10).await?.len(), 2);
    Ok(store.close().await?)
}

#[tokio::test]
async fn a_request_whose_server_was_killed_before_it_kept_the_answer_makes_nothing_twice() -> Result<()> {
    let mut platform = start().await?;
    let (api, organization) = alice(&platform).await?;
    let path = format!("/api/v1/organizations/{organization}/workspaces");
    let store = Store::connect(&database(&platform).parse()?).await?;
    // The change is made in one transaction, and the answer kept in the next, by an update of its key. That one counts without end from
    // now on, so that the server is killed before it is over.
    let behind = Database::connect(database(&platform)).await?;
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT n FROM numbers";
    behind.execute_unprepared(&format!("CREATE VIEW endless AS {numbers}")).await?;
    let held = "BEFORE UPDATE ON idempotency_keys BEGIN SELECT COUNT(*) FROM endless; END";
    behind.execute_unprepared(&format!("CREATE TRIGGER held {held}")).await?;
    let lost = tokio::spawn(ask(&api, &path, "once").send());
    let is_made = async {
        while jobs::list_unfinished(&store, JOB, 10).await?.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        anyhow::Ok(())
    };
    soon("the change", is_made).await??;
    platform.kill()?;
    assert!(lost.await?.is_err());

    for hold in ["TRIGGER held", "VIEW endless"] {
        behind.execute_unprepared(&format!("DROP {hold}")).await?;
    }
    platform.start_again().await?;
    // As if the minute were over for which somebody may still be at it.
    behind.execute_unprepared("UPDATE idempotency_keys SET expires_at = created_at").await?;
    let told = problem(&api.send(ask(&api, &path, "once")).await?, 409, "answer_lost");
    let made = items(&api.get(&path).await?);
    assert_eq!(made.len(), 1, "{made:?}");
    let id = text(&made[0]["id"]);
    assert!(!id.is_empty() && told["detail"].as_str().is_some_and(|detail| detail.contains(&id)), "{told}");
    let log = api.get(&format!("/api/v1/organizations/{organization}/audit")).await?.expect(200)?;
    assert_eq!(log.text.matches("\"workspace.created\"").count(), 1, "{}", log.text);
    assert_eq!(jobs::list_unfinished(&store, JOB, 10).await?.len(), 1);
    behind.close().await?;
    Ok(store.close().await?)
}

#[tokio::test]
async fn a_server_that_is_killed_during_its_first_start_starts_the_next_time() -> Result<()> {
    let mut platform = start().await?;
    let authority = platform.authority_pem()?;
    platform.kill()?;
    // What a kill between two steps of the first start leaves.
    let key = platform.data().join("tls/ca.key");
    for leave in ["", "half of a key"] {
        if leave.is_empty() {
            std::fs::remove_file(&key)?;
        } else {
            std::fs::remove_file(&key)?;
            std::fs::write(platform.data().join("tls/ca.key.new"), leave)?;
        }
        platform.start_again().await?;
        assert_ne!(platform.authority_pem()?, authority);
        platform.kill()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_stops_and_logs_no_secret() -> Result<()> {
    let mut platform = start().await?;
    let browser = Browser::sign_in(&platform.authority_pem()?, platform.url(), EMAIL).await?;
    let tokens = browser.tokens(&format!("{}/oidc/platform", platform.url()), "hxb", EMAIL).await?;
    let cookie = browser.cookie("localhost", "__Host-hexabase_session").context("no session")?;
    platform.stop().await?;
    let log = platform.log();
    assert!(log.contains("stopping"), "{log}");
    for secret in [tokens.access_token, tokens.refresh_token.unwrap_or_default(), cookie] {
        assert!(!secret.is_empty() && !log.contains(&secret));
    }
    let master_key = std::fs::read_to_string(platform.data().join("master.key"))?;
    assert!(!log.contains(master_key.trim()) && !log.contains("PRIVATE KEY"));
    // What the server keeps for itself, nobody else may read.
    use std::os::unix::fs::PermissionsExt as _;
    for (file, mode) in [("", 0o700), ("master.key", 0o600), ("tls", 0o700), ("tls/ca.key", 0o600)] {
        let found = std::fs::metadata(platform.data().join(file))?.permissions().mode() & 0o777;
        assert_eq!(found, mode, "{file}: {found:o}");
    }
    Ok(())
}

#[test]
fn check_config_says_what_cannot_start_and_for_which_role() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hexabase.toml");
    let check = |settings: &str| -> Result<(bool, String)> {
        std::fs::write(&file, settings)?;
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_hexabase"));
        let output = program.env_clear().arg("--config").arg(&file).arg("check-config").output()?;
        Ok((output.status.success(), String::from_utf8([output.stdout, output.stderr].concat())?))
    };
    let (good, said) = check("")?;
    assert!(good && said.contains("fine for `serve`") && said.contains("host.vcluster_chart"), "{said}");
    let chart = format!("[host]\nvcluster_chart = {:?}\n", folder.path().display().to_string());
    assert_eq!(check(&chart)?, (true, "the settings are fine\n".to_owned()));
    let tls = format!("[server.tls]\ncertificate = {0:?}\nprivate_key = {0:?}\n", file.display().to_string());
    for (settings, word) in [("[store]\nurl = \" Postgres://h/d\"", "store.master_key"), (tls.as_str(), "not PEM")] {
        let (good, said) = check(settings)?;
        assert!(!good && said.contains(word), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_lists_rotates_and_revokes_keys_beside_a_running_server() -> Result<()> {
    let platform = start().await?;
    let browser = Browser::sign_in(&platform.authority_pem()?, platform.url(), EMAIL).await?;
    let tokens = browser.tokens(&format!("{}/oidc/platform", platform.url()), "hxb", EMAIL).await?;
    let api = platform.nobody()?.with_token(&tokens.access_token);
    api.get("/api/v1/me").await?.expect(200)?;
    let list = platform.run(&["keys", "list"]).await?.good()?;
    let rows = |text: &str, state: &str| text.lines().filter(|line| line.contains(state)).count();
    assert_eq!((rows(&list, "signing"), list.lines().count()), (2, 3), "{list}");
    let rotated = platform.run(&["keys", "rotate"]).await?.good()?;
    assert_eq!((rows(&rotated, "signing"), rows(&rotated, "announced")), (2, 2), "{rotated}");
    let again = platform.run(&["keys", "rotate"]).await?;
    assert!(again.code != 0 && again.stderr.contains("already waiting"), "{again:?}");
    api.get("/api/v1/me").await?.expect(200)?;
    let header = tokens.access_token.split('.').next().context("no header")?;
    let header: Value = serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header)?)?;
    let kid = header["kid"].as_str().context("no kid")?;
    assert_ne!(platform.run(&["keys", "revoke", kid]).await?.code, 0, "it takes a reason");
    let revoked = platform.run(&["keys", "revoke", kid, "--reason", "a laptop was lost"]).await?.good()?;
    assert!(revoked.contains(&format!("revoked {kid}")) && revoked.contains("a laptop was lost"), "{revoked}");
    assert!(revoked.lines().any(|line| line.starts_with(kid) && line.contains("revoked")), "{revoked}");
    let begun = std::time::Instant::now();
    while api.get("/api/v1/me").await?.status == 200 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "the server still believes the key");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let unknown = platform.run(&["keys", "revoke", "no-such-key", "--reason", "x"]).await?;
    assert!(unknown.code != 0 && unknown.stderr.contains("no such key"), "{unknown:?}");
    let again = platform.run(&["keys", "revoke", kid, "--reason", "once more"]).await?.good()?;
    assert!(again.contains(&format!("revoked before: {kid}")), "{again}");
    assert!(!format!("{list}{rotated}{revoked}").contains("PRIVATE"));
    Ok(())
}

#[tokio::test]
async fn an_operator_makes_changes_and_retires_a_plan_beside_a_running_server() -> Result<()> {
    let platform = start().await?;
    let browser = Browser::sign_in(&platform.authority_pem()?, platform.url(), EMAIL).await?;
    let tokens = browser.tokens(&format!("{}/oidc/platform", platform.url()), "hxb", EMAIL).await?;
    let api = platform.nobody()?.with_token(&tokens.access_token);
    let offered = async || {
        let plans = api.get("/api/v1/plans").await?.expect(200)?.json()?;
        let plans = plans["items"].as_array().context("no plans")?.clone();
        anyhow::Ok(plans.into_iter().find(|plan| plan["id"] == "team").map(|plan| plan["version"].clone()))
    };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("team.toml");
    let path = file.to_str().context("a path")?;
    // As in the guide.
    let guide = include_str!("../../../../docs/guides/plans.md");
    let terms = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).context("no terms")?;
    std::fs::write(&file, terms)?;
    let missing = platform.run(&["plans", "version", path]).await?;
    assert!(missing.code != 0 && missing.stderr.contains("no such plan: team"), "{missing:?}");
    let made = platform.run(&["plans", "create", path]).await?.good()?;
    assert!(made.starts_with("plan team has version 1 now"), "{made}");
    assert_eq!(offered().await?, Some(json!(1)));
    let again = platform.run(&["plans", "create", path]).await?;
    assert!(again.code != 0 && again.stderr.contains("another version instead"), "{again:?}");
    platform.run(&["plans", "version", path]).await?.good()?;
    assert_eq!(offered().await?, Some(json!(2)));
    platform.run(&["plans", "retire", "team"]).await?.good()?;
    assert_eq!(offered().await?, None);
    let again = platform.run(&["plans", "retire", "team"]).await?;
    assert!(again.code != 0 && again.stderr.contains("the plan team is retired already"), "{again:?}");
    let list = platform.run(&["plans", "list"]).await?.good()?;
    assert!(list.lines().any(|line| line.starts_with("team") && line.contains("retired")), "{list}");
    assert!(list.contains("    retired by ") && list.contains("99.00 EUR"), "{list}");
    platform.run(&["plans", "restore", "team"]).await?.good()?;
    assert_eq!(offered().await?, Some(json!(2)));
    for (plan, told) in [("team", "the plan team is offered already"), ("tame", "no such plan: tame")] {
        let said = platform.run(&["plans", "restore", plan]).await?;
        assert!(said.code != 0 && said.stderr.contains(told), "{said:?}");
    }
    std::fs::write(&file, terms.replace("9900", "-1"))?;
    let negative = platform.run(&["plans", "version", path]).await?;
    assert!(negative.code != 0 && negative.stderr.contains("team.toml: price_minor: must not be"), "{negative:?}");
    // Nobody is put on a release that the installation may have no image of.
    for (release, is_had) in [("v1.36.40", false), ("v1.35.4", true)] {
        std::fs::write(&file, format!("kubernetes = \"{release}\"\n{terms}"))?;
        let said = platform.run(&["plans", "version", path]).await?;
        assert_eq!(said.code == 0, is_had, "{said:?}");
        let named =
            said.stderr.contains("plans may name: v1.35.4.") && said.stderr.contains("host.kubernetes_releases");
        assert_eq!(named, !is_had, "{said:?}");
    }
    std::fs::write(&file, format!("colour = \"red\"\n{terms}"))?;
    let unknown = platform.run(&["plans", "version", path]).await?;
    assert!(unknown.code != 0 && unknown.stderr.contains("colour"), "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn a_look_at_the_keys_of_no_platform_makes_none() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let keys = |arguments: &[&str]| -> Result<(bool, String)> {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_hexabase"));
        let output = program.env_clear().env("HEXABASE__DATA_DIR", &data).arg("keys").args(arguments).output()?;
        Ok((output.status.success(), String::from_utf8(output.stderr)?))
    };
    for arguments in [&["list"][..], &["rotate"], &["revoke", "x", "--reason", "y"]] {
        let (done, said) = keys(arguments)?;
        assert!(!done && said.contains("there is no master key at"), "{said}");
        assert!(!data.exists(), "{arguments:?} made something");
    }
    // Nor where there is a master key, or a database in which no server has run.
    std::fs::create_dir(&data)?;
    std::fs::write(data.join("master.key"), base64::engine::general_purpose::STANDARD.encode([7_u8; 32]))?;
    let (done, said) = keys(&["list"])?;
    assert!(!done && said.contains("there is no database at") && !data.join("hexabase.db").exists(), "{said}");
    let url = format!("sqlite://{}", data.join("hexabase.db").display());
    let store = Store::connect(&url.parse()?).await?;
    store.migrate().await?;
    let (done, said) = keys(&["list"])?;
    assert!(!done && said.contains("no signing keys"), "{said}");
    assert!(signing_keys::list(&store).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn hxb_signs_in_with_a_browser_and_shows_who_is_signed_in() -> Result<()> {
    let platform = start().await?;
    let alice = Hxb::new(hxb().await?, &platform.home_of("alice"), platform.url(), &platform.authority())?;
    let before = alice.run(&["whoami"]).await?;
    assert_ne!(before.code, 0, "{before:?}");
    alice.sign_in(EMAIL).await?.good()?;
    let who = alice.run(&["whoami", "-o", "json"]).await?.good()?;
    assert!(who.contains(EMAIL), "{who}");
    let workspace = alice.run(&["workspace", "list", "-o", "json"]).await?.good()?;
    serde_json::from_str::<Value>(&workspace)?;
    alice.run(&["logout"]).await?.good()?;
    assert_ne!(alice.run(&["whoami"]).await?.code, 0);
    Ok(())
}

#[tokio::test]
async fn hxb_signs_in_on_a_machine_without_a_browser() -> Result<()> {
    let platform = start().await?;
    let alice = Hxb::new(hxb().await?, &platform.home_of("alice"), platform.url(), &platform.authority())?;
    let (refused, agreed) = (alice.sign_in_by_code(EMAIL, false).await?, alice.sign_in_by_code(EMAIL, true).await?);
    assert_ne!(refused.code, 0, "{refused:?}");
    agreed.good()?;
    assert!(alice.run(&["whoami"]).await?.good()?.contains(EMAIL));
    Ok(())
}

#[tokio::test]
async fn hxb_works_in_a_pipeline_with_a_token_and_checks_the_log_that_tells_of_it() -> Result<()> {
    let platform = start().await?;
    let alice = Hxb::new(hxb().await?, &platform.home_of("alice"), platform.url(), &platform.authority())?;
    alice.sign_in(EMAIL).await?.good()?;
    let sessions = alice.run(&["session", "list"]).await?.good()?;
    let version = env!("CARGO_PKG_VERSION");
    assert!(sessions.contains(&format!("hxb {version} on Linux (this one)")), "{sessions}");
    let arguments = ["token", "create", "pipeline", "--access", "write", "--expires-in", "1h"];
    let secret = alice.run(&arguments).await?.good()?;
    let secret = secret.strip_suffix('\n').context("one line")?;
    // Another machine, which has nothing but the token and the authority's certificate.
    let pipeline = Hxb::new(hxb().await?, &platform.home_of("pipeline"), platform.url(), &platform.authority())?;
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::from(pipeline.command(arguments));
        command.env("HXB_TOKEN", secret).env("HXB_CERTIFICATE_AUTHORITY", platform.authority());
        let output = command.output().await?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    run(&["workspace", "create", "shop", "--plan", "standard", "--no-wait"]).await?;
    let workspace: Value = serde_json::from_str(&run(&["workspace", "get", "shop", "-o", "json"]).await?)?;
    let id = workspace["id"].as_str().context("no id")?;
    let credential: Value = serde_json::from_str(&run(&["credential", "--workspace", id]).await?)?;
    let of_workspace = credential["status"]["token"].as_str().context("no token")?;
    let gateway = platform.nobody()?.with_token(of_workspace);
    gateway.get(&format!("/k8s/{id}/version")).await?.expect(503)?;
    run(&["kubeconfig", "shop"]).await?;
    let kubeconfig = std::fs::read_to_string(pipeline.kubeconfig())?;
    assert!(kubeconfig.contains("certificate-authority-data") && !kubeconfig.contains(secret), "{kubeconfig}");
    // What it did is in the log, which is exported, checked without the server, and tampered with.
    let log = platform.home_of("alice").join("log");
    let file = log.to_str().context("a path")?;
    alice.run(&["audit", "export", "--file", file]).await?.good()?;
    let text = std::fs::read_to_string(&log)?;
    assert!(text.contains("workspace.created") && text.contains("token tok-"), "{text}");
    assert!(alice.run(&["audit", "verify"]).await?.good()?.contains("is whole: 2 records"));
    assert!(alice.run(&["audit", "verify", "--me"]).await?.good()?.contains("is whole"));
    assert!(alice.run(&["audit", "verify", "--file", file]).await?.good()?.contains("is whole: 2 records"));
    std::fs::write(&log, text.replace("\"shop\"", "\"shed\""))?;
    let tampered = alice.run(&["audit", "verify", "--file", file]).await?;
    assert_eq!((tampered.code, tampered.stdout.as_str()), (7, "line 2: record 2 was changed after it was written\n"));
    alice.run(&["token", "revoke", "pipeline"]).await?.good()?;
    let refused = run(&["whoami"]).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("has been revoked"), "{refused}");
    assert!(!platform.log().contains(&secret[8..]));
    Ok(())
}

#[tokio::test]
async fn an_operator_breaks_the_glass_beside_the_running_server() -> Result<()> {
    let platform = start().await?;
    let program = hxb().await?;
    let person = |name: &str| Hxb::new(program, &platform.home_of(name), platform.url(), &platform.authority());
    let (tenant, staff) = (person("tenant")?, person("staff")?);
    tenant.sign_in("tenant@example.test").await?.good()?;
    staff.sign_in("staff@example.test").await?.good()?;
    let organizations: Value = serde_json::from_str(&tenant.run(&["org", "list", "-o", "json"]).await?.good()?)?;
    let organization = organizations["items"][0]["id"].as_str().context("no organization")?.to_owned();
    let operator = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_hexabase"));
        command.env("HEXABASE__DATA_DIR", platform.data()).arg("break-glass");
        command.args(["--organization", &organization, "--user", "staff@example.test"]).args(arguments);
        anyhow::Ok(command.output().await?)
    };
    assert_ne!(staff.run(&["org", "get", &organization]).await?.code, 0);
    for wrong in [
        &["--minutes", "60"][..],
        &["--reason", "x"],
        &["--minutes", "241", "--reason", "x"],
        &["--end", "--reason", "x"],
    ] {
        assert!(!operator(wrong).await?.status.success(), "{wrong:?}");
    }
    let given = operator(&["--minutes", "60", "--reason", "locked out"]).await?;
    assert!(given.status.success(), "{given:?}");
    assert!(staff.run(&["org", "get", &organization]).await?.good()?.contains("admin"));
    let log = tenant.run(&["audit", "list", "--action", "break_glass", "-o", "json"]).await?.good()?;
    assert!(log.contains("locked out") && log.contains("operator"), "{log}");
    assert!(operator(&["--end"]).await?.status.success());
    assert_ne!(staff.run(&["org", "get", &organization]).await?.code, 0);
    assert!(!operator(&["--end"]).await?.status.success());
    tenant.run(&["audit", "verify"]).await?.good()?;
    Ok(())
}
