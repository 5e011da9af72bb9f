//! One workspace's entry in a kubeconfig file: written or merged, everything else left as it means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexabase_core::ids::WorkspaceId;
use serde_json::{Map, Value, json};

use crate::error::{Error, Kind, Result};

/// What kubectl needs to reach one workspace. Holds no secret.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Name of the cluster and of the user: unique to the workspace.
    pub(crate) name: String,
    /// Name of the context.
    pub(crate) context: String,
    /// What kubectl connects to.
    pub(crate) server: String,
    /// The authority of the server's certificate, as PEM, when it is not a public one.
    pub(crate) certificate_authority: Option<String>,
    /// How kubectl gets a token.
    pub(crate) login: Login,
}

/// The program that kubectl asks for a token.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    command: String,
    arguments: Vec<String>,
    hint: &'static str,
}

impl Login {
    /// This program, called `command`, with more `options`, such as where its sessions are kept.
    pub(crate) fn own(command: String, server: &str, workspace: &str, options: Vec<String>) -> Self {
        let mut arguments = ["credential", "--server", server, "--workspace", workspace].map(str::to_owned).to_vec();
        arguments.extend(options);
        let hint = "hxb signs kubectl in to Hexabase AI. Install it, put it on the PATH, and run: hxb login";
        Self { command, arguments, hint }
    }

    /// kubelogin, as kubectl's plugin `oidc-login`. It calls itself by the workspace's id, for which its ID token is made.
    pub(crate) fn kubelogin(server: &str, workspace: &str, certificate_authority: Option<&str>) -> Self {
        let mut arguments = vec![
            "oidc-login".to_owned(),
            "get-token".to_owned(),
            format!("--oidc-issuer-url={server}/oidc/{workspace}"),
            format!("--oidc-client-id={workspace}"),
            "--oidc-pkce-method=S256".to_owned(),
            // A refresh token: without it the browser is needed every ten minutes.
            "--oidc-extra-scope=offline_access".to_owned(),
        ];
        arguments
            .extend(certificate_authority.map(|pem| format!("--certificate-authority-data={}", STANDARD.encode(pem))));
        let hint = "kubelogin signs kubectl in to Hexabase AI. Install it with: kubectl krew install oidc-login";
        Self { command: "kubectl".to_owned(), arguments, hint }
    }

    /// Whether an entry of a kubeconfig is one that we wrote with either program.
    fn wrote(&self, exec: &Value) -> bool {
        let ours = |argument: &Value| argument == "credential" || argument == "oidc-login";
        let known = exec["command"] == json!(self.command) || exec["command"] == "kubectl" || self.command == "kubectl";
        known && ours(&exec["args"][0])
    }
}

fn malformed(what: &str) -> Error {
    Error::new(Kind::Failure, format!("the kubeconfig is malformed: {what}"))
        .hint("nothing was changed; repair it or give another with --file")
}

fn parse(text: &str) -> Result<Value> {
    let value: Value =
        serde_saphyr::from_str(text).map_err(|error| malformed("it is not YAML").because(error.to_string()))?;
    match value {
        Value::Null => Ok(json!({})),
        Value::Object(_) => Ok(value),
        _ => Err(malformed("it is not a mapping")),
    }
}

/// The other workspace of the same server to which the context of `entry` leads in `existing`, if this program wrote that.
pub(crate) fn holder(existing: &str, entry: &Entry) -> Result<Option<WorkspaceId>> {
    let value = if existing.trim().is_empty() { json!({}) } else { parse(existing)? };
    Ok(value.as_object().and_then(|root| written_for(root, &cluster_of(root, &entry.context)?, entry)))
}

/// The text of `existing` with `entry` in it. Its context may lead to the workspace `gone` so far, which nobody can use any
/// more. `set_current` makes it the current context.
pub(crate) fn merge(existing: &str, entry: &Entry, gone: Option<&WorkspaceId>, set_current: bool) -> Result<String> {
    let mut value = if existing.trim().is_empty() { json!({}) } else { parse(existing)? };
    let Value::Object(root) = &mut value else { return Err(malformed("it is not a mapping")) };
    let kind = root.entry("kind").or_insert_with(|| json!("Config"));
    if kind != "Config" {
        return Err(malformed("its kind is not Config"));
    }
    root.entry("apiVersion").or_insert_with(|| json!("v1"));
    for list in ["clusters", "users", "contexts"] {
        check_list(root, list)?;
    }
    if let Some(cluster) = cluster_of(root, &entry.context).filter(|cluster| *cluster != entry.name) {
        match written_for(root, &cluster, entry) {
            Some(other) if Some(&other) == gone => forget(root, &cluster, &entry.context),
            Some(other) => return Err(taken(&entry.context, &format!("leads to another workspace, {other}"))),
            None => return Err(taken(&entry.context, "is not of this program's making for this server")),
        }
    }
    let cluster = body(root, "clusters", "cluster", &entry.name)?;
    cluster.insert("server".to_owned(), json!(entry.server));
    // These would contradict the authority below, or do away with it.
    for field in ["certificate-authority", "insecure-skip-tls-verify", "certificate-authority-data"] {
        cluster.remove(field);
    }
    if let Some(pem) = &entry.certificate_authority {
        cluster.insert("certificate-authority-data".to_owned(), json!(STANDARD.encode(pem)));
    }
    *body(root, "users", "user", &entry.name)? = user(entry);
    let context = body(root, "contexts", "context", &entry.context)?;
    context.insert("cluster".to_owned(), json!(entry.name));
    context.insert("user".to_owned(), json!(entry.name));
    if set_current {
        root.insert("current-context".to_owned(), json!(entry.context));
    }
    render(&value)
}

fn taken(context: &str, why: &str) -> Error {
    Error::new(Kind::Failure, format!("the context {context}, which is in the kubeconfig already, {why}"))
        .hint("nothing was changed; choose another name with --context NAME")
}

/// The cluster to which a context leads; empty if it names none.
fn cluster_of(root: &Map<String, Value>, context: &str) -> Option<String> {
    let context = find(root, "contexts", context)?;
    Some(context["context"]["cluster"].as_str().unwrap_or_default().to_owned())
}

/// The other workspace of the same server for which this program wrote the cluster and user `name`.
fn written_for(root: &Map<String, Value>, name: &str, entry: &Entry) -> Option<WorkspaceId> {
    let server = find(root, "clusters", name)?["cluster"]["server"].as_str()?;
    let exec = &find(root, "users", name)?["user"]["exec"];
    let (start, id) = server.rsplit_once('/')?;
    let ours = name != entry.name
        && entry.server.rsplit_once('/').is_some_and(|(own, _)| own == start)
        && entry.login.wrote(exec);
    if ours { id.parse().ok() } else { None }
}

/// Removes the cluster and user `name` if no context but `context` names them.
fn forget(root: &mut Map<String, Value>, name: &str, context: &str) {
    let contexts = root.get("contexts").and_then(Value::as_array);
    let needed = contexts.is_some_and(|contexts| {
        contexts.iter().any(|item| {
            item["name"] != context && (item["context"]["cluster"] == name || item["context"]["user"] == name)
        })
    });
    for list in ["clusters", "users"].into_iter().filter(|_| !needed) {
        if let Some(items) = root.get_mut(list).and_then(Value::as_array_mut) {
            items.retain(|item| item["name"] != name);
        }
    }
}

fn user(entry: &Entry) -> Map<String, Value> {
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": entry.login.command,
        "args": entry.login.arguments,
        "env": null,
        "installHint": entry.login.hint,
        "interactiveMode": "Never",
        "provideClusterInfo": false,
    });
    Map::from_iter([("exec".to_owned(), exec)])
}

/// The file with nothing in it but `entry`.
pub(crate) fn standalone(entry: &Entry) -> Result<String> {
    merge("", entry, None, true)
}

fn check_list(root: &mut Map<String, Value>, list: &str) -> Result<()> {
    let value = root.entry(list).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    let items = value.as_array().ok_or_else(|| malformed(&format!("{list} is not a list")))?;
    if items.iter().any(|item| !item.get("name").is_some_and(Value::is_string)) {
        return Err(malformed(&format!("an entry of {list} has no name")));
    }
    Ok(())
}

fn find<'a>(root: &'a Map<String, Value>, list: &str, name: &str) -> Option<&'a Value> {
    root.get(list)?.as_array()?.iter().find(|item| item["name"] == name)
}

/// The inner mapping of the entry `name`, made when it is not there.
fn body<'a>(
    root: &'a mut Map<String, Value>,
    list: &str,
    field: &str,
    name: &str,
) -> Result<&'a mut Map<String, Value>> {
    let items =
        root.get_mut(list).and_then(Value::as_array_mut).ok_or_else(|| malformed(&format!("{list} is not a list")))?;
    let place = items.iter().position(|item| item["name"] == name).unwrap_or_else(|| {
        items.push(json!({ "name": name }));
        items.len() - 1
    });
    let inner = &mut items[place][field];
    if inner.is_null() {
        *inner = json!({});
    }
    inner.as_object_mut().ok_or_else(|| malformed(&format!("the {field} of {name} is not a mapping")))
}

/// The value as YAML, read back to make sure that it still means the same.
fn render(value: &Value) -> Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| Error::new(Kind::Failure, "cannot write the kubeconfig").because(error.to_string()))?;
    if parse(&text)? != *value {
        return Err(Error::new(Kind::Failure, "the kubeconfig holds something that cannot be written back unchanged")
            .hint("nothing was changed; use another file with --file"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
