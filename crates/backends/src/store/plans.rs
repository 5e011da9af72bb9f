//! Plans and their versions. What a version says never changes; a plan names the one that new workspaces get.

use std::collections::HashMap;

use hexabase_core::plans::{Limits, Plan, PlanId, PlanVersion, Price};
use hexabase_core::quantity::{Bytes, Cpu};
use hexabase_core::quota::Amounts;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::column::{Table, micros_opt, signed, time_opt};
use super::db::{self, Connection, Db};
use super::{MAX_PAGE, StoreError, Tx};
use crate::entities::installation::{plan, plan_version};

const TABLE: Table = Table("plans");
const VERSIONS: Table = Table("plan_versions");

/// A plan, and who of the operators did what with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRecord {
    /// The plan in its newest version.
    pub plan: Plan,
    /// Who made this version, and when; nobody, for the plans of a new installation.
    pub made: Option<(String, Timestamp)>,
    /// Who retired the plan, and when.
    pub retired: Option<(String, Timestamp)>,
}

fn read(plan: &plan::Model, version: plan_version::Model) -> Result<Plan, StoreError> {
    let number = |column, number| VERSIONS.number::<i64, u32>(column, number);
    Ok(Plan {
        limits: Limits {
            amounts: Amounts {
                cpu: Cpu::from_millis(VERSIONS.number("cpu_millis", version.cpu_millis)?),
                memory: Bytes::new(VERSIONS.number("memory_bytes", version.memory_bytes)?),
                storage: Bytes::new(VERSIONS.number("storage_bytes", version.storage_bytes)?),
                pods: number("pods", version.pods)?,
                services: number("services", version.services)?,
                load_balancers: number("load_balancers", version.load_balancers)?,
                persistent_volume_claims: number("persistent_volume_claims", version.persistent_volume_claims)?,
                objects: number("objects", version.objects)?,
            },
            projects: number("projects", version.projects)?,
            members: number("members", version.members)?,
            workspaces: number("workspaces", version.workspaces)?,
        },
        price: Price { amount_minor: version.price_minor, currency: version.currency },
        id: version.plan_id,
        version: number("version", version.version)?,
        display_name: version.display_name,
        max_nodes: number("max_nodes", version.max_nodes)?,
        kubernetes: VERSIONS.parse_opt("kubernetes", version.kubernetes.as_deref())?,
        sleep_after_minutes: version
            .sleep_after_minutes
            .map(|minutes| number("sleep_after_minutes", minutes))
            .transpose()?,
        store: VERSIONS.parse("store", &version.store)?,
        active: plan.active,
        display_order: plan.display_order,
    })
}

fn in_order() -> Select<plan::Entity> {
    plan::Entity::find().order_by_asc(plan::Column::DisplayOrder).order_by_asc(plan::Column::Id).limit(MAX_PAGE)
}

/// Each of these plans with its newest version.
async fn newest(db: &impl Db, plans: Vec<plan::Model>) -> Result<Vec<(plan::Model, plan_version::Model)>, StoreError> {
    let ids = plans.iter().map(|plan| plan.id.as_str());
    let versions = plan_version::Entity::find().filter(plan_version::Column::PlanId.is_in(ids)).all(db.conn()).await?;
    let mut versions: HashMap<(String, i64), plan_version::Model> =
        versions.into_iter().map(|version| ((version.plan_id.clone(), version.version), version)).collect();
    let with_version = |plan: plan::Model| {
        let version = versions.remove(&(plan.id.clone(), plan.version)).ok_or(StoreError::MissingReference)?;
        Ok((plan, version))
    };
    plans.into_iter().map(with_version).collect()
}

/// The plans that new workspaces may choose, each in its newest version, in the order in which people see them.
pub async fn list_active(db: &impl Db) -> Result<Vec<Plan>, StoreError> {
    let plans = in_order().filter(plan::Column::Active.eq(true)).all(db.conn()).await?;
    newest(db, plans).await?.into_iter().map(|(plan, version)| read(&plan, version)).collect()
}

/// All plans, for operators.
pub async fn list_for_operator(db: &impl Db) -> Result<Vec<PlanRecord>, StoreError> {
    let plans = in_order().all(db.conn()).await?;
    let record = |(plan, version): (plan::Model, plan_version::Model)| {
        let made = version.made_by.clone().zip(time_opt(version.made_at));
        let retired = plan.retired_by.clone().zip(time_opt(plan.retired_at));
        Ok(PlanRecord { plan: read(&plan, version)?, made, retired })
    };
    newest(db, plans).await?.into_iter().map(record).collect()
}

/// The plan with this id in its newest version, active or not.
pub async fn get(db: &impl Db, id: &str) -> Result<Option<Plan>, StoreError> {
    let Some(plan) = plan::Entity::find_by_id(id).one(db.conn()).await? else { return Ok(None) };
    let version = newest(db, vec![plan]).await?.pop();
    version.map(|(plan, version)| read(&plan, version)).transpose()
}

/// A version of a plan, active or not: what a workspace that came under it may use.
pub async fn get_version(db: &impl Db, id: &str, version: PlanVersion) -> Result<Option<Plan>, StoreError> {
    let key = (id.to_owned(), i64::from(version));
    let Some(version) = plan_version::Entity::find_by_id(key).one(db.conn()).await? else { return Ok(None) };
    let plan = plan::Entity::find_by_id(id).one(db.conn()).await?;
    plan.map(|plan| read(&plan, version)).transpose()
}

/// Lets no other operator change the plan until the transaction ends; says which version is its newest.
pub async fn lock_for_operator(tx: &Tx, id: &str) -> Result<Option<PlanVersion>, StoreError> {
    let found = plan::Entity::find_by_id(id).lock(LockType::NoKeyUpdate).one(tx.conn()).await?;
    found.map(|plan| TABLE.number("version", plan.version)).transpose()
}

/// Adds a plan unless there is one with its id, which then stays as it is; says whether it did.
pub async fn insert_if_absent(tx: &Tx, plan: &Plan, made: Option<(&str, Timestamp)>) -> Result<bool, StoreError> {
    let model = plan::Model {
        id: plan.id.clone(),
        active: plan.active,
        display_order: plan.display_order,
        version: plan.version.into(),
        retired_by: None,
        retired_at: None,
    };
    let added = db::insert_if_absent(tx.conn(), model).await?;
    if added {
        insert_version(tx, plan, made).await?;
    }
    Ok(added)
}

/// Adds a version to a plan: from now on new workspaces get that one. Take [`lock_for_operator`] first.
pub async fn add_version(tx: &Tx, plan: &Plan, by: &str, now: Timestamp) -> Result<(), StoreError> {
    insert_version(tx, plan, Some((by, now))).await?;
    plan::Entity::update_many()
        .col_expr(plan::Column::Version, Expr::value(i64::from(plan.version)))
        .col_expr(plan::Column::DisplayOrder, Expr::value(plan.display_order))
        .filter(plan::Column::Id.eq(plan.id.as_str()))
        .exec(tx.conn())
        .await?;
    Ok(())
}

async fn insert_version(tx: &Tx, plan: &Plan, made: Option<(&str, Timestamp)>) -> Result<(), StoreError> {
    // Taken apart so that a new limit does not compile until it has a column.
    let Limits { amounts, projects, members, workspaces } = plan.limits.clone();
    let Amounts { cpu, memory, storage, pods, services, load_balancers, persistent_volume_claims, objects } = amounts;
    let model = plan_version::Model {
        plan_id: plan.id.clone(),
        version: plan.version.into(),
        display_name: plan.display_name.clone(),
        cpu_millis: signed(cpu.as_millis()),
        memory_bytes: signed(memory.get()),
        storage_bytes: signed(storage.get()),
        pods: pods.into(),
        services: services.into(),
        load_balancers: load_balancers.into(),
        persistent_volume_claims: persistent_volume_claims.into(),
        objects: objects.into(),
        projects: projects.into(),
        members: members.into(),
        workspaces: workspaces.into(),
        price_minor: plan.price.amount_minor,
        currency: plan.price.currency.clone(),
        max_nodes: plan.max_nodes.into(),
        kubernetes: plan.kubernetes.map(|version| version.to_string()),
        sleep_after_minutes: plan.sleep_after_minutes.map(Into::into),
        store: plan.store.to_string(),
        made_by: made.map(|(by, _)| by.to_owned()),
        made_at: micros_opt(made.map(|(_, at)| at)),
    };
    db::insert(tx.conn(), model).await
}

/// Retires a plan, which new workspaces then cannot choose, or offers it again (`by` absent); `false` when there is none, or it
/// was so before.
pub async fn set_retired(tx: &Tx, id: &str, by: Option<&str>, now: Timestamp) -> Result<bool, StoreError> {
    let updated = plan::Entity::update_many()
        .col_expr(plan::Column::Active, Expr::value(by.is_none()))
        .col_expr(plan::Column::RetiredBy, Expr::value(by.map(str::to_owned)))
        .col_expr(plan::Column::RetiredAt, Expr::value(by.map(|_| now.as_micros())))
        .filter(plan::Column::Id.eq(id))
        .filter(plan::Column::Active.eq(by.is_some()))
        .exec(tx.conn())
        .await?;
    Ok(updated.rows_affected > 0)
}

/// A plan's id and one of its versions.
pub type PlanKey = (PlanId, PlanVersion);
