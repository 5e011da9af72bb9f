//! For which ServiceAccounts inside a workspace people were given tokens, as the gateway saw it. The tokens are kept nowhere.

use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::names::WorkspaceName;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, OnConflict, Query};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::column::{Table, time};
use super::db::{Connection, Db};
use super::organizations::OrganizationScope;
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx};
use crate::entities::service_account_tokens::tokens_given as given;
use crate::entities::workspaces::workspace;

const TABLE: Table = Table("service_account_tokens");
const WORKSPACES: Table = Table("workspaces");

/// Of how many ServiceAccounts of a workspace one person's tokens are noted. Far more than anybody needs; what is listed and
/// ended stays within bounds.
pub const MOST: u64 = 1000;

/// Whose token of which ServiceAccount where: of one that is about to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenOf<'a> {
    /// The workspace.
    pub workspace: &'a WorkspaceId,
    /// Who is given it.
    pub user: &'a UserId,
    /// The namespace.
    pub namespace: &'a str,
    /// The ServiceAccount in it.
    pub service_account: &'a str,
}

/// That a person was given tokens of a ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokensGiven {
    /// The person.
    pub user_id: UserId,
    /// The namespace.
    pub namespace: String,
    /// The ServiceAccount in it.
    pub service_account: String,
    /// When the first was given.
    pub first_at: Timestamp,
    /// When the last was given.
    pub last_at: Timestamp,
}

fn read(model: given::Model) -> Result<TokensGiven, StoreError> {
    Ok(TokensGiven {
        user_id: TABLE.parse("user_id", &model.user_id)?,
        namespace: model.namespace,
        service_account: model.service_account,
        first_at: time(model.first_at),
        last_at: time(model.last_at),
    })
}

fn of_workspace(scope: &WorkspaceScope) -> Select<given::Entity> {
    given::Entity::find().filter(given::Column::WorkspaceId.eq(scope.workspace().as_str()))
}

fn of_person(workspace: &WorkspaceId, user: &UserId) -> Condition {
    Condition::all().add(given::Column::WorkspaceId.eq(workspace.as_str())).add(given::Column::UserId.eq(user.as_str()))
}

/// Whether another token of the ServiceAccount can be noted for the person, for the gateway, before it is made: it is one of
/// [`MOST`] at the most.
pub async fn has_room_for_issuer(db: &impl Db, token: &TokenOf<'_>) -> Result<bool, StoreError> {
    let TokenOf { workspace, user, namespace, service_account } = *token;
    let theirs = of_person(workspace, user);
    if given::Entity::find().filter(theirs.clone()).count(db.conn()).await? < MOST {
        return Ok(true);
    }
    let known = given::Entity::find()
        .filter(theirs)
        .filter(given::Column::Namespace.eq(namespace))
        .filter(given::Column::ServiceAccount.eq(service_account));
    Ok(known.count(db.conn()).await? > 0)
}

/// Notes that a person was given a token, for the gateway; `false`, and nothing noted, when it would be one of more than
/// [`MOST`] ServiceAccounts. Of many at the same moment a few more can be noted.
pub async fn note_for_issuer(tx: &Tx, token: &TokenOf<'_>, now: Timestamp) -> Result<bool, StoreError> {
    use given::Column::{LastAt, Namespace, ServiceAccount, UserId as User, WorkspaceId as Workspace};
    let TokenOf { workspace, user, namespace, service_account } = *token;
    let theirs = of_person(workspace, user);
    let again = given::Entity::update_many()
        .col_expr(LastAt, Expr::value(now.as_micros()))
        .filter(theirs.clone())
        .filter(Namespace.eq(namespace))
        .filter(ServiceAccount.eq(service_account));
    if again.exec(tx.conn()).await?.rows_affected > 0 {
        return Ok(true);
    }
    if given::Entity::find().filter(theirs).count(tx.conn()).await? >= MOST {
        return Ok(false);
    }
    let model = given::Model {
        workspace_id: workspace.to_string(),
        user_id: user.to_string(),
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        first_at: now.as_micros(),
        last_at: now.as_micros(),
    };
    let over = OnConflict::columns([Workspace, User, Namespace, ServiceAccount]).update_columns([LastAt]).to_owned();
    given::Entity::insert(model.into_active_model()).on_conflict(over).exec_without_returning(tx.conn()).await?;
    Ok(true)
}

/// What this person, or else anybody, was given in the workspace, by namespace and ServiceAccount.
pub async fn list(db: &impl Db, scope: &WorkspaceScope, user: Option<&UserId>) -> Result<Vec<TokensGiven>, StoreError> {
    // Not cut off at a page: a token that is left out is one that nobody ends.
    let mut query = of_workspace(scope);
    if let Some(user) = user {
        query = query.filter(given::Column::UserId.eq(user.as_str()));
    }
    let query = query
        .order_by_asc(given::Column::Namespace)
        .order_by_asc(given::Column::ServiceAccount)
        .order_by_asc(given::Column::UserId);
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// In which living workspaces of the organisation the person was given tokens, a member of them or not any more, and of how
/// many ServiceAccounts there; by workspace.
pub async fn count_in_organization(
    db: &impl Db,
    scope: &OrganizationScope,
    user: &UserId,
) -> Result<Vec<(WorkspaceId, WorkspaceName, u64)>, StoreError> {
    let noted = Query::select()
        .column(given::Column::WorkspaceId)
        .from(given::Entity)
        .and_where(given::Column::UserId.eq(user.as_str()))
        .to_owned();
    let query = workspace::Entity::find()
        .filter(workspace::Column::OrganizationId.eq(scope.id().as_str()))
        .filter(workspace::Column::LivingName.is_not_null())
        .filter(workspace::Column::Id.in_subquery(noted))
        .order_by_asc(workspace::Column::Id)
        .select_only()
        .column(workspace::Column::Id)
        .column(workspace::Column::Name)
        .into_tuple::<(String, String)>();
    let mut found = Vec::new();
    for (id, name) in query.all(db.conn()).await? {
        let id: WorkspaceId = WORKSPACES.parse("id", &id)?;
        let accounts = given::Entity::find().filter(of_person(&id, user)).count(db.conn()).await?;
        found.push((id, WORKSPACES.parse("name", &name)?, accounts));
    }
    Ok(found)
}

/// Forgets tokens that have ended; `false`, and nothing forgotten, when another was given since this was read.
pub async fn forget(tx: &Tx, scope: &WorkspaceScope, ended: &TokensGiven) -> Result<bool, StoreError> {
    let removed = given::Entity::delete_many()
        .filter(given::Column::WorkspaceId.eq(scope.workspace().as_str()))
        .filter(given::Column::UserId.eq(ended.user_id.as_str()))
        .filter(given::Column::Namespace.eq(ended.namespace.as_str()))
        .filter(given::Column::ServiceAccount.eq(ended.service_account.as_str()))
        .filter(given::Column::LastAt.eq(ended.last_at.as_micros()))
        .exec(tx.conn())
        .await?;
    Ok(removed.rows_affected > 0)
}

/// Forgets everything of a workspace, which is gone.
pub(super) async fn forget_all(tx: &Tx, workspace: &WorkspaceId) -> Result<(), StoreError> {
    let all = given::Entity::delete_many().filter(given::Column::WorkspaceId.eq(workspace.as_str()));
    all.exec(tx.conn()).await?;
    Ok(())
}
