//! `hxb org member`.

use hexabase_api::organizations::{OrganizationMember, OrganizationMemberRemoved, OrganizationMemberUpdate};
use hexabase_core::ids::{OrganizationId, UserId};
use hexabase_core::roles::OrganizationRole;

use super::service_account_tokens::left_behind;
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
            let ended = remove(api, &organization.id, &user).await?;
            say(&format!("{person} is out of {} and of all of its workspaces.{ended}", organization.name));
            Ok(())
        }
    }
}

/// Takes somebody out of an organisation; sentences about the tokens that ended with that, and those that may not have, if there
/// are any.
pub(super) async fn remove(api: &Api, organization: &OrganizationId, user: &UserId) -> Result<String> {
    let path = ["organizations", organization.as_str(), "members", user.as_str()];
    let removed = api.delete_for::<OrganizationMemberRemoved>(&path).await?.value;
    let ended = match removed.tokens_ended {
        0 => String::new(),
        1 => " One token of a service account ended, which that person had made.".to_owned(),
        many => format!(" {many} tokens of service accounts ended, which that person had made."),
    };
    Ok(ended + &left_behind(user, removed.left_behind))
}

pub(crate) async fn list(context: &Context, api: &Api, org: Option<&str>, search: Option<&str>) -> Result<()> {
    let id = resolve::organization(api, org).await?.id;
    let query: Vec<_> = search.map(|text| ("search", text)).into_iter().collect();
    let all = api.list::<OrganizationMember>(&["organizations", id.as_str(), "members"], &query).await?;
    context.format.show(&all.raw, || {
        let rows = all.value.into_iter().map(|member| {
            let (email, role) = (member.email.unwrap_or_default(), member.role.to_string());
            [member.display_name, member.kind.to_string(), email, role, member.user.to_string()]
        });
        table(["NAME", "KIND", "E-MAIL", "ROLE", "ID"], "There is nobody like that in this organization.", rows)
    })
}
