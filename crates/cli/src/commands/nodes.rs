//! `hxb workspace nodes`.

use std::time::{Duration, Instant};

use hexabase_api::nodes::{Node, WorkspaceNodes, WorkspaceNodesUpdate};
use hexabase_core::ids::WorkspaceId;
use hexabase_core::nodes::{NodeClass, NodeState};

use crate::args;
use crate::client::{Api, Fetched};
use crate::clock;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output::{age, say, table};
use crate::resolve;

/// How often it is looked while somebody waits.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context, api: &Api, command: args::Nodes) -> Result<()> {
    match command {
        args::Nodes::List { workspace } => {
            let id = resolve::workspace_id(api, &workspace).await?;
            let found = get(api, &id).await?;
            context.format.show(&found.raw, || list(&found.value))
        }
        args::Nodes::Set { workspace, count, wait, timeout } => {
            let id = resolve::workspace_id(api, &workspace).await?;
            let path = ["workspaces", id.as_str(), "nodes"];
            let asked = api.put::<WorkspaceNodes>(&path, &WorkspaceNodesUpdate { count }).await?;
            let found = if wait { settled(api, &id, asked, timeout.timeout).await? } else { asked };
            context.format.show(&found.raw, || list(&found.value))
        }
    }
}

async fn get(api: &Api, id: &WorkspaceId) -> Result<Fetched<WorkspaceNodes>> {
    api.get(&["workspaces", id.as_str(), "nodes"]).await
}

/// Looks until all is as it was asked for; says what is waited for.
async fn settled(
    api: &Api,
    id: &WorkspaceId,
    asked: Fetched<WorkspaceNodes>,
    timeout: Duration,
) -> Result<Fetched<WorkspaceNodes>> {
    let begun = Instant::now();
    let mut found = asked;
    let mut told = None;
    while !is_settled(&found.value) {
        if found.value.message != told {
            told = found.value.message.clone();
            if let Some(message) = &told {
                say(message);
            }
        }
        if begun.elapsed() >= timeout {
            let why = told.unwrap_or_else(|| "it goes on all the same".to_owned());
            return Err(Error::new(Kind::TimedOut, format!("the nodes are not as wanted yet: {why}")));
        }
        tokio::time::sleep(PAUSE).await;
        found = get(api, id).await?;
    }
    Ok(found)
}

/// Whether the workspace has its nodes, and all of its pods are where they are to be.
fn is_settled(nodes: &WorkspaceNodes) -> bool {
    let goal = if nodes.wanted > 0 { NodeClass::Dedicated } else { NodeClass::Shared };
    let ready = nodes.nodes.iter().filter(|node| node.state == NodeState::Ready).count();
    let all = usize::try_from(nodes.wanted).is_ok_and(|wanted| wanted == ready && wanted == nodes.nodes.len());
    nodes.placed == goal && nodes.message.is_none() && all
}

fn list(nodes: &WorkspaceNodes) -> String {
    let WorkspaceNodes { wanted, limit, available, placed, message, nodes } = nodes;
    let summary = format!("Pods: on {placed} nodes. Wanted: {wanted} of {limit}; {available} more available.");
    let message = message.as_ref().map(|message| format!("\n{message}")).unwrap_or_default();
    if nodes.is_empty() {
        return format!("{summary}{message}");
    }
    let now = clock::now();
    let row = |node: &Node| {
        let since = node.claimed_at.map(|at| age(at, now)).unwrap_or_default();
        [node.name.clone(), node.state.to_string(), since, node.message.clone().unwrap_or_default()]
    };
    format!("{summary}{message}\n\n{}", table(["NODE", "STATE", "AGE", "MESSAGE"], "", nodes.iter().map(row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_over_when_the_pods_are_there_and_nothing_is_left_behind() {
        let node = |state| Node { name: "one".to_owned(), state, message: None, claimed_at: None };
        let nodes = |wanted, placed, nodes: Vec<Node>| WorkspaceNodes {
            wanted,
            limit: 3,
            available: 0,
            placed,
            message: None,
            nodes,
        };
        let (own, shared) = (NodeClass::Dedicated, NodeClass::Shared);
        assert!(is_settled(&nodes(1, own, vec![node(NodeState::Ready)])));
        assert!(is_settled(&nodes(0, shared, Vec::new())));
        for unsettled in [
            nodes(1, shared, vec![node(NodeState::Ready)]),
            nodes(1, own, vec![node(NodeState::Claimed)]),
            nodes(2, own, vec![node(NodeState::Ready)]),
            nodes(0, shared, vec![node(NodeState::Draining)]),
            nodes(0, own, Vec::new()),
            WorkspaceNodes { message: Some("pod web: is being moved".to_owned()), ..nodes(0, shared, Vec::new()) },
        ] {
            assert!(!is_settled(&unsettled), "{unsettled:?}");
        }
    }
}
