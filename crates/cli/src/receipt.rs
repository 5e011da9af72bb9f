//! What the deletion of a workspace removed and what it left, for people.

use hexabase_api::workspaces::Workspace;
use hexabase_core::phases::WorkspacePhase;
use serde::Deserialize;

use crate::output::table;

/// The receipt of a deletion.
#[derive(Debug, Deserialize)]
pub(crate) struct Receipt {
    removed: Vec<Object>,
    remaining: Vec<Object>,
    #[serde(default)]
    forced: Vec<Object>,
    #[serde(default)]
    returned: Vec<String>,
    #[serde(default)]
    missing: Vec<Object>,
    /// What is to be known beside that.
    #[serde(default)]
    pub(crate) note: String,
}

#[derive(Debug, Deserialize)]
struct Object {
    kind: String,
    #[serde(default)]
    namespace: String,
    name: String,
}

impl Receipt {
    /// That of a workspace whose deletion is at its end.
    pub(crate) fn of(workspace: &Workspace) -> Option<Self> {
        let receipt = workspace.receipt.as_ref().filter(|_| workspace.phase == WorkspacePhase::Deleted)?;
        Self::deserialize(receipt).ok()
    }

    /// How many objects are gone.
    pub(crate) fn removed(&self) -> String {
        count(self.removed.len())
    }

    /// How many are still there.
    pub(crate) fn remaining(&self) -> String {
        count(self.remaining.len())
    }

    /// How many went although somebody else held them; nothing when none did.
    pub(crate) fn forced(&self) -> Option<String> {
        (!self.forced.is_empty()).then(|| count(self.forced.len()))
    }

    /// The nodes of its own that it gave back; nothing when it had none.
    pub(crate) fn returned(&self) -> Option<String> {
        (!self.returned.is_empty()).then(|| self.returned.join(", "))
    }

    /// How many should have been there and were not; nothing when all were.
    pub(crate) fn missing(&self) -> Option<String> {
        (!self.missing.is_empty()).then(|| count(self.missing.len()))
    }

    /// Those that are still there and those that were missing, each below a blank line; empty when there are none.
    pub(crate) fn list(self) -> String {
        list("REMAINING", self.remaining) + &list("MISSING", self.missing)
    }
}

fn list(title: &str, objects: Vec<Object>) -> String {
    if objects.is_empty() {
        return String::new();
    }
    let rows = objects.into_iter().map(|object| [object.kind, object.namespace, object.name]);
    format!("\n\n{}", table([title, "NAMESPACE", "NAME"], "", rows))
}

fn count(objects: usize) -> String {
    if objects == 1 { "1 object".to_owned() } else { format!("{objects} objects") }
}
