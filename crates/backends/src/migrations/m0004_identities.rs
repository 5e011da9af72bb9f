//! Outside identities get an id, and what their provider said last: a person can have several, and take one away.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use super::unique;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0004_identities"
    }
}

/// So far everybody has one identity: the body of the person's id makes one for it, and the profile is what was said.
const FILL: &str = "UPDATE identities SET id = 'idn-' || substr(user_id, 5), \
     display_name = (SELECT display_name FROM users WHERE users.id = user_id), \
     email = (SELECT email FROM users WHERE users.id = user_id), \
     email_verified = (SELECT email_verified FROM users WHERE users.id = user_id)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in [
            text("id").default("").to_owned(),
            text_null("display_name"),
            text_null("email"),
            boolean("email_verified").default(false).to_owned(),
            big_integer_null("last_used_at"),
        ] {
            manager.alter_table(Table::alter().table("identities").add_column(column).to_owned()).await?;
        }
        manager.get_connection().execute_unprepared(FILL).await?;
        unique(manager, "identities_id", "identities", &["id"]).await
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait, Database, Statement};
    use sea_orm_migration::MigratorTrait as _;

    use crate::migrations::Migrator;

    #[tokio::test]
    async fn whoever_signed_in_before_keeps_the_identity_and_it_gets_an_id() {
        let db = Database::connect("sqlite::memory:").await.unwrap();
        Migrator::up(&db, Some(2)).await.unwrap();
        for sql in [
            "INSERT INTO users VALUES ('usr-0123456789abcdefghjk', 'Ada', 'ada@example.com', true, 'ada@example.com', 7)",
            "INSERT INTO users VALUES ('usr-1123456789abcdefghjk', 'Bob', NULL, false, NULL, 8)",
            "INSERT INTO identities VALUES ('https://a.example', '1', 'usr-0123456789abcdefghjk', 7)",
            "INSERT INTO identities VALUES ('https://a.example', '2', 'usr-1123456789abcdefghjk', 8)",
        ] {
            db.execute_unprepared(sql).await.unwrap();
        }
        Migrator::up(&db, None).await.unwrap();
        let sql =
            "SELECT id || display_name || coalesce(email, '-') || email_verified AS it FROM identities ORDER BY id";
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
        let found: Vec<String> = rows.iter().map(|row| row.try_get("", "it").unwrap()).collect();
        assert_eq!(found, ["idn-0123456789abcdefghjkAdaada@example.com1", "idn-1123456789abcdefghjkBob-0"]);
    }
}
