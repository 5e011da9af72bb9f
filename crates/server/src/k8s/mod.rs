//! Tells the gateway who may pass.

mod recent;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hexabase_app::gateway::{self, Basis, Held, TokenOf};
use hexabase_app::{App, Error};
use hexabase_backends::store::Digest;
use hexabase_core::ids::UserId;

use self::recent::{Now, Recent};
use crate::gateway::{Admission, Authority, Bearer, Refusal, ServiceAccount, Upstream};

/// Name in the certificate of every tenant's API server.
const SERVER_NAME: &str = "kubernetes";

/// Requests of one workspace that are decided upon at the same time; all of them are held while it wakes.
const UNDECIDED: usize = 200;

/// Decides by the platform's own tokens and the database.
#[derive(Debug, Clone)]
pub(crate) struct TokenAuthority {
    app: App,
    recent: Recent,
    undecided: Undecided,
}

/// How many requests are being decided upon, by the workspace that each names.
#[derive(Debug, Clone, Default)]
struct Undecided(Arc<Mutex<HashMap<String, usize>>>);

/// One of them, until dropped.
struct Place {
    undecided: Undecided,
    workspace: String,
}

impl Undecided {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, workspace: &str) -> Option<Place> {
        let mut all = self.lock();
        let waiting = all.entry(workspace.to_owned()).or_default();
        if *waiting >= UNDECIDED {
            return None;
        }
        *waiting += 1;
        Some(Place { undecided: self.clone(), workspace: workspace.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.undecided.lock();
        if let Some(waiting) = all.get_mut(&self.workspace) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                all.remove(&self.workspace);
            }
        }
    }
}

impl TokenAuthority {
    /// Decides by `app`.
    pub(crate) fn new(app: App) -> Self {
        Self { app, recent: Recent::default(), undecided: Undecided::default() }
    }

    fn now(&self) -> Now {
        Now { changes: self.app.store.changes(), at: Instant::now(), time: self.app.clock.now() }
    }
}

impl Authority for TokenAuthority {
    async fn admit(&self, workspace: &str, bearer: Option<&str>, lasts: bool) -> Result<Admission, Refusal> {
        let no_token = || Refusal::Unauthorized { message: "the request carries no token".to_owned() };
        let bearer = bearer.ok_or_else(no_token)?;
        let (shown, since) = (Digest::of(bearer), self.now());
        // What stays open is asked about again only after a while, and a token never, so both begin with what is true now.
        let recent = if lasts { None } else { self.recent.find(&shown, workspace, since) };
        if let Some(admission) = recent.filter(|admission| !self.app.keys.is_revoked(&admission.key)) {
            return Ok(admission);
        }
        let too_many = || Refusal::TooManyRequests {
            message: "too many requests wait for this workspace".to_owned(),
            retry_after: Duration::from_secs(2),
        };
        let _place = self.undecided.enter(workspace).ok_or_else(too_many)?;
        let admitted = gateway::admit(&self.app, workspace, bearer, lasts).await.map_err(refusal)?;
        let admission = Admission {
            workspace: admitted.workspace,
            upstream: Upstream {
                address: admitted.endpoint,
                server_name: SERVER_NAME.to_owned(),
                ca_pem: Arc::from(admitted.ca_pem),
            },
            principal: principal(&admitted.user, &admitted.basis),
            expires_at: admitted.expires_at,
            groups: admitted.held.groups,
            roles: admitted.held.roles,
            key: admitted.held.key,
            moved_at: admitted.held.moved_at,
            renewed: admitted.renewed.map(Bearer::new),
            woken_in: admitted.woken_in,
        };
        if !lasts {
            self.recent.keep(shown, &admission, since);
        }
        Ok(admission)
    }

    async fn still_admitted(&self, admission: &Admission) -> bool {
        match parse(&admission.principal) {
            Some((user, basis)) => {
                let Admission { workspace, groups, roles, key, moved_at, .. } = admission;
                let (groups, roles, key) = (groups.clone(), roles.clone(), key.clone());
                let held = Held { groups, roles, key, moved_at: *moved_at };
                gateway::still_admitted(&self.app, workspace, &user, &basis, &held).await
            }
            None => false,
        }
    }

    async fn check_room(&self, admission: &Admission, account: &ServiceAccount) -> Result<(), Refusal> {
        let (user, _) = parse(&admission.principal).ok_or_else(nobody)?;
        gateway::check_room(&self.app, &token_of(admission, &user, account)).await.map_err(refusal)
    }

    async fn note_token(&self, admission: &Admission, account: &ServiceAccount) -> Result<(), Refusal> {
        let (user, _) = parse(&admission.principal).ok_or_else(nobody)?;
        let noted = gateway::note_token(&self.app, &token_of(admission, &user, account)).await;
        noted.map_err(|error| match error {
            Error::Forbidden(message) => Refusal::Forbidden { message },
            error => {
                let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                tracing::error!(error = %cause, "a token of a ServiceAccount could not be written down");
                let message = "the token was made and is kept back, because that could not be written down; ask again";
                Refusal::Unavailable { message: message.to_owned(), retry_after: Duration::from_secs(2) }
            }
        })
    }
}

fn token_of<'a>(admission: &'a Admission, user: &'a UserId, account: &'a ServiceAccount) -> TokenOf<'a> {
    let ServiceAccount { namespace, name } = account;
    TokenOf { workspace: &admission.workspace, user, namespace, service_account: name }
}

fn nobody() -> Refusal {
    Refusal::Unauthorized { message: "the token is not accepted: it names nobody".to_owned() }
}

fn principal(user: &UserId, basis: &Basis) -> String {
    format!("{user}/{basis}")
}

fn parse(principal: &str) -> Option<(UserId, Basis)> {
    let (user, basis) = principal.split_once('/')?;
    Some((user.parse().ok()?, basis.parse().ok()?))
}

fn refusal(error: Error) -> Refusal {
    let message = error.to_string();
    match error {
        Error::Unauthenticated(_) => Refusal::Unauthorized { message },
        // That a workspace is leaving, told to its members: of a 404 kubectl does not print the sentence.
        Error::Forbidden(_) | Error::Conflict { .. } => Refusal::Forbidden { message },
        Error::NotFound(_) => Refusal::NotFound { message },
        Error::Internal(cause) => {
            tracing::error!(error = %cause, "the gateway could not decide");
            Refusal::Unavailable { message, retry_after: Duration::from_secs(2) }
        }
        _ => Refusal::Unavailable { message, retry_after: Duration::from_secs(2) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_requests_of_a_workspace_wait_and_none_is_remembered() {
        let undecided = Undecided::default();
        let mut places: Vec<Place> = (0..UNDECIDED).filter_map(|_| undecided.enter("ws-1")).collect();
        assert_eq!(places.len(), UNDECIDED);
        assert!(undecided.enter("ws-1").is_none());
        assert!(undecided.enter("ws-2").is_some(), "another one has places of its own");
        places.pop();
        assert!(undecided.enter("ws-1").is_some());
        drop(places);
        assert!(undecided.lock().is_empty());
    }
}
