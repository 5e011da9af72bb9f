//! What must stay true of everybody's groups in a workspace: somebody administers it, and everybody's groups fit into a
//! token. Asked inside the transaction of the change, with the workspace held.

use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Tx, groups, users};
use hexabase_core::groups::{Forest, WS_ADMINS, check_claim};
use hexabase_core::ids::{GroupId, UserId};

use crate::error::{Error, Result};

/// Whether a person is in `WSAdmins`, or in a group below it. A program does not count: it answers nobody who asks for
/// access.
pub(crate) async fn is_administered(tx: &Tx, scope: &WorkspaceScope) -> Result<bool> {
    let nodes = groups::nodes(tx, scope).await?;
    let forest = Forest::new(&nodes);
    let Some(admins) = forest.named(WS_ADMINS) else { return Ok(false) };
    let within = forest.within(&admins.id).into_iter().map(|group| &group.id);
    let holders: Vec<UserId> =
        groups::memberships_in(tx, scope, within).await?.into_iter().map(|(_, holder)| holder).collect();
    Ok(!users::people_among(tx, &holders).await?.is_empty())
}

/// Refuses a change that took the last administrator away; `before` is [`is_administered`] before it.
pub(crate) async fn check_administered(tx: &Tx, scope: &WorkspaceScope, before: bool) -> Result<()> {
    if !before || is_administered(tx, scope).await? {
        return Ok(());
    }
    let detail = format!("that would leave {WS_ADMINS} without a member; put somebody else there first");
    Err(Error::conflict("last_admin", detail))
}

/// Refuses groups of the person that would not fit into a token.
pub(crate) async fn check_claim_of(tx: &Tx, scope: &WorkspaceScope, user: &UserId) -> Result<()> {
    let names = groups::effective(tx, scope, user).await?;
    check_claim(&names.iter().collect::<Vec<_>>()).map_err(|cause| too_large(user, &cause))
}

/// The same for everybody in the group and below it.
pub(crate) async fn check_claims_within(tx: &Tx, scope: &WorkspaceScope, group: &GroupId) -> Result<()> {
    let nodes = groups::nodes(tx, scope).await?;
    let forest = Forest::new(&nodes);
    let within = forest.within(group).into_iter().map(|group| &group.id);
    let affected = groups::memberships_in(tx, scope, within).await?;
    let memberships = groups::memberships_of(tx, scope, affected.iter().map(|(_, user)| user)).await?;
    for (user, names) in forest.everybody(&memberships) {
        check_claim(&names).map_err(|cause| too_large(user, &cause))?;
    }
    Ok(())
}

fn too_large(user: &UserId, cause: &dyn std::error::Error) -> Error {
    Error::LimitReached(format!(
        "{user} would be in {cause}, which nobody can raise; take them out of another one first"
    ))
}
