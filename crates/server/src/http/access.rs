//! `/workspaces/{workspace}/access`: who may do what inside, and why.

use axum::Json;
use axum::extract::{Path, State};
use hexabase_api::access::{
    AccessAsked, AccessExplanation, AccessGrant, AccessHolder, AccessHolders, AccessReason, ExplainQuery, WhoCanQuery,
};
use hexabase_api::roles::RoleRule;
use hexabase_app::access::{self, Asked, Grant, Holder, Reason, Resolved};
use hexabase_app::{App, Error};

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{Query, id};

const NOTE: &str =
    "This is what is given through Hexabase; who was bound inside the workspace by other means is not told.";

fn asked(Resolved { verb, api_group, resource, namespace, name }: Resolved) -> AccessAsked {
    AccessAsked { verb, api_group, resource, namespace, name }
}

fn grant(Grant { assignment, group, project, rule }: Grant) -> AccessGrant {
    AccessGrant {
        assignment: assignment.id,
        group: group.into(),
        role: assignment.role,
        project,
        expires_at: assignment.expires_at,
        rule: rule.map(RoleRule::from),
    }
}

fn reasons(reasons: Vec<Reason>) -> Vec<AccessReason> {
    let reason = |reason: Reason| AccessReason {
        path: reason.path.into_iter().map(String::from).collect(),
        grant: grant(reason.grant),
    };
    reasons.into_iter().map(reason).collect()
}

/// Whether somebody may do something inside the workspace, and through which group, role and rule. Decided by the workspace's
/// own Kubernetes; about others, members of `WSAdmins` may ask.
#[utoipa::path(get, path = "/workspaces/{workspace}/access/explain", tag = "roles",
    params(("workspace" = String, Path), ExplainQuery), responses((status = 200, body = AccessExplanation)))]
pub(super) async fn explain(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(query): Query<ExplainQuery>,
) -> ApiResult<Json<AccessExplanation>> {
    let workspace = id("workspace", &workspace)?;
    let ExplainQuery { user, verb, resource, namespace, name } = query;
    let user = user.map(|user| user.parse()).transpose().map_err(|_| Error::NotFound("member"))?;
    let about = Asked { verb, resource, namespace, name };
    let found = access::explain(&app, &ctx, &workspace, user.as_ref(), &about).await?;
    Ok(Json(AccessExplanation {
        user: found.user,
        asked: asked(found.asked),
        allowed: found.allowed,
        kubernetes: found.kubernetes,
        because: reasons(found.because),
        unread: reasons(found.unread),
    }))
}

/// Who may do something inside the workspace, as far as it is given through the platform: whom its people have bound inside it
/// by other means is not told. Every member may ask. Where you may ask the workspace about others, its own verdict stands beside
/// each person.
#[utoipa::path(get, path = "/workspaces/{workspace}/access/who-can", tag = "roles",
    params(("workspace" = String, Path), WhoCanQuery), responses((status = 200, body = AccessHolders)))]
pub(super) async fn who_can(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(workspace): Path<String>,
    Query(query): Query<WhoCanQuery>,
) -> ApiResult<Json<AccessHolders>> {
    let workspace = id("workspace", &workspace)?;
    let WhoCanQuery { verb, resource, namespace, name } = query;
    let found = access::who_can(&app, &ctx, &workspace, &Asked { verb, resource, namespace, name }).await?;
    let people = found.people.into_iter().map(|Holder { row, groups, allowed }| AccessHolder {
        user: row.user.id,
        display_name: row.user.display_name.into(),
        email: row.user.email,
        groups: groups.into_iter().map(String::from).collect(),
        allowed,
    });
    Ok(Json(AccessHolders {
        asked: asked(found.asked),
        grants: found.grants.into_iter().map(grant).collect(),
        unread: found.unread.into_iter().map(grant).collect(),
        people: people.collect(),
        note: NOTE.to_owned(),
    }))
}
