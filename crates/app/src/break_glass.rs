//! Break-glass: an operator of the platform lets one of its staff into an organisation that neither belongs to, for a short time
//! and with a reason. The person sees what its admins see and takes access away; gives nobody any, and disposes of nothing that
//! is the organisation's (`authz`). The organisation sees both in its own log, and everything that is done meanwhile.
//!
//! There is no route for it: whoever can do this has the database anyway.

use hexabase_backends::store::break_glass::{self, BreakGlass};
use hexabase_backends::store::{Store, Tx, organizations, users};
use hexabase_core::ids::{OrganizationId, UserId};
use hexabase_core::roles::OrganizationRole;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::context::new_id;
use crate::error::{Error, Result};
use crate::members::Invitee;
use crate::operator::{self, Deed};

/// Longest time for which access is given at once: half a working day. More time takes another reason.
pub const MOST_MINUTES: i64 = 240;
/// Longest reason.
const MOST_REASON: usize = 500;

/// Access that is to be given.
#[derive(Debug, Clone)]
pub struct BreakGlassRequest {
    /// Where.
    pub organization: OrganizationId,
    /// To whom: somebody who has signed in before.
    pub who: Invitee,
    /// For how long.
    pub minutes: i64,
    /// Why, for the organisation to read.
    pub reason: String,
    /// Who gives it, as the operating system calls them.
    pub operator: String,
}

/// Gives access.
///
/// # Errors
/// [`Error::Invalid`], [`Error::NotFound`], and [`Error::Conflict`] for somebody who has access already, or administers the
/// organisation.
pub async fn start(store: &Store, clock: &Clock, request: &BreakGlassRequest) -> Result<BreakGlass> {
    let BreakGlassRequest { organization, who, minutes, reason, operator } = request;
    if !(1..=MOST_MINUTES).contains(minutes) {
        return Err(Error::invalid("minutes", format!("must be from 1 to {MOST_MINUTES}")));
    }
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > MOST_REASON || reason.chars().any(char::is_control) {
        let rule =
            format!("must say in one line of at most {MOST_REASON} characters why, for the organization to read");
        return Err(Error::invalid("reason", rule));
    }
    let now = clock.now();
    let tx = store.begin().await?;
    if !organizations::lock_for_operator(&tx, organization).await? {
        return Err(Error::NotFound("organization"));
    }
    let user = find(&tx, who).await?;
    let belongs = organizations::scope_for(&tx, &user, organization).await?;
    if belongs.is_some_and(|scope| scope.role() == OrganizationRole::Admin) {
        return Err(Error::conflict("break_glass", "the person administers the organization and needs no break-glass"));
    }
    if let Some(given) = break_glass::find(&tx, organization, &user, now).await? {
        let detail = format!("the person has access until {} already; end that first", given.expires_at);
        return Err(Error::conflict("break_glass", detail));
    }
    let given = BreakGlass {
        id: new_id(clock)?,
        organization_id: organization.clone(),
        user_id: user,
        reason: reason.to_owned(),
        granted_by: operator.clone(),
        started_at: now,
        expires_at: now.plus_seconds(minutes * 60),
        ended_at: None,
    };
    break_glass::insert(&tx, &given).await?;
    let after = json!({
        "user": given.user_id, "until": given.expires_at, "reason": given.reason, "granted_by": given.granted_by,
    });
    tell(&tx, clock, &given, operator, ("break_glass.started", None, Some(after)))?;
    tx.commit().await?;
    Ok(given)
}

/// Ends access before its time.
///
/// # Errors
/// [`Error::NotFound`] when the person has none.
pub async fn end(
    store: &Store,
    clock: &Clock,
    organization: &OrganizationId,
    who: &Invitee,
    operator: &str,
) -> Result<BreakGlass> {
    let now = clock.now();
    let tx = store.begin().await?;
    let user = find(&tx, who).await?;
    let given = break_glass::find(&tx, organization, &user, now).await?;
    let given = given.ok_or(Error::NotFound("access by break-glass"))?;
    if !break_glass::end(&tx, &given.id, now).await? {
        return Err(Error::NotFound("access by break-glass"));
    }
    let before = json!({ "user": given.user_id, "until": given.expires_at });
    tell(&tx, clock, &given, operator, ("break_glass.ended", Some(before), None))?;
    tx.commit().await?;
    Ok(BreakGlass { ended_at: Some(now), ..given })
}

async fn find(tx: &Tx, who: &Invitee) -> Result<UserId> {
    let mut found = match who {
        Invitee::User(id) => users::get(tx, id).await?.into_iter().collect(),
        Invitee::Email(address) => users::find_by_verified_email(tx, address).await?,
    };
    found.retain(|user| user.service_of.is_none());
    match (found.pop(), found.is_empty()) {
        (Some(user), true) => Ok(user.id),
        (Some(_), false) => {
            Err(Error::conflict("address_ambiguous", "several people have this verified address; give the id"))
        }
        (None, _) => Err(Error::NotFound("person; whoever is to have access signs in once before")),
    }
}

/// Writes it into the organisation's log and feed.
fn tell(
    tx: &Tx,
    clock: &Clock,
    given: &BreakGlass,
    operator: &str,
    (action, before, after): (&str, Option<Value>, Option<Value>),
) -> Result<()> {
    let told = json!({ "user": given.user_id, "until": given.expires_at });
    let (organization, subject) = (&given.organization_id, given.id.as_str());
    operator::tell(tx, clock, Deed { organization, action, subject, before, after, told }, operator)
}
