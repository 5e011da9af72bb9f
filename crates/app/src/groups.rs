//! Groups of a workspace and what they may do.

use hexabase_backends::store::groups::{self, Group};
use hexabase_backends::store::{MAX_PAGE, role_assignments};
use hexabase_core::ids::WorkspaceId;

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::Result;

/// All groups with the ClusterRoles given to each directly.
pub async fn list(app: &App, ctx: &OpContext, workspace: &WorkspaceId) -> Result<Vec<(Group, Vec<String>)>> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    let given = role_assignments::list(&app.store, &scope, None, MAX_PAGE).await?;
    let rows = groups::list(&app.store, &scope, None, MAX_PAGE).await?;
    let with_roles = |group: Group| {
        let of_group = given.iter().filter(|given| given.group_id == group.id && given.project_id.is_none());
        let roles = of_group.map(|given| given.role.clone()).collect();
        (group, roles)
    };
    Ok(rows.into_iter().map(with_roles).collect())
}
