use anyhow::Context as _;
use hexabase_backends::store::projects as project_rows;
use hexabase_backends::store::roles::NewRole;
use hexabase_backends::store::workspaces::{WorkspaceScope, scope_for};
use hexabase_core::ids::{ProjectId, RoleId};
use hexabase_core::roles::Rule;
use hexabase_testkit::on_both_engines;
use hexabase_testkit::store::TestStore;
use hexabase_testkit::tenant::FakeTenant;

use super::*;
use crate::jobs::desired::wanted;
use crate::jobs::stage::{Stage, observed};
use crate::projects::{self, ProjectRequest};

const OFFICE: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/office/roles/hexabase-custom-writer";
const DESK: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/desk/roles/hexabase-custom-writer";

/// A workspace that answers, with a project `office` and, below it, `desk`.
struct Office {
    stage: Stage,
    tenant: FakeTenant,
    scope: WorkspaceScope,
    ids: [ProjectId; 2],
}

impl Office {
    async fn set(store: &TestStore) -> anyhow::Result<Self> {
        let stage = Stage::set(store).await?;
        let (app, alice) = (&stage.app, &stage.alice);
        let office = ProjectRequest { name: "office", ..ProjectRequest::default() };
        let office = projects::create(app, alice, &stage.id, office).await?.row.id;
        let desk = ProjectRequest { name: "desk", parent: Some(office.clone()), ..ProjectRequest::default() };
        let desk = projects::create(app, alice, &stage.id, desk).await?.row.id;
        let scope = scope_for(&app.store, &alice.user, &stage.id).await?.context("no scope")?;
        let tenant = FakeTenant::start().await?;
        Ok(Self { stage, tenant, scope, ids: [office, desk] })
    }

    /// Asks for a role of `office`, or of the whole workspace.
    async fn ask_for(&self, project_id: Option<ProjectId>) -> anyhow::Result<RoleId> {
        let app = &self.stage.app;
        let rules: Vec<Rule> =
            serde_json::from_value(json!([{ "api_groups": [""], "resources": ["configmaps"], "verbs": ["get"] }]))?;
        let new = NewRole { id: app.new_id()?, project_id, name: "writer".parse()?, rules };
        let tx = app.store.begin().await?;
        roles::insert(&tx, &self.scope, &new, app.clock.now()).await?;
        tx.commit().await?;
        Ok(new.id)
    }

    /// What a run finds when the step and the project `desk` stand so.
    fn found(&self, trouble: Option<(WorkspaceStep, &str)>, desk: ProjectPhase) -> Observed {
        let mut found = observed(trouble);
        let FakeTenant { host, port, ca_pem, .. } = &self.tenant;
        let server_name = "kubernetes".to_owned();
        found.tenant = Some(TenantEndpoint { host: host.clone(), port: *port, server_name, ca_pem: ca_pem.clone() });
        let [office, below] = &self.ids;
        found.projects = vec![(office.clone(), ProjectPhase::Ready), (below.clone(), desk)];
        found
    }

    /// Settles what is pending; returns the role as it is then.
    async fn settled(&self, observed: &Observed, id: &RoleId) -> anyhow::Result<Role> {
        let Stage { app, claim, .. } = &self.stage;
        let row = self.stage.row().await?;
        let pending = wanted(app, claim, &row).await?.pending;
        settle(app, claim, &row, observed, &pending).await?;
        roles::get(&app.store, &self.scope, id).await?.context("no role")
    }

    /// What was really made, and not only tried.
    fn made(&self) -> Vec<String> {
        let patches = self.tenant.asked("PATCH").into_iter().filter(|asked| !asked.query.contains("dryRun"));
        let mut paths: Vec<String> = patches.map(|asked| asked.path).collect();
        paths.sort();
        paths
    }
}

on_both_engines! {
    async fn a_role_is_made_in_its_project_and_below_it_or_nowhere(store: TestStore) {
        let office = Office::set(&store).await?;
        let id = office.ask_for(Some(office.ids[0].clone())).await?;
        let found = office.found(None, ProjectPhase::Ready);
        office.tenant.refuse("PATCH", DESK, 403, "attempting to grant RBAC permissions not currently held");
        let role = office.settled(&found, &id).await?;
        assert_eq!((role.phase, role.accepted), (RolePhase::Refused, None));
        let message = role.message.context("no message")?;
        assert!(message.starts_with("in the project desk: attempting to grant"), "{message}");
        assert_eq!(office.made(), Vec::<String>::new());

        office.tenant.agree();
        let tx = office.stage.app.store.begin().await?;
        roles::set_rules(&tx, &office.scope, &id, &role.rules, office.stage.app.clock.now()).await?;
        tx.commit().await?;
        assert_eq!(office.settled(&found, &id).await?.phase, RolePhase::Ready);
        assert_eq!(office.made(), [DESK, OFFICE]);
    }

    async fn a_role_waits_until_nothing_else_can_bear_its_name(store: TestStore) {
        let office = Office::set(&store).await?;
        let id = office.ask_for(Some(office.ids[0].clone())).await?;
        let role = office.settled(&office.found(None, ProjectPhase::Creating), &id).await?;
        assert_eq!(role.phase, RolePhase::Pending);
        let whole = office.ask_for(None).await?;
        let refused = Some((WorkspaceStep::Access, "delete ClusterRole x: forbidden"));
        let role = office.settled(&office.found(refused, ProjectPhase::Creating), &whole).await?;
        assert_eq!(role.phase, RolePhase::Pending);
        assert_eq!(office.tenant.asked("PATCH"), []);
        // What only a later step waits for is nothing to it.
        let later = Some((WorkspaceStep::Projects, "project desk: its namespace is being made"));
        assert_eq!(office.settled(&office.found(later, ProjectPhase::Creating), &whole).await?.phase, RolePhase::Ready);
    }

    async fn what_is_in_the_way_for_a_moment_is_no_refusal(store: TestStore) {
        let office = Office::set(&store).await?;
        let id = office.ask_for(Some(office.ids[0].clone())).await?;
        let found = office.found(None, ProjectPhase::Ready);
        for code in [404, 409, 503] {
            office.tenant.refuse("PATCH", OFFICE, code, "not now");
            let role = office.settled(&found, &id).await?;
            assert_eq!((role.phase, role.message), (RolePhase::Pending, None), "{code}");
        }
        office.tenant.agree();
        assert_eq!(office.settled(&found, &id).await?.phase, RolePhase::Ready);
    }

    async fn a_role_of_a_project_that_goes_is_not_made(store: TestStore) {
        let office = Office::set(&store).await?;
        let id = office.ask_for(Some(office.ids[1].clone())).await?;
        let tx = office.stage.app.store.begin().await?;
        project_rows::request_deletion(&tx, &office.scope, &office.ids[1]).await?;
        project_rows::set_phase(&tx, &office.ids[1], ProjectPhase::Deleted, office.stage.app.clock.now()).await?;
        tx.commit().await?;
        let role = office.settled(&office.found(None, ProjectPhase::Deleted), &id).await?;
        assert_eq!((role.phase, role.message.as_deref()), (RolePhase::Refused, Some("the project is gone")));
        assert_eq!(office.tenant.asked("PATCH"), []);
    }
}
