//! `hxb identity`.

use hexabase_api::identities::Identity;

use crate::args;
use crate::clock;
use crate::context::Context;
use crate::error::Result;
use crate::output::{age, say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Identity) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Identity::List => {
            let all = api.list::<Identity>(&["me", "identities"], &[]).await?;
            context.format.show(&all.raw, || {
                let now = clock::now();
                let used = |one: &Identity| one.last_used_at.map(|at| format!("{} ago", age(at, now)));
                let rows = all.value.into_iter().map(|one| {
                    let last = used(&one).unwrap_or_else(|| "never".to_owned());
                    let primary = if one.primary { "yes" } else { "no" };
                    let whom = one.email.or(one.display_name).unwrap_or(one.subject);
                    [one.provider_name, whom, primary.to_owned(), last, one.id.to_string()]
                });
                table(["PROVIDER", "WHO", "PRIMARY", "USED", "ID"], "You have no identity.", rows)
            })
        }
        args::Identity::Unlink { identity } => {
            let id = resolve::identity_id(&api, &identity).await?;
            api.delete(&["me", "identities", id.as_str()]).await?;
            say(&format!("You no longer sign in with {identity}."));
            Ok(())
        }
    }
}
