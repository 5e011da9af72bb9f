//! Signing keys: replaced in time without anybody noticing, and taken back at once.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hexabase_app::clock::Clock;
use hexabase_app::gateway::Basis;
use hexabase_app::issuer::{self, WorkspaceBearer};
use hexabase_app::keys::Keys;
use hexabase_app::users::{self, ExternalIdentity};
use hexabase_app::{App, Credential, OpContext, Origin, Settings, organizations, workspaces};
use hexabase_backends::bell::Bell;
use hexabase_backends::mail::Mailer;
use hexabase_backends::seal::Sealer;
use hexabase_backends::store::{Store, jobs, signing_keys};
use hexabase_core::ids::{RequestId, SessionId, UserId, WorkspaceId};
use hexabase_oidc::claims::{WorkspaceClaims, WorkspaceSignIn};
use hexabase_oidc::jwt::{self, Expectation, ExpectedTyp, Typ, key_id};
use hexabase_oidc::keys::{Algorithm, JwkSet, RotationPolicy};
use hexabase_testkit::store::{Engine, TestStore};
use serde_json::Value;

use super::{code_for, me, redeem};
use crate::support::{Platform, exchange, pass, problem, refresh, soon, text};

fn kid(token: &str) -> Result<String> {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().context("no header")?)?;
    Ok(text(&serde_json::from_slice::<Value>(&header)?["kid"]))
}

async fn published(platform: &Platform) -> Result<Vec<String>> {
    let keys = platform.nobody().get("/oidc/platform/jwks").await?.expect(200)?.json()?;
    Ok(keys["keys"].as_array().context("no keys")?.iter().map(|key| text(&key["kid"])).collect())
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
    let listed = keys.rotate(&store, platform.clock.now()).await?;
    assert_eq!(listed.iter().filter(|key| key.state == "announced").count(), 2);
    let announced = until_published(&platform, |keys| keys.len() == 4).await?;
    // Known to everybody before it signs.
    let before = refresh(&platform, &alice.refresh_token()?).await?.expect(200)?.json()?;
    let before = text(&before["access_token"]);
    assert_eq!(kid(&before)?, first);
    let again = keys.rotate(&store, platform.clock.now()).await;
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
    let done = keys.revoke(&store, std::slice::from_ref(&stolen), now).await?;
    assert_eq!((done.workspaces, done.successors.len()), (1, 1));
    let margin = done.tenants_told_at.millis_since(now) - RotationPolicy::DEFAULT.jwks_max_age * 1_000;
    assert!((0..5_000).contains(&margin), "tenants are told {margin} ms after what they hold is too old");
    for server in [&platform, &replica] {
        let keys = until_published(server, |keys| !keys.contains(&stolen)).await?;
        assert_eq!(keys.len(), 2);
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
    // A job waits for the moment at which the workspace's API server can be made to forget the key.
    let backlog = jobs::backlog(&store, done.tenants_told_at.plus_seconds(-1)).await?;
    assert_eq!((backlog.due, backlog.scheduled), (1, 1), "the workspace itself, and its keys");
    let row = signing_keys::list(&store).await?.into_iter().find(|row| row.kid == stolen).context("no row")?;
    assert!(row.private_sealed.is_empty());
    for (kid, word) in [(stolen.as_str(), "any more"), ("unknown", "no such key")] {
        let refused = keys.revoke(&store, &[kid.to_owned()], platform.clock.now()).await;
        assert!(refused.is_err_and(|error| error.to_string().contains(word)), "{kid}");
    }
    Ok(())
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
    let listed = keys.rotate(&store, clock.now()).await?;
    let waiting =
        listed.iter().find(|key| key.state == "announced" && key.algorithm == "ES256").context("none waits")?;
    // The one that waits goes: the one that signs goes on, and gets a successor in its time.
    let done = keys.revoke(&store, std::slice::from_ref(&waiting.kid), clock.now()).await?;
    assert_eq!((&done.successors[0], signer(&keys)?), (&first, first.clone()));
    let listed = keys.list(&store, clock.now()).await?;
    assert!(listed.iter().any(|key| key.kid == first && key.sign_until.is_none()), "{listed:?}");
    clock.advance_seconds(60 * 24 * 3600);
    assert_eq!(keys.tend(&store, clock.now()).await?.len(), 2);
    // The one that signs goes: the one that waits takes over at once.
    let waiting = keys
        .list(&store, clock.now())
        .await?
        .into_iter()
        .rfind(|key| key.state == "announced" && key.algorithm == "ES256");
    let done = keys.revoke(&store, std::slice::from_ref(&first), clock.now()).await?;
    assert_eq!(Some(&done.successors[0]), waiting.as_ref().map(|key| &key.kid));
    assert_eq!(signer(&keys)?, done.successors[0]);
    // Both go at once: a new one.
    let both: Vec<String> = keys
        .list(&store, clock.now())
        .await?
        .into_iter()
        .filter(|key| key.state != "over")
        .map(|key| key.kid)
        .collect();
    let done = keys.revoke(&store, &both, clock.now()).await?;
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
            let now = clock.now();
            processes.push(tokio::spawn(async move { keys.tend(&own, now).await }));
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

async fn mint(app: &App, workspace: &WorkspaceId, user: &UserId, session: &SessionId) -> Result<String> {
    let (basis, client) = (Basis::Session(session.clone()), Some("hxb"));
    let bearer = WorkspaceBearer { workspace, user, basis: Some(&basis), client, sign_in: WorkspaceSignIn::default() };
    Ok(issuer::workspace_token(app, bearer).await?.0)
}

#[tokio::test]
async fn no_good_token_is_refused_over_a_hundred_rotations_under_load() -> Result<()> {
    // Two processes on one database, whose keys are replaced every half an hour by whichever comes first.
    let policy = RotationPolicy { jwks_max_age: 300, longest_token_life: 600, sign_for: 1_800 };
    let store = TestStore::new(Engine::Sqlite).await?;
    let clock = Clock::standing_at(Clock::System.now());
    let processes = [process(&store, &clock, policy).await?, process(&store, &clock, policy).await?];
    let one = &processes[0];
    let origin = Origin { request_id: one.new_id::<RequestId>()?, source: None };
    let identity = ExternalIdentity {
        issuer: "https://id.example".to_owned(),
        subject: "alice".to_owned(),
        display_name: None,
        email: None,
        email_verified: false,
    };
    let user = users::sign_in(one, &identity, &origin).await?;
    let session: SessionId = one.new_id()?;
    let ctx = OpContext::of(user.clone(), Credential::Session(session.clone()), clock.now(), &origin);
    let organization = organizations::list(one, &ctx).await?.into_iter().next().context("no organization")?.0.id;
    let workspace = workspaces::create(one, &ctx, &organization, "shop", "standard").await?.workspace.id;
    // Verifiers that fetched at different times, from either process.
    let mut verifiers = Vec::new();
    let mut alive: VecDeque<(i64, String)> = VecDeque::new();
    let (mut rotations, mut checked) = (0, 0);
    let mut turn = 0;
    while rotations < 100 {
        clock.advance_seconds(97);
        turn += 1;
        let (first, second) = (&processes[turn % 2], &processes[(turn + 1) % 2]);
        if verifiers.len() < 4 {
            verifiers.push(ApiServer::fetch(first)?);
        }
        // One process looks after its keys while both mint; the other one knows of it only afterwards.
        let (made, early, late) = tokio::join!(
            first.keys.tend(&store, clock.now()),
            mint(first, &workspace, &user, &session),
            mint(second, &workspace, &user, &session),
        );
        rotations += made?.iter().count() / 2;
        let now = clock.now().as_seconds();
        let mut shown = vec![early?, late?];
        while alive.front().is_some_and(|(minted, _)| now - minted >= 600) {
            alive.pop_front();
        }
        shown.extend(alive.front().map(|(_, token)| token.clone()));
        alive.push_back((now, shown[0].clone()));
        for (number, verifier) in verifiers.iter_mut().enumerate() {
            for token in &shown {
                let from = &processes[number % 2];
                let accepted = verifier.accepts(token, &workspace, from);
                ensure!(accepted.is_ok(), "refused after {rotations} rotations, at turn {turn}: {accepted:?}");
                checked += 1;
            }
        }
        second.keys.tend(&store, clock.now()).await?;
    }
    assert!(checked > 10_000, "{checked}");
    let kept = signing_keys::list(&*store).await?;
    assert!(
        kept.iter().filter(|row| !row.private_sealed.is_empty()).count() <= 6,
        "the private halves of old keys are gone"
    );
    Ok(())
}
