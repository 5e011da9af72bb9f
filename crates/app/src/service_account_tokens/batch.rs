//! What one request ends of all that is to end: little enough to be over, and written down, while its caller waits.

use std::fmt;
use std::str::FromStr;

use hexabase_reconcile::TokenSecret;
use serde_json::json;

use super::Token;

/// How many Secrets are deleted with one request.
const SECRETS: usize = 60;
/// How many ServiceAccounts are made anew with one: as many as are at the same time.
const ACCOUNTS: usize = 6;
/// How many ServiceAccounts one request is about, with those that are gone, for which nothing is to be done.
const WITH_THE_GONE: usize = 200;

/// A place in the order in which tokens are ended: Secrets before ServiceAccounts, both by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    is_account: bool,
    namespace: String,
    name: String,
}

impl Place {
    fn of_secret(secret: &TokenSecret) -> Self {
        Self { is_account: false, namespace: secret.namespace.clone(), name: secret.name.clone() }
    }

    fn of_account(token: &Token) -> Self {
        Self { is_account: true, namespace: token.namespace.clone(), name: token.service_account.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", json!([self.is_account, self.namespace, self.name]))
    }
}

impl FromStr for Place {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (is_account, namespace, name): (bool, String, String) = serde_json::from_str(text)?;
        Ok(Self { is_account, namespace, name })
    }
}

/// What is ended now.
#[derive(Debug)]
pub(super) struct Batch {
    /// Secrets.
    pub(super) secrets: Vec<TokenSecret>,
    /// ServiceAccounts, those that are gone included.
    pub(super) accounts: Vec<Token>,
    /// How much comes after them.
    pub(super) remaining: usize,
    /// Where that begins: after this. Nothing that is left before it is tried again by whoever goes on.
    pub(super) next: Option<Place>,
}

impl Batch {
    /// The first of these after a place.
    pub(super) fn of(secrets: Vec<TokenSecret>, accounts: Vec<Token>, after: Option<&Place>) -> Self {
        let mut secrets = in_order(secrets, Place::of_secret, after);
        let mut accounts = in_order(accounts, Place::of_account, after);
        let all = secrets.len() + accounts.len();
        let most = if secrets.len() > SECRETS { 0 } else { share(&accounts) };
        secrets.truncate(SECRETS);
        accounts.truncate(most);
        let remaining = all - secrets.len() - accounts.len();
        let last = accounts.last().map(Place::of_account).or_else(|| secrets.last().map(Place::of_secret));
        Self { secrets, accounts, remaining, next: last.filter(|_| remaining > 0) }
    }
}

fn in_order<T>(all: Vec<T>, place: fn(&T) -> Place, after: Option<&Place>) -> Vec<T> {
    let mut left: Vec<T> = all.into_iter().filter(|one| after.is_none_or(|after| place(one) > *after)).collect();
    left.sort_by_cached_key(place);
    left
}

/// How many of these are the turn of one request.
fn share(accounts: &[Token]) -> usize {
    let mut living = 0;
    let fits = |token: &&Token| {
        living += usize::from(!token.gone);
        living <= ACCOUNTS
    };
    accounts.iter().take(WITH_THE_GONE).take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use hexabase_core::time::Timestamp;
    use hexabase_core::tokens::ServiceAccountTokenKind;

    use super::*;

    fn token(number: usize, gone: bool) -> Token {
        Token {
            kind: ServiceAccountTokenKind::TokenRequest,
            namespace: "web".to_owned(),
            service_account: format!("robot-{number:04}"),
            secret: None,
            first_created_at: Timestamp::from_seconds(1),
            last_created_at: Timestamp::from_seconds(1),
            gone,
        }
    }

    /// How many ServiceAccounts each request is about, when every one goes on where the one before ended.
    fn turns(accounts: &[Token]) -> Vec<usize> {
        let (mut turns, mut after) = (Vec::new(), None);
        loop {
            let batch = Batch::of(Vec::new(), accounts.iter().rev().cloned().collect(), after.as_ref());
            turns.push(batch.accounts.len());
            assert_eq!(turns.iter().sum::<usize>() + batch.remaining, accounts.len());
            match batch.next {
                Some(next) => after = Some(next),
                None => return turns,
            }
        }
    }

    #[test]
    fn every_service_account_has_its_turn_once_and_those_that_are_gone_cost_nothing() {
        let some = |count: usize, gone: fn(usize) -> bool| -> Vec<Token> {
            (0..count).map(|number| token(number, gone(number))).collect()
        };
        assert_eq!(turns(&some(0, |_| false)), [0]);
        assert_eq!(turns(&some(6, |_| false)), [6]);
        assert_eq!(turns(&some(13, |_| false)), [6, 6, 1]);
        assert_eq!(turns(&some(20, |number| number < 10)), [16, 4]);
        assert_eq!(turns(&some(450, |_| true)), [200, 200, 50]);
    }

    #[test]
    fn a_place_is_found_again_by_its_text() {
        let account = Place::of_account(&token(1, false));
        let secret = Place { is_account: false, namespace: "web\"/".to_owned(), name: "z".to_owned() };
        assert!(secret < account, "Secrets come first");
        for place in [account, secret] {
            assert_eq!(place.to_string().parse::<Place>().ok(), Some(place));
        }
        for text in ["", "[]", "[true,\"web\"]", "web/robot"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
