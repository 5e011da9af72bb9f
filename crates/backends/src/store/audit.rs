//! The audit log: what people changed, in chains of hashes, so that a row that is changed, removed or moved is noticed.
//!
//! What happens in an organisation stands in its chain; what a person does to their own account, in theirs.

use std::collections::BTreeMap;
use std::fmt;

use hexabase_core::audit::{AuditEntry, GENESIS, OPERATOR};
use hexabase_core::ids::{OrganizationId, UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::column::{Table, time};
use super::db::{self, Connection, Db};
use super::organizations::OrganizationScope;
use super::{Digest, StoreError, Tx, break_glass, capped};
use crate::entities::audit::{audit_chain, audit_entry};
use crate::entities::organizations::former_admin;

const TABLE: Table = Table("audit_entries");
/// What the credential of somebody who is signed in begins with.
const SESSION: &str = "session ";
/// Takes its meaning from the wildcard of a pattern that follows.
const ESCAPE: char = '|';

/// Whose chain an entry stands in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditChain {
    /// What happened in an organisation.
    Organization(OrganizationId),
    /// What a person did to their own account.
    User(UserId),
}

impl fmt::Display for AuditChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization(id) => id.fmt(f),
            Self::User(id) => id.fmt(f),
        }
    }
}

/// A change, before it has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuditEntry {
    /// Whose chain it stands in.
    pub chain: AuditChain,
    /// What is told about it.
    pub entry: AuditEntry,
}

/// A change in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in the chain, counting from 1 without gaps.
    pub seq: i64,
    /// What is told about it.
    pub entry: AuditEntry,
    /// The hash of the entry before it.
    pub previous: String,
    /// Its own hash.
    pub hash: String,
}

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHead {
    /// The place of its last entry; 0 before the first.
    pub seq: i64,
    /// The hash of its last entry.
    pub hash: String,
}

/// Proof that somebody may read the log of an organisation: of whoever belongs to it, whose role is looked at elsewhere, or of
/// an admin that it had when it was deleted. It opens nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogScope(OrganizationId);

impl LogScope {
    /// Whose log it is.
    pub fn organization(&self) -> &OrganizationId {
        &self.0
    }
}

impl From<&OrganizationScope> for LogScope {
    fn from(scope: &OrganizationScope) -> Self {
        Self(scope.id().clone())
    }
}

impl From<&LogScope> for LogScope {
    fn from(scope: &LogScope) -> Self {
        scope.clone()
    }
}

/// The scope of `user`, who administered the deleted organisation when it was deleted; `None` for everybody else.
pub async fn scope_of_former_admin(
    db: &impl Db,
    user: &UserId,
    organization: &OrganizationId,
) -> Result<Option<LogScope>, StoreError> {
    let key = (organization.to_string(), user.to_string());
    let found = former_admin::Entity::find_by_id(key).one(db.conn()).await?;
    Ok(found.map(|_| LogScope(organization.clone())))
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only by this actor.
    pub actor: Option<String>,
    /// Only this action, or every action that begins with this word and a dot.
    pub action: Option<String>,
    /// Only about this.
    pub subject: Option<String>,
    /// Only in this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Only at this moment or later.
    pub since: Option<Timestamp>,
    /// Only before this moment.
    pub until: Option<Timestamp>,
}

/// Notes a change. Written at [`Tx::commit`], so reads in the same transaction do not see it.
pub fn append(tx: &Tx, entry: NewAuditEntry) {
    tx.audit_at_commit(entry);
}

/// Writes the entries at the ends of their chains. The end of a chain is locked until the commit, chain by chain in one
/// order, so that entries follow each other without gaps and two transactions cannot wait for each other.
pub(super) async fn write(tx: &Tx, entries: Vec<NewAuditEntry>) -> Result<(), StoreError> {
    let mut by_chain: BTreeMap<AuditChain, Vec<AuditEntry>> = BTreeMap::new();
    for NewAuditEntry { chain, entry } in entries {
        by_chain.entry(chain).or_default().push(entry);
    }
    for (chain, mut entries) in by_chain {
        if let AuditChain::Organization(organization) = &chain {
            mark_break_glass(tx, organization, &mut entries).await?;
        }
        let chain = chain.to_string();
        let start = audit_chain::Model { chain: chain.clone(), last_seq: 0, last_hash: GENESIS.to_owned() };
        db::insert_if_absent(tx.conn(), start).await?;
        let end = audit_chain::Entity::find_by_id(chain.as_str()).lock(LockType::Update).one(tx.conn()).await?;
        let end = end.ok_or_else(|| StoreError::Other("the end of a chain of the audit log is missing".into()))?;
        let (mut seq, mut previous) = (end.last_seq, end.last_hash);
        for entry in entries {
            seq += 1;
            let hash = Digest::of(entry.canonical(&chain, seq, &previous)).to_string();
            db::insert(tx.conn(), model(&chain, seq, entry, previous, hash.clone())).await?;
            previous = hash;
        }
        audit_chain::Entity::update_many()
            .col_expr(audit_chain::Column::LastSeq, Expr::value(seq))
            .col_expr(audit_chain::Column::LastHash, Expr::value(previous))
            .filter(audit_chain::Column::Chain.eq(chain))
            .exec(tx.conn())
            .await?;
    }
    Ok(())
}

/// Shows what somebody did under break-glass as such. Done here, where every entry passes, so that no use case can forget it.
/// Break-glass opens nothing to a token, so that what a token did was done without it.
async fn mark_break_glass(
    tx: &Tx,
    organization: &OrganizationId,
    entries: &mut [AuditEntry],
) -> Result<(), StoreError> {
    let in_person = |entry: &&mut AuditEntry| entry.actor != OPERATOR && entry.credential.starts_with(SESSION);
    for entry in entries.iter_mut().filter(in_person) {
        if let Some(given) = break_glass::at(tx, organization.as_str(), &entry.actor, entry.at).await? {
            entry.on_behalf_of = Some(OPERATOR.to_owned());
            entry.credential = format!("{} under break-glass {}", entry.credential, given.id);
        }
    }
    Ok(())
}

fn model(chain: &str, seq: i64, entry: AuditEntry, previous: String, hash: String) -> audit_entry::Model {
    audit_entry::Model {
        chain: chain.to_owned(),
        seq,
        id: entry.id.to_string(),
        at: entry.at.as_micros(),
        actor: entry.actor,
        on_behalf_of: entry.on_behalf_of,
        credential: entry.credential,
        source: entry.source,
        request_id: entry.request_id,
        action: entry.action,
        subject: entry.subject,
        workspace_id: entry.workspace.map(String::from),
        before: entry.before.map(|value| value.to_string()),
        after: entry.after.map(|value| value.to_string()),
        previous,
        hash,
    }
}

fn read(model: audit_entry::Model) -> Result<AuditRow, StoreError> {
    let json = |column, text: Option<String>| text.map(|text| TABLE.json(column, &text)).transpose();
    Ok(AuditRow {
        seq: model.seq,
        entry: AuditEntry {
            id: TABLE.parse("id", &model.id)?,
            at: time(model.at),
            actor: model.actor,
            on_behalf_of: model.on_behalf_of,
            credential: model.credential,
            source: model.source,
            request_id: model.request_id,
            action: model.action,
            subject: model.subject,
            workspace: TABLE.parse_opt("workspace_id", model.workspace_id.as_deref())?,
            before: json("before", model.before)?,
            after: json("after", model.after)?,
        },
        previous: model.previous,
        hash: model.hash,
    })
}

/// Entries of the organisation's chain after place `seq`, oldest first.
pub async fn list(
    db: &impl Db,
    scope: impl Into<LogScope>,
    filter: &AuditFilter,
    seq: i64,
    limit: u64,
) -> Result<Vec<AuditRow>, StoreError> {
    page(db, scope.into().0.as_str(), filter, seq, limit).await
}

/// Entries of the person's own chain after place `seq`, oldest first.
pub async fn list_of_user(db: &impl Db, user: &UserId, seq: i64, limit: u64) -> Result<Vec<AuditRow>, StoreError> {
    page(db, &user.to_string(), &AuditFilter::default(), seq, limit).await
}

async fn page(
    db: &impl Db,
    chain: &str,
    filter: &AuditFilter,
    seq: i64,
    limit: u64,
) -> Result<Vec<AuditRow>, StoreError> {
    let mut query = audit_entry::Entity::find()
        .filter(audit_entry::Column::Chain.eq(chain))
        .filter(audit_entry::Column::Seq.gt(seq));
    if let Some(actor) = &filter.actor {
        query = query.filter(audit_entry::Column::Actor.eq(actor.as_str()));
    }
    if let Some(action) = &filter.action {
        let below = LikeExpr::new(format!("{}.%", literal(action))).escape(ESCAPE);
        query =
            query.filter(audit_entry::Column::Action.eq(action.as_str()).or(audit_entry::Column::Action.like(below)));
    }
    if let Some(subject) = &filter.subject {
        query = query.filter(audit_entry::Column::Subject.eq(subject.as_str()));
    }
    if let Some(workspace) = &filter.workspace {
        query = query.filter(audit_entry::Column::WorkspaceId.eq(workspace.as_str()));
    }
    if let Some(since) = filter.since {
        query = query.filter(audit_entry::Column::At.gte(since.as_micros()));
    }
    if let Some(until) = filter.until {
        query = query.filter(audit_entry::Column::At.lt(until.as_micros()));
    }
    let query = query.order_by_asc(audit_entry::Column::Seq).limit(capped(limit));
    query.all(db.conn()).await?.into_iter().map(read).collect()
}

/// The text as a pattern of LIKE that means just that.
fn literal(text: &str) -> String {
    let escaped = |letter: char| [ESCAPE, '%', '_'].contains(&letter).then_some(ESCAPE).into_iter().chain([letter]);
    text.chars().flat_map(escaped).collect()
}

/// Where the organisation's chain ends.
pub async fn head(db: &impl Db, scope: impl Into<LogScope>) -> Result<ChainHead, StoreError> {
    let found = audit_chain::Entity::find_by_id(scope.into().0.as_str()).one(db.conn()).await?;
    Ok(match found {
        Some(end) => ChainHead { seq: end.last_seq, hash: end.last_hash },
        None => ChainHead { seq: 0, hash: GENESIS.to_owned() },
    })
}
