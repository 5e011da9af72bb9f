//! Plans.

use hexabase_core::plans::{Limits, Plan, Price};
use hexabase_core::quantity::{Bytes, Cpu};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::column::{Table, signed};
use super::db::{self, Connection, Db};
use super::{MAX_PAGE, StoreError, Tx};
use crate::entities::installation::plan;

const TABLE: Table = Table("plans");

fn read(model: plan::Model) -> Result<Plan, StoreError> {
    Ok(Plan {
        limits: Limits {
            cpu: Cpu::from_millis(TABLE.number("cpu_millis", model.cpu_millis)?),
            memory: Bytes::new(TABLE.number("memory_bytes", model.memory_bytes)?),
            storage: Bytes::new(TABLE.number("storage_bytes", model.storage_bytes)?),
            pods: TABLE.number("pods", model.pods)?,
            projects: TABLE.number("projects", model.projects)?,
            members: TABLE.number("members", model.members)?,
            workspaces: TABLE.number("workspaces", model.workspaces)?,
        },
        price: Price { amount_minor: model.price_minor, currency: model.currency },
        id: model.id,
        display_name: model.display_name,
        dedicated_nodes: model.dedicated_nodes,
        active: model.active,
        display_order: model.display_order,
    })
}

/// The plans that new workspaces may choose, in the order in which people see them.
pub async fn list_active(db: &impl Db) -> Result<Vec<Plan>, StoreError> {
    let query = plan::Entity::find()
        .filter(plan::Column::Active.eq(true))
        .order_by_asc(plan::Column::DisplayOrder)
        .order_by_asc(plan::Column::Id)
        .limit(MAX_PAGE);
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// The plan with this id, active or not.
pub async fn get(db: &impl Db, id: &str) -> Result<Option<Plan>, StoreError> {
    plan::Entity::find_by_id(id).one(db.conn()).await?.map(read).transpose()
}

/// Adds a plan unless there is one with its id, which then stays as it is; says whether it did.
pub async fn insert_if_absent(tx: &Tx, plan: &Plan) -> Result<bool, StoreError> {
    // Taken apart so that a new limit does not compile until it has a column.
    let Limits { cpu, memory, storage, pods, projects, members, workspaces } = plan.limits.clone();
    let model = plan::Model {
        id: plan.id.clone(),
        display_name: plan.display_name.clone(),
        cpu_millis: signed(cpu.as_millis()),
        memory_bytes: signed(memory.get()),
        storage_bytes: signed(storage.get()),
        pods: pods.into(),
        projects: projects.into(),
        members: members.into(),
        workspaces: workspaces.into(),
        price_minor: plan.price.amount_minor,
        currency: plan.price.currency.clone(),
        dedicated_nodes: plan.dedicated_nodes,
        active: plan.active,
        display_order: plan.display_order,
    };
    db::insert_if_absent(tx.conn(), model).await
}
