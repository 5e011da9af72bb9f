//! People with access to a workspace.

use hexabase_core::ids::{GroupId, UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::LockType;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::column::{Table, signed, time};
use super::db::{self, Connection, Db};
use super::users::{self, User};
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx, capped};
use crate::entities::groups::group_member;
use crate::entities::users::user;
use crate::entities::workspaces::workspace_member;

const TABLE: Table = Table("workspace_members");
const GROUPS: Table = Table("group_members");

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

/// The people with access, by id, each with the groups they were put into.
pub async fn list(
    db: &impl Db,
    scope: &WorkspaceScope,
    after: Option<&UserId>,
    limit: u64,
) -> Result<Vec<(WorkspaceMember, Vec<GroupId>)>, StoreError> {
    let values =
        [scope.workspace().as_str().into(), after.map_or("", UserId::as_str).into(), signed(capped(limit)).into()];
    let rows: Vec<Row> = db::tuples(db.conn(), &ROW, PAGE, values).await?;
    rows.into_iter().map(read_row).collect()
}

type Row = (String, String, Option<String>, i64, i64, String, Option<String>, String, i64, Option<String>);

const ROW: [&str; 10] = [
    "u.id",
    "u.display_name",
    "u.email",
    "CASE WHEN u.email_verified THEN 1 ELSE 0 END",
    "u.created_at",
    "u.kind",
    "u.service_of",
    "m.added_by",
    "m.created_at",
    "(SELECT string_agg(g.group_id, ' ') FROM group_members g WHERE g.workspace_id = m.workspace_id AND g.user_id = m.user_id)",
];

const PAGE: &str = "FROM workspace_members m JOIN users u ON u.id = m.user_id \
    WHERE m.workspace_id = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3";

fn read_row(row: Row) -> Result<(WorkspaceMember, Vec<GroupId>), StoreError> {
    let (id, display_name, email, verified, created_at, kind, service_of, added_by, since, groups) = row;
    let user = user::Model {
        id,
        display_name,
        email,
        email_verified: verified != 0,
        // Not for reading, and nobody who was deleted has access.
        email_key: None,
        deleted_at: None,
        created_at,
        kind,
        service_of,
    };
    let member = WorkspaceMember {
        user: users::read(user)?,
        added_by: TABLE.parse("added_by", &added_by)?,
        created_at: time(since),
    };
    let groups = groups.iter().flat_map(|groups| groups.split(' '));
    Ok((member, groups.map(|group| GROUPS.parse("group_id", group)).collect::<Result<_, _>>()?))
}

/// Those of these people who have access, by id.
pub async fn list_among<'u>(
    db: &impl Db,
    scope: &WorkspaceScope,
    users: impl IntoIterator<Item = &'u UserId>,
) -> Result<Vec<WorkspaceMember>, StoreError> {
    let query = workspace_member::Entity::find()
        .filter(workspace_member::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(workspace_member::Column::UserId.is_in(users.into_iter().map(UserId::as_str)))
        .order_by_asc(workspace_member::Column::UserId);
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

/// The same, for the gateway, and so until the transaction ends: whoever takes the access away waits for that.
pub async fn stays_member_for_issuer(tx: &Tx, workspace: &WorkspaceId, user: &UserId) -> Result<bool, StoreError> {
    let key = (workspace.to_string(), user.to_string());
    let query = workspace_member::Entity::find_by_id(key).lock(LockType::KeyShare);
    Ok(query.one(tx.conn()).await?.is_some())
}

/// How many people have access; service accounts, which an organisation has few of, do not count. To hold a limit, take
/// [`workspaces::lock`](super::workspaces::lock) first.
pub async fn count(db: &impl Db, scope: &WorkspaceScope) -> Result<u64, StoreError> {
    let query = workspace_member::Entity::find()
        .filter(workspace_member::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(workspace_member::Column::UserId.in_subquery(users::people()));
    Ok(query.count(db.conn()).await?)
}
