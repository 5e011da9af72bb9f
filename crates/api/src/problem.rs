//! The error envelope: problem details (RFC 9457), `application/problem+json`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Media type of an error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable URI reference of the kind of problem; `about:blank` is never used.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status text.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable word for programs, such as `name_taken`.
    pub code: String,
    /// A sentence for people: which rule, limit or role refused, and who can change it.
    pub detail: String,
    /// The field of the request at fault.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// Id of the request, also in the header `x-request-id`.
    #[serde(default)]
    pub request_id: String,
}
