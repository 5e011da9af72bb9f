use std::sync::Arc;

use anyhow::Context as _;
use hexabase_backends::bell::Bell;
use hexabase_backends::mail::Mailer;
use hexabase_backends::seal::Sealer;
use hexabase_oidc::keys::RotationPolicy;
use hexabase_reconcile::{StepStatus, TenantEndpoint};
use hexabase_testkit::on_both_engines;
use hexabase_testkit::store::TestStore;

use super::*;
use crate::clock::Clock;
use crate::context::{Credential, OpContext, Origin, Settings};
use crate::keys::Keys;
use crate::users::{self, ExternalIdentity};

/// A workspace that was asked for, and the claim of the worker that makes it.
struct Stage {
    app: App,
    alice: OpContext,
    id: WorkspaceId,
    claim: Claim,
}

impl Stage {
    async fn set(store: &TestStore) -> anyhow::Result<Self> {
        let clock = Clock::System;
        let sealer = Sealer::new(&[7; 32], "master")?;
        let keys = Keys::load(store, &sealer, RotationPolicy::DEFAULT, clock.now()).await?;
        let settings = Settings {
            public_url: "https://localhost".parse()?,
            cluster_url: None,
            authority_pem: None,
            oidc_clients: Arc::new([]),
        };
        let app =
            App { store: (**store).clone(), bell: Bell::new(), clock, settings, keys, sealer, mailer: Mailer::None };
        let identity = ExternalIdentity {
            issuer: "https://accounts.example.com".to_owned(),
            subject: "alice".to_owned(),
            display_name: None,
            email: None,
            email_verified: false,
        };
        let origin = Origin { request_id: app.new_id()?, source: None };
        let user = users::sign_in(&app, &identity, &origin).await?;
        let alice = OpContext::of(user, Credential::SignIn, app.clock.now(), &origin);
        let organization = crate::organizations::list(&app, &alice).await?.remove(0).0.id;
        let made = crate::workspaces::create(&app, &alice, &organization, "shop", "standard").await?;
        let claim = jobs::claim(&app.store, &[KIND], app.clock.now(), "worker", 60).await?.context("a job")?;
        Ok(Self { app, alice, id: made.workspace.id, claim })
    }

    async fn row(&self) -> anyhow::Result<Workspace> {
        workspaces::load_for_job(&self.app.store, &self.id).await?.context("a workspace")
    }

    /// Stores what was found; returns the row as it is then.
    async fn found(&self, observed: &Observed) -> anyhow::Result<Workspace> {
        store_progress(&self.app, &self.claim, &self.row().await?, observed).await?;
        self.row().await
    }

    async fn failed(&self, sentence: &str) -> anyhow::Result<Workspace> {
        store_failure(&self.app, &self.claim, &self.row().await?, sentence).await?;
        self.row().await
    }
}

/// Everything is done but the steps from this one on.
fn observed(trouble: Option<(WorkspaceStep, &str)>) -> Observed {
    let status = |step: &WorkspaceStep| {
        let waits = trouble.filter(|(first, _)| step >= first);
        let wait = |(_, reason): (WorkspaceStep, &str)| Progress::Wait { reason: reason.to_owned(), after: DRIFT };
        StepStatus { step: *step, progress: waits.map_or(Progress::Done, wait) }
    };
    let tenant = TenantEndpoint {
        host: "10.0.0.1".to_owned(),
        port: 443,
        server_name: "kubernetes".to_owned(),
        ca_pem: "PEM".to_owned(),
    };
    Observed { steps: WorkspaceStep::ALL.iter().map(status).collect(), tenant: Some(tenant), projects: Vec::new() }
}

fn shown(row: &Workspace) -> (WorkspacePhase, Option<&str>) {
    (row.phase, row.message.as_deref())
}

#[test]
fn a_removal_that_does_not_end_is_looked_at_less_and_less_often() {
    let after = Duration::from_millis(500);
    let paces = [-1, 0, 15_000, 60_000, 600_000, 86_400_000].map(|age| pace(after, age).as_millis());
    assert_eq!(paces, [500, 500, 500, 1_500, 15_000, 60_000]);
}

on_both_engines! {
    async fn a_ready_workspace_shows_what_is_wrong_until_it_is_mended(store: TestStore) {
        let stage = Stage::set(&store).await?;
        assert_eq!(shown(&stage.found(&observed(None)).await?), (WorkspacePhase::Ready, None));
        let refused = "apply StatefulSet x: forbidden";
        let row = stage.found(&observed(Some((WorkspaceStep::VirtualCluster, refused)))).await?;
        assert_eq!(shown(&row), (WorkspacePhase::Ready, Some(refused)));
        assert_eq!((row.step, row.endpoint.as_deref()), (None, Some("10.0.0.1:443")), "it can still be used");
        let row = stage.failed("the host's API server did not answer").await?;
        assert_eq!(shown(&row), (WorkspacePhase::Ready, Some("the host's API server did not answer")));
        let row = stage.found(&observed(None)).await?;
        assert_eq!(shown(&row), (WorkspacePhase::Ready, None));
        // A project that is not there yet is no trouble of the workspace, and looking again writes nothing.
        let again = stage.found(&observed(Some((WorkspaceStep::Projects, "namespace web: being made")))).await?;
        assert_eq!((shown(&again), again.version), (shown(&row), row.version));
    }

    async fn a_workspace_that_is_being_made_shows_what_is_wrong_and_at_which_step(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let row = stage.found(&observed(Some((WorkspaceStep::Limits, "ResourceQuota x: not counted")))).await?;
        assert_eq!(shown(&row), (WorkspacePhase::Creating, Some("ResourceQuota x: not counted")));
        assert_eq!(row.step, Some(WorkspaceStep::Limits));
        let row = stage.failed("the host's API server did not answer").await?;
        assert_eq!((row.phase, row.step), (WorkspacePhase::Creating, Some(WorkspaceStep::Limits)));
    }

    async fn a_deletion_that_fails_says_why(store: TestStore) {
        let stage = Stage::set(&store).await?;
        crate::workspaces::delete(&stage.app, &stage.alice, &stage.id).await?;
        let row = stage.failed("the host's API server did not answer").await?;
        assert_eq!(shown(&row), (WorkspacePhase::Deleting, Some("the host's API server did not answer")));
    }
}
