//! Programs built from the Go modules in `devhost/`: only go.mod and go.sum are ours. Each build is kept in the cache
//! under a key made of those two files and the flags, so nothing is built twice and a later run needs no Go.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::Progress;
use crate::{cmd, hash, settings};

/// One build: a module and what we want of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// API server, controller manager, scheduler, kubelet, kube-proxy and kubectl.
    Kubernetes,
    /// Only kubectl, for a host cluster that somebody else runs.
    Kubectl,
    Helm,
    Kine,
    Coredns,
    Vcluster,
    /// Only the Helm chart that lies in vCluster's module.
    VclusterChart,
    LocalPath,
    MetricsServer,
    /// What enforces network policies on a devhost: agent, plugin, and of the module the programs' sources for the kernel
    /// and the manifests of its kinds.
    Cilium,
    /// What pretends to be nodes.
    Kwok,
}

/// All that a devhost needs.
pub(crate) const DEVHOST: &[Tool] = &[
    Tool::Kubernetes,
    Tool::Helm,
    Tool::Kine,
    Tool::Coredns,
    Tool::Vcluster,
    Tool::VclusterChart,
    Tool::LocalPath,
    Tool::MetricsServer,
];

/// What a devhost that enforces network policies needs beside these.
pub(crate) const ENFORCEMENT: &[Tool] = &[Tool::Cilium];

/// What a devhost with pretended nodes needs beside these.
pub(crate) const PRETENCE: &[Tool] = &[Tool::Kwok];

/// All that is needed against a cluster that is already there.
pub(crate) const CLIENT: &[Tool] = &[Tool::Kubectl, Tool::Helm, Tool::VclusterChart];

const STRIP: &str = "-s -w";
const KUBERNETES_FLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.35.4 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35 \
     -X k8s.io/component-base/version.gitTreeState=clean";

struct Recipe {
    name: &'static str,
    module: &'static str,
    packages: &'static [&'static str],
    ldflags: &'static str,
    tags: &'static str,
    cgo: bool,
    /// Folders of the module of the first package that are kept with the programs, each with its name there.
    copies: &'static [(&'static str, &'static str)],
}

impl Tool {
    fn recipe(self) -> Recipe {
        let plain =
            |name, packages| Recipe { name, module: name, packages, ldflags: STRIP, tags: "", cgo: false, copies: &[] };
        match self {
            Tool::Kubernetes => Recipe {
                ldflags: KUBERNETES_FLAGS,
                ..plain(
                    "kubernetes",
                    &[
                        "k8s.io/kubernetes/cmd/kube-apiserver",
                        "k8s.io/kubernetes/cmd/kube-controller-manager",
                        "k8s.io/kubernetes/cmd/kube-scheduler",
                        "k8s.io/kubernetes/cmd/kubelet",
                        "k8s.io/kubernetes/cmd/kube-proxy",
                        "k8s.io/kubernetes/cmd/kubectl",
                    ],
                )
            },
            Tool::Kubectl => Recipe {
                module: "kubernetes",
                ldflags: KUBERNETES_FLAGS,
                ..plain("kubectl", &["k8s.io/kubernetes/cmd/kubectl"])
            },
            Tool::Helm => plain("helm", &["helm.sh/helm/v4/cmd/helm"]),
            Tool::Kine => Recipe {
                ldflags: "-s -w -linkmode external -extldflags -static",
                tags: "netgo,osusergo,sqlite_omit_load_extension",
                cgo: true,
                ..plain("kine", &["github.com/k3s-io/kine"])
            },
            Tool::Coredns => plain("coredns", &["github.com/coredns/coredns"]),
            Tool::Vcluster => plain("vcluster", &["github.com/loft-sh/vcluster/cmd/vcluster"]),
            Tool::VclusterChart => Recipe { module: "vcluster", tags: "as-released", ..plain("vcluster-chart", &[]) },
            Tool::LocalPath => plain("local-path-provisioner", &["github.com/rancher/local-path-provisioner"]),
            Tool::MetricsServer => plain("metrics-server", &["sigs.k8s.io/metrics-server/cmd/metrics-server"]),
            Tool::Kwok => plain("kwok", &["sigs.k8s.io/kwok/cmd/kwok"]),
            Tool::Cilium => Recipe {
                copies: &[("bpf", "bpf"), ("pkg/k8s/apis/cilium.io/client/crds", "crds")],
                ..plain("cilium", &["github.com/cilium/cilium/daemon", "github.com/cilium/cilium/plugins/cilium-cni"])
            },
        }
    }

    /// True if Go compiles it; else it is only fetched.
    pub(crate) fn is_compiled(self) -> bool {
        !self.recipe().packages.is_empty()
    }

    /// What goes into an image's key too: it changes when the program may have changed.
    pub(crate) fn key(self) -> Result<String> {
        let recipe = self.recipe();
        let module = module_folder(&recipe);
        let read = |file: &str| {
            let path = module.join(file);
            fs::read(&path).with_context(|| format!("{} is missing from the checkout", path.display()))
        };
        let packages = recipe.packages.join(" ");
        let cgo = if recipe.cgo { "1" } else { "0" };
        let flags = [packages.as_str(), recipe.ldflags, recipe.tags, cgo, std::env::consts::ARCH];
        let (go_mod, go_sum) = (read("go.mod")?, read("go.sum")?);
        Ok(hash::of([go_mod.as_slice(), &go_sum].into_iter().chain(flags.map(str::as_bytes))))
    }

    /// The folder in the cache where the build lies, or will lie.
    pub(crate) fn folder(self) -> Result<PathBuf> {
        let name = format!("{}-{}", self.recipe().name, hash::short(&self.key()?));
        Ok(settings::cache_root()?.join("tools").join(name))
    }

    /// True if all of it is in the cache.
    fn is_built(self) -> Result<bool> {
        let folder = self.folder()?;
        let recipe = self.recipe();
        let programs = recipe.packages.iter().filter_map(|package| package.rsplit('/').next());
        let mut files: Vec<PathBuf> = programs.map(|program| folder.join("bin").join(program)).collect();
        if files.is_empty() {
            files.push(folder.join("chart/Chart.yaml"));
        }
        let has_copies = recipe.copies.iter().all(|(_, name)| folder.join(name).is_dir());
        Ok(has_copies && files.iter().all(|file| file.is_file()))
    }

    /// One of the programs of this build.
    pub(crate) fn program(self, name: &str) -> Result<PathBuf> {
        Ok(self.folder()?.join("bin").join(name))
    }
}

/// Where the tools lie that work on any host cluster.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) kubectl: PathBuf,
    pub(crate) helm: PathBuf,
    pub(crate) vcluster_chart: PathBuf,
}

impl Tools {
    /// The paths in the cache; they exist after `ensure`.
    pub(crate) fn locate() -> Result<Self> {
        let full = Tool::Kubernetes.program("kubectl")?;
        let kubectl = if full.is_file() { full } else { Tool::Kubectl.program("kubectl")? };
        Ok(Self {
            kubectl,
            helm: Tool::Helm.program("helm")?,
            vcluster_chart: Tool::VclusterChart.folder()?.join("chart"),
        })
    }
}

/// The tools of `wanted` that are not in the cache yet.
pub(crate) fn missing(wanted: &[Tool]) -> Result<Vec<Tool>> {
    let mut missing = Vec::new();
    for &tool in wanted {
        let covered = tool == Tool::Kubectl && Tool::Kubernetes.is_built()?;
        if !covered && !tool.is_built()? {
            missing.push(tool);
        }
    }
    Ok(missing)
}

/// Builds what is missing of `wanted`, one module after the other.
pub(crate) fn ensure(wanted: &[Tool], progress: &Progress) -> Result<Tools> {
    for tool in missing(wanted)? {
        let recipe = tool.recipe();
        let folder = tool.folder()?;
        let label = match recipe.packages.len() {
            0 => format!("fetch {}", recipe.name),
            1 => format!("build {}", recipe.name),
            count => format!("build {} ({count} programs)", recipe.name),
        };
        progress.long_step(&label, || build(&recipe, &folder))?;
    }
    Tools::locate()
}

/// The lowest Go version that all modules of these tools accept, as (major, minor, patch).
pub(crate) fn go_needed(wanted: &[Tool]) -> Result<Option<(u32, u32, u32)>> {
    let mut needed = None;
    for tool in wanted {
        let text = fs::read_to_string(module_folder(&tool.recipe()).join("go.mod"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("go "));
        needed = needed.max(line.and_then(parse_go_version));
    }
    Ok(needed)
}

/// Where Go keeps what it compiled and what it fetched, if there is a Go on this machine.
pub(crate) fn go_caches() -> Option<(PathBuf, PathBuf)> {
    let text = cmd::output(go().args(["env", "GOCACHE", "GOMODCACHE"])).ok()?;
    let (builds, modules) = text.trim().split_once('\n')?;
    Some((builds.into(), modules.into()))
}

/// The version of the Go on this machine, if there is one.
pub(crate) fn go_installed() -> Option<(u32, u32, u32)> {
    let text = cmd::output(go().args(["env", "GOVERSION"])).ok()?;
    parse_go_version(text.trim().strip_prefix("go")?)
}

fn parse_go_version(text: &str) -> Option<(u32, u32, u32)> {
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let mut parts = text.trim().split('.');
    Some((digits(parts.next()?)?, digits(parts.next()?)?, parts.next().and_then(digits).unwrap_or(0)))
}

fn build(recipe: &Recipe, folder: &Path) -> Result<()> {
    let staging = folder.with_extension("building");
    if staging.exists() {
        fs::remove_dir_all(&staging)?;
    }
    fs::create_dir_all(&staging)?;
    let module = module_folder(recipe);
    if recipe.packages.is_empty() {
        copy_chart(&module, &staging)?;
    } else {
        let output = staging.join("bin");
        fs::create_dir_all(&output)?;
        let mut command = go();
        command.current_dir(&module).env("CGO_ENABLED", if recipe.cgo { "1" } else { "0" });
        command.args(["build", "-mod=readonly", "-trimpath"]);
        if !recipe.tags.is_empty() {
            command.args(["-tags", recipe.tags]);
        }
        command.args(["-ldflags", recipe.ldflags, "-o"]).arg(format!("{}/", output.display())).args(recipe.packages);
        cmd::output(&mut command)?;
        for (from, to) in recipe.copies {
            copy_folder(&module_of(&module, recipe.packages[0])?.join(from), &staging.join(to))?;
        }
    }
    if folder.exists() {
        // Somebody removed a part of it.
        fs::remove_dir_all(folder)?;
    }
    fs::rename(&staging, folder).with_context(|| format!("cannot move the build to {}", folder.display()))
}

/// Where the module lies that a package comes from.
fn module_of(module: &Path, package: &str) -> Result<PathBuf> {
    let list = ["list", "-mod=readonly", "-f", "{{.Module.Dir}}", package];
    let found = cmd::output(go().current_dir(module).args(list))?;
    Ok(PathBuf::from(found.trim()))
}

/// The module's chart says version 0.0.1; a release sets its own, which is also the image's tag.
fn copy_chart(module: &Path, target: &Path) -> Result<()> {
    let package = "github.com/loft-sh/vcluster";
    cmd::output(go().current_dir(module).args(["mod", "download", package]))?;
    let format = "{{.Version}} {{.Dir}}";
    let found = cmd::output(go().current_dir(module).args(["list", "-mod=readonly", "-m", "-f", format, package]))?;
    let (version, folder) = found.trim().split_once(' ').context("`go list` does not know the vCluster module")?;
    let chart = target.join("chart");
    copy_folder(&Path::new(folder).join("chart"), &chart)?;
    let file = chart.join("Chart.yaml");
    let text = fs::read_to_string(&file).context("the vCluster module has no chart")?;
    let version = version.trim_start_matches('v');
    let lines = text.lines().map(|line| match line.split_once(": ") {
        Some((key @ ("version" | "appVersion"), _)) => format!("{key}: {version}\n"),
        _ => format!("{line}\n"),
    });
    fs::write(&file, lines.collect::<String>())?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            // Read and write, not copy: files of the module cache are read-only and ours shall be removable.
            fs::write(&target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn module_folder(recipe: &Recipe) -> PathBuf {
    settings::repository().join("devhost").join(recipe.module)
}

/// Go, free of what would change its output but is not in a build's key: the key knows the architecture only, so each
/// has its lowest level. The version of Go is not in the key: a new one builds nothing again.
fn go() -> Command {
    let mut command = Command::new("go");
    command
        .env("GOTOOLCHAIN", "local")
        // The compiler collects its garbage less often: a fifth less work for at most 2 GB more memory.
        .env("GOGC", "400")
        .env("GOWORK", "off")
        .env("GOAMD64", "v1")
        .env("GOARM64", "v8.0")
        .env_remove("GOEXPERIMENT")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .env_remove("GOFLAGS");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_has_its_module_and_a_key_of_its_own() {
        let all = DEVHOST.iter().chain(ENFORCEMENT).chain(PRETENCE).chain([&Tool::Kubectl]);
        let keys: Vec<String> = all.map(|tool| tool.key().unwrap()).collect();
        for (index, key) in keys.iter().enumerate() {
            assert_eq!(key.len(), 64);
            assert!(!keys[..index].contains(key), "key {index} is used twice");
        }
    }

    #[test]
    fn go_versions_are_compared_as_numbers() {
        assert_eq!(parse_go_version("1.26.8"), Some((1, 26, 8)));
        assert_eq!(parse_go_version("1.9"), Some((1, 9, 0)));
        assert_eq!(parse_go_version("1.27rc1"), Some((1, 27, 0)));
        assert!(parse_go_version("1.26.10") > parse_go_version("1.26.9"));
        assert!(go_needed(DEVHOST).unwrap() >= Some((1, 26, 0)));
    }
}
