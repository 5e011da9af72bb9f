//! `hxb member tokens` and `revoke-tokens`: tokens of Kubernetes' service accounts that people came by inside a workspace.

use std::collections::BTreeSet;

use hexabase_api::service_account_tokens::{
    ServiceAccountToken, ServiceAccountTokenRevoke, ServiceAccountTokens, ServiceAccountTokensRevoked,
};
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::time::Timestamp;

use super::confirm_deed;
use crate::args::In;
use crate::client::{Api, Fetched};
use crate::clock;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output::{age, say, table};
use crate::resolve;

const NOUN: &str = "service-account-tokens";
const HEADER: [&str; 7] = ["KIND", "NAMESPACE", "SERVICE ACCOUNT", "SECRET", "FIRST", "LAST", "GONE"];

/// Which tokens are to end, and whether that is certain.
pub(super) struct Wanted {
    pub(super) namespace: Option<String>,
    pub(super) service_account: Option<String>,
    pub(super) yes: bool,
}

/// Lists what somebody came by.
pub(super) async fn list(context: &Context, api: &Api, person: &str, place: &In) -> Result<()> {
    let workspace = resolve::workspace_id(api, &place.workspace).await?;
    let user = resolve::member_id(api, &workspace, person).await?;
    let found = fetch(api, &workspace, &user).await?;
    context.format.show(&found.raw, || {
        if let Some(why) = &found.value.secrets_unread {
            say(&format!("Secrets with tokens are not among these: {why}"));
        }
        let now = clock::now();
        let rows = found.value.items.into_iter().map(|token| row(token, now));
        table(HEADER, &format!("No token is known that {person} came by."), rows)
    })
}

/// Ends what somebody came by.
pub(super) async fn revoke(context: &Context, api: &Api, person: &str, place: &In, wanted: Wanted) -> Result<()> {
    let Wanted { namespace, service_account, yes } = wanted;
    let workspace = resolve::workspace_id(api, &place.workspace).await?;
    let user = resolve::member_id(api, &workspace, person).await?;
    let warning = format!(
        "This ends every token of the service accounts of which {person} has one, also those of others; pods that hold one \
         have to be restarted. Type {person} to go on:"
    );
    confirm_deed(yes, &format!("the end of the tokens of {person}"), &warning, person).await?;
    let path = ["workspaces", workspace.as_str(), NOUN, "revoke"];
    let body = ServiceAccountTokenRevoke { user: user.to_string(), namespace, service_account };
    let revoked = api.post::<ServiceAccountTokensRevoked>(&path, &body).await?;
    let ServiceAccountTokensRevoked { ended, failed, pods } = revoked.value;
    context.format.show(&revoked.raw, || {
        let now = clock::now();
        table(HEADER, "No token has ended.", ended.into_iter().map(|token| row(token, now)))
    })?;
    if !pods.is_empty() {
        let pods: Vec<String> = pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
        say(&format!("Restart these pods, whose tokens are refused now: {}", pods.join(", ")));
    }
    for failure in &failed {
        let ServiceAccountToken { namespace, service_account, secret, .. } = &failure.token;
        let what = match secret {
            Some(secret) => format!("Secret {namespace}/{secret}"),
            None => format!("service account {namespace}/{service_account}"),
        };
        say(&format!("{what}: {}", failure.message));
    }
    match failed.len() {
        0 => Ok(()),
        many => Err(Error::new(Kind::Failure, format!("not everything went well: {many} told above"))),
    }
}

/// Says what somebody came by whose access was taken away, and how to end it. Not to know it is no failure.
pub(super) async fn remind(api: &Api, workspace: &WorkspaceId, user: &UserId, person: &str, place: &In) {
    let rest = format!("{user} -w {}", place.workspace);
    match fetch(api, workspace, user).await {
        Ok(found) => {
            let living = found.value.items.iter().filter(|token| !token.gone);
            let accounts: BTreeSet<(&str, &str)> =
                living.map(|token| (token.namespace.as_str(), token.service_account.as_str())).collect();
            if !accounts.is_empty() {
                let accounts = counted(accounts.len());
                say(&format!(
                    "{person} made tokens of {accounts} there, which are still good: hxb member tokens {rest}; \
                     end them with: hxb member revoke-tokens {rest}"
                ));
            }
        }
        // Whoever took their own access away sees nothing of it any more.
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => say(&format!(
            "What tokens of service accounts {person} made there cannot be told now ({error}). \
             Look later with: hxb member tokens {rest}"
        )),
    }
}

/// So many service accounts, in words.
pub(super) fn counted(accounts: usize) -> String {
    if accounts == 1 { "1 service account".to_owned() } else { format!("{accounts} service accounts") }
}

async fn fetch(api: &Api, workspace: &WorkspaceId, user: &UserId) -> Result<Fetched<ServiceAccountTokens>> {
    api.get_with(&["workspaces", workspace.as_str(), NOUN], &[("user", user.as_str())]).await
}

fn row(token: ServiceAccountToken, now: Timestamp) -> [String; 7] {
    let ago = |then| format!("{} ago", age(then, now));
    let (first, last) = (ago(token.first_created_at), ago(token.last_created_at));
    let gone = if token.gone { "yes" } else { "no" };
    let secret = token.secret.unwrap_or_default();
    [token.kind.to_string(), token.namespace, token.service_account, secret, first, last, gone.to_owned()]
}
