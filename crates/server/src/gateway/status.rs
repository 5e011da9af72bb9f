//! Refusals as Kubernetes `Status` objects: what kubectl prints after "Error from server".

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::Refusal;

/// An answer of the gateway itself.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    code: StatusCode,
    reason: &'static str,
    message: String,
    retry_after: Option<Duration>,
    challenge: &'static str,
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), retry_after: None, challenge: "" }
    }

    /// 400: the request line or a header is not one the gateway forwards.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401 for a request that shows no credential at all.
    pub(super) fn no_credential(message: impl Into<String>) -> Self {
        Self {
            challenge: "Bearer realm=\"kubernetes\"",
            ..Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
        }
    }

    /// 401 for a credential that is not accepted.
    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self {
            challenge: "Bearer realm=\"kubernetes\", error=\"invalid_token\"",
            ..Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
        }
    }

    /// 403: the gateway forwards this from nobody.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// 405: a method no API server answers.
    pub(super) fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 413: the body is longer than `limit` bytes.
    pub(super) fn too_large(limit: u64) -> Self {
        let message = format!("the request body is larger than the {limit} bytes a workspace accepts");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 429: try again later.
    pub(super) fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).retry(retry_after)
    }

    /// 503. Without [`Failure::retry`] clients do not repeat the request by themselves.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// 504: the API server took the request and did not answer in time.
    pub(super) fn timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
    }

    /// The same, inviting the client to repeat the request.
    pub(super) fn retry(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// The status code, for logs.
    pub(super) fn code(&self) -> u16 {
        self.code.as_u16()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthorized { message } => Self::unauthorized(message),
            Refusal::Forbidden { message } => Self::forbidden(message),
            Refusal::NotFound { message } => Self::new(StatusCode::NOT_FOUND, "NotFound", message),
            Refusal::Unavailable { message, retry_after } => Self::unavailable(message).retry(retry_after),
            Refusal::TooManyRequests { message, retry_after } => Self::too_many(message, retry_after),
        }
    }
}

/// Whole seconds, rounded up, at least one: `Retry-After: 0` would be a busy loop.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        let seconds = self.retry_after.map(whole_seconds);
        if let Some(seconds) = seconds {
            status["details"] = json!({ "retryAfterSeconds": seconds });
        }
        let mut response = (self.code, status.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(seconds) = seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if !self.challenge.is_empty() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response) -> serde_json::Value {
        serde_json::from_slice(&axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_is_a_status_object_that_client_go_understands() {
        let retry_after = Duration::from_millis(1_500);
        let message = || "a sentence with \"quotes\"".to_owned();
        let cases = [
            (Refusal::Unauthorized { message: message() }, 401, "Unauthorized", None),
            (Refusal::Forbidden { message: message() }, 403, "Forbidden", None),
            (Refusal::NotFound { message: message() }, 404, "NotFound", None),
            (Refusal::Unavailable { message: message(), retry_after }, 503, "ServiceUnavailable", Some("2")),
            (Refusal::TooManyRequests { message: message(), retry_after }, 429, "TooManyRequests", Some("2")),
        ];
        for (refusal, code, reason, retry) in cases {
            let response = Failure::from(refusal).into_response();
            assert_eq!(response.status(), code);
            assert_eq!(response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap()), retry);
            assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), code == 401);
            let status = body(response).await;
            assert_eq!(status["kind"], "Status");
            assert_eq!(status["apiVersion"], "v1");
            assert_eq!(status["status"], "Failure");
            assert_eq!(status["reason"], reason);
            assert_eq!(status["code"], code);
            assert_eq!(status["message"], message());
            assert_eq!(status["details"]["retryAfterSeconds"].as_u64(), retry.map(|_| 2));
        }
    }

    #[test]
    fn a_client_is_never_told_to_retry_at_once() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(2_001)), 3);
    }
}
