//! Groups of a workspace, who is in them, and what they are given.

use std::collections::BTreeMap;

use hexabase_backends::store::groups::{self, Group, Move};
use hexabase_backends::store::workspace_members::{self, WorkspaceMember};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_backends::store::{Db, Tx, role_assignments};
use hexabase_core::groups::{Forest, MAX_DEPTH, MAX_GROUPS};
use hexabase_core::ids::{GroupId, UserId, WorkspaceId};
use hexabase_core::names::{DisplayName, GroupName, InvalidName};
use serde_json::{Value, json};

use crate::authz::{self, While, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::{members, role_assignments as given, standing};

/// A group to be made.
#[derive(Debug, Clone)]
pub struct NewGroup<'a> {
    /// Its name, which never changes.
    pub name: &'a str,
    /// Its name for people; the same when absent.
    pub display_name: Option<&'a str>,
    /// The group it is to stand below.
    pub parent: Option<GroupId>,
}

/// What is to change about a group.
#[derive(Debug, Clone, Default)]
pub struct GroupChanges {
    /// Its name for people.
    pub display_name: Option<String>,
    /// The group it is to stand below; `Some(None)` puts it at the top.
    pub parent: Option<Option<GroupId>>,
}

/// A group with the ClusterRoles given to it directly.
#[derive(Debug, Clone)]
pub struct GroupDetails {
    /// The row.
    pub group: Group,
    /// Names of the ClusterRoles.
    pub cluster_roles: Vec<String>,
}

/// Somebody who counts as a member of a group.
#[derive(Debug, Clone)]
pub struct GroupMember {
    /// The person.
    pub row: WorkspaceMember,
    /// Why: each way from a group the person was put into up to this one; of one name when it is this one.
    pub paths: Vec<Vec<GroupName>>,
}

fn display_name(text: &str) -> Result<DisplayName> {
    text.parse().map_err(|cause: InvalidName| Error::invalid("display_name", cause.to_string()))
}

/// Groups with the ClusterRoles given to each directly, by id; up to `limit` after `after`.
pub async fn list(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    after: Option<&GroupId>,
    limit: u64,
) -> Result<Vec<GroupDetails>> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    let rows = groups::list(&app.store, &scope, after, limit).await?;
    with_roles(app, ctx, &scope, rows).await
}

async fn with_roles(app: &App, ctx: &OpContext, scope: &WorkspaceScope, rows: Vec<Group>) -> Result<Vec<GroupDetails>> {
    let given = role_assignments::all(&app.store, scope).await?;
    let details = |group: Group| {
        let of_group = given.iter().filter(|given| given.group_id == group.id && given.project_id.is_none());
        let cluster_roles = of_group.filter(|given| given.holds(ctx.now)).map(|given| given.role.clone()).collect();
        GroupDetails { group, cluster_roles }
    };
    Ok(rows.into_iter().map(details).collect())
}

/// One group.
pub async fn get(app: &App, ctx: &OpContext, workspace: &WorkspaceId, id: &GroupId) -> Result<GroupDetails> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    let row = find(&app.store, &scope, id).await?;
    with_roles(app, ctx, &scope, vec![row]).await?.pop().ok_or(Error::NotFound("group"))
}

async fn find(db: &impl Db, scope: &WorkspaceScope, id: &GroupId) -> Result<Group> {
    groups::get(db, scope, id).await?.ok_or(Error::NotFound("group"))
}

fn no_such_parent() -> Error {
    Error::invalid("parent", "there is no such group in this workspace")
}

fn too_deep() -> Error {
    Error::LimitReached(format!(
        "groups stand at most {MAX_DEPTH} deep, which nobody can raise; choose a group further up"
    ))
}

/// Makes a group. Nobody is in it at first.
pub async fn create(app: &App, ctx: &OpContext, workspace: &WorkspaceId, new: &NewGroup<'_>) -> Result<GroupDetails> {
    let name: GroupName = new.name.parse()?;
    let group = Group {
        id: app.new_id()?,
        display_name: display_name(new.display_name.unwrap_or(new.name))?,
        name,
        parent_id: new.parent.clone(),
        is_default: false,
    };
    let tx = app.store.begin().await?;
    let scope =
        authz::locked_workspace_while(&tx, ctx, workspace, WorkspaceAction::ManageMembers, While::Living).await?;
    let nodes = groups::nodes(&tx, &scope).await?;
    if nodes.len() >= MAX_GROUPS {
        let detail = format!("a workspace has at most {MAX_GROUPS} groups, which nobody can raise; delete one first");
        return Err(Error::LimitReached(detail));
    }
    // Kubernetes tells `ops` and `Ops` apart, people do not.
    if let Some(taken) = nodes.iter().find(|node| node.name.as_str().eq_ignore_ascii_case(group.name.as_str())) {
        let detail = format!("the workspace already has a group called {}", taken.name);
        return Err(Error::conflict("name_taken", detail));
    }
    if let Some(parent) = &group.parent_id {
        match Forest::new(&nodes).depth(parent) {
            0 => return Err(no_such_parent()),
            depth if depth >= MAX_DEPTH => return Err(too_deep()),
            _ => {}
        }
    }
    groups::insert(&tx, &scope, &group).await?;
    let after = told(&group, &nodes_by_id(&nodes));
    app.change_in(&tx, ctx, &scope, "group.created", group.id.as_str(), (None, Some(after)))?;
    tx.commit().await?;
    Ok(GroupDetails { group, cluster_roles: Vec::new() })
}

type Names<'a> = BTreeMap<&'a GroupId, &'a GroupName>;

fn nodes_by_id(nodes: &[hexabase_core::groups::GroupNode]) -> Names<'_> {
    nodes.iter().map(|node| (&node.id, &node.name)).collect()
}

/// What the audit log tells of a group.
fn told(group: &Group, names: &Names<'_>) -> Value {
    let parent = group.parent_id.as_ref().and_then(|parent| names.get(parent));
    json!({ "name": group.name, "display_name": group.display_name, "parent": parent })
}

/// Gives a group another name for people, or another place. Whoever is in it is from then on in what it stands below.
pub async fn update(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    id: &GroupId,
    changes: &GroupChanges,
) -> Result<GroupDetails> {
    let renamed = changes.display_name.as_deref().map(display_name).transpose()?;
    let tx = app.store.begin().await?;
    let (action, span) = match changes.parent {
        // Whoever is in it is then in more groups; at the top, in fewer.
        Some(Some(_)) => (WorkspaceAction::GiveAccess, While::Living),
        Some(None) => (WorkspaceAction::ManageMembers, While::Restorable),
        None => (WorkspaceAction::ManageMembers, While::Living),
    };
    let scope = authz::locked_workspace_while(&tx, ctx, workspace, action, span).await?;
    let before = find(&tx, &scope, id).await?;
    let mut after = before.clone();
    after.display_name = renamed.unwrap_or(after.display_name);
    after.parent_id = changes.parent.clone().unwrap_or(after.parent_id);
    if after == before {
        tx.rollback().await?;
        return get(app, ctx, workspace, id).await;
    }
    if after.display_name != before.display_name {
        groups::set_display_name(&tx, &scope, id, &after.display_name).await?;
    }
    let moved = after.parent_id != before.parent_id;
    if moved {
        put_below(&tx, &scope, &before, after.parent_id.as_ref()).await?;
    }
    let nodes = groups::nodes(&tx, &scope).await?;
    let names = nodes_by_id(&nodes);
    let action = if moved { "group.moved" } else { "group.renamed" };
    let shown = (Some(told(&before, &names)), Some(told(&after, &names)));
    app.change_in(&tx, ctx, &scope, action, id.as_str(), shown)?;
    tx.commit().await?;
    if moved {
        app.bell.ring(members::topic(workspace));
    }
    get(app, ctx, workspace, id).await
}

async fn put_below(tx: &Tx, scope: &WorkspaceScope, group: &Group, parent: Option<&GroupId>) -> Result<()> {
    if group.is_default {
        return Err(is_default(group, "moved"));
    }
    let administered = standing::is_administered(tx, scope).await?;
    match groups::set_parent(tx, scope, &group.id, parent).await? {
        Move::Moved => {}
        Move::NoSuchGroup => return Err(no_such_parent()),
        Move::TooDeep => return Err(too_deep()),
        Move::Cycle => {
            let detail = format!("that group is {} itself or stands below it", group.name);
            return Err(Error::conflict("group_cycle", detail));
        }
    }
    standing::check_administered(tx, scope, administered).await?;
    standing::check_claims_within(tx, scope, &group.id).await
}

fn is_default(group: &Group, done: &str) -> Error {
    let detail = format!("{} is one of the groups that every workspace has; it cannot be {done}", group.name);
    Error::conflict("default_group", detail)
}

/// Removes a group, and with it everybody's membership in it.
pub async fn delete(app: &App, ctx: &OpContext, workspace: &WorkspaceId, id: &GroupId) -> Result<()> {
    let tx = app.store.begin().await?;
    let scope =
        authz::locked_workspace_while(&tx, ctx, workspace, WorkspaceAction::ManageMembers, While::Restorable).await?;
    let group = find(&tx, &scope, id).await?;
    if group.is_default {
        return Err(is_default(&group, "deleted"));
    }
    given::forget_expired(app, &tx, scope.organization(), workspace, ctx.now).await?;
    let nodes = groups::nodes(&tx, &scope).await?;
    let below: Vec<&str> =
        nodes.iter().filter(|node| node.parent.as_ref() == Some(id)).map(|node| node.name.as_str()).collect();
    if !below.is_empty() {
        let detail = format!("groups stand below it: {}; move or delete them first", below.join(", "));
        return Err(Error::conflict("group_in_use", detail));
    }
    let roles = role_assignments::all(&tx, &scope).await?;
    let roles: Vec<&str> =
        roles.iter().filter(|given| given.group_id == *id).map(|given| given.role.as_str()).collect();
    if !roles.is_empty() {
        let detail = format!("roles are given to it: {}; take them away first", roles.join(", "));
        return Err(Error::conflict("group_in_use", detail));
    }
    let administered = standing::is_administered(&tx, &scope).await?;
    let members = groups::memberships_in(&tx, &scope, [id]).await?;
    groups::delete(&tx, &scope, id).await?;
    standing::check_administered(&tx, &scope, administered).await?;
    let mut before = told(&group, &nodes_by_id(&nodes));
    before["members"] = members.into_iter().map(|(_, user)| user.to_string()).collect();
    app.change_in(&tx, ctx, &scope, "group.deleted", id.as_str(), (Some(before), None))?;
    tx.commit().await?;
    app.bell.ring(members::topic(workspace));
    Ok(())
}

/// Everybody who counts as a member of a group, with the reason, by person; up to `limit` after `after`. Addresses are told as
/// in [`members::list`].
pub async fn list_members(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    id: &GroupId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<GroupMember>> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::View).await?;
    find(&app.store, &scope, id).await?;
    let nodes = groups::nodes(&app.store, &scope).await?;
    let forest = Forest::new(&nodes);
    let within = forest.within(id).into_iter().map(|group| &group.id);
    let pairs = groups::memberships_in(&app.store, &scope, within).await?;
    let mut people: BTreeMap<&UserId, Vec<Vec<GroupName>>> = BTreeMap::new();
    for (group, user) in pairs.iter().filter(|(_, user)| after.is_none_or(|after| user > after)) {
        let path = forest.path(group, id).unwrap_or_default();
        people.entry(user).or_default().push(path.into_iter().cloned().collect());
    }
    let page: BTreeMap<&UserId, Vec<Vec<GroupName>>> = people.into_iter().take(limit).collect();
    let mut rows = workspace_members::list_among(&app.store, &scope, page.keys().copied()).await?;
    members::hide_addresses(app, ctx, &scope, &mut rows).await?;
    let member = |row: WorkspaceMember| {
        let mut paths = page.get(&row.user.id).cloned().unwrap_or_default();
        paths.sort_by_key(|path| (path.len(), path.first().cloned()));
        GroupMember { row, paths }
    };
    Ok(rows.into_iter().map(member).collect())
}

/// The group, if the person is a member of its workspace.
async fn group_for(tx: &Tx, scope: &WorkspaceScope, id: &GroupId, user: &UserId) -> Result<Group> {
    let group = find(tx, scope, id).await?;
    if !workspace_members::is_member(tx, scope, user).await? {
        return Err(Error::NotFound("member"));
    }
    Ok(group)
}

/// Puts a member of the workspace into a group. Doing it twice changes nothing.
pub async fn add_member(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    id: &GroupId,
    user: &UserId,
) -> Result<()> {
    let tx = app.store.begin().await?;
    let scope = authz::locked_workspace_while(&tx, ctx, workspace, WorkspaceAction::GiveAccess, While::Living).await?;
    let group = group_for(&tx, &scope, id, user).await?;
    if !groups::add_member(&tx, &scope, id, user).await? {
        return Ok(tx.rollback().await?);
    }
    standing::check_claim_of(&tx, &scope, user).await?;
    let after = json!({ "group": group.name, "user": user });
    app.change_in(&tx, ctx, &scope, "group.member_added", id.as_str(), (None, Some(after)))?;
    Ok(tx.commit().await?)
}

/// Takes somebody out of a group; the person stays a member of the workspace. Doing it twice changes nothing.
pub async fn remove_member(
    app: &App,
    ctx: &OpContext,
    workspace: &WorkspaceId,
    id: &GroupId,
    user: &UserId,
) -> Result<()> {
    let tx = app.store.begin().await?;
    let scope =
        authz::locked_workspace_while(&tx, ctx, workspace, WorkspaceAction::ManageMembers, While::Restorable).await?;
    let group = group_for(&tx, &scope, id, user).await?;
    let administered = standing::is_administered(&tx, &scope).await?;
    if !groups::remove_member(&tx, &scope, id, user).await? {
        return Ok(tx.rollback().await?);
    }
    standing::check_administered(&tx, &scope, administered).await?;
    let before = json!({ "group": group.name, "user": user });
    app.change_in(&tx, ctx, &scope, "group.member_removed", id.as_str(), (Some(before), None))?;
    tx.commit().await?;
    app.bell.ring(members::topic(workspace));
    Ok(())
}
