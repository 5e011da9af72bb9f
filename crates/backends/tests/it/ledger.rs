//! Shares of a plan under many edits at once: rows are read into a ledger, judged and written under the workspace's lock.

use hexabase_backends::store::projects::{self, Project, ProjectChange};
use hexabase_backends::store::workspaces::{self, WorkspaceScope};
use hexabase_backends::store::{Db, MAX_PAGE, Store, StoreError};
use hexabase_core::ids::ProjectId;
use hexabase_core::quota::{Amounts, Ledger, Share};
use hexabase_testkit::store::{Engine, TestStore};

use crate::projects::new_project;
use crate::scenery::{add_organization, add_workspace, now};

const WRITERS: u64 = 8;
/// Edits of each writer in an ordinary run; the soak makes a hundred thousand in all.
const EDITS: u64 = 40;
const EDITS_OF_SOAK: u64 = 12_500;
const PROJECTS: usize = 8;
/// How often a writer may be told that the database is busy.
const MOST_WAITS: u32 = 100;

/// Marsaglia's xorshift: each writer makes the same edits in every run, in an order that no run has twice.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn whole() -> Amounts {
    Amounts::of(|_| 40)
}

async fn ledger(db: &impl Db, scope: &WorkspaceScope) -> Result<(Ledger<ProjectId>, Vec<Project>), StoreError> {
    let rows = projects::list(db, scope, None, MAX_PAGE).await?;
    let share = |row: &Project| (row.id.clone(), Share { from: row.parent_id.clone(), amounts: row.limits.clone() });
    Ok((Ledger::new(whole(), rows.iter().map(share)), rows))
}

/// Another size, another place, or one more project; whether the ledger let it.
async fn edit(store: &Store, scope: &WorkspaceScope, random: &mut Random) -> anyhow::Result<bool> {
    let amount = random.below(13);
    let amounts = Amounts::of(|_| amount);
    let (kind, chosen, place) = (random.below(3), random.below(64), random.below(64));
    let tx = store.begin().await?;
    workspaces::lock(&tx, scope).await?;
    let (mut ledger, rows) = ledger(&tx, scope).await?;
    assert!(ledger.is_balanced(), "{ledger:?}");
    let one = |number: u64| rows.get(usize::try_from(number).unwrap_or_default() % rows.len().max(1));
    let parent = one(place).filter(|_| !place.is_multiple_of(3)).map(|row| row.id.clone());
    let done = match one(chosen) {
        Some(row) if kind > 0 || rows.len() == PROJECTS => {
            let mut change = ProjectChange {
                limits: row.limits.clone(),
                parent_id: row.parent_id.clone(),
                labels: row.labels.clone(),
                pod_security: row.pod_security,
                network: row.network,
            };
            let judged = if kind == 1 {
                change.limits = amounts.clone();
                ledger.resize(&row.id, amounts)
            } else {
                change.parent_id = parent.clone();
                ledger.relocate(&row.id, parent)
            };
            judged.is_ok() && projects::update(&tx, scope, &row.id, &change).await?
        }
        _ => {
            let mut new = new_project(&format!("p{}", rows.len()), parent.as_ref())?;
            new.limits = amounts.clone();
            let judged = ledger.reserve(new.id.clone(), parent, amounts);
            if judged.is_ok() {
                projects::insert(&tx, scope, &new, now()).await?;
            }
            judged.is_ok()
        }
    };
    tx.commit().await?;
    Ok(done)
}

fn is_busy(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Unavailable(_)))
}

async fn many_edits(engine: Engine, edits: u64) -> anyhow::Result<()> {
    let store = TestStore::new(engine).await?;
    let scope = add_workspace(&store, &add_organization(&store, "Ada").await?, "shop").await?;
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let (store, scope) = (store.reconnect().await?, scope.clone());
        writers.push(tokio::spawn(async move {
            let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (number + 1));
            let mut done = 0_u64;
            let (mut left, mut waited) = (edits, 0);
            while left > 0 {
                match edit(&store, &scope, &mut random).await {
                    Ok(is_done) => (left, done) = (left - 1, done + u64::from(is_done)),
                    // SQLite lets whoever comes first write, not whoever waits longest. Nothing was written then, and
                    // trying again is right.
                    Err(error) if is_busy(&error) && waited < MOST_WAITS => waited += 1,
                    Err(error) => return Err(error),
                }
            }
            anyhow::Ok(done)
        }));
    }
    let mut done = 0;
    for writer in writers {
        done += writer.await??;
    }
    let (ledger, rows) = ledger(&*store, &scope).await?;
    assert!(ledger.is_balanced(), "{ledger:?}");
    assert!(done > WRITERS && rows.len() > 2, "they were no refusals alone: {done} of {}", WRITERS * edits);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_edits_at_once_overshoot_a_plan_on_sqlite() -> anyhow::Result<()> {
    many_edits(Engine::Sqlite, EDITS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_edits_at_once_overshoot_a_plan_on_postgres() -> anyhow::Result<()> {
    many_edits(Engine::Postgres, EDITS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a hundred thousand edits take minutes"]
async fn no_hundred_thousand_edits_at_once_overshoot_a_plan_on_sqlite() -> anyhow::Result<()> {
    many_edits(Engine::Sqlite, EDITS_OF_SOAK).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a hundred thousand edits take minutes"]
async fn no_hundred_thousand_edits_at_once_overshoot_a_plan_on_postgres() -> anyhow::Result<()> {
    many_edits(Engine::Postgres, EDITS_OF_SOAK).await
}
