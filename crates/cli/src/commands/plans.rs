//! `hxb plan`.

use hexabase_api::plans::Plan;

use crate::args;
use crate::context::Context;
use crate::error::Result;
use crate::output::{price, table};

pub(crate) async fn run(context: &Context, command: args::Plan) -> Result<()> {
    let args::Plan::List = command;
    let all = context.api()?.list::<Plan>(&["plans"], &[]).await?;
    context.format.show(&all.raw, || {
        let rows = all.value.into_iter().map(|plan| {
            let price = price(plan.price_minor, &plan.currency);
            let (limits, nodes) = (plan.limits, if plan.dedicated_nodes { "dedicated" } else { "shared" });
            let (pods, projects) = (limits.pods.to_string(), limits.projects.to_string());
            [
                plan.id,
                plan.display_name,
                limits.cpu,
                limits.memory,
                limits.storage,
                pods,
                projects,
                nodes.to_owned(),
                price,
            ]
        });
        let header = ["ID", "NAME", "CPU", "MEMORY", "STORAGE", "PODS", "PROJECTS", "NODES", "PRICE/MONTH"];
        table(header, "There are no plans.", rows)
    })
}
