//! `/organizations/{organization}/audit` and `/me/audit`.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use hexabase_api::audit::{AuditHead, AuditQuery, AuditRecord};
use hexabase_api::page::{Page, PageQuery};
use hexabase_app::audit::{self, Export};
use hexabase_app::{App, Error};
use hexabase_backends::store::audit::{AuditFilter, AuditRow};

use super::caller::Caller;
use super::error::ApiResult;
use super::extract::{Query, id};
use super::paging;

/// Media type of an export: one JSON object per line.
const JSON_LINES: &str = "application/x-ndjson";
/// Header of an export with the place and hash of the log's end.
const HEAD: HeaderName = HeaderName::from_static("x-audit-head");

fn view(chain: &str, row: AuditRow) -> AuditRecord {
    AuditRecord::new(chain.to_owned(), row.seq, row.previous, row.hash, row.entry)
}

fn page(chain: &str, rows: Vec<AuditRow>, limit: u32) -> Json<Page<AuditRecord>> {
    Json(paging::page(rows, limit, |row| row.seq.to_string(), |row| view(chain, row)))
}

/// What was changed in an organisation, by whom and from where; for its admins.
#[utoipa::path(get, path = "/organizations/{organization}/audit", tag = "audit",
    params(("organization" = String, Path), AuditQuery), responses((status = 200, body = Page<AuditRecord>)))]
pub(super) async fn list(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
    Query(query): Query<AuditQuery>,
) -> ApiResult<Json<Page<AuditRecord>>> {
    let organization = id("organization", &organization)?;
    let AuditQuery { actor, action, subject, workspace, since, until, cursor, limit } = query;
    let window = paging::window::<i64>(&PageQuery { cursor, limit })?;
    let no_id = |_| Error::invalid("workspace", "this is not the id of a workspace; it starts with ws-");
    let workspace = workspace.map(|workspace| workspace.parse().map_err(no_id)).transpose()?;
    let filter = AuditFilter { actor, action, subject, workspace, since, until };
    let (after, limit) = (window.after.unwrap_or(0), u64::from(window.limit) + 1);
    let rows = audit::list(&app, &ctx, &organization, &filter, after, limit).await?;
    Ok(page(organization.as_str(), rows, window.limit))
}

/// Where the log of an organisation ends.
#[utoipa::path(get, path = "/organizations/{organization}/audit/head", tag = "audit",
    params(("organization" = String, Path)), responses((status = 200, body = AuditHead)))]
pub(super) async fn head(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
) -> ApiResult<Json<AuditHead>> {
    let organization = id("organization", &organization)?;
    let head = audit::head(&app, &ctx, &organization).await?;
    Ok(Json(AuditHead { chain: organization.into(), seq: head.seq, hash: head.hash }))
}

/// The whole log of an organisation as JSON lines, to be kept elsewhere and checked with `hxb audit verify`. The header
/// `x-audit-head` has the place and the hash of its last line, as `<seq>:<hash>`.
#[utoipa::path(get, path = "/organizations/{organization}/audit/export", tag = "audit",
    params(("organization" = String, Path)),
    responses((status = 200, body = AuditRecord, content_type = "application/x-ndjson",
        headers(("x-audit-head" = String, description = "`<seq>:<hash>` of the last line")))))]
pub(super) async fn export(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(organization): Path<String>,
) -> ApiResult<Response> {
    let organization = id("organization", &organization)?;
    let export = audit::export(&app, &ctx, &organization).await?;
    let head = format!("{}:{}", export.head().seq, export.head().hash);
    let headers = [(header::CONTENT_TYPE, JSON_LINES), (HEAD, &head)];
    Ok((headers, Body::from_stream(lines(export))).into_response())
}

/// A failure in the middle breaks the answer off, so that it cannot be taken for a whole one.
fn lines(export: Export) -> impl Stream<Item = Result<Bytes, Error>> {
    futures::stream::try_unfold(export, |mut export| async move {
        let rows = export.next().await.inspect_err(|error| tracing::error!(error = ?error, "an export broke off"))?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut text = Vec::new();
        for row in rows {
            let record = view(export.organization().as_str(), row);
            serde_json::to_writer(&mut text, &record).map_err(Error::internal)?;
            text.push(b'\n');
        }
        Ok(Some((Bytes::from(text), export)))
    })
}

/// What was changed in the caller's own account.
#[utoipa::path(get, path = "/me/audit", tag = "audit", params(PageQuery),
    responses((status = 200, body = Page<AuditRecord>)))]
pub(super) async fn list_own(
    State(app): State<App>,
    Caller(ctx): Caller,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<Page<AuditRecord>>> {
    let window = paging::window::<i64>(&query)?;
    let rows = audit::list_own(&app, &ctx, window.after.unwrap_or(0), u64::from(window.limit) + 1).await?;
    Ok(page(ctx.user.as_str(), rows, window.limit))
}
