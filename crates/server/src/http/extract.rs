//! Reading requests: strict JSON, texts that every database can hold, and ids that are absent rather than malformed.

use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use hexabase_app::Error;
use hexabase_core::ids::UserId;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ApiError, ApiResult};

/// Largest body of an API request.
pub(super) const MAX_BODY: usize = 1 << 20;
/// A body has to be here after so long, however it is spread: 1 MiB at 35 KiB/s.
const BODY_TIME: Duration = Duration::from_secs(30);
const NUL: char = '\0';
const NUL_IN_JSON: &[u8] = br"\u0000";

/// A JSON body of the expected shape; unknown fields, other media types, bodies over the limit and texts with U+0000 are
/// refused.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let content_type =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            let detail = "the body must be JSON, with the header Content-Type: application/json";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
        }
        let bytes = body(request.into_body()).await?;
        let value = serde_json::from_slice(&bytes).map_err(|cause| {
            let (status, code) = match cause.classify() {
                serde_json::error::Category::Data => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
                _ => (StatusCode::BAD_REQUEST, "not_json"),
            };
            ApiError::new(status, code, format!("the body cannot be read: {cause}"))
        })?;
        // An array would be read as the fields by position.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "the body must be a JSON object"));
        }
        match field_with_nul(&bytes) {
            Some(field) => Err(nul(&field)),
            None => Ok(Self(value)),
        }
    }
}

/// Which field of a JSON object holds the character that no PostgreSQL text can hold.
fn field_with_nul(body: &[u8]) -> Option<String> {
    // JSON has no other way to write it; where it is not written, which is nearly always, the body is not read again.
    body.windows(NUL_IN_JSON.len()).find(|window| *window == NUL_IN_JSON)?;
    place_of_nul(&serde_json::from_slice(body).ok()?)
}

fn place_of_nul(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains(NUL).then(String::new),
        Value::Array(items) => items.iter().find_map(place_of_nul),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let inside = place_of_nul(value)?;
            Some(if inside.is_empty() { name.clone() } else { format!("{name}.{inside}") })
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn nul(field: &str) -> ApiError {
    let detail = format!("{field} must not contain the character U+0000");
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail).with_field(field)
}

/// The query of the expected shape; unknown parameters are refused.
#[derive(Debug)]
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = axum::extract::Query::try_from_uri(&parts.uri).map_err(|cause| {
            ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                format!("the query cannot be read: {}", cause.body_text()),
            )
        })?;
        let mut given = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        match given.find(|(_, value)| value.contains(NUL)) {
            Some((name, _)) => Err(nul(&name)),
            None => Ok(Self(query.0)),
        }
    }
}

/// All of a body, which is bounded in size and time.
pub(super) async fn body(body: Body) -> ApiResult<Bytes> {
    body_within(BODY_TIME, body).await
}

async fn body_within(time: Duration, body: Body) -> ApiResult<Bytes> {
    match tokio::time::timeout(time, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is larger than 1 MiB")),
        Err(_) => {
            let detail = format!("the body was not here after {} seconds", time.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail))
        }
    }
}

/// An id from a path. A text that cannot be an id is answered like an id that does not exist.
pub(super) fn id<T: FromStr>(what: &'static str, text: &str) -> ApiResult<T> {
    text.parse().map_err(|_| Error::NotFound(what).into())
}

/// The id of a person or service account from a body or a query.
pub(super) fn person(text: &str) -> ApiResult<UserId> {
    text.parse().map_err(|_| Error::invalid("user", "this is not the id of a person; it starts with usr-").into())
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_end_is_given_up() {
        let drip = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        });
        let refused = body_within(Duration::from_millis(20), Body::from_stream(drip)).await.unwrap_err();
        assert_eq!(refused.into_response().status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn a_body_is_whole_up_to_its_limit_and_refused_beyond() {
        let whole = body(Body::from(vec![b' '; MAX_BODY])).await.unwrap();
        assert_eq!(whole.len(), MAX_BODY);
        let refused = body(Body::from(vec![b' '; MAX_BODY + 1])).await.unwrap_err();
        assert_eq!(refused.into_response().status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
