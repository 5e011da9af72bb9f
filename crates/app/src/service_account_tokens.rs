//! Tokens of Kubernetes' ServiceAccounts that people came by inside a workspace. They outlive their access, so they are listed
//! and ended (docs/adr/0017-ending-service-account-tokens.md).
//!
//! What was asked for is in our rows, because Kubernetes keeps nothing of it; what was made as a Secret is in the workspace,
//! marked with its maker. Both is read, and ended, with the caller's own rights there.
//!
//! ```text
//! list ─► Token, Token, ..
//! revoke (revocation.rs) ─► a share of them (batch.rs) ─► ended, or not, and why (revoked.rs) ─► where to go on
//! ```

mod batch;
mod revocation;
mod revoked;

use std::collections::HashSet;

use hexabase_backends::store::service_account_tokens::{self as rows, TokensGiven};
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use hexabase_core::tokens::ServiceAccountTokenKind;
use hexabase_reconcile::{TenantUser, TokenSecret};

pub use self::batch::Place;
pub use self::revocation::{Revocation, revoke};
pub use self::revoked::{Failure, Revoked};
use crate::authz::{self, WorkspaceAction};
use crate::context::{App, OpContext};
use crate::error::{Error, Result};
use crate::tenant;

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
    /// `there` are the ServiceAccounts that are there, where that is known.
    fn asked_for(given: &TokensGiven, there: Option<&HashSet<Account>>) -> Self {
        let token = Self {
            kind: ServiceAccountTokenKind::TokenRequest,
            namespace: given.namespace.clone(),
            service_account: given.service_account.clone(),
            secret: None,
            first_created_at: given.first_at,
            last_created_at: given.last_at,
            gone: false,
        };
        token.seen(there)
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

    /// The same, with whether its ServiceAccount is gone.
    fn seen(self, there: Option<&HashSet<Account>>) -> Self {
        Self { gone: there.is_some_and(|there| !there.contains(&self.account())), ..self }
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
    let there = accounts_there(&tenant).await?;
    let there = there.as_ref();
    let made = secrets.iter().filter(|secret| secret.created_by.as_ref() == Some(user));
    let made = made.map(|secret| Token::in_secret(secret).seen(there));
    let mut items: Vec<Token> = given.iter().map(|given| Token::asked_for(given, there)).chain(made).collect();
    items.sort_by_key(|token| (token.account(), token.kind));
    Ok(Tokens { items, secrets_unread })
}

/// The ServiceAccounts that are there; `None` for a caller who may not know.
async fn accounts_there(tenant: &TenantUser) -> Result<Option<HashSet<Account>>> {
    match tenant.service_accounts().await.map_err(tenant::refusal) {
        Ok(there) => Ok(Some(there)),
        Err(Error::Forbidden(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
