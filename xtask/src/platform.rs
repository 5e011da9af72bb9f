//! A platform on the host cluster: one `hexabase all` on this machine, kept running.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::autogroup;
use crate::host::{self, Host, process};
use crate::progress::Progress;
use crate::settings;

/// An address of loopback that nobody uses: a port of it is taken only if somebody listens on all addresses.
const UNUSED: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);

/// Which platform: each has a process, a folder and ports of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Which {
    /// Name of its process in the records.
    pub(crate) process: &'static str,
    /// Name of its folder in the cache.
    pub(crate) folder: &'static str,
    /// First of its ports: API and gateway here, public keys and development issuer on the next two.
    pub(crate) port: u16,
    /// Workspaces that it keeps made ahead.
    pub(crate) spares: usize,
    /// Further sections of its settings.
    pub(crate) more: &'static str,
}

/// A platform that answers.
pub(crate) struct Platform {
    /// Folder of its settings, its data, and the people's `hxb` sessions.
    pub(crate) folder: PathBuf,
    /// Address of API, issuers and gateway.
    pub(crate) url: String,
    /// PEM of its own certificate authority.
    pub(crate) authority: PathBuf,
    /// The `hxb` program.
    pub(crate) hxb: PathBuf,
}

/// Starts it, or starts it anew when it was built anew; its data stays.
pub(crate) fn start(host: &Host, programs: &Path, which: Which, progress: &Progress) -> Result<Platform> {
    let Which { process: name, folder, port, spares, more } = which;
    let folder = settings::cache_root()?.join(folder);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let url = format!("https://localhost:{port}");
    let platform = Platform { authority: folder.join("data/tls/ca.crt"), hxb: programs.join("hxb"), folder, url };
    let layout = host::layout()?;
    let config = format!("{}{more}", config(host, &platform, port, spares)?);
    let path = platform.folder.join("hexabase.toml");
    let program = programs.join("hexabase");
    let spec = process::Spec {
        name,
        args: vec!["--config".into(), path.display().to_string(), "all".into()],
        env: vec![],
        netns: None,
        config: format!("{config}{}", build_of(&program)?),
        program,
    };
    if !process::is_current(&layout, &spec) {
        process::stop(&layout, name, Duration::from_secs(10))?;
        check_ports(port, host.node_ip)?;
        fs::write(&path, config).context("the platform's settings cannot be written")?;
    }
    progress.step("start the platform", || {
        process::ensure(&layout, &spec)?;
        process::wait(&layout, name, Duration::from_secs(30), || platform.answers(port))
    })?;
    process::running(&layout, name).into_iter().for_each(prefer);
    progress.say(&format!("it is at {}", platform.url));
    Ok(platform)
}

/// Gives the platform's session more of the processor than each of the host's others, as a node does with pods that request more than
/// a control plane (docs/guides/gateway.md).
fn prefer(pid: u32) {
    autogroup::set(pid, -10);
}

/// Refuses, before anything is changed, ports that another program has. `node` is the node's address, if there is one.
pub(crate) fn preflight(which: Which, node: Option<Ipv4Addr>) -> Result<()> {
    let is_running = process::running(&host::layout()?, which.process).is_some();
    let config = fs::read_to_string(settings::cache_root()?.join(which.folder).join("hexabase.toml"));
    // It has them itself.
    if is_running && config.ok().as_deref().and_then(port_in) == Some(which.port) {
        return Ok(());
    }
    check_ports(which.port, node)
}

/// The first port from here on that has all a platform needs.
pub(crate) fn free_port(from: u16, node: Option<Ipv4Addr>) -> Result<u16> {
    let free = (from..from.saturating_add(300)).step_by(3).find(|port| check_ports(*port, node).is_ok());
    free.with_context(|| format!("there are no three free ports in a row from {from} on"))
}

fn check_ports(first: u16, node: Option<Ipv4Addr>) -> Result<()> {
    let listeners =
        [(Ipv4Addr::LOCALHOST, first), (node.unwrap_or(UNUSED), first + 1), (Ipv4Addr::LOCALHOST, first + 2)];
    match listeners.into_iter().find(|listener| is_taken(*listener)) {
        Some((address, port)) => {
            let whose = if address == UNUSED { String::new() } else { format!(" at {address}") };
            bail!("port {port}{whose} is taken by another program: end it, or choose others with --port")
        }
        None => Ok(()),
    }
}

/// The node's address is not there before the host cluster is; that is no obstacle.
fn is_taken(listener: (Ipv4Addr, u16)) -> bool {
    TcpListener::bind(listener).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// The first port in a configuration that we wrote.
fn port_in(config: &str) -> Option<u16> {
    config.lines().find_map(|line| line.strip_prefix("listen = \"127.0.0.1:")?.trim_end_matches('"').parse().ok())
}

/// Changes when the program was built anew.
fn build_of(program: &Path) -> Result<String> {
    let metadata = fs::metadata(program).with_context(|| format!("{} was not built", program.display()))?;
    Ok(format!("\n# {} bytes, {:?}\n", metadata.len(), metadata.modified()?))
}

fn config(host: &Host, platform: &Platform, port: u16, spares: usize) -> Result<String> {
    let node = host.node_ip.context("a platform needs to know under which address pods reach this machine")?;
    let data = platform.folder.join("data");
    let (cluster, issuer) = (port + 1, port + 2);
    let text = |path: &Path| format!("{:?}", path.display().to_string());
    Ok(format!(
        "# Written by `cargo xtask`.\n\
         data_dir = {}\n\n\
         [server]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{}\"\n\
         cluster_listen = \"{node}:{cluster}\"\ncluster_url = \"https://{node}:{cluster}\"\n\n\
         [sign_in.development]\nlisten = \"127.0.0.1:{issuer}\"\n\n\
         [host]\nkubeconfig = {}\nhelm = {}\nvcluster_chart = {}\nplatform_networks = [\"{node}/32\"]\n\
         spare_workspaces = {spares}\n",
        text(&data),
        platform.url,
        text(&host.kubeconfig),
        text(&host.tools.helm),
        text(&host.tools.vcluster_chart),
    ))
}

impl Platform {
    fn answers(&self, port: u16) -> bool {
        self.authority.is_file() && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    }

    /// What runs where, how to open it, how to stop it.
    pub(crate) fn print_summary(&self, host: &Host) {
        let authority = self.authority.display();
        let bin = self.hxb.parent().unwrap_or(&self.hxb).display();
        let kubectl = host.tools.kubectl.parent().unwrap_or(&host.tools.kubectl).display();
        eprintln!(
            "\nWhat runs now\n  \
             host cluster   {} (kubectl --kubeconfig {} get pods -A)\n  \
             platform       {} (certificate authority: {authority})\n  \
             people         alice@example.test, bob@example.test, carol@example.test; anybody else can be typed in\n\n\
             To use it\n  \
             export PATH={bin}:{kubectl}:$PATH\n  \
             hxb login {} --certificate-authority {authority}\n  \
             hxb workspace list && hxb kubeconfig shop --set-current && kubectl get pods -A\n\n\
             To stop it\n  cargo xtask down",
            host.kind.name(),
            host.kubeconfig_for_people.display(),
            self.url,
            self.url,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_another_program_are_refused_by_name() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let refusal = check_ports(port, None).unwrap_err().to_string();
        assert!(refusal.contains(&format!("port {port} at 127.0.0.1")), "{refusal}");
        assert_ne!(free_port(port, None).unwrap(), port);
    }

    #[test]
    fn the_port_at_the_node_is_taken_only_by_who_listens_on_all_addresses() {
        let everywhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = everywhere.local_addr().unwrap().port();
        assert!(is_taken((UNUSED, port)));
        let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_taken((UNUSED, loopback.local_addr().unwrap().port())));
        // An address that this machine does not have.
        assert!(!is_taken((Ipv4Addr::new(192, 0, 2, 1), port)));
    }

    #[test]
    fn the_port_of_a_platform_is_read_from_its_settings() {
        let config =
            "# Written.\n[server]\nlisten = \"127.0.0.1:8443\"\n\n[sign_in.development]\nlisten = \"127.0.0.1:8445\"\n";
        assert_eq!(port_in(config), Some(8443));
        assert_eq!(port_in("nothing"), None);
    }
}
