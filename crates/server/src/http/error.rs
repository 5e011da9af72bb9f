//! The one place where a use case's error becomes HTTP.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hexabase_api::problem::{MEDIA_TYPE, Problem};
use hexabase_app::Error;

/// A refused or failed request, as `application/problem+json` (RFC 9457).
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    field: Option<String>,
    /// In seconds.
    retry_after: Option<u64>,
}

/// What a handler returns.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error that no use case knows, such as an unreadable body.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        // What does not answer may do so in a moment.
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(2);
        Self { status, code, detail: detail.into(), field: None, retry_after }
    }

    /// Names the field at fault.
    pub(super) fn with_field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Unauthenticated(_) => Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail),
            Error::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Error::Invalid { field, .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail).with_field(field)
            }
            Error::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", detail),
            Error::Conflict { code, .. } => Self::new(StatusCode::CONFLICT, code, detail),
            Error::LimitReached(_) => Self::new(StatusCode::CONFLICT, "limit_reached", detail),
            Error::TooOften { retry_after, .. } => {
                let seconds = retry_after.as_millis().div_ceil(1_000).max(1);
                let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_often", detail);
                Self { retry_after: Some(u64::try_from(seconds).unwrap_or(u64::MAX)), ..refused }
            }
            Error::Unavailable(_) | Error::Overtaken => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            }
            Error::Internal(cause) => {
                tracing::error!(error = %cause, "request failed");
                let detail = "something went wrong on our side; the request id helps the operator to find it";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: format!("/problems/{}", self.code.replace('_', "-")),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail,
            field: self.field,
            request_id: super::request_id::current(),
        };
        let mut response = (self.status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hexabase\""));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
