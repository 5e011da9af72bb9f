//! A flood of one workspace: many who do not wait as they are told. It runs in a process of its own, which has what processor time
//! nobody else wants: those who flood have machines of their own, and must not take from this one what the platform would have.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hexabase_testkit::http::{Http, Method};
use serde::{Deserialize, Serialize};

use super::{CONNECTIONS, Way, large};
use crate::autogroup;
use crate::host::cgroups;

/// By how many, with a pause after each answer: twice as many as may be in progress, more watches among them than may be open,
/// and together far more than the gateway lets pass.
pub(super) const FLOOD: usize = 400;
const PAUSE: Duration = Duration::from_millis(30);
/// Objects of a megabyte that they make and delete: each list is of all that are there.
const OBJECTS: usize = 2;
/// Two of watches, one of lists, and one of objects that are made and deleted.
const KINDS: usize = 4;
/// Where of a hundred that passed more are broken, it is no flood.
const BROKEN: u32 = 5;

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Answers {
    /// Answers of the API server that say yes, and to changes that nothing stood in the way of.
    pub(super) passed: u32,
    /// 429.
    pub(super) refused: u32,
    /// 5xx.
    pub(super) broken: u32,
    /// No answer: the gateway hung up, as it may on whoever resets too much.
    pub(super) cut: u32,
    /// Objects of a megabyte that were made.
    pub(super) written: u32,
    /// Watches that were open at the end.
    pub(super) open: u32,
    /// What the first of both was.
    why: Option<String>,
}

impl Answers {
    pub(super) fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.refused += other.refused;
        self.broken += other.broken;
        self.cut += other.cut;
        self.written += other.written;
        self.open = self.open.max(other.open);
    }

    /// Whether the workspace was there to be flooded, and was.
    pub(super) fn is_a_flood(&self) -> bool {
        let Self { passed, refused, broken, written, open, .. } = self;
        [refused, written, open].into_iter().all(|count| *count > 0) && broken * 100 <= (passed + broken) * BROKEN
    }
}

/// A flood that goes on, and its cgroup.
pub(super) struct Flood(Child, Option<PathBuf>);

impl Flood {
    pub(super) fn start(way: &Way) -> Result<Self> {
        let mut child = Command::new("nice")
            .args(["-n", "19"])
            .arg(std::env::current_exe()?)
            .arg("flood")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a flood")?;
        let input = child.stdin.as_mut().context("a flood without input")?;
        writeln!(input, "{}", serde_json::to_string(way)?)?;
        let folder = cgroups::idle(child.id());
        Ok(Self(child, folder))
    }

    /// Whether it has only what processor time nobody else wants.
    pub(super) fn is_idle(&self) -> bool {
        self.1.is_some()
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<Answers> {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stdout.take().context("a flood without output")?.read_to_string(&mut said)?;
        ensure!(self.0.wait()?.success(), "the flood broke off");
        Ok(serde_json::from_str(&said)?)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // It ends with its input; this is for whoever gave up.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
        if let Some(folder) = &self.1 {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// What `cargo xtask flood` does: floods what the first line of its input is the way to until its input ends, then says what came
/// of it.
pub(crate) fn run() -> Result<()> {
    // Otherwise it would have the priority of whoever asks beside it.
    if rustix::process::setsid().is_ok() {
        autogroup::set(std::process::id(), 19);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let way: Way = serde_json::from_str(&line).context("flood is for `cargo xtask bench flood` only")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let counts = Arc::new(Counts::default());
    for connection in 0..CONNECTIONS {
        let http = way.http()?;
        // What comes at once would open a connection each.
        runtime.block_on(http.get(super::SMALL))?;
        for asker in (connection..FLOOD).step_by(CONNECTIONS) {
            runtime.spawn(ask(asker, http.clone(), Arc::clone(&counts)));
        }
    }
    std::io::stdin().read_line(&mut line)?;
    let read = |count: &AtomicU32| count.load(Ordering::Relaxed);
    let Counts { passed, refused, broken, cut, written, open, why } = &*counts;
    let [passed, refused, broken, cut, written, open] = [passed, refused, broken, cut, written, open].map(read);
    let why = why.get().cloned();
    println!("{}", serde_json::to_string(&Answers { passed, refused, broken, cut, written, open, why })?);
    runtime.shutdown_background();
    Ok(())
}

#[derive(Default)]
struct Counts {
    passed: AtomicU32,
    refused: AtomicU32,
    broken: AtomicU32,
    cut: AtomicU32,
    written: AtomicU32,
    open: AtomicU32,
    why: OnceLock<String>,
}

/// What one of them asks; on each connection there are as many of each kind.
fn kind(number: usize) -> usize {
    number / CONNECTIONS % KINDS
}

/// Every second one with watches, which end soon and begin anew, the others with lists and objects of a megabyte; whatever the
/// answer is, the next question follows. No watch is of those objects: that ends as soon as the API server has no memory left.
async fn ask(number: usize, http: Http, counts: Arc<Counts>) {
    const LIST: &str = "/api/v1/namespaces/default/configmaps";
    let name = format!("flood-{}", number / (CONNECTIONS * KINDS) % OBJECTS);
    let (object, body) = (format!("{LIST}/{name}"), large(&name).to_string());
    let (watch, is_watch) = ("/api/v1/pods?watch=true&timeoutSeconds=5", kind(number).is_multiple_of(2));
    let mut is_there = false;
    loop {
        let request = match kind(number) {
            0 | 2 => http.request(Method::GET, watch),
            1 => http.request(Method::GET, LIST),
            _ if is_there => http.request(Method::DELETE, &object),
            _ => http.request(Method::POST, LIST).header("content-type", "application/json").body(body.clone()),
        };
        let answer = request.send().await;
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        is_there = match status {
            201 | 409 => true,
            200 | 404 => false,
            _ => is_there,
        };
        let count = match status {
            0 => &counts.cut,
            429 => &counts.refused,
            200..500 => &counts.passed,
            _ => &counts.broken,
        };
        if status == 0 || status >= 500 {
            counts.why.get_or_init(|| {
                answer.as_ref().map_or_else(|error| format!("{error:?}"), |answer| answer.status().to_string())
            });
        }
        count.fetch_add(1, Ordering::Relaxed);
        counts.written.fetch_add(u32::from(status == 201), Ordering::Relaxed);
        if let Ok(mut answer) = answer {
            let is_open = is_watch && status == 200;
            counts.open.fetch_add(u32::from(is_open), Ordering::Relaxed);
            // Read, and not kept.
            while let Ok(Some(_)) = answer.chunk().await {}
            counts.open.fetch_sub(u32::from(is_open), Ordering::Relaxed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_some_of_each_kind() {
        for connection in 0..CONNECTIONS {
            let mut kinds = [0; KINDS];
            (connection..FLOOD).step_by(CONNECTIONS).for_each(|number| kinds[kind(number)] += 1);
            assert_eq!(kinds, [FLOOD / CONNECTIONS / KINDS; KINDS]);
        }
    }

    #[test]
    fn a_workspace_that_broke_down_was_not_flooded() {
        let flood =
            || Answers { passed: 1_000, refused: 20_000, broken: 10, cut: 0, written: 40, open: 150, why: None };
        assert!(flood().is_a_flood());
        assert!(!Answers { broken: 100, ..flood() }.is_a_flood(), "much was broken");
        assert!(!Answers { open: 0, ..flood() }.is_a_flood(), "no watches were open");
        assert!(!Answers { refused: 0, ..flood() }.is_a_flood(), "nothing was too much");
        assert!(!Answers { written: 0, ..flood() }.is_a_flood(), "nothing was written");
    }
}
