//! `hxb token`, and the tokens of service accounts.

use hexabase_api::tokens::{ApiToken, ApiTokenCreate, ApiTokenCreated};

use crate::args::{NewToken, Token};
use crate::client::Api;
use crate::clock;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output::{Format, age, say, table, write};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: Token) -> Result<()> {
    let api = context.api()?;
    let place = ["me", "tokens"];
    match command {
        Token::Create { name, wanted } => create(&api, context.format, &place, name, wanted).await,
        Token::List => list(&api, context.format, &place).await,
        Token::Revoke { token } => revoke(&api, &place, &token).await,
    }
}

/// Makes a token below `place`. For people its secret is all that goes to standard output, so that it can be piped on.
pub(super) async fn create(api: &Api, format: Format, place: &[&str], name: String, wanted: NewToken) -> Result<()> {
    let workspace = match &wanted.workspace {
        Some(workspace) => Some(resolve::workspace_id(api, workspace).await?.to_string()),
        None => None,
    };
    let seconds = i64::try_from(wanted.expires_in.as_secs()).unwrap_or(i64::MAX);
    let expires_at = clock::now().plus_seconds(seconds);
    let body = ApiTokenCreate { name, access: wanted.access, workspace, expires_at };
    let made = api.post::<ApiTokenCreated>(place, &body).await?;
    if format != Format::Table {
        return format.show(&made.raw, String::new);
    }
    let token = made.value.token;
    let Some(secret) = made.value.secret else {
        return Err(Error::new(Kind::Failure, format!("the token {} was made, but its secret got lost", token.name))
            .hint(format!("revoke it with its id, {}, and make another", token.id)));
    };
    write(&format!("{secret}\n"))?;
    say(&format!(
        "Token {} ({}) is good until {}. Keep it now: it is not shown again.",
        token.name, token.id, token.expires_at
    ));
    Ok(())
}

/// Lists the tokens below `place`.
pub(super) async fn list(api: &Api, format: Format, place: &[&str]) -> Result<()> {
    let all = api.list::<ApiToken>(place, &[]).await?;
    format.show(&all.raw, || {
        let now = clock::now();
        let rows = all.value.into_iter().map(|token| {
            let used = token.last_used_at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", age(at, now)));
            let workspace = token.workspace.map_or_else(|| "all".to_owned(), String::from);
            let ends = format!("in {}", age(now, token.expires_at));
            let (maker, id) = (token.created_by.to_string(), token.id.to_string());
            [token.name, token.prefix, token.access.to_string(), workspace, ends, used, maker, id]
        });
        let header = ["NAME", "PREFIX", "ACCESS", "WORKSPACE", "ENDS", "USED", "MADE BY", "ID"];
        table(header, "There are no tokens.", rows)
    })
}

/// Revokes the token below `place` that is called so, by name or id.
pub(super) async fn revoke(api: &Api, place: &[&str], wanted: &str) -> Result<()> {
    let id = resolve::token_id(api, place, wanted).await?;
    let path: Vec<&str> = place.iter().copied().chain([id.as_str()]).collect();
    api.delete(&path).await?;
    say(&format!("Token {wanted} is revoked."));
    Ok(())
}
