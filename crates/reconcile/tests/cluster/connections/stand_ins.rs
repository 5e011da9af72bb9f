//! Two addresses that no test may reach for real: the clouds' metadata service, and somebody on the internet. They stand in a
//! network namespace of the test's own, plugged into the bridge of the host's pods, so that no packet leaves the machine. Only
//! what comes from that bridge is led there: whoever else on the machine asks for these addresses is not.

use std::process::{Child, Command, Stdio};

use tokio::sync::{Mutex, MutexGuard};

use crate::support::{bridge, pod_network};

const METADATA: &str = "169.254.169.254";
/// Any address that policies take for public.
const PUBLIC: &str = "11.22.33.44";
const PORT: u16 = 80;
/// Of the routes that lead there.
const TABLE: &str = "20143";
/// The bridge is one, and so are the addresses: whoever needs them has them alone.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// As long as it lives, both answer.
pub(super) struct StandIns {
    name: String,
    server: Child,
    /// Let go of after the rest is gone.
    _alone: MutexGuard<'static, ()>,
}

impl StandIns {
    /// Waits until no other test has them.
    pub(super) async fn make() -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let (bridge, pods) = (bridge(), pod_network());
        let name = format!("hxbt{}", std::process::id());
        // A run that was broken off may have left its rule.
        while succeeds(&["rule", "delete", "iif", &bridge, "lookup", TABLE]) {}
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &name]);
        ip(&["link", "set", &name, "master", &bridge, "up"]);
        for address in [METADATA, PUBLIC] {
            ip(&["-n", &name, "address", "add", &format!("{address}/32"), "dev", "eth0"]);
            ip(&["route", "replace", address, "dev", &bridge, "table", TABLE]);
        }
        ip(&["-n", &name, "link", "set", "eth0", "up"]);
        ip(&["-n", &name, "route", "add", &pods, "dev", "eth0"]);
        ip(&["rule", "add", "iif", &bridge, "lookup", TABLE]);
        let port = PORT.to_string();
        let server = Command::new("ip")
            .args(["netns", "exec", &name, "busybox", "nc", "-ll", "-p", &port, "-e", "/bin/true"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { name, server, _alone: alone }
    }

    pub(super) fn metadata(&self) -> &str {
        METADATA
    }

    pub(super) fn public(&self) -> &str {
        PUBLIC
    }

    pub(super) fn port(&self) -> u16 {
        PORT
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        // What is gone already is as good. The interfaces would go with the namespace, but not before another one is made.
        let _ = self.server.kill();
        let _ = self.server.wait();
        succeeds(&["rule", "delete", "iif", &bridge(), "lookup", TABLE]);
        succeeds(&["route", "flush", "table", TABLE]);
        succeeds(&["link", "delete", &self.name]);
        succeeds(&["netns", "delete", &self.name]);
    }
}

fn succeeds(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
