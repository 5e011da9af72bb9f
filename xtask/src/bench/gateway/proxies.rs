//! What the gateway adds to an answer, and how many it passes on beside nginx.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hexabase_testkit::http::{Http, Method};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::nginx::Nginx;
use super::{CONNECTIONS, Figure, SMALL, WORKSPACES, Way, large, percentile, several, stage, workspace};
use crate::host::Host;
use crate::people::Person;
use crate::progress::Progress;

/// Questions one after the other, at each of two in turn.
const QUESTIONS: usize = 2_000;
/// Watches that are begun so, each ended before the next one.
const WATCHES: usize = 500;
const WATCH: &str = "/api/v1/namespaces?watch=true&timeoutSeconds=1";
/// Rounds of each proxy in turn, and how long one lasts.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
/// Askers at once.
const ASKERS: usize = 32;
const LARGE: &str = "/api/v1/namespaces/default/configmaps/large";
/// The kernel's clock ticks per second, in which it tells processor time (proc(5)).
const TICKS: f64 = 100.0;

/// The ways to one workspace's API server.
struct Ways {
    direct: Http,
    nginx: Proxy,
    gateway: Proxy,
}

/// What stands between, and what came of asking it.
struct Proxy {
    clients: Vec<Http>,
    pid: u32,
    rates: Vec<f64>,
    /// Processor time per thousand answers, in ms.
    costs: Vec<f64>,
}

pub(super) fn measure(host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let [quiet, _] = WORKSPACES;
    let workspace = workspace(alice, quiet, progress)?;
    let nginx = Nginx::start(host, alice, &workspace, progress)?;
    let way = Way::new(alice, &workspace)?;
    let by_nginx = || Ok(Http::new(&nginx.address, &nginx.certificate)?.with_token(&way.token));
    let mut ways = Ways {
        direct: Http::new(&nginx.tenant, &nginx.tenant_ca)?.with_token(&way.token),
        nginx: Proxy::new(several(by_nginx)?, nginx.pid),
        gateway: Proxy::new(several(|| way.http())?, stage::pid()?),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let made = way.http()?;
    runtime.block_on(made.post("/api/v1/namespaces/default/configmaps", &large("large")))?.expect(201)?;
    let mut figures = progress.step("ask one after the other", || latency(&runtime, &ways))?;
    for (what, path, [ratio, own, peer, own_cost, peer_cost]) in [
        (
            "small answers",
            SMALL,
            [
                "gateway / nginx, small answers",
                "gateway, small answers",
                "nginx, small answers",
                "gateway, processor per small one",
                "nginx, processor per small one",
            ],
        ),
        (
            "large answers",
            LARGE,
            [
                "gateway / nginx, large answers",
                "gateway, large answers",
                "nginx, large answers",
                "gateway, processor per large one",
                "nginx, processor per large one",
            ],
        ),
    ] {
        progress.step(&format!("ask at once, {what}"), || {
            for round in 0..ROUNDS {
                let Ways { nginx, gateway, .. } = &mut ways;
                // Neither is always the first.
                let order = if round % 2 == 0 { [nginx, gateway] } else { [gateway, nginx] };
                for proxy in order {
                    runtime.block_on(proxy.round(path))?;
                }
            }
            Ok(())
        })?;
        let ([gateway, gateway_cost], [nginx, nginx_cost]) = (ways.gateway.medians(), ways.nginx.medians());
        let detail = format!(
            "{ASKERS} at once on {CONNECTIONS} connections; median of {ROUNDS} rounds; API server and askers on the same cores"
        );
        figures.push(Figure::at_least(ratio, gateway / nginx * 100.0, "%", 90.0, detail.clone()));
        figures.push(Figure::plain(own, gateway, "1/s", detail.clone()));
        figures.push(Figure::plain(peer, nginx, "1/s", detail.clone()));
        figures.push(Figure::plain(
            own_cost,
            gateway_cost,
            "ms",
            "all of `hexabase all`, its jobs included".to_owned(),
        ));
        figures.push(Figure::plain(peer_cost, nginx_cost, "ms", detail));
    }
    drop(nginx);
    stage::remove(alice, &WORKSPACES)?;
    Ok(figures)
}

/// What the gateway adds, between questions without it: to what is over in a moment, whose caller is looked up only now and then, and
/// to what stays open, whose caller is looked up each time.
fn latency(runtime: &Runtime, ways: &Ways) -> Result<Vec<Figure>> {
    let mut short =
        runtime.block_on(added(ways, QUESTIONS, async |http| http.get(SMALL).await?.expect(200).map(drop)))?;
    let mut open = runtime.block_on(added(ways, WATCHES, async |http| {
        http.request(Method::GET, WATCH).send().await?.error_for_status()?;
        Ok(())
    }))?;
    let ((p50, of_p50), (p99, of_p99)) = (short.at(0.5), short.at(0.99));
    let ((open_p50, of_open_p50), (open_p99, of_open_p99)) = (open.at(0.5), open.at(0.99));
    Ok(vec![
        Figure::plain("gateway adds, p50", p50, "ms", of_p50),
        Figure::at_most("gateway adds, p99", p99, "ms", 2.0, of_p99),
        Figure::plain("gateway adds to a watch, p50", open_p50, "ms", of_open_p50),
        Figure::plain("gateway adds to a watch, p99", open_p99, "ms", of_open_p99),
    ])
}

/// How long answers took, in ms.
#[derive(Default)]
struct Added {
    with: Vec<f64>,
    without: Vec<f64>,
}

impl Added {
    fn at(&mut self, share: f64) -> (f64, String) {
        let (with, without) = (percentile(&mut self.with, share), percentile(&mut self.without, share));
        (with - without, format!("{with:.2} ms with it, {without:.2} ms without; one asker, SQLite"))
    }
}

async fn added(ways: &Ways, questions: usize, ask: impl AsyncFn(&Http) -> Result<()>) -> Result<Added> {
    let gateway = ways.gateway.clients.first().context("no client")?;
    let mut added = Added::default();
    for number in 0..questions + 100 {
        for (http, samples) in [(&ways.direct, &mut added.without), (gateway, &mut added.with)] {
            let begun = Instant::now();
            ask(http).await?;
            // The first ones open connections.
            if number >= 100 {
                samples.push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
        }
    }
    Ok(added)
}

impl Proxy {
    fn new(clients: Vec<Http>, pid: u32) -> Self {
        Self { clients, pid, rates: Vec::new(), costs: Vec::new() }
    }

    /// Asks it for a while.
    async fn round(&mut self, path: &'static str) -> Result<()> {
        let (before, begun) = (processor_time(self.pid)?, Instant::now());
        let answers = f64::from(ask(&self.clients, path, begun).await?);
        self.rates.push(answers / begun.elapsed().as_secs_f64());
        self.costs.push((processor_time(self.pid)? - before) / answers * 1_000.0);
        Ok(())
    }

    /// Answers per second, and processor time per answer in ms; what comes next begins anew.
    fn medians(&mut self) -> [f64; 2] {
        [&mut self.rates, &mut self.costs].map(|values| percentile(&mut std::mem::take(values), 0.5))
    }
}

/// How many answers come in a round.
async fn ask(clients: &[Http], path: &'static str, begun: Instant) -> Result<u32> {
    let mut set = JoinSet::new();
    for number in 0..ASKERS {
        let http = clients[number % clients.len()].clone();
        set.spawn(async move {
            let mut answers = 0_u32;
            while begun.elapsed() < ROUND {
                http.get(path).await?.expect(200)?;
                answers += 1;
            }
            anyhow::Ok(answers)
        });
    }
    let mut answers = 0;
    while let Some(ended) = set.join_next().await {
        answers += ended??;
    }
    Ok(answers)
}

/// What a process and its children have used, in seconds.
fn processor_time(pid: u32) -> Result<f64> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut sum = ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?)?;
    for child in children.split_whitespace() {
        sum += ticks(&fs::read_to_string(format!("/proc/{child}/stat"))?)?;
    }
    Ok(sum / TICKS)
}

/// `utime` and `stime` of a line of `/proc/PID/stat`: fields 14 and 15, the name in brackets being the second.
fn ticks(stat: &str) -> Result<f64> {
    let (_, rest) = stat.rsplit_once(')').context("a process without a name")?;
    let mut times = rest.split_whitespace().skip(11).map(str::parse::<f64>);
    let mut next = || Ok::<_, anyhow::Error>(times.next().context("a process without times")??);
    Ok(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_of_a_process_is_its_own_and_the_kernels() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 1 0 100 0 0";
        assert_eq!(ticks(stat).unwrap(), 300.0);
        assert!(ticks("7 (a) S 1").is_err());
        assert!(processor_time(std::process::id()).is_ok());
    }
}
