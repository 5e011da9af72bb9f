//! `hxb service-account`.

use hexabase_api::service_accounts::{ServiceAccount, ServiceAccountCreate, ServiceAccountDeleted};

use super::service_account_tokens::left_behind;
use super::{confirm, tokens};
use crate::args::{self, AccountToken, Of};
use crate::client::Api;
use crate::clock;
use crate::context::Context;
use crate::error::Result;
use crate::output::{age, say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::ServiceAccount) -> Result<()> {
    let api = context.api()?;
    match command {
        args::ServiceAccount::Create { name, role, of } => {
            let place = place(&api, &of).await?;
            let body = ServiceAccountCreate { name, role };
            let made = api.post::<ServiceAccount>(&parts(&place), &body).await?;
            context.format.show(&made.raw, || {
                let ServiceAccount { name, id, .. } = &made.value;
                format!(
                    "Service account {name} ({id}) was made. Give it a token with: hxb service-account token create"
                )
            })
        }
        args::ServiceAccount::List { of } => {
            let place = place(&api, &of).await?;
            let all = api.list::<ServiceAccount>(&parts(&place), &[]).await?;
            context.format.show(&all.raw, || {
                let now = clock::now();
                let rows = all.value.into_iter().map(|one| {
                    let role = one.role.map_or_else(|| "none".to_owned(), |role| role.to_string());
                    [one.name, role, age(one.created_at, now), one.id.to_string()]
                });
                table(["NAME", "ROLE", "AGE", "ID"], "There are no service accounts.", rows)
            })
        }
        args::ServiceAccount::Delete { account, yes, of } => {
            let mut place = place(&api, &of).await?;
            let user = resolve::service_account_id(&api, &parts(&place), &account).await?;
            place.push(user.to_string());
            confirm(yes, "service account", &account).await?;
            let deleted = api.delete_for::<ServiceAccountDeleted>(&parts(&place)).await?.value;
            let left = left_behind(&user, deleted.left_behind);
            say(&format!("Service account {account} is gone, and its tokens with it.{left}"));
            Ok(())
        }
        args::ServiceAccount::Token(command) => token(context, &api, command).await,
    }
}

async fn token(context: &Context, api: &Api, command: AccountToken) -> Result<()> {
    let (AccountToken::Create { account, of, .. }
    | AccountToken::List { account, of }
    | AccountToken::Revoke { account, of, .. }) = &command;
    let mut place = place(api, of).await?;
    place.push(resolve::service_account_id(api, &parts(&place), account).await?.to_string());
    place.push("tokens".to_owned());
    let place = parts(&place);
    match command {
        AccountToken::Create { name, wanted, .. } => tokens::create(api, context.format, &place, name, wanted).await,
        AccountToken::List { .. } => tokens::list(api, context.format, &place).await,
        AccountToken::Revoke { token, .. } => tokens::revoke(api, &place, &token).await,
    }
}

/// The path of an organisation's service accounts.
async fn place(api: &Api, of: &Of) -> Result<Vec<String>> {
    let organization = resolve::organization(api, of.org.as_deref()).await?.id;
    Ok(vec!["organizations".to_owned(), organization.into(), "service-accounts".to_owned()])
}

fn parts(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}
