//! `/organizations/{organization}/invitations` and `/invitations/accept`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hexabase_api::invitations::{
    Invitation, InvitationAccept, InvitationAccepted, InvitationCreate, InvitationMail, InvitationWorkspace,
};
use hexabase_api::page::{Page, PageQuery};
use hexabase_app::invitations::{self, Details, InvitedWorkspace, Made, Request};
use hexabase_app::{App, Error};
use hexabase_core::ids::InvitationId;

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{JsonBody, Query, id};
use super::idempotency::ToldOnce;
use super::paging;

fn workspace(row: InvitedWorkspace) -> InvitationWorkspace {
    let groups = row.groups.into_iter().map(String::from).collect();
    InvitationWorkspace { workspace: row.id, name: row.name.into(), groups }
}

fn view(details: Details) -> Invitation {
    let Details { row, state, workspaces } = details;
    let message = row.mail_message;
    Invitation {
        id: row.id,
        organization: row.organization_id,
        email: row.address.into(),
        role: row.role,
        workspaces: workspaces.into_iter().map(workspace).collect(),
        language: row.language,
        state,
        invited_by: row.invited_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        accepted_by: row.accepted_by,
        accepted_at: row.accepted_at,
        resent: row.resent,
        mail: row.mail_state.map(|state| InvitationMail { state, message }),
        accept_url: None,
    }
}

/// The invitation, with its link if there is one to pass on. What is kept for a repeated request is without it.
fn made(status: StatusCode, Made { details, accept_url }: Made) -> ApiResult<Response> {
    let plain = view(details);
    let kept = serde_json::to_string(&plain).map_err(Error::internal)?;
    let mut response = (status, Json(Invitation { accept_url, ..plain })).into_response();
    response.extensions_mut().insert(ToldOnce { kept });
    Ok(response)
}

/// Invites a person by address, whether or not they have ever signed in.
#[utoipa::path(post, path = "/organizations/{organization}/invitations", tag = "invitations",
    params(("organization" = String, Path)), request_body = InvitationCreate,
    responses((status = 201, body = Invitation)))]
pub(super) async fn create(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
    JsonBody(body): JsonBody<InvitationCreate>,
) -> ApiResult<Response> {
    let organization = id("organization", &organization)?;
    let InvitationCreate { email, role, workspaces, language } = body;
    let workspaces = workspaces.into_iter().map(|one| (one.workspace, one.groups)).collect();
    let wanted = Request { email, role, workspaces, language };
    made(StatusCode::CREATED, invitations::create(&app, &ctx, &organization, &wanted).await?)
}

/// The invitations of an organisation, whatever became of them; never their tokens.
#[utoipa::path(get, path = "/organizations/{organization}/invitations", tag = "invitations",
    params(("organization" = String, Path), PageQuery), responses((status = 200, body = Page<Invitation>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<Invitation>>> {
    let organization = id("organization", &organization)?;
    let window = paging::window::<InvitationId>(&query)?;
    let (after, most) = (window.after.as_ref(), u64::from(window.limit) + 1);
    let rows = invitations::list(&app, &ctx, &organization, after, most).await?;
    Ok(Json(paging::page(rows, window.limit, |one| one.row.id.to_string(), view)))
}

/// Sends a pending or expired invitation again, with a new token and a new end. The old token is good for nothing any more.
#[utoipa::path(post, path = "/organizations/{organization}/invitations/{invitation}/resend", tag = "invitations",
    params(("organization" = String, Path), ("invitation" = String, Path)),
    responses((status = 200, body = Invitation)))]
pub(super) async fn resend(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((organization, invitation)): Path<(String, String)>,
) -> ApiResult<Response> {
    let organization = id("organization", &organization)?;
    let invitation = id("invitation", &invitation)?;
    made(StatusCode::OK, invitations::resend(&app, &ctx, &organization, &invitation).await?)
}

/// Takes an invitation back.
#[utoipa::path(delete, path = "/organizations/{organization}/invitations/{invitation}", tag = "invitations",
    params(("organization" = String, Path), ("invitation" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path((organization, invitation)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let organization = id("organization", &organization)?;
    let invitation = id("invitation", &invitation)?;
    invitations::revoke(&app, &ctx, &organization, &invitation).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Accepts an invitation: the caller's verified address must be the invited one.
#[utoipa::path(post, path = "/invitations/accept", tag = "invitations", request_body = InvitationAccept,
    responses((status = 200, body = InvitationAccepted)))]
pub(super) async fn accept(
    State(app): State<App>,
    Caller(ctx): Caller,
    JsonBody(body): JsonBody<InvitationAccept>,
) -> ApiResult<Json<InvitationAccepted>> {
    let accepted = invitations::accept(&app, &ctx, &body.token).await?;
    Ok(Json(InvitationAccepted {
        organization: accepted.organization.id,
        name: accepted.organization.name.into(),
        role: accepted.role,
        workspaces: accepted.workspaces.into_iter().map(workspace).collect(),
    }))
}
