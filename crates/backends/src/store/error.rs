//! What can go wrong with the store, as far as a caller can act on it.

use std::error::Error;

use sea_orm::sqlx;
use sea_orm::{DbErr, RuntimeErr, SqlErr};

/// A failure of the store.
///
/// After any of these inside a transaction, drop the [`Tx`](super::Tx): PostgreSQL accepts no further statement in it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A row with this key is already there.
    #[error("not unique: {0}")]
    NotUnique(Unique),
    /// A row that the written one refers to is not there.
    #[error("a row that the written one refers to does not exist")]
    MissingReference,
    /// Somebody else has moved the row on: a lease was lost, or the state the change was made for is over.
    #[error("the row has been moved on by somebody else")]
    Stale,
    /// The database cannot be reached, is too busy, or broke a deadlock: nothing was written; trying again is right.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The database holds a value that this version does not understand.
    #[error("the value in {table}.{column} is not understood")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What was wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Anything else; a bug or a broken database.
    #[error("the database refused")]
    Other(#[source] Box<dyn Error + Send + Sync>),
}

macro_rules! uniques {
    ($($(#[$doc:meta])* $name:ident = $index:literal, $columns:literal;)*) => {
        /// What was not unique.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Unique {
            $($(#[$doc])* $name,)*
            /// The id of a new row, or another key.
            Other,
        }

        impl Unique {
            /// PostgreSQL names the index, SQLite the columns.
            fn from_names(index: Option<&str>, message: &str) -> Self {
                let columns = message.rsplit_once("UNIQUE constraint failed: ").map(|(_, columns)| columns);
                $(if index == Some($index) || columns == Some($columns) { return Self::$name; })*
                Self::Other
            }
        }

        impl std::fmt::Display for Unique {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$name => $columns,)* Self::Other => "another key" })
            }
        }
    };
}

uniques! {
    /// The outside identity belongs to somebody already.
    Identity = "identities_pkey", "identities.issuer, identities.subject";
    /// The person has a personal organisation already.
    PersonalOrganization = "organizations_personal_of", "organizations.personal_of";
    /// The person belongs to the organisation already.
    OrganizationMember = "organization_members_pkey", "organization_members.organization_id, organization_members.user_id";
    /// An invitation of the organisation waits for this address already.
    PendingInvitation = "invitations_pending_key", "invitations.organization_id, invitations.pending_key";
    /// Two sessions with the same token.
    SessionToken = "sessions_token_hash", "sessions.token_hash";
    /// Two living sign-ins with the same user code: draw another one.
    UserCode = "device_codes_user_code", "device_codes.user_code";
    /// A living workspace of the organisation has this name.
    WorkspaceName = "workspaces_living_name", "workspaces.organization_id, workspaces.living_name";
    /// The person has access to the workspace already.
    WorkspaceMember = "workspace_members_pkey", "workspace_members.workspace_id, workspace_members.user_id";
    /// A living project of the workspace has this name.
    ProjectName = "projects_living_name", "projects.workspace_id, projects.living_name";
    /// A group of the workspace has this name.
    GroupName = "groups_name", "groups.workspace_id, groups.name";
    /// The person is in the group already.
    GroupMember = "group_members_pkey", "group_members.group_id, group_members.user_id";
    /// The workspace, or the project, has a custom role of this name.
    RoleName = "roles_name", "roles.workspace_id, roles.target, roles.name";
    /// The group has this role there already.
    RoleAssignment = "role_assignments_target", "role_assignments.group_id, role_assignments.target, role_assignments.role";
}

/// SQLSTATE classes and codes after which the same transaction may succeed: connection lost, resources exhausted,
/// operator intervention, serialization failure, deadlock; and SQLite's busy and locked.
fn is_passing(postgres: bool, code: &str) -> bool {
    if postgres {
        ["08", "53", "57"].iter().any(|class| code.starts_with(class)) || ["40001", "40P01", "55P03"].contains(&code)
    } else {
        // The low byte is the primary code: 5 is SQLITE_BUSY, 6 SQLITE_LOCKED.
        code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6))
    }
}

fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        let driver = driver_error(&error);
        let database = driver.and_then(sqlx::Error::as_database_error);
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(message)) => {
                return Self::NotUnique(Unique::from_names(database.and_then(|error| error.constraint()), &message));
            }
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => return Self::MissingReference,
            _ => {}
        }
        let passing = match (database, driver) {
            (Some(database), _) => {
                let postgres = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some();
                database.code().is_some_and(|code| is_passing(postgres, &code))
            }
            (None, Some(driver)) => matches!(
                driver,
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed
            ),
            (None, None) => matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)),
        };
        if passing { Self::Unavailable(Box::new(error)) } else { Self::Other(Box::new(error)) }
    }
}
