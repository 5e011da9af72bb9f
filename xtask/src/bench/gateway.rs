//! The gateway: what it adds to an answer, how it compares with nginx in front of the same API server, and what one
//! workspace notices of another one that floods.
//!
//! Whoever asks runs on the same cores as whatever answers, so that all figures but the ratios are of a small machine.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexabase_testkit::http::Http;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Figure, percentile, stage};
use crate::cmd;
use crate::host::{self, Host, packages, process};
use crate::people::Person;
use crate::platform;
use crate::progress::Progress;

const WORKSPACES: [&str; 2] = ["quiet", "loud"];
/// Without the limits of a workspace, which are what is measured last.
const LIFTED: &str = "[gateway]\nrequests_per_second = 1000000\nburst = 1000000\nbytes_per_second = 100000000000\n";
/// Questions one after the other, at each of two in turn.
const QUESTIONS: usize = 2_000;
/// Rounds of each proxy in turn, and how long one lasts.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
/// Askers at once, and the connections that they share.
const ASKERS: usize = 32;
const CONNECTIONS: usize = 4;
/// A small answer, and one of about a megabyte.
const SMALL: &str = "/api/v1/namespaces/default";
const LARGE: &str = "/api/v1/namespaces/default/configmaps/large";
const LARGE_BYTES: usize = 900_000;
/// How long the quiet workspace is asked, and how often; by how many the loud one is flooded, with a pause after each
/// answer: twice as many as may be in progress, more watches among them than may be open, and together more than a hundred
/// times what the gateway lets pass.
const CALM: Duration = Duration::from_secs(20);
const EVERY: Duration = Duration::from_millis(20);
const FLOOD: usize = 400;
const PAUSE: Duration = Duration::from_millis(30);

const NGINX: &str = "nginx-bench";
const NGINX_PORTS: u16 = 9743;

/// Measures it all.
pub(crate) fn run(options: &host::Options) -> Result<Vec<Figure>> {
    packages::ensure(&packages::missing_for_gateway(), options.yes, &Progress::new())?;
    let mut figures = stage::set_with(options, &WORKSPACES, LIFTED, proxies)?;
    figures.extend(stage::set(options, &WORKSPACES, fairness)?);
    Ok(figures)
}

/// The ways to one workspace's API server.
struct Ways {
    direct: Http,
    nginx: Vec<Http>,
    gateway: Vec<Http>,
}

fn proxies(host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let [quiet, _] = WORKSPACES;
    let workspace = workspace(alice, quiet, progress)?;
    let nginx = Nginx::start(host, alice, &workspace, progress)?;
    let token = token(alice, &workspace)?;
    let gateway = through_gateway(alice, &workspace, &token)?;
    let ways = Ways {
        direct: Http::new(&nginx.tenant, &nginx.tenant_ca)?.with_token(&token),
        nginx: several(|| Ok(Http::new(&nginx.address, &nginx.certificate)?.with_token(&token)))?,
        gateway: several(|| through_gateway(alice, &workspace, &token))?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(gateway.post("/api/v1/namespaces/default/configmaps", &large("large")))?.expect(201)?;
    let mut figures = progress.step("ask one after the other", || latency(&runtime, &ways))?;
    for (what, path, [ratio, own, peer]) in [
        ("small answers", SMALL, ["gateway / nginx, small answers", "gateway, small answers", "nginx, small answers"]),
        ("large answers", LARGE, ["gateway / nginx, large answers", "gateway, large answers", "nginx, large answers"]),
    ] {
        let (mut by_gateway, mut by_nginx) = (Vec::new(), Vec::new());
        progress.step(&format!("ask at once, {what}"), || {
            for _ in 0..ROUNDS {
                by_nginx.push(runtime.block_on(rate(&ways.nginx, path))?);
                by_gateway.push(runtime.block_on(rate(&ways.gateway, path))?);
            }
            Ok(())
        })?;
        let (gateway, nginx) = (percentile(&mut by_gateway, 0.5), percentile(&mut by_nginx, 0.5));
        let detail = format!("{ASKERS} at once on {CONNECTIONS} connections; median of {ROUNDS} rounds");
        figures.push(Figure::at_least(ratio, gateway / nginx * 100.0, "%", 90.0, detail.clone()));
        figures.push(Figure::plain(own, gateway, "1/s", detail.clone()));
        figures.push(Figure::plain(peer, nginx, "1/s", detail));
    }
    drop(nginx);
    stage::remove(alice, &WORKSPACES)?;
    Ok(figures)
}

/// What the gateway adds, between questions without it.
fn latency(runtime: &Runtime, ways: &Ways) -> Result<Vec<Figure>> {
    let gateway = ways.gateway.first().context("no client")?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        for number in 0..QUESTIONS + 100 {
            for (http, samples) in [(&ways.direct, &mut without), (gateway, &mut with)] {
                let begun = Instant::now();
                http.get(SMALL).await?.expect(200)?;
                // The first ones open connections.
                if number >= 100 {
                    samples.push(begun.elapsed().as_secs_f64() * 1_000.0);
                }
            }
        }
        anyhow::Ok(())
    })?;
    let mut added = |share: f64| {
        let (with, without) = (percentile(&mut with, share), percentile(&mut without, share));
        (with - without, format!("{with:.2} ms with it, {without:.2} ms without"))
    };
    let ((p50, of_p50), (p99, of_p99)) = (added(0.5), added(0.99));
    Ok(vec![
        Figure::plain("gateway adds, p50", p50, "ms", of_p50),
        Figure::at_most("gateway adds, p99", p99, "ms", 2.0, of_p99),
    ])
}

fn fairness(_host: &Host, alice: &Person<'_>, progress: &Progress) -> Result<Vec<Figure>> {
    let [quiet, loud] = WORKSPACES;
    let (quiet, loud) = (workspace(alice, quiet, progress)?, workspace(alice, loud, progress)?);
    let asker = through_gateway(alice, &quiet, &token(alice, &quiet)?)?;
    let floods = several(|| through_gateway(alice, &loud, &token(alice, &loud)?))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut alone = progress.step("ask the quiet one alone", || runtime.block_on(calmly(&asker)))?;
    let answers = Arc::new(Answers::default());
    let mut beside = progress.step("ask it while the other one is flooded", || {
        runtime.block_on(async {
            // Ends with this block.
            let _flood = flood(&floods, &answers);
            calmly(&asker).await
        })
    })?;
    let (alone, beside) = (percentile(&mut alone, 0.99), percentile(&mut beside, 0.99));
    let detail = format!("alone {alone:.1} ms, beside {beside:.1} ms; the flood is of watches and objects of 1 MB");
    let share = format!("answers to the {FLOOD} who flood, in {} s", CALM.as_secs());
    let count = |number: &AtomicU32| number.load(Ordering::Relaxed);
    let (refused, written) = (count(&answers.refused), count(&answers.written));
    stage::remove(alice, &WORKSPACES)?;
    ensure!(refused > 0 && written > 0, "there was no flood: {refused} refused, {written} written");
    Ok(vec![
        Figure::at_most("p99 beside a flood / alone", beside / alone, "x", 1.5, detail),
        Figure::plain("answers to the flood", f64::from(count(&answers.all)), "", share.clone()),
        Figure::plain("of which are 429", f64::from(refused), "", share.clone()),
        Figure::plain("of which wrote an object of 1 MB", f64::from(written), "", share),
    ])
}

/// How long each answer of a calm asker took, in ms.
async fn calmly(http: &Http) -> Result<Vec<f64>> {
    let (end, mut samples) = (Instant::now() + CALM, Vec::new());
    while Instant::now() < end {
        let begun = Instant::now();
        http.get(SMALL).await?.expect(200)?;
        samples.push(begun.elapsed().as_secs_f64() * 1_000.0);
        tokio::time::sleep(EVERY).await;
    }
    Ok(samples)
}

/// What came of a flood.
#[derive(Default)]
struct Answers {
    all: AtomicU32,
    refused: AtomicU32,
    written: AtomicU32,
}

/// Many who do not wait as they are told: every second one with watches that stay open, the others with lists and objects of
/// a megabyte.
fn flood(clients: &[Http], answers: &Arc<Answers>) -> JoinSet<()> {
    const LIST: &str = "/api/v1/namespaces/default/configmaps";
    let mut set: JoinSet<()> = JoinSet::new();
    for number in 0..FLOOD {
        let (http, answers) = (clients[number % clients.len()].clone(), Arc::clone(answers));
        set.spawn(async move {
            let object = format!("flood-{number}");
            loop {
                // A refusal is an answer as well; whatever comes of it, the next one follows.
                let answered = match number % 4 {
                    0 | 2 => http.get(&format!("{LIST}?watch=true")).await,
                    1 => http.get(LIST).await,
                    _ => match http.post(LIST, &large(&object)).await {
                        Ok(made) if made.status == 409 => http.delete(&format!("{LIST}/{object}")).await,
                        other => other,
                    },
                };
                if let Ok(answer) = answered {
                    answers.all.fetch_add(1, Ordering::Relaxed);
                    answers.refused.fetch_add(u32::from(answer.status == 429), Ordering::Relaxed);
                    answers.written.fetch_add(u32::from(answer.status == 201), Ordering::Relaxed);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    set
}

/// Answers per second.
async fn rate(clients: &[Http], path: &'static str) -> Result<f64> {
    let mut set = JoinSet::new();
    let begun = Instant::now();
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
    Ok(f64::from(answers) / begun.elapsed().as_secs_f64())
}

fn several(make: impl Fn() -> Result<Http>) -> Result<Vec<Http>> {
    (0..CONNECTIONS).map(|_| make()).collect()
}

fn large(name: &str) -> Value {
    let data = json!({ "x": "x".repeat(LARGE_BYTES) });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

/// Makes a workspace; its id.
fn workspace(alice: &Person<'_>, name: &str, progress: &Progress) -> Result<String> {
    progress.step(&format!("create workspace {name}"), || {
        alice.hxb(&["workspace", "create", name, "--plan", "standard", "--timeout", "5m"]).map(drop)
    })?;
    alice.json(&["workspace", "get", name, "--output", "json"], "id")
}

fn token(alice: &Person<'_>, workspace: &str) -> Result<String> {
    let credential: Value = serde_json::from_str(&alice.hxb(&["credential", "--workspace", workspace])?)?;
    Ok(credential["status"]["token"].as_str().context("no token")?.to_owned())
}

fn through_gateway(alice: &Person<'_>, workspace: &str, token: &str) -> Result<Http> {
    let authority = fs::read_to_string(&alice.platform.authority)?;
    Ok(Http::new(&format!("{}/k8s/{workspace}", alice.platform.url), &authority)?.with_token(token))
}

/// nginx in front of a workspace's API server; ends when dropped.
struct Nginx {
    /// Where it is, below which the API server is, and the certificate that it shows.
    address: String,
    certificate: String,
    /// Where the API server itself is, and the authority behind its certificate.
    tenant: String,
    tenant_ca: String,
}

impl Nginx {
    fn start(host: &Host, alice: &Person<'_>, workspace: &str, progress: &Progress) -> Result<Self> {
        let namespace = format!("hxb-{workspace}");
        let ask = |kind: &str, name: &str, path: &str| {
            cmd::output(host.kubectl()?.args(["-n", &namespace, "get", kind, name, "-o", path]))
        };
        let ip = ask("service", workspace, "jsonpath={.spec.clusterIP}")?;
        let secret = format!("vc-{workspace}");
        // The last thing that vCluster writes; its API server answers before.
        alice.until("the authority of the workspace", || Ok(ask("secret", &secret, "name").is_ok()))?;
        let secret = ask("secret", &secret, r"jsonpath={.data.certificate-authority}")?;
        let tenant_ca = String::from_utf8(STANDARD.decode(secret.trim())?)?;
        let folder = alice.platform.folder.join("nginx");
        fs::create_dir_all(&folder)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?.pem();
        for (name, text) in [("tls.crt", &certificate), ("tls.key", &key.serialize_pem()), ("tenant.crt", &tenant_ca)] {
            fs::write(folder.join(name), text)?;
        }
        let port = platform::free_port(NGINX_PORTS, None)?;
        let config = config(&folder, port, ip.trim(), workspace);
        let file = folder.join("nginx.conf");
        fs::write(&file, &config)?;
        let spec = process::Spec {
            name: NGINX,
            program: cmd::which("nginx").context("nginx is missing")?,
            args: vec!["-c".into(), file.display().to_string(), "-e".into(), "stderr".into()],
            env: vec![],
            netns: None,
            config: format!("{config}{certificate}"),
        };
        let layout = host::layout()?;
        progress.step("start nginx", || {
            process::ensure(&layout, &spec)?;
            process::wait(&layout, NGINX, Duration::from_secs(10), || {
                std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
            })
        })?;
        let address = format!("https://localhost:{port}/k8s/{workspace}");
        Ok(Self { address, certificate, tenant: format!("https://{}", ip.trim()), tenant_ca })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let stopped = host::layout().and_then(|layout| process::stop(&layout, NGINX, Duration::from_secs(10)));
        if let Err(error) = stopped {
            eprintln!("{error:#}");
        }
    }
}

/// As somebody sets it up who wants it fast: HTTP/2 in front, kept connections behind, and there TLS that is checked.
fn config(folder: &Path, port: u16, tenant: &str, workspace: &str) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {};\n", path(kind)))
        .concat();
    let (pid, certificate, key, ca) = (path("nginx.pid"), path("tls.crt"), path("tls.key"), path("tenant.crt"));
    format!(
        "user root;\ndaemon off;\nworker_processes auto;\npid {pid};\nerror_log stderr warn;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000;\n{temporary}  \
         upstream tenant {{ server {tenant}:443; keepalive 64; keepalive_requests 1000000; }}\n  \
         server {{\n    listen 127.0.0.1:{port} ssl http2;\n    \
         ssl_certificate {certificate};\n    ssl_certificate_key {key};\n    \
         location /k8s/{workspace}/ {{\n      proxy_pass https://tenant/;\n      proxy_http_version 1.1;\n      \
         proxy_set_header Connection \"\";\n      proxy_set_header Host kubernetes;\n      \
         proxy_ssl_name kubernetes;\n      proxy_ssl_verify on;\n      \
         proxy_ssl_trusted_certificate {ca};\n      proxy_max_temp_file_size 0;\n    }}\n  }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_nginx_have_all_their_braces() {
        let text = config(Path::new("/x"), 1, "10.0.0.1", "ws-1");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert!(text.contains("location /k8s/ws-1/ {") && text.contains("server 10.0.0.1:443;"), "{text}");
    }
}
