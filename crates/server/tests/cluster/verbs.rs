//! What kubectl does beyond asking and changing: everything that opens a tunnel, over WebSocket and over SPDY, and the
//! rest through the gateway.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use hexabase_testkit::browser::Said;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::support::{BUSYBOX, Person, SERVE, Shop, TIMEOUT, in_time, line_of, page, shop, until};

/// How kubectl is told by which protocol to open tunnels, and how the gateway's log calls it.
const PROTOCOLS: [(&str, &str); 2] = [("true", "\"websocket\""), ("false", "\"SPDY/3.1\"")];

fn toggles(websocket: &'static str) -> [(&'static str, &'static str); 2] {
    [("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websocket), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", websocket)]
}

/// What kubectl reads from.
enum Input {
    /// Ends.
    Whole(&'static [u8]),
    /// Stays open as long as kubectl runs: whoever attaches to a container ends with their input.
    Beginning(&'static [u8]),
}

/// Runs kubectl with further variables and something to read.
async fn with_input(person: &Person, arguments: &[&str], environment: &[(&str, &str)], input: Input) -> Result<Said> {
    fed(Command::from(person.kubectl_command(arguments)), environment, input).await
}

/// Runs kubectl in a terminal of 33 rows and 77 columns, where nobody types anything.
async fn in_a_terminal(person: &Person, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Said> {
    let kubectl = person.kubectl_command(arguments);
    let words = std::iter::once(kubectl.get_program()).chain(kubectl.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let line = format!("stty rows 33 cols 77 && exec {}", words.join(" "));
    let mut terminal = Command::from(person.command(Path::new("script")));
    terminal.env("SHELL", "/bin/sh").args(["--quiet", "--return", "--command", line.as_str(), "/dev/null"]);
    fed(terminal, environment, Input::Beginning(b"")).await
}

async fn fed(mut command: Command, environment: &[(&str, &str)], input: Input) -> Result<Said> {
    command.envs(environment.iter().copied()).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no input")?;
    let write = async move {
        let (Input::Whole(bytes) | Input::Beginning(bytes)) = input;
        // Whoever has heard enough hangs up.
        let _ = stdin.write_all(bytes).await;
        matches!(input, Input::Beginning(_)).then_some(stdin)
    };
    let ended = in_time("the end of kubectl", async {
        let (output, _open) = futures::future::join(child.wait_with_output(), write).await;
        Ok(output?)
    });
    let output = ended.await?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Tunnels of a protocol that the platform has opened so far.
fn opened(shop: &Shop, protocol: &str) -> usize {
    shop.platform.log().lines().filter(|line| line.contains("tunnel opened") && line.contains(protocol)).count()
}

/// Runs two pods in a project of its own: one that serves a page, and one that repeats what it reads.
async fn pods(shop: &Shop, project: &str) -> Result<()> {
    let alice = &shop.alice;
    alice.project("shop", project, &[]).await?;
    alice.kubectl(&["-n", project, "run", "web", "--image", BUSYBOX, "--", "sh", "-c", SERVE]).await?;
    let echo = ["-n", project, "run", "echo", "--image", BUSYBOX, "--overrides", ECHO];
    alice.kubectl(&echo).await?;
    alice.kubectl(&["-n", project, "wait", "--for=condition=Ready", "pod/web", "pod/echo", TIMEOUT]).await.map(drop)
}

/// With its standard input kept open for whoever attaches to it.
const ECHO: &str = r#"{"apiVersion":"v1","spec":{"containers":[{"name":"echo","stdin":true,
    "image":"docker.io/library/busybox:1.36",
    "command":["sh","-c","while read -r line; do echo \"heard $line\"; done; sleep 600"]}]}}"#;

#[tokio::test]
async fn exec_attach_and_copies_work_over_both_protocols() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    pods(shop, "tunnels").await?;
    let folder = tempfile::tempdir()?;
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    // More than one piece of a stream, and no text.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    std::fs::write(&there, &bytes)?;
    let (there, back) = (there.display().to_string(), back.display().to_string());
    for (websocket, protocol) in PROTOCOLS {
        let environment = toggles(websocket);
        let before = opened(shop, protocol);
        let exec = ["-n", "tunnels", "exec", "-i", "web", "--", "sh", "-c", "cat; echo aside >&2; exit 7"];
        let said = with_input(alice, &exec, &environment, Input::Whole(b"through\n")).await?;
        ensure!(said.code == 7 && said.stdout == "through\n" && said.stderr.contains("aside"), "{protocol}: {said:?}");

        let attach = ["-n", "tunnels", "attach", "-i", "echo", "-c", "echo"];
        let mut command = Command::from(alice.kubectl_command(&attach));
        command.envs(environment).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut stdin = child.stdin.take().context("no input")?;
        stdin.write_all(format!("by {websocket}\n").as_bytes()).await?;
        line_of(&mut lines, |line| line == format!("heard by {websocket}")).await?;
        child.kill().await?;

        let copy = |from: &str, to: &str| {
            let mut command = Command::from(alice.kubectl_command(&["-n", "tunnels", "cp", from, to, "-c", "web"]));
            command.envs(environment).kill_on_drop(true);
            crate::support::run(command)
        };
        copy(&there, "web:/tmp/copy").await?.good()?;
        copy("web:/tmp/copy", &back).await?.good()?;
        ensure!(std::fs::read(&back)? == bytes, "{protocol}: the copy is not what was copied");
        std::fs::remove_file(&back)?;
        ensure!(opened(shop, protocol) >= before + 4, "the tunnels were not opened by {protocol}");
    }
    Ok(())
}

/// Says how large its terminal is. That is told to it a moment after it has begun.
const SIZE: &str =
    "i=0; until [ \"$(stty size)\" = \"33 77\" ] || [ $i -ge 60 ]; do i=$((i+1)); sleep 1; done; stty size";

#[tokio::test]
async fn a_terminal_in_a_container_is_as_large_as_the_one_in_front_of_it_over_both_protocols() -> Result<()> {
    let shop = shop().await?;
    pods(shop, "terminal").await?;
    for (websocket, protocol) in PROTOCOLS {
        let before = opened(shop, protocol);
        let exec = ["-n", "terminal", "exec", "-it", "web", "--", "sh", "-c", SIZE];
        let said = in_a_terminal(&shop.alice, &exec, &toggles(websocket)).await?;
        ensure!(said.code == 0 && said.stdout.trim_end().ends_with("33 77"), "{protocol}: {said:?}");
        ensure!(opened(shop, protocol) > before, "the tunnel was not opened by {protocol}");
    }
    Ok(())
}

#[tokio::test]
async fn ports_are_forwarded_over_both_protocols() -> Result<()> {
    let shop = shop().await?;
    pods(shop, "ports").await?;
    for (websocket, protocol) in PROTOCOLS {
        let before = opened(shop, protocol);
        let arguments = ["-n", "ports", "port-forward", "pod/web", ":8080"];
        let (_forward, port) = shop.alice.forward(&arguments, &toggles(websocket)).await?;
        // Each connection is a stream of its own in the one tunnel.
        for _ in 0..5 {
            ensure!(page(port, "/").await?.ends_with("page\n"), "{protocol}");
        }
        ensure!(opened(shop, protocol) > before, "the tunnel was not opened by {protocol}");
    }
    Ok(())
}

#[tokio::test]
async fn a_proxy_on_ones_own_machine_reaches_the_api_and_a_pod() -> Result<()> {
    let shop = shop().await?;
    pods(shop, "proxy").await?;
    let (_proxy, port) = shop.alice.forward(&["proxy", "--port=0", "--append-server-path"], &[]).await?;
    let answer = page(port, "/api/v1/namespaces/proxy/pods").await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let pods: serde_json::Value = serde_json::from_str(body)?;
    ensure!(pods["kind"] == "PodList", "{answer}");
    until("the page through the API server", async || {
        Ok(page(port, "/api/v1/namespaces/proxy/pods/web:8080/proxy/").await?.ends_with("page\n"))
    })
    .await
}

#[tokio::test]
async fn a_pod_is_debugged_by_a_container_beside_it_over_both_protocols() -> Result<()> {
    let shop = shop().await?;
    pods(shop, "debug").await?;
    // It goes on once it hears from whoever has attached to it.
    let look = "read -r line; wget -q -O - http://127.0.0.1:8080/; echo \"heard $line\"";
    for (websocket, protocol) in PROTOCOLS {
        let (before, beside) = (opened(shop, protocol), format!("beside-{websocket}"));
        let debug =
            ["-n", "debug", "debug", "web", "--image", BUSYBOX, "-c", &beside, "-q", "-i", "--", "sh", "-c", look];
        let said = with_input(&shop.alice, &debug, &toggles(websocket), Input::Beginning(b"me\n")).await?;
        ensure!(said.code == 0 && said.stdout.ends_with("page\nheard me\n"), "{protocol}: {said:?}");
        ensure!(opened(shop, protocol) > before, "the tunnel was not opened by {protocol}");
    }
    Ok(())
}

#[tokio::test]
async fn two_who_apply_on_the_server_are_told_of_each_other() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    alice.project("shop", "owners", &[]).await?;
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("note.yaml");
    let apply = async |text: &str, manager: &str, more: &[&str]| {
        let note = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: note}}\ndata: {text}\n");
        std::fs::write(&manifest, note)?;
        let (file, manager) = (manifest.display().to_string(), format!("--field-manager={manager}"));
        let apply = ["-n", "owners", "apply", "--server-side", "-f", &file, &manager];
        alice.try_kubectl(&[apply.as_slice(), more].concat()).await
    };
    apply("{text: one}", "first", &[]).await?.good()?;
    let refused = apply("{text: two}", "second", &[]).await?;
    ensure!(refused.code != 0 && refused.stderr.contains("conflict with \"first\""), "{refused:?}");
    apply("{text: two}", "second", &["--force-conflicts"]).await?.good()?;
    let text = alice.kubectl(&["-n", "owners", "get", "configmap", "note", "-o", "jsonpath={.data.text}"]).await?;
    ensure!(text == "two", "{text}");
    Ok(())
}

#[tokio::test]
async fn whoever_asks_as_somebody_else_is_told_why_not() -> Result<()> {
    let shop = shop().await?;
    for arguments in [["get", "pods", "--as", "bob"], ["auth", "can-i", "--list", "--as=system:admin"]] {
        let said = shop.alice.refused(&arguments, "--as").await?;
        ensure!(said.contains("hxb access explain"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn what_runs_inside_is_told_by_hxb_with_the_rights_of_whoever_asks() -> Result<()> {
    let shop = shop().await?;
    let alice = &shop.alice;
    pods(shop, "looked").await?;
    let pods = alice.json(&["pod", "list", "-w", "shop", "-n", "looked"]).await?;
    let names: Vec<&str> =
        pods["items"].as_array().into_iter().flatten().filter_map(|pod| pod["name"].as_str()).collect();
    ensure!(names == ["echo", "web"] && pods["items"][1]["status"] == "Running", "{pods}");
    until("the pod's first line", async || {
        Ok(alice.hxb(&["pod", "log", "web", "-w", "shop", "-n", "looked"]).await?.contains("started"))
    })
    .await?;
    let events = alice.json(&["workspace", "events", "shop", "-n", "looked"]).await?;
    ensure!(events["items"].as_array().is_some_and(|events| !events.is_empty()), "{events}");
    let usage = alice.json(&["workspace", "usage", "shop", "-n", "looked"]).await?;
    ensure!(usage["total"]["pods"] == 2 && usage["namespaces"][0]["namespace"] == "looked", "{usage}");
    // The devhost measures, and tells the workspaces.
    until("a measurement of the pods", async || {
        Ok(alice.json(&["workspace", "usage", "shop", "-n", "looked"]).await?["measured"] == true)
    })
    .await?;
    // A viewer sees as much.
    let viewer = shop.viewer("looker").await?;
    viewer.hxb(&["pod", "list", "-w", "shop"]).await?;
    let absent = alice.hxb.run(&["pod", "log", "nobody", "-w", "shop", "-n", "looked"]).await?;
    ensure!(absent.code == 4, "{absent:?}");
    Ok(())
}
