//! The outside identities that a person signs in with.
//!
//! One is added by the person alone, while signed in, by signing in with it as well; never because two providers name the
//! same address, which either of them may have got wrong. The oldest is the primary one (see [`crate::users`]).

use hexabase_backends::store::identities::{self, Identity};
use hexabase_backends::store::{StoreError, Unique, sessions, users};
use hexabase_core::ids::IdentityId;
use serde_json::json;

use crate::authz::{self, AccountAction};
use crate::context::{App, Change, OpContext};
use crate::error::{Error, Result};
use crate::users::{ExternalIdentity, take_over};

/// Most identities of one person.
const MOST: usize = 20;
/// Seconds after signing in during which an identity can be linked: whoever finds a browser open cannot make the account
/// their own.
const RECENT_SECONDS: i64 = 15 * 60;

/// The caller's identities, the primary one first.
pub async fn list(app: &App, ctx: &OpContext) -> Result<Vec<Identity>> {
    authz::account(ctx, AccountAction::View)?;
    Ok(identities::list_for_user(&app.store, &ctx.user).await?)
}

/// Whether the caller may begin to link an identity.
///
/// # Errors
/// [`Error::Forbidden`] when the caller signed in too long ago, or is no browser or device.
pub async fn may_link(app: &App, ctx: &OpContext) -> Result<()> {
    authz::account(ctx, AccountAction::ManageCredentials)?;
    let session = match ctx.credential.session() {
        Some(id) => sessions::find_live(&app.store, id, ctx.now).await?,
        None => None,
    };
    let recent = |at| ctx.now.millis_since(at) <= RECENT_SECONDS * 1_000;
    if session.is_some_and(|session| recent(session.created_at)) {
        return Ok(());
    }
    Err(Error::Forbidden("linking needs a sign-in of the last 15 minutes; sign in again, then link".to_owned()))
}

/// Adds an identity that its provider has just confirmed. One that the caller has already changes nothing.
///
/// # Errors
/// [`Error::Conflict`] `identity_taken` when it belongs to somebody else.
pub async fn link(app: &App, ctx: &OpContext, external: &ExternalIdentity) -> Result<()> {
    authz::account(ctx, AccountAction::ManageCredentials)?;
    let identity = Identity {
        id: app.new_id()?,
        user_id: ctx.user.clone(),
        issuer: external.issuer.clone(),
        subject: external.subject.clone(),
        said: external.said(),
        created_at: ctx.now,
        last_used_at: None,
    };
    let tx = app.store.begin().await?;
    users::lock(&tx, &ctx.user).await?;
    match identities::find(&tx, &identity.issuer, &identity.subject).await? {
        Some(known) if known.user_id == ctx.user => return Ok(()),
        Some(_) => return Err(taken()),
        None => {}
    }
    if identities::list_for_user(&tx, &ctx.user).await?.len() >= MOST {
        let detail = format!("one person has at most {MOST} identities, which nobody can raise; unlink one first");
        return Err(Error::LimitReached(detail));
    }
    identities::insert(&tx, &identity).await.map_err(|cause| match cause {
        StoreError::NotUnique(Unique::Identity) => taken(),
        cause => cause.into(),
    })?;
    app.change(&tx, ctx, change("identity.linked", &identity, true))?;
    tx.commit().await?;
    tracing::info!(user.id = %ctx.user, identity.id = %identity.id, "an identity was linked");
    Ok(())
}

fn taken() -> Error {
    let detail = "that identity belongs to another account here; sign in with it, and unlink it there first";
    Error::conflict("identity_taken", detail)
}

/// Takes one of the caller's identities away. If it was the primary one, the next oldest becomes that. Sessions that were
/// begun with it go on.
///
/// # Errors
/// [`Error::Conflict`] `last_identity` when nothing would be left to sign in with.
pub async fn unlink(app: &App, ctx: &OpContext, id: &IdentityId) -> Result<()> {
    authz::account(ctx, AccountAction::ManageCredentials)?;
    let tx = app.store.begin().await?;
    users::lock(&tx, &ctx.user).await?;
    let all = identities::list_for_user(&tx, &ctx.user).await?;
    let place = all.iter().position(|one| one.id == *id).ok_or(Error::NotFound("identity"))?;
    if all.len() == 1 {
        let detail = "this is the only identity that you can sign in with; link another one first";
        return Err(Error::conflict("last_identity", detail));
    }
    identities::remove(&tx, &ctx.user, id).await?;
    if place == 0 {
        take_over(&tx, &ctx.user, &all[1].said).await?;
    }
    app.change(&tx, ctx, change("identity.unlinked", &all[place], false))?;
    tx.commit().await?;
    tracing::info!(user.id = %ctx.user, identity.id = %id, "an identity was unlinked");
    Ok(())
}

fn change<'a>(action: &'a str, identity: &'a Identity, linked: bool) -> Change<'a> {
    let shown = Some(json!({ "issuer": identity.issuer, "subject": identity.subject }));
    let (before, after) = if linked { (None, shown) } else { (shown, None) };
    Change { organization: None, workspace: None, action, subject: identity.id.as_str(), before, after }
}
