//! The activity feed: what happened, in the order in which it was committed.

use hexabase_core::ids::{EventId, OrganizationId, UserId, WorkspaceId};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement};
use serde_json::Value;

use super::column::{Table, time};
use super::db::{self, Connection, Db};
use super::organizations::OrganizationScope;
use super::workspaces::WorkspaceScope;
use super::{StoreError, Tx, capped};
use crate::entities::operations::{event, event_counter};
use crate::entities::organizations::organization_member;
use crate::entities::workspaces::workspace_member;

const TABLE: Table = Table("events");
const COUNTER: i64 = 1;
/// Events that are looked at together when old ones are forgotten.
const PURGED: u64 = 1_000;

/// Something that happened, before it has its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id.
    pub id: EventId,
    /// The organisation it concerns.
    pub organization_id: OrganizationId,
    /// The workspace it concerns; without one it is for everybody in the organisation.
    pub workspace_id: Option<WorkspaceId>,
    /// What happened.
    pub kind: String,
    /// The id of what it happened to.
    pub subject: String,
    /// More about it.
    pub data: Value,
    /// When.
    pub created_at: Timestamp,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number. Numbers become visible in order: whoever has seen one has been able to see all lower ones.
    pub seq: i64,
    /// What happened.
    pub event: NewEvent,
}

/// Notes that something happened. Written at [`Tx::commit`], so reads in the same transaction do not see it.
pub fn append(tx: &Tx, event: NewEvent) {
    tx.write_at_commit(event);
}

/// Takes numbers from the counter's row, which stays locked until the commit: that makes the order of numbers the order
/// of commits, which a sequence of the database would not.
pub(super) async fn write(tx: &Tx, events: Vec<NewEvent>) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let many = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let next = Statement::from_sql_and_values(
        tx.conn().get_database_backend(),
        "UPDATE event_counter SET last_seq = last_seq + $1 WHERE id = $2 RETURNING last_seq",
        [many.into(), COUNTER.into()],
    );
    let row = tx.conn().query_one_raw(next).await?;
    let row = row.ok_or_else(|| StoreError::Other("the counter of events is missing".into()))?;
    let last: i64 = row.try_get_by_index(0)?;
    for (seq, event) in (last - many + 1..).zip(events) {
        let model = event::Model {
            seq,
            id: event.id.to_string(),
            organization_id: event.organization_id.to_string(),
            workspace_id: event.workspace_id.as_ref().map(ToString::to_string),
            kind: event.kind,
            subject: event.subject,
            data: event.data.to_string(),
            created_at: event.created_at.as_micros(),
        };
        db::insert(tx.conn(), model).await?;
    }
    Ok(())
}

/// What happened after number `seq` that the holder of these scopes may know of: as admin everything in the
/// organisation, as member what concerns the organisation itself, and everything in each workspace.
pub async fn list_after(
    db: &impl Db,
    organizations: &[OrganizationScope],
    workspaces: &[WorkspaceScope],
    seq: i64,
    limit: u64,
) -> Result<Vec<Event>, StoreError> {
    let mut visible = Condition::any();
    for scope in organizations {
        let of = event::Column::OrganizationId.eq(scope.id().as_str());
        visible = visible.add(match scope.role() {
            OrganizationRole::Admin => Condition::all().add(of),
            OrganizationRole::Member => Condition::all().add(of).add(event::Column::WorkspaceId.is_null()),
        });
    }
    if !workspaces.is_empty() {
        let ids = workspaces.iter().map(|scope| scope.workspace().as_str());
        visible = visible.add(event::Column::WorkspaceId.is_in(ids));
    }
    if visible.is_empty() {
        return Ok(Vec::new());
    }
    let query = event::Entity::find()
        .filter(visible)
        .filter(event::Column::Seq.gt(seq))
        .order_by_asc(event::Column::Seq)
        .limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

fn read(model: event::Model) -> Result<Event, StoreError> {
    let event = NewEvent {
        id: TABLE.parse("id", &model.id)?,
        organization_id: TABLE.parse("organization_id", &model.organization_id)?,
        workspace_id: TABLE.parse_opt("workspace_id", model.workspace_id.as_deref())?,
        kind: model.kind,
        subject: model.subject,
        data: TABLE.json("data", &model.data)?,
        created_at: time(model.created_at),
    };
    Ok(Event { seq: model.seq, event })
}

/// The number of the last event of all; 0 before the first.
pub async fn last_seq(db: &impl Db) -> Result<i64, StoreError> {
    let counter = event_counter::Entity::find_by_id(COUNTER).one(db.conn()).await?;
    Ok(counter.map_or(0, |counter| counter.last_seq))
}

/// What happened after number `seq` that `user` may know of at this moment: as admin everything in the organisation, as
/// member what concerns the organisation itself, and everything in the workspaces that `user` has access to. With `only`,
/// what of that concerns this workspace.
pub async fn list_for_user(
    db: &impl Db,
    user: &UserId,
    only: Option<&WorkspaceId>,
    seq: i64,
    limit: u64,
) -> Result<Vec<Event>, StoreError> {
    let organizations = |role: OrganizationRole| {
        Query::select()
            .column(organization_member::Column::OrganizationId)
            .from(organization_member::Entity)
            .and_where(organization_member::Column::UserId.eq(user.as_str()))
            .and_where(organization_member::Column::Role.eq(role.as_str()))
            .to_owned()
    };
    let workspaces = Query::select()
        .column(workspace_member::Column::WorkspaceId)
        .from(workspace_member::Entity)
        .and_where(workspace_member::Column::UserId.eq(user.as_str()))
        .to_owned();
    let own = event::Column::OrganizationId.in_subquery(organizations(OrganizationRole::Member));
    let visible = Condition::any()
        .add(event::Column::OrganizationId.in_subquery(organizations(OrganizationRole::Admin)))
        .add(Condition::all().add(own).add(event::Column::WorkspaceId.is_null()))
        .add(event::Column::WorkspaceId.in_subquery(workspaces));
    let mut query = event::Entity::find().filter(visible).filter(event::Column::Seq.gt(seq));
    if let Some(only) = only {
        query = query.filter(event::Column::WorkspaceId.eq(only.as_str()));
    }
    let query = query.order_by_asc(event::Column::Seq).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// Forgets what happened before `before`, from the oldest event on; says how many.
pub async fn purge(tx: &Tx, before: Timestamp) -> Result<u64, StoreError> {
    let mut removed = 0;
    loop {
        // Numbers grow with time, near enough: reading by number needs no index on the moment, and ends at the first event
        // that is young enough.
        let oldest: Vec<(i64, i64)> = event::Entity::find()
            .select_only()
            .column(event::Column::Seq)
            .column(event::Column::CreatedAt)
            .order_by_asc(event::Column::Seq)
            .limit(PURGED)
            .into_tuple()
            .all(tx.conn())
            .await?;
        let over = oldest.iter().take_while(|(_, created_at)| *created_at < before.as_micros());
        let Some((last, _)) = over.last() else { return Ok(removed) };
        let deleted = event::Entity::delete_many().filter(event::Column::Seq.lte(*last)).exec(tx.conn()).await?;
        removed += deleted.rows_affected;
    }
}
