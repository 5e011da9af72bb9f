//! The host cluster of the environment, workspaces on it, and what the tests ask it. Everything made is removed.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hexabase_core::ids::{Id, OrganizationId, ProjectId, WorkspaceId};
use hexabase_core::phases::WorkspaceStep;
use hexabase_core::projects::{NetworkIsolation, PodSecurity, ProjectLabels};
use hexabase_core::quantity::{Bytes, Cpu};
use hexabase_core::quota::Amounts;
use hexabase_core::roles::{ClusterRoleRef, PresetClusterRole, ProjectRole, ProjectRoleRef};
use hexabase_core::time::Timestamp;
use hexabase_core::{groups, plans};
use hexabase_reconcile::{
    Authentication, DesiredProject, DesiredWorkspace, Host, HostSettings, Observed, Placement, Progress, ProjectGrant,
    Receipt, ReconcileError, Removal, Removed,
};
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Longest time that a workspace may take to come to life or to go, on a machine with far too much to do.
pub(crate) const DEADLINE: Duration = Duration::from_secs(600);
/// How soon what did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(500);

#[expect(clippy::disallowed_methods, reason = "the one place where these tests read the environment")]
fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask check`, or see tests/cluster/support.rs"))
}

/// The name of the host's second real node. Not every host has one: `check` leaves out what needs it, and counts that as skipped.
pub(crate) fn second_node() -> String {
    variable("HEXABASE_TEST_SECOND_NODE")
}

/// How many nodes are pretended; the same goes for them.
pub(crate) fn kwok_nodes() -> usize {
    variable("HEXABASE_TEST_KWOK_NODES").parse().unwrap()
}

/// The present moment, which the crate itself takes as an argument.
#[expect(clippy::disallowed_methods, reason = "the one place where these tests read the clock")]
pub(crate) fn now() -> Timestamp {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    Timestamp::from_micros(i64::try_from(micros).unwrap())
}

fn random() -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    u64::from(std::process::id()) << 16 | count
}

pub(crate) fn kubeconfig() -> PathBuf {
    PathBuf::from(variable("HEXABASE_TEST_KUBECONFIG"))
}

/// The node's own address, which pods may try to reach.
pub(crate) fn node_address() -> String {
    variable("HEXABASE_TEST_NODE_ADDRESS")
}

/// The bridge that pods are plugged into, where network policies are enforced.
pub(crate) fn bridge() -> String {
    variable("HEXABASE_TEST_BRIDGE")
}

/// The addresses of pods there.
pub(crate) fn pod_network() -> String {
    variable("HEXABASE_TEST_POD_NETWORK")
}

pub(crate) async fn host() -> Arc<Host> {
    host_with(|_| {}).await
}

/// A host with other settings.
pub(crate) async fn host_with(change: impl FnOnce(&mut HostSettings)) -> Arc<Host> {
    // A second test in the same process finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let helm = PathBuf::from(variable("HEXABASE_TEST_HELM"));
    let chart = PathBuf::from(variable("HEXABASE_TEST_CHART"));
    let mut settings = HostSettings::new(Some(kubeconfig()), helm, chart);
    change(&mut settings);
    Arc::new(Host::connect(settings).await.unwrap())
}

/// A client of the host that is not the one under test.
pub(crate) async fn client() -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Whom the workspace belongs to: each to another one.
fn organization(id: &WorkspaceId) -> OrganizationId {
    format!("org-{}", id.as_str().trim_start_matches("ws-")).parse().unwrap()
}

/// A workspace with the default groups and no project.
pub(crate) fn desired() -> DesiredWorkspace {
    let id = WorkspaceId::from_parts(now(), random());
    DesiredWorkspace {
        authentication: Authentication {
            issuer_url: format!("https://issuer.invalid/oidc/{id}"),
            discovery_url: None,
            audience: id.to_string(),
            ca_pem: None,
        },
        proof: None,
        organization: Some(organization(&id)),
        fence: 1,
        limits: plans::seed().remove(1).limits,
        smaller: None,
        kubernetes: None,
        cluster_roles: vec![
            (groups::WS_ADMINS.parse().unwrap(), ClusterRoleRef::Preset(PresetClusterRole::WorkspaceAdmin)),
            (groups::WORKSPACE_MEMBERS.parse().unwrap(), ClusterRoleRef::Preset(PresetClusterRole::WorkspaceViewer)),
        ],
        custom_roles: Vec::new(),
        projects: Vec::new(),
        placement: Placement::default(),
        id,
    }
}

pub(crate) fn project(name: &str) -> DesiredProject {
    DesiredProject {
        id: ProjectId::from_parts(now(), random()),
        name: name.parse().unwrap(),
        present: true,
        limits: Amounts {
            cpu: Cpu::from_millis(2000),
            memory: Bytes::from_gibibytes(2),
            storage: Bytes::from_gibibytes(5),
            pods: 10,
            services: 10,
            load_balancers: 0,
            persistent_volume_claims: 10,
            objects: 100,
        },
        labels: ProjectLabels::default(),
        // The images that these tests run are ordinary ones.
        pod_security: PodSecurity::Baseline,
        network: NetworkIsolation::Open,
        grants: vec![ProjectGrant {
            group: "developers".parse().unwrap(),
            role: ProjectRoleRef::Preset(ProjectRole::Edit),
        }],
        custom_roles: Vec::new(),
    }
}

pub(crate) fn namespace(id: &WorkspaceId) -> String {
    format!("hxb-{id}")
}

/// Runs `test`, then removes the workspaces whatever became of it.
pub(crate) async fn cleaned<F>(host: &Arc<Host>, ids: Vec<WorkspaceId>, test: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let result = tokio::spawn(test).await;
    for id in ids {
        remove(host, &id, i64::MAX).await;
    }
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Calls until every step is done; prints when each was.
pub(crate) async fn ready(host: &Host, desired: &DesiredWorkspace) -> Observed {
    until(host, desired, "ready", |observed| observed.waiting().is_none()).await
}

/// Calls until `enough`; prints when each step was done.
pub(crate) async fn until(
    host: &Host,
    desired: &DesiredWorkspace,
    title: &str,
    enough: impl Fn(&Observed) -> bool,
) -> Observed {
    let start = Instant::now();
    let mut reached: BTreeMap<WorkspaceStep, Duration> = BTreeMap::new();
    let mut reasons: Vec<String> = Vec::new();
    let mut calls = 0;
    loop {
        calls += 1;
        let observed = match host.reconcile(desired).await {
            Ok(observed) => observed,
            // As a worker does: no answer from a machine that is busy is no answer yet.
            Err(error @ ReconcileError::Unreachable { .. }) => {
                reasons.push(format!("{:.1?} {error:?}", start.elapsed()));
                assert!(start.elapsed() < DEADLINE, "not {title}: {reasons:#?}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => panic!("not {title}: {error:?}"),
        };
        for status in observed.steps.iter().filter(|status| status.progress == Progress::Done) {
            reached.entry(status.step).or_insert_with(|| start.elapsed());
        }
        if enough(&observed) {
            println!("{} {title} after {:.1?}, {calls} calls", desired.id, start.elapsed());
            for (step, time) in reached {
                println!("    {step:<16} {time:>8.1?}");
            }
            println!("    reasons: {reasons:#?}");
            return observed;
        }
        let (step, reason, after) = observed.waiting().unwrap();
        if reasons.last().is_none_or(|last| !last.ends_with(reason)) {
            reasons.push(format!("{:.1?} {step}: {reason}", start.elapsed()));
        }
        assert!(start.elapsed() < DEADLINE, "not {title}: {reasons:#?}");
        tokio::time::sleep(after).await;
    }
}

/// A removal that begins now.
pub(crate) fn removal(id: &WorkspaceId, fence: i64) -> Removal {
    Removal {
        id: id.clone(),
        organization: Some(organization(id)),
        fence,
        now: now(),
        begun: now(),
        seen: Vec::new(),
        forced: Vec::new(),
    }
}

/// Calls until nothing is left; prints what was waited for.
pub(crate) async fn remove(host: &Host, id: &WorkspaceId, fence: i64) -> Receipt {
    let start = Instant::now();
    let mut removal = removal(id, fence);
    let mut reasons: Vec<String> = Vec::new();
    loop {
        removal.now = now();
        match host.remove(&removal).await {
            Ok(Removed::Gone(receipt)) => {
                println!("{id} gone after {:.1?}: {reasons:#?}", start.elapsed());
                return receipt;
            }
            Err(error @ ReconcileError::Unreachable { .. }) => {
                reasons.push(format!("{:.1?} {error:?}", start.elapsed()));
                assert!(start.elapsed() < DEADLINE, "not gone: {reasons:#?}");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => panic!("not gone: {error:?}"),
            Ok(Removed::Waiting { reason, after, seen, forced }) => {
                if reasons.last().is_none_or(|last| !last.ends_with(&reason)) {
                    reasons.push(format!("{:.1?} {reason}", start.elapsed()));
                }
                assert!(start.elapsed() < DEADLINE, "not gone: {reasons:#?}");
                (removal.seen, removal.forced) = (seen, forced);
                tokio::time::sleep(after).await;
            }
        }
    }
}

/// An API for any kind.
pub(crate) fn objects(client: &Client, api_version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let plural = match kind.chars().last() {
        Some('y') => format!("{}ies", kind.trim_end_matches('y')),
        Some('s') => format!("{kind}es"),
        _ => format!("{kind}s"),
    };
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_lowercase(),
    };
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// The resource versions of everything that the platform manages, by kind and name.
pub(crate) async fn versions(
    client: &Client,
    namespace: Option<&str>,
    kinds: &[(&str, &str)],
) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for (api_version, kind) in kinds {
        let managed = ListParams::default().labels("app.kubernetes.io/managed-by=hexabase");
        let list = objects(client, api_version, kind, namespace).list_metadata(&managed).await.unwrap();
        for object in list.items {
            let metadata = object.metadata;
            let place = metadata.namespace.unwrap_or_default();
            versions.insert(format!("{kind} {place} {}", metadata.name.unwrap()), metadata.resource_version.unwrap());
        }
    }
    versions
}

/// Polls until `probe` gives something.
pub(crate) async fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await {
            println!("{what} after {:.1?}", start.elapsed());
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
