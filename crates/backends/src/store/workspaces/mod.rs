//! Workspaces, and the scope through which their rows are read.

mod changes;
mod nodes;
mod scope;
mod sleep;

use hexabase_core::ids::{OrganizationId, UserId, WorkspaceId};
use hexabase_core::names::WorkspaceName;
use hexabase_core::nodes::NodeClass;
use hexabase_core::phases::{WorkspacePhase, WorkspaceStep};
use hexabase_core::plans::{PlanId, PlanVersion, PlanWish};
use hexabase_core::quota::Amounts;
use hexabase_core::roles::OrganizationRole;
use hexabase_core::sleep::SleepRule;
use hexabase_core::time::Timestamp;
use hexabase_core::words;
use sea_orm::sea_query::{Query, SelectStatement};
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use serde_json::Value;

pub use self::changes::{
    Departed, NewWorkspace, insert, lock, lock_under_plan, note_inventory, note_move, note_receipt, note_used,
    refuse_plan_wish, request_deletion, set_deleted, set_plan, set_plan_wish, set_progress, set_ready,
};
pub use self::nodes::{note_moving, note_nodes_message, set_placed, want_nodes};
pub use self::scope::{WorkspaceScope, scope_by_break_glass, scope_for, scope_for_name};
pub use self::sleep::{
    begin_removal, note_use, request_deletion_at, request_sleep, request_sleep_unless_used, request_wake,
    set_sleep_rule, set_stopped, undo_deletion,
};
use super::column::{Table, time, time_opt};
use super::db::Db;
use super::organizations::OrganizationScope;
use super::plans::PlanKey;
use super::{StoreError, capped};
use crate::entities::organizations::organization_member;
use crate::entities::workspaces::{workspace, workspace_member};

const TABLE: Table = Table("workspaces");

words! {
    /// What the owner wants of a workspace.
    Desired, "desired state" {
        /// That it is there.
        Present = "present",
        /// That it is there and does not run.
        Asleep = "asleep",
        /// That nothing of it is left.
        Absent = "absent",
    }
}

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// The organisation that owns it.
    pub organization_id: OrganizationId,
    /// Its name, unique among the organisation's living workspaces.
    pub name: WorkspaceName,
    /// Its plan.
    pub plan_id: PlanId,
    /// The version of the plan that it came under, and keeps.
    pub plan_version: PlanVersion,
    /// Where it stands.
    pub phase: WorkspacePhase,
    /// The step it is at, while it is being made or removed.
    pub step: Option<WorkspaceStep>,
    /// What a person should know about the step.
    pub message: Option<String>,
    /// What the owner wants.
    pub desired: Desired,
    /// Who made it.
    pub created_by: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its row last changed.
    pub updated_at: Timestamp,
    /// When it was first usable.
    pub ready_at: Option<Timestamp>,
    /// When its deletion was asked for.
    pub deleting_at: Option<Timestamp>,
    /// When nothing of it was left.
    pub deleted_at: Option<Timestamp>,
    /// Where its API server is.
    pub endpoint: Option<String>,
    /// The certificate authority of its API server, PEM.
    pub ca_pem: Option<String>,
    /// What it had on the host when it was ready; of one that is deleted what was removed, and what was found left.
    pub receipt: Option<Value>,
    /// Counts the changes of the row; for ETags.
    pub version: i64,
    /// Since when the owner wants what is wanted now, where that has changed since it was made.
    pub desired_since: Option<Timestamp>,
    /// When somebody last used its API server, to the minute; noted only while its rule asks for that.
    pub last_used_at: Option<Timestamp>,
    /// When it sleeps by itself; never when absent.
    pub sleep_rule: Option<SleepRule>,
    /// Since when that rule holds.
    pub sleep_rule_at: Option<Timestamp>,
    /// Until when its deletion can be undone, if it was asked for with time for that.
    pub removal_at: Option<Timestamp>,
    /// When a project of it was last moved: roles that were given where it stood ended in it then.
    pub moved_at: Option<Timestamp>,
    /// What was used in it, in projects and outside of them, when the host was last asked; `None` before that, also each time that
    /// it was woken, and since it could not be asked.
    pub used: Option<Amounts>,
    /// How many nodes of its own it is to have.
    pub nodes_wanted: u32,
    /// Since when, or since its pods last began to move.
    pub nodes_since: Option<Timestamp>,
    /// On which nodes new pods of it are put.
    pub placed: NodeClass,
    /// What keeps it from being where it is to be.
    pub nodes_message: Option<String>,
    /// Another plan that it is to come under, or that it could not come under when that was last asked for.
    pub plan_wish: Option<PlanWish>,
}

impl Workspace {
    /// The plan that it is to come under, if another one was asked for and neither had nor refused yet.
    pub fn wanted_plan(&self) -> Option<&PlanWish> {
        self.plan_wish.as_ref().filter(|wish| wish.refused.is_none())
    }

    /// Since when it has been wanted as it is wanted now, by the rule that holds now: what a rule says about time counts from
    /// here.
    pub fn settled_since(&self) -> Timestamp {
        let since = self.desired_since.unwrap_or(self.created_at);
        since.max(self.sleep_rule_at.unwrap_or(since)).max(self.ready_at.unwrap_or(since))
    }
}

fn read(model: workspace::Model) -> Result<Workspace, StoreError> {
    Ok(Workspace {
        id: TABLE.parse("id", &model.id)?,
        organization_id: TABLE.parse("organization_id", &model.organization_id)?,
        name: TABLE.parse("name", &model.name)?,
        plan_id: model.plan_id,
        plan_version: TABLE.number("plan_version", model.plan_version)?,
        phase: TABLE.parse("phase", &model.phase)?,
        step: TABLE.parse_opt("step", model.step.as_deref())?,
        message: model.message,
        desired: TABLE.parse("desired", &model.desired)?,
        created_by: TABLE.parse("created_by", &model.created_by)?,
        created_at: time(model.created_at),
        updated_at: time(model.updated_at),
        ready_at: time_opt(model.ready_at),
        deleting_at: time_opt(model.deleting_at),
        deleted_at: time_opt(model.deleted_at),
        endpoint: model.endpoint,
        ca_pem: model.ca_pem,
        receipt: model.receipt.map(|text| TABLE.json("receipt", &text)).transpose()?,
        version: model.version,
        desired_since: time_opt(model.desired_since),
        last_used_at: time_opt(model.last_used_at),
        sleep_rule: TABLE.parse_opt("sleep_rule", model.sleep_rule.as_deref())?,
        sleep_rule_at: time_opt(model.sleep_rule_at),
        removal_at: time_opt(model.removal_at),
        moved_at: time_opt(model.moved_at),
        used: model.used.as_deref().map(|text| TABLE.object("used", text)).transpose()?,
        nodes_wanted: TABLE.number("nodes_wanted", model.nodes_wanted)?,
        nodes_since: time_opt(model.nodes_since),
        placed: TABLE.parse("placed", &model.placed)?,
        nodes_message: model.nodes_message,
        plan_wish: model.plan_wish.as_deref().map(|text| TABLE.object("plan_wish", text)).transpose()?,
    })
}

/// The workspace of the scope, deleted or not.
pub async fn get(db: &impl Db, scope: &WorkspaceScope) -> Result<Option<Workspace>, StoreError> {
    load(db, scope.workspace()).await
}

/// The workspace with this id, for the job that works on it: jobs have no person whose scope they could use.
pub async fn load_for_job(db: &impl Db, id: &WorkspaceId) -> Result<Option<Workspace>, StoreError> {
    load(db, id).await
}

/// The workspace with this id, for its token issuer, which is public, and for the gateway, before a person is known.
pub async fn load_for_issuer(db: &impl Db, id: &WorkspaceId) -> Result<Option<Workspace>, StoreError> {
    load(db, id).await
}

async fn load(db: &impl Db, id: &WorkspaceId) -> Result<Option<Workspace>, StoreError> {
    workspace::Entity::find_by_id(id.as_str()).one(db.conn()).await?.map(read).transpose()
}

fn living() -> Select<workspace::Entity> {
    workspace::Entity::find().filter(workspace::Column::LivingName.is_not_null())
}

fn workspaces_of_member(user: &UserId) -> SelectStatement {
    Query::select()
        .column(workspace_member::Column::WorkspaceId)
        .from(workspace_member::Entity)
        .and_where(workspace_member::Column::UserId.eq(user.as_str()))
        .to_owned()
}

fn organizations_of_admin(user: &UserId) -> SelectStatement {
    Query::select()
        .column(organization_member::Column::OrganizationId)
        .from(organization_member::Entity)
        .and_where(organization_member::Column::UserId.eq(user.as_str()))
        .and_where(organization_member::Column::Role.eq(OrganizationRole::Admin.as_str()))
        .to_owned()
}

async fn page(
    db: &impl Db,
    mut query: Select<workspace::Entity>,
    after: Option<&WorkspaceId>,
    limit: u64,
) -> Result<Vec<Workspace>, StoreError> {
    if let Some(after) = after {
        query = query.filter(workspace::Column::Id.gt(after.as_str()));
    }
    let query = query.order_by_asc(workspace::Column::Id).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// The organisation's living workspaces: all of them for an admin, else those that the person is a member of.
pub async fn list(
    db: &impl Db,
    scope: &OrganizationScope,
    after: Option<&WorkspaceId>,
    limit: u64,
) -> Result<Vec<Workspace>, StoreError> {
    let mut query = living().filter(workspace::Column::OrganizationId.eq(scope.id().as_str()));
    if scope.role() != OrganizationRole::Admin {
        query = query.filter(workspace::Column::Id.in_subquery(workspaces_of_member(scope.user())));
    }
    page(db, query, after, limit).await
}

/// The living workspaces that `user` is a member of, or an admin of the organisation of; with `name` only those called
/// exactly so.
pub async fn list_for_user(
    db: &impl Db,
    user: &UserId,
    name: Option<&str>,
    after: Option<&WorkspaceId>,
    limit: u64,
) -> Result<Vec<Workspace>, StoreError> {
    let mine = Condition::any()
        .add(workspace::Column::Id.in_subquery(workspaces_of_member(user)))
        .add(workspace::Column::OrganizationId.in_subquery(organizations_of_admin(user)));
    let mut query = living().filter(mine);
    if let Some(name) = name {
        query = query.filter(workspace::Column::LivingName.eq(name));
    }
    page(db, query, after, limit).await
}

/// Ids of the organisation's workspaces, deleted or not, of which `user` is a member, in order.
pub async fn ids_of_member(
    db: &impl Db,
    scope: &OrganizationScope,
    user: &UserId,
) -> Result<Vec<WorkspaceId>, StoreError> {
    let query = workspace::Entity::find()
        .filter(workspace::Column::OrganizationId.eq(scope.id().as_str()))
        .filter(workspace::Column::Id.in_subquery(workspaces_of_member(user)))
        .select_only()
        .column(workspace::Column::Id)
        .order_by_asc(workspace::Column::Id)
        .into_tuple::<String>();
    query.all(db.conn()).await?.iter().map(|id| TABLE.parse("id", id)).collect()
}

/// How many living workspaces the organisation has under a plan. To hold a limit, take
/// [`organizations::lock`](super::organizations::lock) first.
pub async fn count_living(db: &impl Db, scope: &OrganizationScope, plan: &str) -> Result<u64, StoreError> {
    let query = living()
        .filter(workspace::Column::OrganizationId.eq(scope.id().as_str()))
        .filter(workspace::Column::PlanId.eq(plan));
    Ok(query.count(db.conn()).await?)
}

/// A living workspace, and what it is under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderPlan {
    /// The workspace.
    pub id: WorkspaceId,
    /// Its name.
    pub name: WorkspaceName,
    /// The version of the plan.
    pub plan: PlanKey,
}

/// All living workspaces of the organisation, each with its plan. To hold a quota, take
/// [`organizations::lock`](super::organizations::lock) first.
pub async fn under_plans(db: &impl Db, scope: &OrganizationScope) -> Result<Vec<UnderPlan>, StoreError> {
    under_plans_for_operator(db, scope.id()).await
}

/// The same for an operator, who belongs to no organisation.
pub async fn under_plans_for_operator(
    db: &impl Db,
    organization: &OrganizationId,
) -> Result<Vec<UnderPlan>, StoreError> {
    // Not cut off at a page: what is left out would not be counted.
    let query = living().filter(workspace::Column::OrganizationId.eq(organization.as_str()));
    let rows = query.order_by_asc(workspace::Column::Id).all(db.conn()).await?;
    let under = |row: Workspace| UnderPlan { id: row.id, name: row.name, plan: (row.plan_id, row.plan_version) };
    rows.into_iter().map(|model| read(model).map(under)).collect()
}

/// How many living workspaces the organisation has under each version of each plan.
pub async fn count_by_plan(db: &impl Db, scope: &OrganizationScope) -> Result<Vec<(PlanKey, u64)>, StoreError> {
    let query = living().filter(workspace::Column::OrganizationId.eq(scope.id().as_str()));
    counted_by_plan(db, query).await
}

/// The same over all organisations, for operators.
pub async fn count_by_plan_for_operator(db: &impl Db) -> Result<Vec<(PlanKey, u64)>, StoreError> {
    counted_by_plan(db, living()).await
}

async fn counted_by_plan(db: &impl Db, query: Select<workspace::Entity>) -> Result<Vec<(PlanKey, u64)>, StoreError> {
    let query = query
        .select_only()
        .column(workspace::Column::PlanId)
        .column(workspace::Column::PlanVersion)
        .column_as(workspace::Column::Id.count(), "workspaces")
        .group_by(workspace::Column::PlanId)
        .group_by(workspace::Column::PlanVersion)
        .order_by_asc(workspace::Column::PlanId)
        .order_by_asc(workspace::Column::PlanVersion)
        .into_tuple::<(String, i64, i64)>();
    let read = |(plan, version, count): (String, i64, i64)| {
        Ok(((plan, TABLE.number("plan_version", version)?), TABLE.number("id", count)?))
    };
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// Ids of the workspaces of which something may be on the host, for the sweep that looks at all of them.
pub async fn list_ids_for_sweep(
    db: &impl Db,
    after: Option<&WorkspaceId>,
    limit: u64,
) -> Result<Vec<WorkspaceId>, StoreError> {
    let mut query = living();
    if let Some(after) = after {
        query = query.filter(workspace::Column::Id.gt(after.as_str()));
    }
    let query = query
        .select_only()
        .column(workspace::Column::Id)
        .order_by_asc(workspace::Column::Id)
        .limit(capped(limit))
        .into_tuple::<String>();
    query.all(db.conn()).await?.iter().map(|id| TABLE.parse("id", id)).collect()
}

/// Whether a workspace has begun to come to life or to wake after `since`, which others may wait for.
pub async fn any_starting_for_job(db: &impl Db, since: Timestamp) -> Result<bool, StoreError> {
    let starting = [WorkspacePhase::Creating.as_str(), WorkspacePhase::Waking.as_str()];
    let since = since.as_micros();
    let first =
        Condition::all().add(workspace::Column::DesiredSince.is_null()).add(workspace::Column::CreatedAt.gt(since));
    let begun = Condition::any().add(workspace::Column::DesiredSince.gt(since)).add(first);
    let query = living().filter(workspace::Column::Phase.is_in(starting)).filter(begun);
    Ok(query.one(db.conn()).await?.is_some())
}
