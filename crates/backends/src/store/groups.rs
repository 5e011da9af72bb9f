//! Groups of a workspace, and who is in them.

use std::collections::BTreeSet;

use hexabase_core::groups::{Forest, GroupNode, MAX_DEPTH};
use hexabase_core::ids::{GroupId, UserId, WorkspaceId};
use hexabase_core::names::{DisplayName, GroupName};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, Statement,
};

use super::column::Table;
use super::db::{self, Connection, Db};
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
    /// The tree would become deeper than a tree may be.
    TooDeep,
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

/// The names of the groups that `user` was put into and of all above them, sorted: what the person's token says.
///
/// The same as [`Forest::effective`], worked out by the database for one person, because the gateway asks it of every
/// request.
pub async fn effective(db: &impl Db, scope: &WorkspaceScope, user: &UserId) -> Result<Vec<GroupName>, StoreError> {
    effective_for_issuer(db, scope.workspace(), user).await
}

/// The same, for the workspace's token issuer and the gateway.
pub async fn effective_for_issuer(
    db: &impl Db,
    workspace: &WorkspaceId,
    user: &UserId,
) -> Result<Vec<GroupName>, StoreError> {
    // UNION, not UNION ALL: a group that was met before is not walked again, so this ends even on a cycle.
    let query = Statement::from_sql_and_values(
        db.conn().get_database_backend(),
        "WITH RECURSIVE above (id, name, parent_id) AS (\
         SELECT g.id, g.name, g.parent_id FROM \"groups\" g JOIN group_members m ON m.group_id = g.id \
         WHERE m.workspace_id = $1 AND m.user_id = $2 \
         UNION SELECT g.id, g.name, g.parent_id FROM \"groups\" g JOIN above a ON g.id = a.parent_id) \
         SELECT name FROM above",
        [workspace.as_str().into(), user.as_str().into()],
    );
    let mut names = Vec::new();
    for row in db.conn().query_all_raw(query).await? {
        let name: String = row.try_get_by_index(0)?;
        names.push(TABLE.parse("name", &name)?);
    }
    // Not sorted by the database, whose idea of order depends on its language.
    names.sort();
    Ok(names)
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
    let forest = Forest::new(&nodes);
    if forest.get(id).is_none() || parent.is_some_and(|parent| forest.get(parent).is_none()) {
        return Ok(Move::NoSuchGroup);
    }
    if parent.is_some_and(|parent| forest.path(parent, id).is_some()) {
        return Ok(Move::Cycle);
    }
    if parent.map_or(0, |parent| forest.depth(parent)) + forest.height(id) > MAX_DEPTH {
        return Ok(Move::TooDeep);
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

/// Who was put into one of these groups, by person and group. Not cut off at a page: what is worked out from a part would be
/// fewer rights than were given.
pub async fn memberships_in<'g>(
    db: &impl Db,
    scope: &WorkspaceScope,
    groups: impl IntoIterator<Item = &'g GroupId>,
) -> Result<Vec<(GroupId, UserId)>, StoreError> {
    // Each once: a statement takes only so many values.
    let groups: BTreeSet<&str> = groups.into_iter().map(GroupId::as_str).collect();
    pairs(db, of_members(scope).filter(group_member::Column::GroupId.is_in(groups))).await
}

/// Which groups these people were put into, by person and group.
pub async fn memberships_of<'u>(
    db: &impl Db,
    scope: &WorkspaceScope,
    users: impl IntoIterator<Item = &'u UserId>,
) -> Result<Vec<(GroupId, UserId)>, StoreError> {
    let users: BTreeSet<&str> = users.into_iter().map(UserId::as_str).collect();
    pairs(db, of_members(scope).filter(group_member::Column::UserId.is_in(users))).await
}

fn of_members(scope: &WorkspaceScope) -> Select<group_member::Entity> {
    group_member::Entity::find()
        .filter(group_member::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .order_by_asc(group_member::Column::UserId)
        .order_by_asc(group_member::Column::GroupId)
}

async fn pairs(db: &impl Db, query: Select<group_member::Entity>) -> Result<Vec<(GroupId, UserId)>, StoreError> {
    let pair = |row: group_member::Model| {
        Ok((MEMBERS.parse("group_id", &row.group_id)?, MEMBERS.parse("user_id", &row.user_id)?))
    };
    query.all(db.conn()).await?.into_iter().map(pair).collect()
}
