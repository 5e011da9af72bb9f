use anyhow::Context as _;
use hexabase_backends::store::role_assignments::{self, RoleAssignment};
use hexabase_backends::store::workspaces::scope_for;
use hexabase_core::quota::Amounts;
use hexabase_reconcile::{HostSettings, ObjectRef};
use hexabase_testkit::kubernetes::FakeKubernetes;
use hexabase_testkit::on_both_engines;
use serde_json::Value;

use super::*;
use crate::clock::Clock;
use crate::context::OpContext;
use crate::jobs::stage::{Stage, observed};
use crate::projects::ProjectRequest;
use crate::quota::counted;

impl Stage {
    /// Stores what was found; returns the row as it is then.
    async fn found(&self, observed: &Observed) -> anyhow::Result<Workspace> {
        store_progress(&self.app, &self.claim, &self.row().await?, observed).await?;
        self.row().await
    }

    async fn failed(&self, sentence: &str) -> anyhow::Result<Workspace> {
        store_failure(&self.app, &self.claim, &self.row().await?, sentence).await?;
        self.row().await
    }

    /// A run of the job that found this.
    async fn run(&self, observed: &Observed) -> anyhow::Result<Duration> {
        let row = self.row().await?;
        let wanted = wanted(&self.app, &self.claim, &row).await?;
        Ok(follow_up(&self.app, &self.claim, &row, &wanted, observed).await?)
    }

    /// What follows when this was found on the host; returns the row as it is then.
    async fn looked(&self, host: &Host, observed: &Observed) -> anyhow::Result<Workspace> {
        let row = self.row().await?;
        let (wanted, own) = (wanted(&self.app, &self.claim, &row).await?, nodes::Settled::default());
        conclude(&self.app, host, &self.claim, &row, &wanted, &own, observed).await?;
        self.row().await
    }

    /// Deletes the workspace; returns its receipt.
    async fn receipt(&self, host: &Host) -> anyhow::Result<Value> {
        crate::workspaces::delete(&self.app, &self.alice, &self.id).await?;
        for _ in 0..20 {
            if let Outcome::Done = take_down(&self.app, host, &self.claim, self.row().await?).await? {
                return self.row().await?.receipt.context("no receipt");
            }
        }
        anyhow::bail!("it does not go")
    }

    /// Where something of the workspace is on the host.
    fn at(&self, place: &str) -> String {
        let (group, place) = place.split_once(' ').unwrap_or(("api/v1", place));
        format!("/{group}/namespaces/hxb-{}/{place}", self.id)
    }

    /// A host in memory on which something of each sort is in the workspace's namespace.
    async fn host(&self) -> anyhow::Result<(FakeKubernetes, Host)> {
        let kubernetes = FakeKubernetes::start().await?;
        let settings = HostSettings::new(Some(kubernetes.kubeconfig()), "helm".into(), "chart".into());
        let own = json!({ "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": self.id.as_str(),
            "hexabase.ai/organization": self.row().await?.organization_id.as_str() });
        let with = |label: &str, value: &str| {
            let mut labels = own.clone();
            labels[label] = json!(value);
            labels
        };
        let (name, rendered) = (format!("hxb-{}", self.id), json!({ "hexabase.ai/rendering": "1" }));
        let namespace = json!({ "metadata": { "name": name, "labels": own, "annotations": rendered } });
        kubernetes.put(&format!("/api/v1/namespaces/{name}"), namespace);
        for (place, labels) in [
            (AUTHN, own.clone()),
            (SERVICE, with("hexabase.ai/part", "virtual-cluster")),
            (POD, own.clone()),
            (ROTATED, json!({})),
            (OF_A_PROJECT, with("hexabase.ai/project", "prj-0123456789abcdefghjk")),
            (OF_A_TENANT, with("vcluster.loft.sh/managed-by", self.id.as_str())),
        ] {
            let name = place.rsplit('/').next();
            let object = json!({ "metadata": { "name": name, "labels": labels }, "spec": { "containers": [] } });
            kubernetes.put(&self.at(place), object);
        }
        Ok((kubernetes, Host::connect(settings).await?))
    }

    fn secret(&self, name: &str) -> Value {
        json!({ "kind": "Secret", "namespace": format!("hxb-{}", self.id), "name": name })
    }
}

const AUTHN: &str = "secrets/hexabase-authn";
const SERVICE: &str = "services/control-plane";
const POD: &str = "pods/control-plane-0";
const ROTATED: &str = "secrets/certificates";
const OF_A_PROJECT: &str = "apis/networking.k8s.io/v1 networkpolicies/hexabase-project";
const OF_A_TENANT: &str = "configmaps/settings-x-web";

fn shown(row: &Workspace) -> (WorkspacePhase, Option<&str>) {
    (row.phase, row.message.as_deref())
}

#[test]
fn a_removal_that_does_not_end_is_looked_at_less_and_less_often() {
    let after = Duration::from_millis(500);
    let paces = [-1, 0, 15_000, 60_000, 600_000, 86_400_000].map(|age| pace(after, age).as_millis());
    assert_eq!(paces, [500, 500, 500, 1_500, 15_000, 60_000]);
}

#[test]
fn a_removal_that_goes_on_after_a_while_without_a_worker_is_not_looked_at_as_if_it_stood_still() {
    let pace = |age, unchanged| removal_pace(Duration::from_millis(500), age, unchanged).as_millis();
    assert_eq!([pace(60_000, 0), pace(60_000, 60_000)], [500, 1_500]);
    assert_eq!([pace(2_400_000, 0), pace(2_400_000, 2_400_000)], [2_000, 60_000]);
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

    async fn what_its_people_hold_up_is_looked_at_less_and_less_often_and_a_new_project_at_once(store: TestStore) {
        let mut stage = Stage::set(&store).await?;
        let clock = Clock::standing_at(stage.app.clock.now());
        stage.app.clock = clock.clone();
        let after = Duration::from_millis(150);
        let held = |step: WorkspaceStep| {
            let mut found = observed(None);
            for status in found.steps.iter_mut().filter(|status| status.step >= step) {
                status.progress = Progress::Wait { reason: "it is not counted yet".to_owned(), after };
            }
            found
        };
        let uncounted = held(WorkspaceStep::Projects);
        let mut looks = Vec::new();
        for seconds in [0, 60, 600] {
            clock.advance_seconds(seconds);
            looks.push(stage.run(&uncounted).await?.as_millis());
        }
        assert_eq!(looks, [150, 1_500, 15_000]);
        let blog = ProjectRequest { name: "blog", ..ProjectRequest::default() };
        let alice = OpContext { now: clock.now(), ..stage.alice.clone() };
        let blog = crate::projects::create(&stage.app, &alice, &stage.id, blog).await?.row.id;
        assert_eq!(stage.run(&uncounted).await?, after, "somebody waits for that one");
        let made = Observed { projects: vec![(blog, ProjectPhase::Ready)], ..uncounted.clone() };
        assert_eq!(stage.run(&made).await?, HELD, "and no longer");
        assert_eq!(stage.run(&observed(None)).await?, DRIFT);
        assert_eq!(stage.run(&uncounted).await?, after, "it was over in between");
    }

    async fn a_start_is_looked_at_closely_for_a_minute_and_less_and_less_often_when_it_does_not_end(store: TestStore) {
        let mut stage = Stage::set(&store).await?;
        let clock = Clock::standing_at(stage.app.clock.now());
        stage.app.clock = clock.clone();
        let after = Duration::from_millis(250);
        let mut starting = observed(None);
        for status in starting.steps.iter_mut().filter(|status| status.step >= WorkspaceStep::ApiServer) {
            status.progress = Progress::Wait { reason: "it is starting".to_owned(), after };
        }
        let mut looks = Vec::new();
        for seconds in [0, 30, 30, 600, 6_000] {
            clock.advance_seconds(seconds);
            looks.push(stage.run(&starting).await?.as_millis());
        }
        assert_eq!(looks, [250, 250, 250, 15_000, 30_000]);
        assert_eq!(stage.run(&observed(None)).await?, DRIFT);
        assert_eq!(stage.run(&starting).await?, after, "another start");
    }

    async fn what_somebody_else_writes_into_a_control_plane_is_told_of_and_keeps_nobody_out(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let told = "StatefulSet x: injector goes on writing into it on the host";
        let contested = Observed { contested: Some(told.to_owned()), ..observed(None) };
        let row = stage.found(&contested).await?;
        assert_eq!(shown(&row), (WorkspacePhase::Ready, Some(told)));
        assert_eq!(stage.found(&contested).await?.version, row.version, "looking again writes nothing");
        assert_eq!(shown(&stage.found(&observed(None)).await?), (WorkspacePhase::Ready, None));
    }

    async fn nobody_is_let_into_a_workspace_that_wakes_before_every_right_in_its_projects_is_true(store: TestStore) {
        let stage = Stage::set(&store).await?;
        stage.found(&observed(None)).await?;
        let tx = stage.app.store.begin().await?;
        assert!(workspaces::request_sleep(&tx, &stage.id, stage.app.clock.now()).await?);
        assert!(workspaces::request_wake(&tx, &stage.id, stage.app.clock.now()).await?);
        tx.commit().await?;
        let refused = "project shop: delete RoleBinding x: forbidden";
        let mut held = observed(Some((WorkspaceStep::Projects, refused)));
        held.project_rights =
            Progress::Wait { reason: refused.to_owned(), after: Duration::from_secs(1) };
        let row = stage.found(&held).await?;
        assert_eq!((shown(&row), row.step), ((WorkspacePhase::Waking, Some(refused)), Some(WorkspaceStep::Projects)));
        // A namespace or a quota is waited for by nobody else.
        let made = observed(Some((WorkspaceStep::Projects, "project shop: its namespace is being made")));
        assert_eq!(shown(&stage.found(&made).await?), (WorkspacePhase::Ready, None));
        assert_eq!(shown(&stage.found(&held).await?), (WorkspacePhase::Ready, None), "it is in use");
    }

    async fn a_workspace_that_is_being_made_shows_what_is_wrong_and_at_which_step(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let row = stage.found(&observed(Some((WorkspaceStep::Limits, "ResourceQuota x: not counted")))).await?;
        assert_eq!(shown(&row), (WorkspacePhase::Creating, Some("ResourceQuota x: not counted")));
        assert_eq!(row.step, Some(WorkspaceStep::Limits));
        let row = stage.failed("the host's API server did not answer").await?;
        assert_eq!((row.phase, row.step), (WorkspacePhase::Creating, Some(WorkspaceStep::Limits)));
    }

    async fn what_is_used_is_noted_and_is_no_change_that_anybody_sees(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let row = stage.found(&observed(None)).await?;
        let used = Amounts::of(|_| 7);
        let again = stage.found(&Observed { used: Some(used.clone()), ..observed(None) }).await?;
        assert_eq!((&again.used, again.version), (&Some(used.clone()), row.version));
        // What could not be counted this time is taken to be as it was.
        assert_eq!(stage.found(&observed(None)).await?.used, Some(used));
    }

    async fn what_is_used_is_known_until_a_look_cannot_count_it(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let counts = Observed { used: Some(Amounts::of(|_| 7)), ..observed(None) };
        let contested = Observed { contested: Some("StatefulSet x: injector".to_owned()), ..counts.clone() };
        let row = stage.found(&contested).await?;
        assert_eq!((row.phase, counted(&row)), (WorkspacePhase::Ready, counts.used.as_ref()), "whatever else is told");
        let uncounted = observed(Some((WorkspaceStep::Limits, "apply ResourceQuota x: forbidden")));
        let row = stage.found(&uncounted).await?;
        assert_eq!((row.phase, counted(&row)), (WorkspacePhase::Ready, None));
        assert_eq!(counted(&stage.found(&counts).await?), counts.used.as_ref());
        let row = stage.failed("the host's API server did not answer").await?;
        assert_eq!((row.phase, counted(&row)), (WorkspacePhase::Ready, None));
    }

    async fn a_workspace_is_first_ready_under_the_plan_by_which_it_was_limited(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let seen = stage.row().await?;
        crate::plan_change::change_plan(&stage.app, &stage.alice, &stage.id, "free".into()).await?;
        store_progress(&stage.app, &stage.claim, &seen, &observed(None)).await?;
        let row = stage.row().await?;
        assert_eq!((row.phase, row.plan_id.as_str()), (WorkspacePhase::Creating, "free"));
        assert_eq!(stage.found(&observed(None)).await?.phase, WorkspacePhase::Ready);
    }

    async fn what_came_back_of_a_deleted_workspace_is_looked_at_less_and_less_often(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let kubernetes = FakeKubernetes::start().await?;
        let settings = HostSettings::new(Some(kubernetes.kubeconfig()), "helm".into(), "chart".into());
        let host = Host::connect(settings).await?;
        let labels = json!({ "app.kubernetes.io/managed-by": "hexabase", "hexabase.ai/workspace": stage.id.as_str(),
            "hexabase.ai/organization": stage.row().await?.organization_id.as_str() });
        let mut paces = Vec::new();
        for age in [0, 600, 86_400] {
            let namespace = json!({ "metadata": { "name": "x", "labels": labels } });
            kubernetes.put(&format!("/api/v1/namespaces/hxb-{}", stage.id), namespace);
            let deleted_at = Some(stage.app.clock.now().plus_seconds(-age));
            let row = Workspace { deleted_at, ..stage.row().await? };
            match clear_away(&stage.app, &host, &stage.claim, row).await? {
                Outcome::Again(after) => paces.push(after.as_secs()),
                Outcome::Done => anyhow::bail!("it was gone at once"),
            }
        }
        assert_eq!(paces, [2, 15, 60]);
    }

    async fn a_receipt_names_what_somebody_took_away_and_nothing_that_comes_and_goes(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let (kubernetes, host) = stage.host().await?;
        stage.looked(&host, &observed(None)).await?;
        for gone in [AUTHN, POD, ROTATED, OF_A_PROJECT, OF_A_TENANT] {
            kubernetes.remove(&stage.at(gone));
        }
        let receipt = stage.receipt(&host).await?;
        assert_eq!(receipt["missing"], json!([stage.secret("hexabase-authn")]), "{receipt}");
        let removed: Vec<ObjectRef> = serde_json::from_value(receipt["removed"].clone())?;
        let names: Vec<&str> = removed.iter().map(|object| object.name.as_str()).collect();
        assert!(names.contains(&"control-plane") && names.contains(&"certificates"), "{receipt}");
        assert!(!names.contains(&"hexabase-authn"), "it was removed by somebody else: {receipt}");
        assert_eq!(receipt.get("lasting"), None, "what was to be there is no part of a receipt");
    }

    async fn of_a_workspace_of_which_all_is_there_nothing_is_missing_on_the_receipt(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let (_kubernetes, host) = stage.host().await?;
        stage.looked(&host, &observed(None)).await?;
        let receipt = stage.receipt(&host).await?;
        assert_eq!(receipt.get("missing"), None, "{receipt}");
    }

    async fn what_a_workspace_has_is_noted_once_and_only_when_it_is_whole(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let (kubernetes, host) = stage.host().await?;
        let begun = stage.looked(&host, &observed(Some((WorkspaceStep::Access, "not yet")))).await?;
        assert_eq!(begun.receipt, None);
        let noted = stage.looked(&host, &observed(None)).await?.receipt.context("nothing was noted")?;
        let own = noted["lasting"]["own"].as_array().context("no list")?;
        assert!(own.contains(&stage.secret("hexabase-authn")), "{noted}");
        kubernetes.remove(&stage.at(AUTHN));
        let again = stage.looked(&host, &observed(None)).await?.receipt;
        assert_eq!(again, Some(noted), "what is gone by now is not forgotten");
    }

    async fn a_removal_that_was_interrupted_misses_nothing_that_it_removed_itself(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let (kubernetes, host) = stage.host().await?;
        stage.looked(&host, &observed(None)).await?;
        crate::workspaces::delete(&stage.app, &stage.alice, &stage.id).await?;
        kubernetes.refuse("DELETE", &stage.at(SERVICE), 403);
        let refused = take_down(&stage.app, &host, &stage.claim, stage.row().await?).await;
        assert!(refused.is_err(), "the removal had begun");
        // What it had got to in the meantime.
        kubernetes.remove(&stage.at(AUTHN));
        kubernetes.remove(&stage.at(SERVICE));
        let receipt = stage.receipt(&host).await?;
        assert_eq!(receipt.get("missing"), None, "{receipt}");
    }

    async fn of_what_an_older_version_noted_nothing_is_missed(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let (kubernetes, host) = stage.host().await?;
        let noted = json!({ "removed": [], "remaining": [stage.secret("hexabase-authn")] });
        let tx = stage.app.store.begin().await?;
        workspaces::note_inventory(&tx, &stage.id, &noted).await?;
        tx.commit().await?;
        kubernetes.remove(&stage.at(AUTHN));
        let receipt = stage.receipt(&host).await?;
        assert_eq!(receipt.get("missing"), None, "{receipt}");
        assert!(receipt["removed"].as_array().is_some_and(|all| all.contains(&stage.secret("hexabase-authn"))));
    }

    async fn a_deletion_that_fails_says_why(store: TestStore) {
        let stage = Stage::set(&store).await?;
        crate::workspaces::delete(&stage.app, &stage.alice, &stage.id).await?;
        let row = stage.failed("the host's API server did not answer").await?;
        assert_eq!(shown(&row), (WorkspacePhase::Deleting, Some("the host's API server did not answer")));
    }

    async fn a_role_is_over_only_once_its_bindings_are_gone(store: TestStore) {
        let stage = Stage::set(&store).await?;
        let scope = scope_for(&stage.app.store, &stage.alice.user, &stage.id).await?.expect("she made it");
        let nodes = hexabase_backends::store::groups::nodes(&stage.app.store, &scope).await?;
        let over = RoleAssignment {
            id: stage.app.new_id()?,
            group_id: nodes[0].id.clone(),
            project_id: None,
            role: "hexabase:workspace-editor".to_owned(),
            created_at: stage.app.clock.now().plus_seconds(-60),
            expires_at: Some(stage.app.clock.now().plus_seconds(-1)),
        };
        let tx = stage.app.store.begin().await?;
        role_assignments::insert(&tx, &scope, &over).await?;
        tx.commit().await?;
        for trouble in [WorkspaceStep::Access, WorkspaceStep::Projects] {
            stage.run(&observed(Some((trouble, "delete RoleBinding x: forbidden")))).await?;
            assert_eq!(role_assignments::get(&stage.app.store, &scope, &over.id).await?.as_ref(), Some(&over));
        }
        stage.run(&observed(None)).await?;
        assert_eq!(role_assignments::get(&stage.app.store, &scope, &over.id).await?, None);
    }
}
