//! People who belong to an organisation.

use hexabase_backends::store::organizations::{self, OrganizationMember, OrganizationScope};
use hexabase_backends::store::{
    MAX_PAGE, Tx, service_account_tokens, service_accounts, users, workspace_members, workspaces,
};
use hexabase_core::ids::{ApiTokenId, OrganizationId, UserId, WorkspaceId};
use hexabase_core::names::WorkspaceName;
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use serde_json::{Value, json};

use crate::authz::{self, AccountAction, OrganizationAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};
use crate::organizations::{personal, topic};
use crate::{members, tokens};

/// Longest text to search for.
const MAX_SEARCH: usize = 80;

/// What became of what somebody had who is out of an organisation.
#[derive(Debug, Clone)]
pub struct Removed {
    /// Tokens of the organisation's service accounts that the person had made, and that have ended.
    pub tokens_ended: Vec<ApiTokenId>,
    /// Workspaces inside which the person was given tokens that have not.
    pub left_behind: Vec<LeftBehind>,
}

/// A workspace inside which somebody was given tokens of ServiceAccounts, a member of it to the end or not.
#[derive(Debug, Clone)]
pub struct LeftBehind {
    /// Its id.
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: WorkspaceName,
    /// Of how many ServiceAccounts, as the gateway saw it.
    pub service_accounts: u64,
}

/// The people of an organisation by id, up to `limit` after `after`; with `search` only those in whose name or address the
/// text is, whatever its capitals. Addresses are told to admins only, and found by admins only.
pub async fn list(
    app: &App,
    ctx: &OpContext,
    id: &OrganizationId,
    search: Option<&str>,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<OrganizationMember>> {
    let scope = authz::organization(&app.store, ctx, id, OrganizationAction::View).await?;
    let wanted = search.unwrap_or_default().trim().to_lowercase();
    if wanted.chars().count() > MAX_SEARCH {
        return Err(Error::invalid("search", format!("search for at most {MAX_SEARCH} characters")));
    }
    let mut found = Vec::new();
    let mut after = after.cloned();
    // Compared here and not in SQL: the engines do not agree on what a capital letter is.
    while found.len() < limit {
        let page = organizations::list_members(&app.store, &scope, after.as_ref(), MAX_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.user.id.clone());
        let shown = page.into_iter().map(|member| shown_to(&scope, member));
        found.extend(shown.filter(|member| fits(member, &wanted)));
    }
    found.truncate(limit);
    Ok(found)
}

fn shown_to(scope: &OrganizationScope, mut member: OrganizationMember) -> OrganizationMember {
    if scope.role() != OrganizationRole::Admin && member.user.id != *scope.user() {
        member.user.email = None;
    }
    member
}

fn fits(member: &OrganizationMember, wanted: &str) -> bool {
    let texts = [Some(member.user.display_name.as_str()), member.user.email.as_deref()];
    texts.into_iter().flatten().any(|text| text.to_lowercase().contains(wanted))
}

/// Gives a member another role.
pub async fn set_role(
    app: &App,
    ctx: &OpContext,
    id: &OrganizationId,
    user: &UserId,
    role: OrganizationRole,
) -> Result<OrganizationMember> {
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, id, OrganizationAction::ManageMembers).await?;
    let old = organizations::member_role(&tx, &scope, user).await?.ok_or(Error::NotFound("member"))?;
    if role == OrganizationRole::Admin {
        authz::account(ctx, AccountAction::ManageCredentials)?;
        if scope.break_glass().is_some() {
            return Err(Error::Forbidden(authz::LASTING.to_owned()));
        }
    }
    if old != role {
        if role == OrganizationRole::Member && !is_program(&tx, user).await? {
            may_go(&tx, &scope, user, "become an ordinary member").await?;
        }
        organizations::set_member_role(&tx, &scope, user, role).await?;
        let said = |role: OrganizationRole| Some(json!({ "role": role }));
        app.change(&tx, ctx, change(id, user, "organization.member_role_changed", said(old), said(role)))?;
    }
    let member = organizations::get_member(&tx, &scope, user).await?.ok_or(Error::NotFound("member"))?;
    tx.commit().await?;
    app.bell.ring(topic(id));
    Ok(member)
}

async fn is_program(tx: &Tx, user: &UserId) -> Result<bool> {
    Ok(users::get(tx, user).await?.is_some_and(|user| user.service_of.is_some()))
}

/// Takes a person out of an organisation and out of every workspace of it, in one step; people may take themselves out. A
/// service account is deleted instead. The tokens that the person made for service accounts end as well, since the person may
/// have kept them. Those of ServiceAccounts inside workspaces do not: only those workspaces can end them.
///
/// That somebody is the last of `WSAdmins` somewhere does not keep them: admins of the organisation, of whom one always
/// stays, administer every workspace.
pub async fn remove(app: &App, ctx: &OpContext, id: &OrganizationId, user: &UserId) -> Result<Removed> {
    let leaves = *user == ctx.user;
    let action = if leaves { OrganizationAction::Leave } else { OrganizationAction::ManageMembers };
    let tx = app.store.begin().await?;
    let scope = authz::organization_locked(&tx, ctx, id, action).await?;
    let role = organizations::member_role(&tx, &scope, user).await?.ok_or(Error::NotFound("member"))?;
    if is_program(&tx, user).await? {
        let detail = "a service account belongs to its organization as long as it is there; delete it instead";
        return Err(Error::conflict("service_account", detail));
    }
    may_go(&tx, &scope, user, "leave").await?;
    let left = leave_workspaces(&tx, &scope, user, ctx.now).await?;
    let left_behind = left_behind(&tx, &scope, user).await?;
    let ended = service_accounts::revoke_tokens_made_by(&tx, &scope, user, ctx.now).await?;
    organizations::remove_member(&tx, &scope, user).await?;
    let action = if leaves { "organization.left" } else { "organization.member_removed" };
    let before = json!({ "role": role, "workspaces": left, "tokens": ended });
    app.change(&tx, ctx, change(id, user, action, Some(before), None))?;
    tx.commit().await?;
    app.bell.ring(topic(id));
    for workspace in &left {
        // Open streams end with the right to open new ones.
        app.bell.ring(members::topic(workspace));
    }
    ended.iter().for_each(|token| tokens::announce_end(app, token));
    let (workspaces, tokens) = (left.len(), ended.len());
    tracing::info!(organization.id = %id, user.id = %user, workspaces, tokens, "member left the organization");
    Ok(Removed { tokens_ended: ended, left_behind })
}

/// Refuses to part an organisation from its last admin, and a personal one from its person.
async fn may_go(tx: &Tx, scope: &OrganizationScope, user: &UserId, what: &str) -> Result<()> {
    let row = organizations::get(tx, scope).await?.ok_or(Error::NotFound("organization"))?;
    if row.personal_of.as_ref() == Some(user) {
        return Err(personal(&format!("see its person {what}")));
    }
    let is_admin = organizations::member_role(tx, scope, user).await? == Some(OrganizationRole::Admin);
    if is_admin && organizations::count_admins(tx, scope).await? <= 1 {
        return Err(Error::conflict(
            "last_admin",
            "this is the last admin of the organization; make somebody else one first, or delete the organization",
        ));
    }
    Ok(())
}

/// The workspaces are locked one after the other in the order of their ids, as everybody does who locks several.
async fn leave_workspaces(
    tx: &Tx,
    scope: &OrganizationScope,
    user: &UserId,
    now: Timestamp,
) -> Result<Vec<WorkspaceId>> {
    let ids = workspaces::ids_of_member(tx, scope, user).await?;
    for id in &ids {
        let workspace = match scope.break_glass() {
            Some(_) => workspaces::scope_by_break_glass(tx, scope.user(), id, now).await?,
            None => workspaces::scope_for(tx, scope.user(), id).await?,
        };
        let workspace = workspace.ok_or(Error::NotFound("workspace"))?;
        workspaces::lock(tx, &workspace).await?.ok_or(Error::NotFound("workspace"))?;
        workspace_members::remove(tx, &workspace, user).await?;
    }
    Ok(ids)
}

/// In which of the organisation's workspaces somebody was given tokens of ServiceAccounts, also before they lost their access
/// there.
pub(crate) async fn left_behind(tx: &Tx, scope: &OrganizationScope, user: &UserId) -> Result<Vec<LeftBehind>> {
    let found = service_account_tokens::count_in_organization(tx, scope, user).await?;
    let left = |(workspace, name, service_accounts)| LeftBehind { workspace, name, service_accounts };
    Ok(found.into_iter().map(left).collect())
}

fn change<'a>(
    id: &'a OrganizationId,
    user: &'a UserId,
    action: &'a str,
    before: Option<Value>,
    after: Option<Value>,
) -> Change<'a> {
    Change { organization: Some(id), workspace: None, action, subject: user.as_str(), before, after }
}
