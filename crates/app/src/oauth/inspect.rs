//! What a token is (RFC 7662), and its end (RFC 7009).

use hexabase_backends::store::Digest;
use hexabase_backends::store::refresh_tokens;
use hexabase_backends::store::sessions as session_rows;
use hexabase_core::ids::UserId;
use hexabase_oidc::claims::AccessClaims;
use hexabase_oidc::provider::{
    Inquirer, IntrospectionRequest, IntrospectionResponse, OAuthError, OAuthErrorCode, RevocationRequest,
};
use secrecy::ExposeSecret as _;

use super::{clients, refusal};
use crate::context::{App, Credential, OpContext, Origin};
use crate::error::{Error, Result};
use crate::gateway::{self, Basis, Identified};
use crate::issuer::{API_AUDIENCE, Realm, check_member};
use crate::sessions::{self, announce_end, bearer_of};

/// A good token of a realm, of whatever kind.
pub(super) struct Inspected {
    pub(super) user: UserId,
    /// What ends it when it ends.
    basis: Basis,
    /// The client it was given to.
    pub(super) client: String,
    /// What is told about it.
    response: IntrospectionResponse,
    /// An access token says more about what its bearer may learn.
    pub(super) access: Option<AccessClaims>,
    /// Whether it is shown to prove who somebody is, and not to get the next one.
    is_bearer: bool,
}

impl Inspected {
    pub(super) fn is_bearer(&self) -> bool {
        self.is_bearer
    }
}

/// The token, if it is good in this realm at this moment: what it was given for lives, and the person is a member. `source` is
/// where its bearer asks from, where it is the bearer that asks.
pub(super) async fn inspect(app: &App, realm: &Realm, token: &str, source: Option<&str>) -> Result<Option<Inspected>> {
    if token.starts_with("hxr_") {
        return refresh_token(app, realm, token).await;
    }
    let found = match access_token(app, realm, token, source).await {
        Ok(found) => Some(found),
        Err(Error::Unauthenticated(_)) => None,
        Err(error) => return Err(error),
    };
    let Realm::Workspace(workspace) = realm else { return Ok(found) };
    if let Some(found) = found {
        return match check_member(app, workspace, &found.user).await {
            Ok(()) => Ok(Some(found)),
            Err(Error::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
        };
    }
    let found = match gateway::identify(app, workspace, token).await {
        Ok(found) => found,
        Err(Error::Unauthenticated(_) | Error::Forbidden(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Identified { user, basis, expires_at, claims } = found;
    let client = claims.client_id().unwrap_or_default().to_owned();
    let response = IntrospectionResponse {
        aud: Some(workspace.to_string()),
        exp: Some(expires_at),
        iat: Some(claims.issued_at()),
        jti: Some(claims.jti().to_owned()),
        groups: Some(claims.groups().to_vec()),
        ..about(app, realm, &user, &basis, &client)
    };
    Ok(Some(Inspected { user, basis, client, response, access: None, is_bearer: true }))
}

async fn access_token(app: &App, realm: &Realm, token: &str, source: Option<&str>) -> Result<Inspected> {
    let issuer = realm.issuer(&app.settings);
    let mut found = match realm {
        Realm::Platform => bearer_of(app, realm, API_AUDIENCE, token, source).await,
        Realm::Workspace(_) => bearer_of(app, realm, &issuer, token, source).await,
    };
    if let (Err(Error::Unauthenticated(_)), Realm::Platform) = (&found, realm) {
        found = bearer_of(app, realm, &issuer, token, source).await;
    }
    let (live, claims) = found?;
    let (user, basis) = (live.user, Basis::Session(live.session));
    let response = IntrospectionResponse {
        aud: Some(claims.audience().to_owned()),
        scope: Some(claims.scopes().collect::<Vec<_>>().join(" ")).filter(|scope| !scope.is_empty()),
        exp: Some(claims.expires_at()),
        iat: Some(claims.issued_at()),
        jti: Some(claims.jti().to_owned()),
        ..about(app, realm, &user, &basis, claims.client_id())
    };
    let client = claims.client_id().to_owned();
    Ok(Inspected { user, basis, client, response, access: Some(claims), is_bearer: true })
}

async fn refresh_token(app: &App, realm: &Realm, token: &str) -> Result<Option<Inspected>> {
    let now = app.clock.now();
    let row = refresh_tokens::find(&app.store, &Digest::of(token)).await?;
    let usable = |row: &refresh_tokens::RefreshToken| {
        row.realm == realm.to_string() && row.rotated_at.is_none() && row.expires_at > now
    };
    let Some(row) = row.filter(usable) else { return Ok(None) };
    if session_rows::find_live(&app.store, &row.session_id, now).await?.is_none() {
        return Ok(None);
    }
    let basis = Basis::Session(row.session_id);
    let response = IntrospectionResponse {
        scope: Some(row.scope).filter(|scope| !scope.is_empty()),
        exp: Some(row.expires_at.as_seconds()),
        iat: Some(row.created_at.as_seconds()),
        token_type: None,
        ..about(app, realm, &row.user_id, &basis, &row.client_id)
    };
    let (user, client) = (row.user_id, row.client_id);
    Ok(Some(Inspected { user, basis, client, response, access: None, is_bearer: false }))
}

fn about(app: &App, realm: &Realm, user: &UserId, basis: &Basis, client: &str) -> IntrospectionResponse {
    IntrospectionResponse {
        active: true,
        iss: Some(realm.issuer(&app.settings)),
        sub: Some(user.to_string()),
        client_id: Some(client.to_owned()).filter(|client| !client.is_empty()),
        token_type: Some("Bearer".to_owned()),
        sid: Some(basis.to_string()),
        ..IntrospectionResponse::default()
    }
}

/// Tells what a token is: to the client it was given to, to a client that is registered for asking about all, and to its
/// bearer. To anybody else no token is good.
///
/// # Errors
/// [`OAuthErrorCode::InvalidClient`] or [`OAuthErrorCode::InvalidToken`] for who is neither.
pub async fn introspect(
    app: &App,
    realm: &Realm,
    request: &IntrospectionRequest,
) -> Result<IntrospectionResponse, OAuthError> {
    let token = request.token.expose_secret();
    let known = clients(app, realm).map_err(refusal)?;
    let found = inspect(app, realm, token, None).await.map_err(refusal)?;
    let may_know = match &request.inquirer {
        Inquirer::Client(credentials) => {
            let client = credentials.authenticate(&known)?;
            if client.is_public() {
                let sentence = "a client without a secret cannot ask about tokens";
                return Err(OAuthError::new(OAuthErrorCode::InvalidClient, sentence));
            }
            client.introspects() || found.as_ref().is_some_and(|found| found.client == client.id())
        }
        Inquirer::Bearer(own) => {
            let own = own.expose_secret();
            let asker = if own == token { &found } else { &inspect(app, realm, own, None).await.map_err(refusal)? };
            if !asker.as_ref().is_some_and(|asker| asker.is_bearer) {
                return Err(OAuthError::new(OAuthErrorCode::InvalidToken, "the access token is not valid"));
            }
            own == token
        }
    };
    Ok(found.filter(|_| may_know).map(|found| found.response).unwrap_or_default())
}

/// Ends the session behind a token, and with it every token of the same sign-in. Unknown tokens are no error.
///
/// # Errors
/// [`OAuthErrorCode::InvalidClient`], [`OAuthErrorCode::UnauthorizedClient`] for a token of another client, and
/// [`OAuthErrorCode::UnsupportedTokenType`] for one that came of an API token: only its owner ends that.
pub async fn revoke(app: &App, realm: &Realm, request: &RevocationRequest, origin: &Origin) -> Result<(), OAuthError> {
    let known = clients(app, realm).map_err(refusal)?;
    let client = request.client.authenticate(&known)?;
    let found = inspect(app, realm, request.token.expose_secret(), None).await.map_err(refusal)?;
    let Some(found) = found else { return Ok(()) };
    if found.client != client.id() {
        return Err(OAuthError::new(OAuthErrorCode::UnauthorizedClient, "this token was given to another client"));
    }
    let Basis::Session(session) = found.basis else {
        let sentence = "this token came of an API token and ends with it; its owner can revoke that one";
        return Err(OAuthError::new(OAuthErrorCode::UnsupportedTokenType, sentence));
    };
    let ended = async {
        let tx = app.store.begin().await?;
        let ctx = OpContext::of(found.user, Credential::Session(session.clone()), app.clock.now(), origin);
        sessions::revoke(app, &tx, &session, &ctx).await?;
        Ok(tx.commit().await?)
    };
    ended.await.map_err(refusal)?;
    announce_end(app, &session);
    Ok(())
}
