//! Keeps a number of workspaces made ahead, asleep, for whoever asks for one next (docs/adr/0021-workspaces-made-ahead.md).
//!
//! They are made one at a time, and not while a workspace is starting that somebody waits for (unless that never ends), nor for a
//! while after one could not be made. What was made by other versions is thrown away, and so is what is too many, and all while
//! every plan is retired. How many there are to be and by which versions, the worker says that began last: of several whose
//! settings differ none undoes what another has made.

use std::time::Duration;

use hexabase_backends::bell::Topic;
use hexabase_backends::store::jobs::{self, Claim};
use hexabase_backends::store::spare_workspaces::{self, Spare, SpareState};
use hexabase_backends::store::{Db, MAX_PAGE, StoreError, settings, workspaces};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::time::Timestamp;
use hexabase_reconcile::Host;
use serde::{Deserialize, Serialize};

use super::desired::plan_of_spares;
use super::reconcile_workspace;
use super::worker::Outcome;
use crate::context::App;
use crate::error::{Error, Result};

/// Name of the setting that holds the wish.
const KEPT: &str = "spare-workspaces";
/// The job's kind.
pub(super) const KIND: &str = "keep-spares";
/// Its only subject.
const SUBJECT: &str = "host";
/// How often the number is looked at.
const EVERY: Duration = Duration::from_secs(15);
/// After one could not be made, none is begun for so long: what was wrong with it most likely still is.
const BACKOFF_MILLIS: i64 = 3_600_000;
/// Name of the setting that holds the moment since when none was made because others were starting; empty without one.
const HELD_UP: &str = "spare-workspaces-held-up";
/// A workspace that began to start so long ago is not waited for any more: whoever asked for it has it, or something else is wrong.
const STARTING_SECONDS: i64 = 30;
/// After being held up for so long one is made all the same: where somebody is always starting, none ever would be.
const HELD_UP_MILLIS: i64 = 300_000;
/// What is being removed claims its storage for so long, and counts as kept.
const REMOVAL_MILLIS: i64 = 600_000;

/// What the worker wants that began last.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wish {
    number: usize,
    version: String,
}

async fn wish(db: &impl Db) -> Result<Option<Wish>> {
    let kept = settings::get(db, KEPT).await?;
    kept.map(|kept| serde_json::from_str(&kept)).transpose().map_err(Error::internal)
}

/// By which versions those are made that may be given to somebody; nobody is given one of others, which might have to go back
/// to an older one.
pub(crate) async fn version(db: &impl Db) -> Result<Option<String>> {
    Ok(wish(db).await?.map(|wish| wish.version))
}

/// Says how many this worker wants, and asks for the first look; those after it follow by themselves.
pub(super) async fn begin(app: &App, host: &Host, number: usize) -> Result<()> {
    let now = app.clock.now();
    let wish = serde_json::to_string(&Wish { number, version: host.version() }).map_err(Error::internal)?;
    let tx = app.store.begin().await?;
    settings::set(&tx, KEPT, &wish).await?;
    jobs::enqueue(&tx, KIND, SUBJECT, now, now).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn run(app: &App, host: &Host, claim: &Claim) -> Result<Outcome> {
    let version = host.version();
    // One of other versions leaves them to those that are meant to make them.
    let Some(wish) = wish(&app.store).await?.filter(|wish| wish.version == version) else {
        return Ok(Outcome::Again(EVERY));
    };
    // As long as no plan is offered under which somebody could be given one, none is kept.
    let is_offered = plan_of_spares(&app.store).await?.is_some();
    let wish = Wish { number: if is_offered { wish.number } else { 0 }, ..wish };
    let all = spare_workspaces::list_for_job(&app.store, None, MAX_PAGE).await?;
    let now = app.clock.now();
    let failed = spare_workspaces::last_failure_for_job(&app.store).await?;
    let has_failed = failed.is_some_and(|at| now.millis_since(at) < BACKOFF_MILLIS);
    let Plan { discard, make } = plan(&all, &wish, now, has_failed);
    for (id, state) in discard {
        throw_away(app, claim, &id, state).await?;
    }
    if make && may_begin(app, claim).await? {
        begin_one(app, claim, &version).await?;
    }
    Ok(Outcome::Again(EVERY))
}

/// Whether nobody waits for a workspace at this moment, or always somebody has for a while.
async fn may_begin(app: &App, claim: &Claim) -> Result<bool> {
    let now = app.clock.now();
    let is_starting = workspaces::any_starting_for_job(&app.store, now.plus_seconds(-STARTING_SECONDS)).await?;
    let noted = settings::get(&app.store, HELD_UP).await?.unwrap_or_default();
    let since = noted.parse().ok().map(Timestamp::from_micros);
    let may = !is_starting || since.is_some_and(|since| now.millis_since(since) > HELD_UP_MILLIS);
    let note = match (may, since) {
        (true, _) => String::new(),
        (false, Some(_)) => noted.clone(),
        (false, None) => now.as_micros().to_string(),
    };
    if note != noted {
        let tx = app.store.begin().await?;
        jobs::hold(&tx, claim).await?;
        settings::set(&tx, HELD_UP, &note).await?;
        tx.commit().await?;
    }
    Ok(may)
}

/// What is to be done about the spare workspaces that there are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    discard: Vec<(WorkspaceId, SpareState)>,
    make: bool,
}

fn plan(all: &[Spare], wish: &Wish, now: Timestamp, has_failed: bool) -> Plan {
    let over = |spare: &&Spare| matches!(spare.state, SpareState::Discarded | SpareState::Gone | SpareState::Foreign);
    let living = all.iter().filter(|spare| !over(spare));
    let (good, old): (Vec<&Spare>, Vec<&Spare>) = living.partition(|spare| spare.version == wish.version);
    let surplus = good.iter().skip(wish.number).copied();
    let discard = old.iter().copied().chain(surplus).map(|spare| (spare.id.clone(), spare.state)).collect();
    let busy = good.iter().any(|spare| spare.state != SpareState::Asleep);
    let claims =
        |spare: &&Spare| spare.state != SpareState::Discarded || now.millis_since(spare.changed_at) < REMOVAL_MILLIS;
    let claimed = all.iter().filter(claims).count();
    Plan { discard, make: claimed < wish.number && !busy && !has_failed }
}

async fn begin_one(app: &App, claim: &Claim, version: &str) -> Result<()> {
    let (id, now) = (app.new_id::<WorkspaceId>()?, app.clock.now());
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    spare_workspaces::insert(&tx, &id, version, now).await?;
    jobs::enqueue(&tx, reconcile_workspace::KIND, id.as_str(), now, now).await?;
    tx.commit().await?;
    app.bell.ring(Topic { kind: reconcile_workspace::KIND.to_owned(), subject: id.to_string() });
    tracing::info!(workspace.id = %id, version, "a workspace is being made ahead");
    Ok(())
}

/// Throws one away, unless somebody takes it at this moment.
async fn throw_away(app: &App, claim: &Claim, id: &WorkspaceId, state: SpareState) -> Result<()> {
    let now = app.clock.now();
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    match spare_workspaces::set_state(&tx, id, (state, SpareState::Discarded), None, now).await {
        Err(StoreError::Stale) => return Ok(tx.rollback().await?),
        other => other?,
    }
    jobs::enqueue(&tx, reconcile_workspace::KIND, id.as_str(), now, now).await?;
    tx.commit().await?;
    app.bell.ring(Topic { kind: reconcile_workspace::KIND.to_owned(), subject: id.to_string() });
    Ok(())
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::Id as _;
    use hexabase_testkit::on_both_engines;

    use super::*;
    use crate::clock::Clock;
    use crate::jobs::stage::Stage;

    fn begun() -> Timestamp {
        Timestamp::from_seconds(1_790_000_000)
    }

    fn spare(number: u64, version: &str, state: SpareState) -> Spare {
        let at = begun();
        let id = WorkspaceId::from_parts(at, number);
        Spare { id, version: version.to_owned(), state, message: None, created_at: at, changed_at: at }
    }

    /// What is planned a minute later by a worker that wants so many of v2.
    fn plan_for(all: &[Spare], number: usize, has_failed: bool) -> Plan {
        plan(all, &Wish { number, version: "v2".to_owned() }, begun().plus_seconds(60), has_failed)
    }

    fn thrown_away(plan: &Plan, all: &[Spare]) -> Vec<usize> {
        let place = |id: &WorkspaceId| all.iter().position(|spare| spare.id == *id);
        plan.discard.iter().filter_map(|(id, _)| place(id)).collect()
    }

    #[test]
    fn they_are_made_one_at_a_time_and_not_for_a_while_after_one_could_not_be_made() {
        let asleep = spare(1, "v2", SpareState::Asleep);
        assert!(plan_for(&[], 2, false).make && plan_for(std::slice::from_ref(&asleep), 2, false).make);
        assert!(!plan_for(&[], 0, false).make);
        assert!(!plan_for(std::slice::from_ref(&asleep), 2, true).make, "one could not be made");
        for busy in [SpareState::Making, SpareState::Settling] {
            assert!(!plan_for(&[asleep.clone(), spare(2, "v2", busy)], 3, false).make, "{busy}");
        }
        let full = [asleep, spare(2, "v2", SpareState::Asleep)];
        assert_eq!(plan_for(&full, 2, false), Plan::default());
    }

    /// A workspace of hers begins to wake now.
    async fn starts(stage: &Stage) -> anyhow::Result<()> {
        let now = stage.app.clock.now();
        let tx = stage.app.store.begin().await?;
        workspaces::set_ready(&tx, &stage.id, "10.0.0.1:443", "PEM", now).await?;
        assert!(workspaces::request_sleep(&tx, &stage.id, now).await?);
        assert!(workspaces::request_wake(&tx, &stage.id, now).await?);
        Ok(tx.commit().await?)
    }

    on_both_engines! {
        async fn none_is_made_while_somebody_waits_for_a_workspace_unless_always_somebody_does(store: TestStore) {
            let mut stage = Stage::set(&store).await?;
            let clock = Clock::standing_at(stage.app.clock.now());
            stage.app.clock = clock.clone();
            for (seconds, may) in [(0, false), (200, false), (101, true), (1, false)] {
                clock.advance_seconds(seconds);
                starts(&stage).await?;
                assert_eq!(may_begin(&stage.app, &stage.claim).await?, may, "{seconds} s later");
            }
            clock.advance_seconds(31);
            assert!(may_begin(&stage.app, &stage.claim).await?, "nobody waits that long");
        }
    }

    #[test]
    fn what_other_versions_made_and_what_is_too_many_is_thrown_away() {
        let all = [
            spare(1, "v1", SpareState::Asleep),
            spare(2, "v2", SpareState::Asleep),
            spare(3, "v1", SpareState::Discarded),
            spare(4, "v2", SpareState::Asleep),
            spare(5, "v2", SpareState::Making),
            spare(6, "v1", SpareState::Making),
        ];
        let found = plan_for(&all, 2, false);
        assert_eq!((thrown_away(&found, &all), found.make), (vec![0, 5, 4], false));
        assert_eq!(thrown_away(&plan_for(&all, 0, false), &all), [0, 5, 1, 3, 4]);
    }

    #[test]
    fn what_is_being_removed_counts_until_its_storage_must_be_free() {
        let mut all = [spare(1, "v1", SpareState::Discarded), spare(2, "v2", SpareState::Asleep)];
        assert!(!plan_for(&all, 2, false).make);
        assert!(plan_for(&all, 3, false).make);
        all[0].changed_at = begun().plus_seconds(-600);
        assert!(plan_for(&all, 2, false).make, "one that stays keeps none from being made for ever");
    }
}
