//! The audit log as people read it: an organisation's by its admins, by its last ones once it is deleted; the own account's by
//! its person.

use hexabase_backends::store::audit::{self, AuditFilter, AuditRow, ChainHead};
use hexabase_core::ids::OrganizationId;

use crate::authz::{self, AccountAction};
use crate::context::{App, OpContext};
use crate::error::Result;
use crate::sessions;

/// Rows that an export reads at a time.
const BATCH: u64 = 500;

/// Entries of an organisation's log after the place `after`, oldest first.
pub async fn list(
    app: &App,
    ctx: &OpContext,
    organization: &OrganizationId,
    filter: &AuditFilter,
    after: i64,
    limit: u64,
) -> Result<Vec<AuditRow>> {
    let scope = authz::audit_log(&app.store, ctx, organization).await?;
    Ok(audit::list(&app.store, &scope, filter, after, limit).await?)
}

/// Entries about the caller's own account after the place `after`, oldest first.
pub async fn list_own(app: &App, ctx: &OpContext, after: i64, limit: u64) -> Result<Vec<AuditRow>> {
    authz::account(ctx, AccountAction::ViewAudit)?;
    Ok(audit::list_of_user(&app.store, &ctx.user, after, limit).await?)
}

/// Where an organisation's log ends.
pub async fn head(app: &App, ctx: &OpContext, organization: &OrganizationId) -> Result<ChainHead> {
    let scope = authz::audit_log(&app.store, ctx, organization).await?;
    Ok(audit::head(&app.store, &scope).await?)
}

/// The whole log of an organisation, up to the end it has now.
pub async fn export(app: &App, ctx: &OpContext, organization: &OrganizationId) -> Result<Export> {
    let head = head(app, ctx, organization).await?;
    Ok(Export { app: app.clone(), ctx: ctx.clone(), organization: organization.clone(), head, after: 0 })
}

/// A log that is being read.
#[derive(Debug)]
pub struct Export {
    app: App,
    ctx: OpContext,
    organization: OrganizationId,
    head: ChainHead,
    after: i64,
}

impl Export {
    /// The organisation.
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// Where the log ended when the export began.
    pub fn head(&self) -> &ChainHead {
        &self.head
    }

    /// The next rows; none at the end. What has been written since is left to the next export.
    ///
    /// # Errors
    /// Also when the caller may no longer read the log: an export takes as long as whoever reads it likes.
    pub async fn next(&mut self) -> Result<Vec<AuditRow>> {
        self.ctx.now = self.app.clock.now();
        sessions::still_good(&self.app, &self.ctx).await?;
        let scope = authz::audit_log(&self.app.store, &self.ctx, &self.organization).await?;
        let mut rows = audit::list(&self.app.store, &scope, &AuditFilter::default(), self.after, BATCH).await?;
        rows.retain(|row| row.seq <= self.head.seq);
        self.after = rows.last().map_or(self.after, |row| row.seq);
        Ok(rows)
    }
}
