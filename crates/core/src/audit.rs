//! The audit log's chain: what is hashed, in which form, so that a server that writes it and somebody who checks an export
//! of it years later come to the same bytes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{AuditEntryId, WorkspaceId};
use crate::time::Timestamp;

/// The hash before the first entry of a chain, as text.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Who runs the platform: the actor of what was done at its own machines, and those on whose behalf its staff acts under
/// break-glass.
pub const OPERATOR: &str = "operator";

/// One change: who did what to what, from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditEntryId,
    /// When.
    pub at: Timestamp,
    /// Who: the id of a person or service account, [`OPERATOR`], or `system`.
    pub actor: String,
    /// For whom the actor did it, where that is somebody else.
    pub on_behalf_of: Option<String>,
    /// By what the actor was known: `session ses-…`, `token tok-…`, `sign-in`, an account of the operating system, or `system`.
    /// Under break-glass its id follows.
    pub credential: String,
    /// The address the request came from.
    pub source: Option<String>,
    /// The request.
    pub request_id: String,
    /// What was done, such as `workspace.created`.
    pub action: String,
    /// The id of what it was done to.
    pub subject: String,
    /// The workspace it concerns.
    pub workspace: Option<WorkspaceId>,
    /// How it was before, without secrets.
    pub before: Option<Value>,
    /// How it is after, without secrets.
    pub after: Option<Value>,
}

impl AuditEntry {
    /// The bytes whose SHA-256 is the entry's hash: the chain, the place in it, the hash before, then every field, each with
    /// its length before it, so that no two entries have the same bytes. JSON is written with sorted members and no spaces.
    pub fn canonical(&self, chain: &str, sequence: i64, previous: &str) -> Vec<u8> {
        let Self {
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
        } = self;
        let (sequence, at) = (sequence.to_string(), at.as_micros().to_string());
        // On the wire null and absent are one.
        let text = |value: &Option<Value>| value.as_ref().filter(|value| !value.is_null()).map(canonical_json);
        let (before, after) = (text(before), text(after));
        let fields = [
            Some(chain),
            Some(&sequence),
            Some(previous),
            Some(id.as_str()),
            Some(&at),
            Some(actor),
            on_behalf_of.as_deref(),
            Some(credential),
            source.as_deref(),
            Some(request_id),
            Some(action),
            Some(subject),
            workspace.as_ref().map(WorkspaceId::as_str),
            before.as_deref(),
            after.as_deref(),
        ];
        let mut bytes = Vec::new();
        for field in fields {
            match field {
                // A length that no text has: absent is not empty.
                None => bytes.extend_from_slice(&u64::MAX.to_be_bytes()),
                Some(text) => {
                    bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
        }
        bytes
    }
}

/// The value as JSON with sorted members and no spaces, whatever order a map keeps.
fn canonical_json(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            let members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical_json(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical_json).collect();
            format!("[{}]", items.join(","))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> AuditEntry {
        AuditEntry {
            id: "aud-00000000000000000000".parse().unwrap(),
            at: Timestamp::from_micros(7),
            actor: "usr-00000000000000000000".to_owned(),
            on_behalf_of: None,
            credential: "sign-in".to_owned(),
            source: None,
            request_id: "req-00000000000000000000".to_owned(),
            action: "organization.created".to_owned(),
            subject: "org-00000000000000000000".to_owned(),
            workspace: None,
            before: None,
            after: Some(json!({ "b": [1, { "d": 2, "c": null }], "a": "x\"y" })),
        }
    }

    #[test]
    fn json_is_written_in_one_way_only() {
        assert_eq!(canonical_json(&entry().after.unwrap()), r#"{"a":"x\"y","b":[1,{"c":null,"d":2}]}"#);
    }

    #[test]
    fn every_field_counts_and_absent_is_not_empty() {
        let bytes = |entry: &AuditEntry| entry.canonical("org-1", 1, GENESIS);
        let plain = bytes(&entry());
        let changed = [
            AuditEntry { at: Timestamp::from_micros(8), ..entry() },
            AuditEntry { actor: "system".to_owned(), ..entry() },
            AuditEntry { on_behalf_of: Some(String::new()), ..entry() },
            AuditEntry { credential: "system".to_owned(), ..entry() },
            AuditEntry { source: Some(String::new()), ..entry() },
            AuditEntry { request_id: String::new(), ..entry() },
            AuditEntry { action: "organization.renamed".to_owned(), ..entry() },
            AuditEntry { subject: "x".to_owned(), ..entry() },
            AuditEntry { workspace: Some("ws-00000000000000000000".parse().unwrap()), ..entry() },
            AuditEntry { before: Some(json!({})), ..entry() },
            AuditEntry { after: None, ..entry() },
        ];
        for other in &changed {
            assert_ne!(bytes(other), plain, "{other:?}");
        }
        assert_ne!(entry().canonical("org-2", 1, GENESIS), plain);
        assert_ne!(entry().canonical("org-1", 2, GENESIS), plain);
        assert_ne!(entry().canonical("org-1", 1, "1"), plain);
    }
}
