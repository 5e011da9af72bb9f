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
    for script in removal(&saved).into_iter().flatten() {
        cmd::output_with_input(cmd::system("iptables-restore").arg("--noflush"), script.as_bytes())?;
    }
    for table in network::tables()? {
        let Some((family, name)) = table.split_once(' ') else { continue };
        if COMPATIBLE.contains(&name) && was_not_there(state, &table) && !has_rules(family, name)? {
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

fn has_rules(family: &str, name: &str) -> Result<bool> {
    let text = cmd::output(cmd::system("nft").args(["-j", "list", "table", family, name]))?;
    let parsed: Value = serde_json::from_str(&text)?;
    Ok(parsed["nftables"].as_array().is_some_and(|objects| objects.iter().any(|object| object.get("rule").is_some())))
}

/// Scripts for `iptables-restore` that take the host ports of our pods away: their rules and chains, and the shared
/// chains of the port plugin if nobody else's rule is left in them. Chains go in a second run, when nothing refers to
/// them any more.
fn removal(saved: &str) -> Option<[String; 2]> {
    let own = own_rules(saved);
    if own.is_empty() {
        return None;
    }
    let (mut rules, mut chains) = (Vec::new(), Vec::new());
    for rule in &own {
        rules.push(format!("-D {}", &rule[3..]));
        chains.extend(rule.rsplit_once(" -j ").map(|(_, chain)| chain).filter(|chain| chain.starts_with("CNI-DN-")));
    }
    let others = |line: &str| line.starts_with("-A CNI-HOSTPORT-DNAT ") && !own.iter().any(|rule| rule == line);
    if !saved.lines().any(others) {
        let jumps = saved.lines().filter(|line| line.starts_with("-A ") && line.contains(" -j CNI-HOSTPORT-"));
        rules.extend(jumps.filter(|line| !line.starts_with("-A CNI-")).map(|line| format!("-D {}", &line[3..])));
        let names = saved.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next());
        chains.extend(names.filter(|name| name.starts_with("CNI-HOSTPORT-")));
    }
    rules.extend(chains.iter().map(|chain| format!("-F {chain}")));
    let deletions: Vec<String> = chains.iter().map(|chain| format!("-X {chain}")).collect();
    Some([rules, deletions].map(|lines| format!("*nat\n{}\nCOMMIT\n", lines.join("\n"))))
}

#[cfg(test)]
mod tests {
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
        let [rules, chains] = removal(&saved(&[OURS, THEIRS])).unwrap();
        assert!(rules.contains("-F CNI-DN-1\n") && chains == "*nat\n-X CNI-DN-1\nCOMMIT\n");
        assert!(!rules.contains("CNI-DN-2") && !rules.contains("PREROUTING"));
        assert_eq!(removal(&saved(&[THEIRS])), None);
    }

    #[test]
    fn the_last_rule_takes_the_shared_chains_along() {
        let [rules, chains] = removal(&saved(&[OURS])).unwrap();
        assert!(rules.contains("-D PREROUTING -m addrtype"));
        assert!(chains.contains("-X CNI-HOSTPORT-DNAT\n-X CNI-HOSTPORT-MASQ\nCOMMIT\n"));
    }
}
