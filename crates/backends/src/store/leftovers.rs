//! What still hangs on workspaces that are deleted: told, and taken away.
//!
//! The row of such a workspace stays as a record, with its steps, projects, groups and roles; and so does the job that removed
//! it, whose number is the fence of everything that was ever written to the host. All else is good for nothing any more. To
//! count something here, add a line to `HANGING`.

use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Statement};

use super::column::{Table, signed};
use super::db::{self, Connection, Db};
use super::{StoreError, Tx, capped, organizations, projects, workspace_members, workspaces};
use crate::entities::api_tokens::api_token;
use crate::entities::operations::job;

const TABLE: Table = Table("workspaces");

/// Rows of one table that hang on a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The table.
    pub what: String,
    /// How many.
    pub rows: u64,
}

/// Table, the column that names the workspace, and which of its rows must not outlive that. In this order they can be deleted.
const HANGING: [(&str, &str, &str); 11] = [
    ("group_members", "workspace_id", ALL),
    ("workspace_members", "workspace_id", ALL),
    ("service_account_tokens", "workspace_id", ALL),
    ("authorization_codes", "realm", ALL),
    ("device_codes", "realm", ALL),
    ("refresh_tokens", "realm", ALL),
    ("client_confirmations", "realm", ALL),
    ("spare_workspaces", "id", ALL),
    ("host_nodes", "workspace_id", ALL),
    (API_TOKENS, "workspace_id", "revoked_at IS NULL"),
    (PROJECTS, "workspace_id", "living_name IS NOT NULL"),
];
const ALL: &str = "1 = 1";
/// Of these the rows stay: they are ended.
const API_TOKENS: &str = "api_tokens";
const PROJECTS: &str = "projects";
/// Where a workspace is named without the database knowing that it is one.
const UNBOUND: [(&str, &str); 5] = [
    ("authorization_codes", "realm"),
    ("device_codes", "realm"),
    ("refresh_tokens", "realm"),
    ("client_confirmations", "realm"),
    ("jobs", "subject"),
];

type Row = (String, String, i64);

const ROW: [&str; 3] = ["hanging.what", "hanging.workspace", "COUNT(*)"];

fn read((what, workspace, rows): Row) -> Result<Leftover, StoreError> {
    Ok(Leftover { workspace: TABLE.parse("id", &workspace)?, what, rows: TABLE.number("rows", rows)? })
}

/// What hangs on workspaces that were deleted before `before`, by workspace; jobs of the kind `fenced` stay. It is the
/// platform's own beyond doubt: the workspace's row says that it is gone.
pub async fn list_for_job(
    db: &impl Db,
    fenced: &str,
    before: Timestamp,
    limit: u64,
) -> Result<Vec<Leftover>, StoreError> {
    let mut parts: Vec<String> = HANGING
        .iter()
        .map(|(table, column, which)| {
            format!("SELECT '{table}' AS what, {column} AS workspace FROM {table} WHERE {which}")
        })
        .collect();
    parts.push(
        "SELECT 'jobs' AS what, subject AS workspace FROM jobs \
         WHERE kind <> $1 AND run_at IS NULL AND lease_owner IS NULL"
            .to_owned(),
    );
    let rest = format!(
        "FROM ({}) AS hanging JOIN workspaces ON workspaces.id = hanging.workspace WHERE workspaces.deleted_at < $2 \
         GROUP BY hanging.what, hanging.workspace ORDER BY hanging.workspace, hanging.what LIMIT $3",
        parts.join(" UNION ALL ")
    );
    let values = [fenced.into(), before.as_micros().into(), signed(capped(limit)).into()];
    db::tuples::<Row>(db.conn(), &ROW, &rest, values).await?.into_iter().map(read).collect()
}

/// What names a workspace of which there is no row. Whose it is nobody can say, so that it is only told.
pub async fn list_unknown_for_job(db: &impl Db, limit: u64) -> Result<Vec<Leftover>, StoreError> {
    let parts: Vec<String> = UNBOUND
        .iter()
        .map(|(table, column)| format!("SELECT '{table}' AS what, {column} AS workspace FROM {table}"))
        .collect();
    let rest = format!(
        "FROM ({}) AS hanging WHERE hanging.workspace LIKE 'ws-%' \
         AND NOT EXISTS (SELECT 1 FROM workspaces WHERE workspaces.id = hanging.workspace) \
         AND NOT EXISTS (SELECT 1 FROM spare_workspaces WHERE spare_workspaces.id = hanging.workspace) \
         GROUP BY hanging.what, hanging.workspace ORDER BY hanging.workspace, hanging.what LIMIT $1",
        parts.join(" UNION ALL ")
    );
    db::tuples::<Row>(db.conn(), &ROW, &rest, [signed(capped(limit)).into()]).await?.into_iter().map(read).collect()
}

/// Takes away what hangs on a deleted workspace, but for jobs of the kind `fenced`; says who left its organisation with it, by id.
/// [`StoreError::Stale`], and nothing done, unless its row says at this moment that it is gone.
pub async fn remove(tx: &Tx, workspace: &WorkspaceId, fenced: &str, now: Timestamp) -> Result<Vec<UserId>, StoreError> {
    let row = workspaces::load_for_job(tx, workspace).await?.filter(|row| row.deleted_at.is_some());
    let row = row.ok_or(StoreError::Stale)?;
    // As with the deletion itself: whoever came into the organisation through this workspace only goes with it.
    let members = workspace_members::remove_all(tx, workspace).await?;
    let left_organization = organizations::leave_all(tx, &row.organization_id, &members).await?;
    let backend = tx.conn().get_database_backend();
    for (table, column, which) in HANGING.iter().filter(|(table, ..)| ![API_TOKENS, PROJECTS].contains(table)) {
        let sql = format!("DELETE FROM {table} WHERE {column} = $1 AND {which}");
        let delete = Statement::from_sql_and_values(backend, sql, [workspace.as_str().into()]);
        tx.conn().execute_raw(delete).await?;
    }
    api_token::Entity::update_many()
        .col_expr(api_token::Column::RevokedAt, Expr::value(now.as_micros()))
        .filter(api_token::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(api_token::Column::RevokedAt.is_null())
        .exec(tx.conn())
        .await?;
    projects::set_all_deleted(tx, workspace, now).await?;
    job::Entity::delete_many()
        .filter(job::Column::Subject.eq(workspace.as_str()))
        .filter(job::Column::Kind.ne(fenced))
        .filter(job::Column::RunAt.is_null())
        .filter(job::Column::LeaseOwner.is_null())
        .exec(tx.conn())
        .await?;
    Ok(left_organization)
}
