//! Two workers, of which one is stopped in the middle of its work for longer than it may be, and goes on when the other is done.

use anyhow::{Context as _, Result, ensure};
use hexabase_testkit::faults::{Aim, Fault, FaultProxy};
use hexabase_testkit::platform::{Beside, Platform};

use super::report;
use crate::support::{Person, until};
use crate::surroundings::Surroundings;

const KUBECONFIG: &str = "HEXABASE__HOST__KUBECONFIG";

/// A platform without a worker, a workspace that was asked for, and a worker that was stopped at a call.
struct Stopped {
    at: Surroundings,
    platform: Platform,
    person: Person,
    id: String,
    proxy: FaultProxy,
    slow: Beside,
}

impl Stopped {
    async fn at(call: &str) -> Result<Self> {
        let at = Surroundings::read()?;
        let mut proxy = FaultProxy::start(&at.whole_kubeconfig().await?).await?;
        let platform = at.platform_through(&proxy.kubeconfig(), "serve").await?;
        let person = Person::sign_in(&at, &platform, "pia").await?;
        let id = person.ask_for("taken-over").await?;
        proxy.aim(Aim::These([(format!("create before {call}").parse()?, Fault::Halt)].into()));
        ensure!(proxy.begin("create"));
        let slow = platform.beside("work", &[])?;
        proxy.open();
        proxy.halted().await?;
        slow.freeze()?;
        Ok(Self { at, platform, person, id, proxy, slow })
    }

    /// Starts the other worker, which has a way of its own to the host. On SQLite it takes over at once what was leased.
    fn other(&self) -> Result<Beside> {
        let kubeconfig = self.at.kubeconfig.display().to_string();
        self.platform.beside("work", &[(KUBECONFIG, kubeconfig.as_str())])
    }

    /// Has the stopped one go on where it was, and waits until it has noticed.
    async fn goes_on(&self) -> Result<()> {
        self.slow.thaw()?;
        self.proxy.open();
        let refusals = ["another worker took the job over", "was last changed under fence", "could not be stored"];
        until("its refusal", async || {
            let log = self.platform.log();
            Ok(refusals.iter().any(|refusal| log.contains(refusal)))
        })
        .await
        .with_context(|| self.platform.log())
    }

    async fn fence(&self) -> Result<u64> {
        let fence = "jsonpath={.metadata.annotations.hexabase\\.ai/fence}";
        let said = self.at.host(&["get", "namespace", &format!("hxb-{}", self.id), "-o", fence]).await?.good()?;
        said.trim().parse().with_context(|| format!("no fence: {said}"))
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
    let stopped = Stopped::at("APPLY /apis/apps/v1/namespaces/hxb-ws-ID/statefulsets/ws-ID").await?;
    let before = stopped.fence().await?;
    let other = stopped.other()?;
    stopped.person.hxb(&["workspace", "wait", &stopped.id, "--for", "ready", "--timeout", "10m"]).await?;
    let fence = stopped.fence().await?;
    ensure!(fence > before, "{fence} after {before}");
    stopped.goes_on().await?;
    ensure!(stopped.fence().await? >= fence, "the fence was lowered");
    let workspace = stopped.person.json(&["workspace", "get", &stopped.id]).await?;
    ensure!(workspace["phase"] == "ready", "{workspace}");
    stopped.delete().await?;
    stopped.is_gone().await?;
    drop(other);

    // A call that was on its way while all was made and removed: the namespace is there again, and nobody's.
    let stopped = Stopped::at("POST /api/v1/namespaces").await?;
    let other = stopped.other()?;
    stopped.person.hxb(&["workspace", "wait", &stopped.id, "--for", "ready", "--timeout", "10m"]).await?;
    stopped.delete().await?;
    stopped.goes_on().await?;
    // A worker that begins looks for what was left behind.
    drop(other);
    let _other = stopped.other()?;
    stopped.is_gone().await?;
    report(2, &[]);
    Ok(())
}
