//! `hxb group`.

use hexabase_api::groups::Group;

use crate::args;
use crate::context::Context;
use crate::error::Result;
use crate::output::table;
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Group) -> Result<()> {
    let args::Group::List { place } = command;
    let api = context.api()?;
    let workspace = resolve::workspace_id(&api, &place.workspace).await?;
    let all = api.list::<Group>(&["workspaces", workspace.as_str(), "groups"], &[]).await?;
    context.format.show(&all.raw, || {
        let name_of = |id| {
            all.value.iter().find(|group| group.id == id).map_or_else(|| id.to_string(), |group| group.name.clone())
        };
        let rows = all.value.iter().map(|group| {
            let parent = group.parent.clone().map(name_of).unwrap_or_default();
            [group.name.clone(), group.display_name.clone(), parent, group.cluster_roles.join(", ")]
        });
        table(["NAME", "DISPLAY NAME", "BELOW", "CLUSTER ROLES"], "There are no groups.", rows)
    })
}
