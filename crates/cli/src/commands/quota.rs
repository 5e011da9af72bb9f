//! `hxb workspace quota` and `hxb org quota`.

use hexabase_api::projects::ProjectQuota;
use hexabase_api::quota::{Count, OrganizationQuota, WorkspaceQuota};
use hexabase_core::ids::{OrganizationId, WorkspaceId};

use crate::client::Api;
use crate::context::Context;
use crate::error::Result;
use crate::output::table;

const NAMES: [&str; 8] = ["cpu", "memory", "storage", "pods", "services", "load balancers", "volume claims", "objects"];

pub(super) async fn of_workspace(context: &Context, api: &Api, id: &WorkspaceId) -> Result<()> {
    let quota = api.get::<WorkspaceQuota>(&["workspaces", id.as_str(), "quota"]).await?;
    context.format.show(&quota.raw, || workspace(quota.value))
}

pub(super) async fn of_organization(context: &Context, api: &Api, id: &OrganizationId) -> Result<()> {
    let quota = api.get::<OrganizationQuota>(&["organizations", id.as_str(), "quota"]).await?;
    context.format.show(&quota.raw, || organization(quota.value))
}

/// In the order of the names.
fn amounts(quota: ProjectQuota) -> [String; 8] {
    let ProjectQuota { cpu, memory, storage, pods, services, load_balancers, persistent_volume_claims, objects } =
        quota;
    let [pods, services, balancers, claims, objects] =
        [pods, services, load_balancers, persistent_volume_claims, objects].map(|count| count.to_string());
    [cpu, memory, storage, pods, services, balancers, claims, objects]
}

fn lines<const N: usize>(columns: [[String; 8]; N]) -> impl Iterator<Item = (&'static str, [String; N])> {
    let cell = move |place: usize| columns.each_ref().map(|column| column[place].clone());
    NAMES.into_iter().enumerate().map(move |(place, name)| (name, cell(place)))
}

fn workspace(quota: WorkspaceQuota) -> String {
    let WorkspaceQuota { limit, given, left, used, default_project, projects, members, .. } = quota;
    let count = |name: &'static str, Count { limit, used }: Count| {
        let left = u64::from(limit).saturating_sub(used);
        (name, [limit.to_string(), used.to_string(), left.to_string(), used.to_string(), "-".to_owned()])
    };
    let used = used.map_or_else(|| std::array::from_fn(|_| "?".to_owned()), amounts);
    let rows = lines([amounts(limit), amounts(given), amounts(left), used, amounts(default_project)]);
    let rows = rows.chain([count("projects", projects), count("members", members)]);
    let rows = rows.map(|(name, [limit, given, left, used, next])| [name.to_owned(), limit, given, left, used, next]);
    table(["OF", "LIMIT", "GIVEN", "LEFT", "USED", "NEXT PROJECT"], "", rows)
}

fn organization(quota: OrganizationQuota) -> String {
    let OrganizationQuota { limit, given, left } = quota;
    let any = || std::array::from_fn(|_| "any".to_owned());
    let [limit, left] = [limit, left].map(|amount| amount.map_or_else(any, amounts));
    let rows = lines([limit, amounts(given), left]);
    let rows = rows.map(|(name, [limit, given, left])| [name.to_owned(), limit, given, left]);
    table(["OF", "LIMIT", "GIVEN", "LEFT"], "", rows)
}
