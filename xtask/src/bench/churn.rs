//! Whether anything stays of workspaces that come and go: on the host, and in the server's memory.

use std::time::Instant;

use anyhow::Result;

use super::workspace::resident_mb;
use super::{Figure, percentile, stage};
use crate::cmd;
use crate::host::{self, Host};
use crate::people::Person;
use crate::progress::Progress;

const WORKSPACE: &str = "churn";
const CYCLES: usize = 100;
/// From here on the server's memory should not grow.
const WARM: usize = 10;

/// Makes and deletes one workspace after the other.
pub(crate) fn run(options: &host::Options) -> Result<Vec<Figure>> {
    stage::set(options, &[WORKSPACE], measure)
}

fn measure(host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let pid = stage::pid()?;
    let (mut ids, mut creations, mut deletions) = (Vec::new(), Vec::new(), Vec::new());
    let mut warm = f64::NAN;
    for cycle in 1..=CYCLES {
        progress.step(&format!("cycle {cycle} of {CYCLES}"), || {
            let begun = Instant::now();
            alice.hxb(&["workspace", "create", WORKSPACE, "--plan", "standard", "--timeout", "5m"])?;
            creations.push(begun.elapsed().as_secs_f64());
            ids.push(alice.json(&["workspace", "get", WORKSPACE, "--output", "json"], "id")?);
            let begun = Instant::now();
            alice.hxb(&["workspace", "delete", WORKSPACE, "--yes", "--wait", "--timeout", "5m"])?;
            deletions.push(begun.elapsed().as_secs_f64());
            Ok(())
        })?;
        if cycle == WARM {
            warm = resident_mb(pid)?;
        }
    }
    let end = resident_mb(pid)?;
    let left = leftovers(host, &ids)?;
    let many = format!("of {CYCLES}");
    Ok(vec![
        Figure::at_most("objects left on the host", left.len() as f64, "", 0.0, left.join(", ")),
        Figure::at_most(
            "growth of the server's memory",
            (end - warm) / warm * 100.0,
            "%",
            10.0,
            format!("RSS of `hexabase all`: {warm:.1} MB after {WARM} cycles, {end:.1} MB after {CYCLES}"),
        ),
        Figure::plain("create, p50", percentile(&mut creations, 0.5), "s", many.clone()),
        Figure::plain("delete, p50", percentile(&mut deletions, 0.5), "s", many.clone()),
        Figure::at_most("delete, longest", percentile(&mut deletions, 1.0), "s", 120.0, many),
    ])
}

/// What on the host bears the id of one of these workspaces, or held data of it.
fn leftovers(host: &Host, ids: &[String]) -> Result<Vec<String>> {
    let kinds =
        "namespaces,persistentvolumes,clusterroles,clusterrolebindings,storageclasses,ingressclasses,priorityclasses";
    let names = cmd::output(host.kubectl()?.args(["get", kinds, "-o", "name"]))?;
    let claims = "jsonpath={range .items[*]}{.spec.claimRef.namespace}{\"\\n\"}{end}";
    let claims = cmd::output(host.kubectl()?.args(["get", "persistentvolumes", "-o", claims]))?;
    let is_ours = |name: &&str| ids.iter().any(|id| name.contains(id.as_str()));
    Ok(names.lines().chain(claims.lines()).filter(is_ours).map(str::to_owned).collect())
}
