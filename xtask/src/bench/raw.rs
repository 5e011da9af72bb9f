//! A virtual cluster without the platform: the same chart and images with the chart's own settings, on the same host and in the
//! same minutes. How fast one starts depends on the machine more than on whoever asks for it.

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::percentile;
use crate::cmd;
use crate::host::Host;
use crate::host::images::{TENANT_KUBERNETES, VCLUSTER};
use crate::progress::Progress;

const RELEASE: &str = "raw";
const NAMESPACE: &str = "raw-bench";
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(100);

/// Virtual clusters that came, slept, woke and went, one after the other.
pub(super) struct Raw<'a> {
    host: &'a Host,
    folder: PathBuf,
    /// Seconds until kubectl was answered, from when there was nothing, and from when it slept.
    colds: Vec<f64>,
    wakes: Vec<f64>,
}

impl<'a> Raw<'a> {
    /// With a folder of its own for what it writes.
    pub(super) fn new(host: &'a Host, folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { host, folder, colds: Vec::new(), wakes: Vec::new() })
    }

    /// One more; what it was in is removed whatever comes of it.
    pub(super) fn measure(&mut self, progress: &Progress) -> Result<()> {
        let measured = progress.step("start vCluster without the platform", || self.once());
        self.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found"])?;
        measured
    }

    /// Half of them took no longer to be there, and to wake.
    pub(super) fn medians(&mut self) -> (f64, f64) {
        (percentile(&mut self.colds, 0.5), percentile(&mut self.wakes, 0.5))
    }

    fn once(&mut self) -> Result<()> {
        let chart = self.chart()?;
        let begun = Instant::now();
        self.kubectl(&["create", "namespace", NAMESPACE])?;
        let mut apply = self.host.kubectl()?;
        cmd::output_with_input(apply.args(["-n", NAMESPACE, "apply", "--server-side", "-f", "-"]), chart.as_bytes())?;
        let secret = format!("vc-{RELEASE}");
        let written = ["get", "secret", &secret, "--ignore-not-found", "-o", "jsonpath={.data.config}"];
        let mut config = String::new();
        self.until(|| {
            config = self.inside(&written)?;
            Ok(!config.is_empty())
        })?;
        let path = self.folder.join("kubeconfig");
        std::fs::write(&path, STANDARD.decode(config.trim())?)?;
        let address = self.inside(&["get", "service", RELEASE, "-o", "jsonpath={.spec.clusterIP}"])?;
        let ask = || {
            let mut kubectl = Command::new(&self.host.tools.kubectl);
            kubectl.env("HOME", &self.folder).env("KUBERC", "off").arg("--kubeconfig").arg(&path);
            kubectl.args(["--server", &format!("https://{}", address.trim()), "--tls-server-name", "kubernetes"]);
            Ok(cmd::succeeds(kubectl.args(["--request-timeout", "3s", "get", "namespaces"])))
        };
        self.until(ask)?;
        let cold = begun.elapsed().as_secs_f64();
        self.scale(0)?;
        let pods = ["get", "pods", "-l", "app=vcluster", "-o", "name"];
        self.until(|| Ok(self.inside(&pods)?.is_empty()))?;
        let begun = Instant::now();
        self.scale(1)?;
        self.until(ask)?;
        self.wakes.push(begun.elapsed().as_secs_f64());
        self.colds.push(cold);
        Ok(())
    }

    /// Its objects, with nothing said but what this host needs to have them.
    fn chart(&self) -> Result<String> {
        let values = json!({
            "controlPlane": {
                // The images that are there.
                "advanced": { "defaultImageRegistry": "" },
                "backingStore": { "database": { "embedded": { "enabled": true } } },
                "distro": { "k8s": { "image": { "tag": tag(TENANT_KUBERNETES) }, "imagePullPolicy": "IfNotPresent" } },
                "statefulSet": {
                    "image": { "repository": "loft-sh/vcluster-oss", "tag": tag(VCLUSTER) },
                    "imagePullPolicy": "IfNotPresent",
                },
            },
            // Nothing of it is outside its namespace.
            "rbac": { "clusterRole": { "enabled": false } },
            "telemetry": { "enabled": false },
        });
        let file = self.folder.join("values.json");
        std::fs::write(&file, values.to_string())?;
        let mut helm = Command::new(&self.host.tools.helm);
        helm.env("HOME", &self.folder).arg("template").arg(RELEASE).arg(&self.host.tools.vcluster_chart);
        cmd::output(helm.args(["--namespace", NAMESPACE, "--values"]).arg(file))
    }

    fn scale(&self, replicas: u8) -> Result<()> {
        self.inside(&["scale", "statefulset", RELEASE, "--replicas", &replicas.to_string()]).map(drop)
    }

    fn inside(&self, arguments: &[&str]) -> Result<String> {
        cmd::output(self.host.kubectl()?.args(["-n", NAMESPACE]).args(arguments))
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        cmd::output(self.host.kubectl()?.args(arguments))
    }

    fn until(&self, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
        let begun = Instant::now();
        while !done()? {
            if begun.elapsed() > PATIENCE {
                bail!("vCluster without the platform did not come or go within {} s", PATIENCE.as_secs());
            }
            sleep(PAUSE);
        }
        Ok(())
    }
}

/// The version in an image's name.
fn tag(image: &str) -> &str {
    image.rsplit(':').next().unwrap_or_default()
}
