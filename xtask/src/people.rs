//! People at their terminals: each with an own `hxb` session and kubeconfig below the platform's folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hexabase_testkit::browser::complete_login;

use crate::cmd;
use crate::platform::Platform;

/// One person.
#[derive(Clone, Copy)]
pub(crate) struct Person<'a> {
    pub(crate) platform: &'a Platform,
    pub(crate) kubectl: &'a Path,
    pub(crate) name: &'static str,
}

/// What a program said and how it ended.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) text: String,
}

impl Person<'_> {
    fn folder(&self) -> PathBuf {
        self.platform.folder.join("people").join(self.name)
    }

    pub(crate) fn email(&self) -> String {
        format!("{}@example.test", self.name)
    }

    fn command(&self, program: &Path) -> Command {
        let folder = self.folder();
        let bin = self.platform.hxb.parent().map(|path| path.display().to_string()).unwrap_or_default();
        let mut command = Command::new(program);
        command
            .env("HXB_CONFIG", folder.join("hxb.json"))
            .env("HEXABASE_SERVER", &self.platform.url)
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .env("HOME", &folder)
            .env("PATH", format!("{bin}:{}", cmd::SYSTEM_PATH));
        command
    }

    pub(crate) fn sign_in(&self) -> Result<()> {
        std::fs::create_dir_all(self.folder())?;
        let mut login = self.command(&self.platform.hxb);
        login.args(["login", &self.platform.url, "--no-browser", "--certificate-authority"]);
        login.arg(&self.platform.authority);
        let authority = std::fs::read_to_string(&self.platform.authority)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(complete_login(login, &authority, &self.email()))?.good().context("hxb login failed")?;
        Ok(())
    }

    pub(crate) fn try_hxb(&self, arguments: &[&str]) -> Result<Said> {
        run(self.command(&self.platform.hxb).args(arguments))
    }

    pub(crate) fn hxb(&self, arguments: &[&str]) -> Result<String> {
        self.try_hxb(arguments)?.good("hxb", arguments)
    }

    /// Runs `hxb` with its output shown as it comes.
    pub(crate) fn watch(&self, arguments: &[&str]) -> Result<()> {
        let status = self.command(&self.platform.hxb).args(arguments).status().context("cannot start hxb")?;
        ensure!(status.success(), "hxb {} failed", arguments.join(" "));
        Ok(())
    }

    pub(crate) fn try_kubectl(&self, arguments: &[&str]) -> Result<Said> {
        run(&mut self.kubectl_command(arguments))
    }

    /// kubectl, about to run.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(self.kubectl);
        command.args(arguments);
        command
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.try_kubectl(arguments)?.good("kubectl", arguments)
    }

    pub(crate) fn id(&self) -> Result<String> {
        self.json(&["whoami", "--output", "json"], "id")
    }

    pub(crate) fn workspace_id(&self) -> Result<String> {
        self.json(&["workspace", "get", "shop", "--output", "json"], "id")
    }

    pub(crate) fn json(&self, arguments: &[&str], field: &str) -> Result<String> {
        let value: serde_json::Value = serde_json::from_str(&self.hxb(arguments)?).context("hxb did not print JSON")?;
        Ok(value[field].as_str().with_context(|| format!("there is no {field}"))?.to_owned())
    }

    pub(crate) fn until(&self, what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        while !done()? {
            if begun.elapsed() > Duration::from_secs(120) {
                bail!("{what} did not come within 120 s");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<Said> {
    let output = command.stdin(std::process::Stdio::null()).output().context("cannot start a program")?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(Said { ok: output.status.success(), text })
}

impl Said {
    fn good(self, program: &str, arguments: &[&str]) -> Result<String> {
        ensure!(self.ok, "{program} {} failed: {}", arguments.join(" "), self.text.trim());
        Ok(self.text)
    }
}
