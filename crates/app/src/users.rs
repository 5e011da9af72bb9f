//! People: known by (issuer, subject), never by address.

use hexabase_backends::store::StoreError;
use hexabase_backends::store::organizations::{self, Organization};
use hexabase_backends::store::users::{self, User};
use hexabase_core::ids::UserId;
use hexabase_core::names::DisplayName;

use crate::context::{App, Credential, OpContext, Origin};
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
    /// A name that can be shown, whatever the provider sent.
    fn name(&self) -> Result<DisplayName> {
        let given = self.display_name.as_deref().or(self.email.as_deref()).unwrap_or_default();
        let clean: String = given.chars().filter(|character| !character.is_control()).take(80).collect();
        let name = if clean.trim().is_empty() { "Somebody" } else { clean.trim() };
        Ok(name.parse()?)
    }

    /// The address, unless it is none: with characters in it that none has.
    fn address(&self) -> Option<&String> {
        self.email.as_ref().filter(|email| !email.contains(char::is_control))
    }
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
    let email = identity.address();
    let user = User {
        id: app.new_id()?,
        display_name: identity.name()?,
        email: email.cloned(),
        email_verified: email.is_some() && identity.email_verified,
        created_at: now,
    };
    let tx = app.store.begin().await?;
    if let Some(known) = users::find_by_identity(&tx, &identity.issuer, &identity.subject).await? {
        users::update_profile(&tx, &known.id, &user.display_name, user.email.as_deref(), user.email_verified).await?;
        tx.commit().await?;
        return Ok(known.id);
    }
    users::insert(&tx, &user).await?;
    users::add_identity(&tx, &user.id, &identity.issuer, &identity.subject, now).await?;
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
