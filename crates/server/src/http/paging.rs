//! Cursors, of lists and of what is done in several requests: opaque to callers, the last id of the one before.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hexabase_api::page::{Page, PageQuery};

use super::error::{ApiError, ApiResult};

/// Where a page starts and how long it is.
#[derive(Debug)]
pub(super) struct Window<T> {
    /// The last id of the page before.
    pub after: Option<T>,
    /// Most items.
    pub limit: u32,
}

/// Reads the query of a list.
pub(super) fn window<T: std::str::FromStr>(query: &PageQuery) -> ApiResult<Window<T>> {
    let limit = query.limit.unwrap_or(50);
    if !(1..=200).contains(&limit) {
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "limit must be from 1 to 200"));
    }
    let unreadable =
        || ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "cursor is not one that this list gave out");
    let after = match &query.cursor {
        None => None,
        Some(cursor) => {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| unreadable())?;
            let text = String::from_utf8(bytes).map_err(|_| unreadable())?;
            Some(text.parse().map_err(|_| unreadable())?)
        }
    };
    Ok(Window { after, limit })
}

/// A page out of at most `limit + 1` rows; the surplus row only says that there is more.
pub(super) fn page<R, T>(mut rows: Vec<R>, limit: u32, id: impl Fn(&R) -> String, view: impl FnMut(R) -> T) -> Page<T> {
    let limit = limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = if more { rows.last().map(|row| cursor(&id(row))) } else { None };
    Page { items: rows.into_iter().map(view).collect(), next_cursor }
}

/// The cursor that tells a place to [`window`].
pub(super) fn cursor(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}
