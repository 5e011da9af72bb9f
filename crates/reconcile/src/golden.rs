//! What every pure `build` makes of one fixed workspace, compared as text with `tests/golden/`.
//!
//! After an intended change: `cargo test -p hexabase-reconcile write_golden_files -- --ignored`, and read the diff.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hexabase_core::plans;
use hexabase_core::projects::{NetworkIsolation, PodSecurity};
use hexabase_core::quantity::{Bytes, Cpu};
use hexabase_core::quota::Amounts;
use hexabase_core::roles::{ClusterRoleRef, PresetClusterRole, ProjectRole, ProjectRoleRef, Rule};
use serde_json::{Value, json};

use crate::desired::{Authentication, CustomRole, DesiredProject, DesiredWorkspace, Placement, ProjectGrant};
use crate::host::network;
use crate::host::places::{MetricsServer, Places};
use crate::host::{admission, authentication, limits, namespace, policies, values};
use crate::labels::{self, Names};
use crate::manifest::Manifest;
use crate::settings::{EndpointMode, HostSettings, Peer};
use crate::tenant::{access, makers, projects};

fn custom_roles() -> Vec<CustomRole> {
    let rules: Vec<Rule> = serde_json::from_value(json!([
        { "api_groups": ["apps"], "resources": ["deployments", "deployments/scale"], "verbs": ["get", "patch"] },
        { "api_groups": [""], "resources": ["configmaps"], "verbs": ["get", "update"], "resource_names": ["settings"] },
    ]))
    .unwrap();
    vec![CustomRole { name: "deployer".parse().unwrap(), rules }]
}

pub(crate) fn desired() -> DesiredWorkspace {
    let id = "ws-0123456789abcdefghjk";
    DesiredWorkspace {
        id: id.parse().unwrap(),
        organization: Some("org-0123456789abcdefghjk".parse().unwrap()),
        fence: 7,
        limits: plans::seed().remove(1).limits,
        smaller: None,
        kubernetes: None,
        authentication: Authentication {
            issuer_url: format!("https://hexabase.example/oidc/{id}"),
            discovery_url: Some(format!("https://10.0.0.7:8443/oidc/{id}/.well-known/openid-configuration")),
            audience: id.to_owned(),
            ca_pem: Some("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned()),
        },
        proof: None,
        cluster_roles: vec![
            ("WSAdmins".parse().unwrap(), ClusterRoleRef::Preset(PresetClusterRole::WorkspaceAdmin)),
            ("WorkspaceMembers".parse().unwrap(), ClusterRoleRef::Preset(PresetClusterRole::WorkspaceViewer)),
            ("WSAdmins".parse().unwrap(), ClusterRoleRef::Preset(PresetClusterRole::WorkspaceAdmin)),
            ("operators".parse().unwrap(), ClusterRoleRef::Custom("deployer".parse().unwrap())),
        ],
        custom_roles: custom_roles(),
        projects: vec![DesiredProject {
            id: "prj-0123456789abcdefghjk".parse().unwrap(),
            name: "shop".parse().unwrap(),
            present: true,
            limits: Amounts {
                cpu: Cpu::from_millis(1500),
                memory: Bytes::from_gibibytes(4),
                storage: Bytes::from_gibibytes(10),
                pods: 20,
                services: 10,
                load_balancers: 1,
                persistent_volume_claims: 5,
                objects: 100,
            },
            labels: BTreeMap::from([("team".to_owned(), "shop".to_owned())]).try_into().unwrap(),
            pod_security: PodSecurity::Restricted,
            network: NetworkIsolation::Open,
            grants: vec![
                ProjectGrant { group: "developers".parse().unwrap(), role: ProjectRoleRef::Preset(ProjectRole::Edit) },
                ProjectGrant { group: "auditors".parse().unwrap(), role: ProjectRoleRef::Preset(ProjectRole::View) },
                ProjectGrant {
                    group: "operators".parse().unwrap(),
                    role: ProjectRoleRef::Custom("deployer".parse().unwrap()),
                },
            ],
            custom_roles: custom_roles(),
        }],
        placement: Placement::default(),
    }
}

/// As the metrics server is by its own manifests.
pub(crate) fn metrics() -> MetricsServer {
    MetricsServer {
        namespace: "kube-system".to_owned(),
        service: "metrics-server".to_owned(),
        port: 443,
        addresses: vec![("10.96.0.44".parse().unwrap(), 443)],
        selector: BTreeMap::from([("k8s-app".to_owned(), "metrics-server".to_owned())]),
        ports: vec![10250],
    }
}

fn settings() -> HostSettings {
    let mut settings = HostSettings::new(None, PathBuf::from("helm"), PathBuf::from("chart"));
    settings.platform = vec![Peer::Namespace("hexabase".to_owned())];
    settings
}

/// File name and text of every golden file.
fn files() -> Vec<(&'static str, String)> {
    let (desired, settings) = (desired(), settings());
    let names = Names::of(&desired.id);
    let own = labels::of_workspace(&desired.id, desired.organization.as_ref());
    let places = Places {
        api: vec![("10.0.0.5".parse().unwrap(), 6443), ("10.96.0.1".parse().unwrap(), 443)],
        dns: vec!["10.96.0.10".parse().unwrap(), "fd00:96::a".parse().unwrap()],
        nodes: vec!["10.0.0.5".parse().unwrap(), "11.0.0.7".parse().unwrap(), "2a00::7".parse().unwrap()],
        pods: vec!["10.244.0.0/24".to_owned()],
        metrics: Some(metrics()),
    };
    let mut open = HostSettings::new(None, PathBuf::from("helm"), PathBuf::from("chart"));
    open.endpoint = EndpointMode::NodePort { address: "192.0.2.1".to_owned() };
    open.image_registry = Some("registry.example".to_owned());
    open.storage_class = Some("fast".to_owned());
    open.tenant_runtime_classes = vec!["gvisor".to_owned()];
    let classes = ["fast".to_owned(), "standard".to_owned()];
    let mut plain = desired.clone();
    plain.authentication.discovery_url = None;
    plain.authentication.ca_pem = None;
    let mut dedicated = desired.clone();
    dedicated.placement.dedicated = true;

    let mut closed = desired.projects.clone();
    closed[0].network = NetworkIsolation::Isolated;
    let policies_of = |settings: &HostSettings, desired: &DesiredWorkspace, projects: &[DesiredProject]| {
        objects(&network::build(settings, &desired.authentication, &places, &names, &own, projects))
    };

    let project = projects::build(&desired.projects[0]);
    let project: Vec<Manifest> =
        [vec![project.namespace], project.limits, project.roles, project.bindings].into_iter().flatten().collect();
    let (roles, bindings) = access::build(&desired.cluster_roles, &desired.custom_roles);
    let secret = authentication::build(&desired, "v1.35.4", &names, &own);
    let mut described = secret.clone();
    described.json["data"][admission::KEY] = admission::configuration();
    described.json["data"][authentication::KEY] = Value::String("(see authentication.yaml)".to_owned());
    vec![
        ("namespace.yaml", objects(&[namespace::build(&open, &desired, &classes, &names)])),
        ("namespace-dedicated.yaml", objects(&[namespace::build(&open, &dedicated, &classes, &names)])),
        ("limits.yaml", objects(&limits::build(&desired.limits, &settings.endpoint, &names, &own))),
        ("network.yaml", policies_of(&settings, &desired, &desired.projects)),
        ("network-isolated.yaml", policies_of(&settings, &desired, &closed)),
        ("network-node-port.yaml", policies_of(&open, &plain, &[])),
        ("policies.yaml", objects(&policies::build())),
        ("authentication-secret.yaml", objects(&[described])),
        ("authentication.yaml", yaml(&authentication::configuration(&desired, "v1.35.4"))),
        ("authentication-old.yaml", yaml(&authentication::configuration(&plain, "v1.33.1"))),
        (
            "values.yaml",
            yaml(&values::build(&settings, &settings.kubernetes_tag, &names, &own, None, Some(&metrics()))),
        ),
        ("values-node-port.yaml", yaml(&values::build(&open, &open.kubernetes_tag, &names, &own, None, None))),
        (
            "values-dedicated.yaml",
            yaml(&values::build(&settings, &settings.kubernetes_tag, &names, &own, dedicated.pool(), Some(&metrics()))),
        ),
        ("access.yaml", objects(&[roles, bindings].concat())),
        ("makers.yaml", objects(makers::build(makers::IN_BETA).as_flattened())),
        ("project.yaml", objects(&project)),
    ]
}

fn objects(manifests: &[Manifest]) -> String {
    manifests.iter().map(|manifest| yaml(&manifest.json)).collect::<Vec<_>>().join("---\n")
}

fn yaml(value: &Value) -> String {
    let text = serde_saphyr::to_string(value).unwrap();
    if text.ends_with('\n') { text } else { text + "\n" }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn every_build_makes_what_its_golden_file_says() {
    let mut wrong = Vec::new();
    for (name, text) in files() {
        let expected = std::fs::read_to_string(path(name)).unwrap_or_default();
        if expected != text {
            let line = expected.lines().zip(text.lines()).position(|(old, new)| old != new);
            let line = line.unwrap_or(expected.lines().count().min(text.lines().count()));
            let (old, new) = (expected.lines().nth(line), text.lines().nth(line));
            wrong.push(format!("{name}:{}: expected {old:?}, built {new:?}", line + 1));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\nIf this is intended, see src/golden.rs.");
}

#[test]
fn the_secret_carries_the_configuration_as_the_api_server_reads_it() {
    let desired = desired();
    let names = Names::of(&desired.id);
    let own = labels::of_workspace(&desired.id, desired.organization.as_ref());
    let secret = authentication::build(&desired, "v1.35.4", &names, &own);
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret.json).unwrap();
    let text = secret.data.unwrap().remove(authentication::KEY).unwrap().0;
    let read: Value = serde_saphyr::from_str(std::str::from_utf8(&text).unwrap()).unwrap();
    assert_eq!(read, authentication::configuration(&desired, "v1.35.4"));
}

#[test]
#[ignore = "writes the golden files instead of comparing them"]
fn write_golden_files() {
    for (name, text) in files() {
        std::fs::write(path(name), text).unwrap();
    }
}
