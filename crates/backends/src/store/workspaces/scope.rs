//! Proof that a person may know of a workspace.

use hexabase_core::ids::{BreakGlassId, OrganizationId, UserId, WorkspaceId};
use hexabase_core::names::WorkspaceName;
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter};

use super::{TABLE, workspaces_of_member};
use crate::entities::organizations::organization_member;
use crate::entities::workspaces::{workspace, workspace_member};
use crate::store::db::Db;
use crate::store::organizations::{self, OrganizationScope};
use crate::store::{StoreError, break_glass};

/// Proof that a person is a member of a workspace, or an admin of its organisation; the key to that workspace's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceScope {
    organization: OrganizationId,
    workspace: WorkspaceId,
    user: UserId,
    organization_role: Option<OrganizationRole>,
    is_member: bool,
    break_glass: Option<BreakGlassId>,
}

impl WorkspaceScope {
    /// The organisation that owns the workspace.
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// The workspace.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// The person.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// What the person may do in the organisation; `None` when no member of it.
    pub fn organization_role(&self) -> Option<OrganizationRole> {
        self.organization_role
    }

    /// Whether the person is a member of the workspace; an admin of the organisation need not be.
    pub fn is_member(&self) -> bool {
        self.is_member
    }

    /// The break-glass by which the person, who is no admin of the organisation, is treated as one.
    pub fn break_glass(&self) -> Option<&BreakGlassId> {
        self.break_glass.as_ref()
    }

    /// For the workspace that was made in this transaction, whose maker belongs to the organisation.
    pub(super) fn of_maker(scope: &OrganizationScope, workspace: WorkspaceId) -> Self {
        Self {
            organization: scope.id().clone(),
            workspace,
            user: scope.user().clone(),
            organization_role: Some(scope.role()),
            is_member: false,
            break_glass: scope.break_glass().cloned(),
        }
    }
}

/// Holds for workspaces that `user` is a member of, or more than a member of the organisation of. A role that is none is not
/// passed over here, but refused where it is read.
fn known_to(user: &UserId) -> Condition {
    let more_than_member = Query::select()
        .column(organization_member::Column::OrganizationId)
        .from(organization_member::Entity)
        .and_where(organization_member::Column::UserId.eq(user.as_str()))
        .and_where(organization_member::Column::Role.ne(OrganizationRole::Member.as_str()))
        .to_owned();
    Condition::any()
        .add(workspace::Column::Id.in_subquery(workspaces_of_member(user)))
        .add(workspace::Column::OrganizationId.in_subquery(more_than_member))
}

/// The scope of `user` in the workspace with this id, deleted or not; `None` for a stranger, and when there is none. Both cost
/// one query, so that the time of an answer does not tell which of them it is.
pub async fn scope_for(
    db: &impl Db,
    user: &UserId,
    workspace: &WorkspaceId,
) -> Result<Option<WorkspaceScope>, StoreError> {
    let found = workspace::Entity::find_by_id(workspace.as_str()).filter(known_to(user)).one(db.conn()).await?;
    scope_of(db, user, found).await
}

/// The scope of `user` as an admin by break-glass of the organisation that owns the workspace, while that lasts; as cheap as
/// [`scope_for`] for a stranger.
pub async fn scope_by_break_glass(
    db: &impl Db,
    user: &UserId,
    workspace: &WorkspaceId,
    now: Timestamp,
) -> Result<Option<WorkspaceScope>, StoreError> {
    let open = workspace::Column::OrganizationId.in_subquery(break_glass::open_to(user, now));
    let found = workspace::Entity::find_by_id(workspace.as_str()).filter(open).one(db.conn()).await?;
    let Some(model) = found else { return Ok(None) };
    let organization: OrganizationId = TABLE.parse("organization_id", &model.organization_id)?;
    let by = organizations::scope_by_break_glass(db, user, &organization, now).await?;
    let is_member = is_member(db, user, &model).await?;
    Ok(by.map(|by| WorkspaceScope { is_member, ..WorkspaceScope::of_maker(&by, workspace.clone()) }))
}

/// The scope of `user` in the organisation's living workspace with this name; `None` for a stranger, and when there is
/// none.
pub async fn scope_for_name(
    db: &impl Db,
    user: &UserId,
    organization: &OrganizationId,
    name: &WorkspaceName,
) -> Result<Option<WorkspaceScope>, StoreError> {
    let found = workspace::Entity::find()
        .filter(workspace::Column::OrganizationId.eq(organization.as_str()))
        .filter(workspace::Column::LivingName.eq(name.as_str()))
        .one(db.conn())
        .await?;
    scope_of(db, user, found).await
}

async fn scope_of(
    db: &impl Db,
    user: &UserId,
    found: Option<workspace::Model>,
) -> Result<Option<WorkspaceScope>, StoreError> {
    let Some(model) = found else { return Ok(None) };
    let organization: OrganizationId = TABLE.parse("organization_id", &model.organization_id)?;
    let role = organizations::scope_for(db, user, &organization).await?.map(|scope| scope.role());
    let is_member = is_member(db, user, &model).await?;
    if !is_member && role != Some(OrganizationRole::Admin) {
        return Ok(None);
    }
    let workspace = TABLE.parse("id", &model.id)?;
    let (user, break_glass) = (user.clone(), None);
    Ok(Some(WorkspaceScope { organization, workspace, user, organization_role: role, is_member, break_glass }))
}

async fn is_member(db: &impl Db, user: &UserId, workspace: &workspace::Model) -> Result<bool, StoreError> {
    let key = (workspace.id.clone(), user.to_string());
    Ok(workspace_member::Entity::find_by_id(key).one(db.conn()).await?.is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use hexabase_core::ids::Id;
    use hexabase_core::roles::OrganizationRole;

    use super::*;
    use crate::store::organizations::Organization;
    use crate::store::users::{self, User};
    use crate::store::workspaces::{NewWorkspace, insert};
    use crate::store::{Store, Tx};

    fn id<T: Id>(number: u64) -> T {
        T::from_parts(Timestamp::from_seconds(1_790_000_000), number)
    }

    async fn person(tx: &Tx, number: u64) -> UserId {
        let user = User {
            id: id(number),
            display_name: "Somebody".parse().unwrap(),
            email: None,
            email_verified: false,
            created_at: Timestamp::from_seconds(1),
            service_of: None,
        };
        users::insert(tx, &user).await.unwrap();
        user.id
    }

    #[tokio::test]
    async fn to_a_stranger_a_workspace_costs_what_one_costs_that_does_not_exist() {
        let (store, statements) = Store::counted().await.unwrap();
        let now = Timestamp::from_seconds(1_790_000_000);
        let tx = store.begin().await.unwrap();
        let (owner, stranger) = (person(&tx, 1).await, person(&tx, 2).await);
        let acme = Organization {
            id: id(3),
            name: "acme".parse().unwrap(),
            display_name: None,
            personal_of: None,
            created_at: now,
            deleted_at: None,
        };
        let acme = organizations::insert(&tx, &acme, &owner).await.unwrap();
        let shop =
            NewWorkspace { id: id(4), name: "shop".parse().unwrap(), plan_id: "standard".to_owned(), plan_version: 1 };
        let shop = insert(&tx, &acme, &shop, now).await.unwrap();
        tx.commit().await.unwrap();
        let ask = async |user: &UserId, workspace: &WorkspaceId| {
            let before = statements.load(Ordering::SeqCst);
            let scope = scope_for(&store, user, workspace).await.unwrap();
            let by_break_glass = scope_by_break_glass(&store, user, workspace, now).await.unwrap();
            assert_eq!(by_break_glass, None);
            (scope.map(|scope| scope.organization_role()), statements.load(Ordering::SeqCst) - before)
        };
        let absent = id(5);
        assert_eq!(ask(&stranger, &absent).await, (None, 2));
        assert_eq!(ask(&stranger, shop.workspace()).await, (None, 2));
        let (role, _) = ask(&owner, shop.workspace()).await;
        assert_eq!(role, Some(Some(OrganizationRole::Admin)));
    }
}
