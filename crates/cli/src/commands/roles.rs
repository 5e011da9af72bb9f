//! `hxb role`.

use std::io::Read as _;

use hexabase_api::roles::{Role, RoleCreate, RoleRule, RoleUpdate};
use hexabase_core::ids::{ProjectId, WorkspaceId};
use serde_json::Value;

use crate::args;
use crate::client::Api;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output::{fields, say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Role) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Role::Create { name, within, rules } => {
            let rules = read_rules(rules)?;
            let place = Place::resolve(&api, &within).await?;
            let made = api.post::<Role>(&place.roles(), &RoleCreate { name, rules }).await?;
            context.format.show(&made.raw, || format!("Role {} is {}.", made.value.kubernetes_name, made.value.phase))
        }
        args::Role::List { within } => {
            let place = Place::resolve(&api, &within).await?;
            let all = api.list::<Role>(&place.roles(), &[]).await?;
            context.format.show(&all.raw, || {
                let rows = all.value.into_iter().map(|role| {
                    let kind = if role.preset { "preset" } else { "custom" };
                    [
                        role.name,
                        kind.to_owned(),
                        role.phase.to_string(),
                        role.kubernetes_name,
                        role.message.unwrap_or_default(),
                    ]
                });
                table(["NAME", "KIND", "PHASE", "IN KUBERNETES", "MESSAGE"], "There are no roles.", rows)
            })
        }
        args::Role::Get { role, within } => {
            let place = Place::resolve(&api, &within).await?;
            let all = api.list::<Role>(&place.roles(), &[]).await?;
            let one = resolve::role_among(&all.value, &role)?;
            let index = all.value.iter().position(|other| std::ptr::eq(other, one)).unwrap_or_default();
            context.format.show(&all.raw["items"][index], || details(one))
        }
        args::Role::Update { role, within, rules } => {
            let rules = read_rules(rules)?;
            let place = Place::resolve(&api, &within).await?;
            let id = place.custom(&api, &role).await?;
            let changed = api.put::<Role>(&place.role(&id), &RoleUpdate { rules }).await?;
            context
                .format
                .show(&changed.raw, || format!("Role {} is {}.", changed.value.kubernetes_name, changed.value.phase))
        }
        args::Role::Delete { role, within } => {
            let place = Place::resolve(&api, &within).await?;
            let id = place.custom(&api, &role).await?;
            api.delete(&place.role(&id)).await?;
            say(&format!("Role {role} is gone."));
            Ok(())
        }
    }
}

/// Whose roles are meant.
pub(crate) struct Place {
    /// The workspace.
    pub(crate) workspace: WorkspaceId,
    /// One project of it.
    pub(crate) project: Option<ProjectId>,
}

impl Place {
    pub(crate) async fn resolve(api: &Api, within: &args::Within) -> Result<Self> {
        let workspace = resolve::workspace_id(api, &within.place.workspace).await?;
        let project = match &within.project {
            Some(project) => Some(resolve::project_id(api, &workspace, project).await?),
            None => None,
        };
        Ok(Self { workspace, project })
    }

    pub(crate) fn roles(&self) -> Vec<&str> {
        match &self.project {
            Some(project) => vec!["workspaces", self.workspace.as_str(), "projects", project.as_str(), "roles"],
            None => vec!["workspaces", self.workspace.as_str(), "cluster-roles"],
        }
    }

    fn role<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let mut path = self.roles();
        path.push(id);
        path
    }

    /// The id of a custom role.
    async fn custom(&self, api: &Api, wanted: &str) -> Result<String> {
        let all = api.list::<Role>(&self.roles(), &[]).await?;
        let role = resolve::role_among(&all.value, wanted)?;
        let fixed = || Error::new(Kind::Usage, format!("the role {} is always there as it is", role.name));
        role.id.as_ref().map(ToString::to_string).ok_or_else(fixed)
    }
}

fn details(role: &Role) -> String {
    let words = |words: &[String]| {
        let shown: Vec<&str> = words.iter().map(|word| if word.is_empty() { "core" } else { word }).collect();
        shown.join(",")
    };
    let head = fields([
        ("Name", role.name.clone()),
        ("In Kubernetes", role.kubernetes_name.clone()),
        ("Id", role.id.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("Phase", role.phase.to_string()),
        ("Message", role.message.clone().unwrap_or_default()),
    ]);
    if role.rules.is_empty() {
        return format!("{head}\n\nKubernetes itself says what it allows.");
    }
    let shown = |rules: &[RoleRule]| {
        let rows = rules.iter().map(|rule| {
            [words(&rule.api_groups), words(&rule.resources), words(&rule.verbs), words(&rule.resource_names)]
        });
        table(["API GROUPS", "RESOURCES", "VERBS", "NAMES"], "", rows)
    };
    let asked = shown(&role.rules);
    if role.in_force == role.rules {
        format!("{head}\n\n{asked}")
    } else if role.in_force.is_empty() {
        format!("{head}\n\nAsked for, and not in force:\n{asked}")
    } else {
        format!("{head}\n\nAsked for:\n{asked}\n\nIn force:\n{}", shown(&role.in_force))
    }
}

fn read_rules(rules: args::Rules) -> Result<Vec<RoleRule>> {
    let args::Rules { verbs, resources, api_groups, names, file } = rules;
    let Some(file) = file else {
        let api_groups = if api_groups.is_empty() { vec![String::new()] } else { api_groups };
        return Ok(vec![RoleRule { api_groups, resources, verbs, resource_names: names }]);
    };
    let cannot =
        |error: std::io::Error| Error::new(Kind::Failure, format!("cannot read {}", file.display())).because(error);
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(cannot)?;
        text
    } else {
        std::fs::read_to_string(&file).map_err(cannot)?
    };
    parse_rules(&text).map_err(|why| Error::new(Kind::Usage, format!("{}: {why}", file.display())))
}

/// Rules as a list, or below `rules`, in the words of Kubernetes or of the API.
fn parse_rules(text: &str) -> Result<Vec<RoleRule>, String> {
    let read: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let rules = read.get("rules").unwrap_or(&read).as_array().ok_or("there is no list of rules")?;
    rules
        .iter()
        .enumerate()
        .map(|(place, rule)| parse_rule(rule).map_err(|why| format!("rule {}: {why}", place + 1)))
        .collect()
}

fn parse_rule(rule: &Value) -> Result<RoleRule, String> {
    let fields = rule.as_object().ok_or("is not an object")?;
    let mut parsed =
        RoleRule { api_groups: Vec::new(), resources: Vec::new(), verbs: Vec::new(), resource_names: Vec::new() };
    for (name, value) in fields {
        let place = match name.as_str() {
            "apiGroups" | "api_groups" => &mut parsed.api_groups,
            "resources" => &mut parsed.resources,
            "verbs" => &mut parsed.verbs,
            "resourceNames" | "resource_names" => &mut parsed.resource_names,
            other => return Err(format!("{other} is not known here")),
        };
        let words = value.as_array().ok_or_else(|| format!("{name} is not a list"))?;
        let words: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
        *place = words.ok_or_else(|| format!("{name} holds something that is not a text"))?;
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_from_a_role_of_kubernetes_and_from_a_bare_list() {
        let role =
            "kind: Role\nmetadata: {name: x}\nrules:\n- apiGroups: [\"\"]\n  resources: [pods]\n  verbs: [get]\n";
        let list = "- api_groups: ['']\n  resources: [pods]\n  verbs: [get]\n";
        let expected = RoleRule {
            api_groups: vec![String::new()],
            resources: vec!["pods".to_owned()],
            verbs: vec!["get".to_owned()],
            resource_names: Vec::new(),
        };
        for text in [role, list] {
            assert_eq!(parse_rules(text), Ok(vec![expected.clone()]));
        }
        for (bad, why) in [
            ("rules: x", "no list"),
            ("- pods", "rule 1: is not an object"),
            ("- verbs: get", "verbs is not a list"),
            ("- verbs: [1]", "not a text"),
            ("- nonResourceURLs: [/x]", "nonResourceURLs is not known"),
        ] {
            let said = parse_rules(bad).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }
}
