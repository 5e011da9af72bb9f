//! Sign-in.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A way to sign in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// Stable id, part of the sign-in address.
    pub id: String,
    /// Name on the button.
    pub display_name: String,
    /// Where the browser goes to sign in.
    pub start_url: String,
}
