//! Who the bearer of an access token is (OpenID Connect Core 1.0 section 5.3).

use serde::Serialize;

use crate::context::App;
use crate::error::Result;
use crate::issuer::Realm;
use crate::{gateway, sessions, users};

/// Standard claims about a person.
#[derive(Debug, Serialize)]
pub struct UserInfo {
    /// The person's id, as in tokens.
    pub sub: String,
    /// Name for people.
    pub name: String,
    /// Address, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the identity provider has verified the address.
    pub email_verified: bool,
}

/// Tells about the bearer of `token`, an access token of `realm`, which comes from the address `source` where that is known.
///
/// # Errors
/// [`Error::Unauthenticated`](crate::Error::Unauthenticated) for a token that is not accepted.
pub async fn user_info(app: &App, realm: &Realm, token: &str, source: Option<&str>) -> Result<UserInfo> {
    let user = match realm {
        Realm::Platform => sessions::from_access_token(app, token, source).await?.user,
        Realm::Workspace(workspace) => gateway::identify(app, workspace, token).await?.user,
    };
    let person = users::get(app, &user).await?;
    Ok(UserInfo {
        sub: person.id.to_string(),
        name: person.display_name.into(),
        email_verified: person.email_verified,
        email: person.email,
    })
}
