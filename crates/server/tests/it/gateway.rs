mod elsewhere;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use hexabase_backends::store::workspaces as rows;
use hexabase_oidc::jwt::Typ;
use hexabase_testkit::http::Answer;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::groups::{made, put, take_out};
use crate::support::{Person, Platform, body, changed, claims, pass, revoke, shop, soon, text};

pub(crate) fn version(workspace: &str) -> String {
    format!("/k8s/{workspace}/version")
}

/// Fails unless the answer is a Kubernetes `Status` of this code and reason; returns its message.
#[track_caller]
pub(crate) fn status(answer: &Answer, code: u16, reason: &str) -> String {
    let body = body(answer);
    assert_eq!((answer.status, body["code"].as_u64()), (code, Some(code.into())), "{}", answer.text);
    assert_eq!((body["kind"].as_str(), body["apiVersion"].as_str()), (Some("Status"), Some("v1")));
    assert_eq!((body["status"].as_str(), body["reason"].as_str()), (Some("Failure"), Some(reason)), "{}", answer.text);
    text(&body["message"])
}

/// An API server of a tenant, which answers everything: `watch` with a stream that does not end, the rest at once.
pub(crate) struct Tenant {
    endpoint: String,
    ca_pem: String,
    heard: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Tenant {
    async fn start(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.to_owned()])?.self_signed(&key)?;
        let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = listener.local_addr()?.to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (acceptor, log, count) = (TlsAcceptor::from(Arc::new(tls)), heard.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                let (acceptor, log) = (acceptor.clone(), log.clone());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await?);
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let watch = head.contains("watch=true");
                    log.lock().expect("no test panicked").push(head);
                    let answer = if watch {
                        "transfer-encoding: chunked\r\n\r\n3\r\n{}\n\r\n".to_owned()
                    } else {
                        "content-length: 3\r\nconnection: close\r\n\r\n{}\n".to_owned()
                    };
                    stream
                        .write_all(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{answer}").as_bytes())
                        .await?;
                    stream.flush().await?;
                    // Ends when the gateway hangs up.
                    let _ = stream.read_u8().await;
                    anyhow::Ok(())
                });
            }
        });
        Ok(Self { endpoint, ca_pem: certificate.pem(), heard, connections })
    }

    /// One that the gateway knows as this workspace's.
    pub(crate) async fn of(platform: &Platform, workspace: &str) -> Result<Self> {
        let tenant = Self::start("kubernetes").await?;
        tenant.answers(platform, workspace).await?;
        Ok(tenant)
    }

    /// What the worker does once this is the workspace's, or is it again after its sleep.
    pub(crate) async fn answers(&self, platform: &Platform, workspace: &str) -> Result<()> {
        set_ready(platform, workspace, &self.endpoint, &self.ca_pem).await
    }

    /// The heads of the requests that came in.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no test panicked").clone()
    }
}

/// What the worker does once the workspace answers.
pub(crate) async fn set_ready(platform: &Platform, workspace: &str, endpoint: &str, ca_pem: &str) -> Result<()> {
    let store = platform.store().await?;
    let tx = store.begin().await?;
    rows::set_ready(&tx, &workspace.parse()?, endpoint, ca_pem, platform.clock.now()).await?;
    Ok(tx.commit().await?)
}

#[tokio::test]
async fn a_request_without_a_token_is_refused() -> Result<()> {
    let platform = Platform::start().await?;
    let workspace = platform.person("alice").await?.workspace("shop").await?;
    for path in [version(&workspace), format!("/k8s/{workspace}/api/v1/namespaces"), version("ws-00000000000000000000")]
    {
        let answer = platform.nobody().get(&path).await?;
        status(&answer, 401, "Unauthorized");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    Ok(())
}

#[tokio::test]
async fn a_browsers_cookie_opens_no_gateway() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    status(&alice.browser.get(&platform.at(&version(&workspace))).await?, 401, "Unauthorized");
    Ok(())
}

#[tokio::test]
async fn a_token_with_other_claims_is_refused_whoever_signed_it() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let (alice, mallory) = (platform.person("alice").await?, platform.person("mallory").await?);
    let (one, two) = (alice.workspace("one").await?, alice.workspace("two").await?);
    let good = claims(&alice.workspace_token(&platform, &one).await?)?;
    let path = version(&one);
    let now = platform.clock.now().as_seconds();
    let session_of_mallory = claims(mallory.api.token())?["sid"].clone();
    let forged = |changes: Value, typ: Typ| {
        let (platform, path, said) = (&platform, &path, changed(&good, changes));
        async move { platform.nobody().with_token(platform.forge(&said, typ).await?).get(path).await }
    };
    // The forgery itself works.
    status(&forged(json!({}), Typ::Jwt).await?, 503, "ServiceUnavailable");
    for changes in [
        json!({ "aud": two }),
        json!({ "aud": [one, two] }),
        json!({ "aud": "hexabase" }),
        json!({ "iss": platform.issuer(&two) }),
        json!({ "iss": platform.issuer("platform") }),
        json!({ "iss": format!("https://evil.example/oidc/{one}") }),
        json!({ "ws": two }),
        json!({ "exp": now, "iat": now - 600, "nbf": now - 600 }),
        json!({ "exp": now + 3600 }),
        json!({ "nbf": now + 60 }),
        json!({ "sub": mallory.id }),
        json!({ "sub": mallory.id, "sid": session_of_mallory.clone() }),
        json!({ "sid": session_of_mallory.clone() }),
        json!({ "sid": "ses-00000000000000000000" }),
        json!({ "sub": "system:admin" }),
        json!({ "groups": ["system:masters"] }),
        json!({ "token_use": "access" }),
    ] {
        let answer = forged(changes.clone(), Typ::Jwt).await?;
        assert!([401, 403].contains(&answer.status), "{changes}: {}", answer.text);
        // Only a stranger with a token that is otherwise in order is told 403.
        let forbidden = changes == json!({ "sub": mallory.id, "sid": session_of_mallory });
        assert_eq!(answer.status == 403, forbidden, "{changes}: {}", answer.text);
    }
    status(&forged(json!({}), Typ::AccessToken).await?, 401, "Unauthorized");
    let elsewhere = Platform::start().await?;
    let foreign = elsewhere.forge(&good, Typ::Jwt).await?;
    for token in [foreign.as_str(), "a.b.c", "x"] {
        status(&platform.nobody().with_token(token).get(&path).await?, 401, "Unauthorized");
    }
    Ok(())
}

#[tokio::test]
async fn a_workspace_that_is_not_ready_says_so() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let token = alice.workspace_token(&platform, &workspace).await?;
    let answer = platform.nobody().with_token(&token).get(&version(&workspace)).await?;
    let message = status(&answer, 503, "ServiceUnavailable");
    assert!(message.contains("creating"), "{message}");
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    Ok(())
}

#[tokio::test]
async fn a_workspace_that_does_not_answer_is_unavailable() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let token = alice.workspace_token(&platform, &workspace).await?;
    // Nobody listens on a port that was just given back.
    let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
    let tenant = Tenant::start("kubernetes").await?;
    set_ready(&platform, &workspace, &closed, &tenant.ca_pem).await?;
    status(&platform.nobody().with_token(&token).get(&version(&workspace)).await?, 503, "ServiceUnavailable");
    Ok(())
}

#[tokio::test]
async fn a_member_reaches_the_workspace_with_their_own_token_and_nothing_else() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let token = alice.workspace_token(&platform, &workspace).await?;
    let tenant = Tenant::of(&platform, &workspace).await?;
    let api = platform.nobody().with_token(&token);
    let request = api.request(reqwest::Method::GET, &format!("/k8s/{workspace}/api/v1/pods?limit=5"));
    let request = request.header("x-remote-user", "system:admin").header("cookie", "__Host-hexabase_session=x");
    assert_eq!(api.send(request).await?.expect(200)?.text, "{}\n");
    let heard = tenant.heard().pop().context("the tenant heard nothing")?;
    assert!(heard.starts_with("GET /api/v1/pods?limit=5 HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("Bearer {token}")), "{heard}");
    let lower = heard.to_ascii_lowercase();
    assert!(!lower.contains("x-remote") && !lower.contains("cookie"), "{heard}");
    Ok(())
}

#[tokio::test]
async fn whoever_asks_as_somebody_else_is_told_that_this_is_not_done_here() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &workspace).await?);
    let tenant = Tenant::of(&platform, &workspace).await?;
    let request = api.request(reqwest::Method::GET, &version(&workspace)).header("impersonate-user", "bob");
    let message = status(&api.send(request).await?, 403, "Forbidden");
    assert!(message.contains("--as") && message.contains("hxb access explain"), "{message}");
    assert!(tenant.heard().is_empty());
    Ok(())
}

#[tokio::test]
async fn the_operators_limits_hold_for_each_workspace_by_itself() -> Result<()> {
    let platform = Platform::start_with(|config| {
        config.gateway.max_request_bytes = 65_536;
        config.gateway.requests_per_second = 1;
        config.gateway.burst = 3;
    })
    .await?;
    let alice = platform.person("alice").await?;
    let (one, two) = (alice.workspace("one").await?, alice.workspace("two").await?);
    let tenant = Tenant::of(&platform, &one).await?;
    let _other = Tenant::of(&platform, &two).await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &one).await?);
    let path = format!("/k8s/{one}/api/v1/namespaces/web/configmaps");
    let large = api.request(reqwest::Method::POST, &path).body(vec![b'x'; 65_537]);
    let message = status(&api.send(large).await?, 413, "RequestEntityTooLarge");
    assert!(message.contains("65536 bytes"), "{message}");
    assert!(tenant.heard().is_empty());
    let refused = soon("the end of the burst", async {
        loop {
            let answer = api.get(&version(&one)).await?;
            if answer.status != 200 {
                break anyhow::Ok(answer);
            }
        }
    })
    .await??;
    let message = status(&refused, 429, "TooManyRequests");
    assert!(message.contains("1 requests per second"), "{message}");
    assert_eq!(refused.header("retry-after"), "1");
    let elsewhere = platform.nobody().with_token(alice.workspace_token(&platform, &two).await?);
    elsewhere.get(&version(&two)).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_workspace_that_cannot_prove_who_it_is_gets_no_token() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let (own, other, misnamed) =
        (Tenant::start("kubernetes").await?, Tenant::start("kubernetes").await?, Tenant::start("evil").await?);
    for (called, ca_pem) in [(&other, &own.ca_pem), (&misnamed, &misnamed.ca_pem)] {
        set_ready(&platform, &workspace, &called.endpoint, ca_pem).await?;
        // With one that was shown a moment ago, the endpoint would be that of then.
        let token = alice.workspace_token(&platform, &workspace).await?;
        let answer = platform.nobody().with_token(&token).get(&version(&workspace)).await?;
        status(&answer, 503, "ServiceUnavailable");
        assert!(called.connections.load(SeqCst) > 0, "it was asked who it is");
    }
    assert!(own.heard().is_empty() && other.heard().is_empty() && misnamed.heard().is_empty());
    Ok(())
}

#[tokio::test]
async fn an_open_watch_ends_soon_after_its_member_was_removed() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let bob = platform.person("bob").await?;
    alice.add(&workspace, &bob.id, &[]).await?.expect(201)?;
    Tenant::of(&platform, &workspace).await?;
    let api = platform.nobody().with_token(bob.workspace_token(&platform, &workspace).await?);
    let path = format!("/k8s/{workspace}/api/v1/pods?watch=true");
    let mut watch = api.request(reqwest::Method::GET, &path).send().await?.error_for_status()?;
    assert_eq!(soon("the first event", watch.chunk()).await??.as_deref(), Some(&b"{}\n"[..]));
    alice.remove(&workspace, &bob.id).await?.expect(204)?;
    // Cut or ended, but not open.
    soon("the end of the watch", async { while let Ok(Some(_)) = watch.chunk().await {} }).await?;
    status(&api.get(&path).await?, 403, "Forbidden");
    Ok(())
}

/// A watch of somebody's that has begun.
async fn open_watch(platform: &Platform, person: &Person, workspace: &str) -> Result<reqwest::Response> {
    let api = platform.nobody().with_token(person.workspace_token(platform, workspace).await?);
    let path = format!("/k8s/{workspace}/api/v1/pods?watch=true");
    let mut watch = api.request(reqwest::Method::GET, &path).send().await?.error_for_status()?;
    soon("the first event", watch.chunk()).await??;
    Ok(watch)
}

async fn ends(mut watch: reqwest::Response) -> Result<()> {
    soon("the end of the watch", async { while let Ok(Some(_)) = watch.chunk().await {} }).await
}

/// Bob and Carol with access, and Bob in the group `team`.
async fn team(platform: &Platform, alice: &Person, workspace: &str) -> Result<(Person, Person, String)> {
    let (bob, carol) = (platform.person("bob").await?, platform.person("carol").await?);
    for person in [&bob, &carol] {
        alice.add(workspace, &person.id, &[]).await?.expect(201)?;
    }
    let team = made(alice, workspace, "team", None).await?;
    put(alice, workspace, &team, &bob.id).await?.expect(204)?;
    Ok((bob, carol, team))
}

async fn give(alice: &Person, workspace: &str, body: Value) -> Result<String> {
    let path = format!("/api/v1/workspaces/{workspace}/role-assignments");
    Ok(text(&alice.api.post(&path, &body).await?.expect(201)?.json()?["id"]))
}

#[tokio::test]
async fn an_open_watch_ends_soon_after_its_reader_lost_a_group() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    Tenant::of(&platform, &workspace).await?;
    let (bob, carol, team) = team(&platform, &alice, &workspace).await?;
    let (of_bob, mut of_carol) =
        (open_watch(&platform, &bob, &workspace).await?, open_watch(&platform, &carol, &workspace).await?);
    take_out(&alice, &workspace, &team, &bob.id).await?.expect(204)?;
    ends(of_bob).await?;
    assert!(of_carol.chunk().now_or_never().is_none(), "she lost nothing");
    // He may begin anew with what he has left.
    open_watch(&platform, &bob, &workspace).await?;
    Ok(())
}

#[tokio::test]
async fn an_open_watch_ends_soon_after_a_role_was_taken_away_from_a_group_of_its_reader() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    Tenant::of(&platform, &workspace).await?;
    let (bob, carol, team) = team(&platform, &alice, &workspace).await?;
    let given = give(&alice, &workspace, json!({ "group": team, "role": "hexabase:workspace-editor" })).await?;
    let (of_bob, mut of_carol) =
        (open_watch(&platform, &bob, &workspace).await?, open_watch(&platform, &carol, &workspace).await?);
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}/role-assignments/{given}")).await?.expect(204)?;
    ends(of_bob).await?;
    assert!(of_carol.chunk().now_or_never().is_none(), "it was not given to her");
    Ok(())
}

#[tokio::test]
async fn an_open_watch_ends_soon_after_a_project_left_the_place_where_its_reader_has_a_role() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    Tenant::of(&platform, &workspace).await?;
    let (bob, _carol, team) = team(&platform, &alice, &workspace).await?;
    let projects = format!("/api/v1/workspaces/{workspace}/projects");
    let office = text(&alice.api.post(&projects, &json!({ "name": "office" })).await?.expect(201)?.json()?["id"]);
    let desk = json!({ "name": "desk", "parent": office });
    let desk = text(&alice.api.post(&projects, &desk).await?.expect(201)?.json()?["id"]);
    give(&alice, &workspace, json!({ "group": team, "role": "edit", "project": office })).await?;
    let mut of_bob = open_watch(&platform, &bob, &workspace).await?;
    let path = format!("{projects}/{desk}");
    alice.api.patch(&path, &json!({ "labels": { "floor": "2" } })).await?.expect(200)?;
    assert!(of_bob.chunk().now_or_never().is_none(), "it did not move");
    alice.api.patch(&path, &json!({ "parent": null })).await?.expect(200)?;
    ends(of_bob).await?;
    // What he begins now is judged by where the project is.
    open_watch(&platform, &bob, &workspace).await?;
    Ok(())
}

#[tokio::test]
async fn an_open_watch_does_not_outlive_a_role_that_was_given_for_a_time() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    Tenant::of(&platform, &workspace).await?;
    let (bob, _, team) = team(&platform, &alice, &workspace).await?;
    let body = json!({ "group": team, "role": "hexabase:workspace-editor", "expires_in": 60 });
    give(&alice, &workspace, body).await?;
    let mut watch = open_watch(&platform, &bob, &workspace).await?;
    // Whatever becomes of a group has every stream of the workspace asked about.
    let ask = async |name: &str| {
        let other = made(&alice, &workspace, name, None).await?;
        alice.api.delete(&format!("/api/v1/workspaces/{workspace}/groups/{other}")).await?.expect(204)
    };
    pass(&platform, 59);
    ask("early").await?;
    assert!(watch.chunk().now_or_never().is_none(), "its time is not over");
    pass(&platform, 1);
    ask("late").await?;
    ends(watch).await
}

#[tokio::test]
async fn an_open_watch_ends_soon_after_its_session_was_revoked() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    Tenant::of(&platform, &workspace).await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &workspace).await?);
    let path = format!("/k8s/{workspace}/api/v1/pods?watch=true");
    let mut watch = api.request(reqwest::Method::GET, &path).send().await?.error_for_status()?;
    soon("the first event", watch.chunk()).await??;
    let token = alice.refresh_token()?;
    revoke(&platform, &token).await?.expect(200)?;
    soon("the end of the watch", async { while let Ok(Some(_)) = watch.chunk().await {} }).await?;
    status(&api.get(&path).await?, 401, "Unauthorized");
    Ok(())
}

#[tokio::test]
async fn a_workspace_that_does_not_exist_is_not_found_or_nobodys() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    let token = alice.workspace_token(&platform, &workspace).await?;
    let api = platform.nobody().with_token(&token);
    for malformed in ["nonsense", "ws-1", "WS-00000000000000000000"] {
        status(&api.get(&version(malformed)).await?, 404, "NotFound");
    }
    // A token is good for one workspace: elsewhere it is nobody's, whether the other one exists or not.
    let other = platform.person("bob").await?.workspace("other").await?;
    let (absent, foreign) = (api.get(&version("ws-00000000000000000000")).await?, api.get(&version(&other)).await?);
    assert_eq!(status(&absent, 401, "Unauthorized"), status(&foreign, 401, "Unauthorized"));
    Ok(())
}

#[tokio::test]
async fn a_workspace_that_is_being_deleted_is_closed_at_once() -> Result<()> {
    let (platform, alice, workspace) = shop().await?;
    Tenant::of(&platform, &workspace).await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &workspace).await?);
    api.get(&version(&workspace)).await?.expect(200)?;
    alice.api.delete(&format!("/api/v1/workspaces/{workspace}")).await?.expect(202)?;
    let message = status(&api.get(&version(&workspace)).await?, 403, "Forbidden");
    assert_eq!(message, "the workspace is being deleted");
    Ok(())
}

#[tokio::test]
async fn an_expired_token_is_refused_and_a_fresh_one_passes() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    Tenant::of(&platform, &workspace).await?;
    let api = platform.nobody().with_token(alice.workspace_token(&platform, &workspace).await?);
    api.get(&version(&workspace)).await?.expect(200)?;
    pass(&platform, 600);
    status(&api.get(&version(&workspace)).await?, 401, "Unauthorized");
    let again = platform.person("alice").await?.workspace_token(&platform, &workspace).await?;
    platform.nobody().with_token(again).get(&version(&workspace)).await?.expect(200)?;
    Ok(())
}
