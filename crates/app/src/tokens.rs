//! API tokens: long-lived credentials for programs, made by somebody who is signed in, shown once, and good for what their
//! owner may do or for less.

use hexabase_backends::bell::Topic;
use hexabase_backends::store::api_tokens::{self, ApiToken};
use hexabase_backends::store::{Db, Digest, MAX_PAGE, Tx, organizations, users};
use hexabase_core::ids::{ApiTokenId, UserId, WorkspaceId};
use hexabase_core::names::DisplayName;
use hexabase_core::time::Timestamp;
use hexabase_core::tokens::{TokenAccess, TokenScope};
use hexabase_oidc::opaque_token;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::authz::{self, AccountAction, WorkspaceAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};
use crate::sessions;

/// What every token begins with, so that a scanner knows one that leaked.
const PREFIX: &str = "hxb_";
/// Characters after the prefix: 256 bits in base64url.
const SECRET_LENGTH: usize = 43;
/// Characters of a token that its owner is shown later: enough to find the place where it is used, useless to guess the rest.
const SHOWN: usize = PREFIX.len() + 4;
/// Most living tokens of one person or service account: each is a door, and nobody keeps an eye on more.
const MOST_LIVING: u64 = 50;
/// Longest life of a token: a year, which may be a leap year.
const LONGEST_SECONDS: i64 = 366 * 24 * 3600;

/// A token that is wanted.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// What its owner will recognise it by.
    pub name: String,
    /// Whether it may change anything.
    pub access: TokenAccess,
    /// The only workspace it will be good for.
    pub workspace: Option<WorkspaceId>,
    /// When it will end.
    pub expires_at: Timestamp,
}

/// A token that was just made.
#[derive(Debug)]
pub struct NewToken {
    /// What is kept of it.
    pub row: ApiToken,
    /// The token, which nobody can be told again.
    pub secret: SecretString,
}

/// Makes a token that acts as the caller.
///
/// # Errors
/// [`Error::Forbidden`] for a caller with a token, [`Error::NotFound`] for a workspace that the caller cannot see,
/// [`Error::LimitReached`], and [`Error::Invalid`].
pub async fn create(app: &App, ctx: &OpContext, request: &TokenRequest) -> Result<NewToken> {
    authz::account(ctx, AccountAction::ManageCredentials)?;
    let tx = app.store.begin().await?;
    if let Some(workspace) = &request.workspace {
        authz::workspace(&tx, ctx, workspace, WorkspaceAction::View).await?;
    }
    let made = mint(app, ctx, &tx, &ctx.user, request).await?;
    app.change(&tx, ctx, change("token.created", &made.row.id, (None, Some(told(&made.row)))))?;
    tx.commit().await?;
    tracing::info!(user.id = %ctx.user, token.id = %made.row.id, "token made");
    Ok(made)
}

/// Stores a new token of `owner`, who is locked while the living ones are counted.
pub(crate) async fn mint(
    app: &App,
    ctx: &OpContext,
    tx: &Tx,
    owner: &UserId,
    request: &TokenRequest,
) -> Result<NewToken> {
    let name: DisplayName = request.name.parse()?;
    if request.expires_at <= ctx.now || request.expires_at > ctx.now.plus_seconds(LONGEST_SECONDS) {
        return Err(Error::invalid("expires_at", "must lie in the future, at most a year from now"));
    }
    users::lock(tx, owner).await?;
    if api_tokens::count(tx, owner, ctx.now).await? >= MOST_LIVING {
        return Err(Error::LimitReached(format!(
            "one person or service account has at most {MOST_LIVING} tokens at once, which nobody can raise; revoke one first"
        )));
    }
    let secret = opaque_token(PREFIX).map_err(Error::internal)?;
    let row = ApiToken {
        id: app.new_id()?,
        user_id: owner.clone(),
        name,
        token_hash: Digest::of(&secret),
        prefix: secret.chars().take(SHOWN).collect(),
        scope: TokenScope { access: request.access, workspace: request.workspace.clone() },
        created_by: ctx.user.clone(),
        created_at: ctx.now,
        expires_at: request.expires_at,
        last_used_at: None,
        last_used_from: None,
        revoked_at: None,
    };
    api_tokens::insert(tx, &row).await?;
    Ok(NewToken { row, secret: secret.into() })
}

/// What the audit log says of a token.
pub(crate) fn told(row: &ApiToken) -> Value {
    json!({
        "name": row.name.as_str(), "access": row.scope.access, "workspace": row.scope.workspace, "expires_at": row.expires_at,
    })
}

fn change<'a>(action: &'a str, token: &'a ApiTokenId, (before, after): (Option<Value>, Option<Value>)) -> Change<'a> {
    Change { organization: None, workspace: None, action, subject: token.as_str(), before, after }
}

/// The caller's living tokens, oldest first.
///
/// # Errors
/// [`Error::Forbidden`] for a caller with a token.
pub async fn list(app: &App, ctx: &OpContext) -> Result<Vec<ApiToken>> {
    authz::account(ctx, AccountAction::ManageCredentials)?;
    Ok(api_tokens::list_for_user(&app.store, &ctx.user, ctx.now, MAX_PAGE).await?)
}

/// Revokes a token of the caller: refused from the next request on.
///
/// # Errors
/// [`Error::NotFound`] for one that is somebody else's, or over, and [`Error::Forbidden`] for a caller with a token.
pub async fn revoke(app: &App, ctx: &OpContext, token: &ApiTokenId) -> Result<()> {
    authz::account(ctx, AccountAction::ManageCredentials)?;
    let tx = app.store.begin().await?;
    let row = api_tokens::revoke(&tx, &ctx.user, token, ctx.now).await?.ok_or(Error::NotFound("token"))?;
    app.change(&tx, ctx, change("token.revoked", token, (Some(told(&row)), None)))?;
    tx.commit().await?;
    announce_end(app, token);
    Ok(())
}

/// Tells the streams that were opened with a token that it has ended; to be called after the commit.
pub(crate) fn announce_end(app: &App, token: &ApiTokenId) {
    app.bell.ring(Topic { kind: sessions::TOPIC.to_owned(), subject: token.to_string() });
}

/// Whether a bearer's credential is meant to be an API token.
pub fn is_api_token(bearer: &str) -> bool {
    bearer.starts_with(PREFIX)
}

/// The token whose secret this is, which comes from the address `source` where that is known.
///
/// # Errors
/// [`Error::Unauthenticated`] with the reason when it is unknown, revoked or over, or its owner is gone.
pub async fn from_secret(app: &App, secret: &str, source: Option<&str>) -> Result<ApiToken> {
    let unknown = || Error::Unauthenticated("this token is not known here; make a new one".to_owned());
    if secret.len() != PREFIX.len() + SECRET_LENGTH {
        return Err(unknown());
    }
    let now = app.clock.now();
    let row = api_tokens::find_by_hash(&app.store, &Digest::of(secret)).await?.ok_or_else(unknown)?;
    check_standing(&app.store, &row, now).await?;
    if sessions::is_noteworthy(row.last_used_at, row.last_used_from.as_deref(), now, source) {
        let tx = app.store.begin().await?;
        api_tokens::touch(&tx, &row.id, now, source).await?;
        tx.commit().await?;
    }
    Ok(row)
}

/// The token with this id, with which `user` came in before; read again, since it may have ended since.
///
/// # Errors
/// As for [`from_secret`].
pub(crate) async fn still_good(app: &App, id: &ApiTokenId, user: &UserId) -> Result<ApiToken> {
    let gone = || Error::Unauthenticated("the token has ended; make a new one".to_owned());
    let row = api_tokens::find_for_issuer(&app.store, id).await?.filter(|row| row.user_id == *user).ok_or_else(gone)?;
    check_standing(&app.store, &row, app.clock.now()).await?;
    Ok(row)
}

async fn check_standing(db: &impl Db, row: &ApiToken, now: Timestamp) -> Result<()> {
    let refused = |why: &str| Err(Error::Unauthenticated(why.to_owned()));
    if row.revoked_at.is_some() {
        return refused("this token has been revoked; make a new one");
    }
    if !row.is_live(now) {
        return refused("this token has expired; make a new one");
    }
    let Some(owner) = users::get(db, &row.user_id).await? else {
        return refused("the owner of this token no longer exists");
    };
    match &owner.service_of {
        Some(home) if organizations::scope_for(db, &owner.id, home).await?.is_none() => {
            refused("the service account of this token is in no organization any more")
        }
        _ => Ok(()),
    }
}
