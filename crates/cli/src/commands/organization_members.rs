//! `hxb org member`.

use hexabase_api::organizations::{OrganizationMember, OrganizationMemberUpdate};
use hexabase_core::roles::OrganizationRole;

use crate::args::{OrgMember, OrgRole};
use crate::client::Api;
use crate::context::Context;
use crate::error::Result;
use crate::output::{say, table};
use crate::resolve;

/// The role as the API has it.
pub(crate) fn role(role: OrgRole) -> OrganizationRole {
    match role {
        OrgRole::Admin => OrganizationRole::Admin,
        OrgRole::Member => OrganizationRole::Member,
    }
}

pub(crate) async fn run(context: &Context, api: &Api, command: OrgMember) -> Result<()> {
    match command {
        OrgMember::List { of, search } => list(context, api, of.org.as_deref(), search.as_deref()).await,
        OrgMember::Role { person, role: wanted, of } => {
            let organization = resolve::organization(api, of.org.as_deref()).await?;
            let user = resolve::organization_member_id(api, &organization.id, &person).await?;
            let path = ["organizations", organization.id.as_str(), "members", user.as_str()];
            let body = OrganizationMemberUpdate { role: role(wanted) };
            let member = api.patch::<OrganizationMember>(&path, &body).await?;
            context.format.show(&member.raw, || {
                format!("{} is {} of {} now.", member.value.display_name, member.value.role, organization.name)
            })
        }
        OrgMember::Remove { person, of } => {
            let organization = resolve::organization(api, of.org.as_deref()).await?;
            let user = resolve::organization_member_id(api, &organization.id, &person).await?;
            api.delete(&["organizations", organization.id.as_str(), "members", user.as_str()]).await?;
            say(&format!("{person} is out of {} and of all of its workspaces.", organization.name));
            Ok(())
        }
    }
}

pub(crate) async fn list(context: &Context, api: &Api, org: Option<&str>, search: Option<&str>) -> Result<()> {
    let id = resolve::organization(api, org).await?.id;
    let query: Vec<_> = search.map(|text| ("search", text)).into_iter().collect();
    let all = api.list::<OrganizationMember>(&["organizations", id.as_str(), "members"], &query).await?;
    context.format.show(&all.raw, || {
        let rows = all.value.into_iter().map(|member| {
            let (email, role) = (member.email.unwrap_or_default(), member.role.to_string());
            [member.display_name, email, role, member.user.to_string()]
        });
        table(["NAME", "E-MAIL", "ROLE", "ID"], "There is nobody like that in this organisation.", rows)
    })
}
