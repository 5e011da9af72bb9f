//! Takes our rules out of the machine's packet filter, and tables that only we brought about. Anything else stays.

use anyhow::Result;
use serde_json::Value;

use super::layout::{NETWORK, State};
use super::network;
use crate::cmd;

/// Tables that the iptables commands create as soon as they are asked for something.
const COMPATIBLE: [&str; 5] = ["nat", "filter", "mangle", "raw", "security"];

/// Removes what is ours. Without a state only what carries our name.
pub(crate) fn clean(state: Option<&State>) -> Result<()> {
    let tables = network::tables()?;
    // `up` refuses to share a machine with another kube-proxy, so next to our table its tables are ours.
    let ours = tables.iter().any(|table| *table == format!("ip {NETWORK}"));
    for table in tables {
        let Some((family, name)) = table.split_once(' ') else { continue };
        if name == NETWORK || (name == "kube-proxy" && (ours || was_not_there(state, &table))) {
            cmd::output(cmd::system("nft").args(["delete", "table", family, name]))?;
        }
    }
    for rule in network::forward_rules() {
        while cmd::succeeds(cmd::system("iptables").arg("-D").args(&rule)) {}
    }
    let saved = cmd::output(cmd::system("iptables-save").args(["-t", "nat"])).unwrap_or_default();
    for script in removal(&saved, state.map(|state| state.port_chains)).into_iter().flatten() {
        cmd::output_with_input(cmd::system("iptables-restore").arg("--noflush"), script.as_bytes())?;
    }
    if state.is_some_and(|state| state.network_policy) {
        for table in COMPATIBLE {
            let saved = cmd::output(cmd::system("iptables-save").args(["-t", table])).unwrap_or_default();
            for script in agents_removal(table, &saved).into_iter().flatten() {
                cmd::output_with_input(cmd::system("iptables-restore").arg("--noflush"), script.as_bytes())?;
            }
        }
    }
    for table in network::tables()? {
        let Some((family, name)) = table.split_once(' ') else { continue };
        if COMPATIBLE.contains(&name) && was_not_there(state, &table) && is_bare(family, name)? {
            cmd::output(cmd::system("nft").args(["delete", "table", family, name]))?;
        }
    }
    Ok(())
}

/// Our rules in the output of `iptables-save`.
pub(crate) fn own_rules(saved: &str) -> Vec<String> {
    let ours = format!("name: \\\"{NETWORK}\\\"");
    saved.lines().filter(|line| line.starts_with("-A ") && line.contains(&ours)).map(str::to_owned).collect()
}

fn was_not_there(state: Option<&State>, table: &str) -> bool {
    state.is_some_and(|state| !state.nft_tables.iter().any(|had| had == table))
}

/// True if the port plugin's shared chains are there.
pub(crate) fn has_port_chains() -> bool {
    let saved = cmd::output(cmd::system("iptables-save").args(["-t", "nat"])).unwrap_or_default();
    !shared_chains(&saved).is_empty()
}

fn is_bare(family: &str, name: &str) -> Result<bool> {
    let text = cmd::output(cmd::system("nft").args(["-j", "list", "table", family, name]))?;
    Ok(holds_nothing(&serde_json::from_str(&text)?))
}

/// True for a table as the iptables commands create it: no rule, no chain of anybody's own, no policy but to accept.
fn holds_nothing(listed: &Value) -> bool {
    let is_empty = |object: &Value| {
        let chain = &object["chain"];
        object.get("metainfo").is_some() || object.get("table").is_some() || chain["policy"] == "accept"
    };
    listed["nftables"].as_array().is_some_and(|objects| objects.iter().all(is_empty))
}

/// Scripts for `iptables-restore` that take the host ports of our pods away: their rules and chains, and the shared
/// chains of the port plugin if it made them for us and nobody else's rule is left in them. Chains go in a second run,
/// when nothing refers to them any more. `had_chains` tells whether they were there before us, if that is known.
fn removal(saved: &str, had_chains: Option<bool>) -> Option<[String; 2]> {
    let own = own_rules(saved);
    let (mut rules, mut chains) = (Vec::new(), Vec::new());
    for rule in &own {
        rules.push(format!("-D {}", &rule[3..]));
        chains.extend(rule.rsplit_once(" -j ").map(|(_, chain)| chain).filter(|chain| chain.starts_with("CNI-DN-")));
    }
    let others = |line: &str| line.starts_with("-A CNI-HOSTPORT-DNAT ") && !own.iter().any(|rule| rule == line);
    let are_ours = had_chains.map_or(!own.is_empty(), |had| !had);
    if are_ours && !saved.lines().any(others) {
        let jumps = saved.lines().filter(|line| line.starts_with("-A ") && line.contains(" -j CNI-HOSTPORT-"));
        rules.extend(jumps.filter(|line| !line.starts_with("-A CNI-")).map(|line| format!("-D {}", &line[3..])));
        chains.extend(shared_chains(saved));
    }
    if rules.is_empty() && chains.is_empty() {
        return None;
    }
    rules.extend(chains.iter().map(|chain| format!("-F {chain}")));
    let deletions: Vec<String> = chains.iter().map(|chain| format!("-X {chain}")).collect();
    Some([rules, deletions].map(|lines| format!("*nat\n{}\nCOMMIT\n", lines.join("\n"))))
}

/// The same for the chains of Cilium's agent in one table, and those of an earlier start that it had no time to remove.
fn agents_removal(table: &str, saved: &str) -> Option<[String; 2]> {
    let is_agents = |chain: &str| chain.starts_with("CILIUM_") || chain.starts_with("OLD_CILIUM_");
    let names = saved.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next());
    let chains: Vec<&str> = names.filter(|name| is_agents(name)).collect();
    if chains.is_empty() {
        return None;
    }
    let target = |rule: &str| rule.split_once(" -j ").and_then(|(_, rest)| rest.split(' ').next().map(str::to_owned));
    let jumps = saved.lines().filter_map(|line| line.strip_prefix("-A ")).filter(|rule| {
        let own = rule.split(' ').next().is_some_and(is_agents);
        !own && target(rule).is_some_and(|chain| is_agents(&chain))
    });
    let mut rules: Vec<String> = jumps.map(|rule| format!("-D {rule}")).collect();
    rules.extend(chains.iter().map(|chain| format!("-F {chain}")));
    let deletions: Vec<String> = chains.iter().map(|chain| format!("-X {chain}")).collect();
    Some([rules, deletions].map(|lines| format!("*{table}\n{}\nCOMMIT\n", lines.join("\n"))))
}

/// Chains that the port plugin makes once for all pods.
fn shared_chains(saved: &str) -> Vec<&str> {
    let names = saved.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next());
    names.filter(|name| name.starts_with("CNI-HOSTPORT-")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OURS: &str =
        r#"-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"hexabase\" id: \"a\"" -j CNI-DN-1"#;
    const THEIRS: &str =
        r#"-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"podman\" id: \"b\"" -j CNI-DN-2"#;

    fn saved(rules: &[&str]) -> String {
        let head = "*nat\n:CNI-HOSTPORT-DNAT - [0:0]\n:CNI-HOSTPORT-MASQ - [0:0]\n:CNI-DN-1 - [0:0]\n";
        let jump =
            "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n-A CNI-DN-1 -j CNI-HOSTPORT-MASQ\n";
        format!("{head}{jump}{}\nCOMMIT\n", rules.join("\n"))
    }

    #[test]
    fn another_ones_rules_and_shared_chains_stay() {
        let [rules, chains] = removal(&saved(&[OURS, THEIRS]), Some(false)).unwrap();
        assert!(rules.contains("-F CNI-DN-1\n") && chains == "*nat\n-X CNI-DN-1\nCOMMIT\n");
        assert!(!rules.contains("CNI-DN-2") && !rules.contains("PREROUTING"));
        assert_eq!(removal(&saved(&[THEIRS]), Some(false)), None);
    }

    #[test]
    fn the_last_rule_takes_the_shared_chains_along() {
        let [rules, chains] = removal(&saved(&[OURS]), None).unwrap();
        assert!(rules.contains("-D PREROUTING -m addrtype"));
        assert!(chains.contains("-X CNI-HOSTPORT-DNAT\n-X CNI-HOSTPORT-MASQ\nCOMMIT\n"));
    }

    #[test]
    fn shared_chains_go_after_the_last_pod_of_ours_but_not_if_they_were_there_before() {
        let [rules, chains] = removal(&saved(&[]), Some(false)).unwrap();
        assert!(rules.contains("-D PREROUTING -m addrtype") && chains.contains("-X CNI-HOSTPORT-DNAT\n"));
        assert_eq!(removal(&saved(&[]), Some(true)), None);
        assert_eq!(removal(&saved(&[]), None), None);
        let [rules, _] = removal(&saved(&[OURS]), Some(true)).unwrap();
        assert!(rules.contains("-F CNI-DN-1\n") && !rules.contains("PREROUTING"));
    }

    #[test]
    fn the_agents_chains_go_with_what_leads_there_and_nothing_else() {
        let saved = "*filter\n:INPUT ACCEPT [0:0]\n:CILIUM_INPUT - [0:0]\n:OLD_CILIUM_FORWARD - [0:0]\n:THEIRS - [0:0]\n\
                     -A INPUT -m comment --comment \"cilium-feeder: CILIUM_INPUT\" -j CILIUM_INPUT\n\
                     -A INPUT -m comment --comment CILIUM_ -j THEIRS\n\
                     -A CILIUM_INPUT -m mark --mark 0x200/0xf00 -j ACCEPT\nCOMMIT\n";
        let [rules, chains] = agents_removal("filter", saved).unwrap();
        assert_eq!(
            rules,
            "*filter\n-D INPUT -m comment --comment \"cilium-feeder: CILIUM_INPUT\" -j CILIUM_INPUT\n\
             -F CILIUM_INPUT\n-F OLD_CILIUM_FORWARD\nCOMMIT\n"
        );
        assert_eq!(chains, "*filter\n-X CILIUM_INPUT\n-X OLD_CILIUM_FORWARD\nCOMMIT\n");
        assert_eq!(agents_removal("nat", "*nat\n:INPUT ACCEPT [0:0]\nCOMMIT\n"), None);
    }

    #[test]
    fn a_table_with_a_policy_a_rule_or_a_chain_of_its_own_is_somebodys() {
        let table = |object: Value| {
            let base = json!({ "chain": { "name": "FORWARD", "hook": "forward", "policy": "accept" } });
            json!({ "nftables": [{ "metainfo": {} }, { "table": { "name": "filter" } }, base, object] })
        };
        assert!(holds_nothing(&table(json!({ "chain": { "name": "INPUT", "hook": "input", "policy": "accept" } }))));
        assert!(!holds_nothing(&table(json!({ "chain": { "name": "INPUT", "hook": "input", "policy": "drop" } }))));
        assert!(!holds_nothing(&table(json!({ "chain": { "name": "DOCKER-USER" } }))));
        assert!(!holds_nothing(&table(json!({ "rule": { "chain": "INPUT" } }))));
    }
}
