//! What tests of jobs begin with.

use std::sync::Arc;

use anyhow::Context as _;
use hexabase_backends::bell::Bell;
use hexabase_backends::mail::Mailer;
use hexabase_backends::seal::Sealer;
use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::workspaces::{self, Workspace};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::phases::WorkspaceStep;
use hexabase_oidc::keys::RotationPolicy;
use hexabase_reconcile::{Observed, Progress, StepStatus, TenantEndpoint};
use hexabase_testkit::store::TestStore;

use crate::clock::Clock;
use crate::context::{App, Credential, OpContext, Origin, Settings};
use crate::jobs::RECONCILE_WORKSPACE;
use crate::keys::Keys;
use crate::users::{self, ExternalIdentity};

/// A workspace that was asked for, and the claim of the worker that makes it.
pub(super) struct Stage {
    pub(super) app: App,
    pub(super) alice: OpContext,
    pub(super) id: WorkspaceId,
    pub(super) claim: Claim,
}

impl Stage {
    pub(super) async fn set(store: &TestStore) -> anyhow::Result<Self> {
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
        let now = app.clock.now();
        let claim = jobs::claim(&app.store, &[RECONCILE_WORKSPACE], now, "worker", 60).await?.context("a job")?;
        Ok(Self { app, alice, id: made.workspace.id, claim })
    }

    pub(super) async fn row(&self) -> anyhow::Result<Workspace> {
        workspaces::load_for_job(&self.app.store, &self.id).await?.context("a workspace")
    }
}

/// Everything is done but the steps from this one on.
pub(super) fn observed(trouble: Option<(WorkspaceStep, &str)>) -> Observed {
    let status = |step: &WorkspaceStep| {
        let waits = trouble.filter(|(first, _)| step >= first);
        let wait = |(_, reason): (WorkspaceStep, &str)| Progress::Wait {
            reason: reason.to_owned(),
            after: std::time::Duration::from_secs(30),
        };
        StepStatus { step: *step, progress: waits.map_or(Progress::Done, wait) }
    };
    let tenant = TenantEndpoint {
        host: "10.0.0.1".to_owned(),
        port: 443,
        server_name: "kubernetes".to_owned(),
        ca_pem: "PEM".to_owned(),
    };
    Observed {
        steps: WorkspaceStep::ALL.iter().map(status).collect(),
        tenant: Some(tenant),
        projects: Vec::new(),
        project_rights: Progress::Done,
        used: None,
        moved: Some(Progress::Done),
        fit: None,
        contested: None,
        unbound: None,
    }
}
