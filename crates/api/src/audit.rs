//! The audit log.

use hexabase_core::audit::AuditEntry;
use hexabase_core::ids::{AuditEntryId, WorkspaceId};
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// One change: who did what to what, from where, and its place in the chain of hashes. One line of an export.
///
/// The hash is the SHA-256 of the chain, the place, the hash before and every other field, in the form of `hxb audit verify`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditRecord {
    /// Whose log it is: the id of an organisation, or of a person for their own account.
    pub chain: String,
    /// Its place, counting from 1 without gaps.
    pub seq: i64,
    /// The hash of the record before it; zeros before the first.
    pub previous: String,
    /// Its own hash.
    pub hash: String,
    /// Opaque id.
    #[schema(value_type = String)]
    pub id: AuditEntryId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who: the id of a person or service account, `operator`, or `system`.
    pub actor: String,
    /// For whom, where that is somebody else: `operator` for staff of the platform under break-glass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// By what the actor was known.
    #[schema(example = "session ses-01ja2m4qk8v5x3c7d9ef")]
    pub credential: String,
    /// The address the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The request.
    pub request_id: String,
    /// What was done.
    #[schema(example = "workspace.created")]
    pub action: String,
    /// The id of what it was done to.
    pub subject: String,
    /// The workspace it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workspace: Option<WorkspaceId>,
    /// How it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// How it is after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

impl AuditRecord {
    /// `entry` at its place in a chain.
    pub fn new(chain: String, seq: i64, previous: String, hash: String, entry: AuditEntry) -> Self {
        let AuditEntry {
            id,
            at,
            actor,
            on_behalf_of,
            credential,
            source,
            request_id,
            action,
            subject,
            workspace,
            before,
            after,
        } = entry;
        Self {
            chain,
            seq,
            previous,
            hash,
            id,
            at,
            actor,
            on_behalf_of,
            credential,
            source,
            request_id,
            action,
            subject,
            workspace,
            before,
            after,
        }
    }

    /// What is told about the change, without its place.
    pub fn entry(&self) -> AuditEntry {
        AuditEntry {
            id: self.id.clone(),
            at: self.at,
            actor: self.actor.clone(),
            on_behalf_of: self.on_behalf_of.clone(),
            credential: self.credential.clone(),
            source: self.source.clone(),
            request_id: self.request_id.clone(),
            action: self.action.clone(),
            subject: self.subject.clone(),
            workspace: self.workspace.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
        }
    }
}

/// Where a log ends. Written down somewhere else, it proves later that nothing before it was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    /// Whose log it is.
    pub chain: String,
    /// The place of its last record; 0 before the first.
    pub seq: i64,
    /// The hash of its last record.
    pub hash: String,
}

/// Which part of an organisation's log is wanted; every condition narrows it.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only what this one did.
    pub actor: Option<String>,
    /// Only this action, such as `member.added`, or every action that begins with this word and a dot, such as `member`.
    pub action: Option<String>,
    /// Only what was done to this.
    pub subject: Option<String>,
    /// Only what concerns this workspace.
    pub workspace: Option<String>,
    /// Only what happened at this moment or later.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Only what happened before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Most records wanted, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}
