//! What a token is (RFC 7662), and its end (RFC 7009).

use hexabase_backends::store::Digest;
use hexabase_backends::store::refresh_tokens::{self, RefreshToken};
use hexabase_backends::store::sessions::Session;
use hexabase_core::ids::UserId;
use hexabase_oidc::claims::AccessClaims;
use hexabase_oidc::provider::{
    Inquirer, IntrospectionRequest, IntrospectionResponse, OAuthError, OAuthErrorCode, RevocationRequest,
};
use secrecy::ExposeSecret as _;

use super::{clients, refusal};
use crate::context::{App, Origin};
use crate::error::{Error, Result};
use crate::gateway::{self, Basis, Identified, end_of};
use crate::issuer::{API_AUDIENCE, Realm, check_member};
use crate::sessions::{self, claims_of, ended, session_of};

/// A token that a realm gave. What it was given for may have ended since.
enum Given {
    /// Whether used or over or not.
    Refresh(RefreshToken),
    /// Its time is not over.
    Access(AccessClaims),
    /// Its time is not over.
    Workspace(Identified),
}

impl Given {
    /// The person, what ends it when it ends, and the client it was given to.
    fn belongs_to(self) -> Option<(UserId, Basis, String)> {
        Some(match self {
            Self::Refresh(row) => (row.user_id, Basis::Session(row.session_id), row.client_id),
            Self::Access(claims) => {
                let session = claims.session().parse().ok()?;
                (claims.subject().parse().ok()?, Basis::Session(session), claims.client_id().to_owned())
            }
            Self::Workspace(found) => {
                (found.user, found.basis, found.claims.client_id().unwrap_or_default().to_owned())
            }
        })
    }
}

/// The token, if this realm gave it.
async fn find(app: &App, realm: &Realm, token: &str) -> Result<Option<Given>> {
    if token.starts_with("hxr_") {
        let row = refresh_tokens::find(&app.store, &Digest::of(token)).await?;
        return Ok(row.filter(|row| row.realm == realm.to_string()).map(Given::Refresh));
    }
    // For userinfo alone, or for all that the person may do.
    let for_us = claims_of(app, realm, &realm.issuer(&app.settings), token).map(Given::Access);
    let found = for_us.or_else(|_| match realm {
        Realm::Platform => claims_of(app, realm, API_AUDIENCE, token).map(Given::Access),
        Realm::Workspace(workspace) => gateway::read(app, workspace, token).map(Given::Workspace),
    });
    Ok(found.ok())
}

/// A good token of a realm, of whatever kind.
pub(super) struct Inspected {
    pub(super) user: UserId,
    /// The client it was given to.
    client: String,
    /// What is told about it.
    response: IntrospectionResponse,
    /// An access token says more about what its bearer may learn.
    pub(super) access: Option<AccessClaims>,
    /// And to show it is a use of its session.
    pub(super) session: Option<Session>,
    /// Whether it is shown to prove who somebody is, and not to get the next one.
    is_bearer: bool,
}

impl Inspected {
    pub(super) fn is_bearer(&self) -> bool {
        self.is_bearer
    }
}

/// The token, if it is good in this realm at this moment: what it was given for lives, and the person is a member. To look at it
/// is no use of it.
pub(super) async fn inspect(app: &App, realm: &Realm, token: &str) -> Result<Option<Inspected>> {
    let Some(given) = find(app, realm, token).await? else { return Ok(None) };
    match good(app, realm, given).await {
        Ok(found) => Ok(Some(found)),
        Err(Error::Unauthenticated(_) | Error::Forbidden(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn good(app: &App, realm: &Realm, given: Given) -> Result<Inspected> {
    let found = match given {
        Given::Refresh(row) => refresh_token(app, realm, row).await?,
        Given::Access(claims) => access_token(app, realm, claims).await?,
        Given::Workspace(found) => workspace_token(app, realm, found).await?,
    };
    if let Realm::Workspace(workspace) = realm {
        check_member(app, workspace, &found.user).await?;
    }
    Ok(found)
}

async fn access_token(app: &App, realm: &Realm, claims: AccessClaims) -> Result<Inspected> {
    let session = session_of(app, &claims).await?;
    let (user, basis) = (session.user_id.clone(), Basis::Session(session.id.clone()));
    let client = claims.client_id().to_owned();
    let response = IntrospectionResponse {
        aud: Some(claims.audience().to_owned()),
        scope: Some(claims.scopes().collect::<Vec<_>>().join(" ")).filter(|scope| !scope.is_empty()),
        exp: Some(claims.expires_at()),
        iat: Some(claims.issued_at()),
        jti: Some(claims.jti().to_owned()),
        ..about(app, realm, &user, &basis, &client)
    };
    Ok(Inspected { user, client, response, access: Some(claims), session: Some(session), is_bearer: true })
}

async fn workspace_token(app: &App, realm: &Realm, found: Identified) -> Result<Inspected> {
    let Identified { user, basis, expires_at, claims } = found;
    end_of(app, &user, &basis).await?;
    let client = claims.client_id().unwrap_or_default().to_owned();
    let response = IntrospectionResponse {
        aud: Some(claims.workspace().to_owned()),
        exp: Some(expires_at),
        iat: Some(claims.issued_at()),
        jti: Some(claims.jti().to_owned()),
        groups: Some(claims.groups().to_vec()),
        ..about(app, realm, &user, &basis, &client)
    };
    Ok(Inspected { user, client, response, access: None, session: None, is_bearer: true })
}

async fn refresh_token(app: &App, realm: &Realm, row: RefreshToken) -> Result<Inspected> {
    let (user, basis, client) = (row.user_id, Basis::Session(row.session_id), row.client_id);
    if row.rotated_at.is_some() || row.expires_at <= app.clock.now() {
        return Err(ended());
    }
    end_of(app, &user, &basis).await?;
    let response = IntrospectionResponse {
        scope: Some(row.scope).filter(|scope| !scope.is_empty()),
        exp: Some(row.expires_at.as_seconds()),
        iat: Some(row.created_at.as_seconds()),
        token_type: None,
        ..about(app, realm, &user, &basis, &client)
    };
    Ok(Inspected { user, client, response, access: None, session: None, is_bearer: false })
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
    let found = match &request.inquirer {
        Inquirer::Client(credentials) => {
            let known = clients(app, realm).map_err(refusal)?;
            let client = credentials.authenticate(&known)?;
            if client.is_public() {
                let sentence = "a client without a secret cannot ask about tokens";
                return Err(OAuthError::new(OAuthErrorCode::InvalidClient, sentence));
            }
            let found = inspect(app, realm, token).await.map_err(refusal)?;
            found.filter(|found| client.introspects() || found.client == client.id())
        }
        Inquirer::Bearer(own) => {
            let own = own.expose_secret();
            let asker = inspect(app, realm, own).await.map_err(refusal)?;
            let Some(asker) = asker.filter(Inspected::is_bearer) else {
                return Err(OAuthError::new(OAuthErrorCode::InvalidToken, "the access token is not valid"));
            };
            Some(asker).filter(|_| own == token)
        }
    };
    Ok(found.map(|found| found.response).unwrap_or_default())
}

/// Ends the session behind a token, and with it every token of the same sign-in; for a refresh token also when it was used
/// before, since whoever used it holds the next one. Unknown tokens are no error.
///
/// # Errors
/// [`OAuthErrorCode::InvalidClient`], [`OAuthErrorCode::UnauthorizedClient`] for a token of another client, and
/// [`OAuthErrorCode::UnsupportedTokenType`] for one that came of an API token: only its owner ends that.
pub async fn revoke(app: &App, realm: &Realm, request: &RevocationRequest, origin: &Origin) -> Result<(), OAuthError> {
    let known = clients(app, realm).map_err(refusal)?;
    let client = request.client.authenticate(&known)?;
    let given = find(app, realm, request.token.expose_secret()).await.map_err(refusal)?;
    let Some((user, basis, holder)) = given.and_then(Given::belongs_to) else { return Ok(()) };
    if holder != client.id() {
        return Err(OAuthError::new(OAuthErrorCode::UnauthorizedClient, "this token was given to another client"));
    }
    let Basis::Session(session) = basis else {
        let sentence = "this token came of an API token and ends with it; its owner can revoke that one";
        return Err(OAuthError::new(OAuthErrorCode::UnsupportedTokenType, sentence));
    };
    sessions::end(app, &user, &session, origin).await.map_err(refusal)?;
    Ok(())
}
