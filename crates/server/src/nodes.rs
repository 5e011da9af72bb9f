//! `hexabase nodes`: which nodes of the host are offered to workspaces, and which workspace has which, as the database knows it.

use anyhow::Result;
use hexabase_app::nodes;
use hexabase_backends::store::host_nodes::HostNode;

use crate::config::Config;
use crate::run;

/// Lists them from the database of a platform that has run before.
///
/// # Errors
/// The database is not there or cannot be used.
pub async fn execute(config: &Config) -> Result<String> {
    let store = run::open_existing(config).await?;
    let nodes = nodes::all(&store).await;
    store.close().await?;
    Ok(table(&nodes?))
}

fn table(nodes: &[HostNode]) -> String {
    let mut text = format!("{:<40}{:<10}{:<26}{}\n", "NODE", "STATE", "WORKSPACE", "MESSAGE");
    for node in nodes {
        let workspace = node.workspace_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let (name, state) = (node.name.as_str(), node.state.as_str());
        let message = node.message.as_deref().unwrap_or_default();
        text.push_str(format!("{name:<40}{state:<10}{workspace:<26}{message}").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use hexabase_core::nodes::NodeState;
    use hexabase_core::time::Timestamp;

    use super::*;

    #[test]
    fn a_node_is_listed_with_whoever_has_it() {
        let node = |name: &str, workspace: Option<&str>, state| HostNode {
            name: name.parse().unwrap(),
            workspace_id: workspace.map(|id| id.parse().unwrap()),
            state,
            message: None,
            claimed_at: None,
            changed_at: Timestamp::from_seconds(1_790_000_000),
        };
        let id = "ws-0123456789abcdefghjk";
        let text = table(&[node("one", None, NodeState::Free), node("two", Some(id), NodeState::Ready)]);
        let words: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words, [vec!["one", "free"], vec!["two", "ready", id]]);
    }
}
