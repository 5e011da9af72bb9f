//! People with access to a workspace.

use std::collections::HashMap;

use hexabase_backends::bell::Topic;
use hexabase_backends::store::workspace_members::{self, WorkspaceMember};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Db, Tx, groups, organizations, users};
use hexabase_core::groups::{Forest, GroupNode, WS_USERS};
use hexabase_core::ids::{GroupId, UserId, WorkspaceId};
use hexabase_core::names::GroupName;
use hexabase_core::plans::Plan;
use hexabase_core::time::Timestamp;

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::plans::plan_of;
use crate::standing;

/// What the bell rings for, with the workspace's id, when somebody gets or loses access.
pub const TOPIC: &str = "members";

/// Whom to give access.
#[derive(Debug, Clone)]
pub enum Invitee {
    /// Somebody who has signed in before, by id.
    User(UserId),
    /// Somebody who has signed in before, by an address that the identity provider has verified.
    Email(String),
}

/// A member with groups as chosen and as they work out.
#[derive(Debug, Clone)]
pub struct Member {
    /// The person.
    pub row: WorkspaceMember,
    /// Names of the groups the person was put into.
    pub groups: Vec<GroupName>,
    /// Those and all above them.
    pub effective_groups: Vec<GroupName>,
}

/// Gives a person access: a member of the organisation too, if not yet, and of the given groups (`WSUsers` if none is given).
/// Adding somebody again adds the groups. The address is told only to whoever knew it.
pub async fn add(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    who: &Invitee,
    names: &[String],
) -> Result<Member> {
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace(&tx, ctx, workspace, WorkspaceAction::GiveAccess).await?;
    let plan = plan_of(&tx, &scope).await?;
    let user = find(&tx, &scope, who).await?;
    let nodes = groups::nodes(&tx, &scope).await?;
    let chosen = choose_groups(&nodes, names)?;
    let_in(&tx, &scope, &plan, &user, ctx.now).await?;
    put_into(&tx, &scope, &user, &chosen).await?;
    let named: Vec<&str> =
        nodes.iter().filter(|node| chosen.contains(&node.id)).map(|node| node.name.as_str()).collect();
    let after = serde_json::json!({ "user": user, "groups": named });
    app.change_in(&tx, ctx, &scope, "member.added", user.as_str(), (None, Some(after)))?;
    tx.commit().await?;
    app.bell.ring(topic(workspace));
    let direct = groups::memberships_of(&app.store, &scope, [&user]).await?;
    let direct: Vec<GroupId> = direct.into_iter().map(|(group, _)| group).collect();
    let row =
        workspace_members::list_among(&app.store, &scope, [&user]).await?.pop().ok_or(Error::NotFound("member"))?;
    let mut added =
        with_groups(&app.store, &scope, vec![(row, direct)]).await?.pop().ok_or(Error::NotFound("member"))?;
    if matches!(who, Invitee::User(_)) && user != ctx.user {
        added.row.user.email = None;
    }
    Ok(added)
}

/// Makes a person a member, of the organisation too, if the plan has room. The organisation and the workspace are locked:
/// people are counted against the plan. Service accounts are not: an organisation has few of them by another limit.
pub(crate) async fn let_in(tx: &Tx, scope: &WorkspaceScope, plan: &Plan, user: &UserId, now: Timestamp) -> Result<()> {
    if !workspace_members::is_member(tx, scope, user).await? {
        let is_person = !users::people_among(tx, std::slice::from_ref(user)).await?.is_empty();
        if is_person && workspace_members::count(tx, scope).await? >= u64::from(plan.limits.members) {
            return Err(Error::LimitReached(format!(
                "the plan {} allows {} members in a workspace; remove somebody, or let an admin of the organization choose a \
                 larger plan",
                plan.id, plan.limits.members
            )));
        }
        organizations::join_through(tx, scope, user, now).await?;
        workspace_members::add(tx, scope, user, now).await?;
    }
    Ok(())
}

/// Puts a member into these groups, if a token carries all that the person is in then.
pub(crate) async fn put_into(tx: &Tx, scope: &WorkspaceScope, user: &UserId, chosen: &[GroupId]) -> Result<()> {
    for group in chosen {
        groups::add_member(tx, scope, group, user).await?;
    }
    standing::check_claim_of(tx, scope, user).await
}

pub(crate) fn topic(workspace: &WorkspaceId) -> Topic {
    Topic { kind: TOPIC.to_owned(), subject: workspace.to_string() }
}

async fn find(tx: &Tx, scope: &WorkspaceScope, who: &Invitee) -> Result<UserId> {
    let found = match who {
        Invitee::User(id) => users::get(tx, id).await?.filter(|user| user.may_join(scope.organization())),
        Invitee::Email(address) => {
            let mut found = users::find_by_verified_email(tx, address).await?;
            if found.len() > 1 {
                return Err(Error::conflict(
                    "address_ambiguous",
                    "several people have this verified address at different identity providers; name the person by id",
                ));
            }
            found.pop()
        }
    };
    found.map(|user| user.id).ok_or_else(|| {
        Error::invalid(
            "user",
            "nobody with this id or verified address has signed in yet; ask the person to sign in once, then add them",
        )
    })
}

pub(crate) fn choose_groups(nodes: &[GroupNode], names: &[String]) -> Result<Vec<GroupId>> {
    let default = [WS_USERS.to_owned()];
    let names = if names.is_empty() { default.as_slice() } else { names };
    let known = || nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
    let choose = |name: &String| {
        let found = nodes.iter().find(|node| node.name.as_str() == name);
        found.map(|node| node.id.clone()).ok_or_else(|| {
            Error::invalid("groups", format!("there is no group \"{name}\"; this workspace has {}", known()))
        })
    };
    names.iter().map(choose).collect()
}

/// Everybody with access, by id; up to `limit` after `after`. Addresses are told to those only who give and take access.
pub async fn list(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    after: Option<&UserId>,
    limit: u64,
) -> Result<Vec<Member>> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    let mut rows = workspace_members::list(&app.store, &scope, after, limit).await?;
    hide_addresses(app, ctx, &scope, rows.iter_mut().map(|(row, _)| row)).await?;
    with_groups(&app.store, &scope, rows).await
}

/// Takes away addresses that the caller is not to see.
pub(crate) async fn hide_addresses<'r>(
    app: &App,
    ctx: &OpContext,
    scope: &WorkspaceScope,
    rows: impl IntoIterator<Item = &'r mut WorkspaceMember>,
) -> Result<()> {
    match authz::in_workspace(&app.store, ctx, scope, WorkspaceAction::ManageMembers).await {
        Ok(()) => Ok(()),
        Err(Error::Forbidden(_)) => {
            for row in rows.into_iter().filter(|row| row.user.id != ctx.user) {
                row.user.email = None;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn with_groups(
    db: &impl Db,
    scope: &WorkspaceScope,
    rows: Vec<(WorkspaceMember, Vec<GroupId>)>,
) -> Result<Vec<Member>> {
    let nodes = groups::nodes(db, scope).await?;
    let forest = Forest::new(&nodes);
    let memberships: Vec<(GroupId, UserId)> =
        rows.iter().flat_map(|(row, groups)| groups.iter().map(|group| (group.clone(), row.user.id.clone()))).collect();
    let mut effective: HashMap<&UserId, Vec<&GroupName>> = forest.everybody(&memberships).into_iter().collect();
    let member = |(row, direct): (WorkspaceMember, Vec<GroupId>)| {
        let mut groups: Vec<GroupName> =
            direct.iter().filter_map(|group| forest.get(group)).map(|group| group.name.clone()).collect();
        groups.sort();
        let effective = effective.remove(&row.user.id).unwrap_or_default();
        Member { effective_groups: effective.into_iter().cloned().collect(), groups, row }
    };
    Ok(rows.into_iter().map(member).collect())
}

/// Takes a person's access away: the issuer refuses at once, the gateway with the next request, that of another
/// process two seconds later at the most. Everybody may give up their own, but for the last administrator.
pub async fn remove(app: &App, ctx: &OpContext, workspace: &WorkspaceId, user: &UserId) -> Result<()> {
    let action = if *user == ctx.user { WorkspaceAction::Leave } else { WorkspaceAction::ManageMembers };
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace(&tx, ctx, workspace, action).await?;
    if !workspace_members::is_member(&tx, &scope, user).await? {
        return Err(Error::NotFound("member"));
    }
    let administered = standing::is_administered(&tx, &scope).await?;
    workspace_members::remove(&tx, &scope, user).await?;
    standing::check_administered(&tx, &scope, administered).await?;
    let left = organizations::leave_through(&tx, &scope, user).await?;
    let before = serde_json::json!({ "user": user, "left_organization": left });
    app.change_in(&tx, ctx, &scope, "member.removed", user.as_str(), (Some(before), None))?;
    tx.commit().await?;
    app.bell.ring(topic(workspace));
    tracing::info!(workspace.id = %workspace, user.id = %user, "member removed");
    Ok(())
}
