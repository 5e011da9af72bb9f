//! Tokens of Kubernetes' ServiceAccounts that people came by inside a workspace. They outlive their access, so they are listed
//! and ended (docs/adr/0017-ending-service-account-tokens.md).
//!
//! What was asked for is in our rows, because Kubernetes keeps nothing of it; what was made as a Secret is in the workspace,
//! marked with its maker. Both is read, and ended, with the caller's own rights there.

use std::collections::HashMap;

use hexabase_backends::store::service_account_tokens::{self as rows, TokensGiven};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use hexabase_core::tokens::ServiceAccountTokenKind;
use hexabase_reconcile::{Missing, ReconcileError, Renewed, TokenSecret};
use serde_json::{Value, json};
use tracing::Instrument as _;

use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::tenant;

/// How many Secrets are deleted with one token of the caller's.
const SECRETS: usize = 60;
/// How many ServiceAccounts are made anew with one: as many as are at the same time.
const ACCOUNTS: usize = 6;

/// Namespace and name of a ServiceAccount.
type Account = (String, String);

/// A token of a ServiceAccount; those that were asked for count as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// How the person came by it.
    pub kind: ServiceAccountTokenKind,
    /// The namespace.
    pub namespace: String,
    /// The ServiceAccount in it.
    pub service_account: String,
    /// The Secret that holds it.
    pub secret: Option<String>,
    /// When the first was made.
    pub first_created_at: Timestamp,
    /// When the last was made.
    pub last_created_at: Timestamp,
    /// Whether the ServiceAccount is known to be there no more, so that nobody accepts it.
    pub gone: bool,
}

impl Token {
    fn asked_for(given: &TokensGiven) -> Self {
        Self {
            kind: ServiceAccountTokenKind::TokenRequest,
            namespace: given.namespace.clone(),
            service_account: given.service_account.clone(),
            secret: None,
            first_created_at: given.first_at,
            last_created_at: given.last_at,
            gone: false,
        }
    }

    fn in_secret(secret: &TokenSecret) -> Self {
        Self {
            kind: ServiceAccountTokenKind::Secret,
            namespace: secret.namespace.clone(),
            service_account: secret.service_account.clone(),
            secret: Some(secret.name.clone()),
            first_created_at: secret.created_at,
            last_created_at: secret.created_at,
            gone: false,
        }
    }

    fn account(&self) -> Account {
        (self.namespace.clone(), self.service_account.clone())
    }
}

/// The tokens of one person.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Those that are known, by namespace and ServiceAccount.
    pub items: Vec<Token>,
    /// Why the caller cannot be told of Secrets, in Kubernetes' words.
    pub secrets_unread: Option<String>,
}

/// Which tokens are to end.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// Whose.
    pub user: UserId,
    /// In which namespace; in all when absent.
    pub namespace: Option<String>,
    /// Of which ServiceAccount there; of all when absent.
    pub service_account: Option<String>,
}

impl Revocation {
    fn concerns(&self, namespace: &str, service_account: &str) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
            && self.service_account.as_ref().is_none_or(|wanted| wanted == service_account)
    }
}

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
    /// ServiceAccounts that are not there again, each as somebody has to apply it.
    missing: Vec<Value>,
}

/// The tokens of ServiceAccounts that a person came by, who need not be a member any more. Their own are told to everybody.
pub async fn list(app: &App, ctx: &OpContext, workspace: &WorkspaceId, user: &UserId) -> Result<Tokens> {
    let action = if *user == ctx.user { WorkspaceAction::View } else { WorkspaceAction::SeeTokens };
    let scope = authz::workspace(&app.store, ctx, workspace, action).await?;
    let given = rows::list(&app.store, &scope, Some(user)).await?;
    let tenant = tenant::as_caller(app, &scope).await?;
    let (secrets, secrets_unread) = match tenant.token_secrets().await.map_err(tenant::refusal) {
        Ok(secrets) => (secrets, None),
        Err(Error::Forbidden(why)) => (Vec::new(), Some(why)),
        Err(error) => return Err(error),
    };
    let there = match tenant.service_accounts().await.map_err(tenant::refusal) {
        Ok(there) => Some(there),
        Err(Error::Forbidden(_)) => None,
        Err(error) => return Err(error),
    };
    let made = secrets.iter().filter(|secret| secret.created_by.as_ref() == Some(user)).map(Token::in_secret);
    let mut items: Vec<Token> = given.iter().map(Token::asked_for).chain(made).collect();
    for token in &mut items {
        token.gone = there.as_ref().is_some_and(|there| !there.contains(&token.account()));
    }
    items.sort_by_key(|token| (token.account(), token.kind));
    Ok(Tokens { items, secrets_unread })
}

/// Ends tokens of ServiceAccounts that a person came by: deletes Secrets, and makes ServiceAccounts anew, which ends what
/// anybody has of them. One that does not let itself be ended holds up no other.
///
/// # Errors
/// [`Error::Forbidden`] also for somebody who may not list the workspace's Secrets: something could be overlooked.
pub async fn revoke(app: &App, ctx: &OpContext, workspace: &WorkspaceId, wanted: &Revocation) -> Result<Revoked> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::ManageMembers).await?;
    if wanted.service_account.is_some() && wanted.namespace.is_none() {
        return Err(Error::invalid("namespace", "name the namespace of the service account as well"));
    }
    let tenant = tenant::as_caller(app, &scope).await?;
    // Read before anything ends: what is given meanwhile is not forgotten.
    let given = rows::list(&app.store, &scope, None).await?;
    let secrets = tenant.token_secrets().await.map_err(tenant::refusal)?;
    let work = carry_out(app.clone(), ctx.clone(), scope, wanted.clone(), (given, secrets));
    // In a task of its own: whoever hangs up would leave ServiceAccounts missing, and nothing written down.
    tokio::spawn(work.in_current_span()).await.map_err(Error::internal)?
}

async fn carry_out(
    app: App,
    ctx: OpContext,
    scope: WorkspaceScope,
    wanted: Revocation,
    (given, secrets): (Vec<TokensGiven>, Vec<TokenSecret>),
) -> Result<Revoked> {
    let theirs = |secret: &TokenSecret| {
        secret.created_by.as_ref() == Some(&wanted.user) && wanted.concerns(&secret.namespace, &secret.service_account)
    };
    let (made, others): (Vec<TokenSecret>, Vec<TokenSecret>) = secrets.into_iter().partition(theirs);
    let mut revoked = Revoked::default();
    end_secrets(&app, &scope, &made, &mut revoked).await;
    let over = end_accounts(&app, &scope, &wanted, &given, &others, &mut revoked).await;
    if revoked.ended.is_empty() && revoked.missing.is_empty() {
        return Ok(revoked);
    }

    // It has happened, so it is written down whatever became of the caller's rights meanwhile.
    let tx = app.store.begin().await?;
    for given in over {
        rows::forget(&tx, &scope, given).await?;
    }
    let mut before = json!({ "ended": revoked.ended.iter().map(told).collect::<Vec<_>>() });
    if !revoked.missing.is_empty() {
        before["missing"] = json!(revoked.missing);
    }
    let action = "service_account_tokens.revoked";
    app.change_in(&tx, &ctx, &scope, action, wanted.user.as_str(), (Some(before), None))?;
    tx.commit().await?;
    let (ended, failed, workspace) = (revoked.ended.len(), revoked.failed.len(), scope.workspace());
    tracing::info!(workspace.id = %workspace, user.id = %wanted.user, ended, failed, "tokens of ServiceAccounts ended");
    Ok(revoked)
}

async fn end_secrets(app: &App, scope: &WorkspaceScope, made: &[TokenSecret], revoked: &mut Revoked) {
    for some in made.chunks(SECRETS) {
        match tenant::as_caller(app, scope).await {
            Ok(tenant) => {
                for (secret, outcome) in some.iter().zip(tenant.end_secrets(some).await) {
                    revoked.take(Token::in_secret(secret), outcome.map_err(tenant::refusal));
                }
            }
            Err(error) => revoked.keep(some.iter().map(Token::in_secret), &error),
        }
    }
}

/// Makes the ServiceAccounts anew of which the person asked for tokens; says which rows tell of tokens that are over.
async fn end_accounts<'g>(
    app: &App,
    scope: &WorkspaceScope,
    wanted: &Revocation,
    given: &'g [TokensGiven],
    others: &[TokenSecret],
    revoked: &mut Revoked,
) -> Vec<&'g TokensGiven> {
    let theirs = |given: &&TokensGiven| {
        given.user_id == wanted.user && wanted.concerns(&given.namespace, &given.service_account)
    };
    let asked_for: Vec<Token> = given.iter().filter(theirs).map(Token::asked_for).collect();
    let rows = by_account(given, |given| (given.namespace.clone(), given.service_account.clone()));
    let secrets = by_account(others, |secret| (secret.namespace.clone(), secret.service_account.clone()));
    let mut over = Vec::new();
    for some in asked_for.chunks(ACCOUNTS) {
        let tenant = match tenant::to_renew(app, scope).await {
            Ok(tenant) => tenant,
            Err(error) => {
                revoked.keep(some.iter().cloned(), &error);
                continue;
            }
        };
        let accounts: Vec<Account> = some.iter().map(Token::account).collect();
        let outcomes = tenant.renew_service_accounts(&accounts).await;
        for ((token, account), outcome) in some.iter().zip(&accounts).zip(outcomes) {
            let lost = secrets.get(account).into_iter().flatten().map(|secret| Token::in_secret(secret));
            if revoked.take_account(token.clone(), outcome, lost) {
                over.extend(rows.get(account).into_iter().flatten());
            }
        }
    }
    over
}

fn by_account<T>(all: &[T], account: impl Fn(&T) -> Account) -> HashMap<Account, Vec<&T>> {
    let mut found: HashMap<Account, Vec<&T>> = HashMap::new();
    for one in all {
        found.entry(account(one)).or_default().push(one);
    }
    found
}

impl Revoked {
    /// A token has ended, or not, and why.
    fn take(&mut self, token: Token, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.ended.push(token),
            Err(error) => self.keep([token], &error),
        }
    }

    /// Tokens have not ended.
    fn keep(&mut self, tokens: impl IntoIterator<Item = Token>, error: &Error) {
        let message = error.to_string();
        self.failed.extend(tokens.into_iter().map(|token| Failure { token, message: message.clone() }));
    }

    /// What came of a ServiceAccount, with the others' tokens that are lost with it; whether its tokens have ended.
    fn take_account(
        &mut self,
        mut token: Token,
        outcome: Result<Renewed, ReconcileError>,
        lost: impl Iterator<Item = Token>,
    ) -> bool {
        let Renewed { absent, missing, pods } = match outcome {
            Ok(renewed) => renewed,
            Err(error) => {
                self.keep([token], &tenant::refusal(error));
                return false;
            }
        };
        token.gone = absent;
        let known = missing.as_ref().is_none_or(|missing| missing.ended);
        if let Some(missing) = missing {
            self.miss(&token, missing);
        }
        match pods {
            Ok(pods) => self.pods.extend(pods.into_iter().map(|pod| (token.namespace.clone(), pod))),
            Err(error) => self.complain(&token, "the pods that hold its tokens cannot be told", error),
        }
        if known {
            self.ended.push(token);
            // Kubernetes deletes the Secrets of a ServiceAccount that was deleted, whoever made them.
            self.ended.extend(lost.filter(|_| !absent));
        }
        known
    }

    fn miss(&mut self, token: &Token, Missing { why, ended, manifest }: Missing) {
        let what = match ended {
            true => "its tokens ended, but it is not there again",
            false => "it was to be deleted, and may be missing now",
        };
        let message = format!("{what}: {}; apply this to have it again: {manifest}", tenant::refusal(why));
        self.failed.push(Failure { token: token.clone(), message });
        self.missing.push(manifest);
    }

    fn complain(&mut self, token: &Token, what: &str, error: ReconcileError) {
        let message = format!("{what}: {}", tenant::refusal(error));
        self.failed.push(Failure { token: token.clone(), message });
    }
}

/// What the audit log says of a token.
fn told(token: &Token) -> Value {
    let Token { kind, namespace, service_account, secret, .. } = token;
    json!({ "kind": kind, "namespace": namespace, "service_account": service_account, "secret": secret })
}
