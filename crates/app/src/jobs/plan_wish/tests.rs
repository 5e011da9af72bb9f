use anyhow::Context as _;
use hexabase_backends::store::{organizations, workspaces};
use hexabase_core::quantity::Cpu;
use hexabase_core::quota::Amounts;
use hexabase_core::roles::OrganizationRole;
use hexabase_testkit::on_both_engines;
use hexabase_testkit::store::TestStore;

use super::*;
use crate::jobs::reconcile_workspace::store_failure;
use crate::jobs::stage::Stage;
use crate::plan_change::change_plan;
use crate::projects::{self, ProjectRequest};
use crate::quota::QuotaRequest;

/// A workspace under `standard` that is ready, and that `free` was asked for.
async fn stage(store: &TestStore) -> anyhow::Result<Stage> {
    let stage = Stage::set(store).await?;
    let tx = stage.app.store.begin().await?;
    workspaces::set_ready(&tx, &stage.id, "10.0.0.1:443", "PEM", stage.app.clock.now()).await?;
    tx.commit().await?;
    stage.asks_for("free").await?;
    Ok(stage)
}

impl Stage {
    async fn asks_for(&self, plan: &str) -> anyhow::Result<()> {
        change_plan(&self.app, &self.alice, &self.id, plan.into()).await?;
        Ok(())
    }

    async fn plan_after(&self, seen: &Workspace, fit: Option<Fit>) -> anyhow::Result<(bool, String, Option<String>)> {
        let settled = settle(&self.app, &self.claim, seen, fit.as_ref()).await?;
        let row = self.row().await?;
        Ok((settled, row.plan_id, row.plan_wish.map(|wish| wish.refused.unwrap_or_else(|| "open".to_owned()))))
    }
}

fn under(plan: &str, settled: bool, wish: Option<&str>) -> (bool, String, Option<String>) {
    (settled, plan.to_owned(), wish.map(str::to_owned))
}

on_both_engines! {
    async fn a_smaller_plan_is_had_only_once_the_host_lets_in_no_more(store: TestStore) {
        let stage = stage(&store).await?;
        let row = stage.row().await?;
        assert_eq!(stage.plan_after(&row, None).await?, under("standard", false, Some("open")));
        assert_eq!(stage.plan_after(&row, Some(Fit::Fits)).await?, under("free", true, None));
        assert_eq!(stage.plan_after(&row, Some(Fit::Fits)).await?, under("free", false, None), "of a wish that is over");
    }

    async fn what_does_not_fit_leaves_the_workspace_under_its_plan_and_says_why(store: TestStore) {
        let stage = stage(&store).await?;
        let exceeds = Some(Fit::Exceeds("the workspace uses 60Gi of limits.memory".to_owned()));
        let (settled, plan, refused) = stage.plan_after(&stage.row().await?, exceeds).await?;
        assert_eq!((settled, plan.as_str()), (true, "standard"));
        assert!(refused.context("it is told")?.starts_with("the workspace uses 60Gi of limits.memory; end some"));
        assert_eq!(stage.row().await?.wanted_plan(), None, "the host lets in what the plan gives again");
        stage.asks_for("free").await?;
        assert_eq!(stage.plan_after(&stage.row().await?, Some(Fit::Fits)).await?, under("free", true, None));
    }

    async fn what_the_host_found_about_an_earlier_wish_says_nothing_of_a_later_one(store: TestStore) {
        let stage = stage(&store).await?;
        let seen = stage.row().await?;
        stage.asks_for("standard").await?;
        assert_eq!(stage.plan_after(&seen, Some(Fit::Fits)).await?, under("standard", false, None), "taken back");
        stage.asks_for("premium").await?;
        stage.asks_for("standard").await?;
        for fit in [Fit::Fits, Fit::Exceeds("x".to_owned())] {
            assert_eq!(stage.plan_after(&seen, Some(fit)).await?, under("premium", false, Some("open")));
        }
    }

    async fn people_and_shares_that_came_since_are_looked_at_again(store: TestStore) {
        let stage = stage(&store).await?;
        let quota = QuotaRequest { cpu: Some("3".to_owned()), ..QuotaRequest::default() };
        let web = ProjectRequest { name: "web", quota, ..ProjectRequest::default() };
        projects::create(&stage.app, &stage.alice, &stage.id, web).await?;
        let (settled, plan, refused) = stage.plan_after(&stage.row().await?, Some(Fit::Fits)).await?;
        assert_eq!((settled, plan.as_str()), (true, "standard"));
        assert!(refused.context("it is told")?.contains("web (3)"));
    }

    async fn a_wish_of_somebody_who_may_not_choose_plans_any_more_is_not_carried_out(store: TestStore) {
        let stage = stage(&store).await?;
        let organization = stage.row().await?.organization_id;
        let scope = organizations::scope_for(&stage.app.store, &stage.alice.user, &organization).await?;
        let scope = scope.context("she is in it")?;
        let tx = stage.app.store.begin().await?;
        organizations::set_member_role(&tx, &scope, &stage.alice.user, OrganizationRole::Member).await?;
        tx.commit().await?;
        let seen = stage.row().await?;
        let (settled, plan, refused) = stage.plan_after(&seen, Some(Fit::Fits)).await?;
        assert_eq!((settled, plan.as_str()), (true, "standard"));
        assert!(refused.context("it is told")?.contains("no admin of the organization any more"));
        assert!(!stage.plan_after(&seen, Some(Fit::Fits)).await?.0, "it is over, and told once");
    }

    async fn what_is_known_not_to_fit_is_refused_at_once_while_it_is_counted(store: TestStore) {
        let stage = stage(&store).await?;
        stage.asks_for("standard").await?;
        let tx = stage.app.store.begin().await?;
        let used = Amounts { cpu: Cpu::from_millis(3_000), ..Amounts::NONE };
        workspaces::note_used(&tx, &stage.id, Some(&used)).await?;
        tx.commit().await?;
        assert!(stage.asks_for("free").await.is_err());
        store_failure(&stage.app, &stage.claim, &stage.row().await?, "the host's API server did not answer").await?;
        stage.asks_for("free").await?;
        stage.asks_for("standard").await?;
        let tx = stage.app.store.begin().await?;
        workspaces::note_used(&tx, &stage.id, Some(&used)).await?;
        workspaces::request_sleep(&tx, &stage.id, stage.app.clock.now()).await?;
        tx.commit().await?;
        stage.asks_for("free").await?;
        assert_eq!(stage.row().await?.plan_id, "standard", "the host has the last word");
        let tx = stage.app.store.begin().await?;
        assert!(workspaces::request_wake(&tx, &stage.id, stage.app.clock.now()).await?);
        tx.commit().await?;
        assert_eq!(stage.row().await?.used, None, "it is counted anew");
    }
}
