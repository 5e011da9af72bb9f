//! What came of ending tokens.

use hexabase_reconcile::{Missing, ReconcileError, Renewed};
use serde_json::{Value, json};

use super::{Place, Token};
use crate::error::{Error, Result};
use crate::tenant;

/// Said of a ServiceAccount whose objects were not made nobody's before it went.
const FORCED: &str = "it was made anew, but what it owned may be deleted with the one of before: Kubernetes took too \
                      long to let go of that, so that its finalizer was taken off";
/// Said of a token that has ended and is on no record.
const UNRECORDED: &str =
    "it ended, but that could not be written down: it is listed still, and no record tells of it; ask again";

/// A token that did not end, or a ServiceAccount that is not as it was.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The token.
    pub token: Token,
    /// What went wrong, as a sentence.
    pub message: String,
}

/// What came of a revocation.
#[derive(Debug, Clone, Default)]
pub struct Revoked {
    /// What ended; with the tokens of a ServiceAccount also what others hold of it.
    pub ended: Vec<Token>,
    /// What did not, or not without harm.
    pub failed: Vec<Failure>,
    /// Pods (namespace and name) that hold tokens which are refused now, and have to be restarted.
    pub pods: Vec<(String, String)>,
    /// How much of what was asked for has not been tried yet.
    pub remaining: usize,
    /// After what that begins, for the next request.
    pub next: Option<Place>,
    /// ServiceAccounts that are not there again, each as somebody has to apply it.
    missing: Vec<Value>,
}

impl Revoked {
    /// Nothing yet, with so much left for the next request.
    pub(super) fn before(remaining: usize, next: Option<Place>) -> Self {
        Self { remaining, next, ..Self::default() }
    }

    /// A token has ended, or not, and why.
    pub(super) fn take(&mut self, token: Token, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.ended.push(token),
            Err(error) => self.complain(&token, error.to_string()),
        }
    }

    /// Tokens have not ended.
    pub(super) fn keep(&mut self, tokens: &[Token], error: &Error) {
        for token in tokens {
            self.complain(token, error.to_string());
        }
    }

    /// What came of a ServiceAccount, with the others' tokens that are lost with it; whether its tokens have ended.
    pub(super) fn take_account(
        &mut self,
        mut token: Token,
        outcome: Result<Renewed, ReconcileError>,
        lost: Vec<Token>,
    ) -> bool {
        let Renewed { absent, missing, forced, pods } = match outcome {
            Ok(renewed) => renewed,
            Err(error) => {
                self.complain(&token, tenant::refusal(error).to_string());
                return false;
            }
        };
        token.gone = absent;
        let known = missing.as_ref().is_none_or(|missing| missing.ended);
        if let Some(missing) = missing {
            self.miss(&token, missing);
        }
        if forced {
            self.complain(&token, FORCED.to_owned());
        }
        match pods {
            Ok(pods) => self.pods.extend(pods.into_iter().map(|pod| (token.namespace.clone(), pod))),
            Err(error) => {
                let why = tenant::refusal(error);
                self.complain(&token, format!("the pods that hold its tokens cannot be told: {why}"));
            }
        }
        if known {
            self.ended.push(token);
            // Kubernetes deletes the Secrets of a ServiceAccount that was deleted, whoever made them.
            self.ended.extend(lost.into_iter().filter(|_| !absent));
        }
        known
    }

    fn miss(&mut self, token: &Token, Missing { why, ended, manifest }: Missing) {
        let what = match ended {
            true => "its tokens ended, but it is not there again",
            false => "it was to be deleted, and may be missing now",
        };
        let why = tenant::refusal(why);
        self.complain(token, format!("{what}: {why}; apply this to have it again: {manifest}"));
        self.missing.push(manifest);
    }

    fn complain(&mut self, token: &Token, message: String) {
        self.failed.push(Failure { token: token.clone(), message });
    }

    /// Nothing of this could be written down.
    pub(super) fn is_unrecorded(&mut self) {
        for token in self.ended.clone() {
            self.complain(&token, UNRECORDED.to_owned());
        }
    }

    /// Whether nothing was tried.
    pub(super) fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.failed.is_empty()
    }

    /// What the audit log says of it. No token is in any of it.
    pub(super) fn told(&self) -> Value {
        let failed = self.failed.iter().map(|Failure { token, message }| {
            let mut failure = told(token);
            failure["message"] = json!(message);
            failure
        });
        let pods = self.pods.iter().map(|(namespace, name)| format!("{namespace}/{name}"));
        let mut all = json!({
            "ended": self.ended.iter().map(told).collect::<Vec<_>>(),
            "failed": failed.collect::<Vec<_>>(),
            "pods": pods.collect::<Vec<_>>(),
        });
        if !self.missing.is_empty() {
            all["missing"] = json!(self.missing);
        }
        all
    }
}

fn told(token: &Token) -> Value {
    let Token { kind, namespace, service_account, secret, .. } = token;
    json!({ "kind": kind, "namespace": namespace, "service_account": service_account, "secret": secret })
}

#[cfg(test)]
mod tests {
    use hexabase_core::time::Timestamp;
    use hexabase_core::tokens::ServiceAccountTokenKind;

    use super::*;

    fn token(account: &str) -> Token {
        Token {
            kind: ServiceAccountTokenKind::TokenRequest,
            namespace: "web".to_owned(),
            service_account: account.to_owned(),
            secret: None,
            first_created_at: Timestamp::from_seconds(1),
            last_created_at: Timestamp::from_seconds(1),
            gone: false,
        }
    }

    #[test]
    fn the_record_tells_what_ended_what_did_not_and_which_pods_have_to_restart() {
        let mut revoked = Revoked::default();
        assert!(revoked.is_empty());
        let pods = Ok(vec!["worker".to_owned()]);
        let renewed = Renewed { absent: false, missing: None, forced: true, pods };
        assert!(revoked.take_account(token("robot"), Ok(renewed), vec![token("others")]));
        revoked.keep(&[token("held")], &Error::Forbidden("it is held".to_owned()));
        let record = revoked.told();
        assert_eq!(record["ended"].as_array().map(Vec::len), Some(2));
        for (index, account, message) in [(0, "robot", FORCED), (1, "held", "it is held")] {
            let failure = &record["failed"][index];
            assert_eq!((&failure["service_account"], &failure["message"]), (&json!(account), &json!(message)));
        }
        assert_eq!((&record["pods"], record.get("missing")), (&json!(["web/worker"]), None));
    }

    #[test]
    fn nothing_is_lost_with_one_that_was_gone_before() {
        let mut revoked = Revoked::default();
        let renewed = Renewed { absent: true, missing: None, forced: false, pods: Ok(Vec::new()) };
        assert!(revoked.take_account(token("robot"), Ok(renewed), vec![token("others")]));
        assert_eq!((revoked.ended.len(), revoked.ended[0].gone, revoked.failed.len()), (1, true, 0));
    }

    #[test]
    fn what_ended_without_a_record_is_told_as_a_failure_as_well() {
        let mut revoked = Revoked::default();
        revoked.take(token("robot"), Ok(()));
        revoked.is_unrecorded();
        assert_eq!((revoked.ended.len(), revoked.failed.len()), (1, 1));
        assert_eq!(revoked.failed[0].message, UNRECORDED);
    }
}
