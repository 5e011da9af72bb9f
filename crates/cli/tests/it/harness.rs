//! Runs the binary in a home folder of its own.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::stub::Stub;

pub(crate) const WORKSPACE: &str = "ws-00000000000000000001";
pub(crate) const ORGANIZATION: &str = "org-00000000000000000001";

/// A user's home folder.
pub(crate) struct Home {
    folder: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A home with a session at `stub` whose access token lives for `seconds` more.
    pub(crate) fn signed_in(stub: &Stub, seconds: i64) -> Self {
        let home = Self::new();
        let expires_at = if seconds > 0 { "2999-01-01T00:00:00Z" } else { "2020-01-01T00:00:00Z" };
        let session =
            json!({ "mark": "M", "access_token": "access-0", "refresh_token": "refresh-0", "expires_at": expires_at });
        let config = json!({ "current": stub.address(), "servers": { stub.address(): { "session": session } } });
        home.write(".config/hexabase/hxb.json", &config.to_string());
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn config(&self) -> Value {
        serde_json::from_str(&self.read(".config/hexabase/hxb.json")).unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hxb"));
        command.args(arguments).env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub(crate) async fn hxb(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().await.unwrap().into()
    }
}

#[cfg(unix)]
pub(crate) fn mode(path: &std::path::Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
}
