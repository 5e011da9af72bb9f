//! Codes, refresh tokens and exchanges.

use hexabase_backends::store::authorization_codes::{self, AuthorizationCode, Redemption};
use hexabase_backends::store::refresh_tokens::{self, Rotation};
use hexabase_backends::store::sessions::{self as session_rows, Session};
use hexabase_backends::store::{Digest, StoreError, device_codes};
use hexabase_core::ids::{SessionId, WorkspaceId};
use hexabase_core::tokens::{TokenAccess, TokenScope};
use hexabase_oidc::claims::WorkspaceSignIn;
use hexabase_oidc::provider::{
    Client, CodeChallenge, CodeVerifier, Grant, OAuthError, OAuthErrorCode, Scopes, TokenExchange, TokenRequest,
    TokenResponse, token_types,
};
use secrecy::ExposeSecret as _;

use super::tokens::{self, Holder};
use super::{clients, invalid_grant, refusal};
use crate::context::{App, Credential, Origin};
use crate::error::Error;
use crate::gateway::Basis;
use crate::issuer::{Realm, WorkspaceBearer, workspace_token};
use crate::sessions::{self, from_access_token};
use crate::tokens::{from_secret, is_api_token};

/// Seconds after its use in which a refresh token is answered once more: the client lost our answer, or two of its
/// processes refreshed at once.
const GRACE_SECONDS: i64 = 30;

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
    let known = clients(app, realm).map_err(refusal)?;
    let client = request.client.authenticate(&known)?;
    match request.grant {
        Grant::AuthorizationCode { code, redirect_uri, code_verifier } => {
            if client.is_public() && code_verifier.is_none() {
                // Said before the code is used up: no code of such a client can be redeemed like this.
                return Err(OAuthError::new(OAuthErrorCode::InvalidRequest, "the parameter code_verifier is required"));
            }
            let verifier = code_verifier.as_ref();
            let presented = Presented { code: code.expose_secret(), redirect_uri: &redirect_uri, verifier };
            redeem_code(app, realm, client, &presented, label, origin).await
        }
        Grant::RefreshToken { refresh_token, scopes } => {
            redeem_refresh(app, realm, client, refresh_token.expose_secret(), &scopes, origin).await
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
    verifier: Option<&'a CodeVerifier>,
}

impl Presented<'_> {
    /// Whether the verifier is the one of the request, or there was neither. A verifier for a code without a challenge shows
    /// that somebody took the challenge out of the request (RFC 9700 section 4.8.2).
    fn meets(&self, challenge: &str) -> bool {
        match (challenge, self.verifier) {
            ("", None) => true,
            ("", Some(_)) | (_, None) => false,
            (challenge, Some(verifier)) => {
                CodeChallenge::parse(Some(challenge), Some("S256")).is_ok_and(|challenge| challenge.is_met_by(verifier))
            }
        }
    }
}

async fn redeem_code(
    app: &App,
    realm: &Realm,
    client: &Client,
    presented: &Presented<'_>,
    label: &str,
    origin: &Origin,
) -> Result<TokenResponse, OAuthError> {
    let now = app.clock.now();
    let tx = app.store.begin().await.map_err(failed)?;
    let redemption = authorization_codes::redeem(&tx, &Digest::of(presented.code), now).await.map_err(failed)?;
    let theirs = |row: &AuthorizationCode| row.realm == realm.to_string() && row.client_id == client.id();
    let row = match redemption {
        Redemption::Redeemed(row) => row,
        Redemption::Reused(row) if theirs(&row) => {
            tx.rollback().await.map_err(failed)?;
            // Somebody has a copy: what came of the first use ends (RFC 6749 section 4.1.2).
            sessions::end(app, &row.user_id, &device_session_of(&row), origin).await.map_err(refusal)?;
            return Err(invalid_grant("the code was used before; whatever it gave has been ended"));
        }
        Redemption::Reused(_) | Redemption::Unknown => return Err(invalid_grant("the code is unknown or too old")),
    };
    let fits = theirs(&row) && row.redirect_uri == presented.redirect_uri && presented.meets(&row.code_challenge);
    let lives = session_rows::find_live(&tx, &row.session_id, now).await.map_err(failed)?.is_some();
    if !fits || !lives {
        // It is spent all the same.
        tx.commit().await.map_err(failed)?;
        return Err(invalid_grant(match fits {
            true => "the browser's sign-in that gave the code has ended; sign in again",
            false => "the code belongs to another request; it cannot be used any more",
        }));
    }
    let scopes = Scopes::parse(&row.scope)?;
    let label = tokens::label(realm, client, label);
    let session = tokens::session_for(app, &row.user_id, label, &scopes).map_err(refusal)?;
    let session = Session { id: device_session_of(&row), ..session };
    let holder =
        Holder { realm, client, session: &session, scopes, auth_time: row.auth_time, claims: row.claims.clone() };
    let refresh = refresh_if_asked(app, &holder)?;
    let stored = async {
        let approved_in = Credential::Session(row.session_id.clone());
        sessions::store(app, &tx, &session, approved_in, Some((realm, client.id())), origin).await?;
        if let Some((_, row)) = &refresh {
            refresh_tokens::insert(&tx, row).await?;
        }
        Ok(tx.commit().await?)
    };
    stored.await.map_err(refusal)?;
    first_tokens(app, &holder, refresh, row.nonce.clone(), origin).await
}

fn failed(error: StoreError) -> OAuthError {
    refusal(error.into())
}

/// A refresh token, and what is kept of it.
type Refresh = (String, refresh_tokens::RefreshToken);

/// A refresh token, if all that was granted includes one.
fn refresh_if_asked(app: &App, holder: &Holder<'_>) -> Result<Option<Refresh>, OAuthError> {
    let granted = &holder.scopes;
    tokens::may_refresh(granted).then(|| tokens::refresh(app, holder, granted)).transpose().map_err(refusal)
}

/// The tokens of a session that has just been stored. When they cannot be made, nobody holds anything of it, and it ends.
async fn first_tokens(
    app: &App,
    holder: &Holder<'_>,
    refresh: Option<Refresh>,
    nonce: Option<String>,
    origin: &Origin,
) -> Result<TokenResponse, OAuthError> {
    match tokens::short_lived(app, holder, nonce).await {
        Ok(response) => Ok(TokenResponse { refresh_token: refresh.map(|(token, _)| token), ..response }),
        Err(error) => {
            sessions::end(app, &holder.session.user_id, &holder.session.id, origin).await.map_err(refusal)?;
            Err(refusal(error))
        }
    }
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
    client: &Client,
    token: &str,
    asked: &Scopes,
    origin: &Origin,
) -> Result<TokenResponse, OAuthError> {
    let unknown = || invalid_grant("the session has ended; sign in again");
    let now = app.clock.now();
    let old = Digest::of(token);
    let row = refresh_tokens::find(&app.store, &old).await.map_err(failed)?.ok_or_else(unknown)?;
    if row.realm != realm.to_string() || row.client_id != client.id() {
        return Err(unknown());
    }
    let granted = Scopes::parse(&row.scope)?;
    if !asked.is_within(&granted) {
        return Err(OAuthError::new(OAuthErrorCode::InvalidScope, "a refresh cannot ask for more than was granted"));
    }
    let session =
        session_rows::find_live(&app.store, &row.session_id, now).await.map_err(failed)?.ok_or_else(unknown)?;
    let scopes = if asked.is_empty() { granted.clone() } else { asked.clone() };
    let holder =
        Holder { realm, client, session: &session, scopes, auth_time: row.auth_time, claims: row.claims.clone() };
    // Minted first: a person who may no longer have a token keeps the refresh token they have, unused.
    let mut response = tokens::short_lived(app, &holder, None).await.map_err(refusal)?;
    let (refresh, next) = tokens::refresh(app, &holder, &granted).map_err(refusal)?;
    let tx = app.store.begin().await.map_err(failed)?;
    match refresh_tokens::rotate(&tx, &old, &next, now).await.map_err(failed)? {
        Rotation::Rotated => {}
        Rotation::Reused(used) if used.rotated_at.is_some_and(|at| now.millis_since(at) <= GRACE_SECONDS * 1_000) => {
            refresh_tokens::insert(&tx, &next).await.map_err(failed)?;
        }
        Rotation::Reused(_) => {
            tx.rollback().await.map_err(failed)?;
            sessions::end(app, &row.user_id, &row.session_id, origin).await.map_err(refusal)?;
            tracing::warn!(session.id = %row.session_id, "a refresh token was used twice; its session has been ended");
            return Err(invalid_grant(
                "this refresh token was used before, so the session has been ended; sign in again",
            ));
        }
        Rotation::Unknown => return Err(unknown()),
    }
    sessions::touch(&tx, &session, now, origin.source.as_deref()).await.map_err(refusal)?;
    tx.commit().await.map_err(failed)?;
    response.refresh_token = Some(refresh);
    Ok(response)
}

async fn redeem_device(
    app: &App,
    realm: &Realm,
    client: &Client,
    code: &str,
    origin: &Origin,
) -> Result<TokenResponse, OAuthError> {
    use device_codes::Poll;
    let now = app.clock.now();
    let tx = app.store.begin().await.map_err(failed)?;
    let poll = device_codes::poll(&tx, &Digest::of(code), now).await.map_err(failed)?;
    let row = match poll {
        Poll::Approved(row) if row.realm == realm.to_string() && row.client_id == client.id() => row,
        other => {
            tx.commit().await.map_err(failed)?;
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
    let session = session_rows::find_live(&tx, &id, now).await.map_err(failed)?;
    let session = session.ok_or_else(|| invalid_grant("the session has ended; start again"))?;
    let scopes = Scopes::parse(&row.scope)?;
    let holder = Holder { realm, client, session: &session, scopes, auth_time: row.auth_time, claims: None };
    let refresh = refresh_if_asked(app, &holder)?;
    // The person confirmed it somewhere else; from here on the device is where it is.
    let source = origin.source.as_deref();
    match &refresh {
        Some((_, row)) => {
            refresh_tokens::insert(&tx, row).await.map_err(failed)?;
            sessions::touch(&tx, &session, now, source).await.map_err(refusal)?;
        }
        // Its one access token begins to run only now.
        None => {
            let end = now.plus_seconds(tokens::ACCESS_SECONDS);
            session_rows::touch(&tx, &session.id, now, end, source).await.map_err(failed)?;
        }
    }
    tx.commit().await.map_err(failed)?;
    first_tokens(app, &holder, refresh, None, origin).await
}

/// A workspace's token for an access token of the platform or an API token (RFC 8693): what kubectl's plugin asks for.
async fn redeem_exchange(
    app: &App,
    realm: &Realm,
    client: &Client,
    exchange: &TokenExchange,
    origin: &Origin,
) -> Result<TokenResponse, OAuthError> {
    let (Realm::Workspace(workspace), token_types::ACCESS_TOKEN) = (realm, exchange.subject_token_type.as_str()) else {
        return Err(OAuthError::new(
            OAuthErrorCode::InvalidRequest,
            "an access token of the platform can be exchanged at a workspace's issuer, and nothing else",
        ));
    };
    let wanted = exchange.requested_token_type.as_deref().unwrap_or(token_types::JWT);
    if ![token_types::JWT, token_types::ACCESS_TOKEN].contains(&wanted) {
        let sentence = "an exchange gives an access token, which is a JWT, and nothing else";
        return Err(OAuthError::new(OAuthErrorCode::InvalidRequest, sentence));
    }
    if !client.acts_for_people() {
        let sentence = "this client may learn who people are, and not act for them";
        return Err(OAuthError::new(OAuthErrorCode::UnauthorizedClient, sentence));
    }
    let issuer = realm.issuer(&app.settings);
    let here = |target: &String| *target == issuer || target == workspace.as_str();
    if !exchange.audiences.iter().chain(&exchange.resources).all(here) {
        let sentence = "this issuer gives tokens for its own workspace and for no other target";
        return Err(OAuthError::new(OAuthErrorCode::InvalidTarget, sentence));
    }
    let not_accepted = |error: Error| match error {
        Error::Unauthenticated(sentence) => OAuthError::new(OAuthErrorCode::InvalidGrant, sentence),
        error => refusal(error),
    };
    let (token, source) = (exchange.subject_token.expose_secret(), origin.source.as_deref());
    let (user, basis) = if is_api_token(token) {
        let row = from_secret(app, token, source).await.map_err(not_accepted)?;
        check_scope(&row.scope, workspace)?;
        (row.user_id, Basis::Token(row.id))
    } else {
        let live = from_access_token(app, token, source).await.map_err(not_accepted)?;
        (live.user, Basis::Session(live.session))
    };
    let bearer = WorkspaceBearer {
        workspace,
        user: &user,
        basis: Some(&basis),
        client: Some(client.id()),
        sign_in: WorkspaceSignIn::default(),
    };
    let (token, seconds) = workspace_token(app, bearer).await.map_err(refusal)?;
    let mut response = TokenResponse::bearer(token, seconds);
    response.issued_token_type = Some(wanted.to_owned());
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
