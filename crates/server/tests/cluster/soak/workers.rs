//! Two workers, of which one is stopped in the middle of its work for longer than it may be, and goes on when the other is done.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hexabase_testkit::faults::{Aim, Boundary, Fault, FaultProxy};
use hexabase_testkit::platform::{Beside, Platform};

use super::report;
use crate::lane::quota;
use crate::support::{Person, in_time, store_of, until};
use crate::surroundings::Surroundings;

const KUBECONFIG: &str = "HEXABASE__HOST__KUBECONFIG";
/// So much is left, at the least, of the lease of a worker that is stopped: it holds for fifteen seconds and is renewed every five, on a
/// machine with far too much to do a little later.
const LEFT: Duration = Duration::from_secs(5);

/// A platform without a worker, and a workspace that was asked for.
struct Stage {
    at: Surroundings,
    proxy: FaultProxy,
    platform: Platform,
    person: Person,
    id: String,
}

impl Stage {
    async fn set() -> Result<Self> {
        let mut stage = Self::empty().await?;
        stage.id = stage.person.ask_for("taken-over").await?;
        Ok(stage)
    }

    /// Nothing was asked for yet.
    async fn empty() -> Result<Self> {
        let at = Surroundings::read()?;
        let proxy = FaultProxy::start(&at.whole_kubeconfig().await?).await?;
        let platform = at.platform_through(&proxy.kubeconfig(), "serve").await?;
        let person = Person::sign_in(&at, &platform, "pia").await?;
        Ok(Self { at, proxy, platform, person, id: String::new() })
    }

    /// Starts a worker that is stopped before this call, which belongs to what was asked for last. What it had leased is the other
    /// one's, if there is one.
    async fn stop(&mut self, operation: &str, call: &str) -> Result<Beside> {
        self.proxy.aim(Aim::These([(format!("{operation} before {call}").parse()?, Fault::Halt)].into()));
        ensure!(self.proxy.begin(operation));
        let slow = self.platform.beside("work", &[])?;
        self.proxy.open();
        in_time("the call", self.proxy.halted()).await?;
        self.freeze(&slow).await?;
        Ok(slow)
    }

    /// Stops a worker, but not in the middle of a write, for which all others would have to wait.
    async fn freeze(&self, worker: &Beside) -> Result<()> {
        let store = store_of(&self.platform).await?;
        let is_frozen = async || -> Result<bool> {
            worker.freeze()?;
            let writes = match store.begin().await {
                Ok(tx) => tx.rollback().await.is_err(),
                Err(_) => true,
            };
            if writes {
                worker.thaw()?;
            }
            Ok(!writes)
        };
        let frozen = until("a moment at which it writes nothing", is_frozen).await;
        store.close().await?;
        frozen
    }

    /// Starts the other worker, which has a way of its own to the host. On SQLite it takes over at once what was leased.
    fn other(&self) -> Result<Beside> {
        let kubeconfig = self.at.kubeconfig.display().to_string();
        self.platform.beside("work", &[(KUBECONFIG, kubeconfig.as_str())])
    }

    /// Has the stopped one, which calls the host by this proxy, go on where it was, and waits until it has noticed. Its call is carried
    /// out before it can know anything.
    async fn go_on(&self, proxy: &FaultProxy, slow: &Beside) -> Result<()> {
        let before = self.platform.log().len();
        proxy.open();
        slow.thaw()?;
        let refusals = ["another worker took the job over", "was last changed under fence", "could not be stored"];
        until("its refusal", async || {
            let log = self.platform.log();
            let since = log.get(before..).unwrap_or_default();
            Ok(refusals.iter().any(|refusal| since.contains(refusal)))
        })
        .await
        .with_context(|| self.platform.log())
    }

    async fn is(&self, phase: &str) -> Result<()> {
        self.person.hxb(&["workspace", "wait", &self.id, "--for", phase, "--timeout", "10m"]).await.map(drop)
    }

    async fn fence(&self) -> Result<u64> {
        let fence = "jsonpath={.metadata.annotations.hexabase\\.ai/fence}";
        let said = self.at.host(&["get", "namespace", &format!("hxb-{}", self.id), "-o", fence]).await?.good()?;
        said.trim().parse().with_context(|| format!("no fence: {said}"))
    }

    /// Waits until it is under this plan, and the host allows it this.
    async fn is_under(&self, plan: &str, allowed: impl Fn(&str) -> bool) -> Result<()> {
        until(plan, async || {
            let workspace = self.person.json(&["workspace", "get", &self.id]).await?;
            let settled = workspace["plan"] == plan && workspace["plan_change"].is_null();
            Ok(settled && allowed(&quota(&self.at, &self.id).await?))
        })
        .await
        .with_context(|| self.platform.log())
    }

    async fn delete(&self) -> Result<()> {
        self.person.hxb(&["workspace", "delete", &self.id, "--yes", "--wait", "--timeout", "10m"]).await.map(drop)
    }

    /// How many records of this action there are in the audit log.
    async fn records(&self, action: &str) -> Result<usize> {
        let log = self.person.hxb(&["audit", "list", "--action", action, "--output", "json"]).await?;
        Ok(log.matches(&format!("\"{action}\"")).count())
    }

    async fn is_gone(&self) -> Result<()> {
        until("nothing of it", async || Ok(self.at.leftovers(&self.id).await?.is_empty()))
            .await
            .with_context(|| self.platform.log())
    }
}

/// Two workers of one platform, each with a proxy before the host. Both run before anything is asked for: neither takes over what the
/// other has leased by beginning, but only when the lease has run out.
struct Pair {
    workers: [Beside; 2],
    stage: Stage,
    /// The second one's; the first one's is the stage's.
    second: FaultProxy,
}

impl Pair {
    async fn set() -> Result<Self> {
        let stage = Stage::empty().await?;
        let second = FaultProxy::start(&stage.at.whole_kubeconfig().await?).await?;
        let kubeconfig = second.kubeconfig().display().to_string();
        let environment = [(KUBECONFIG, kubeconfig.as_str())];
        let workers = [stage.platform.beside("work", &[])?, stage.platform.beside("work", &environment)?];
        until("both workers", async || Ok(stage.platform.log().matches("worker started").count() == 2)).await?;
        Ok(Self { workers, stage, second })
    }

    fn proxies(&self) -> [&FaultProxy; 2] {
        [&self.stage.proxy, &self.second]
    }

    /// Has whoever comes to this call of an operation held before it. Nobody begins with the operation before [`Self::stop`].
    fn aim(&self, operation: &str, call: &str) -> Result<()> {
        let moment: Boundary = format!("{operation} before {call}").parse()?;
        for proxy in self.proxies() {
            proxy.aim(Aim::These([(moment.clone(), Fault::Halt)].into()));
            ensure!(proxy.begin(operation));
        }
        Ok(())
    }

    /// Waits until one of them comes to that call, and stops it there; says which. All calls of the other one pass.
    async fn stop(&mut self) -> Result<usize> {
        for proxy in self.proxies() {
            proxy.open();
        }
        let (first, second) = (&mut self.stage.proxy, &mut self.second);
        let halted = async {
            tokio::select! {
                moment = first.halted() => moment.map(|_| 0),
                moment = second.halted() => moment.map(|_| 1),
            }
        };
        let slow: usize = in_time("the call", halted).await?;
        // It cannot come to that call before the lease has run out.
        self.proxies()[1 - slow].aim(Aim::Nothing);
        self.stage.freeze(&self.workers[slow]).await?;
        Ok(slow)
    }

    /// Waits until the one that was not stopped has taken over, and no sooner than it may.
    async fn is_taken_over(&self) -> Result<()> {
        let (begun, before) = (Instant::now(), self.stage.fence().await?);
        until("the end of the lease", async || Ok(self.stage.fence().await? > before))
            .await
            .with_context(|| self.stage.platform.log())?;
        let held = begun.elapsed();
        println!("taken over after {held:.1?}");
        ensure!(held > LEFT, "it was taken over after {held:.1?}, while the lease held");
        Ok(())
    }

    async fn go_on(&self, slow: usize) -> Result<()> {
        self.stage.go_on(self.proxies()[slow], &self.workers[slow]).await
    }
}

#[tokio::test]
#[ignore = "takes two minutes; `cargo xtask soak`"]
async fn a_worker_that_was_overtaken_stores_nothing_and_leaves_nothing() -> Result<()> {
    let mut stage = Stage::set().await?;
    let slow = stage.stop("create", "APPLY /apis/apps/v1/namespaces/hxb-ws-ID/statefulsets/ws-ID").await?;
    let before = stage.fence().await?;
    let other = stage.other()?;
    stage.is("ready").await?;
    let fence = stage.fence().await?;
    ensure!(fence > before, "{fence} after {before}");
    stage.go_on(&stage.proxy, &slow).await?;
    ensure!(stage.fence().await? >= fence, "the fence was lowered");
    let workspace = stage.person.json(&["workspace", "get", &stage.id]).await?;
    ensure!(workspace["phase"] == "ready", "{workspace}");
    stage.delete().await?;
    stage.is_gone().await?;
    drop(other);

    // A call that was on its way while all was made and removed: the namespace is there again, and nobody's.
    let mut stage = Stage::set().await?;
    let slow = stage.stop("create", "POST /api/v1/namespaces").await?;
    let other = stage.other()?;
    stage.is("ready").await?;
    stage.delete().await?;
    stage.go_on(&stage.proxy, &slow).await?;
    // A worker that begins looks for what was left behind.
    drop(other);
    let _other = stage.other()?;
    stage.is_gone().await?;
    report(2, &[]);
    Ok(())
}

#[tokio::test]
#[ignore = "takes two minutes; `cargo xtask soak`"]
async fn a_worker_that_was_overtaken_in_a_change_or_a_deletion_undoes_nothing_of_what_the_other_did() -> Result<()> {
    let mut stage = Stage::set().await?;
    let first = stage.other()?;
    stage.is("ready").await?;
    drop(first);
    let standard = quota(&stage.at, &stage.id).await?;
    stage.person.hxb(&["workspace", "set-plan", &stage.id, "premium"]).await?;
    let slow = stage.stop("plan", "APPLY /api/v1/namespaces/hxb-ws-ID/resourcequotas/hexabase").await?;
    let other = stage.other()?;
    stage.is_under("premium", |allowed| allowed != standard).await?;
    stage.person.hxb(&["workspace", "set-plan", &stage.id, "standard"]).await?;
    stage.is_under("standard", |allowed| allowed == standard).await?;
    // What it was about to allow is more than the plan gives by now.
    stage.go_on(&stage.proxy, &slow).await?;
    stage.is_under("standard", |allowed| allowed == standard).await?;
    drop((slow, other));

    stage.person.hxb(&["workspace", "delete", &stage.id, "--yes"]).await?;
    let slow = stage.stop("delete", "DELETE /api/v1/namespaces/hxb-ws-ID").await?;
    let _other = stage.other()?;
    stage.is("deleted").await?;
    let gone = stage.person.json(&["workspace", "get", &stage.id]).await?;
    stage.go_on(&stage.proxy, &slow).await?;
    ensure!(stage.person.json(&["workspace", "get", &stage.id]).await? == gone, "the record has changed: {gone}");
    ensure!(stage.records("workspace.deleted").await? == 1, "a deletion is told other than once");
    stage.is_gone().await?;
    report(2, &[]);
    Ok(())
}

#[tokio::test]
#[ignore = "takes three minutes; `cargo xtask soak`"]
async fn a_worker_that_is_stopped_for_longer_than_its_lease_is_refused_and_undoes_nothing() -> Result<()> {
    let mut pair = Pair::set().await?;
    // About to raise the fence, which the other one has raised further by the time that this call is carried out.
    pair.aim("create", "MERGE /api/v1/namespaces/hxb-ws-ID")?;
    pair.stage.id = pair.stage.person.ask_for("outlived").await?;
    let slow = pair.stop().await?;
    pair.is_taken_over().await?;
    pair.stage.is("ready").await?;
    let fence = pair.stage.fence().await?;
    pair.go_on(slow).await?;
    ensure!(pair.stage.fence().await? >= fence, "the fence was lowered");
    let workspace = pair.stage.person.json(&["workspace", "get", &pair.stage.id]).await?;
    ensure!(workspace["phase"] == "ready", "{workspace}");

    let standard = quota(&pair.stage.at, &pair.stage.id).await?;
    pair.aim("plan", "APPLY /api/v1/namespaces/hxb-ws-ID/resourcequotas/hexabase")?;
    pair.stage.person.hxb(&["workspace", "set-plan", &pair.stage.id, "premium"]).await?;
    let slow = pair.stop().await?;
    pair.is_taken_over().await?;
    pair.stage.is_under("premium", |allowed| allowed != standard).await?;
    pair.stage.person.hxb(&["workspace", "set-plan", &pair.stage.id, "standard"]).await?;
    pair.stage.is_under("standard", |allowed| allowed == standard).await?;
    // This call the host does not refuse: what it allows is put right.
    pair.go_on(slow).await?;
    pair.stage.is_under("standard", |allowed| allowed == standard).await?;

    pair.stage.delete().await?;
    for (action, times) in [("workspace.created", 1), ("workspace.plan_changed", 2), ("workspace.deleted", 1)] {
        let found = pair.stage.records(action).await?;
        ensure!(found == times, "{found} records of {action} instead of {times}");
    }
    pair.stage.is_gone().await?;
    report(2, &[]);
    Ok(())
}
