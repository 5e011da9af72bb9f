//! Shares under many use cases at once: an organisation's quota goes to workspaces by their plans, a plan to projects, and a project's
//! share to those below it. Nobody gives more than they have, at any moment and of anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use hexabase_app::projects::{self, ProjectChanges, ProjectRequest};
use hexabase_app::quota::QuotaRequest;
use hexabase_app::{Error, organization_quota, workspaces};
use hexabase_backends::store::projects as project_rows;
use hexabase_backends::store::workspaces as rows;
use hexabase_backends::store::{MAX_PAGE, StoreError, organizations, plans};
use hexabase_core::ids::{OrganizationId, ProjectId, WorkspaceId};
use hexabase_core::phases::ProjectPhase;
use hexabase_core::quota::{Amounts, Resource};
use hexabase_testkit::on_both_engines;

use crate::support::Stage;

const WRITERS: u64 = 8;
/// Edits of each writer.
const EDITS: u64 = 60;
/// How often a writer may be told that the database is busy.
const MOST_WAITS: u32 = 100;
/// How often each plan is chosen among all choices of one.
const PLANS: [&str; 4] = ["free", "standard", "standard", "premium"];

/// Each writer asks for the same in every run, in an order that no run has twice.
struct Random(fastrand::Rng);

impl Random {
    fn deed(&mut self) -> Deed {
        match self.0.u64(..10) {
            0..2 => Deed::Create,
            2..5 => Deed::Resize,
            5 => Deed::Move,
            6..8 => Deed::Delete,
            8 => Deed::ChoosePlan,
            _ => Deed::SetQuota,
        }
    }

    /// Little of everything but of one resource, of which it may be as much as the plan `standard` gives; nothing is said of the
    /// others if it is asked for that one `only`.
    fn quota(&mut self, only: bool) -> QuotaRequest {
        let much = self.0.u64(..7);
        let mut number = |which: u64, whole: u64| {
            let drawn = 1 + self.0.u64(..if which == much { whole } else { whole / 20 + 1 });
            (which == much || !only).then_some(drawn)
        };
        let pieces = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        QuotaRequest {
            cpu: number(0, 4_000).map(|number| format!("{number}m")),
            memory: number(1, 8_192).map(|number| format!("{number}Mi")),
            storage: number(2, 50).map(|number| format!("{number}Gi")),
            pods: pieces(number(3, 50)),
            services: pieces(number(4, 50)),
            persistent_volume_claims: pieces(number(5, 50)),
            objects: pieces(number(6, 500)),
            load_balancers: None,
        }
    }

    /// Of each resource another number of times what the plan `standard` gives, or no quota at all.
    fn of_organization(&mut self) -> Option<Amounts> {
        let standard = hexabase_core::plans::seed().into_iter().find(|plan| plan.id == "standard")?.limits.amounts;
        let times: Vec<u64> = Resource::ALL.iter().map(|_| 1 + self.0.u64(..12)).collect();
        let quota = Amounts::of(|resource| standard.get(resource) * times[resource as usize]);
        (self.0.u64(..3) > 0).then_some(quota)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Create,
    Resize,
    Move,
    Delete,
    ChoosePlan,
    SetQuota,
}

/// How often each deed was done, and refused.
type Tally = BTreeMap<Deed, (u64, u64)>;

/// An organisation with two workspaces.
struct Scene {
    stage: Stage,
    organization: OrganizationId,
    workspaces: Vec<WorkspaceId>,
}

impl Scene {
    async fn set(stage: Stage) -> Result<Self> {
        let organization = stage.row().await?.organization_id;
        let second = workspaces::create(&stage.app, &stage.alice, &organization, "bank", "standard").await?;
        let mut workspaces = vec![stage.id.clone(), second.workspace.id];
        workspaces.sort();
        Ok(Self { stage, organization, workspaces })
    }

    async fn act(&self, deed: Deed, random: &mut Random, name: &str) -> hexabase_app::Result<()> {
        let Stage { app, alice, .. } = &self.stage;
        let id = &self.workspaces[random.0.usize(..2)];
        let living = projects::list(app, alice, id, None, MAX_PAGE).await?;
        let mut one = || {
            let number = random.0.usize(..living.len().max(1));
            living.get(number).map(|found| found.row.id.clone())
        };
        let (chosen, place) = (one(), one());
        let parent = place.filter(|_| random.0.u64(..3) > 0);
        match (deed, chosen) {
            (Deed::Create, _) => {
                let request = ProjectRequest { name, quota: random.quota(false), parent, ..ProjectRequest::default() };
                projects::create(app, alice, id, request).await.map(drop)
            }
            (Deed::ChoosePlan, _) => {
                let plan = PLANS[random.0.usize(..PLANS.len())];
                workspaces::change_plan(app, alice, id, plan.into()).await.map(drop)
            }
            (Deed::SetQuota, _) => {
                let quota = random.of_organization();
                organization_quota::set(&app.store, &app.clock, &self.organization, quota.as_ref(), "olga").await
            }
            // There is none yet.
            (Deed::Resize | Deed::Move | Deed::Delete, None) => Ok(()),
            (Deed::Resize, Some(project)) => {
                let changes = ProjectChanges { quota: random.quota(true), ..ProjectChanges::default() };
                projects::update(app, alice, id, &project, changes).await.map(drop)
            }
            (Deed::Move, Some(project)) => {
                let changes = ProjectChanges { parent: Some(parent), ..ProjectChanges::default() };
                projects::update(app, alice, id, &project, changes).await.map(drop)
            }
            (Deed::Delete, Some(project)) => {
                projects::delete(app, alice, id, &project).await?;
                self.note_gone(&project).await
            }
        }
    }

    /// What the worker does once the namespace is gone; until then a project has its share.
    async fn note_gone(&self, project: &ProjectId) -> hexabase_app::Result<()> {
        let app = &self.stage.app;
        let tx = app.store.begin().await?;
        let noted = project_rows::set_phase(&tx, project, ProjectPhase::Deleted, app.clock.now()).await;
        match noted {
            // Somebody else noted it.
            Err(StoreError::Stale) => Ok(tx.rollback().await?),
            noted => {
                noted?;
                Ok(tx.commit().await?)
            }
        }
    }

    async fn write(&self, number: u64) -> Result<Tally> {
        let mut random = Random(fastrand::Rng::with_seed(number));
        let (mut tally, mut waited) = (Tally::new(), 0);
        let mut step = 0;
        while step < EDITS {
            let deed = random.deed();
            match self.act(deed, &mut random, &format!("p{number}-{step}")).await {
                Ok(()) => tally.entry(deed).or_default().0 += 1,
                Err(error) if is_refusal(&error) => tally.entry(deed).or_default().1 += 1,
                Err(Error::Unavailable(_)) if waited < MOST_WAITS => {
                    waited += 1;
                    continue;
                }
                Err(error) => bail!("{deed:?}: {error:?}"),
            }
            step += 1;
        }
        Ok(tally)
    }

    /// Looks at all three levels while nobody changes anything: every lock is held that is taken for that.
    async fn look(&self) -> Result<()> {
        let tx = self.stage.app.store.begin().await?;
        ensure!(organizations::lock_for_operator(&tx, &self.organization).await?, "no organization");
        let mut scopes = Vec::new();
        for id in &self.workspaces {
            let scope = rows::scope_for(&tx, &self.stage.alice.user, id).await?.context("she made it")?;
            rows::lock(&tx, &scope).await?;
            scopes.push(scope);
        }
        let (mut given, mut under) = (Amounts::NONE, BTreeMap::<String, u32>::new());
        for scope in &scopes {
            let row = rows::get(&tx, scope).await?.context("no workspace")?;
            let plan = plans::get_version(&tx, &row.plan_id, row.plan_version).await?.context("no plan")?;
            let count = under.entry(plan.id.clone()).or_default();
            *count += 1;
            ensure!(*count <= plan.limits.workspaces, "{count} workspaces under {}", plan.id);
            let living = project_rows::list(&tx, scope, None, MAX_PAGE).await?;
            ensure!(living.len() <= usize::try_from(plan.limits.projects)?, "{} under {}", living.len(), plan.id);
            nobody_overshoots(&plan.limits.amounts, &living)?;
            given = given.plus(&plan.limits.amounts);
        }
        if let Some(quota) = organizations::quota(&tx, &self.organization).await? {
            let over = given.exceeds(&quota);
            ensure!(over.is_none(), "of {over:?} {given:?} are given, and {quota:?} there are");
        }
        Ok(tx.rollback().await?)
    }
}

/// A limit, or what another writer did in between.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::LimitReached(_) | Error::Conflict { .. } | Error::Invalid { .. } | Error::NotFound("project")
    )
}

/// Of every resource by itself: projects at the top have no more than there is, and those below one no more than that has.
fn nobody_overshoots(whole: &Amounts, living: &[project_rows::Project]) -> Result<()> {
    for resource in Resource::ALL.iter().copied() {
        let given = |holder: Option<&ProjectId>| -> u64 {
            let below = living.iter().filter(|project| project.parent_id.as_ref() == holder);
            below.map(|project| project.limits.get(resource)).sum()
        };
        ensure!(given(None) <= whole.get(resource), "{resource} of the plan: {living:#?}");
        for project in living {
            let (name, has) = (&project.name, project.limits.get(resource));
            ensure!(given(Some(&project.id)) <= has, "{resource} of {name}: {living:#?}");
        }
    }
    Ok(())
}

on_both_engines! {
    async fn no_use_cases_at_once_give_more_than_there_is(store: TestStore) {
        let scene = Arc::new(Scene::set(Stage::set(store).await?).await?);
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let scene = Arc::clone(&scene);
                tokio::spawn(async move { scene.write(number).await })
            })
            .collect();
        let mut looks = 0_u64;
        while writers.iter().any(|writer| !writer.is_finished()) {
            scene.look().await?;
            looks += 1;
        }
        let mut tally = Tally::new();
        for writer in writers {
            for (deed, (done, refused)) in writer.await?? {
                let all = tally.entry(deed).or_default();
                *all = (all.0 + done, all.1 + refused);
            }
        }
        scene.look().await?;
        assert!(looks > 10, "it was looked {looks} times");
        assert!(tally.len() == 6 && tally.values().all(|(done, _)| *done > 0), "{tally:?}");
        for deed in [Deed::Create, Deed::Resize, Deed::ChoosePlan, Deed::SetQuota] {
            assert!(tally[&deed].1 > 0, "nothing stood in the way of this: {deed:?} in {tally:?}");
        }
    }
}
