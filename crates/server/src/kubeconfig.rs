//! A kubeconfig for a workspace: where it is, whom to trust, and which program fetches tokens. Never a secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexabase_app::Settings;
use hexabase_backends::store::workspaces::Workspace;
use serde_json::json;

/// The kubeconfig, as YAML (JSON is YAML).
pub(crate) fn render(settings: &Settings, workspace: &Workspace) -> String {
    // Workspaces of several organisations may have the same name. A merged file keeps the first cluster and user of a name,
    // so that a context would lead to another workspace than it says.
    let name = format!("hexabase-{}", workspace.id);
    let context = format!("hexabase-{}", workspace.name);
    let mut cluster = json!({ "server": settings.gateway_url(&workspace.id) });
    if let Some(authority) = &settings.authority_pem {
        cluster["certificate-authority-data"] = STANDARD.encode(authority).into();
    }
    let server = settings.address("");
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{ "name": name, "cluster": cluster }],
        "contexts": [{ "name": context, "context": { "cluster": name, "user": name } }],
        "users": [{ "name": name, "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "hxb",
            "args": ["credential", "--server", server, "--workspace", workspace.id],
            "interactiveMode": "Never",
            "provideClusterInfo": false,
            "installHint": "install hxb, the Hexabase command line, and run: hxb login",
        } } }],
    });
    format!("{document:#}\n")
}
