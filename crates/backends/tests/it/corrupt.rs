use hexabase_backends::store::{StoreError, organizations, sessions, users, workspaces};
use hexabase_testkit::on_both_engines;
use sea_orm::{ConnectionTrait, Database};

use crate::scenery::{add_organization, add_session, add_workspace, now};

/// Writes what the store itself never would.
async fn execute(store: &hexabase_testkit::store::TestStore, sql: &str) -> anyhow::Result<()> {
    let connection = Database::connect(store.address()).await?;
    connection.execute_unprepared(sql).await?;
    connection.close().await?;
    Ok(())
}

fn corrupt<T>(result: Result<T, StoreError>) -> (&'static str, &'static str) {
    match result {
        Err(StoreError::Corrupt { table, column, .. }) => (table, column),
        Err(_) => ("refused", "for another reason"),
        Ok(_) => ("accepted", ""),
    }
}

on_both_engines! {
    async fn unknown_words_in_the_database_are_refused(store: TestStore) {
        let organization = add_organization(&store, "Ada").await?;
        let workspace = add_workspace(&store, &organization, "shop").await?;
        let session = add_session(&store, organization.user()).await?;
        let user = organization.user();

        execute(&store, "UPDATE sessions SET kind = 'toaster'").await?;
        assert_eq!(corrupt(sessions::find_live(&*store, &session.id, now()).await), ("sessions", "kind"));

        execute(&store, "UPDATE workspaces SET phase = 'resting'").await?;
        assert_eq!(corrupt(workspaces::get(&*store, &workspace).await), ("workspaces", "phase"));
        execute(&store, "UPDATE workspaces SET phase = 'ready', receipt = '{'").await?;
        assert_eq!(corrupt(workspaces::get(&*store, &workspace).await), ("workspaces", "receipt"));
        execute(&store, "UPDATE workspaces SET receipt = NULL, name = 'kube system', living_name = 'x'").await?;
        assert_eq!(corrupt(workspaces::list(&*store, &organization, None, 10).await), ("workspaces", "name"));

        execute(&store, "UPDATE users SET display_name = ''").await?;
        assert_eq!(corrupt(users::get(&*store, user).await), ("users", "display_name"));

        // The word that would open every door is the one that must not be guessed.
        execute(&store, "UPDATE organization_members SET role = 'Admin'").await?;
        let refused = organizations::scope_for(&*store, user, organization.id()).await;
        assert_eq!(corrupt(refused), ("organization_members", "role"));
        assert_eq!(corrupt(workspaces::scope_for(&*store, user, workspace.workspace()).await).1, "role");
    }
}
