//! Signing keys: replaced in time without anybody noticing, and taken back at once.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use hexabase_app::clock::Clock;
use hexabase_app::gateway::{self, Basis, Identified};
use hexabase_app::issuer::{self, API_AUDIENCE, Realm, WorkspaceBearer};
use hexabase_app::jobs::REFRESH_TENANT_KEYS;
use hexabase_app::keys::{Keys, RevocationRequest};
use hexabase_app::users::{self, ExternalIdentity};
use hexabase_app::{App, Credential, OpContext, Origin, Settings, organizations, sessions, workspaces};
use hexabase_backends::bell::Bell;
use hexabase_backends::mail::Mailer;
use hexabase_backends::seal::Sealer;
use hexabase_backends::store::{Store, jobs, signing_keys};
use hexabase_core::ids::{RequestId, SessionId, UserId, WorkspaceId};
use hexabase_oidc::Issuer;
use hexabase_oidc::claims::{AccessClaims, AccessGrant, WorkspaceClaims, WorkspaceSignIn};
use hexabase_oidc::jwt::{self, Expectation, ExpectedTyp, Typ, key_id};
use hexabase_oidc::keys::{Algorithm, JwkSet, RotationPolicy};
use hexabase_oidc::random::random_id;
use hexabase_testkit::store::{Engine, TestStore};
use serde_json::Value;

use super::{code_for, me, redeem};
use crate::gateway::Tenant;
use crate::support::{Platform, exchange, pass, problem, refresh, soon, text};

fn kid(token: &str) -> Result<String> {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().context("no header")?)?;
    Ok(text(&serde_json::from_slice::<Value>(&header)?["kid"]))
}

async fn published(platform: &Platform) -> Result<Vec<String>> {
    let keys = platform.nobody().get("/oidc/platform/jwks").await?.expect(200)?.json()?;
    Ok(keys["keys"].as_array().context("no keys")?.iter().map(|key| text(&key["kid"])).collect())
}

/// Keys that an operator wants to be taken back.
fn request(kids: &[&String]) -> RevocationRequest {
    let kids = kids.iter().map(|kid| (*kid).clone()).collect();
    RevocationRequest { kids, reason: "a laptop was lost".to_owned(), operator: "ada".to_owned() }
}

/// Waits until the server publishes what `fits`.
async fn until_published(platform: &Platform, fits: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
    let wait = async {
        loop {
            let keys = published(platform).await?;
            if fits(&keys) {
                return anyhow::Ok(keys);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon("the new key set", wait).await?
}

#[tokio::test]
async fn a_rotation_by_hand_is_taken_over_by_a_running_server_and_refuses_nobody() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let first = kid(alice.api.token())?;
    let (keys, store) = (platform.keys().await?, platform.store().await?);
    let listed = keys.rotate(&store, &platform.clock, "ada").await?;
    assert_eq!(listed.iter().filter(|key| key.state == "announced").count(), 2);
    let announced = until_published(&platform, |keys| keys.len() == 4).await?;
    // Known to everybody before it signs.
    let before = refresh(&platform, &alice.refresh_token()?).await?.expect(200)?.json()?;
    let before = text(&before["access_token"]);
    assert_eq!(kid(&before)?, first);
    let again = keys.rotate(&store, &platform.clock, "ada").await;
    assert!(again.is_err_and(|error| error.to_string().contains("already waiting")));
    pass(&platform, RotationPolicy::DEFAULT.lead());
    let code = code_for(&platform, &platform.person("alice").await?, "platform", &[]).await?;
    let after = text(&redeem(&platform, "platform", &code, &[]).await?.expect(200)?.json()?["access_token"]);
    assert!(kid(&after)? != first && announced.contains(&kid(&after)?), "a new key signs");
    for token in [&before, &after] {
        me(&platform, token).await?.expect(200)?;
    }
    // Once no token of the old key can be alive, it is gone, and its private half before that.
    pass(&platform, RotationPolicy::DEFAULT.lead() + RotationPolicy::DEFAULT.tail());
    until_published(&platform, |keys| keys.len() == 2 && !keys.contains(&first)).await?;
    let rows = signing_keys::list(&store).await?;
    soon("the end of the private half", async {
        while signing_keys::list(&store).await?.iter().any(|row| row.kid == first && !row.private_sealed.is_empty()) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    })
    .await??;
    assert_eq!(rows.len(), 4);
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_refused_by_every_server_within_seconds_and_another_one_signs() -> Result<()> {
    let platform = Platform::start().await?;
    let replica = platform.replica().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    let stolen = kid(alice.api.token())?;
    let of_workspace = alice.workspace_token(&platform, &workspace).await?;
    let (keys, store) = (platform.keys().await?, platform.store().await?);
    let now = platform.clock.now();
    let done = keys.revoke(&store, &platform.clock, &request(&[&stolen])).await?;
    assert_eq!((done.revoked.len(), done.successors.len()), (1, 1));
    let margin = done.tenants_forget_by.millis_since(now) - RotationPolicy::DEFAULT.jwks_max_age * 1_000;
    assert!((0..15_000).contains(&margin), "tenants forget it {margin} ms after what they hold is too old");
    for server in [&platform, &replica] {
        let keys = until_published(server, |keys| !keys.contains(&stolen)).await?;
        assert_eq!(keys.len(), 3, "two that sign, and the witness");
        assert!(keys.contains(&done.successors[0]));
        problem(&me(server, alice.api.token()).await?, 401, "unauthenticated");
        let gateway = server.nobody().with_token(&of_workspace);
        gateway.get(&format!("/k8s/{workspace}/version")).await?.expect(401)?;
    }
    // Nobody has to sign in again: sessions are not keys.
    let tokens = refresh(&platform, &alice.refresh_token()?).await?.expect(200)?.json()?;
    let access = text(&tokens["access_token"]);
    assert_eq!(kid(&access)?, done.successors[0]);
    me(&replica, &access).await?.expect(200)?;
    exchange(&replica, &workspace, &access).await?.expect(200)?;
    // The workspace's API server is to show that it has forgotten the key; here is no worker to ask it.
    let left = keys.in_workspaces(&store).await?.context("nothing is under way")?.left;
    assert_eq!((left, jobs::count_unfinished(&store, REFRESH_TENANT_KEYS).await?), (Some(1), 1));
    let due = jobs::next_due(&store, &[REFRESH_TENANT_KEYS]).await?.context("nothing is to be done")?;
    assert!((2_000..10_000).contains(&due.millis_since(now)), "asked as soon as every server knows of it");
    let row = signing_keys::list(&store).await?.into_iter().find(|row| row.kid == stolen).context("no row")?;
    assert!(row.private_sealed.is_empty());
    Ok(())
}

async fn open_watch(platform: &Platform, token: &str, workspace: &str) -> Result<reqwest::Response> {
    let api = platform.nobody().with_token(token);
    let path = format!("/k8s/{workspace}/api/v1/pods?watch=true");
    let mut watch = api.request(reqwest::Method::GET, &path).send().await?.error_for_status()?;
    soon("the first event", watch.chunk()).await??;
    Ok(watch)
}

async fn ends(mut watch: reqwest::Response) -> Result<()> {
    soon("the end of the watch", async { while let Ok(Some(_)) = watch.chunk().await {} }).await
}

#[tokio::test]
async fn an_open_watch_ends_with_the_key_of_its_token_when_that_is_revoked_and_not_when_it_is_replaced() -> Result<()> {
    let platform = Platform::start_with_standing_clock().await?;
    let alice = platform.person("alice").await?;
    let workspace = alice.workspace("shop").await?;
    Tenant::of(&platform, &workspace).await?;
    let (keys, store, policy) = (platform.keys().await?, platform.store().await?, RotationPolicy::DEFAULT);
    let of_first = alice.workspace_token(&platform, &workspace).await?;
    let mut first = open_watch(&platform, &of_first, &workspace).await?;
    keys.rotate(&store, &platform.clock, "ada").await?;
    until_published(&platform, |keys| keys.len() == 4).await?;
    pass(&platform, policy.lead());
    let of_second = alice.workspace_token(&platform, &workspace).await?;
    assert_ne!(kid(&of_first)?, kid(&of_second)?);
    let second = open_watch(&platform, &of_second, &workspace).await?;
    // The first key is withdrawn, and the token's time is over.
    pass(&platform, policy.lead() + policy.tail());
    until_published(&platform, |keys| keys.len() == 2).await?;
    keys.revoke(&store, &platform.clock, &request(&[&kid(&of_second)?])).await?;
    ends(second).await?;
    assert!(first.chunk().now_or_never().is_none(), "what was replaced did no harm");
    // Found out afterwards: it had been stolen while it signed.
    keys.revoke(&store, &platform.clock, &request(&[&kid(&of_first)?])).await?;
    ends(first).await
}

#[tokio::test]
async fn what_is_left_signs_on_when_a_key_is_revoked_in_the_middle_of_a_rotation() -> Result<()> {
    let store = TestStore::new(Engine::Sqlite).await?;
    let clock = Clock::standing_at(Clock::System.now());
    let keys = Keys::load(&store, &Sealer::new(&[7; 32], "master")?, RotationPolicy::DEFAULT, clock.now()).await?;
    let signer = |keys: &Keys| {
        let now = clock.now().as_seconds();
        keys.with(|ring| ring.signer(Algorithm::Es256, now).map(|key| key.kid().to_owned())).context("nothing signs")
    };
    let first = signer(&keys)?;
    let listed = keys.rotate(&store, &clock, "ada").await?;
    let waiting =
        listed.iter().find(|key| key.state == "announced" && key.algorithm == "ES256").context("none waits")?;
    // The one that waits goes: the one that signs goes on, and gets a successor in its time.
    let done = keys.revoke(&store, &clock, &request(&[&waiting.kid])).await?;
    assert_eq!((&done.successors[0], signer(&keys)?), (&first, first.clone()));
    let listed = keys.list(&store, clock.now()).await?;
    assert!(listed.iter().any(|key| key.kid == first && key.sign_until.is_none()), "{listed:?}");
    clock.advance_seconds(60 * 24 * 3600);
    assert_eq!(keys.tend(&store, &clock).await?.len(), 2);
    // The one that signs goes: the one that waits takes over at once.
    let waiting = keys
        .list(&store, clock.now())
        .await?
        .into_iter()
        .rfind(|key| key.state == "announced" && key.algorithm == "ES256");
    let done = keys.revoke(&store, &clock, &request(&[&first])).await?;
    assert_eq!(Some(&done.successors[0]), waiting.as_ref().map(|key| &key.kid));
    assert_eq!(signer(&keys)?, done.successors[0]);
    // Both go at once: a new one.
    let both: Vec<String> = keys
        .list(&store, clock.now())
        .await?
        .into_iter()
        .filter(|key| ["signing", "announced", "retired"].contains(&key.state))
        .map(|key| key.kid)
        .collect();
    let done = keys.revoke(&store, &clock, &request(&both.iter().collect::<Vec<_>>())).await?;
    assert_eq!(done.successors.len(), 2);
    assert!(!both.contains(&signer(&keys)?));
    Ok(())
}

#[tokio::test]
async fn processes_that_rotate_at_once_make_one_successor() -> Result<()> {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let store = TestStore::new(engine).await?;
        let clock = Clock::standing_at(Clock::System.now());
        let sealer = Sealer::new(&[7; 32], "master")?;
        let first = Keys::load(&store, &sealer, RotationPolicy::DEFAULT, clock.now()).await?;
        clock.advance_seconds(30 * 24 * 3600);
        let mut processes = Vec::new();
        for _ in 0..4 {
            let own = store.reconnect().await?;
            let keys = Keys::load(&own, &sealer, RotationPolicy::DEFAULT, clock.now()).await?;
            let clock = clock.clone();
            processes.push(tokio::spawn(async move { keys.tend(&own, &clock).await }));
        }
        let mut made = 0;
        for process in processes {
            made += process.await??.len();
        }
        assert_eq!(made, 2, "one for each algorithm");
        assert_eq!(first.list(&store, clock.now()).await?.len(), 4);
    }
    Ok(())
}

/// One process on a database of several.
async fn process(store: &Store, clock: &Clock, policy: RotationPolicy) -> Result<App> {
    let settings = Settings {
        public_url: "https://hexabase.example".parse()?,
        cluster_url: None,
        authority_pem: None,
        oidc_clients: Arc::new([]),
    };
    let sealer = Sealer::new(&[7; 32], "master")?;
    let keys = Keys::load(store, &sealer, policy, clock.now()).await?;
    let (store, clock) = (store.clone(), clock.clone());
    Ok(App { store, bell: Bell::new(), clock, settings, keys, sealer, mailer: Mailer::None })
}

/// What a tenant's API server was measured to do: it keeps a key set, and asks again when a token names a key that is not in
/// it, but not before the set is nearly as old as it may be.
struct ApiServer {
    keys: JwkSet,
    fetched_at: i64,
    max_age: i64,
}

impl ApiServer {
    fn fetch(from: &App) -> Result<Self> {
        let (body, max_age) = issuer::jwks(from)?;
        Ok(Self { keys: JwkSet::from_json(body.as_bytes())?, fetched_at: from.clock.now().as_seconds(), max_age })
    }

    fn accepts(&mut self, token: &str, workspace: &WorkspaceId, from: &App) -> Result<()> {
        let now = from.clock.now().as_seconds();
        if self.keys.with_kid(&key_id(token)?.context("no key id")?).next().is_none()
            && now - self.fetched_at >= self.max_age - 30
        {
            *self = Self::fetch(from)?;
        }
        let expected = Expectation {
            issuer: &format!("https://hexabase.example/oidc/{workspace}"),
            audience: workspace.as_str(),
            typ: ExpectedTyp::Exactly(Typ::Jwt),
            algorithms: &Algorithm::ALL,
            now,
            leeway: 0,
        };
        jwt::verify::<WorkspaceClaims>(token, &self.keys, &expected)?;
        Ok(())
    }
}

/// Somebody with a workspace, signed in.
#[derive(Clone)]
struct Whose {
    user: UserId,
    session: SessionId,
    workspace: WorkspaceId,
}

impl Whose {
    async fn of(app: &App) -> Result<Self> {
        let origin = Origin { request_id: app.new_id::<RequestId>()?, source: None };
        let identity = ExternalIdentity {
            issuer: "https://id.example".to_owned(),
            subject: "alice".to_owned(),
            display_name: None,
            email: None,
            email_verified: false,
        };
        let user = users::sign_in(app, &identity, &origin).await?;
        let cookie = sessions::start_browser(app, &user, "a browser", None, &origin).await?;
        let session = sessions::from_cookie(app, &cookie, None).await?.session;
        let ctx = OpContext::of(user.clone(), Credential::Session(session.clone()), app.clock.now(), &origin);
        let organization = organizations::list(app, &ctx).await?.into_iter().next().context("no organization")?.0.id;
        let workspace = workspaces::create(app, &ctx, &organization, "shop", "standard").await?.workspace.id;
        Ok(Self { user, session, workspace })
    }

    async fn workspace_token(&self, app: &App) -> Result<String> {
        let Self { user, session, workspace } = self;
        let (basis, client, sign_in) = (Basis::Session(session.clone()), Some("hxb"), WorkspaceSignIn::default());
        let bearer = WorkspaceBearer { workspace, user, basis: Some(&basis), client, sign_in };
        Ok(issuer::workspace_token(app, bearer).await?.0)
    }

    /// An access token of the platform, as `hxb` is given one.
    fn access_token(&self, app: &App, algorithm: Algorithm) -> Result<String> {
        let (issuer, now) = (Issuer::parse(&Realm::Platform.issuer(&app.settings))?, app.clock.now().as_seconds());
        let claims = AccessClaims::new(AccessGrant {
            issuer: &issuer,
            subject: self.user.as_str(),
            audience: API_AUDIENCE,
            client_id: "hxb",
            session: self.session.as_str(),
            scope: None,
            userinfo: None,
            now,
            life: 600,
            jti: random_id()?,
        })?;
        Ok(app.keys.with(|ring| ring.sign(algorithm, &claims, Typ::AccessToken, now))?)
    }
}

/// Tokens of `one` that are good at `other` at this moment, of each kind and algorithm. Those for the workspace.
async fn mint_and_use(one: App, other: App, whose: Whose) -> Result<[String; 2]> {
    let in_es256 = whose.workspace_token(&one).await?;
    let Identified { claims, .. } = gateway::identify(&other, &whose.workspace, &in_es256).await?;
    let now = one.clock.now().as_seconds();
    let in_rs256 = one.keys.with(|ring| ring.sign(Algorithm::Rs256, &claims, Typ::Jwt, now))?;
    gateway::identify(&other, &whose.workspace, &in_rs256).await?;
    for algorithm in Algorithm::ALL {
        sessions::from_access_token(&other, &whose.access_token(&one, algorithm)?, None).await?;
    }
    Ok([in_es256, in_rs256])
}

/// Two processes on one database, whose keys are replaced every twenty minutes by whichever comes first, while several mint at
/// both: until the keys of both algorithms were replaced that often.
async fn rotate_under_load(engine: Engine, rotations: usize) -> Result<()> {
    let policy = RotationPolicy { jwks_max_age: 300, longest_token_life: 600, sign_for: 1_500 };
    let store = TestStore::new(engine).await?;
    let clock = Clock::standing_at(Clock::System.now());
    let processes = [process(&store, &clock, policy).await?, process(&store.reconnect().await?, &clock, policy).await?];
    let whose = Whose::of(&processes[0]).await?;
    // Verifiers that fetched at different times, from either process.
    let mut verifiers: Vec<ApiServer> = Vec::new();
    let mut alive: VecDeque<(i64, String)> = VecDeque::new();
    let mut signers = [BTreeSet::new(), BTreeSet::new()];
    let (mut turn, mut checked) = (0, 0);
    while signers.iter().any(|kids| kids.len() <= rotations) {
        clock.advance_seconds(191);
        turn += 1;
        if verifiers.len() < 4 {
            verifiers.push(ApiServer::fetch(&processes[turn % 2])?);
        }
        let tending = processes
            .clone()
            .map(|process| tokio::spawn(async move { process.keys.tend(&process.store, &process.clock).await }));
        let minting: Vec<_> = (0..6)
            .map(|number| {
                let (one, other) = (processes[number % 2].clone(), processes[(number + 1) % 2].clone());
                tokio::spawn(mint_and_use(one, other, whose.clone()))
            })
            .collect();
        let now = clock.now().as_seconds();
        let mut shown = Vec::new();
        for tokens in minting {
            let tokens = tokens.await?.with_context(|| format!("at turn {turn}"))?;
            for (kids, token) in signers.iter_mut().zip(&tokens) {
                kids.insert(kid(token)?);
            }
            shown.extend(tokens);
        }
        for process in tending {
            process.await??;
        }
        while alive.front().is_some_and(|(minted, _)| now - minted >= 600) {
            alive.pop_front();
        }
        let fresh: Vec<_> = shown.iter().map(|token| (now, token.clone())).collect();
        shown.extend(alive.iter().take(2).map(|(_, token)| token.clone()));
        alive.extend(fresh);
        for (number, verifier) in verifiers.iter_mut().enumerate() {
            for token in &shown {
                let accepted = verifier.accepts(token, &whose.workspace, &processes[number % 2]);
                ensure!(accepted.is_ok(), "refused at turn {turn}: {accepted:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 100 * rotations, "{checked}");
    let kept = signing_keys::list(&*store).await?;
    let private = kept.iter().filter(|row| !row.private_sealed.is_empty()).count();
    assert!(private <= 6, "the private halves of old keys are gone, but for {private}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_good_token_is_refused_over_a_hundred_rotations_under_load() -> Result<()> {
    rotate_under_load(Engine::Sqlite, 100).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_good_token_is_refused_over_rotations_under_load_on_postgres() -> Result<()> {
    rotate_under_load(Engine::Postgres, 30).await
}
