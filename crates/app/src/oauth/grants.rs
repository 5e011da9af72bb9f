//! Codes, refresh tokens and exchanges.

use hexabase_backends::store::authorization_codes::{self, AuthorizationCode, Redemption};
use hexabase_backends::store::refresh_tokens::{self, Rotation};
use hexabase_backends::store::sessions::{self as session_rows, SessionKind};
use hexabase_backends::store::{Digest, device_codes};
use hexabase_core::ids::{SessionId, WorkspaceId};
use hexabase_core::tokens::{TokenAccess, TokenScope};
use hexabase_oidc::opaque_token;
use hexabase_oidc::provider::{
    AuthorizationRequest, CodeChallenge, CodeVerifier, Grant, OAuthError, OAuthErrorCode, TokenExchange, TokenRequest,
    TokenResponse, token_types,
};
use secrecy::ExposeSecret as _;

use super::tokens::{self, Holder};
use super::{clients, invalid_grant, refusal};
use crate::context::{App, Credential, OpContext, Origin};
use crate::error::{Error, Result};
use crate::gateway::Basis;
use crate::issuer::{Realm, check_member, workspace_token};
use crate::sessions::{self, DEVICE_SECONDS, Live, announce_end, from_access_token, new_session};
use crate::tokens::{from_secret, is_api_token};

/// Seconds a code lives (RFC 6749 section 4.1.2 allows ten minutes; a browser needs one).
const CODE_SECONDS: i64 = 60;
/// Seconds after its use in which a refresh token is answered once more: the client lost our answer, or two of its
/// processes refreshed at once.
const GRACE_SECONDS: i64 = 30;

/// Gives a signed-in person's consent to a client: the code to redirect back with. Our clients are our own programs, so that
/// signing in is the consent.
///
/// # Errors
/// [`Error::Forbidden`] for a workspace that the person is not a member of.
pub async fn authorize(app: &App, realm: &Realm, request: &AuthorizationRequest, live: &Live) -> Result<String> {
    if let Realm::Workspace(workspace) = realm {
        check_member(app, workspace, &live.user).await?;
    }
    let code = opaque_token("hxc_").map_err(Error::internal)?;
    let now = app.clock.now();
    let row = AuthorizationCode {
        code_hash: Digest::of(&code),
        session_id: live.session.clone(),
        user_id: live.user.clone(),
        realm: realm.to_string(),
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        code_challenge: request.code_challenge.as_str().to_owned(),
        nonce: request.nonce.clone(),
        scope: request.scopes.to_string(),
        created_at: now,
        expires_at: now.plus_seconds(CODE_SECONDS),
        redeemed_at: None,
    };
    let tx = app.store.begin().await?;
    authorization_codes::insert(&tx, &row).await?;
    tx.commit().await?;
    Ok(code)
}

/// Answers the token endpoint of a realm.
///
/// # Errors
/// As RFC 6749 section 5.2 and RFC 8628 section 3.5 have them.
pub async fn token(
    app: &App,
    realm: &Realm,
    request: TokenRequest,
    label: &str,
    origin: &Origin,
) -> Result<TokenResponse, OAuthError> {
    let known = clients(realm).map_err(refusal)?;
    let client = request.client.authenticate(&known)?.id();
    match request.grant {
        Grant::AuthorizationCode { code, redirect_uri, code_verifier } => {
            let presented =
                Presented { code: code.expose_secret(), redirect_uri: &redirect_uri, verifier: &code_verifier };
            redeem_code(app, realm, client, &presented, label, origin).await
        }
        Grant::RefreshToken { refresh_token, .. } => {
            redeem_refresh(app, realm, client, refresh_token.expose_secret(), origin).await
        }
        Grant::DeviceCode { device_code } => {
            redeem_device(app, realm, client, device_code.expose_secret(), origin).await
        }
        Grant::TokenExchange(exchange) => redeem_exchange(app, realm, client, &exchange, origin).await,
    }
}

/// What a client presents with a code.
struct Presented<'a> {
    code: &'a str,
    redirect_uri: &'a str,
    verifier: &'a CodeVerifier,
}

async fn redeem_code(
    app: &App,
    realm: &Realm,
    client: &str,
    presented: &Presented<'_>,
    label: &str,
    origin: &Origin,
) -> Result<TokenResponse, OAuthError> {
    let Presented { code, redirect_uri, verifier } = *presented;
    let now = app.clock.now();
    let tx = app.store.begin().await.map_err(|error| refusal(error.into()))?;
    let redemption =
        authorization_codes::redeem(&tx, &Digest::of(code), now).await.map_err(|error| refusal(error.into()))?;
    let row = match redemption {
        Redemption::Redeemed(row) => row,
        Redemption::Reused(row) => {
            // Somebody has a copy: what came of the first use ends (RFC 6749 section 4.1.2).
            let session = device_session_of(&row);
            let ctx = OpContext::of(row.user_id.clone(), Credential::Session(session.clone()), now, origin);
            sessions::revoke(app, &tx, &session, &ctx).await.map_err(refusal)?;
            tx.commit().await.map_err(|error| refusal(error.into()))?;
            announce_end(app, &device_session_of(&row));
            return Err(invalid_grant("the code was used before; whatever it gave has been ended"));
        }
        Redemption::Unknown => return Err(invalid_grant("the code is unknown or too old")),
    };
    let challenge = CodeChallenge::parse(Some(&row.code_challenge), Some("S256"));
    let fits = row.realm == realm.to_string()
        && row.client_id == client
        && row.redirect_uri == redirect_uri
        && challenge.is_ok_and(|challenge| challenge.is_met_by(verifier));
    if !fits {
        tx.commit().await.map_err(|error| refusal(error.into()))?;
        return Err(invalid_grant("the code belongs to another request; it cannot be used any more"));
    }
    let mut session =
        new_session(app, &row.user_id, SessionKind::Device, label, DEVICE_SECONDS, None).map_err(refusal)?;
    session.id = device_session_of(&row);
    let holder = tokens::holder(realm, &session, client, &row.scope);
    let (refresh, refresh_row) = tokens::refresh(app, &holder).map_err(refusal)?;
    let stored = async {
        sessions::store(app, &tx, &session, Credential::Session(row.session_id.clone()), origin).await?;
        refresh_tokens::insert(&tx, &refresh_row).await?;
        Ok(tx.commit().await?)
    };
    stored.await.map_err(refusal)?;
    let mut response = tokens::short_lived(app, &holder, row.nonce.clone()).await.map_err(refusal)?;
    response.refresh_token = Some(refresh);
    Ok(response)
}

/// The id of the session that a code makes: derived from the code, so that a second use of the code can end it.
fn device_session_of(row: &AuthorizationCode) -> SessionId {
    use hexabase_core::ids::Id as _;
    let digest = row.code_hash.to_string();
    let random = u64::from_str_radix(digest.get(..16).unwrap_or("0"), 16).unwrap_or(0);
    SessionId::from_parts(row.created_at, random)
}

async fn redeem_refresh(
    app: &App,
    realm: &Realm,
    client: &str,
    token: &str,
    origin: &Origin,
) -> Result<TokenResponse, OAuthError> {
    let unknown = || invalid_grant("the session has ended; sign in again");
    let now = app.clock.now();
    let old = Digest::of(token);
    let store = |error: hexabase_backends::store::StoreError| refusal(error.into());
    let row = refresh_tokens::find(&app.store, &old).await.map_err(store)?.ok_or_else(unknown)?;
    if row.realm != realm.to_string() || row.client_id != client {
        return Err(unknown());
    }
    let session =
        session_rows::find_live(&app.store, &row.session_id, now).await.map_err(store)?.ok_or_else(unknown)?;
    let holder = tokens::holder(realm, &session, client, &row.scope);
    // Minted first: a person who may no longer have a token keeps the refresh token they have, unused.
    let mut response = tokens::short_lived(app, &holder, None).await.map_err(refusal)?;
    let (refresh, next) = tokens::refresh(app, &holder).map_err(refusal)?;
    let tx = app.store.begin().await.map_err(store)?;
    match refresh_tokens::rotate(&tx, &old, &next, now).await.map_err(store)? {
        Rotation::Rotated => {}
        Rotation::Reused(used) if used.rotated_at.is_some_and(|at| now.millis_since(at) <= GRACE_SECONDS * 1_000) => {
            refresh_tokens::insert(&tx, &next).await.map_err(store)?;
        }
        Rotation::Reused(_) => {
            let credential = Credential::Session(row.session_id.clone());
            let ctx = OpContext::of(row.user_id.clone(), credential, now, origin);
            sessions::revoke(app, &tx, &row.session_id, &ctx).await.map_err(refusal)?;
            tx.commit().await.map_err(store)?;
            announce_end(app, &row.session_id);
            tracing::warn!(session.id = %row.session_id, "a refresh token was used twice; its session has been ended");
            return Err(invalid_grant(
                "this refresh token was used before, so the session has been ended; sign in again",
            ));
        }
        Rotation::Unknown => return Err(unknown()),
    }
    sessions::touch(&tx, &session, now, origin.source.as_deref()).await.map_err(refusal)?;
    tx.commit().await.map_err(store)?;
    response.refresh_token = Some(refresh);
    Ok(response)
}

async fn redeem_device(
    app: &App,
    realm: &Realm,
    client: &str,
    code: &str,
    origin: &Origin,
) -> Result<TokenResponse, OAuthError> {
    use device_codes::Poll;
    let now = app.clock.now();
    let store = |error: hexabase_backends::store::StoreError| refusal(error.into());
    let tx = app.store.begin().await.map_err(store)?;
    let poll = device_codes::poll(&tx, &Digest::of(code), now).await.map_err(store)?;
    let row = match poll {
        Poll::Approved(row) if row.realm == realm.to_string() && row.client_id == client => row,
        other => {
            tx.commit().await.map_err(store)?;
            return Err(match other {
                Poll::Pending => OAuthError::new(OAuthErrorCode::AuthorizationPending, "nobody has confirmed yet"),
                Poll::SlowDown => OAuthError::new(OAuthErrorCode::SlowDown, "ask less often"),
                Poll::Denied => OAuthError::new(OAuthErrorCode::AccessDenied, "the person refused"),
                Poll::Expired => OAuthError::new(OAuthErrorCode::ExpiredToken, "the code is too old; start again"),
                Poll::Approved(_) | Poll::Unknown => invalid_grant("the device code is unknown or was used before"),
            });
        }
    };
    let id = row.session_id.ok_or_else(|| invalid_grant("the device code has no session"))?;
    let session = session_rows::find_live(&tx, &id, now).await.map_err(store)?;
    let session = session.ok_or_else(|| invalid_grant("the session has ended; start again"))?;
    let holder = tokens::holder(realm, &session, client, &row.scope);
    let (refresh, refresh_row) = tokens::refresh(app, &holder).map_err(refusal)?;
    refresh_tokens::insert(&tx, &refresh_row).await.map_err(store)?;
    // The person confirmed it somewhere else; from here on the device is where it is.
    sessions::touch(&tx, &session, now, origin.source.as_deref()).await.map_err(refusal)?;
    tx.commit().await.map_err(store)?;
    let mut response = tokens::short_lived(app, &holder, None).await.map_err(refusal)?;
    response.refresh_token = Some(refresh);
    Ok(response)
}

/// A workspace's token for an access token of the platform or an API token (RFC 8693): what kubectl's plugin asks for.
async fn redeem_exchange(
    app: &App,
    realm: &Realm,
    client: &str,
    exchange: &TokenExchange,
    origin: &Origin,
) -> Result<TokenResponse, OAuthError> {
    let (Realm::Workspace(workspace), token_types::ACCESS_TOKEN) = (realm, exchange.subject_token_type.as_str()) else {
        return Err(OAuthError::new(
            OAuthErrorCode::InvalidRequest,
            "an access token of the platform can be exchanged at a workspace's issuer, and nothing else",
        ));
    };
    let not_accepted = |error: Error| match error {
        Error::Unauthenticated(sentence) => OAuthError::new(OAuthErrorCode::InvalidGrant, sentence),
        error => refusal(error),
    };
    let (token, source) = (exchange.subject_token.expose_secret(), origin.source.as_deref());
    let mut response = if is_api_token(token) {
        let row = from_secret(app, token, source).await.map_err(not_accepted)?;
        check_scope(&row.scope, workspace)?;
        let basis = Basis::Token(row.id);
        let (token, seconds) = workspace_token(app, workspace, &row.user_id, &basis, None).await.map_err(refusal)?;
        TokenResponse::bearer(token, seconds)
    } else {
        let live = from_access_token(app, token, source).await.map_err(not_accepted)?;
        let holder = Holder { realm, user: &live.user, session: &live.session, client, scope: "" };
        tokens::short_lived(app, &holder, None).await.map_err(refusal)?
    };
    response.id_token = None;
    response.issued_token_type = Some(token_types::JWT.to_owned());
    Ok(response)
}

/// What a workspace's token lets do is decided by groups, which know no reading tokens: only one that may change things there
/// is exchanged.
fn check_scope(scope: &TokenScope, workspace: &WorkspaceId) -> Result<(), OAuthError> {
    if scope.workspace.as_ref().is_some_and(|only| only != workspace) {
        let sentence = "this token is good for another workspace only";
        return Err(OAuthError::new(OAuthErrorCode::InvalidTarget, sentence));
    }
    if scope.access == TokenAccess::Read {
        let sentence = "this token may only read, and kubectl could change things; use one with the access write";
        return Err(OAuthError::new(OAuthErrorCode::AccessDenied, sentence));
    }
    Ok(())
}

/// Ends the session behind a refresh token (RFC 7009). Unknown tokens are no error.
pub async fn revoke(app: &App, realm: &Realm, token: &str, origin: &Origin) -> Result<()> {
    let tx = app.store.begin().await?;
    if let Some(row) = refresh_tokens::find(&tx, &Digest::of(token)).await?
        && row.realm == realm.to_string()
    {
        let credential = Credential::Session(row.session_id.clone());
        let ctx = OpContext::of(row.user_id.clone(), credential, app.clock.now(), origin);
        sessions::revoke(app, &tx, &row.session_id, &ctx).await?;
        tx.commit().await?;
        announce_end(app, &row.session_id);
    }
    Ok(())
}
