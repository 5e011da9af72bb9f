//! What an operator of the platform does to an organisation, beside the database: it reads that in its own log.

use hexabase_backends::store::Tx;
use hexabase_backends::store::audit::{self, AuditChain, NewAuditEntry};
use hexabase_backends::store::events::{self, NewEvent};
use hexabase_core::audit::{AuditEntry, OPERATOR};
use hexabase_core::ids::{OrganizationId, RequestId};
use serde_json::Value;

use crate::clock::Clock;
use crate::context::new_id;
use crate::error::Result;

/// Something that an operator did.
#[derive(Debug)]
pub(crate) struct Deed<'a> {
    pub(crate) organization: &'a OrganizationId,
    pub(crate) action: &'a str,
    /// The id of what was changed.
    pub(crate) subject: &'a str,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
    /// What the live feed tells of it.
    pub(crate) told: Value,
}

/// Writes it into the organisation's log and feed, when `tx` commits.
pub(crate) fn tell(tx: &Tx, clock: &Clock, deed: Deed<'_>, operator: &str) -> Result<()> {
    let Deed { organization, action, subject, before, after, told } = deed;
    let now = clock.now();
    let event = NewEvent {
        id: new_id(clock)?,
        organization_id: organization.clone(),
        workspace_id: None,
        kind: action.to_owned(),
        subject: subject.to_owned(),
        data: told,
        created_at: now,
    };
    events::append(tx, event);
    let entry = AuditEntry {
        id: new_id(clock)?,
        at: now,
        actor: OPERATOR.to_owned(),
        on_behalf_of: None,
        credential: format!("account {operator} of the operating system"),
        source: None,
        request_id: new_id::<RequestId>(clock)?.to_string(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        workspace: None,
        before,
        after,
    };
    audit::append(tx, NewAuditEntry { chain: AuditChain::Organization(organization.clone()), entry });
    Ok(())
}
