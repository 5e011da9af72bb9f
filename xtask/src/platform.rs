//! A platform on the host cluster: one `hexabase all` on this machine, kept running.

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::host::{self, Host, process};
use crate::progress::Progress;
use crate::settings;

/// Which platform: each has a process, a folder and ports of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Which {
    /// Name of its process in the records.
    pub(crate) process: &'static str,
    /// Name of its folder in the cache.
    pub(crate) folder: &'static str,
    /// First of its ports: API and gateway here, public keys and development issuer on the next two.
    pub(crate) port: u16,
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
    let Which { process: name, folder, port } = which;
    let folder = settings::cache_root()?.join(folder);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let url = format!("https://localhost:{port}");
    let platform = Platform { authority: folder.join("data/tls/ca.crt"), hxb: programs.join("hxb"), folder, url };
    let layout = host::layout()?;
    let config = config(host, &platform, port)?;
    let path = platform.folder.join("hexabase.toml");
    let program = programs.join("hexabase");
    let spec = process::Spec {
        name,
        args: vec!["--config".into(), path.display().to_string(), "all".into()],
        env: vec![],
        config: format!("{config}{}", build_of(&program)?),
        program,
    };
    if !process::is_current(&layout, &spec) {
        process::stop(&layout, name, Duration::from_secs(10))?;
        for port in [port, port + 1, port + 2] {
            if TcpListener::bind(("127.0.0.1", port)).is_err() {
                bail!("port {port} is taken by another program; choose others with --port");
            }
        }
        fs::write(&path, config).context("the platform's settings cannot be written")?;
    }
    progress.step("start the platform", || {
        process::ensure(&layout, &spec)?;
        process::wait(&layout, name, Duration::from_secs(30), || platform.answers(port))
    })?;
    progress.say(&format!("it is at {}", platform.url));
    Ok(platform)
}

/// Changes when the program was built anew.
fn build_of(program: &Path) -> Result<String> {
    let metadata = fs::metadata(program).with_context(|| format!("{} was not built", program.display()))?;
    Ok(format!("\n# {} bytes, {:?}\n", metadata.len(), metadata.modified()?))
}

fn config(host: &Host, platform: &Platform, port: u16) -> Result<String> {
    let Some(IpAddr::V4(node)) = host.node_ip else {
        bail!(
            "the demonstration does not know under which address pods of a {} host reach this machine; \
             use --host devhost",
            host.kind.name()
        );
    };
    let data = platform.folder.join("data");
    let (cluster, issuer) = (port + 1, port + 2);
    let text = |path: &Path| format!("{:?}", path.display().to_string());
    Ok(format!(
        "# Written by `cargo xtask`.\n\
         data_dir = {}\n\n\
         [server]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{}\"\n\
         cluster_listen = \"{node}:{cluster}\"\ncluster_url = \"https://{node}:{cluster}\"\n\n\
         [sign_in.development]\nlisten = \"127.0.0.1:{issuer}\"\n\n\
         [host]\nkubeconfig = {}\nhelm = {}\nvcluster_chart = {}\nplatform_networks = [\"{node}/32\"]\n",
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
