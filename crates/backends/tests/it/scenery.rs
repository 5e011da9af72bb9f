//! People and things that cases begin with.

use anyhow::Context;
use hexabase_backends::store::groups::Group;
use hexabase_backends::store::organizations::{Organization, OrganizationScope};
use hexabase_backends::store::sessions::{Session, SessionKind};
use hexabase_backends::store::users::User;
use hexabase_backends::store::workspaces::{NewWorkspace, Workspace, WorkspaceScope};
use hexabase_backends::store::{Store, StoreError, Tx, groups, organizations, sessions, users, workspaces};
use hexabase_core::ids::{GroupId, OrganizationId, UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use hexabase_testkit::clock::{TestClock, new_id};

pub(crate) fn now() -> Timestamp {
    TestClock::default().now()
}

pub(crate) fn person(name: &str) -> anyhow::Result<User> {
    let email = format!("{}@example.com", name.to_lowercase());
    let id = new_id(now());
    Ok(User {
        id,
        display_name: name.parse()?,
        email: Some(email),
        email_verified: true,
        created_at: now(),
        service_of: None,
    })
}

pub(crate) async fn add_person(store: &Store, name: &str) -> anyhow::Result<UserId> {
    let person = person(name)?;
    let tx = store.begin().await?;
    users::insert(&tx, &person).await?;
    tx.commit().await?;
    Ok(person.id)
}

pub(crate) fn organization(name: &str, personal_of: Option<&UserId>) -> anyhow::Result<Organization> {
    Ok(Organization {
        id: new_id::<OrganizationId>(now()),
        name: name.parse()?,
        display_name: None,
        personal_of: personal_of.cloned(),
        created_at: now(),
        deleted_at: None,
    })
}

/// A person named `name` with an organisation of the same name.
pub(crate) async fn add_organization(store: &Store, name: &str) -> anyhow::Result<OrganizationScope> {
    let founder = add_person(store, name).await?;
    let tx = store.begin().await?;
    let scope = organizations::insert(&tx, &organization(name, None)?, &founder).await?;
    tx.commit().await?;
    Ok(scope)
}

pub(crate) async fn insert_workspace(tx: &Tx, scope: &OrganizationScope, name: &str) -> anyhow::Result<WorkspaceScope> {
    let (id, plan_id) = (new_id::<WorkspaceId>(now()), "standard".to_owned());
    let new = NewWorkspace { id, name: name.parse()?, plan_id, plan_version: 1 };
    Ok(workspaces::insert(tx, scope, &new, now()).await?)
}

pub(crate) async fn add_workspace(
    store: &Store,
    scope: &OrganizationScope,
    name: &str,
) -> anyhow::Result<WorkspaceScope> {
    let tx = store.begin().await?;
    let workspace = insert_workspace(&tx, scope, name).await?;
    tx.commit().await?;
    Ok(workspace)
}

pub(crate) async fn load(store: &Store, scope: &WorkspaceScope) -> anyhow::Result<Workspace> {
    workspaces::get(store, scope).await?.context("the workspace is there")
}

pub(crate) fn group(name: &str, parent: Option<&GroupId>) -> anyhow::Result<Group> {
    Ok(Group {
        id: new_id(now()),
        name: name.parse()?,
        display_name: name.parse()?,
        parent_id: parent.cloned(),
        is_default: false,
    })
}

pub(crate) async fn add_group(
    store: &Store,
    scope: &WorkspaceScope,
    name: &str,
    parent: Option<&GroupId>,
) -> anyhow::Result<GroupId> {
    let group = group(name, parent)?;
    let tx = store.begin().await?;
    groups::insert(&tx, scope, &group).await?;
    tx.commit().await?;
    Ok(group.id)
}

pub(crate) async fn add_session(store: &Store, user: &UserId) -> anyhow::Result<Session> {
    let session = Session {
        id: new_id(now()),
        user_id: user.clone(),
        kind: SessionKind::Device,
        token_hash: None,
        label: "hxb on a laptop".to_owned(),
        created_at: now(),
        last_seen_at: now(),
        expires_at: now().plus_seconds(3600),
        revoked_at: None,
        created_from: Some("192.0.2.1".to_owned()),
        last_seen_from: None,
        authenticated_at: None,
    };
    let tx = store.begin().await?;
    sessions::insert(&tx, &session).await?;
    tx.commit().await?;
    Ok(session)
}

pub(crate) fn is_stale<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Stale))
}
