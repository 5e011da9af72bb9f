//! Invitations into an organisation: by address, before the person has ever signed in.
//!
//! Whoever holds the token and has the invited address, verified, may accept, once and in time. What the invitation gives is
//! fixed when it is made, and given in the name of whoever vouches for it: an admin who is one no more vouches for nothing.

mod accept;
mod mail;
mod token;

use std::collections::HashMap;

use hexabase_backends::bell::Topic;
use hexabase_backends::store::invitations::{self, Invitation};
use hexabase_backends::store::organizations::OrganizationScope;
use hexabase_backends::store::workspaces::{self, Desired};
use hexabase_backends::store::{Db, StoreError, Tx, Unique, groups, jobs};
use hexabase_core::groups::{Forest, GroupNode, check_claim};
use hexabase_core::ids::{InvitationId, OrganizationId, UserId, WorkspaceId};
use hexabase_core::invitations::{INVITATION_SECONDS, InvitationState, InvitedAddress, InvitedTo, Language, MailState};
use hexabase_core::names::{GroupName, WorkspaceName};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use serde_json::{Value, json};

use self::token::Issued;
use crate::authz::{self, AccountAction, OrganizationAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};
use crate::jobs::SEND_INVITATION_MAIL;
use crate::members::choose_groups;
use crate::organizations;

pub use self::accept::{Accepted, Offer, accept, offer};
pub(crate) use self::mail::compose;
pub(crate) use self::token::opened;

/// Most invitations of an organisation that wait at the same time.
const MAX_PENDING: u64 = 200;
/// Most workspaces that one invitation names.
const MAX_WORKSPACES: usize = 20;
/// Most mails to one address in a day, by inviting anew or by sending again: nobody's mailbox is flooded through us.
const MAX_PER_DAY: u32 = 10;
const DAY_SECONDS: i64 = 24 * 3600;

/// Whom to invite, and to what.
#[derive(Debug, Clone)]
pub struct Request {
    /// The person's address.
    pub email: String,
    /// What the person will be able to do in the organisation.
    pub role: OrganizationRole,
    /// Workspaces of the organisation, each with the names of groups; `WSUsers` where none is named.
    pub workspaces: Vec<(String, Vec<String>)>,
    /// The language of the mail.
    pub language: Language,
}

/// A workspace that an invitation opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitedWorkspace {
    /// The workspace.
    pub id: WorkspaceId,
    /// Its name.
    pub name: WorkspaceName,
    /// The groups of it that the person will be in.
    pub groups: Vec<GroupName>,
}

/// An invitation with what is still there of what it gives.
#[derive(Debug, Clone)]
pub struct Details {
    /// The row.
    pub row: Invitation,
    /// Where it stands.
    pub state: InvitationState,
    /// The workspaces it opens.
    pub workspaces: Vec<InvitedWorkspace>,
}

/// An invitation that was just made or renewed.
pub struct Made {
    /// The invitation.
    pub details: Details,
    /// What the person has to open, where no mail tells them. It is told this once and holds the token.
    pub accept_url: Option<String>,
}

/// Invites a person: the row and the job that sends its mail in one commit.
pub async fn create(app: &App, ctx: &OpContext, organization: &OrganizationId, wanted: &Request) -> Result<Made> {
    let address: InvitedAddress = wanted.email.parse().map_err(|cause| Error::invalid("email", format!("{cause}")))?;
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, organization, OrganizationAction::ManageMembers).await?;
    vouches(ctx, &scope, wanted.role)?;
    let invited_to = choose(&tx, &scope, &wanted.workspaces).await?;
    within_limits(&tx, &scope, &address, ctx.now).await?;
    let id: InvitationId = app.new_id()?;
    let Issued { hash, sealed, accept_url } = token::issue(app, &id, wanted.language)?;
    let row = Invitation {
        id,
        organization_id: organization.clone(),
        address,
        role: wanted.role,
        invited_to,
        language: wanted.language,
        token_hash: hash,
        mail_state: sealed.is_some().then_some(MailState::Queued),
        token_sealed: sealed,
        invited_by: ctx.user.clone(),
        created_at: ctx.now,
        expires_at: end(ctx.now),
        accepted_by: None,
        accepted_at: None,
        revoked_at: None,
        mail_message: None,
        resent: 0,
        resent_since: ctx.now,
        resent_lately: 0,
    };
    invitations::release_expired(&tx, &scope, &row.address, ctx.now).await?;
    invitations::insert(&tx, &scope, &row).await.map_err(|error| waits_already(error, &row.address))?;
    let workspaces: Vec<_> = row.invited_to.iter().map(|place| &place.workspace).collect();
    let after = json!({ "address": row.address.masked(), "role": row.role, "workspaces": workspaces });
    change(app, ctx, &tx, &row, "invitation.created", (None, Some(after)))?;
    finish(app, ctx, tx, row, accept_url).await
}

/// Refuses whoever will be no admin any more when the invitation is accepted, and a token that would make an admin.
fn vouches(ctx: &OpContext, scope: &OrganizationScope, role: OrganizationRole) -> Result<()> {
    if scope.break_glass().is_some() {
        return Err(Error::Forbidden(authz::LASTING.to_owned()));
    }
    match role {
        OrganizationRole::Admin => authz::account(ctx, AccountAction::ManageCredentials),
        OrganizationRole::Member => Ok(()),
    }
}

/// Sends a pending or expired invitation again, with a new token and a new end; the old token is good for nothing any more.
/// From now on the caller vouches for it.
pub async fn resend(app: &App, ctx: &OpContext, organization: &OrganizationId, id: &InvitationId) -> Result<Made> {
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, organization, OrganizationAction::ManageMembers).await?;
    let mut row = invitations::lock(&tx, &scope, id).await?.ok_or(Error::NotFound("invitation"))?;
    vouches(ctx, &scope, row.role)?;
    match row.state(ctx.now) {
        InvitationState::Accepted => return Err(over("this invitation was accepted already")),
        InvitationState::Revoked => return Err(over("this invitation was taken back; invite the person anew")),
        InvitationState::Pending | InvitationState::Expired => {}
    }
    if row.resent_since.plus_seconds(DAY_SECONDS) <= ctx.now {
        (row.resent_since, row.resent_lately) = (ctx.now, 0);
    }
    if row.resent_lately >= MAX_PER_DAY {
        return Err(Error::LimitReached(format!(
            "an invitation is sent again at most {MAX_PER_DAY} times in 24 hours, which nobody can raise; try again tomorrow"
        )));
    }
    let (resent, lately) = (row.resent.saturating_add(1), row.resent_lately + 1);
    (row.resent, row.resent_lately) = (resent, lately);
    let Issued { hash, sealed, accept_url } = token::issue(app, &row.id, row.language)?;
    row.token_hash = hash;
    row.mail_state = sealed.is_some().then_some(MailState::Queued);
    row.mail_message = None;
    row.token_sealed = sealed;
    row.invited_by = ctx.user.clone();
    let old = std::mem::replace(&mut row.expires_at, end(ctx.now));
    invitations::release_expired(&tx, &scope, &row.address, ctx.now).await?;
    invitations::renew(&tx, &scope, &row).await.map_err(|error| waits_already(error, &row.address))?;
    let said = |expires_at: Timestamp| Some(json!({ "expires_at": expires_at }));
    change(app, ctx, &tx, &row, "invitation.resent", (said(old), said(row.expires_at)))?;
    finish(app, ctx, tx, row, accept_url).await
}

/// Enqueues the mail, commits, and reads what the caller is told.
async fn finish(app: &App, ctx: &OpContext, tx: Tx, row: Invitation, accept_url: Option<String>) -> Result<Made> {
    if row.mail_state.is_some() {
        jobs::enqueue(&tx, SEND_INVITATION_MAIL, row.id.as_str(), ctx.now, ctx.now).await?;
    }
    let mut known = Known::new(&tx, &ctx.user);
    let workspaces = known.of(&row).await?;
    tx.commit().await?;
    app.bell.ring(Topic { kind: SEND_INVITATION_MAIL.to_owned(), subject: row.id.to_string() });
    tracing::info!(invitation.id = %row.id, organization.id = %row.organization_id, "person invited");
    Ok(Made { details: Details { state: row.state(ctx.now), row, workspaces }, accept_url })
}

/// Whole seconds, as it is told.
fn end(now: Timestamp) -> Timestamp {
    Timestamp::from_seconds(now.as_seconds()).plus_seconds(INVITATION_SECONDS)
}

fn waits_already(error: StoreError, address: &InvitedAddress) -> Error {
    match error {
        StoreError::NotUnique(Unique::PendingInvitation) => Error::conflict(
            "already_invited",
            format!("an invitation for {address} waits already; send that one again, or take it back first"),
        ),
        error => error.into(),
    }
}

/// Takes an invitation back. Doing so twice changes nothing.
pub async fn revoke(app: &App, ctx: &OpContext, organization: &OrganizationId, id: &InvitationId) -> Result<()> {
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, organization, OrganizationAction::ManageMembers).await?;
    let row = invitations::lock(&tx, &scope, id).await?.ok_or(Error::NotFound("invitation"))?;
    match row.state(ctx.now) {
        InvitationState::Revoked => return Ok(()),
        InvitationState::Accepted => {
            return Err(over("this invitation was accepted already; take the person out of the organization instead"));
        }
        InvitationState::Pending | InvitationState::Expired => {}
    }
    invitations::revoke(&tx, &scope, id, ctx.now).await?;
    change(app, ctx, &tx, &row, "invitation.revoked", (Some(json!({ "address": row.address.masked() })), None))?;
    tx.commit().await?;
    app.bell.ring(organizations::topic(organization));
    Ok(())
}

/// The invitations of an organisation, whatever became of them, by id; never their tokens.
pub async fn list(
    app: &App,
    ctx: &OpContext,
    organization: &OrganizationId,
    after: Option<&InvitationId>,
    limit: u64,
) -> Result<Vec<Details>> {
    let scope = authz::organization(&app.store, ctx, organization, OrganizationAction::SeeInvitations).await?;
    let mut known = Known::new(&app.store, &ctx.user);
    let mut found = Vec::new();
    for row in invitations::list(&app.store, &scope, after, limit).await? {
        let workspaces = known.of(&row).await?;
        found.push(Details { state: row.state(ctx.now), row, workspaces });
    }
    Ok(found)
}

/// Finds workspaces and groups by the names that the inviter wrote. In order of their ids: accepting locks them so.
async fn choose(tx: &Tx, scope: &OrganizationScope, wanted: &[(String, Vec<String>)]) -> Result<Vec<InvitedTo>> {
    if wanted.len() > MAX_WORKSPACES {
        return Err(Error::invalid("workspaces", format!("an invitation opens at most {MAX_WORKSPACES} workspaces")));
    }
    let mut chosen: Vec<InvitedTo> = Vec::new();
    for (text, names) in wanted {
        let not_here =
            || Error::invalid("workspaces", format!("there is no workspace \"{text}\" in this organization"));
        let id: WorkspaceId = text.parse().map_err(|_| not_here())?;
        let workspace = workspaces::scope_for(tx, scope.user(), &id).await?;
        let workspace = workspace.filter(|workspace| workspace.organization() == scope.id()).ok_or_else(not_here)?;
        let row = workspaces::get(tx, &workspace).await?;
        let row = row.filter(|row| row.desired != Desired::Absent).ok_or_else(not_here)?;
        if chosen.iter().any(|place| place.workspace == id) {
            return Err(Error::invalid("workspaces", format!("the workspace \"{text}\" is named twice")));
        }
        let nodes = groups::nodes(tx, &workspace).await?;
        let mut groups = choose_groups(&nodes, names)?;
        groups.sort();
        groups.dedup();
        // Whoever is in none of them yet could not accept what no token carries.
        check_claim(&Forest::new(&nodes).effective(&groups)).map_err(|cause| {
            Error::LimitReached(format!(
                "in the workspace {} the person would be in {cause}, which nobody can raise; choose fewer",
                row.name
            ))
        })?;
        chosen.push(InvitedTo { workspace: id, groups });
    }
    chosen.sort_by(|one, other| one.workspace.cmp(&other.workspace));
    Ok(chosen)
}

async fn within_limits(tx: &Tx, scope: &OrganizationScope, address: &InvitedAddress, now: Timestamp) -> Result<()> {
    if invitations::count_pending(tx, scope, now).await? >= MAX_PENDING {
        return Err(Error::LimitReached(format!(
            "{MAX_PENDING} invitations of this organization wait to be accepted, and nobody can raise that; take some back first"
        )));
    }
    let since = now.plus_seconds(-DAY_SECONDS);
    if invitations::count_for_address(tx, scope, address, since).await? >= u64::from(MAX_PER_DAY) {
        return Err(Error::LimitReached(format!(
            "{address} was invited {MAX_PER_DAY} times in 24 hours, and nobody can raise that; try again tomorrow"
        )));
    }
    Ok(())
}

fn over(why: &str) -> Error {
    Error::conflict("invitation_over", why)
}

fn change(
    app: &App,
    ctx: &OpContext,
    tx: &Tx,
    row: &Invitation,
    action: &str,
    (before, after): (Option<Value>, Option<Value>),
) -> Result<()> {
    let (organization, subject) = (Some(&row.organization_id), row.id.as_str());
    app.change(tx, ctx, Change { organization, workspace: None, action, subject, before, after })
}

/// Workspaces and groups as an admin of their organisation sees them, each read once.
struct Known<'a, D> {
    db: &'a D,
    admin: &'a UserId,
    workspaces: HashMap<WorkspaceId, Option<(WorkspaceName, Vec<GroupNode>)>>,
}

impl<'a, D: Db> Known<'a, D> {
    fn new(db: &'a D, admin: &'a UserId) -> Self {
        Self { db, admin, workspaces: HashMap::new() }
    }

    /// What an invitation opens, as far as it is still there.
    async fn of(&mut self, row: &Invitation) -> Result<Vec<InvitedWorkspace>> {
        let mut found = Vec::new();
        for InvitedTo { workspace, groups } in &row.invited_to {
            if !self.workspaces.contains_key(workspace) {
                let read = self.read(workspace).await?;
                self.workspaces.insert(workspace.clone(), read);
            }
            let Some(Some((name, nodes))) = self.workspaces.get(workspace) else { continue };
            let names = nodes.iter().filter(|node| groups.contains(&node.id)).map(|node| node.name.clone());
            let mut groups: Vec<_> = names.collect();
            groups.sort();
            if !groups.is_empty() {
                found.push(InvitedWorkspace { id: workspace.clone(), name: name.clone(), groups });
            }
        }
        Ok(found)
    }

    async fn read(&self, id: &WorkspaceId) -> Result<Option<(WorkspaceName, Vec<GroupNode>)>> {
        let Some(scope) = workspaces::scope_for(self.db, self.admin, id).await? else { return Ok(None) };
        let row = workspaces::get(self.db, &scope).await?.filter(|row| row.desired != Desired::Absent);
        let Some(row) = row else { return Ok(None) };
        Ok(Some((row.name, groups::nodes(self.db, &scope).await?)))
    }
}
