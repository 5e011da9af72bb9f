//! The images that the devhost and its tenants run, made from our own builds and Debian's busybox and imported into
//! our containerd. Nothing is ever pulled.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::containerd;
use super::image_tar::{Entry, Image, write};
use super::layout::{Kept, Layout, State};
use super::node::Node;
use crate::progress::Progress;
use crate::tools::Tool;
use crate::{cmd, hash, settings};

/// The sandbox image, by the name that kubelet and containerd agree on.
pub(crate) const PAUSE: &str = "registry.k8s.io/pause:3.10";
/// For workloads of demos and for the volume helper.
pub(crate) const BUSYBOX: &str = "docker.io/library/busybox:1.36";
/// DNS, for the host and by the names that vCluster asks for.
pub(crate) const COREDNS: &str = "docker.io/coredns/coredns:1.14.2";
const COREDNS_FOR_TENANTS: &str = "docker.io/coredns/coredns:1.14.1";
/// What a workspace runs: vCluster, and the Kubernetes in it.
pub(crate) const VCLUSTER: &str = "ghcr.io/loft-sh/vcluster-oss:0.36.1";
pub(crate) const TENANT_KUBERNETES: &str = "ghcr.io/loft-sh/kubernetes:v1.35.4";
pub(crate) const METRICS_SERVER: &str = "registry.k8s.io/metrics-server/metrics-server:v0.9.0";
pub(crate) const LOCAL_PATH: &str = "docker.io/rancher/local-path-provisioner:v0.0.30";

/// Counts up when the way images are put together changes.
const RECIPE: &str = "1";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One image: its short name, its names for containerd, and the programs in it by their path.
struct Recipe {
    name: &'static str,
    names: &'static [&'static str],
    programs: Vec<(&'static str, Tool, &'static str)>,
    entrypoint: &'static [&'static str],
    command: &'static [&'static str],
    /// Only on the first node: for what runs once in the cluster, and not for tenants.
    once: bool,
}

fn recipes() -> Vec<Recipe> {
    let one = |name, names, path, tool, program| Recipe {
        name,
        names,
        programs: vec![(path, tool, program)],
        entrypoint: &[],
        command: &[],
        once: false,
    };
    vec![
        // busybox chooses what to be by its first argument, so the file keeps its name.
        Recipe {
            name: "pause",
            names: &[PAUSE],
            programs: vec![],
            entrypoint: &["/bin/busybox", "sleep", "2147483647"],
            command: &[],
            once: false,
        },
        Recipe { name: "busybox", names: &[BUSYBOX], programs: vec![], entrypoint: &[], command: &["sh"], once: false },
        Recipe {
            entrypoint: &["/coredns"],
            ..one("coredns", &[COREDNS, COREDNS_FOR_TENANTS], "coredns", Tool::Coredns, "coredns")
        },
        Recipe {
            entrypoint: &["/vcluster", "start"],
            ..one("vcluster", &[VCLUSTER], "vcluster", Tool::Vcluster, "vcluster")
        },
        Recipe {
            name: "tenant-kubernetes",
            names: &[TENANT_KUBERNETES],
            programs: vec![
                ("kubernetes/kube-apiserver", Tool::Kubernetes, "kube-apiserver"),
                ("kubernetes/kube-controller-manager", Tool::Kubernetes, "kube-controller-manager"),
                ("kubernetes/kine", Tool::Kine, "kine"),
            ],
            entrypoint: &[],
            command: &["sh"],
            once: false,
        },
        Recipe {
            entrypoint: &["/metrics-server"],
            once: true,
            ..one("metrics-server", &[METRICS_SERVER], "metrics-server", Tool::MetricsServer, "metrics-server")
        },
        Recipe {
            entrypoint: &["/local-path-provisioner"],
            once: true,
            ..one("local-path", &[LOCAL_PATH], "local-path-provisioner", Tool::LocalPath, "local-path-provisioner")
        },
    ]
}

/// Those that the first node has, or another one.
fn recipes_on(is_first: bool) -> impl Iterator<Item = Recipe> {
    recipes().into_iter().filter(move |recipe| is_first || !recipe.once)
}

/// What all images share: busybox with its applets, users, certificates.
struct Base {
    busybox: PathBuf,
    applets: Vec<String>,
    key: String,
}

impl Base {
    fn find() -> Result<Self> {
        let busybox = cmd::which("busybox").context("busybox is missing: install the package busybox-static")?;
        let applets = cmd::output(std::process::Command::new(&busybox).arg("--list"))?;
        let applets: Vec<String> =
            applets.lines().map(str::to_owned).filter(|applet| applet != "busybox" && !applet.is_empty()).collect();
        let key = hash::of_file(&busybox)? + &hash::of_file(Path::new(CERTIFICATES))?;
        Ok(Self { busybox, applets, key })
    }

    fn entries(&self) -> Vec<Entry> {
        let folder = |path: &str, mode| Entry::Folder { path: path.into(), mode };
        let text = |path: &str, content: &str| Entry::Text { path: path.into(), content: content.into() };
        let mut entries: Vec<Entry> =
            ["bin", "etc", "etc/ssl", "etc/ssl/certs", "root", "proc", "sys", "dev", "var", "usr", "home"]
                .map(|path| folder(path, 0o755))
                .into();
        entries.push(folder("tmp", 0o1777));
        entries.push(Entry::Link { path: "usr/bin".into(), target: "/bin".into() });
        entries.push(Entry::File { path: "bin/busybox".into(), mode: 0o755, from: self.busybox.clone() });
        for applet in &self.applets {
            entries.push(Entry::Link { path: format!("bin/{applet}"), target: "busybox".into() });
        }
        let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
        entries.push(text("etc/passwd", users));
        entries.push(text("etc/group", "root:x:0:\nnogroup:x:65534:\n"));
        entries.push(text("etc/nsswitch.conf", "hosts: files dns\n"));
        let certificates = PathBuf::from(CERTIFICATES);
        entries.push(Entry::File { path: CERTIFICATES[1..].into(), mode: 0o644, from: certificates });
        entries
    }
}

impl Recipe {
    fn archive(&self, base: &Base) -> Result<PathBuf> {
        let mut pieces = vec![RECIPE.to_owned(), base.key.clone(), self.names.join(" ")];
        pieces.push(self.entrypoint.join(" ") + "|" + &self.command.join(" "));
        for (path, tool, _) in &self.programs {
            pieces.push(format!("{path}={}", tool.key()?));
        }
        let key = hash::of(pieces.iter().map(String::as_bytes));
        Ok(settings::cache_root()?.join("images").join(format!("{}-{}.tar", self.name, hash::short(&key))))
    }

    fn image(&self, base: &Base) -> Result<Image> {
        let mut entries = base.entries();
        if self.programs.iter().any(|(path, ..)| path.starts_with("kubernetes/")) {
            entries.push(Entry::Folder { path: "kubernetes".into(), mode: 0o755 });
        }
        for (path, tool, program) in &self.programs {
            entries.push(Entry::File { path: (*path).into(), mode: 0o755, from: tool.program(program)? });
        }
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Ok(Image {
            names: owned(self.names),
            entries,
            entrypoint: owned(self.entrypoint),
            command: owned(self.command),
            env: vec![PATH.into()],
        })
    }
}

/// Writes the archives that are not in the cache yet.
pub(crate) fn ensure_archives(progress: &Progress) -> Result<()> {
    let base = Base::find()?;
    for recipe in recipes() {
        let archive = recipe.archive(&base)?;
        if !archive.is_file() {
            fs::create_dir_all(archive.parent().context("the cache has no folder")?)?;
            progress.step(&format!("write image {}", recipe.name), || write(&recipe.image(&base)?, &archive))?;
        }
    }
    Ok(())
}

/// True if the containerd of the first node, or of another one, was given exactly these archives.
pub(crate) fn are_imported(kept: &Kept, is_first: bool) -> Result<bool> {
    let base = Base::find()?;
    for recipe in recipes_on(is_first) {
        let archive = recipe.archive(&base)?.display().to_string();
        if !recipe.names.iter().all(|name| kept.imported.get(*name) == Some(&archive)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// True if the node's containerd still holds all of them.
pub(crate) fn are_present(node: &Node) -> bool {
    let mut names = recipes_on(node.is_first()).flat_map(|recipe| recipe.names);
    containerd::images(node).is_ok_and(|present| names.all(|name| present.iter().any(|had| had == name)))
}

/// The archives in the cache that are in use.
pub(crate) fn archives() -> Result<Vec<PathBuf>> {
    let base = Base::find()?;
    let archives: Vec<PathBuf> = recipes().iter().map(|recipe| recipe.archive(&base)).collect::<Result<_>>()?;
    Ok(archives.into_iter().filter(|archive| archive.is_file()).collect())
}

/// Imports what the node's containerd lacks or has in another version, and remembers it in the state.
pub(crate) fn import(layout: &Layout, node: &Node, state: &mut State, progress: &Progress) -> Result<()> {
    let base = Base::find()?;
    let present = containerd::images(node)?;
    let there = if node.is_first() { "" } else { " on the second node" };
    for recipe in recipes_on(node.is_first()) {
        let archive = recipe.archive(&base)?;
        let text = archive.display().to_string();
        let imported = &mut node.kept_mut(state).imported;
        let current = |name: &&str| present.iter().any(|had| had == name) && imported.get(*name) == Some(&text);
        if !recipe.names.iter().all(current) {
            progress.step(&format!("import image {}{there}", recipe.name), || containerd::import(node, &archive))?;
            imported.extend(recipe.names.iter().map(|name| ((*name).to_owned(), text.clone())));
            state.save(layout)?;
        }
    }
    Ok(())
}
