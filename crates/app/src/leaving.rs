//! What is said of a workspace whose deletion was asked for, and how that is undone as long as it can be. Only to be said to those who
//! may know of the workspace.

use hexabase_backends::store::workspaces::Workspace;
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::time::Timestamp;

use crate::error::Error;

/// Why nothing can be done with such a workspace, as a sentence.
pub(crate) fn sentence(row: &Workspace) -> String {
    match (row.phase, row.removal_at) {
        (WorkspacePhase::ToBeDeleted, Some(at)) => {
            // To the second: whoever is later than that may be too late.
            let until = Timestamp::from_seconds(at.as_seconds());
            format!(
                "the workspace is to be deleted at {until}; until then a member of WSAdmins or an admin of the organization can undo \
                 that with `hxb workspace restore {}`",
                row.name
            )
        }
        (WorkspacePhase::Deleted, _) => "the workspace is deleted".to_owned(),
        _ => "the workspace is being deleted".to_owned(),
    }
}

/// The refusal of whatever is asked of such a workspace. Asking again does not help.
pub(crate) fn refused(row: &Workspace) -> Error {
    Error::conflict("workspace_deleted", sentence(row))
}
