//! Sends the mail of an invitation.
//!
//! A mail may be sent twice: when this process dies after the mail server took it and before that is stored. It has the same
//! id then.

use hexabase_backends::mail::MailError;
use hexabase_backends::store::StoreError;
use hexabase_backends::store::invitations::{self, Invitation};
use hexabase_backends::store::jobs::{self, Claim};
use hexabase_core::ids::InvitationId;
use hexabase_core::invitations::{InvitationState, MailState};
use serde_json::json;

use super::worker::Outcome;
use crate::context::{App, Happening};
use crate::error::{Error, Result};
use crate::invitations::{compose, opened};

/// The job's kind; its subject is the invitation's id.
pub const KIND: &str = "send-invitation-mail";
/// After this many attempts, about an hour, a mail that was never taken is given up.
const MOST_ATTEMPTS: u32 = 60;

pub(super) async fn run(app: &App, claim: &Claim) -> Result<Outcome> {
    let id: InvitationId = claim.subject.parse().map_err(Error::internal)?;
    let Some(row) = invitations::load_for_job(&app.store, &id).await? else { return Ok(Outcome::Done) };
    if row.mail_state != Some(MailState::Queued) {
        return Ok(Outcome::Done);
    }
    let Some(token) = opened(app, &row)? else { return Ok(Outcome::Done) };
    if row.state(app.clock.now()) != InvitationState::Pending {
        return give_up(app, claim, &row, "the invitation was over before the mail was sent").await;
    }
    let Some(mail) = compose(app, &row, &token).await? else {
        return give_up(app, claim, &row, "whoever invited no longer administers the organization").await;
    };
    match app.mailer.send(&mail).await {
        Ok(()) => store(app, claim, &row, MailState::Sent, None).await?,
        Err(error @ MailError::Refused(_)) => return give_up(app, claim, &row, &error.to_string()).await,
        Err(error @ MailError::NotNow(_)) if claim.attempts >= MOST_ATTEMPTS => {
            return give_up(app, claim, &row, &format!("given up after {MOST_ATTEMPTS} attempts; {error}")).await;
        }
        Err(error @ MailError::NotNow(_)) => {
            store(app, claim, &row, MailState::Queued, Some(&format!("{error}; it is tried again"))).await?;
            return Err(Error::Unavailable(error.to_string()));
        }
    }
    tracing::info!(invitation.id = %row.id, attempts = claim.attempts, "invitation mail sent");
    Ok(Outcome::Done)
}

async fn give_up(app: &App, claim: &Claim, row: &Invitation, why: &str) -> Result<Outcome> {
    store(app, claim, row, MailState::Failed, Some(why)).await?;
    tracing::warn!(invitation.id = %row.id, why, "an invitation mail was not sent");
    Ok(Outcome::Done)
}

async fn store(app: &App, claim: &Claim, row: &Invitation, state: MailState, message: Option<&str>) -> Result<()> {
    if row.mail_state == Some(state) && row.mail_message.as_deref() == message {
        return Ok(());
    }
    let tx = app.store.begin().await?;
    jobs::hold(&tx, claim).await?;
    match invitations::set_mail_for_job(&tx, &row.id, &row.token_hash, state, message).await {
        // Sent again meanwhile: the mail with the new token is what counts, and its job is due.
        Err(StoreError::Stale) => return Ok(()),
        outcome => outcome?,
    }
    let (organization, data) = (&row.organization_id, json!({ "mail": state }));
    let subject = row.id.as_str();
    app.record(&tx, Happening { organization, workspace: None, kind: "invitation.mail", subject, data })?;
    Ok(tx.commit().await?)
}
