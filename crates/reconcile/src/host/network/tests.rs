//! Single rules; who reaches whom by all of them together is in `reach.rs`.

use super::*;

fn issuer(url: &str, platform: &[Peer]) -> Value {
    let authentication = Authentication {
        issuer_url: "https://elsewhere.example".to_owned(),
        discovery_url: Some(url.to_owned()),
        audience: "ws".to_owned(),
        ca_pem: None,
    };
    to_issuer(&authentication, platform)
}

#[test]
fn an_issuer_at_an_address_is_reached_at_that_address_and_port_only() {
    let rule = issuer("https://10.1.2.3:9443/oidc/ws/.well-known/openid-configuration", &[]);
    assert_eq!(rule["to"], json!([{ "ipBlock": { "cidr": "10.1.2.3/32" } }]));
    assert_eq!(rule["ports"][0]["port"], 9443);
    let rule = issuer("https://[fd00::1]/x", &[]);
    assert_eq!(rule["to"], json!([{ "ipBlock": { "cidr": "fd00::1/128" } }]));
    assert_eq!(rule["ports"][0]["port"], 443);
}

#[test]
fn an_issuer_behind_a_service_is_reached_in_its_namespace() {
    for host in ["hexabase.platform.svc", "hexabase.platform.svc.cluster.local."] {
        let rule = issuer(&format!("https://{host}:8443/x"), &[]);
        assert_eq!(rule["to"], json!([peer(&Peer::Namespace("platform".to_owned()))]));
    }
}

#[test]
fn a_public_issuer_does_not_open_private_ranges() {
    let rule = issuer("https://id.example.com/x", &[Peer::Cidr("192.0.2.0/24".to_owned())]);
    assert_eq!(rule["to"][0]["ipBlock"]["cidr"], "192.0.2.0/24");
    assert!(rule["to"][1]["ipBlock"]["except"].as_array().unwrap().contains(&json!("169.254.0.0/16")));
    assert_eq!(rule["ports"][0]["port"], 443);
}

#[test]
fn the_hosts_own_machines_are_not_the_internet_wherever_they_stand() {
    let mut settings = HostSettings::new(None, "helm".into(), "chart".into());
    settings.closed_networks = vec!["8.9.0.0/16".to_owned(), "2a00:7::/32".to_owned(), "fd00:9::/32".to_owned()];
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    let places = Places {
        api: vec![(ip("11.0.0.6"), 6443), (ip("10.96.0.1"), 443)],
        nodes: vec![ip("10.0.0.7"), ip("11.0.0.7"), ip("2a00::7"), ip("fd00::7")],
        dns: Vec::new(),
    };
    let internet = internet(&closed(&settings, &places));
    let excepted = |block: usize| internet[block]["ipBlock"]["except"].as_array().unwrap().clone();
    let added: Vec<Value> = excepted(0).split_off(NOT_PUBLIC_V4.len());
    assert_eq!(added, ["11.0.0.6/32", "11.0.0.7/32", "8.9.0.0/16"]);
    let added: Vec<Value> = excepted(1).split_off(NOT_PUBLIC_V6.len());
    assert_eq!(added, ["2a00:7::/32", "2a00::7/128"]);
}

#[test]
fn the_tenants_dns_asks_any_resolver_but_the_hosts_dns() {
    let places =
        Places { dns: vec!["10.96.0.10".parse().unwrap(), "fd00:96::a".parse().unwrap()], ..Places::default() };
    let expected = json!([
        { "ipBlock": { "cidr": "0.0.0.0/0", "except": ["10.96.0.10/32"] } },
        { "ipBlock": { "cidr": "::/0", "except": ["fd00:96::a/128"] } },
    ]);
    assert_eq!(resolvers(&places), expected);
    assert_eq!(resolvers(&Places::default())[1], json!({ "ipBlock": { "cidr": "::/0" } }));
}
