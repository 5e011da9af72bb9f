//! Organisations, who belongs to them, and the scope through which their rows are read.

use hexabase_core::ids::{BreakGlassId, OrganizationId, UserId};
use hexabase_core::names::DisplayName;
use hexabase_core::quota::Amounts;
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, LockType, Query};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::column::{Table, json_of, micros_opt, time, time_opt};
use super::db::{self, Connection, Db};
use super::users::{self, User};
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx, break_glass, capped};
use crate::entities::groups::group_member;
use crate::entities::organizations::{former_admin, organization, organization_member};
use crate::entities::workspaces::{workspace, workspace_member};

const TABLE: Table = Table("organizations");
const MEMBERS: Table = Table("organization_members");

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// Its name.
    pub name: DisplayName,
    /// A longer name, if it has one.
    pub display_name: Option<DisplayName>,
    /// The person for whom it was made at the first sign-in.
    pub personal_of: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// A person in an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationMember {
    /// The person.
    pub user: User,
    /// What the person may do.
    pub role: OrganizationRole,
    /// Since when.
    pub created_at: Timestamp,
}

/// Proof that a person belongs to an organisation that is not deleted; the key to that organisation's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationScope {
    id: OrganizationId,
    user: UserId,
    role: OrganizationRole,
    break_glass: Option<BreakGlassId>,
}

impl OrganizationScope {
    /// The organisation.
    pub fn id(&self) -> &OrganizationId {
        &self.id
    }

    /// The person.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// What the person may do in it.
    pub fn role(&self) -> OrganizationRole {
        self.role
    }

    /// The break-glass by which the person, who is no admin, is treated as one.
    pub fn break_glass(&self) -> Option<&BreakGlassId> {
        self.break_glass.as_ref()
    }
}

fn read(model: organization::Model) -> Result<Organization, StoreError> {
    Ok(Organization {
        id: TABLE.parse("id", &model.id)?,
        name: TABLE.parse("name", &model.name)?,
        display_name: TABLE.parse_opt("display_name", model.display_name.as_deref())?,
        personal_of: TABLE.parse_opt("personal_of", model.personal_of.as_deref())?,
        created_at: time(model.created_at),
        deleted_at: time_opt(model.deleted_at),
    })
}

/// The scope of `user` in `organization`; `None` for a stranger, and when it does not exist or is deleted.
pub async fn scope_for(
    db: &impl Db,
    user: &UserId,
    organization: &OrganizationId,
) -> Result<Option<OrganizationScope>, StoreError> {
    let Some(role) = role_of(db, user, organization).await? else { return Ok(None) };
    let scope = OrganizationScope { id: organization.clone(), user: user.clone(), role, break_glass: None };
    Ok(is_living(db, organization).await?.then_some(scope))
}

/// The scope of `user` as an admin by break-glass, while that lasts; `None` for everybody else, and when the organisation does
/// not exist or is deleted.
pub async fn scope_by_break_glass(
    db: &impl Db,
    user: &UserId,
    organization: &OrganizationId,
    now: Timestamp,
) -> Result<Option<OrganizationScope>, StoreError> {
    let Some(given) = break_glass::find(db, organization, user, now).await? else { return Ok(None) };
    let scope = OrganizationScope {
        id: organization.clone(),
        user: user.clone(),
        role: OrganizationRole::Admin,
        break_glass: Some(given.id),
    };
    Ok(is_living(db, organization).await?.then_some(scope))
}

async fn is_living(db: &impl Db, organization: &OrganizationId) -> Result<bool, StoreError> {
    let living = organization::Entity::find_by_id(organization.as_str())
        .filter(organization::Column::DeletedAt.is_null())
        .one(db.conn())
        .await?;
    Ok(living.is_some())
}

/// Locks a living organisation for an operator, who belongs to none; `false` when there is no such organisation.
pub async fn lock_for_operator(tx: &Tx, organization: &OrganizationId) -> Result<bool, StoreError> {
    organization::Entity::find_by_id(organization.as_str()).lock(LockType::NoKeyUpdate).one(tx.conn()).await?;
    is_living(tx, organization).await
}

pub(super) async fn role_of(
    db: &impl Db,
    user: &UserId,
    organization: &OrganizationId,
) -> Result<Option<OrganizationRole>, StoreError> {
    let key = (organization.to_string(), user.to_string());
    let member = organization_member::Entity::find_by_id(key).one(db.conn()).await?;
    member.map(|member| MEMBERS.parse("role", &member.role)).transpose()
}

/// The organisation of the scope.
pub async fn get(db: &impl Db, scope: &OrganizationScope) -> Result<Option<Organization>, StoreError> {
    organization::Entity::find_by_id(scope.id.as_str()).one(db.conn()).await?.map(read).transpose()
}

/// The living organisations that `user` belongs to, each with the role there.
pub async fn list_for_user(
    db: &impl Db,
    user: &UserId,
    after: Option<&OrganizationId>,
    limit: u64,
) -> Result<Vec<(Organization, OrganizationRole)>, StoreError> {
    let mine = Query::select()
        .column(organization_member::Column::OrganizationId)
        .from(organization_member::Entity)
        .and_where(organization_member::Column::UserId.eq(user.as_str()))
        .to_owned();
    let mut query = organization::Entity::find()
        .filter(organization::Column::DeletedAt.is_null())
        .filter(organization::Column::Id.in_subquery(mine));
    if let Some(after) = after {
        query = query.filter(organization::Column::Id.gt(after.as_str()));
    }
    let query = query.order_by_asc(organization::Column::Id).limit(capped(limit));
    let mut found = Vec::new();
    for model in query.all(db.conn()).await? {
        let organization = read(model)?;
        if let Some(role) = role_of(db, user, &organization.id).await? {
            found.push((organization, role));
        }
    }
    Ok(found)
}

/// Adds an organisation with `founder` as its first admin.
///
/// [`Unique::PersonalOrganization`](super::Unique::PersonalOrganization) when the person has a personal one already.
pub async fn insert(tx: &Tx, organization: &Organization, founder: &UserId) -> Result<OrganizationScope, StoreError> {
    let model = organization::Model {
        id: organization.id.to_string(),
        name: organization.name.to_string(),
        display_name: organization.display_name.as_ref().map(ToString::to_string),
        personal_of: organization.personal_of.as_ref().map(ToString::to_string),
        created_at: organization.created_at.as_micros(),
        deleted_at: micros_opt(organization.deleted_at),
        quota: None,
    };
    db::insert(tx.conn(), model).await?;
    let role = OrganizationRole::Admin;
    let scope = OrganizationScope { id: organization.id.clone(), user: founder.clone(), role, break_glass: None };
    add_member(tx, &scope, founder, role, organization.created_at).await?;
    Ok(scope)
}

/// Lets nobody else change what belongs to the organisation until the transaction ends: take it before counting
/// against a limit, and before the lock of any of its workspaces.
pub async fn lock(tx: &Tx, scope: &OrganizationScope) -> Result<(), StoreError> {
    lock_id(tx, &scope.id).await
}

/// The same for the organisation of a workspace: take it before somebody gets or loses access to one, because that is what
/// makes and ends memberships of the organisation.
pub async fn lock_of(tx: &Tx, scope: &WorkspaceScope) -> Result<(), StoreError> {
    lock_id(tx, scope.organization()).await
}

async fn lock_id(tx: &Tx, id: &OrganizationId) -> Result<(), StoreError> {
    organization::Entity::find_by_id(id.as_str()).lock(LockType::NoKeyUpdate).one(tx.conn()).await?;
    Ok(())
}

/// What all workspaces of an organisation may use together; whatever their plans give when absent. To hold it, take [`lock`]
/// first.
pub async fn quota(db: &impl Db, id: &OrganizationId) -> Result<Option<Amounts>, StoreError> {
    let found = organization::Entity::find_by_id(id.as_str()).one(db.conn()).await?;
    let quota = found.and_then(|organization| organization.quota);
    quota.map(|text| TABLE.object("quota", &text)).transpose()
}

/// Sets what all workspaces of an organisation may use together. Take [`lock_for_operator`] first.
pub async fn set_quota_for_operator(tx: &Tx, id: &OrganizationId, quota: Option<&Amounts>) -> Result<(), StoreError> {
    let text = quota.map(json_of).transpose()?;
    organization::Entity::update_many()
        .col_expr(organization::Column::Quota, Expr::value(text))
        .filter(organization::Column::Id.eq(id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Gives the organisation another name.
pub async fn rename(tx: &Tx, scope: &OrganizationScope, name: &DisplayName) -> Result<(), StoreError> {
    organization::Entity::update_many()
        .col_expr(organization::Column::Name, Expr::value(name.as_str()))
        .filter(organization::Column::Id.eq(scope.id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(())
}

/// Deletes the organisation: nobody belongs to it any more, nor to the records of its workspaces; says who did, by id, with the
/// role. Its row stays as a record, and who administered it, for its audit log. Take [`lock`] first and make sure that no
/// workspace lives.
pub async fn delete(
    tx: &Tx,
    scope: &OrganizationScope,
    now: Timestamp,
) -> Result<Vec<(UserId, OrganizationRole)>, StoreError> {
    let workspaces = || {
        Query::select()
            .column(workspace::Column::Id)
            .from(workspace::Entity)
            .and_where(workspace::Column::OrganizationId.eq(scope.id.as_str()))
            .to_owned()
    };
    group_member::Entity::delete_many()
        .filter(group_member::Column::WorkspaceId.in_subquery(workspaces()))
        .exec(tx.conn())
        .await?;
    workspace_member::Entity::delete_many()
        .filter(workspace_member::Column::WorkspaceId.in_subquery(workspaces()))
        .exec(tx.conn())
        .await?;
    let of_organization = organization_member::Column::OrganizationId.eq(scope.id.as_str());
    let members = organization_member::Entity::find()
        .filter(of_organization.clone())
        .order_by_asc(organization_member::Column::UserId)
        .all(tx.conn())
        .await?;
    let mut left = Vec::with_capacity(members.len());
    for member in members {
        let role: OrganizationRole = MEMBERS.parse("role", &member.role)?;
        left.push((MEMBERS.parse("user_id", &member.user_id)?, role));
        if role == OrganizationRole::Admin {
            let (organization_id, user_id) = (member.organization_id, member.user_id);
            db::insert(tx.conn(), former_admin::Model { organization_id, user_id }).await?;
        }
    }
    organization_member::Entity::delete_many().filter(of_organization).exec(tx.conn()).await?;
    organization::Entity::update_many()
        .col_expr(organization::Column::DeletedAt, Expr::value(now.as_micros()))
        .filter(organization::Column::Id.eq(scope.id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(left)
}

/// Adds a person to the organisation.
pub async fn add_member(
    tx: &Tx,
    scope: &OrganizationScope,
    user: &UserId,
    role: OrganizationRole,
    now: Timestamp,
) -> Result<(), StoreError> {
    let model = organization_member::Model {
        organization_id: scope.id.to_string(),
        user_id: user.to_string(),
        role: role.to_string(),
        through_workspace: false,
        created_at: now.as_micros(),
    };
    db::insert(tx.conn(), model).await
}

/// Gives a member another role, from then on as a member on their own account; `false` when the person is no member.
pub async fn set_member_role(
    tx: &Tx,
    scope: &OrganizationScope,
    user: &UserId,
    role: OrganizationRole,
) -> Result<bool, StoreError> {
    let updated = organization_member::Entity::update_many()
        .col_expr(organization_member::Column::Role, Expr::value(role.as_str()))
        .col_expr(organization_member::Column::ThroughWorkspace, Expr::value(false))
        .filter(organization_member::Column::OrganizationId.eq(scope.id.as_str()))
        .filter(organization_member::Column::UserId.eq(user.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}

/// Takes a person out of the organisation, not out of its workspaces; `false` when the person is no member.
pub async fn remove_member(tx: &Tx, scope: &OrganizationScope, user: &UserId) -> Result<bool, StoreError> {
    let key = (scope.id.to_string(), user.to_string());
    let removed = organization_member::Entity::delete_by_id(key).exec(tx.conn()).await?;
    Ok(removed.rows_affected > 0)
}

/// How many people administer the organisation; service accounts, which answer nobody, do not count. To keep one, take [`lock`]
/// first.
pub async fn count_admins(db: &impl Db, scope: &OrganizationScope) -> Result<u64, StoreError> {
    let query = organization_member::Entity::find()
        .filter(organization_member::Column::UserId.in_subquery(users::people()))
        .filter(organization_member::Column::OrganizationId.eq(scope.id.as_str()))
        .filter(organization_member::Column::Role.eq(OrganizationRole::Admin.as_str()));
    Ok(query.count(db.conn()).await?)
}

/// What `user` may do in the organisation; `None` when no member.
pub async fn member_role(
    db: &impl Db,
    scope: &OrganizationScope,
    user: &UserId,
) -> Result<Option<OrganizationRole>, StoreError> {
    role_of(db, user, &scope.id).await
}

/// A person of the organisation.
pub async fn get_member(
    db: &impl Db,
    scope: &OrganizationScope,
    user: &UserId,
) -> Result<Option<OrganizationMember>, StoreError> {
    let key = (scope.id.to_string(), user.to_string());
    let Some(member) = organization_member::Entity::find_by_id(key).one(db.conn()).await? else { return Ok(None) };
    let Some(user) = users::get(db, user).await? else { return Ok(None) };
    read_member(user, &member).map(Some)
}

fn read_member(user: User, member: &organization_member::Model) -> Result<OrganizationMember, StoreError> {
    Ok(OrganizationMember { user, role: MEMBERS.parse("role", &member.role)?, created_at: time(member.created_at) })
}

/// The people of the organisation, by id.
pub async fn list_members(
    db: &impl Db,
    scope: &OrganizationScope,
    after: Option<&UserId>,
    limit: u64,
) -> Result<Vec<OrganizationMember>, StoreError> {
    let mut query =
        organization_member::Entity::find().filter(organization_member::Column::OrganizationId.eq(scope.id.as_str()));
    if let Some(after) = after {
        query = query.filter(organization_member::Column::UserId.gt(after.as_str()));
    }
    let query = query.order_by_asc(organization_member::Column::UserId).limit(capped(limit));
    let pairs = users::joined(db, query, organization_member::Column::UserId).await?;
    pairs.into_iter().map(|(member, user)| read_member(user, &member)).collect()
}

/// Makes a person who is given access to a workspace a member of its organisation, unless the person belongs to it
/// already. The membership stays until the transaction ends, whoever leaves another workspace at the time.
pub async fn join_through(tx: &Tx, scope: &WorkspaceScope, user: &UserId, now: Timestamp) -> Result<(), StoreError> {
    let model = organization_member::Model {
        organization_id: scope.organization().to_string(),
        user_id: user.to_string(),
        role: OrganizationRole::Member.to_string(),
        through_workspace: true,
        created_at: now.as_micros(),
    };
    // A membership that is there may be on its way out: whoever takes it away holds its row.
    while !db::insert_if_absent(tx.conn(), model.clone()).await? {
        if lock_member(tx, scope.organization(), user.as_str()).await?.is_some() {
            break;
        }
    }
    Ok(())
}

/// The reverse of [`join_through`]: whoever belongs to the organisation only because of workspaces leaves it with the last
/// of them. Call it after the person lost the workspace; says whether the person left.
pub async fn leave_through(tx: &Tx, scope: &WorkspaceScope, user: &UserId) -> Result<bool, StoreError> {
    leave(tx, scope.organization(), user.as_str()).await
}

/// The same for everybody who lost a workspace; says who left. `users` are in order, so that two workspaces that go at once do
/// not wait for each other.
pub(super) async fn leave_all(
    tx: &Tx,
    organization: &OrganizationId,
    users: &[UserId],
) -> Result<Vec<UserId>, StoreError> {
    let mut left = Vec::new();
    for user in users {
        if leave(tx, organization, user.as_str()).await? {
            left.push(user.clone());
        }
    }
    Ok(left)
}

async fn leave(tx: &Tx, organization: &OrganizationId, user: &str) -> Result<bool, StoreError> {
    // Before looking for other workspaces: two of them that are lost at once would each count the other.
    let member = lock_member(tx, organization, user).await?;
    if member.is_none_or(|member| !member.through_workspace) {
        return Ok(false);
    }
    let of_organization = Query::select()
        .column(workspace::Column::Id)
        .from(workspace::Entity)
        .and_where(workspace::Column::OrganizationId.eq(organization.as_str()))
        .and_where(workspace::Column::LivingName.is_not_null())
        .to_owned();
    let others = workspace_member::Entity::find()
        .filter(workspace_member::Column::UserId.eq(user))
        .filter(workspace_member::Column::WorkspaceId.in_subquery(of_organization));
    if others.count(tx.conn()).await? > 0 {
        return Ok(false);
    }
    let key = (organization.to_string(), user.to_owned());
    let deleted = organization_member::Entity::delete_by_id(key).exec(tx.conn()).await?;
    Ok(deleted.rows_affected > 0)
}

async fn lock_member(
    tx: &Tx,
    organization: &OrganizationId,
    user: &str,
) -> Result<Option<organization_member::Model>, StoreError> {
    let key = (organization.to_string(), user.to_owned());
    let row = organization_member::Entity::find_by_id(key).lock(LockType::Update).one(tx.conn()).await?;
    Ok(row)
}
