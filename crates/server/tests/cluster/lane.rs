//! The life of one workspace, operation by operation, on a platform of its own behind a proxy that strikes. Whatever happens on
//! the way, what comes out has to be what comes out for everybody else.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hexabase_app::clock::Clock;
use hexabase_backends::store::jobs;
use hexabase_testkit::faults::{Fault, FaultProxy};
use hexabase_testkit::platform::Platform;
use serde_json::{Value, json};

use crate::belongings::Belongings;
use crate::support::{PATIENCE, Person, shop, store_of, text, until};
use crate::surroundings::Surroundings;

/// How often an operation is looked at.
const POLL: Duration = Duration::from_millis(250);
/// A worker that has made no call for so long has come to the end of its run.
const QUIET: Duration = Duration::from_millis(1_500);
/// What Kubernetes itself makes from other objects is there by then.
const SETTLED: Duration = Duration::from_secs(90);
/// Most calls per second about one workspace, while all of them fail.
pub(crate) const RATE: f64 = 5.0;
/// What only the jobs of workspaces ask for: what is theirs on the host and, before that, which storage they may name.
const THEIRS: [&str; 2] = ["/namespaces/hxb-ws-ID", "/storageclasses"];
const NAME: &str = "lane";
const JOB: &str = "reconcile-workspace";
/// The look through the host, which asks for such jobs.
const SWEEP: (&str, &str) = ("sweep-host", "host");
/// Which of the deliveries are of that one as well.
const SWEEPS: usize = 10;

/// What went wrong in a life.
#[derive(Debug, Default)]
pub(crate) struct Toll {
    /// What is missing, or did not come about.
    pub lost: Vec<String>,
    /// What is left although it is nobody's any more.
    pub orphaned: Vec<String>,
    /// What is there more than once.
    pub doubled: Vec<String>,
}

impl Toll {
    pub(crate) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.orphaned.is_empty() && self.doubled.is_empty()
    }
}

/// A platform behind a proxy, with one person on it.
pub(crate) struct Lane {
    pub at: Surroundings,
    pub proxy: FaultProxy,
    pub platform: Platform,
    pub person: Person,
    /// Of the workspace; empty before there is one.
    pub id: String,
    pub toll: Toll,
    /// In which ways, one after the other, all calls fail where the proxy holds one; in none, where the platform is killed instead.
    pub storm: &'static [Fault],
    /// How often the job of each operation is delivered beside what is asked for, while it goes on and again when it is over.
    pub deliveries: usize,
    /// Records that the audit log is to have, by their action.
    records: BTreeMap<&'static str, usize>,
}

impl Lane {
    pub(crate) async fn start() -> Result<Self> {
        let at = Surroundings::read()?;
        let proxy = FaultProxy::start(&at.whole_kubeconfig().await?).await?;
        let platform = at.platform_through(&proxy.kubeconfig(), "all").await?;
        let person = Person::sign_in(&at, &platform, "pia").await?;
        let (id, toll, records) = (String::new(), Toll::default(), BTreeMap::new());
        Ok(Self { at, proxy, platform, person, id, toll, storm: &[], deliveries: 0, records })
    }

    pub(crate) fn namespace(&self) -> String {
        format!("hxb-{}", self.id)
    }

    /// The workspace as the API shows it.
    pub(crate) async fn workspace(&self) -> Result<Value> {
        self.person.json(&["workspace", "get", &self.id]).await
    }

    /// Everything that can be done to a workspace, and whether it is right after each, with all that somebody has in it; `thorough`
    /// also takes the plan and a deletion back.
    pub(crate) async fn life(&mut self, thorough: bool) -> Result<()> {
        self.create().await?;
        self.weigh("creation").await?;
        let held = Belongings::bring(&self.at, &self.person, &self.id).await?;
        self.change_plan(&held, thorough).await?;
        self.expect("workspace.falling_asleep");
        self.expect("workspace.waking");
        self.operation("sleep", &["workspace", "sleep"], &[], async |lane: &Self| lane.rests("asleep").await).await?;
        self.look_for(&held, "sleep", false).await?;
        self.operation("wake", &["workspace", "wake"], &[], async |lane: &Self| lane.is("ready").await).await?;
        self.weigh("waking").await?;
        self.look_for(&held, "waking", true).await?;
        if thorough {
            let rests = async |lane: &Self| lane.rests("to-be-deleted").await;
            self.expect("workspace.to_be_deleted");
            self.expect("workspace.restored");
            self.operation("regret", &["workspace", "delete"], &["--yes", "--grace", "1h"], rests).await?;
            self.look_for(&held, "a deletion that can be undone", false).await?;
            let ready = async |lane: &Self| lane.is("ready").await;
            self.operation("restore", &["workspace", "restore"], &[], ready).await?;
            self.weigh("restoring").await?;
            self.look_for(&held, "restoring", true).await?;
        }
        self.delete().await
    }

    /// Makes the workspace.
    pub(crate) async fn create(&mut self) -> Result<()> {
        self.begin("create").await?;
        self.expect("workspace.created");
        self.id = self.person.ask_for(NAME).await?;
        self.proxy.open();
        self.drive("create", async |lane: &Self| lane.is("ready").await).await?;
        self.person.hxb(&["kubeconfig", NAME, "--set-current"]).await?;
        self.person.kubectl(&["auth", "whoami"]).await.context("ready, and a member's token is not believed").map(drop)
    }

    /// Puts it under the plan of the shared workspace, until the host holds it to the same, and if it is to go `back`, under its own
    /// again, which gives less.
    async fn change_plan(&mut self, held: &Belongings, back: bool) -> Result<()> {
        let shop = shop().await?;
        let (before, wanted) = (quota(&self.at, &self.id).await?, quota(&shop.at, &shop.id).await?);
        self.expect("workspace.plan_changed");
        let larger = async |lane: &Self| lane.has_plan("premium", &wanted).await;
        self.operation("plan", &["workspace", "set-plan"], &["premium"], larger).await?;
        self.weigh("change of plan").await?;
        self.look_for(held, "change of plan", true).await?;
        if back {
            self.expect("workspace.plan_asked_for");
            self.expect("workspace.plan_changed");
            let smaller = async |lane: &Self| lane.has_plan("standard", &before).await;
            self.operation("shrink", &["workspace", "set-plan"], &["standard"], smaller).await?;
            self.weigh("the smaller plan").await?;
            self.look_for(held, "the smaller plan", true).await?;
        }
        Ok(())
    }

    /// Whether it is under this plan, nothing else is asked for, and the host holds it to that.
    async fn has_plan(&self, plan: &str, allowed: &str) -> Result<bool> {
        let workspace = self.workspace().await?;
        let settled = workspace["plan"] == plan && workspace["plan_change"].is_null();
        Ok(settled && quota(&self.at, &self.id).await? == allowed && self.is("ready").await?)
    }

    /// Notes what of somebody's is no longer there; inside it is looked only while the workspace `runs`.
    async fn look_for(&mut self, held: &Belongings, moment: &str, runs: bool) -> Result<()> {
        let mut lost = held.lost_on_host(&self.at, &self.id).await?;
        if runs {
            lost.extend(held.lost_inside(&self.person).await?);
        }
        self.toll.lost.extend(lost.iter().map(|what| format!("after {moment}: {what}")));
        Ok(())
    }

    /// Deletes it; there must be a receipt, one record of everything, and nothing left.
    pub(crate) async fn delete(&mut self) -> Result<()> {
        self.expect("workspace.deleting");
        self.expect("workspace.deleted");
        let deleted = async |lane: &Self| lane.is("deleted").await;
        self.operation("delete", &["workspace", "delete"], &["--yes"], deleted).await?;
        let gone = self.workspace().await?;
        if gone["receipt"]["remaining"] != json!([]) {
            self.toll.orphaned.push(format!("on the receipt: {}", gone["receipt"]["remaining"]));
        }
        self.toll.orphaned.extend(self.at.leftovers(&self.id).await?);
        for (action, wanted) in &self.records {
            let log = self.person.hxb(&["audit", "list", "--action", action, "--output", "json"]).await?;
            let found = log.matches(&format!("\"{action}\"")).count();
            let told = format!("{found} records of {action} instead of {wanted}");
            match found.cmp(wanted) {
                Ordering::Less => self.toll.lost.push(told),
                Ordering::Equal => {}
                Ordering::Greater => self.toll.doubled.push(told),
            }
        }
        let store = store_of(&self.platform).await?;
        let is_ended = async || -> Result<bool> { Ok(jobs::list_unfinished(&store, JOB, 10).await?.is_empty()) };
        let ended = until("the end of the job", is_ended).await;
        store.close().await?;
        ended?;
        ensure!(self.toll.is_empty(), "{:#?}", self.toll);
        Ok(())
    }

    fn expect(&mut self, action: &'static str) {
        *self.records.entry(action).or_default() += 1;
    }

    /// Asks for something to be done to the workspace, and sees it through.
    async fn operation(
        &mut self,
        name: &str,
        command: &[&str],
        more: &[&str],
        done: impl AsyncFn(&Self) -> Result<bool>,
    ) -> Result<()> {
        self.begin(name).await?;
        let id = self.id.clone();
        self.person.hxb(&[command, &[id.as_str()], more].concat()).await?;
        self.proxy.open();
        self.drive(name, done).await
    }

    /// No call of the worker passes until it was asked: what it strikes at belongs to the operation.
    async fn begin(&mut self, operation: &str) -> Result<()> {
        while !self.proxy.begin(operation) {
            self.kill().await?;
        }
        Ok(())
    }

    /// Kills the platform wherever the proxy says, or has its calls fail from there on, until it is done and has come to rest.
    async fn drive(&mut self, operation: &str, done: impl AsyncFn(&Self) -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        let (mut delivered, mut is_late) = (0, self.deliveries == 0);
        loop {
            if let Ok(halted) = tokio::time::timeout(POLL, self.proxy.halted()).await {
                let moment = halted?.to_string();
                if self.storm.is_empty() {
                    self.kill_at(&moment).await?;
                } else {
                    self.weather(operation).await.with_context(|| format!("in a storm that began {moment}"))?;
                }
                continue;
            }
            if delivered < self.deliveries {
                self.deliver(delivered..delivered + 1).await?;
                delivered += 1;
            }
            let is_quiet = self.proxy.calls().last().is_none_or(|last| last.elapsed() > QUIET);
            let is_done = delivered == self.deliveries && is_quiet && done(&*self).await?;
            if is_done && !is_late {
                is_late = true;
                self.deliver(0..self.deliveries).await?;
                self.until_idle().await?;
                continue;
            }
            if is_done && self.proxy.rest() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let found = self.workspace().await.unwrap_or_default();
                self.toll.lost.push(format!("{operation} did not come to its end: {found}"));
                bail!("{operation} did not come to its end: {found}\n{}", self.platform.log());
            }
        }
    }

    /// Delivers the workspace's job once for each of these numbers, as if it had been on its way for up to an hour. What has been so for
    /// longest is carried out first: it and the look through the host change places from one delivery to the next.
    async fn deliver(&self, numbers: Range<usize>) -> Result<()> {
        let store = store_of(&self.platform).await?;
        for number in numbers {
            let now = Clock::System.now();
            let sent = |step: usize| anyhow::Ok(now.plus_seconds(-36 * i64::try_from(number * step % 100)?));
            let tx = store.begin().await?;
            jobs::enqueue(&tx, JOB, &self.id, sent(37)?, now).await?;
            if number.is_multiple_of(SWEEPS) {
                jobs::enqueue(&tx, SWEEP.0, SWEEP.1, sent(73)?, now).await?;
            }
            tx.commit().await?;
        }
        Ok(store.close().await?)
    }

    /// Waits until no job is due or being carried out.
    async fn until_idle(&self) -> Result<()> {
        let store = store_of(&self.platform).await?;
        let is_idle = async || -> Result<bool> {
            let backlog = jobs::backlog(&store, Clock::System.now()).await?;
            Ok(backlog.due + backlog.running == 0)
        };
        let idle = until("the end of what is due", is_idle).await;
        store.close().await?;
        idle
    }

    /// Has all calls fail, each way until it has met one of the workspace's job; then nothing fails any more. What is held passes: it is
    /// the last that does before that.
    async fn weather(&self, operation: &str) -> Result<()> {
        let begun = Instant::now();
        for fault in self.storm {
            self.proxy.storm(Some(*fault));
            self.proxy.open();
            until(&format!("a call that meets {fault}"), async || Ok(self.has_met(operation, *fault))).await?;
        }
        self.proxy.storm(None);
        let rate = self.rate_since(begun);
        println!("{operation}: {rate:.1} calls per second in {:.0?}", begun.elapsed());
        ensure!(rate < RATE, "{operation}: {rate:.1} calls per second");
        Ok(())
    }

    /// Whether a call of the workspace's job has met with this in this operation.
    fn has_met(&self, operation: &str, fault: Fault) -> bool {
        let is_theirs = |call: &str| THEIRS.iter().any(|part| call.contains(part));
        let struck = self.proxy.struck();
        struck.iter().any(|(at, met)| *met == fault && at.operation == operation && is_theirs(&at.call))
    }

    /// How many calls per second have come since then.
    pub(crate) fn rate_since(&self, begun: Instant) -> f64 {
        let calls = self.proxy.calls().iter().filter(|call| **call >= begun).count();
        calls as f64 / begun.elapsed().as_secs_f64()
    }

    async fn kill(&mut self) -> Result<()> {
        let moment = self.proxy.halted().await?;
        self.kill_at(&moment.to_string()).await
    }

    async fn kill_at(&mut self, moment: &str) -> Result<()> {
        self.platform.kill()?;
        // Only now: what it had asked for and was not carried out never is.
        self.proxy.forget();
        self.platform.start_again().await.with_context(|| format!("after it was killed: {moment}"))
    }

    async fn is(&self, phase: &str) -> Result<bool> {
        let workspace = self.workspace().await?;
        // Trouble that is over leaves no message.
        Ok(workspace["phase"] == phase && workspace["message"].is_null())
    }

    /// Whether it is in this phase and nothing of it runs.
    async fn rests(&self, phase: &str) -> Result<bool> {
        if text(&self.workspace().await?, "phase")? != phase {
            return Ok(false);
        }
        let pods = self.at.host(&["-n", &self.namespace(), "get", "pods", "-o", "name"]).await?.good()?;
        Ok(pods.is_empty())
    }

    /// Compares what there is with what there is of a workspace to which nothing happened.
    pub(crate) async fn weigh(&mut self, moment: &str) -> Result<()> {
        let shop = shop().await?;
        let begun = Instant::now();
        loop {
            let (mut own, mut model) = (self.at.inventory(&self.id).await?, self.at.inventory(&shop.id).await?);
            own.extend(rights(&self.person).await?);
            model.extend(rights(&shop.alice).await?);
            let (missing, surplus) = (without(&model, &own), without(&own, &model));
            if missing.is_empty() && surplus.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > SETTLED {
                let told = |object: &String| format!("after {moment}: {object}");
                self.toll.lost.extend(missing.iter().map(told));
                self.toll.doubled.extend(surplus.iter().map(told));
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// What the platform keeps inside a workspace for everybody.
async fn rights(person: &Person) -> Result<BTreeSet<String>> {
    let get = ["get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/managed-by=hexabase", "-o", "name"];
    Ok(person.kubectl(&get).await?.lines().map(str::to_owned).collect())
}

/// What is allowed on the host, as Kubernetes writes it.
pub(crate) async fn quota(at: &Surroundings, id: &str) -> Result<String> {
    let namespace = format!("hxb-{id}");
    let hard = ["-n", &namespace, "get", "resourcequota", "hexabase", "-o", "jsonpath={.spec.hard}"];
    at.host(&hard).await?.good()
}

/// What is in one list and not, or not so often, in the other.
fn without(all: &[String], others: &[String]) -> Vec<String> {
    let mut left = others.to_vec();
    let is_surplus = |object: &&String| match left.iter().position(|other| other == *object) {
        Some(place) => {
            left.swap_remove(place);
            false
        }
        None => true,
    };
    all.iter().filter(is_surplus).cloned().collect()
}
