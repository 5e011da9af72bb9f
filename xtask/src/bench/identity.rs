//! Who somebody is, and what it costs to know: tokens, sign-ins, explanations, lists, and how alike refusals are.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hexabase_testkit::browser::Browser;
use hexabase_testkit::http::Http;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Figure, examples, percentile, stage};
use crate::host::{self, Host};
use crate::people::Person;
use crate::progress::Progress;

/// Workspaces that are made: one that lives, and a large one, which need not.
const WORKSPACES: [&str; 2] = ["lives", "large"];
/// People of the large workspace.
const MEMBERS: usize = 1_000;
/// Sign-ins on this many devices at once.
const DEVICES: usize = 4;
const REFRESHES: usize = 500;
const EXCHANGES: usize = 2_000;
const SIGN_INS: usize = 300;
const EXPLANATIONS: usize = 300;
const LISTS: usize = 100;
const REFUSALS: usize = 1_000;
/// Clock ticks in a second, as `/proc` counts processor time: fixed on Linux for programs.
const TICKS: f64 = 100.0;

/// Measures it all.
pub(crate) fn run(options: &host::Options) -> Result<Vec<Figure>> {
    stage::set(options, &WORKSPACES, measure)
}

/// What the requests need.
struct Client<'a> {
    runtime: Runtime,
    url: &'a str,
    authority: String,
    alice: Http,
}

fn measure(_host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let [lives, large] = WORKSPACES;
    let url = alice.platform.url.as_str();
    let authority = fs::read_to_string(&alice.platform.authority)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let token = runtime.block_on(async {
        let browser = Browser::new(&authority)?;
        browser.tokens(&format!("{url}/oidc/platform"), "hxb", &alice.email()).await
    })?;
    let api = Http::new(url, &authority)?.with_token(token.access_token);
    let client = Client { runtime, url, authority, alice: api };
    progress.step("create a workspace", || {
        alice.hxb(&["workspace", "create", lives, "--plan", "standard", "--timeout", "5m"]).map(drop)
    })?;
    let lives_id = alice.json(&["workspace", "get", lives, "--output", "json"], "id")?;
    let mut figures = examples::mint(progress)?;
    figures.push(examples::resolve(progress)?);
    figures.push(progress.step("refresh tokens", || client.refresh())?);
    figures.extend(progress.step("exchange tokens", || client.exchange(&lives_id))?);
    figures.extend(progress.step("sign in", || client.sign_in())?);
    figures.extend(progress.step("explain access", || client.explain(&lives_id))?);
    figures.push(progress.step("ask for what is not there", || client.refusals(&lives_id))?);
    alice.hxb(&["workspace", "create", large, "--plan", "premium", "--no-wait"])?;
    let large_id = alice.json(&["workspace", "get", large, "--output", "json"], "id")?;
    progress.step(&format!("sign {MEMBERS} people in and add them"), || client.fill(&large_id))?;
    figures.extend(progress.step("list members", || client.list(&large_id))?);
    stage::remove(alice, &WORKSPACES)?;
    Ok(figures)
}

impl Client<'_> {
    fn nobody(&self) -> Result<Http> {
        Http::new(self.url, &self.authority)
    }

    /// Refresh tokens of several devices at once, each exchanged for the next: what the server's processor needed for it.
    fn refresh(&self) -> Result<Figure> {
        let issuer = format!("{}/oidc/platform", self.url);
        self.runtime.block_on(async {
            let mut tokens = Vec::new();
            for device in 0..DEVICES {
                let browser = Browser::new(&self.authority)?;
                let got = browser.tokens(&issuer, "hxb", &format!("device-{device}@example.test")).await?;
                tokens.push((self.nobody()?, got.refresh_token.context("no refresh token")?));
            }
            let before = processor_seconds(stage::pid()?)?;
            let chains = tokens.into_iter().map(|(http, mut token)| async move {
                for _ in 0..REFRESHES {
                    let form = [("grant_type", "refresh_token"), ("client_id", "hxb"), ("refresh_token", &token)];
                    let answer = http.post_form("/oidc/platform/token", &form).await?.expect(200)?.json()?;
                    token = text(&answer["refresh_token"])?;
                }
                anyhow::Ok(())
            });
            for chain in join_all(chains).await {
                chain?;
            }
            let spent = processor_seconds(stage::pid()?)? - before;
            let rate = (DEVICES * REFRESHES) as f64 / spent;
            let detail = format!("stored, {DEVICES} devices at once, SQLite; by the server's processor time");
            Ok(Figure::at_least("refreshes per core", rate, "1/s", 900.0, detail))
        })
    }

    /// A token of a workspace for one of the platform's, which stores nothing.
    fn exchange(&self, workspace: &str) -> Result<Vec<Figure>> {
        let path = format!("/oidc/{workspace}/token");
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("client_id", "hxb"),
            ("subject_token", self.alice.token()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ];
        let before = processor_seconds(stage::pid()?)?;
        // The token is in the form; a header beside it would be a client's password.
        let nobody = self.nobody()?;
        let mut samples = self.timed(EXCHANGES, async |_, _| {
            nobody.post_form(&path, &form).await?.expect(200)?;
            Ok(())
        })?;
        let spent = processor_seconds(stage::pid()?)? - before;
        let detail = "one after the other, with membership, session and groups read anew".to_owned();
        Ok(vec![
            Figure::at_most("token exchange, p99", percentile(&mut samples, 0.99), "ms", 10.0, detail.clone()),
            Figure::plain("token exchanges per core", EXCHANGES as f64 / spent, "1/s", detail),
        ])
    }

    /// A known person in a new browser: from the first page to the one behind the sign-in.
    fn sign_in(&self) -> Result<Vec<Figure>> {
        let mut samples = Vec::new();
        self.runtime.block_on(async {
            for _ in 0..SIGN_INS {
                let begun = Instant::now();
                Browser::sign_in(&self.authority, self.url, "bob@example.test").await?;
                samples.push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
            anyhow::Ok(())
        })?;
        let detail = "a new browser each time, with the development issuer".to_owned();
        Ok(vec![
            Figure::plain("sign-in, p50", percentile(&mut samples, 0.5), "ms", detail.clone()),
            Figure::at_most("sign-in, p99", percentile(&mut samples, 0.99), "ms", 50.0, detail),
        ])
    }

    fn explain(&self, workspace: &str) -> Result<Vec<Figure>> {
        let path = format!("/api/v1/workspaces/{workspace}/access/explain?verb=delete&resource=pods&namespace=default");
        let mut samples = self.timed(EXPLANATIONS, async |http, _| {
            http.get(&path).await?.expect(200)?;
            Ok(())
        })?;
        let detail = "asked of a real tenant API server".to_owned();
        Ok(vec![
            Figure::plain("explain, p50", percentile(&mut samples, 0.5), "ms", detail.clone()),
            Figure::at_most("explain, p99", percentile(&mut samples, 0.99), "ms", 100.0, detail),
        ])
    }

    /// How much longer one kind of "not found" takes than the other.
    fn refusals(&self, workspace: &str) -> Result<Figure> {
        let paths = [workspace, "ws-00000000000000000000"].map(|id| format!("/api/v1/workspaces/{id}"));
        let stranger = self.runtime.block_on(async {
            let browser = Browser::new(&self.authority)?;
            let got = browser.tokens(&format!("{}/oidc/platform", self.url), "hxb", "stranger@example.test").await?;
            Ok::<_, anyhow::Error>(self.nobody()?.with_token(got.access_token))
        })?;
        let mut samples = [Vec::new(), Vec::new()];
        self.runtime.block_on(async {
            for round in 0..2 * REFUSALS {
                // In turns, so that both see the same machine.
                let begun = Instant::now();
                stranger.get(&paths[round % 2]).await?.expect(404)?;
                samples[round % 2].push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
            anyhow::Ok(())
        })?;
        let [foreign, absent] = samples.map(|mut samples| percentile(&mut samples, 0.5));
        let ratio = (foreign / absent).max(absent / foreign);
        let detail = format!("median of {REFUSALS} each: somebody else's {foreign:.2} ms, absent {absent:.2} ms");
        Ok(Figure::at_most("foreign and absent id, ratio", ratio, "", 1.2, detail))
    }

    fn fill(&self, workspace: &str) -> Result<()> {
        let path = format!("/api/v1/workspaces/{workspace}/members");
        self.runtime.block_on(async {
            let there = self.members(workspace).await?.0;
            for number in there..MEMBERS {
                let email = format!("person-{number}@example.test");
                Browser::sign_in(&self.authority, self.url, &email).await?;
                self.alice.post(&path, &json!({ "email": email })).await?.expect(201)?;
            }
            Ok(())
        })
    }

    /// Asks for all pages; returns how many people there are, and the milliseconds until the pages were here. What this
    /// program needs to make sense of them is not counted.
    async fn members(&self, workspace: &str) -> Result<(usize, f64)> {
        let (mut found, mut spent, mut cursor) = (0, 0.0, String::new());
        loop {
            let path = format!("/api/v1/workspaces/{workspace}/members?limit=200{cursor}");
            let begun = Instant::now();
            let page = self.alice.get(&path).await?.expect(200)?;
            spent += begun.elapsed().as_secs_f64() * 1_000.0;
            let page = page.json()?;
            found += page["items"].as_array().context("no items")?.len();
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok((found, spent)),
            }
        }
    }

    fn list(&self, workspace: &str) -> Result<Vec<Figure>> {
        let mut samples = Vec::new();
        self.runtime.block_on(async {
            for _ in 0..LISTS {
                let (found, spent) = self.members(workspace).await?;
                samples.push(spent);
                ensure!(found >= MEMBERS, "only {found} members");
            }
            anyhow::Ok(())
        })?;
        let detail = format!("all {MEMBERS} with their groups, in pages of 200");
        Ok(vec![Figure::at_most("list of 1,000 members, p50", percentile(&mut samples, 0.5), "ms", 25.0, detail)])
    }

    /// Milliseconds of as many calls, one after the other, as Alice.
    fn timed(&self, count: usize, mut call: impl AsyncFnMut(&Http, usize) -> Result<()>) -> Result<Vec<f64>> {
        let mut samples = Vec::new();
        self.runtime.block_on(async {
            for number in 0..count {
                let begun = Instant::now();
                call(&self.alice, number).await?;
                samples.push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
            Ok(samples)
        })
    }
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("a text is missing")?.to_owned())
}

/// Waits for all, which go on side by side.
async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in waiting.iter_mut().zip(&mut done).filter(|(_, slot)| slot.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Processor time that a process has used, from `/proc` (proc(5): fields 14 and 15 of `stat`).
fn processor_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    // The name of the program, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).context("not a stat line");
    Ok((field(11)? + field(12)?) / TICKS)
}
