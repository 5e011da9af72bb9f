//! `hxb member tokens` and `revoke-tokens`: tokens of Kubernetes' service accounts that people came by inside a workspace.

use std::collections::BTreeSet;

use hexabase_api::organizations::TokensLeftBehind;
use hexabase_api::service_account_tokens::{
    PodToRestart, ServiceAccountToken, ServiceAccountTokenFailure, ServiceAccountTokenRevoke, ServiceAccountTokens,
    ServiceAccountTokensRevoked,
};
use hexabase_core::ids::{UserId, WorkspaceId};
use hexabase_core::time::Timestamp;
use serde_json::{Map, Value, json};

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
    confirm_deed(yes, &format!("the end of the tokens of {person}"), &warning, person, "give --yes").await?;
    let body = ServiceAccountTokenRevoke { user: user.to_string(), namespace, service_account, cursor: None };
    let mut all = Together::default();
    let outcome = revoke_all(api, &workspace, body, &mut all).await;
    let Together { raw, ended, failed, pods, remaining } = all;
    if raw.is_empty() {
        return outcome;
    }
    context.format.show(&raw, || {
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
    if outcome.is_err() {
        say(&format!("It broke off before {remaining} more were tried. Ask again for those."));
        return outcome;
    }
    match failed.len() {
        0 => Ok(()),
        many => Err(Error::new(Kind::Failure, format!("not everything went well: {many} told above"))),
    }
}

/// What came of several requests.
#[derive(Default)]
struct Together {
    /// As it came, as if it had been one.
    raw: Map<String, Value>,
    ended: Vec<ServiceAccountToken>,
    failed: Vec<ServiceAccountTokenFailure>,
    pods: Vec<PodToRestart>,
    remaining: u64,
}

impl Together {
    fn add(&mut self, Fetched { value, raw }: Fetched<ServiceAccountTokensRevoked>) {
        for part in ["ended", "failed", "pods"] {
            let more = raw[part].as_array().cloned().unwrap_or_default();
            if let Value::Array(all) = self.raw.entry(part).or_insert_with(|| json!([])) {
                all.extend(more);
            }
        }
        self.raw.insert("remaining".to_owned(), json!(value.remaining));
        self.ended.extend(value.ended);
        self.failed.extend(value.failed);
        self.pods.extend(value.pods);
        self.remaining = value.remaining;
    }
}

/// Asks until nothing is left; `all` has what came of it also when it breaks off.
async fn revoke_all(
    api: &Api,
    workspace: &WorkspaceId,
    mut body: ServiceAccountTokenRevoke,
    all: &mut Together,
) -> Result<()> {
    let path = ["workspaces", workspace.as_str(), NOUN, "revoke"];
    loop {
        let answer = api.have_done::<ServiceAccountTokensRevoked>(&path, &body).await?;
        let next = answer.value.next_cursor.clone();
        all.add(answer);
        if next.is_none() || next == body.cursor {
            return Ok(());
        }
        body.cursor = next;
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
                    "{person} was given tokens of {accounts} there: hxb member tokens {rest}; \
                     end them with: hxb member revoke-tokens {rest}"
                ));
            }
        }
        // Whoever took their own access away sees nothing of it any more.
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => say(&format!(
            "What tokens of service accounts {person} was given there cannot be told now ({error}). \
             Look later with: hxb member tokens {rest}"
        )),
    }
}

/// So many service accounts, in words.
fn counted(accounts: usize) -> String {
    if accounts == 1 { "1 service account".to_owned() } else { format!("{accounts} service accounts") }
}

/// Sentences about where somebody, or a program, who is out of an organisation was given such tokens.
pub(super) fn left_behind(user: &UserId, workspaces: Vec<TokensLeftBehind>) -> String {
    let told = workspaces.into_iter().map(|TokensLeftBehind { workspace, name, service_accounts }| {
        let accounts = counted(usize::try_from(service_accounts).unwrap_or(usize::MAX));
        format!(
            " Inside workspace {name} tokens of {accounts} were given to {user}: \
             hxb member tokens {user} -w {workspace}."
        )
    });
    told.collect()
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
