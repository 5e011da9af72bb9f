//! For which ServiceAccounts inside a workspace people were given tokens, as the gateway saw it. The tokens are kept nowhere.

use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, Condition, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, Select};

use super::column::{Table, time};
use super::db::{Connection, Db};
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx};
use crate::entities::service_account_tokens::tokens_given as given;

const TABLE: Table = Table("service_account_tokens");

/// Of how many ServiceAccounts of a workspace one person's tokens are noted. Far more than anybody needs; what is listed and
/// ended stays within bounds.
pub const MOST: u64 = 1000;

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

/// Notes that a person was given a token, for the gateway; `false`, and nothing noted, when it would be one of more than
/// [`MOST`] ServiceAccounts. Of many at the same moment a few more can be noted.
pub async fn note_for_issuer(
    tx: &Tx,
    workspace: &WorkspaceId,
    user: &UserId,
    namespace: &str,
    service_account: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    use given::Column::{LastAt, Namespace, ServiceAccount, UserId as User, WorkspaceId as Workspace};
    let theirs = Condition::all().add(Workspace.eq(workspace.as_str())).add(User.eq(user.as_str()));
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

/// Of how many ServiceAccounts the person was given tokens.
pub async fn count(db: &impl Db, scope: &WorkspaceScope, user: &UserId) -> Result<u64, StoreError> {
    Ok(of_workspace(scope).filter(given::Column::UserId.eq(user.as_str())).count(db.conn()).await?)
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
