//! Rules of roles: what they allow, and which a custom role may have.

use serde::{Deserialize, Serialize};

/// One rule of a role, as in `rbac.authorization.k8s.io/v1` `PolicyRule`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// API groups; `""` is the core group.
    pub api_groups: Vec<String>,
    /// Resources and subresources.
    pub resources: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Only objects with these names; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
}

/// One thing that somebody may or may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access<'a> {
    /// The verb.
    pub verb: &'a str,
    /// The API group; empty for the core group.
    pub api_group: &'a str,
    /// The resource, with its subresource after a slash.
    pub resource: &'a str,
    /// The object, when it is about one.
    pub name: Option<&'a str>,
}

impl Rule {
    /// Whether the rule allows it, as Kubernetes reads rules.
    pub fn allows(&self, access: &Access<'_>) -> bool {
        let holds = |words: &[String], word: &str| words.iter().any(|held| held == "*" || held == word);
        let subresource = access.resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
        let resource =
            holds(&self.resources, access.resource) || subresource.is_some_and(|any| self.resources.contains(&any));
        let named = self.resource_names.is_empty()
            || access.name.is_some_and(|name| self.resource_names.iter().any(|held| held == name));
        holds(&self.verbs, access.verb) && holds(&self.api_groups, access.api_group) && resource && named
    }
}

/// Where a role holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleScope {
    /// In the whole workspace.
    Workspace,
    /// In the namespace of one project.
    Project,
}

/// A resource that a workspace's API server serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedResource {
    /// The API group; empty for the core group.
    pub api_group: String,
    /// The plural name, with the subresource after a slash.
    pub name: String,
    /// Other names that people write: the singular and short ones.
    pub aliases: Vec<String>,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

/// Rules that no custom role may have; the sentence is meant for whoever wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRules(String);

const MAX_RULES: usize = 50;
const MAX_WORDS: usize = 50;
const RBAC: &str = "rbac.authorization.k8s.io";
/// Verbs with which somebody gets rights that nobody gave them.
const ESCALATING: [&str; 3] = ["escalate", "bind", "impersonate"];
const READING: [&str; 3] = ["get", "list", "watch"];
/// What the platform writes in every workspace, in the core group.
const PLATFORM: [&str; 3] = ["namespaces", "resourcequotas", "limitranges"];

fn refuse<T>(number: usize, why: impl std::fmt::Display) -> Result<T, InvalidRules> {
    Err(InvalidRules(format!("rule {}: {why}", number + 1)))
}

/// Refuses what no custom role may hold, whoever makes it: wildcards, verbs that escalate, writing roles and bindings, and
/// writing what is the platform's.
pub fn check(rules: &[Rule]) -> Result<(), InvalidRules> {
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(InvalidRules(format!("a role has 1 to {MAX_RULES} rules")));
    }
    rules.iter().enumerate().try_for_each(|(number, rule)| {
        check_words(number, rule)?;
        let writes = rule.verbs.iter().any(|verb| !READING.contains(&verb.as_str()));
        if writes && rule.api_groups.iter().any(|group| group == RBAC) {
            return refuse(number, "a custom role cannot change roles and bindings; it may get, list and watch them");
        }
        let base = |resource: &String| resource.split('/').next().unwrap_or_default().to_owned();
        let owned = rule.resources.iter().map(base).find(|base| PLATFORM.contains(&base.as_str()));
        match owned.filter(|_| writes && rule.api_groups.iter().any(String::is_empty)) {
            Some(owned) => {
                refuse(number, format_args!("{owned} are made by the platform; a custom role may only read them"))
            }
            None => Ok(()),
        }
    })
}

fn check_words(number: usize, rule: &Rule) -> Result<(), InvalidRules> {
    let Rule { api_groups, resources, verbs, resource_names } = rule;
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    type Check<'a> = (&'static str, &'a [String], bool, &'a dyn Fn(&str) -> bool);
    let checks: [Check<'_>; 4] = [
        ("API group", api_groups, true, &|word| word.len() <= 253 && word.bytes().all(label)),
        ("resource", resources, true, &|word| {
            let parts: Vec<&str> = word.split('/').collect();
            parts.len() <= 2 && parts.iter().all(|part| (1..=63).contains(&part.len()) && part.bytes().all(label))
        }),
        ("verb", verbs, true, &|word| {
            (1..=63).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase())
        }),
        ("name", resource_names, false, &|word| {
            let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b'%' && byte != b'*';
            (1..=253).contains(&word.len()) && word.bytes().all(plain)
        }),
    ];
    for (what, words, required, good) in checks {
        if words.len() > MAX_WORDS || (required && words.is_empty()) {
            return refuse(number, format_args!("it needs 1 to {MAX_WORDS} of each: API groups, resources and verbs"));
        }
        if what != "name" && words.iter().any(|word| word.contains('*')) {
            return refuse(number, format_args!("a custom role cannot hold \"*\"; write each {what} that is meant"));
        }
        if let Some(word) = words.iter().find(|word| !good(word)) {
            return refuse(number, format_args!("\"{word}\" is no {what}"));
        }
    }
    if let Some(verb) = verbs.iter().find(|verb| ESCALATING.contains(&verb.as_str())) {
        return refuse(
            number,
            format_args!("a custom role cannot hold the verb {verb}, which gives rights to oneself"),
        );
    }
    let nameless = verbs.iter().find(|verb| ["create", "deletecollection"].contains(&verb.as_str()));
    match nameless.filter(|_| !resource_names.is_empty()) {
        Some(verb) => refuse(number, format_args!("{verb} cannot be limited to names; give it a rule of its own")),
        None => Ok(()),
    }
}

/// Refuses rules about what this workspace does not serve: such a rule is a slip of the pen, and may come to mean something
/// later that nobody thought of.
pub fn check_served(rules: &[Rule], scope: RoleScope, served: &[ServedResource]) -> Result<(), InvalidRules> {
    rules.iter().enumerate().try_for_each(|(number, rule)| {
        let mut verbs: Vec<&String> = Vec::new();
        for resource in &rule.resources {
            let found = served.iter().filter(|one| one.name == *resource && rule.api_groups.contains(&one.api_group));
            let found: Vec<&ServedResource> = found.collect();
            if found.is_empty() {
                let groups: Vec<&str> =
                    rule.api_groups.iter().map(|group| if group.is_empty() { "\"\"" } else { group }).collect();
                let groups = groups.join(", ");
                return refuse(number, format_args!("this workspace serves no resource {resource} in {groups}"));
            }
            if scope == RoleScope::Project && found.iter().all(|one| !one.namespaced) {
                return refuse(
                    number,
                    format_args!("{resource} are in no namespace, so no role in a project reaches them"),
                );
            }
            let held: Vec<&String> =
                found.iter().flat_map(|one| &one.verbs).filter(|verb| rule.verbs.contains(verb)).collect();
            if held.is_empty() {
                return refuse(number, format_args!("none of its verbs can be done with {resource}"));
            }
            verbs.extend(held);
        }
        if let Some(verb) = rule.verbs.iter().find(|verb| !verbs.contains(verb)) {
            return refuse(number, format_args!("{verb} can be done with none of its resources"));
        }
        let serves =
            |group: &&String| served.iter().any(|one| one.api_group == **group && rule.resources.contains(&one.name));
        match rule.api_groups.iter().find(|group| !serves(group)) {
            Some(group) => {
                let group = if group.is_empty() { "\"\"" } else { group };
                refuse(number, format_args!("the API group {group} serves none of its resources; leave it out"))
            }
            None => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(|word| if word == "core" { String::new() } else { word.to_owned() }).collect()
    }

    fn rule(api_groups: &str, resources: &str, verbs: &str, names: &str) -> Rule {
        Rule {
            api_groups: words(api_groups),
            resources: words(resources),
            verbs: words(verbs),
            resource_names: words(names),
        }
    }

    fn refusal(rule: Rule) -> String {
        check(&[rule]).map_or_else(|refused| refused.to_string(), |()| String::new())
    }

    #[test]
    fn a_rule_allows_what_kubernetes_says_it_allows() {
        let access = |verb, api_group, resource, name| Access { verb, api_group, resource, name };
        let pods = rule("core", "pods pods/log", "get list", "");
        assert!(pods.allows(&access("get", "", "pods", Some("web"))));
        assert!(pods.allows(&access("get", "", "pods/log", None)));
        assert!(!pods.allows(&access("get", "", "pods/exec", None)), "a resource is not its subresources");
        assert!(!pods.allows(&access("get", "apps", "pods", None)));
        assert!(!pods.allows(&access("watch", "", "pods", None)));
        let named = rule("core", "configmaps", "get", "settings");
        assert!(named.allows(&access("get", "", "configmaps", Some("settings"))));
        assert!(!named.allows(&access("get", "", "configmaps", Some("other"))));
        assert!(!named.allows(&access("get", "", "configmaps", None)), "all of them is more than one");
        assert!(rule("*", "*", "*", "").allows(&access("delete", "apps", "deployments/scale", None)));
        assert!(rule("*", "*/scale", "get", "").allows(&access("get", "apps", "deployments/scale", None)));
    }

    #[test]
    fn an_ordinary_rule_passes() {
        assert_eq!(refusal(rule("core apps", "pods pods/log deployments deployments/scale", "get list patch", "")), "");
        assert_eq!(refusal(rule("rbac.authorization.k8s.io", "roles", "get list watch", "")), "");
        assert_eq!(refusal(rule("core", "namespaces resourcequotas limitranges", "get list", "")), "");
        assert_eq!(refusal(rule("core", "configmaps", "get update", "settings system:x")), "");
        assert_eq!(refusal(rule("example.com", "namespaces", "create", "")), "");
    }

    #[test]
    fn nothing_that_leads_to_more_rights_passes() {
        for (bad, why) in [
            (rule("*", "pods", "get", ""), "\"*\""),
            (rule("core", "*", "get", ""), "\"*\""),
            (rule("core", "pods/*", "get", ""), "\"*\""),
            (rule("core", "*/scale", "get", ""), "\"*\""),
            (rule("core", "pods", "*", ""), "\"*\""),
            (rule("core", "users", "impersonate", ""), "impersonate"),
            (rule("rbac.authorization.k8s.io", "roles", "escalate", ""), "escalate"),
            (rule("rbac.authorization.k8s.io", "clusterroles", "get bind", ""), "bind"),
            (rule("rbac.authorization.k8s.io", "rolebindings", "create", ""), "roles and bindings"),
            (rule("apps rbac.authorization.k8s.io", "roles", "get patch", ""), "roles and bindings"),
            (rule("core", "resourcequotas", "delete", ""), "platform"),
            (rule("core", "resourcequotas/status", "update", ""), "platform"),
            (rule("core apps", "pods limitranges", "patch", ""), "platform"),
            (rule("core", "namespaces", "update", ""), "platform"),
            (rule("core", "namespaces/finalize", "update", ""), "platform"),
        ] {
            let said = refusal(bad.clone());
            assert!(said.starts_with("rule 1: ") && said.contains(why), "{bad:?}: {said}");
        }
    }

    #[test]
    fn malformed_rules_are_refused() {
        for bad in [
            rule("", "pods", "get", ""),
            rule("core", "", "get", ""),
            rule("core", "pods", "", ""),
            rule("Apps", "pods", "get", ""),
            rule("core", "Pods", "get", ""),
            rule("core", "pods/log/x", "get", ""),
            rule("core", "pods/", "get", ""),
            rule("core", "pods", "GET", ""),
            rule("core", "pods", "get;list", ""),
            rule("core", "configmaps", "get", "a/b"),
            rule("core", "configmaps", "get", "a*"),
            rule("core", "configmaps", "get create", "settings"),
            rule("core", "configmaps", "deletecollection", "settings"),
            rule("core", &"pods ".repeat(51), "get", ""),
        ] {
            assert_ne!(refusal(bad.clone()), "", "{bad:?}");
        }
        assert!(check(&[]).is_err());
        assert!(check(&vec![rule("core", "pods", "get", ""); 51]).is_err());
        let second = [rule("core", "pods", "get", ""), rule("core", "pods", "bind", "")];
        assert!(check(&second).unwrap_err().to_string().starts_with("rule 2: "));
    }

    #[test]
    fn what_the_workspace_does_not_serve_is_refused_by_name() {
        let one = |api_group: &str, name: &str, namespaced, verbs| ServedResource {
            api_group: api_group.to_owned(),
            name: name.to_owned(),
            aliases: Vec::new(),
            namespaced,
            verbs: words(verbs),
        };
        let served = [
            one("", "pods", true, "get list create"),
            one("", "pods/log", true, "get"),
            one("", "nodes", false, "get list"),
            one("apps", "deployments", true, "get list patch"),
        ];
        let said = |rule: Rule, scope| {
            check_served(&[rule], scope, &served).map_or_else(|refused| refused.to_string(), |()| String::new())
        };
        assert_eq!(said(rule("core apps", "pods pods/log deployments", "get list", ""), RoleScope::Project), "");
        assert_eq!(said(rule("core", "nodes", "get", ""), RoleScope::Workspace), "");
        assert!(said(rule("core", "nodes", "get", ""), RoleScope::Project).contains("no namespace"));
        assert!(said(rule("core", "deployments", "get", ""), RoleScope::Project).contains("deployments in \"\""));
        assert!(said(rule("apps", "deploys", "get", ""), RoleScope::Project).contains("deploys in apps"));
        assert!(said(rule("core", "pods/log", "list", ""), RoleScope::Project).contains("none of its verbs"));
        let more = said(rule("core apps", "pods", "get", ""), RoleScope::Project);
        assert!(more.contains("the API group apps serves none of its resources"), "{more}");
        let more = said(rule("apps core", "deployments", "get", ""), RoleScope::Project);
        assert!(more.contains("the API group \"\" serves none"), "{more}");
        assert!(
            said(rule("core", "pods", "get patch", ""), RoleScope::Project).contains("patch can be done with none")
        );
    }
}
