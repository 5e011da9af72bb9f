//! nginx as the peer of the gateway.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};

use crate::cmd;
use crate::host::{self, Host, process};
use crate::people::Person;
use crate::platform;
use crate::progress::Progress;

const NGINX: &str = "nginx-bench";
const NGINX_PORTS: u16 = 9743;

/// nginx in front of a workspace's API server; ends when dropped.
pub(super) struct Nginx {
    /// Where it is, below which the API server is, and the certificate that it shows.
    pub(super) address: String,
    pub(super) certificate: String,
    /// Where the API server itself is, and the authority behind its certificate.
    pub(super) tenant: String,
    pub(super) tenant_ca: String,
    /// The process whose children answer.
    pub(super) pid: u32,
}

impl Nginx {
    pub(super) fn start(host: &Host, alice: &Person<'_>, workspace: &str, progress: &Progress) -> Result<Self> {
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
        let pid = process::running(&layout, NGINX).context("nginx ended")?;
        let address = format!("https://localhost:{port}/k8s/{workspace}");
        Ok(Self { address, certificate, tenant: format!("https://{}", ip.trim()), tenant_ca, pid })
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

/// As somebody sets it up who wants it fast: HTTP/2 in front, kept connections behind, and there TLS that is checked; buffers for
/// answers of a megabyte.
fn config(folder: &Path, port: u16, tenant: &str, workspace: &str) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {};\n", path(kind)))
        .concat();
    let (pid, certificate, key, ca) = (path("nginx.pid"), path("tls.crt"), path("tls.key"), path("tenant.crt"));
    format!(
        "user root;\ndaemon off;\nworker_processes auto;\npid {pid};\nerror_log stderr warn;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000;\n  http2_chunk_size 64k;\n{temporary}  \
         upstream tenant {{ server {tenant}:443; keepalive 64; keepalive_requests 1000000; }}\n  \
         server {{\n    listen 127.0.0.1:{port} ssl http2;\n    \
         ssl_certificate {certificate};\n    ssl_certificate_key {key};\n    \
         location /k8s/{workspace}/ {{\n      proxy_pass https://tenant/;\n      proxy_http_version 1.1;\n      \
         proxy_set_header Connection \"\";\n      proxy_set_header Host kubernetes;\n      \
         proxy_ssl_name kubernetes;\n      proxy_ssl_verify on;\n      \
         proxy_ssl_trusted_certificate {ca};\n      proxy_max_temp_file_size 0;\n      \
         proxy_buffer_size 64k;\n      proxy_buffers 16 64k;\n      proxy_busy_buffers_size 256k;\n    }}\n  }}\n}}\n"
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
