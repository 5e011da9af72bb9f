//! `/workspaces/{workspace}/quota` and `/organizations/{organization}/quota`.

use axum::Json;
use axum::extract::{Path, State};
use hexabase_api::quota::{Count, OrganizationQuota, WorkspaceQuota};
use hexabase_app::quota::{self, Count as Limited};
use hexabase_app::{App, organization_quota};

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::id;

/// What a workspace's plan allows, and how much of it is left.
#[utoipa::path(get, path = "/workspaces/{workspace}/quota", tag = "workspaces",
    params(("workspace" = String, Path)), responses((status = 200, body = WorkspaceQuota)))]
pub(super) async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
) -> ApiResult<Json<WorkspaceQuota>> {
    let workspace = id("workspace", &workspace)?;
    let found = quota::headroom(&app, &ctx, &workspace).await?;
    let count = |Limited { limit, used }: Limited| Count { limit, used };
    Ok(Json(WorkspaceQuota {
        plan: found.plan.id,
        plan_version: found.plan.version,
        limit: found.plan.limits.amounts.into(),
        given: found.given.into(),
        left: found.left.into(),
        used: found.used.map(Into::into),
        default_project: found.default_project.into(),
        projects: count(found.projects),
        members: count(found.members),
    }))
}

/// What all workspaces of an organisation may use together, and how much of it is left.
#[utoipa::path(get, path = "/organizations/{organization}/quota", tag = "organizations",
    params(("organization" = String, Path)), responses((status = 200, body = OrganizationQuota)))]
pub(super) async fn of_organization(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
) -> ApiResult<Json<OrganizationQuota>> {
    let organization = id("organization", &organization)?;
    let found = organization_quota::headroom(&app, &ctx, &organization).await?;
    Ok(Json(OrganizationQuota {
        limit: found.limit.map(Into::into),
        given: found.given.into(),
        left: found.left.map(Into::into),
    }))
}
