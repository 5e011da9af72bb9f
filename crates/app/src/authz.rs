//! Who may do what: the one place that decides.
//!
//! Two questions, in this order: may the *person* do it, by organisation role and group, or as staff by break-glass while
//! that lasts; and is the *credential* good for it. A token that was made for one workspace or for reading never does more,
//! whatever its owner may do; nor does a client that acts for the person do what is theirs to do in person.

use hexabase_backends::store::audit::{self, LogScope};
use hexabase_backends::store::groups as group_rows;
use hexabase_backends::store::organizations::{self, OrganizationScope};
use hexabase_backends::store::workspaces::{self, WorkspaceScope};
use hexabase_backends::store::{Db, Tx};
use hexabase_core::groups::WS_ADMINS;
use hexabase_core::ids::{OrganizationId, WorkspaceId};
use hexabase_core::phases::WorkspacePhase;
use hexabase_core::roles::OrganizationRole;
use hexabase_core::tokens::TokenAccess;

use crate::context::{Credential, OpContext};
use crate::error::{Error, Result};
use crate::leaving;

/// Said to staff under break-glass who would give anybody access, which would outlast it.
pub(crate) const LASTING: &str =
    "access by break-glass takes access away and gives nobody any that lasts; an admin of the organization can";
/// Said to staff under break-glass who would spend the organisation's money.
const SPENDING: &str =
    "access by break-glass spends nothing of the organization's; an admin of the organization can choose its plans";
/// Said to staff under break-glass who would dispose of what is the organisation's.
const NOT_THEIRS: &str =
    "access by break-glass neither deletes nor renames nor hands over what is the organization's; its admins can";

/// What a person can do with their own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountAction {
    /// See it.
    View,
    /// Change it, or make an organisation.
    Change,
    /// Make and end sessions, tokens and identities, and make or become an admin of an organisation, which people do in person:
    /// what a stolen token can do ends with the token, and what a client can do ends with its session.
    ManageCredentials,
    /// See what was done to it, from where and by what.
    ViewAudit,
}

/// What can be done in an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrganizationAction {
    /// See it and its people.
    View,
    /// See whom it has invited.
    SeeInvitations,
    /// Leave it.
    Leave,
    /// Make a workspace, which costs money.
    CreateWorkspace,
    /// See what its workspaces cost, and what they may use.
    SeeCosts,
    /// Rename it, delete it, or hand it over.
    ManageOrganization,
    /// Invite people, take them out, and give them another role.
    ManageMembers,
    /// See who changed what in it, and from where.
    ViewAudit,
    /// See its service accounts and their tokens.
    ViewServiceAccounts,
    /// Make service accounts, and their tokens.
    ManageServiceAccounts,
    /// Delete service accounts, and revoke their tokens.
    EndServiceAccounts,
}

impl OrganizationAction {
    fn writes(self) -> bool {
        !matches!(
            self,
            Self::View | Self::SeeCosts | Self::SeeInvitations | Self::ViewAudit | Self::ViewServiceAccounts
        )
    }

    /// Why staff under break-glass may not do it, if they may not.
    fn beyond_break_glass(self) -> Option<&'static str> {
        match self {
            Self::CreateWorkspace | Self::ManageServiceAccounts => Some(LASTING),
            Self::ManageOrganization => Some(NOT_THEIRS),
            Self::View
            | Self::SeeCosts
            | Self::SeeInvitations
            | Self::Leave
            | Self::ManageMembers
            | Self::ViewAudit
            | Self::ViewServiceAccounts
            | Self::EndServiceAccounts => None,
        }
    }
}

/// What can be done with a workspace through the API. Rights inside it, by kubectl, come from its groups alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkspaceAction {
    /// See it, its projects, groups and people.
    View,
    /// Delete it.
    Delete,
    /// Undo that.
    Restore,
    /// Put it under another plan, which costs another price.
    ChangePlan,
    /// Put it to sleep, wake it without using it, and say when it sleeps by itself.
    Sleep,
    /// Say how many nodes of its own it has.
    ManageNodes,
    /// Give access: to people, to groups by roles, and to groups by putting them below others.
    GiveAccess,
    /// Take access away, end what is left of it, see everybody's address, and make and rename groups.
    ManageMembers,
    /// See for which ServiceAccounts inside others were given tokens.
    SeeTokens,
    /// Give up one's own access.
    Leave,
    /// Make, change and delete projects.
    ManageProjects,
    /// Make, change and remove custom roles. Every member may try: whether the person's own rights suffice for the role is
    /// Kubernetes' to say.
    MakeRoles,
}

impl WorkspaceAction {
    fn writes(self) -> bool {
        !matches!(self, Self::View | Self::SeeTokens)
    }

    /// Why staff under break-glass may not do it, if they may not.
    fn beyond_break_glass(self) -> Option<&'static str> {
        match self {
            Self::GiveAccess => Some(LASTING),
            Self::Delete | Self::Restore => Some(NOT_THEIRS),
            Self::ChangePlan => Some(SPENDING),
            Self::View
            | Self::Sleep
            | Self::ManageNodes
            | Self::ManageMembers
            | Self::SeeTokens
            | Self::Leave
            | Self::ManageProjects
            | Self::MakeRoles => None,
        }
    }
}

/// Refuses what the credential is not good for in the caller's own account.
///
/// # Errors
/// [`Error::Forbidden`] with what would be needed.
pub fn account(ctx: &OpContext, action: AccountAction) -> Result<()> {
    let in_person = |who: &str, how: &str| {
        let sentence = "can neither manage sessions, tokens and identities nor make anybody an admin";
        Err(Error::Forbidden(format!("{who} {sentence}; {how}")))
    };
    match (&ctx.credential, action) {
        (Credential::Token { .. }, AccountAction::ManageCredentials) => in_person("a token", "sign in for that"),
        (Credential::Client { id, .. }, AccountAction::ManageCredentials) => {
            in_person(&format!("the program {id}"), "do that yourself, with hxb or on the platform's own pages")
        }
        (Credential::Token { scope, .. }, _) if scope.workspace.is_some() && action != AccountAction::View => {
            Err(bound())
        }
        _ => may_write(ctx, !matches!(action, AccountAction::View | AccountAction::ViewAudit)),
    }
}

/// The organisation, if the caller may do `action` there.
///
/// # Errors
/// [`Error::NotFound`] for strangers, exactly as for an id that does not exist; [`Error::Forbidden`] for those who may see
/// it but not do that.
pub async fn organization(
    db: &impl Db,
    ctx: &OpContext,
    organization: &OrganizationId,
    action: OrganizationAction,
) -> Result<OrganizationScope> {
    let ordinary = organizations::scope_for(db, &ctx.user, organization).await?;
    let is_admin = ordinary.as_ref().is_some_and(|scope| scope.role() == OrganizationRole::Admin);
    let extraordinary = match ctx.credential {
        // In person: neither a token nor a client.
        Credential::Session(_) if !is_admin => {
            organizations::scope_by_break_glass(db, &ctx.user, organization, ctx.now).await?
        }
        _ => None,
    };
    let scope = extraordinary.or(ordinary).ok_or(Error::NotFound("organization"))?;
    if ctx.credential.scope().is_some_and(|scope| scope.workspace.is_some()) {
        return Err(bound());
    }
    may_write(ctx, action.writes())?;
    if let (Some(_), Some(why)) = (scope.break_glass(), action.beyond_break_glass()) {
        return Err(Error::Forbidden(why.to_owned()));
    }
    let what = match (action, scope.role()) {
        (OrganizationAction::View | OrganizationAction::Leave, _) | (_, OrganizationRole::Admin) => return Ok(scope),
        (OrganizationAction::SeeInvitations, OrganizationRole::Member) => "see whom it has invited",
        (OrganizationAction::CreateWorkspace, OrganizationRole::Member) => "create workspaces",
        (OrganizationAction::SeeCosts, OrganizationRole::Member) => "see what its workspaces cost and may use",
        (OrganizationAction::ManageOrganization, OrganizationRole::Member) => "rename it, delete it or hand it over",
        (OrganizationAction::ManageMembers, OrganizationRole::Member) => "invite people or change who belongs to it",
        (OrganizationAction::ViewAudit, OrganizationRole::Member) => "read its audit log",
        (OrganizationAction::ViewServiceAccounts, OrganizationRole::Member) => "see its service accounts",
        (
            OrganizationAction::ManageServiceAccounts | OrganizationAction::EndServiceAccounts,
            OrganizationRole::Member,
        ) => "manage its service accounts",
    };
    Err(Error::Forbidden(format!("only an admin of the organization may {what}; ask one of its admins")))
}

/// As [`organization`], with the organisation locked first: what its roles, people and workspaces are when this returns
/// stays so until `tx` ends, and the caller's right is judged by that.
///
/// # Errors
/// As for [`organization`].
pub async fn organization_locked(
    tx: &Tx,
    ctx: &OpContext,
    id: &OrganizationId,
    action: OrganizationAction,
) -> Result<OrganizationScope> {
    // Strangers lock nothing.
    let scope = organization(tx, ctx, id, OrganizationAction::View).await?;
    organizations::lock(tx, &scope).await?;
    organization(tx, ctx, id, action).await
}

/// The log of an organisation, if the caller may read it: for its admins, and once it is deleted for whoever was one then.
///
/// # Errors
/// As for [`organization`].
pub(crate) async fn audit_log(db: &impl Db, ctx: &OpContext, id: &OrganizationId) -> Result<LogScope> {
    match organization(db, ctx, id, OrganizationAction::ViewAudit).await {
        Ok(scope) => Ok((&scope).into()),
        Err(Error::NotFound(what)) => {
            let former = audit::scope_of_former_admin(db, &ctx.user, id).await?.ok_or(Error::NotFound(what))?;
            if ctx.credential.scope().is_some_and(|scope| scope.workspace.is_some()) {
                return Err(bound());
            }
            Ok(former)
        }
        Err(error) => Err(error),
    }
}

/// The workspace, if the caller may do `action` with it.
///
/// Admins of its organisation may do everything, members of its group `WSAdmins` everything but choose its plan; other members
/// may look, and leave.
///
/// # Errors
/// As for [`organization`].
pub async fn workspace(
    db: &impl Db,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    action: WorkspaceAction,
) -> Result<WorkspaceScope> {
    let only = ctx.credential.scope().and_then(|scope| scope.workspace.as_ref());
    if only.is_some_and(|only| only != workspace) {
        return Err(Error::NotFound("workspace"));
    }
    let ordinary = workspaces::scope_for(db, &ctx.user, workspace).await?;
    let is_admin = ordinary.as_ref().is_some_and(|scope| scope.organization_role() == Some(OrganizationRole::Admin));
    let extraordinary = match ctx.credential {
        // In person: neither a token nor a client.
        Credential::Session(_) if !is_admin => {
            workspaces::scope_by_break_glass(db, &ctx.user, workspace, ctx.now).await?
        }
        _ => None,
    };
    let scope = match (extraordinary, action.beyond_break_glass()) {
        // What break-glass does not give, a group may give all the same.
        (Some(_), Some(why)) => ordinary.ok_or_else(|| Error::Forbidden(why.to_owned()))?,
        (extraordinary, _) => extraordinary.or(ordinary).ok_or(Error::NotFound("workspace"))?,
    };
    in_workspace(db, ctx, &scope, action).await?;
    Ok(scope)
}

/// Refuses what the caller, who may see the workspace, may not do there.
///
/// # Errors
/// [`Error::Forbidden`].
pub(crate) async fn in_workspace(
    db: &impl Db,
    ctx: &OpContext,
    scope: &WorkspaceScope,
    action: WorkspaceAction,
) -> Result<()> {
    may_write(ctx, action.writes())?;
    if action == WorkspaceAction::ChangePlan && ctx.credential.scope().is_some_and(|scope| scope.workspace.is_some()) {
        // It spends the organisation's money, of which such a token knows nothing.
        return Err(bound());
    }
    let for_all = match action {
        WorkspaceAction::View | WorkspaceAction::MakeRoles => true,
        WorkspaceAction::Leave => scope.is_member(),
        WorkspaceAction::Delete
        | WorkspaceAction::Restore
        | WorkspaceAction::ChangePlan
        | WorkspaceAction::Sleep
        | WorkspaceAction::ManageNodes
        | WorkspaceAction::GiveAccess
        | WorkspaceAction::ManageMembers
        | WorkspaceAction::SeeTokens
        | WorkspaceAction::ManageProjects => false,
    };
    if for_all || scope.organization_role() == Some(OrganizationRole::Admin) {
        return Ok(());
    }
    if action == WorkspaceAction::ChangePlan {
        return may_choose_plan(scope);
    }
    if group_rows::effective(db, scope, &ctx.user).await?.iter().any(|group| group.as_str() == WS_ADMINS) {
        return Ok(());
    }
    let what = match action {
        WorkspaceAction::View | WorkspaceAction::Leave => "see this workspace",
        WorkspaceAction::MakeRoles => "make roles here",
        WorkspaceAction::Delete => "delete this workspace",
        WorkspaceAction::Restore => "restore this workspace",
        WorkspaceAction::ChangePlan => "choose another plan",
        WorkspaceAction::Sleep => "put this workspace to sleep or wake it, or say when it sleeps",
        WorkspaceAction::ManageNodes => "say how many nodes of its own this workspace has",
        WorkspaceAction::GiveAccess | WorkspaceAction::ManageMembers => "change who has access to this workspace",
        WorkspaceAction::SeeTokens => "see what tokens others were given here",
        WorkspaceAction::ManageProjects => "make, change or delete projects here",
    };
    Err(Error::Forbidden(format!(
        "you may not {what}; members of the group {WS_ADMINS} and admins of the organization may"
    )))
}

/// The same, with the workspace locked before it is decided: of two people who take each other's rights at once, one
/// succeeds.
///
/// # Errors
/// As for [`organization`].
pub(crate) async fn locked_workspace(
    tx: &Tx,
    ctx: &OpContext,
    id: &WorkspaceId,
    action: WorkspaceAction,
) -> Result<WorkspaceScope> {
    let seen = workspace(tx, ctx, id, WorkspaceAction::View).await?;
    let of_organization = match action {
        // With access to a workspace, membership of the organisation comes and goes; its lock is always the first.
        WorkspaceAction::GiveAccess | WorkspaceAction::ManageMembers | WorkspaceAction::Leave => true,
        // Its workspaces are counted under each plan.
        WorkspaceAction::ChangePlan => true,
        WorkspaceAction::View
        | WorkspaceAction::Delete
        | WorkspaceAction::Restore
        | WorkspaceAction::Sleep
        | WorkspaceAction::ManageNodes
        | WorkspaceAction::SeeTokens
        | WorkspaceAction::ManageProjects
        | WorkspaceAction::MakeRoles => false,
    };
    if of_organization {
        organizations::lock_of(tx, &seen).await?;
    }
    workspaces::lock(tx, &seen).await?;
    workspace(tx, ctx, id, action).await
}

/// How long something can be done with a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum While {
    /// Until it is being deleted.
    Living,
    /// Until nobody gets it back any more: for what takes a right away. As long as its deletion can be undone, so can what
    /// everybody may do in it.
    Restorable,
}

/// As [`locked_workspace`], refused once the workspace is leaving.
///
/// # Errors
/// As for [`organization`]; [`Error::Conflict`] when the workspace is leaving.
pub(crate) async fn locked_workspace_while(
    tx: &Tx,
    ctx: &OpContext,
    id: &WorkspaceId,
    action: WorkspaceAction,
    span: While,
) -> Result<WorkspaceScope> {
    let scope = locked_workspace(tx, ctx, id, action).await?;
    let row = workspaces::get(tx, &scope).await?.ok_or(Error::NotFound("workspace"))?;
    let is_in_time = match span {
        While::Living => false,
        While::Restorable => row.phase == WorkspacePhase::ToBeDeleted,
    };
    if row.desired == workspaces::Desired::Absent && !is_in_time {
        return Err(leaving::refused(&row));
    }
    Ok(scope)
}

/// Refuses whoever may not put the workspace under another plan, with whatever credential they ask for it.
///
/// # Errors
/// [`Error::Forbidden`].
pub(crate) fn may_choose_plan(scope: &WorkspaceScope) -> Result<()> {
    match scope.organization_role() {
        Some(OrganizationRole::Admin) => Ok(()),
        // Who administers a workspace does not pay for it.
        Some(OrganizationRole::Member) | None => Err(Error::Forbidden(
            "only an admin of the organization may choose another plan; ask one of its admins".to_owned(),
        )),
    }
}

/// Whether the workspace's price is told: what its workspaces cost is for those who may see all costs of the organisation.
pub(crate) fn may_see_price(scope: &WorkspaceScope) -> bool {
    scope.organization_role() == Some(OrganizationRole::Admin)
}

fn bound() -> Error {
    Error::Forbidden("this token is good for one workspace only; use another one, or sign in".to_owned())
}

fn may_write(ctx: &OpContext, writes: bool) -> Result<()> {
    if writes && ctx.credential.scope().is_some_and(|scope| scope.access == TokenAccess::Read) {
        return Err(Error::Forbidden("this token may only read; use one with the access write".to_owned()));
    }
    Ok(())
}
