//! What the demonstration shows, statement by statement. Each is checked: a statement that is not true ends it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::host::Host;
use crate::people::Person;
use crate::platform::Platform;
use crate::progress::Progress;

const IMAGE: &str = "docker.io/library/busybox:1.36";
/// A removed member is refused within this time wherever a gateway or the API is asked.
const REVOKED_WITHIN: Duration = Duration::from_secs(60);

/// In what the gateway says to a token of before, and the issuer to who asks for a new one.
const NO_MEMBER: &str = "a member of this workspace";

pub(crate) struct Story<'a> {
    host: &'a Host,
    platform: &'a Platform,
    progress: &'a Progress,
}

impl<'a> Story<'a> {
    pub(crate) fn new(host: &'a Host, platform: &'a Platform, progress: &'a Progress) -> Result<Self> {
        Ok(Self { host, platform, progress })
    }

    fn person(&self, name: &'static str) -> Person<'a> {
        Person { platform: self.platform, kubectl: &self.host.tools.kubectl, name }
    }

    /// A step in which kubectl has to be refused with this word.
    fn refused(&self, person: &Person<'_>, name: &str, arguments: &[&str], word: &str) -> Result<String> {
        self.progress.step(name, || {
            let said = person.try_kubectl(arguments)?;
            ensure!(!said.ok && said.text.contains(word), "{} was not refused: {}", person.name, said.text);
            Ok(said.text)
        })
    }

    /// Prints lines that a program said, as evidence under a step.
    fn show(&self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            eprintln!("            {line}");
        }
    }

    pub(crate) fn tell(&self) -> Result<()> {
        let (alice, bob, carol) = (self.person("alice"), self.person("bob"), self.person("carol"));
        eprintln!("Alice signs in and makes a workspace");
        self.progress.step("alice signs in with the development issuer", || alice.sign_in())?;
        self.show(&alice.hxb(&["whoami"])?);
        self.progress.step("the first sign-in made a private organization", || {
            let list = alice.hxb(&["org", "list"])?;
            ensure!(list.contains("Alice Example's organization"), "there is none: {list}");
            Ok(())
        })?;
        self.tidy_up(&alice)?;
        let begun = Instant::now();
        eprintln!("  ..      create workspace shop on plan standard");
        alice.watch(&["workspace", "create", "shop", "--plan", "standard", "--timeout", "5m"])?;
        self.progress
            .step("write a kubeconfig entry", || alice.hxb(&["kubeconfig", "shop", "--set-current"]).map(drop))?;
        let who = self.progress.step("kubectl auth whoami", || alice.kubectl(&["auth", "whoami"]))?;
        self.show(&who);
        ensure!(who.contains("hexabase:WSAdmins") && who.contains("hexabase:WorkspaceMembers"), "the groups are wrong");
        self.progress.say(&format!("request to first kubectl: {:.1} s", begun.elapsed().as_secs_f64()));

        eprintln!("Alice works in project web");
        self.work(&alice)?;
        eprintln!("Bob may look");
        self.viewer(&alice, &bob)?;
        eprintln!("Carol is a stranger");
        self.stranger(&carol)?;
        eprintln!("Bob is removed");
        self.revoke(&alice, &bob)
    }

    /// Removes what an earlier demonstration left.
    fn tidy_up(&self, alice: &Person<'_>) -> Result<()> {
        if !alice.try_hxb(&["workspace", "get", "shop"])?.ok {
            return Ok(());
        }
        self.progress.step("remove the last demonstration's workspace", || {
            alice.hxb(&["workspace", "delete", "shop", "--yes", "--wait", "--timeout", "3m"]).map(drop)
        })
    }

    fn work(&self, alice: &Person<'_>) -> Result<()> {
        self.progress.step("create project web", || {
            // The demonstration's image runs as root, as ordinary ones do.
            alice.hxb(&["project", "create", "web", "-w", "shop", "--pods", "3", "--pod-security", "baseline"])?;
            alice.until("the project's namespace", || Ok(alice.try_kubectl(&["get", "namespace", "web"])?.ok))
        })?;
        self.progress.step("create a Deployment", || {
            let script = "echo hello from $HOSTNAME; while true; do sleep 1; done";
            alice.kubectl(&[
                "-n",
                "web",
                "create",
                "deployment",
                "hello",
                "--image",
                IMAGE,
                "--",
                "sh",
                "-c",
                script,
            ])?;
            alice.kubectl(&["-n", "web", "rollout", "status", "deployment/hello", "--timeout=120s"])
        })?;
        self.show(&alice.kubectl(&["-n", "web", "get", "pods"])?);
        let logs = self.progress.step("kubectl logs", || alice.kubectl(&["-n", "web", "logs", "deploy/hello"]))?;
        self.show(&logs);
        ensure!(logs.contains("hello from"), "the pod did not say hello");
        let echo = ["-n", "web", "exec", "deploy/hello", "--", "sh", "-c", "echo exec works in $(hostname)"];
        let said = self.progress.step("kubectl exec", || alice.kubectl(&echo))?;
        self.show(&said);
        let refusal = self.progress.step("the quota refuses one pod too many", || self.exceed_quota(alice))?;
        self.show(&refusal);
        self.progress.step("kubectl top", || {
            alice.until("the pod's usage", || Ok(alice.try_kubectl(&["-n", "web", "top", "pods"])?.ok))
        })?;
        self.show(&alice.kubectl(&["-n", "web", "top", "pods"])?);
        Ok(())
    }

    /// The project has room for three pods: the ReplicaSet of five says why it gets no more.
    fn exceed_quota(&self, alice: &Person<'_>) -> Result<String> {
        alice.kubectl(&["-n", "web", "scale", "deployment/hello", "--replicas", "5"])?;
        let message = "jsonpath={.status.conditions[?(@.type==\"ReplicaFailure\")].message}";
        let mut refusal = String::new();
        alice.until("the quota's refusal", || {
            refusal = alice.kubectl(&["-n", "web", "get", "deployment", "hello", "-o", message])?;
            Ok(refusal.contains("exceeded quota"))
        })?;
        alice.kubectl(&["-n", "web", "scale", "deployment/hello", "--replicas", "1"])?;
        Ok(refusal)
    }

    fn viewer(&self, alice: &Person<'_>, bob: &Person<'_>) -> Result<()> {
        self.progress.step("bob signs in", || bob.sign_in())?;
        self.progress.step("alice gives bob access", || {
            alice.hxb(&["member", "add", "-w", "shop", "bob@example.test"]).map(drop)
        })?;
        bob.hxb(&["kubeconfig", "shop", "--set-current"])?;
        self.progress.step("get works", || bob.kubectl(&["-n", "web", "get", "pods"]).map(drop))?;
        let forbidden =
            self.refused(bob, "create is forbidden", &["-n", "web", "create", "configmap", "note"], "forbidden")?;
        self.show(&forbidden);
        let forbidden = self.refused(bob, "secrets are forbidden", &["-n", "web", "get", "secrets"], "forbidden")?;
        self.show(&forbidden);
        Ok(())
    }

    fn stranger(&self, carol: &Person<'_>) -> Result<()> {
        self.progress.step("carol signs in", || carol.sign_in())?;
        let id = self.person("alice").workspace_id()?;
        let api = self.progress.step("the API answers 404", || {
            let said = carol.try_hxb(&["workspace", "get", &id])?;
            ensure!(!said.ok && said.text.contains("no such workspace"), "carol learnt of it: {}", said.text);
            Ok(said.text)
        })?;
        self.show(&api);
        let issuer = self.progress.step("the issuer gives no token", || {
            let said = carol.try_hxb(&["credential", "--server", &self.platform.url, "--workspace", &id])?;
            ensure!(!said.ok && said.text.contains("not a member"), "carol has a token: {}", said.text);
            Ok(said.text)
        })?;
        self.show(&issuer);
        let forged = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.";
        let server = format!("{}/k8s/{id}", self.platform.url);
        let authority = self.platform.authority.display().to_string();
        let said = self.progress.step("the gateway answers 401 to a forged token", || {
            let said = carol.try_kubectl(&[
                "--kubeconfig",
                "/dev/null",
                "--server",
                &server,
                "--certificate-authority",
                &authority,
                "--token",
                forged,
                "get",
                "--raw",
                "/api/v1/namespaces",
            ])?;
            ensure!(!said.ok && said.text.contains("must be logged in"), "a forged token got: {}", said.text);
            Ok(said.text)
        })?;
        self.show(said.lines().last().unwrap_or_default());
        Ok(())
    }

    fn revoke(&self, alice: &Person<'_>, bob: &Person<'_>) -> Result<()> {
        let id = bob.id()?;
        self.progress.step("alice removes bob", || alice.hxb(&["member", "remove", "-w", "shop", &id]).map(drop))?;
        let begun = Instant::now();
        let mut refusal = String::new();
        self.progress.step("bob's kubectl is refused", || {
            bob.until("the refusal", || {
                let said = bob.try_kubectl(&["-n", "web", "get", "pods"])?;
                refusal = said.text;
                Ok(!said.ok && refusal.contains(NO_MEMBER))
            })
            .with_context(|| format!("the last answer was: {refusal}"))?;
            ensure!(begun.elapsed() < REVOKED_WITHIN, "it took {:.0} s", begun.elapsed().as_secs_f64());
            Ok(())
        })?;
        self.show(&refusal);
        self.progress.say(&format!("refused {:.1} s after the removal", begun.elapsed().as_secs_f64()));
        Ok(())
    }
}
