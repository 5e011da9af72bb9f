//! Two workers, of which one is stopped in the middle of its work for longer than it may be, and goes on when the other is done.

use anyhow::{Context as _, Result, ensure};
use hexabase_testkit::faults::{Aim, Fault, FaultProxy};
use hexabase_testkit::platform::{Beside, Platform};

use super::report;
use crate::lane::quota;
use crate::support::{Person, in_time, until};
use crate::surroundings::Surroundings;

const KUBECONFIG: &str = "HEXABASE__HOST__KUBECONFIG";

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
        let at = Surroundings::read()?;
        let proxy = FaultProxy::start(&at.whole_kubeconfig().await?).await?;
        let platform = at.platform_through(&proxy.kubeconfig(), "serve").await?;
        let person = Person::sign_in(&at, &platform, "pia").await?;
        let id = person.ask_for("taken-over").await?;
        Ok(Self { at, proxy, platform, person, id })
    }

    /// Starts a worker that is stopped before this call, which belongs to what was asked for last. What it had leased is the other
    /// one's, if there is one.
    async fn stop(&mut self, operation: &str, call: &str) -> Result<Beside> {
        self.proxy.aim(Aim::These([(format!("{operation} before {call}").parse()?, Fault::Halt)].into()));
        ensure!(self.proxy.begin(operation));
        let slow = self.platform.beside("work", &[])?;
        self.proxy.open();
        in_time("the call", self.proxy.halted()).await?;
        slow.freeze()?;
        Ok(slow)
    }

    /// Starts the other worker, which has a way of its own to the host. On SQLite it takes over at once what was leased.
    fn other(&self) -> Result<Beside> {
        let kubeconfig = self.at.kubeconfig.display().to_string();
        self.platform.beside("work", &[(KUBECONFIG, kubeconfig.as_str())])
    }

    /// Has the stopped one go on where it was, and waits until it has noticed. Its call is carried out before it can know anything.
    async fn go_on(&self, slow: &Beside) -> Result<()> {
        let before = self.platform.log().len();
        self.proxy.open();
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

    async fn is_gone(&self) -> Result<()> {
        until("nothing of it", async || Ok(self.at.leftovers(&self.id).await?.is_empty()))
            .await
            .with_context(|| self.platform.log())
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
    stage.go_on(&slow).await?;
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
    stage.go_on(&slow).await?;
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
    stage.go_on(&slow).await?;
    stage.is_under("standard", |allowed| allowed == standard).await?;
    drop((slow, other));

    stage.person.hxb(&["workspace", "delete", &stage.id, "--yes"]).await?;
    let slow = stage.stop("delete", "DELETE /api/v1/namespaces/hxb-ws-ID").await?;
    let _other = stage.other()?;
    stage.is("deleted").await?;
    let gone = stage.person.json(&["workspace", "get", &stage.id]).await?;
    stage.go_on(&slow).await?;
    ensure!(stage.person.json(&["workspace", "get", &stage.id]).await? == gone, "the record has changed: {gone}");
    let log = stage.person.hxb(&["audit", "list", "--action", "workspace.deleted", "--output", "json"]).await?;
    ensure!(log.matches("\"workspace.deleted\"").count() == 1, "{log}");
    stage.is_gone().await?;
    report(2, &[]);
    Ok(())
}
