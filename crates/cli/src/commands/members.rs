//! `hxb member`.

use hexabase_api::members::{Member, MemberAdd};

use crate::args;
use crate::context::Context;
use crate::error::Result;
use crate::output::{say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Member) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Member::Add { person, place, groups } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let (user, email) = if person.contains('@') { (None, Some(person)) } else { (Some(person), None) };
            let body = MemberAdd { user, email, groups };
            let member = api.post::<Member>(&["workspaces", workspace.as_str(), "members"], &body).await?;
            context.format.show(&member.raw, || {
                format!(
                    "{} has access to workspace {}, in {}.",
                    member.value.display_name,
                    place.workspace,
                    member.value.groups.join(", ")
                )
            })
        }
        args::Member::List { place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let all = api.list::<Member>(&["workspaces", workspace.as_str(), "members"], &[]).await?;
            context.format.show(&all.raw, || {
                let rows = all.value.into_iter().map(|member| {
                    let (kind, email) = (member.kind.to_string(), member.email.unwrap_or_default());
                    let groups = (member.groups.join(", "), member.effective_groups.join(", "));
                    [member.display_name, kind, email, groups.0, groups.1, member.user.to_string()]
                });
                table(["NAME", "KIND", "E-MAIL", "GROUPS", "EFFECTIVE GROUPS", "ID"], "Nobody has access.", rows)
            })
        }
        args::Member::Remove { person, place } => {
            let workspace = resolve::workspace_id(&api, &place.workspace).await?;
            let user = resolve::member_id(&api, &workspace, &person).await?;
            api.delete(&["workspaces", workspace.as_str(), "members", user.as_str()]).await?;
            say(&format!("{person} has no access to workspace {} any more.", place.workspace));
            Ok(())
        }
    }
}
