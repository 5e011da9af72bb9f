use anyhow::Context as _;
use hexabase_backends::store::jobs::{self, Finish};
use hexabase_oidc::jwt::{Expectation, ExpectedTyp, TokenError};
use hexabase_oidc::keys::{Algorithm, JwkSet};
use hexabase_testkit::on_both_engines;
use hexabase_testkit::store::TestStore;
use hexabase_testkit::tenant::FakeTenant;
use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::jobs::stage::Stage;
use crate::keys::{InWorkspaces, RevocationRequest};
use crate::{gateway, issuer, organizations};

/// Where an API server is asked by a bearer who the bearer is.
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// A platform with a workspace of Alice's, of which a key is stolen.
struct Theft {
    stage: Stage,
    clock: Clock,
}

impl Theft {
    /// By a clock that stands at a whole second, as the instants of keys do.
    async fn set(store: &TestStore) -> anyhow::Result<Self> {
        let mut stage = Stage::set(store).await?;
        let clock = Clock::standing_at(Timestamp::from_seconds(stage.app.clock.now().as_seconds() + 1));
        stage.app.clock = clock.clone();
        Ok(Self { stage, clock })
    }

    /// Has the workspace's API server be at this address.
    async fn place(&self, id: &WorkspaceId, address: &str, ca_pem: &str) -> anyhow::Result<()> {
        let tx = self.stage.app.store.begin().await?;
        workspaces::set_ready(&tx, id, address, ca_pem, self.clock.now()).await?;
        Ok(tx.commit().await?)
    }

    /// An API server of the workspace, which believes nothing yet.
    async fn tenant(&self, id: &WorkspaceId) -> anyhow::Result<FakeTenant> {
        let tenant = FakeTenant::start().await?;
        self.place(id, &tenant.address(), &tenant.ca_pem).await?;
        tenant.refuse("POST", REVIEWS, 403, "User \"system:anonymous\" cannot create resource");
        Ok(tenant)
    }

    /// Another workspace of Alice's.
    async fn second_workspace(&self) -> anyhow::Result<WorkspaceId> {
        let (app, alice) = (&self.stage.app, &self.stage.alice);
        let organization = organizations::list(app, alice).await?.remove(0).0.id;
        Ok(crate::workspaces::create(app, alice, &organization, "office", "standard").await?.workspace.id)
    }

    /// Takes the key that signs back.
    async fn revoke(&self) -> anyhow::Result<()> {
        let (app, now) = (&self.stage.app, self.clock.now().as_seconds());
        let kid = app.keys.with(|ring| ring.signer(Algorithm::Es256, now).map(|key| key.kid().to_owned()));
        let kids = vec![kid.context("nothing signs")?];
        let request = RevocationRequest { kids, reason: "a test".to_owned(), operator: "ada".to_owned() };
        app.keys.revoke(&app.store, &self.clock, &request).await?;
        Ok(())
    }

    /// Does every job that is due, as a worker does; says how many there were.
    async fn work(&self) -> anyhow::Result<usize> {
        let (store, mut done) = (&self.stage.app.store, 0);
        while let Some(claim) = jobs::claim(store, &[KIND], self.clock.now(), "worker", 60).await? {
            let after = |millis: i64| self.clock.now().plus_millis(millis);
            let finish = match run(&self.stage.app, &claim).await {
                Ok(Outcome::Done) => Finish::Done,
                Ok(Outcome::Again(pause)) => Finish::RunAgainAt(after(i64::try_from(pause.as_millis())?)),
                Err(error) => {
                    let source = std::error::Error::source(&error).map(|cause| cause.to_string());
                    Finish::RetryAt { at: after(1_000), error: source.unwrap_or_default() }
                }
            };
            let tx = store.begin().await?;
            jobs::finish(&tx, &claim, finish).await?;
            tx.commit().await?;
            done += 1;
        }
        Ok(done)
    }

    /// Moves the clock to the next job and does it; says how many seconds that took.
    async fn work_next(&self) -> anyhow::Result<i64> {
        let next = jobs::next_due(&self.stage.app.store, &[KIND]).await?.context("nothing is to be done")?;
        let seconds = (next.millis_since(self.clock.now()) + 999) / 1_000;
        self.clock.advance_seconds(seconds);
        assert!(self.work().await? > 0);
        Ok(seconds)
    }

    async fn under_way(&self) -> anyhow::Result<Option<InWorkspaces>> {
        Ok(self.stage.app.keys.in_workspaces(&self.stage.app.store).await?)
    }

    /// How many workspaces have not shown that they know the witness.
    async fn left(&self) -> anyhow::Result<u64> {
        self.under_way().await?.context("nothing is under way")?.left.context("nobody has been asked")
    }
}

/// From now on the API server knows the bearer as this user.
fn know_as(tenant: &FakeTenant, name: &str) {
    let body: Value = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {},
        "status": { "userInfo": { "username": name } } });
    tenant.answer("POST", REVIEWS, 201, body);
}

fn believe(tenant: &FakeTenant) {
    know_as(tenant, &format!("hexabase:{NOBODY}"));
}

on_both_engines! {
    async fn no_api_server_is_asked_before_every_process_knows_of_the_revocation(store: TestStore) {
        let theft = Theft::set(&store).await?;
        let tenant = theft.tenant(&theft.stage.id).await?;
        assert_eq!(theft.work().await?, 0, "nothing was revoked");
        theft.revoke().await?;
        theft.clock.advance_seconds(2);
        assert_eq!((theft.work().await?, theft.left().await?, tenant.asked("POST").len()), (0, 1, 0));
        theft.clock.advance_seconds(1);
        assert_eq!((theft.work().await?, theft.left().await?, tenant.asked("POST").len()), (1, 1, 1));
    }

    async fn it_is_over_only_when_the_api_server_has_shown_that_it_fetched_the_keys(store: TestStore) {
        let theft = Theft::set(&store).await?;
        let keys = &theft.stage.app.keys;
        let tenant = theft.tenant(&theft.stage.id).await?;
        theft.revoke().await?;
        theft.work_next().await?;
        // Every refusal is what a set from before the revocation looks like.
        tenant.refuse("POST", REVIEWS, 401, "Unauthorized");
        theft.work_next().await?;
        // Whoever may do something as nobody is not known.
        know_as(&tenant, "system:anonymous");
        theft.work_next().await?;
        theft.clock.advance_seconds(3_600);
        assert_eq!(theft.work().await?, 1, "also long after every set is too old");
        keys.tend(&theft.stage.app.store, &theft.clock).await?;
        assert_eq!(theft.left().await?, 1);

        believe(&tenant);
        theft.work_next().await?;
        assert_eq!(theft.left().await?, 0);
        keys.tend(&theft.stage.app.store, &theft.clock).await?;
        assert_eq!(theft.under_way().await?, None);
        let asked = tenant.asked("POST");
        assert!(asked.len() == 5 && asked.iter().all(|asked| asked.path == REVIEWS), "{asked:?}");
    }

    async fn an_api_server_is_asked_less_and_less_often_but_once_when_its_set_must_be_too_old(store: TestStore) {
        let theft = Theft::set(&store).await?;
        // It has no address yet, or refuses: the same.
        let begun = theft.clock.now();
        theft.revoke().await?;
        let (mut pauses, mut at) = (Vec::new(), Vec::new());
        for _ in 0..30 {
            pauses.push(theft.work_next().await?);
            at.push(theft.clock.now().millis_since(begun) / 1_000);
        }
        assert_eq!(pauses[..3], [3, 5, 5]);
        assert!(pauses.iter().all(|pause| *pause <= 60) && pauses.ends_with(&[60, 60]), "{pauses:?}");
        let due = theft.stage.app.keys.policy().jwks_max_age + 3;
        assert!(at.contains(&due), "not asked after {due} s: {at:?}");
        assert!(at.iter().filter(|at| **at < due).count() < 20, "{at:?}");
        assert_eq!(theft.left().await?, 1);
    }

    async fn an_api_server_out_of_reach_is_asked_until_it_answers_and_the_operator_is_told_why_not(store: TestStore) {
        let theft = Theft::set(&store).await?;
        let tenant = theft.tenant(&theft.stage.id).await?;
        believe(&tenant);
        // Nobody listens on a port that was just given back.
        let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        theft.place(&theft.stage.id, &closed, &tenant.ca_pem).await?;
        theft.revoke().await?;
        theft.work_next().await?;
        let InWorkspaces { left, some, .. } = theft.under_way().await?.context("nothing is under way")?;
        assert_eq!((left, some[0].subject.as_str()), (Some(1), theft.stage.id.as_str()));
        let why = some[0].error.as_deref().unwrap_or_default();
        assert!(why.contains("did not answer"), "{why}");
        theft.place(&theft.stage.id, &tenant.address(), &tenant.ca_pem).await?;
        theft.work_next().await?;
        assert_eq!(theft.left().await?, 0);
    }

    async fn a_workspace_that_is_being_deleted_is_asked_and_one_that_is_gone_is_not(store: TestStore) {
        let theft = Theft::set(&store).await?;
        let tenant = theft.tenant(&theft.stage.id).await?;
        crate::workspaces::delete(&theft.stage.app, &theft.stage.alice, &theft.stage.id).await?;
        theft.revoke().await?;
        theft.work_next().await?;
        assert_eq!((theft.left().await?, tenant.asked("POST").len()), (1, 1), "its API server may still run");
        let tx = theft.stage.app.store.begin().await?;
        workspaces::set_deleted(&tx, &theft.stage.id, &json!({}), theft.clock.now()).await?;
        tx.commit().await?;
        theft.work_next().await?;
        assert_eq!((theft.left().await?, tenant.asked("POST").len()), (0, 1));
    }

    async fn an_api_server_that_does_not_run_has_nothing_to_forget(store: TestStore) {
        let theft = Theft::set(&store).await?;
        let tenant = theft.tenant(&theft.stage.id).await?;
        let (id, now) = (&theft.stage.id, theft.clock.now());
        let tx = theft.stage.app.store.begin().await?;
        assert!(workspaces::request_sleep(&tx, id, now).await?);
        tx.commit().await?;
        theft.revoke().await?;
        theft.work_next().await?;
        assert_eq!((theft.left().await?, tenant.asked("POST").len()), (1, 1), "it is still being stopped");
        let tx = theft.stage.app.store.begin().await?;
        workspaces::set_progress(&tx, id, WorkspacePhase::Asleep, None, None, now).await?;
        tx.commit().await?;
        theft.work_next().await?;
        assert_eq!((theft.left().await?, tenant.asked("POST").len()), (0, 1), "it fetches the keys when it starts");
    }

    async fn every_workspace_is_asked_and_one_that_refuses_holds_up_no_other(store: TestStore) {
        let theft = Theft::set(&store).await?;
        let other = theft.second_workspace().await?;
        let (one, two) = (theft.tenant(&theft.stage.id).await?, theft.tenant(&other).await?);
        believe(&two);
        theft.revoke().await?;
        assert_eq!(theft.left().await?, 2);
        theft.work_next().await?;
        let InWorkspaces { left, some, .. } = theft.under_way().await?.context("nothing is under way")?;
        assert_eq!((left, some.len(), some[0].subject.as_str()), (Some(1), 1, theft.stage.id.as_str()));
        theft.stage.app.keys.tend(&theft.stage.app.store, &theft.clock).await?;
        assert!(theft.under_way().await?.is_some(), "one is left");
        believe(&one);
        theft.work_next().await?;
        assert_eq!((theft.left().await?, one.asked("POST").len(), two.asked("POST").len()), (0, 2, 1));
    }

    async fn a_second_revocation_does_not_put_off_the_first_and_ends_with_it(store: TestStore) {
        let theft = Theft::set(&store).await?;
        let tenant = theft.tenant(&theft.stage.id).await?;
        theft.revoke().await?;
        theft.work_next().await?;
        let next = jobs::next_due(&theft.stage.app.store, &[KIND]).await?.context("nothing is to be done")?;
        theft.clock.advance_seconds(1);
        theft.revoke().await?;
        let then = jobs::next_due(&theft.stage.app.store, &[KIND]).await?.context("nothing is to be done")?;
        assert!(then <= next, "the question is asked when it would have been, or sooner");
        believe(&tenant);
        theft.work_next().await?;
        assert_eq!(theft.left().await?, 0, "whoever knows the second witness has forgotten both keys");
        let since = theft.under_way().await?.context("not ended yet")?.since;
        assert_eq!(since.plus_seconds(3), theft.clock.now());
    }

    async fn the_question_is_believed_by_whoever_fetched_the_keys_since_and_by_nobody_else(store: TestStore) {
        let theft = Theft::set(&store).await?;
        let (app, id) = (&theft.stage.app, &theft.stage.id);
        let set = || -> anyhow::Result<JwkSet> { Ok(JwkSet::from_json(issuer::jwks(app)?.0.as_bytes())?) };
        let before = set()?;
        theft.revoke().await?;
        let witness = app.keys.witness(&app.store, theft.clock.now()).await?.context("no witness")?;
        let token = token_of(app, &witness, id)?;
        let issuer = issuer_of(app, id)?;
        let expected = Expectation {
            issuer: issuer.as_str(),
            audience: id.as_str(),
            typ: ExpectedTyp::Exactly(Typ::Jwt),
            algorithms: &Algorithm::ALL,
            now: theft.clock.now().as_seconds(),
            leeway: 0,
        };
        let verified = |set: &JwkSet| jwt::verify::<WorkspaceClaims>(&token, set, &expected);
        assert_eq!(verified(&before), Err(TokenError::UnknownKey));
        let claims = verified(&set()?)?;
        assert_eq!((claims.subject(), claims.groups().len()), (NOBODY, 0));
        assert!(gateway::identify(app, id, &token).await.is_err_and(|error| matches!(error, Error::Unauthenticated(_))));
    }
}
