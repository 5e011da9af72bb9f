//! `hxb group`.

use hexabase_api::groups::{Group, GroupCreate, GroupMember, GroupUpdate};
use hexabase_core::ids::GroupId;

use crate::args;
use crate::client::Api;
use crate::context::Context;
use crate::error::Result;
use crate::output::{fields, say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Group) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Group::Create { name, place, below, display_name } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let parent = match below {
                Some(below) => Some(resolve::group(&api, &workspace, &below).await?.id.to_string()),
                None => None,
            };
            let body = GroupCreate { name, display_name, parent };
            let made = api.post::<Group>(&["workspaces", workspace.as_str(), "groups"], &body).await?;
            context
                .format
                .show(&made.raw, || format!("Group {} was made in workspace {}.", made.value.name, place.workspace))
        }
        args::Group::List { place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let all = api.list::<Group>(&["workspaces", workspace.as_str(), "groups"], &[]).await?;
            context.format.show(&all.raw, || {
                let rows = all.value.iter().map(|group| {
                    let parent = name_of(&all.value, group.parent.as_ref());
                    [group.name.clone(), group.display_name.clone(), parent, group.cluster_roles.join(", ")]
                });
                table(["NAME", "DISPLAY NAME", "BELOW", "CLUSTER ROLES"], "There are no groups.", rows)
            })
        }
        args::Group::Get { group, place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let all = resolve::groups(&api, &workspace).await?;
            let id = resolve::group_among(&all, &group)?.id.clone();
            let one = api.get::<Group>(&["workspaces", workspace.as_str(), "groups", id.as_str()]).await?;
            context.format.show(&one.raw, || {
                fields([
                    ("Name", one.value.name.clone()),
                    ("Display name", one.value.display_name.clone()),
                    ("Id", one.value.id.to_string()),
                    ("Below", name_of(&all, one.value.parent.as_ref())),
                    ("Cluster roles", one.value.cluster_roles.join(", ")),
                    ("Default", if one.value.is_default { "yes" } else { "no" }.to_owned()),
                ])
            })
        }
        args::Group::Rename { group, display_name, place } => {
            let change = GroupUpdate { display_name: Some(display_name), ..GroupUpdate::default() };
            update(context, &api, &place, &group, |_| Ok(change)).await
        }
        args::Group::Move { group, place, below, top: _ } => {
            update(context, &api, &place, &group, |all| {
                let parent = below.as_deref().map(|below| resolve::group_among(all, below)).transpose()?;
                let parent = Some(parent.map(|parent| parent.id.to_string()));
                Ok(GroupUpdate { parent, ..GroupUpdate::default() })
            })
            .await
        }
        args::Group::Delete { group, place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let id = resolve::group(&api, &workspace, &group).await?.id;
            api.delete(&["workspaces", workspace.as_str(), "groups", id.as_str()]).await?;
            say(&format!("Group {group} is gone from workspace {}.", place.workspace));
            Ok(())
        }
        args::Group::Members { group, place } => members(context, &api, &group, &place).await,
        args::Group::Add { group, person, place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let id = resolve::group(&api, &workspace, &group).await?.id;
            let user = resolve::member_id(&api, &workspace, &person).await?;
            let path = ["workspaces", workspace.as_str(), "groups", id.as_str(), "members", user.as_str()];
            api.put_nothing(&path).await?;
            say(&format!("{person} is in group {group}."));
            Ok(())
        }
        args::Group::Remove { group, person, place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let id = resolve::group(&api, &workspace, &group).await?.id;
            let user = resolve::member_id(&api, &workspace, &person).await?;
            let path = ["workspaces", workspace.as_str(), "groups", id.as_str(), "members", user.as_str()];
            api.delete(&path).await?;
            say(&format!("{person} is no longer in group {group} itself."));
            Ok(())
        }
    }
}

fn name_of(all: &[Group], id: Option<&GroupId>) -> String {
    let Some(id) = id else { return String::new() };
    all.iter().find(|group| group.id == *id).map_or_else(|| id.to_string(), |group| group.name.clone())
}

async fn update(
    context: &Context,
    api: &Api,
    place: &args::In,
    group: &str,
    change: impl FnOnce(&[Group]) -> Result<GroupUpdate>,
) -> Result<()> {
    let workspace = resolve::workspace_id(api, &place.workspace).await?;
    let all = resolve::groups(api, &workspace).await?;
    let id = resolve::group_among(&all, group)?.id.clone();
    let body = change(&all)?;
    let one = api.patch::<Group>(&["workspaces", workspace.as_str(), "groups", id.as_str()], &body).await?;
    context.format.show(&one.raw, || {
        let below = match &one.value.parent {
            Some(parent) => format!("below {}", name_of(&all, Some(parent))),
            None => "at the top".to_owned(),
        };
        format!("Group {} ({}) stands {below}.", one.value.name, one.value.display_name)
    })
}

async fn members(context: &Context, api: &Api, group: &str, place: &args::In) -> Result<()> {
    let workspace = resolve::workspace_id(api, &place.workspace).await?;
    let id = resolve::group(api, &workspace, group).await?.id;
    let path = ["workspaces", workspace.as_str(), "groups", id.as_str(), "members"];
    let all = api.list::<GroupMember>(&path, &[]).await?;
    context.format.show(&all.raw, || {
        let rows = all.value.into_iter().map(|member| {
            let through: Vec<String> =
                member.paths.iter().filter(|path| path.len() > 1).map(|path| path.join(" < ")).collect();
            let direct = if member.direct { "yes" } else { "no" };
            [
                member.display_name,
                member.kind.to_string(),
                member.email.unwrap_or_default(),
                direct.to_owned(),
                through.join(", "),
                member.user.to_string(),
            ]
        });
        table(["NAME", "KIND", "E-MAIL", "DIRECT", "THROUGH", "ID"], "Nobody is in this group.", rows)
    })
}
