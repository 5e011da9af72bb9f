//! `/workspaces/{workspace}/cluster-roles`: roles in the whole workspace, preset and custom.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hexabase_api::page::Page;
use hexabase_api::roles::{Role, RoleCreate, RoleRule, RoleUpdate};
use hexabase_app::App;
use hexabase_app::roles::{self, Place, kubernetes_name};
use hexabase_core::roles::{self as rules, PresetClusterRole, RolePhase, Rule};

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, id};

/// A custom role.
pub(super) fn view(row: hexabase_backends::store::roles::Role) -> Role {
    Role {
        kubernetes_name: kubernetes_name(&row),
        id: Some(row.id),
        name: row.name.into(),
        project: row.project_id,
        preset: false,
        rules: row.rules.into_iter().map(RoleRule::from).collect(),
        in_force: row.accepted.into_iter().flatten().map(RoleRule::from).collect(),
        phase: row.phase,
        message: row.message,
    }
}

/// A role that is always there.
pub(super) fn preset(name: &str, rules: Vec<Rule>) -> Role {
    let rules: Vec<RoleRule> = rules.into_iter().map(RoleRule::from).collect();
    Role {
        id: None,
        name: name.trim_start_matches("hexabase:").to_owned(),
        kubernetes_name: name.to_owned(),
        project: None,
        preset: true,
        in_force: rules.clone(),
        rules,
        phase: RolePhase::Ready,
        message: None,
    }
}

pub(super) fn rules_of(rules: Vec<RoleRule>) -> Vec<Rule> {
    rules.into_iter().map(Rule::from).collect()
}

fn whole(workspace: &str) -> ApiResult<Place> {
    Ok(Place { workspace: id("workspace", workspace)?, project: None })
}

/// The roles that groups can be given in the whole workspace: those that are always there, then custom ones.
#[utoipa::path(get, path = "/workspaces/{workspace}/cluster-roles", tag = "roles",
    params(("workspace" = String, Path)), responses((status = 200, body = Page<Role>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
) -> ApiResult<Json<Page<Role>>> {
    let custom = roles::list(&app, &ctx, &whole(&workspace)?).await?;
    let presets = PresetClusterRole::ALL.iter().map(|role| preset(role.as_str(), rules::rules(*role)));
    Ok(Json(Page { items: presets.chain(custom.into_iter().map(view)).collect(), next_cursor: None }))
}

/// Asks for a custom role in the whole workspace. Made with your own rights there; it holds when its phase is `ready`.
#[utoipa::path(post, path = "/workspaces/{workspace}/cluster-roles", tag = "roles",
    params(("workspace" = String, Path)), request_body = RoleCreate, responses((status = 201, body = Role)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    JsonBody(body): JsonBody<RoleCreate>,
) -> ApiResult<(StatusCode, Json<Role>)> {
    let made = roles::create(&app, &ctx, &whole(&workspace)?, &body.name, rules_of(body.rules)).await?;
    Ok((StatusCode::CREATED, Json(view(made))))
}

/// A custom role of the whole workspace.
#[utoipa::path(get, path = "/workspaces/{workspace}/cluster-roles/{role}", tag = "roles",
    params(("workspace" = String, Path), ("role" = String, Path)), responses((status = 200, body = Role)))]
pub(super) async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, role)): Path<(String, String)>,
) -> ApiResult<Json<Role>> {
    let (place, role) = (whole(&workspace)?, id("role", &role)?);
    Ok(Json(view(roles::get(&app, &ctx, &place, &role).await?)))
}

/// Asks for other rules. Until they are accepted, those before hold.
#[utoipa::path(put, path = "/workspaces/{workspace}/cluster-roles/{role}", tag = "roles",
    params(("workspace" = String, Path), ("role" = String, Path)), request_body = RoleUpdate,
    responses((status = 200, body = Role)))]
pub(super) async fn update(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, role)): Path<(String, String)>,
    JsonBody(body): JsonBody<RoleUpdate>,
) -> ApiResult<Json<Role>> {
    let (place, role) = (whole(&workspace)?, id("role", &role)?);
    Ok(Json(view(roles::update(&app, &ctx, &place, &role, rules_of(body.rules)).await?)))
}

/// Removes a custom role that is given to no group.
#[utoipa::path(delete, path = "/workspaces/{workspace}/cluster-roles/{role}", tag = "roles",
    params(("workspace" = String, Path), ("role" = String, Path)), responses((status = 204)))]
pub(super) async fn delete(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((workspace, role)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let (place, role) = (whole(&workspace)?, id("role", &role)?);
    roles::delete(&app, &ctx, &place, &role).await?;
    Ok(StatusCode::NO_CONTENT)
}
