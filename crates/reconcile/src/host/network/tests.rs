//! Single rules; who reaches whom by all of them together is in `reach.rs`.

use hexabase_testkit::kubernetes::FakeKubernetes;

use super::*;
use crate::connection::Host;
use crate::labels;

#[tokio::test]
async fn the_policy_of_a_project_that_is_open_again_is_taken_away_and_no_other() {
    let server = FakeKubernetes::start().await.unwrap();
    let settings = HostSettings::new(Some(server.kubeconfig()), "helm".into(), "chart".into());
    let host = Host::connect(settings.clone()).await.unwrap().cluster;
    let mut desired = crate::golden::desired();
    let names = Names::of(&desired.id);
    let own = labels::of_workspace(&desired.id, desired.organization.as_ref());
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies", names.namespace);
    server.put(&format!("/api/v1/namespaces/{}", names.namespace), json!({ "metadata": { "name": names.namespace } }));
    let somebodys = format!("{path}/ingress-controller");
    server.put(&somebodys, json!({ "metadata": { "name": "ingress-controller" }, "spec": {} }));
    let project = format!("{path}/hexabase-project-{}", desired.projects[0].id);
    for (network, is_there) in [(NetworkIsolation::Isolated, true), (NetworkIsolation::Open, false)] {
        desired.projects[0].network = network;
        let built = build(&settings, &desired.authentication, &Places::default(), &names, &own, &desired.projects);
        host.apply_all_exactly(&built).await.unwrap();
        prune(&host, &names, &built).await.unwrap();
        assert_eq!(server.get(&project).is_some(), is_there, "{network}");
        assert!(server.get(&somebodys).is_some() && server.get(&format!("{path}/hexabase-workloads")).is_some());
    }
}

fn issuer(url: &str, platform: &[Peer]) -> Vec<Value> {
    let authentication = Authentication {
        issuer_url: "https://elsewhere.example".to_owned(),
        discovery_url: Some(url.to_owned()),
        audience: "ws".to_owned(),
        ca_pem: None,
    };
    let mut settings = HostSettings::new(None, "helm".into(), "chart".into());
    settings.platform = platform.to_vec();
    settings.issuer_port = Some(8444);
    settings.closed_networks = vec!["8.9.0.0/16".to_owned()];
    to_issuer(&settings, &authentication)
}

#[test]
fn an_issuer_at_an_address_is_reached_at_that_address_and_port_only() {
    let rules = issuer("https://10.1.2.3:9443/oidc/ws/.well-known/openid-configuration", &[]);
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0]["to"], json!([{ "ipBlock": { "cidr": "10.1.2.3/32" } }]));
    assert_eq!(rules[0]["ports"][0]["port"], 9443);
    let rules = issuer("https://[fd00::1]/x", &[]);
    assert_eq!(rules[0]["to"], json!([{ "ipBlock": { "cidr": "fd00::1/128" } }]));
    assert_eq!(rules[0]["ports"][0]["port"], 443);
}

#[test]
fn an_issuer_behind_a_service_is_reached_in_its_namespace_on_the_port_of_its_pods() {
    for host in ["hexabase.platform.svc", "hexabase.platform.svc.cluster.local."] {
        let rules = issuer(&format!("https://{host}/x"), &[]);
        let expected = json!([{
            "to": [peer(&Peer::Namespace("platform".to_owned()))], "ports": [{ "protocol": "TCP", "port": 8444 }],
        }]);
        assert_eq!(json!(rules), expected);
    }
}

#[test]
fn a_public_issuer_opens_neither_private_ranges_nor_closed_ones_nor_where_the_platform_calls_from() {
    let platform = [Peer::Cidr("10.7.0.0/16".to_owned()), Peer::Namespace("platform".to_owned())];
    let rules = issuer("https://id.example.com/x", &platform);
    assert_eq!(rules.len(), 2);
    let excepted = rules[0]["to"][0]["ipBlock"]["except"].as_array().unwrap();
    assert!(excepted.contains(&json!("169.254.0.0/16")) && excepted.contains(&json!("8.9.0.0/16")));
    assert_eq!(rules[0]["ports"], json!([{ "protocol": "TCP", "port": 443 }]));
    assert_eq!(rules[1]["to"], json!([peer(&platform[1])]));
    assert_eq!(rules[1]["ports"], json!([{ "protocol": "TCP", "port": 8444 }]));
}

#[test]
fn the_hosts_own_machines_and_pods_are_not_the_internet_wherever_they_stand() {
    let mut settings = HostSettings::new(None, "helm".into(), "chart".into());
    settings.closed_networks = vec!["8.9.0.0/16".to_owned(), "2a00:7::/32".to_owned(), "fd00:9::/32".to_owned()];
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    let places = Places {
        api: vec![(ip("11.0.0.6"), 6443), (ip("10.96.0.1"), 443)],
        nodes: vec![ip("10.0.0.7"), ip("11.0.0.7"), ip("2a00::7"), ip("fd00::7")],
        dns: vec![ip("11.1.0.9"), ip("10.96.0.10")],
        pods: vec!["10.244.0.0/24".to_owned(), "11.1.0.0/24".to_owned(), "2a01:244::/64".to_owned()],
        metrics: None,
    };
    let internet = internet(&closed(&settings, &places));
    let excepted = |block: usize| internet[block]["ipBlock"]["except"].as_array().unwrap().clone();
    let added: Vec<Value> = excepted(0).split_off(NOT_PUBLIC_V4.len());
    assert_eq!(added, ["11.0.0.6/32", "11.0.0.7/32", "11.1.0.0/24", "11.1.0.9/32", "8.9.0.0/16"]);
    let added: Vec<Value> = excepted(1).split_off(NOT_PUBLIC_V6.len());
    assert_eq!(added, ["2a00:7::/32", "2a00::7/128", "2a01:244::/64"]);
}

#[test]
fn the_tenants_dns_asks_any_resolver_but_the_hosts_dns() {
    let places =
        Places { dns: vec!["10.96.0.10".parse().unwrap(), "fd00:96::a".parse().unwrap()], ..Places::default() };
    let expected = json!([
        { "ipBlock": { "cidr": "0.0.0.0/0", "except": ["10.96.0.10/32", "169.254.20.10/32"] } },
        { "ipBlock": { "cidr": "::/0", "except": ["fd00:96::a/128"] } },
    ]);
    assert_eq!(resolvers(&places), expected);
    assert_eq!(resolvers(&Places::default())[1], json!({ "ipBlock": { "cidr": "::/0" } }));
}
