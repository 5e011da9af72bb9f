//! People: known by (issuer, subject), never by address.
//!
//! Somebody can have several identities (see [`crate::identities`]). The oldest is the primary one: name and address of the
//! person are what its provider said last. Signing in with another one changes neither, so that an address which
//! invitations and access hang on does not come and go with the button that was pressed.

use hexabase_backends::store::identities::{self, Identity, Said};
use hexabase_backends::store::organizations::{self, Organization};
use hexabase_backends::store::users::{self, User};
use hexabase_backends::store::{StoreError, Tx};
use hexabase_core::ids::UserId;
use hexabase_core::names::DisplayName;
use serde_json::{Value, json};

use crate::context::{App, Change, Credential, OpContext, Origin};
use crate::error::{Error, Result};
use crate::organizations::created;

/// Who somebody is, according to an identity provider that we asked.
#[derive(Debug, Clone)]
pub struct ExternalIdentity {
    /// Issuer.
    pub issuer: String,
    /// Subject there; with the issuer, the key.
    pub subject: String,
    /// Name for people, if told.
    pub display_name: Option<String>,
    /// Address, if told.
    pub email: Option<String>,
    /// Whether the issuer says that the address belongs to the person.
    pub email_verified: bool,
}

impl ExternalIdentity {
    /// What is kept of it, whatever the provider sent.
    pub(crate) fn said(&self) -> Said {
        let clean =
            |text: &String| text.chars().filter(|character| !character.is_control()).take(80).collect::<String>();
        let name = self.display_name.as_ref().map(clean).map(|name| name.trim().to_owned());
        let email = self.address();
        Said {
            display_name: name.filter(|name| !name.is_empty()),
            email: email.cloned(),
            email_verified: email.is_some() && self.email_verified,
        }
    }

    /// The address, unless it is none: with characters in it that none has.
    fn address(&self) -> Option<&String> {
        self.email.as_ref().filter(|email| !email.contains(char::is_control))
    }
}

/// A name that can be shown.
fn shown(said: &Said) -> Result<DisplayName> {
    let given = said.display_name.as_deref().or(said.email.as_deref()).unwrap_or_default();
    let clean: String = given.chars().filter(|character| !character.is_control()).take(80).collect();
    let name = if clean.trim().is_empty() { "Somebody" } else { clean.trim() };
    Ok(name.parse()?)
}

/// Makes what the provider of somebody's primary identity says the person's name and address.
pub(crate) async fn take_over(tx: &Tx, user: &UserId, said: &Said) -> Result<()> {
    users::update_profile(tx, user, &shown(said)?, said.email.as_deref(), said.email_verified).await?;
    Ok(())
}

/// The same at a sign-in, which says in the person's audit log what changed by it.
async fn follow(app: &App, tx: &Tx, ctx: &OpContext, said: &Said) -> Result<()> {
    let before = users::get(tx, &ctx.user).await?.as_ref().map(told);
    take_over(tx, &ctx.user, said).await?;
    let after = users::get(tx, &ctx.user).await?.as_ref().map(told);
    if before == after {
        return Ok(());
    }
    let subject = ctx.user.as_str();
    app.change(
        tx,
        ctx,
        Change { organization: None, workspace: None, action: "account.changed", subject, before, after },
    )
}

/// What a person's own audit log says of their profile.
fn told(user: &User) -> Value {
    json!({ "name": user.display_name.as_str(), "email": user.email, "email_verified": user.email_verified })
}

/// The person behind `identity`. The first time, makes the person and a private organisation with them as its admin, in one
/// transaction: twenty sign-ins at once still make one of each.
pub async fn sign_in(app: &App, identity: &ExternalIdentity, origin: &Origin) -> Result<UserId> {
    // The loser of a race finds what the winner made.
    for _ in 0..3 {
        match sign_in_once(app, identity, origin).await {
            Err(Error::Internal(cause)) if is_race(cause.as_ref()) => {}
            outcome => return outcome,
        }
    }
    Err(Error::Unavailable("signing in met another sign-in of the same person; try again".to_owned()))
}

fn is_race(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(StoreError::NotUnique(_)))
}

async fn sign_in_once(app: &App, identity: &ExternalIdentity, origin: &Origin) -> Result<UserId> {
    let now = app.clock.now();
    if identity.subject.contains(char::is_control) {
        let sentence = "the identity provider knows you by a text with control characters, which cannot be kept";
        return Err(Error::Unauthenticated(sentence.to_owned()));
    }
    let said = identity.said();
    let tx = app.store.begin().await?;
    if let Some(known) = identities::find(&tx, &identity.issuer, &identity.subject).await? {
        identities::note_use(&tx, &known.id, &said, now).await?;
        if identities::list_for_user(&tx, &known.user_id).await?.first().is_some_and(|primary| primary.id == known.id) {
            let ctx = OpContext::of(known.user_id.clone(), Credential::SignIn, now, origin);
            follow(app, &tx, &ctx, &said).await?;
        }
        tx.commit().await?;
        return Ok(known.user_id);
    }
    let user = User {
        id: app.new_id()?,
        display_name: shown(&said)?,
        email: said.email.clone(),
        email_verified: said.email_verified,
        created_at: now,
        service_of: None,
    };
    users::insert(&tx, &user).await?;
    let first = Identity {
        id: app.new_id()?,
        user_id: user.id.clone(),
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        said,
        created_at: now,
        last_used_at: Some(now),
    };
    identities::insert(&tx, &first).await?;
    let name: String =
        format!("{}'s organization", user.display_name.as_str().chars().take(60).collect::<String>().trim());
    let organization = Organization {
        id: app.new_id()?,
        name: name.parse()?,
        display_name: None,
        personal_of: Some(user.id.clone()),
        created_at: now,
        deleted_at: None,
    };
    organizations::insert(&tx, &organization, &user.id).await?;
    let ctx = OpContext::of(user.id.clone(), Credential::SignIn, now, origin);
    app.change(&tx, &ctx, created(&organization))?;
    tx.commit().await?;
    tracing::info!(user.id = %user.id, organization.id = %organization.id, "a person signed in for the first time");
    Ok(user.id)
}

/// The person themselves.
///
/// # Errors
/// [`Error::Unauthenticated`] when the person is gone.
pub async fn get(app: &App, user: &UserId) -> Result<User> {
    users::get(&app.store, user)
        .await?
        .ok_or_else(|| Error::Unauthenticated("this account no longer exists".to_owned()))
}
