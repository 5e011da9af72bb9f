//! The rules of the API, one by one.

use serde_json::json;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn pod(namespace: &str, pairs: &[(&str, &str)]) -> Pod {
    Pod { namespace: namespace.to_owned(), labels: labels(pairs), ports: vec![("web".to_owned(), "TCP", 8080)] }
}

fn policy(spec: Value) -> Value {
    json!({ "metadata": { "name": "p", "namespace": "one" }, "spec": spec })
}

fn network(policies: &[Value]) -> Network {
    let namespaces = [("one", "blue"), ("two", "red")];
    let namespaces = namespaces.map(|(name, team)| (name.to_owned(), labels(&[("team", team)])));
    Network::new(namespaces.into(), policies).unwrap()
}

/// Pods `a` and `b` in `one`, `c` in `two`, and somebody outside, under one policy.
fn allows(spec: Value, from: &str, to: &str, port: u16) -> bool {
    let network = network(&[policy(spec)]);
    let pods = [("a", pod("one", &[("app", "a")])), ("b", pod("one", &[("app", "b")])), ("c", pod("two", &[]))];
    let end = |name: &str| {
        let found = pods.iter().position(|(known, _)| *known == name);
        match found {
            Some(place) => End { address: format!("10.0.0.{place}").parse().unwrap(), pod: Some(&pods[place].1) },
            None => End { address: name.parse().unwrap(), pod: None },
        }
    };
    let connection = Connection { from: end(from), to: end(to), protocol: "TCP", port };
    network.allows(&connection, IpBlocks::NoPods)
}

#[test]
fn whoever_no_policy_selects_is_open() {
    let only_a = json!({ "podSelector": { "matchLabels": { "app": "a" } }, "policyTypes": ["Ingress", "Egress"] });
    assert!(allows(only_a.clone(), "b", "c", 1) && allows(only_a.clone(), "c", "b", 1));
    assert!(!allows(only_a.clone(), "a", "c", 1) && !allows(only_a.clone(), "c", "a", 1));
    // A policy holds in its own namespace.
    assert!(allows(json!({ "podSelector": {}, "policyTypes": ["Ingress"] }), "a", "c", 1));
}

#[test]
fn both_ends_have_to_let_a_connection_through() {
    let all = json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}] });
    assert!(allows(all.clone(), "a", "c", 1));
    assert!(!allows(all, "a", "b", 1));
}

#[test]
fn without_types_a_policy_is_about_what_comes_in_and_about_what_goes_out_if_it_says_so() {
    assert!(allows(json!({ "podSelector": {} }), "a", "c", 1));
    assert!(!allows(json!({ "podSelector": {} }), "c", "a", 1));
    let egress = json!({ "podSelector": {}, "egress": [{ "to": [{ "podSelector": {} }] }] });
    assert!(!allows(egress, "a", "c", 1));
}

#[test]
fn a_peer_without_a_namespace_is_one_of_the_policys_own() {
    let from = |peer: Value| json!({ "podSelector": {}, "ingress": [{ "from": [peer] }] });
    assert!(allows(from(json!({ "podSelector": {} })), "b", "a", 1));
    assert!(!allows(from(json!({ "podSelector": {} })), "c", "a", 1));
    let red = json!({ "namespaceSelector": { "matchLabels": { "team": "red" } } });
    assert!(allows(from(red.clone()), "c", "a", 1) && !allows(from(red), "b", "a", 1));
    // Both in one peer have to hold.
    let both = json!({ "namespaceSelector": {}, "podSelector": { "matchLabels": { "app": "b" } } });
    assert!(allows(from(both.clone()), "b", "a", 1) && !allows(from(both), "c", "a", 1));
}

#[test]
fn selectors_know_all_four_operators() {
    let with = |operator: &str, values: &[&str]| {
        let expression = match values {
            [] => json!({ "key": "app", "operator": operator }),
            _ => json!({ "key": "app", "operator": operator, "values": values }),
        };
        let peer = json!({ "namespaceSelector": {}, "podSelector": { "matchExpressions": [expression] } });
        let spec = json!({ "podSelector": {}, "ingress": [{ "from": [peer] }] });
        (allows(spec.clone(), "b", "a", 1), allows(spec, "c", "a", 1))
    };
    assert_eq!(with("In", &["b", "x"]), (true, false));
    assert_eq!(with("NotIn", &["b"]), (false, true));
    assert_eq!(with("Exists", &[]), (true, false));
    assert_eq!(with("DoesNotExist", &[]), (false, true));
}

#[test]
fn ports_are_numbers_ranges_or_names_of_the_called_pod() {
    let ports = |port: Value| json!({ "podSelector": {}, "ingress": [{ "ports": [port] }] });
    assert!(allows(ports(json!({ "port": 80 })), "c", "a", 80) && !allows(ports(json!({ "port": 80 })), "c", "a", 81));
    let range = json!({ "protocol": "TCP", "port": 80, "endPort": 90 });
    assert!(allows(ports(range.clone()), "c", "a", 90) && !allows(ports(range), "c", "a", 91));
    assert!(allows(ports(json!({ "port": "web" })), "c", "a", 8080));
    assert!(!allows(ports(json!({ "port": "web" })), "c", "a", 80));
    assert!(!allows(ports(json!({ "port": "other" })), "c", "a", 8080));
    assert!(!allows(ports(json!({ "protocol": "UDP" })), "c", "a", 80));
    assert!(allows(ports(json!({ "protocol": "TCP" })), "c", "a", 80));
}

#[test]
fn blocks_have_exceptions_and_keep_to_their_family() {
    let to = |cidr: &str, except: &[&str]| {
        json!({ "podSelector": {}, "policyTypes": ["Egress"],
        "egress": [{ "to": [{ "ipBlock": { "cidr": cidr, "except": except } }] }] })
    };
    for (cidr, except, address, is) in [
        ("0.0.0.0/0", &["10.0.0.0/8", "169.254.0.0/16"] as &[&str], "9.9.9.9", true),
        ("0.0.0.0/0", &["10.0.0.0/8", "169.254.0.0/16"], "169.254.169.254", false),
        ("0.0.0.0/0", &[], "2620:fe::fe", false),
        ("2000::/3", &["2002::/16"], "2620:fe::fe", true),
        ("2000::/3", &["2002::/16"], "2002::1", false),
        ("2000::/3", &[], "fd00:ec2::254", false),
        ("::/0", &[], "9.9.9.9", false),
        ("192.0.2.7/32", &[], "192.0.2.7", true),
        ("192.0.2.7/32", &[], "192.0.2.8", false),
    ] {
        assert_eq!(allows(to(cidr, except), "a", address, 1), is, "{cidr} but {except:?}: {address}");
    }
}

#[test]
fn whether_a_block_is_about_pods_is_the_plugins_choice() {
    let network = network(&[policy(json!({ "podSelector": {}, "policyTypes": ["Egress"],
        "egress": [{ "to": [{ "ipBlock": { "cidr": "10.0.0.0/8" } }] }] }))]);
    let (from, to) = (pod("one", &[]), pod("two", &[]));
    let end = |pod| End { address: "10.0.0.1".parse().unwrap(), pod: Some(pod) };
    let connection = Connection { from: end(&from), to: end(&to), protocol: "UDP", port: 53 };
    assert!(network.allows(&connection, IpBlocks::Everybody));
    assert!(!network.allows(&connection, IpBlocks::NoPods));
}

#[test]
fn a_policy_that_is_not_understood_is_refused() {
    for spec in [
        json!({}),
        json!({ "podSelector": {}, "policyTypes": ["Both"] }),
        json!({ "podSelector": {}, "ingress": [{ "form": [] }] }),
        json!({ "podSelector": {}, "egress": [{ "to": [{ "fqdn": "x.example" }] }] }),
        json!({ "podSelector": {}, "egress": [{ "to": [{ "ipBlock": { "cidr": "10.0.0.0/33" } }] }] }),
        json!({ "podSelector": {}, "egress": [{ "to": [{ "ipBlock": { "cidr": "10.0.0.1" } }] }] }),
    ] {
        assert!(Network::new(BTreeMap::new(), &[policy(spec.clone())]).is_err(), "{spec}");
    }
    assert!(Network::new(BTreeMap::new(), &[json!({ "spec": { "podSelector": {} } })]).is_err());
}
