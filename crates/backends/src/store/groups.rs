//! Groups of a workspace, and who is in them.

use std::collections::HashMap;

use hexabase_core::groups::GroupNode;
use hexabase_core::ids::{GroupId, UserId, WorkspaceId};
use hexabase_core::names::{DisplayName, GroupName};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::column::Table;
use super::db::{self, Connection, Db};
use super::users::{self, User};
use super::workspaces::{self, WorkspaceScope};
use super::{StoreError, Tx, capped};
use crate::entities::groups::{group, group_member};

const TABLE: Table = Table("groups");
const MEMBERS: Table = Table("group_members");

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its name, which tokens carry and which never changes.
    pub name: GroupName,
    /// Its name for people.
    pub display_name: DisplayName,
    /// The group it stands below.
    pub parent_id: Option<GroupId>,
    /// Whether the platform made it with the workspace.
    pub is_default: bool,
}

/// What became of an attempt to put a group below another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It stands there now.
    Moved,
    /// The other one stands below it, or is the group itself.
    Cycle,
    /// One of them is no group of the workspace.
    NoSuchGroup,
}

fn read(model: group::Model) -> Result<Group, StoreError> {
    Ok(Group {
        id: TABLE.parse("id", &model.id)?,
        name: TABLE.parse("name", &model.name)?,
        display_name: TABLE.parse("display_name", &model.display_name)?,
        parent_id: TABLE.parse_opt("parent_id", model.parent_id.as_deref())?,
        is_default: model.is_default,
    })
}

fn of_workspace(workspace: &WorkspaceId) -> Select<group::Entity> {
    group::Entity::find().filter(group::Column::WorkspaceId.eq(workspace.as_str()))
}

/// A group of the workspace.
pub async fn get(db: &impl Db, scope: &WorkspaceScope, id: &GroupId) -> Result<Option<Group>, StoreError> {
    let query = of_workspace(scope.workspace()).filter(group::Column::Id.eq(id.as_str()));
    query.one(db.conn()).await?.map(read).transpose()
}

/// The group of the workspace with this name.
pub async fn get_by_name(db: &impl Db, scope: &WorkspaceScope, name: &GroupName) -> Result<Option<Group>, StoreError> {
    let query = of_workspace(scope.workspace()).filter(group::Column::Name.eq(name.as_str()));
    query.one(db.conn()).await?.map(read).transpose()
}

/// The groups of the workspace, by id.
pub async fn list(
    db: &impl Db,
    scope: &WorkspaceScope,
    after: Option<&GroupId>,
    limit: u64,
) -> Result<Vec<Group>, StoreError> {
    let mut query = of_workspace(scope.workspace());
    if let Some(after) = after {
        query = query.filter(group::Column::Id.gt(after.as_str()));
    }
    let query = query.order_by_asc(group::Column::Id).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// How many groups the workspace has. To hold a limit, take [`workspaces::lock`] first.
pub async fn count(db: &impl Db, scope: &WorkspaceScope) -> Result<u64, StoreError> {
    Ok(of_workspace(scope.workspace()).count(db.conn()).await?)
}

/// The whole forest of the workspace, to resolve memberships in.
pub async fn nodes(db: &impl Db, scope: &WorkspaceScope) -> Result<Vec<GroupNode>, StoreError> {
    nodes_for_issuer(db, scope.workspace()).await
}

/// The same, for the workspace's token issuer.
pub async fn nodes_for_issuer(db: &impl Db, workspace: &WorkspaceId) -> Result<Vec<GroupNode>, StoreError> {
    // Not cut off at a page: a forest with a part missing would resolve to fewer rights than were given.
    let models = of_workspace(workspace).order_by_asc(group::Column::Id).all(db.conn()).await?;
    let node = |model| read(model).map(|group| GroupNode { id: group.id, name: group.name, parent: group.parent_id });
    models.into_iter().map(node).collect()
}

/// The groups that `user` was put into; not their ancestors.
pub async fn direct(db: &impl Db, scope: &WorkspaceScope, user: &UserId) -> Result<Vec<GroupId>, StoreError> {
    direct_for_issuer(db, scope.workspace(), user).await
}

/// The same, for the workspace's token issuer.
pub async fn direct_for_issuer(
    db: &impl Db,
    workspace: &WorkspaceId,
    user: &UserId,
) -> Result<Vec<GroupId>, StoreError> {
    let query = group_member::Entity::find()
        .filter(group_member::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(group_member::Column::UserId.eq(user.as_str()))
        .order_by_asc(group_member::Column::GroupId);
    query.all(db.conn()).await?.iter().map(|member| MEMBERS.parse("group_id", &member.group_id)).collect()
}

/// Adds a group; [`StoreError::MissingReference`] when its parent is no group of the workspace.
pub async fn insert(tx: &Tx, scope: &WorkspaceScope, row: &Group) -> Result<(), StoreError> {
    let model = group::Model {
        id: row.id.to_string(),
        workspace_id: scope.workspace().to_string(),
        name: row.name.to_string(),
        display_name: row.display_name.to_string(),
        parent_id: row.parent_id.as_ref().map(ToString::to_string),
        is_default: row.is_default,
    };
    db::insert(tx.conn(), model).await
}

/// Gives the group another name for people; `false` when there is no such group.
pub async fn set_display_name(
    tx: &Tx,
    scope: &WorkspaceScope,
    id: &GroupId,
    display_name: &DisplayName,
) -> Result<bool, StoreError> {
    let updated = group::Entity::update_many()
        .col_expr(group::Column::DisplayName, Expr::value(display_name.as_str()))
        .filter(group::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(group::Column::Id.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}

/// Puts the group below another one, or at the top. The forest stays one, whoever else moves groups at the time.
pub async fn set_parent(
    tx: &Tx,
    scope: &WorkspaceScope,
    id: &GroupId,
    parent: Option<&GroupId>,
) -> Result<Move, StoreError> {
    workspaces::lock(tx, scope).await?;
    let nodes = nodes(tx, scope).await?;
    let parents: HashMap<&GroupId, Option<&GroupId>> =
        nodes.iter().map(|node| (&node.id, node.parent.as_ref())).collect();
    if !parents.contains_key(id) || parent.is_some_and(|parent| !parents.contains_key(parent)) {
        return Ok(Move::NoSuchGroup);
    }
    // Bounded by the number of groups, should the forest not be one after all.
    let mut next = parent;
    for _ in 0..=nodes.len() {
        let Some(above) = next else { break };
        if above == id {
            return Ok(Move::Cycle);
        }
        next = parents.get(above).copied().flatten();
    }
    group::Entity::update_many()
        .col_expr(group::Column::ParentId, Expr::value(parent.map(ToString::to_string)))
        .filter(group::Column::Id.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(Move::Moved)
}

/// Removes a group with its memberships; [`StoreError::MissingReference`] while groups stand below it or roles are
/// given to it.
pub async fn delete(tx: &Tx, scope: &WorkspaceScope, id: &GroupId) -> Result<bool, StoreError> {
    group_member::Entity::delete_many()
        .filter(group_member::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(group_member::Column::GroupId.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    let removed = group::Entity::delete_many()
        .filter(group::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(group::Column::Id.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(removed.rows_affected > 0)
}

/// Puts a member of the workspace into a group of it, if not there already; [`StoreError::MissingReference`] when
/// either is of another workspace.
pub async fn add_member(tx: &Tx, scope: &WorkspaceScope, id: &GroupId, user: &UserId) -> Result<bool, StoreError> {
    let model = group_member::Model {
        group_id: id.to_string(),
        user_id: user.to_string(),
        workspace_id: scope.workspace().to_string(),
    };
    db::insert_if_absent(tx.conn(), model).await
}

/// Takes a person out of a group; `false` when not in it.
pub async fn remove_member(tx: &Tx, scope: &WorkspaceScope, id: &GroupId, user: &UserId) -> Result<bool, StoreError> {
    let removed = group_member::Entity::delete_many()
        .filter(group_member::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(group_member::Column::GroupId.eq(id.as_str()))
        .filter(group_member::Column::UserId.eq(user.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(removed.rows_affected > 0)
}

/// The people who were put into the group, by id.
pub async fn list_members(
    db: &impl Db,
    scope: &WorkspaceScope,
    id: &GroupId,
    after: Option<&UserId>,
    limit: u64,
) -> Result<Vec<User>, StoreError> {
    let mut query = group_member::Entity::find()
        .filter(group_member::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(group_member::Column::GroupId.eq(id.as_str()));
    if let Some(after) = after {
        query = query.filter(group_member::Column::UserId.gt(after.as_str()));
    }
    let query = query.order_by_asc(group_member::Column::UserId).limit(capped(limit));
    let members = query.all(db.conn()).await?;
    users::load(db, members.into_iter().map(|member| member.user_id)).await
}

/// Who was put into which group, over the whole workspace, by group and person; at most 100,000 pairs.
pub async fn memberships(db: &impl Db, scope: &WorkspaceScope) -> Result<Vec<(GroupId, UserId)>, StoreError> {
    let query = group_member::Entity::find()
        .filter(group_member::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .order_by_asc(group_member::Column::GroupId)
        .order_by_asc(group_member::Column::UserId)
        .limit(100_000);
    let pair = |row: group_member::Model| {
        Ok((MEMBERS.parse("group_id", &row.group_id)?, MEMBERS.parse("user_id", &row.user_id)?))
    };
    query.all(db.conn()).await?.into_iter().map(pair).collect()
}
