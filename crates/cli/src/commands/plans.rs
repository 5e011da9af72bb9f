//! `hxb plan`.

use hexabase_api::plans::{Estimate, Plan, Price};
use hexabase_core::ids::{OrganizationId, WorkspaceId};

use crate::args;
use crate::client::{Api, Fetched};
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output::{fields, price, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Plan) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Plan::List => list(context, &api).await,
        args::Plan::Get { plan } => {
            let mut all = api.list::<Plan>(&["plans"], &[]).await?;
            let place = all.value.iter().position(|one| one.id == plan);
            let place = place.ok_or_else(|| {
                let ids: Vec<_> = all.value.iter().map(|one| one.id.as_str()).collect();
                Error::new(Kind::NotFound, format!("plan {plan} not found; you can choose: {}", ids.join(", ")))
            })?;
            context.format.show(&all.raw["items"][place], || details(all.value.swap_remove(place)))
        }
        args::Plan::Estimate { plan, org, workspace } => {
            let (organization, workspace) = match workspace {
                Some(workspace) => {
                    let workspace = resolve::workspace(&api, &workspace).await?.value;
                    (workspace.organization, Some(workspace.id))
                }
                None => (resolve::organization_id(&api, org.as_deref()).await?, None),
            };
            let found = estimate(&api, &organization, &plan, workspace.as_ref()).await?;
            context.format.show(&found.raw, || sentence(&found.value))
        }
    }
}

/// What a choice would cost, as the server says.
pub(super) async fn estimate(
    api: &Api,
    organization: &OrganizationId,
    plan: &str,
    workspace: Option<&WorkspaceId>,
) -> Result<Fetched<Estimate>> {
    let mut query = vec![("plan", plan)];
    query.extend(workspace.map(|id| ("workspace", id.as_str())));
    api.get_with(&["organizations", organization.as_str(), "estimate"], &query).await
}

/// The same, for people.
pub(super) fn sentence(estimate: &Estimate) -> String {
    let Estimate { plan, now, then, .. } = estimate;
    let each = price(plan.price_minor, &plan.currency);
    let sleeps = plan.sleep_after_minutes.map(|minutes| format!(" It sleeps after {minutes} minutes without use."));
    format!(
        "Plan {} (version {}) is {each} per month; all workspaces of the organization: {} per month, {} now.{}",
        plan.id,
        plan.version,
        sum(then),
        sum(now),
        sleeps.unwrap_or_default()
    )
}

fn sum(prices: &[Price]) -> String {
    let written = |one: &Price| price(one.price_minor, &one.currency);
    // A currency in which nothing costs anything any more is no part of the sum.
    let some: Vec<_> = prices.iter().filter(|one| one.price_minor != 0).map(written).collect();
    match prices.first() {
        None => "nothing".to_owned(),
        Some(first) if some.is_empty() => written(first),
        Some(_) => some.join(" and "),
    }
}

async fn list(context: &Context, api: &Api) -> Result<()> {
    let all = api.list::<Plan>(&["plans"], &[]).await?;
    context.format.show(&all.raw, || {
        let rows = all.value.into_iter().map(|plan| {
            let price = price(plan.price_minor, &plan.currency);
            let nodes = nodes(&plan);
            let limits = plan.limits;
            let (pods, projects) = (limits.pods.to_string(), limits.projects.to_string());
            [plan.id, plan.display_name, limits.cpu, limits.memory, limits.storage, pods, projects, nodes, price]
        });
        let header = ["ID", "NAME", "CPU", "MEMORY", "STORAGE", "PODS", "PROJECTS", "NODES", "PRICE/MONTH"];
        table(header, "There are no plans.", rows)
    })
}

/// On which nodes a workspace can run.
fn nodes(plan: &Plan) -> String {
    match plan.max_nodes {
        0 => plan.node_class.to_string(),
        most => format!("{} (up to {most})", plan.node_class),
    }
}

fn details(plan: Plan) -> String {
    let nodes = nodes(&plan);
    let limits = plan.limits;
    fields([
        ("Id", plan.id),
        ("Name", plan.display_name),
        ("Version", plan.version.to_string()),
        ("Price/month", price(plan.price_minor, &plan.currency)),
        ("CPU", limits.cpu),
        ("Memory", limits.memory),
        ("Storage", limits.storage),
        ("Pods", limits.pods.to_string()),
        ("Services", limits.services.to_string()),
        ("Load balancers", limits.load_balancers.to_string()),
        ("Volume claims", limits.persistent_volume_claims.to_string()),
        ("Objects", limits.objects.to_string()),
        ("Projects", limits.projects.to_string()),
        ("Members", limits.members.to_string()),
        ("Workspaces", limits.workspaces.to_string()),
        ("Nodes", nodes),
        ("Kubernetes", plan.kubernetes.unwrap_or_default()),
        ("Sleeps after", plan.sleep_after_minutes.map(|minutes| format!("{minutes} minutes")).unwrap_or_default()),
        ("Store", plan.store.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_that_costs_nothing_is_no_part_of_a_sum_unless_it_is_all_of_it() {
        let price = |price_minor, currency: &str| Price { price_minor, currency: currency.to_owned() };
        let (euros, dollars) = (price(0, "EUR"), price(49_900, "USD"));
        assert_eq!(sum(&[euros.clone(), dollars]), "499.00 USD");
        assert_eq!(sum(&[price(100, "EUR"), price(100, "USD")]), "1.00 EUR and 1.00 USD");
        assert_eq!((sum(&[euros]), sum(&[])), ("0.00 EUR".to_owned(), "nothing".to_owned()));
    }
}
