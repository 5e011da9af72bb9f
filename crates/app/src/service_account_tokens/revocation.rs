//! Ends tokens, a handful with each request.

use std::collections::{HashMap, HashSet};

use hexabase_backends::store::service_account_tokens::{self as rows, TokensGiven};
use hexabase_backends::store::workspaces::WorkspaceScope;
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_reconcile::{TenantUser, TokenSecret};

use super::batch::{Batch, Place};
use super::revoked::Revoked;
use super::{Account, Token, accounts_there};
use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::tenant;

/// Which tokens are to end.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// Whose.
    pub user: UserId,
    /// In which namespace; in all when absent.
    pub namespace: Option<String>,
    /// Of which ServiceAccount there; of all when absent.
    pub service_account: Option<String>,
    /// Only those after this, where the request before ended.
    pub after: Option<Place>,
}

impl Revocation {
    fn concerns(&self, namespace: &str, service_account: &str) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
            && self.service_account.as_ref().is_none_or(|wanted| wanted == service_account)
    }

    fn wants_secret(&self, secret: &TokenSecret) -> bool {
        secret.created_by.as_ref() == Some(&self.user) && self.concerns(&secret.namespace, &secret.service_account)
    }

    fn wants_given(&self, given: &TokensGiven) -> bool {
        given.user_id == self.user && self.concerns(&given.namespace, &given.service_account)
    }
}

/// Ends tokens of ServiceAccounts that a person came by: deletes Secrets, and makes ServiceAccounts anew, which ends what
/// anybody has of them. One that does not let itself be ended holds up no other. This is a share of them; [`Revoked::next`]
/// says where the next request goes on.
///
/// It must not be dropped before its end: ServiceAccounts would stay missing, and nothing would be written down.
///
/// # Errors
/// [`Error::Forbidden`] also for somebody who may not list the workspace's Secrets: something could be overlooked. Nothing has
/// happened then.
pub async fn revoke(app: &App, ctx: &OpContext, workspace: &WorkspaceId, wanted: &Revocation) -> Result<Revoked> {
    let scope = authz::workspace(&app.store, ctx, workspace, WorkspaceAction::ManageMembers).await?;
    if wanted.service_account.is_some() && wanted.namespace.is_none() {
        return Err(Error::invalid("namespace", "name the namespace of the service account as well"));
    }
    let tenant = tenant::as_caller(app, &scope).await?;
    // Read before anything ends: what is given meanwhile is not forgotten.
    let given = rows::list(&app.store, &scope, None).await?;
    let secrets = tenant.token_secrets().await.map_err(tenant::refusal)?;
    let there = accounts_there(&tenant).await?;

    let (made, others): (Vec<TokenSecret>, Vec<TokenSecret>) =
        secrets.into_iter().partition(|secret| wanted.wants_secret(secret));
    let asked_for = given.iter().filter(|given| wanted.wants_given(given));
    let asked_for = asked_for.map(|given| Token::asked_for(given, there.as_ref())).collect();
    let Batch { secrets, accounts, remaining, next } = Batch::of(made, asked_for, wanted.after.as_ref());
    let mut revoked = Revoked::before(remaining, next);
    end_secrets(&tenant, &secrets, &mut revoked).await;
    let over = end_accounts(app, &scope, accounts, &others, &mut revoked).await;
    if revoked.is_empty() {
        return Ok(revoked);
    }

    let (user, ended, failed) = (&wanted.user, revoked.ended.len(), revoked.failed.len());
    match write_down(app, ctx, &scope, user, (&given, &over), &revoked).await {
        Ok(()) => {
            tracing::info!(workspace.id = %workspace, user.id = %user, ended, failed, "tokens of ServiceAccounts ended");
        }
        Err(error) => {
            // It has happened, and besides the answer this is the only word of it.
            let what = revoked.told();
            tracing::error!(
                error = ?error, workspace.id = %workspace, user.id = %user, %what,
                "tokens of ServiceAccounts ended, which could not be written down"
            );
            revoked.is_unrecorded();
        }
    }
    Ok(revoked)
}

async fn end_secrets(tenant: &TenantUser, secrets: &[TokenSecret], revoked: &mut Revoked) {
    let outcomes = tenant.end_secrets(secrets).await;
    for (secret, outcome) in secrets.iter().zip(outcomes) {
        revoked.take(Token::in_secret(secret), outcome.map_err(tenant::refusal));
    }
}

/// Makes the ServiceAccounts anew of which the person asked for tokens; says which have no tokens of before any more.
async fn end_accounts(
    app: &App,
    scope: &WorkspaceScope,
    accounts: Vec<Token>,
    others: &[TokenSecret],
    revoked: &mut Revoked,
) -> HashSet<Account> {
    let (gone, living): (Vec<Token>, Vec<Token>) = accounts.into_iter().partition(|token| token.gone);
    let mut over: HashSet<Account> = gone.iter().map(Token::account).collect();
    // Nobody accepts those any more: they are only to be forgotten.
    revoked.ended.extend(gone);
    if living.is_empty() {
        return over;
    }
    let tenant = match tenant::to_renew(app, scope).await {
        Ok(tenant) => tenant,
        Err(error) => {
            revoked.keep(&living, &error);
            return over;
        }
    };
    let mut lost: HashMap<Account, Vec<Token>> = HashMap::new();
    for token in others.iter().map(Token::in_secret) {
        lost.entry(token.account()).or_default().push(token);
    }
    let names: Vec<Account> = living.iter().map(Token::account).collect();
    let outcomes = tenant.renew_service_accounts(&names).await;
    for ((token, account), outcome) in living.into_iter().zip(names).zip(outcomes) {
        if revoked.take_account(token, outcome, lost.remove(&account).unwrap_or_default()) {
            over.insert(account);
        }
    }
    over
}

/// Forgets the rows, whoever they are of, that tell of tokens which are over, and writes one record; whatever became of the
/// caller's rights meanwhile, because it has happened.
async fn write_down(
    app: &App,
    ctx: &OpContext,
    scope: &WorkspaceScope,
    user: &UserId,
    (given, over): (&[TokensGiven], &HashSet<Account>),
    revoked: &Revoked,
) -> Result<()> {
    let tx = app.store.begin().await?;
    for given in given {
        if over.contains(&(given.namespace.clone(), given.service_account.clone())) {
            rows::forget(&tx, scope, given).await?;
        }
    }
    let action = "service_account_tokens.revoked";
    app.change_in(&tx, ctx, scope, action, user.as_str(), (Some(revoked.told()), None))?;
    Ok(tx.commit().await?)
}
