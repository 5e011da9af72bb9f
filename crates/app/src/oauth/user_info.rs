//! Who the bearer of an access token is (OpenID Connect Core 1.0 section 5.3).

use hexabase_oidc::claims::AccessClaims;
use hexabase_oidc::provider::{OAuthError, OAuthErrorCode};
use serde::Serialize;

use super::inspect::{Inspected, inspect};
use super::refusal;
use crate::context::App;
use crate::error::Error;
use crate::issuer::{Realm, groups_of};
use crate::{sessions, users};

/// Standard claims about a person, as far as they were asked for and are known.
#[derive(Debug, Serialize)]
pub struct UserInfo {
    /// The person's id, as in tokens.
    pub sub: String,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the identity provider has verified the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// The groups in the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
}

/// Tells about the bearer of `token`, an access token of `realm`, which comes from the address `source` where that is known.
/// What a workspace's token says itself is told to whoever has it; an access token says by its scopes what may be told.
///
/// # Errors
/// [`OAuthErrorCode::InvalidToken`], and [`OAuthErrorCode::InsufficientScope`] for a token without `openid`.
pub async fn user_info(app: &App, realm: &Realm, token: &str, source: Option<&str>) -> Result<UserInfo, OAuthError> {
    let invalid = || OAuthError::new(OAuthErrorCode::InvalidToken, "the access token is not valid, or no longer");
    let found = inspect(app, realm, token).await.map_err(refusal)?;
    let Some(Inspected { user, access, session, .. }) = found.filter(Inspected::is_bearer) else {
        return Err(invalid());
    };
    if let Some(session) = session {
        sessions::note_use(app, &session, app.clock.now(), source).await.map_err(refusal)?;
    }
    if access.as_ref().is_some_and(|claims| !claims.scopes().any(|scope| scope == "openid")) {
        return Err(OAuthError::new(OAuthErrorCode::InsufficientScope, "the scope openid is needed"));
    }
    let may = |scope: &str, claim: &str| may_tell(access.as_ref(), scope, claim);
    let person = users::get(app, &user).await.map_err(|error| match error {
        Error::Unauthenticated(_) => invalid(),
        error => refusal(error),
    })?;
    let groups = match realm {
        Realm::Workspace(workspace) if may("groups", "groups") => {
            Some(groups_of(app, workspace, &user).await.map_err(refusal)?)
        }
        _ => None,
    };
    Ok(UserInfo {
        sub: person.id.to_string(),
        name: may("profile", "name").then(|| person.display_name.into()),
        email_verified: may("email", "email_verified").then_some(person.email_verified),
        email: person.email.filter(|_| may("email", "email")),
        groups,
    })
}

fn may_tell(access: Option<&AccessClaims>, scope: &str, claim: &str) -> bool {
    access.is_none_or(|claims| claims.scopes().any(|had| had == scope) || claims.userinfo().any(|had| had == claim))
}
