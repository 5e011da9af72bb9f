//! `/plans`.

use axum::Json;
use axum::extract::State;
use hexabase_api::page::Page;
use hexabase_api::plans::Plan;
use hexabase_app::{App, plans};

use super::caller::Caller;
use super::error::ApiResult;

/// The plans that new workspaces can choose.
#[utoipa::path(get, path = "/plans", tag = "plans", responses((status = 200, body = Page<Plan>)))]
pub(super) async fn list(State(app): State<App>, Caller(_ctx): Caller) -> ApiResult<Json<Page<Plan>>> {
    let items = plans::list(&app).await?.into_iter().map(Plan::from).collect();
    Ok(Json(Page { items, next_cursor: None }))
}
