//! Making the tokens that a grant answers with.

use hexabase_backends::store::Digest;
use hexabase_backends::store::refresh_tokens::RefreshToken;
use hexabase_backends::store::sessions::Session;
use hexabase_core::ids::{SessionId, UserId};
use hexabase_oidc::claims::{AccessClaims, AccessGrant};
use hexabase_oidc::jwt::Typ;
use hexabase_oidc::provider::TokenResponse;
use hexabase_oidc::random::random_id;
use hexabase_oidc::{Issuer, opaque_token};

use crate::context::App;
use crate::error::{Error, Result};
use crate::gateway::Basis;
use crate::issuer::{ALGORITHM, API_AUDIENCE, Realm, workspace_token};
use crate::sessions::DEVICE_SECONDS;

/// Seconds an access token for the platform's API lives.
const ACCESS_SECONDS: i64 = 600;

/// Whom tokens are for.
pub(super) struct Holder<'a> {
    pub(super) realm: &'a Realm,
    pub(super) user: &'a UserId,
    pub(super) session: &'a SessionId,
    pub(super) client: &'a str,
    pub(super) scope: &'a str,
}

/// The short-lived token of a realm: an access token of the platform, or a workspace's token, which is its own ID token.
pub(super) async fn short_lived(app: &App, holder: &Holder<'_>, nonce: Option<String>) -> Result<TokenResponse> {
    match holder.realm {
        Realm::Platform => {
            let now = app.clock.now().as_seconds();
            let issuer = Issuer::parse(&holder.realm.issuer(&app.settings)).map_err(Error::internal)?;
            let claims = AccessClaims::new(AccessGrant {
                issuer: &issuer,
                subject: holder.user.as_str(),
                audience: API_AUDIENCE,
                client_id: holder.client,
                session: holder.session.as_str(),
                scope: None,
                now,
                life: ACCESS_SECONDS,
                jti: random_id().map_err(Error::internal)?,
            })
            .map_err(Error::internal)?;
            let token =
                app.keys.with(|ring| ring.sign(ALGORITHM, &claims, Typ::AccessToken, now)).map_err(Error::internal)?;
            Ok(TokenResponse::bearer(token, ACCESS_SECONDS))
        }
        Realm::Workspace(workspace) => {
            let basis = Basis::Session(holder.session.clone());
            let (token, seconds) = workspace_token(app, workspace, holder.user, &basis, nonce).await?;
            let mut response = TokenResponse::bearer(token.clone(), seconds);
            response.id_token = Some(token);
            Ok(response)
        }
    }
}

/// A refresh token and its row, which is not yet stored.
pub(super) fn refresh(app: &App, holder: &Holder<'_>) -> Result<(String, RefreshToken)> {
    let token = opaque_token("hxr_").map_err(Error::internal)?;
    let now = app.clock.now();
    let row = RefreshToken {
        token_hash: Digest::of(&token),
        session_id: holder.session.clone(),
        user_id: holder.user.clone(),
        realm: holder.realm.to_string(),
        client_id: holder.client.to_owned(),
        scope: holder.scope.to_owned(),
        created_at: now,
        expires_at: now.plus_seconds(DEVICE_SECONDS),
        rotated_at: None,
        replaced_by: None,
    };
    Ok((token, row))
}

/// Whom a device's session is for.
pub(super) fn holder<'a>(realm: &'a Realm, session: &'a Session, client: &'a str, scope: &'a str) -> Holder<'a> {
    Holder { realm, user: &session.user_id, session: &session.id, client, scope }
}
