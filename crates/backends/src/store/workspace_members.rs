//! People with access to a workspace.

use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::column::{Table, time};
use super::db::{self, Connection, Db};
use super::users::{self, User};
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx, capped};
use crate::entities::groups::group_member;
use crate::entities::workspaces::workspace_member;

const TABLE: Table = Table("workspace_members");

/// A person with access to a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceMember {
    /// The person.
    pub user: User,
    /// Who gave the access.
    pub added_by: UserId,
    /// Since when.
    pub created_at: Timestamp,
}

/// Gives a person access; [`Unique::WorkspaceMember`](super::Unique::WorkspaceMember) when it is given already.
pub async fn add(tx: &Tx, scope: &WorkspaceScope, user: &UserId, now: Timestamp) -> Result<(), StoreError> {
    let model = workspace_member::Model {
        workspace_id: scope.workspace().to_string(),
        user_id: user.to_string(),
        added_by: scope.user().to_string(),
        created_at: now.as_micros(),
    };
    db::insert(tx.conn(), model).await
}

/// Takes a person out of the workspace and of all of its groups; `false` when there was no access.
pub async fn remove(tx: &Tx, scope: &WorkspaceScope, user: &UserId) -> Result<bool, StoreError> {
    group_member::Entity::delete_many()
        .filter(group_member::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(group_member::Column::UserId.eq(user.as_str()))
        .exec(tx.conn())
        .await?;
    let key = (scope.workspace().to_string(), user.to_string());
    let removed = workspace_member::Entity::delete_by_id(key).exec(tx.conn()).await?;
    Ok(removed.rows_affected > 0)
}

/// Takes everybody out of the workspace and of all of its groups; says who it was, by id.
pub(super) async fn remove_all(tx: &Tx, workspace: &WorkspaceId) -> Result<Vec<UserId>, StoreError> {
    let members = workspace_member::Entity::find()
        .filter(workspace_member::Column::WorkspaceId.eq(workspace.as_str()))
        .order_by_asc(workspace_member::Column::UserId)
        .all(tx.conn())
        .await?;
    group_member::Entity::delete_many()
        .filter(group_member::Column::WorkspaceId.eq(workspace.as_str()))
        .exec(tx.conn())
        .await?;
    workspace_member::Entity::delete_many()
        .filter(workspace_member::Column::WorkspaceId.eq(workspace.as_str()))
        .exec(tx.conn())
        .await?;
    members.iter().map(|member| TABLE.parse("user_id", &member.user_id)).collect()
}

/// The people with access, by id.
pub async fn list(
    db: &impl Db,
    scope: &WorkspaceScope,
    after: Option<&UserId>,
    limit: u64,
) -> Result<Vec<WorkspaceMember>, StoreError> {
    let mut query =
        workspace_member::Entity::find().filter(workspace_member::Column::WorkspaceId.eq(scope.workspace().as_str()));
    if let Some(after) = after {
        query = query.filter(workspace_member::Column::UserId.gt(after.as_str()));
    }
    rows(db, query.order_by_asc(workspace_member::Column::UserId).limit(capped(limit))).await
}

/// Those of these people who have access, by id.
pub async fn list_among<'u>(
    db: &impl Db,
    scope: &WorkspaceScope,
    users: impl IntoIterator<Item = &'u UserId>,
) -> Result<Vec<WorkspaceMember>, StoreError> {
    let query = workspace_member::Entity::find()
        .filter(workspace_member::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(workspace_member::Column::UserId.is_in(users.into_iter().map(UserId::as_str)));
    rows(db, query.order_by_asc(workspace_member::Column::UserId)).await
}

async fn rows(db: &impl Db, query: Select<workspace_member::Entity>) -> Result<Vec<WorkspaceMember>, StoreError> {
    let pairs = users::joined(db, query, workspace_member::Column::UserId).await?;
    pairs
        .into_iter()
        .map(|(member, user)| {
            Ok(WorkspaceMember {
                user,
                added_by: TABLE.parse("added_by", &member.added_by)?,
                created_at: time(member.created_at),
            })
        })
        .collect()
}

/// Whether `user` has access as a member.
pub async fn is_member(db: &impl Db, scope: &WorkspaceScope, user: &UserId) -> Result<bool, StoreError> {
    is_member_for_issuer(db, scope.workspace(), user).await
}

/// The same, for the workspace's token issuer.
pub async fn is_member_for_issuer(db: &impl Db, workspace: &WorkspaceId, user: &UserId) -> Result<bool, StoreError> {
    let key = (workspace.to_string(), user.to_string());
    Ok(workspace_member::Entity::find_by_id(key).one(db.conn()).await?.is_some())
}

/// How many people have access; service accounts, which an organisation has few of, do not count. To hold a limit, take
/// [`workspaces::lock`](super::workspaces::lock) first.
pub async fn count(db: &impl Db, scope: &WorkspaceScope) -> Result<u64, StoreError> {
    let query = workspace_member::Entity::find()
        .filter(workspace_member::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(workspace_member::Column::UserId.in_subquery(users::people()));
    Ok(query.count(db.conn()).await?)
}
