//! `/me`.

use axum::Json;
use axum::extract::State;
use hexabase_api::users::{Me, Membership};
use hexabase_app::{App, organizations, users};

use super::caller::Caller;
use super::error::ApiResult;

/// The person who asks.
#[utoipa::path(get, path = "/me", tag = "users", responses((status = 200, body = Me)))]
pub(super) async fn me(State(app): State<App>, Caller(ctx): Caller) -> ApiResult<Json<Me>> {
    let user = users::get(&app, &ctx.user).await?;
    let organizations = organizations::list(&app, &ctx).await?;
    let membership = |(organization, role): (hexabase_backends::store::organizations::Organization, _)| Membership {
        organization: organization.id,
        name: organization.name.into(),
        role,
    };
    Ok(Json(Me {
        id: user.id,
        display_name: user.display_name.into(),
        email: user.email,
        email_verified: user.email_verified,
        organizations: organizations.into_iter().map(membership).collect(),
    }))
}
