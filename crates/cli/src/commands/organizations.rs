//! `hxb org`.

use hexabase_api::organizations::{Organization, OrganizationCreate, OrganizationTransfer, OrganizationUpdate};
use hexabase_api::users::Me;

use super::{confirm, organization_members, quota};
use crate::args::Org;
use crate::clock;
use crate::context::Context;
use crate::error::Result;
use crate::output::{age, fields, say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: Org) -> Result<()> {
    let api = context.api()?;
    match command {
        Org::List => {
            let all = api.list::<Organization>(&["organizations"], &[]).await?;
            context.format.show(&all.raw, || {
                let now = clock::now();
                let rows = all.value.into_iter().map(|one| {
                    let personal = if one.personal { "yes" } else { "no" };
                    [one.name, one.role.to_string(), personal.to_owned(), age(one.created_at, now), one.id.to_string()]
                });
                table(["NAME", "ROLE", "PERSONAL", "AGE", "ID"], "You are in no organization.", rows)
            })
        }
        Org::Get { org } => {
            let id = resolve::organization(&api, org.as_deref()).await?.id;
            let one = api.get::<Organization>(&["organizations", id.as_str()]).await?;
            context.format.show(&one.raw, || details(&one.value))
        }
        Org::Quota { org } => {
            let id = resolve::organization_id(&api, org.as_deref()).await?;
            quota::of_organization(context, &api, &id).await
        }
        Org::Create { name } => {
            let one = api.post::<Organization>(&["organizations"], &OrganizationCreate { name }).await?;
            context.format.show(&one.raw, || format!("Organization {} ({}) was made.", one.value.name, one.value.id))
        }
        Org::Members { org } => organization_members::list(context, &api, org.as_deref(), None).await,
        Org::Member(command) => organization_members::run(context, &api, command).await,
        Org::Rename { org, name } => {
            let id = resolve::organization(&api, Some(&org)).await?.id;
            let body = OrganizationUpdate { name };
            let one = api.patch::<Organization>(&["organizations", id.as_str()], &body).await?;
            context.format.show(&one.raw, || format!("Organization {org} is now called {}.", one.value.name))
        }
        Org::Delete { org, yes } => {
            let one = resolve::organization(&api, Some(&org)).await?;
            confirm(yes, "organization", &one.name).await?;
            api.delete(&["organizations", one.id.as_str()]).await?;
            say(&format!("Organization {} ({}) is deleted.", one.name, one.id));
            Ok(())
        }
        Org::Transfer { org, person } => {
            let one = resolve::organization(&api, Some(&org)).await?;
            let user = resolve::organization_member_id(&api, &one.id, &person).await?.to_string();
            let path = ["organizations", one.id.as_str(), "transfer"];
            let after = api.post::<Organization>(&path, &OrganizationTransfer { user }).await?;
            context.format.show(&after.raw, || {
                format!("Organization {} is handed over to {person}; you are a {} now.", one.name, after.value.role)
            })
        }
        Org::Leave { org } => {
            let one = resolve::organization(&api, Some(&org)).await?;
            let me = api.get::<Me>(&["me"]).await?.value.id;
            let ended = organization_members::remove(&api, &one.id, &me).await?;
            say(&format!("You have left {} and its workspaces.{ended}", one.name));
            Ok(())
        }
    }
}

fn details(one: &Organization) -> String {
    fields([
        ("Name", one.name.clone()),
        ("Id", one.id.to_string()),
        ("Your role", one.role.to_string()),
        ("Personal", if one.personal { "yes" } else { "no" }.to_owned()),
        ("Made", one.created_at.to_string()),
    ])
}
