//! `hxb org`.

use hexabase_api::organizations::{Organization, OrganizationCreate, OrganizationMember};

use crate::args::Org;
use crate::clock;
use crate::context::Context;
use crate::error::Result;
use crate::output::{age, fields, table};
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
                table(["NAME", "ROLE", "PERSONAL", "AGE", "ID"], "You are in no organisation.", rows)
            })
        }
        Org::Get { org } => {
            let id = resolve::organization(&api, org.as_deref()).await?.id;
            let one = api.get::<Organization>(&["organizations", id.as_str()]).await?;
            context.format.show(&one.raw, || details(&one.value))
        }
        Org::Create { name } => {
            let one = api.post::<Organization>(&["organizations"], &OrganizationCreate { name }).await?;
            context.format.show(&one.raw, || format!("Organisation {} ({}) was made.", one.value.name, one.value.id))
        }
        Org::Members { org } => {
            let id = resolve::organization(&api, org.as_deref()).await?.id;
            let all = api.list::<OrganizationMember>(&["organizations", id.as_str(), "members"], &[]).await?;
            context.format.show(&all.raw, || {
                let rows = all.value.into_iter().map(|member| {
                    [
                        member.display_name,
                        member.email.unwrap_or_default(),
                        member.role.to_string(),
                        member.user.to_string(),
                    ]
                });
                table(["NAME", "E-MAIL", "ROLE", "ID"], "Nobody is in this organisation.", rows)
            })
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
