//! `hxb login`, `logout`, `whoami`.

use hexabase_api::users::Me;

use crate::client::Api;
use crate::config::server_address;
use crate::context::Context;
use crate::error::Result;
use crate::login::{self, Way};
use crate::output::{fields, say};

/// How to sign in here: on another device where no browser can be opened.
pub(crate) fn way(context: &Context, device: bool, no_browser: bool) -> Way {
    match (device, no_browser) {
        (true, _) => Way::Device,
        (false, true) => Way::Address,
        (false, false) if context.environment.can_open_browser => Way::Browser,
        (false, false) => Way::Device,
    }
}

pub(crate) async fn login(context: &Context, address: Option<String>, way: Way) -> Result<()> {
    let server = match address {
        Some(address) => server_address(&address)?,
        None => context.server()?,
    };
    let authority = context.certificate_authority(&server)?;
    let sessions = context.sessions(server, authority.as_deref())?;
    login::sign_in(&sessions, authority, way).await?;
    let me = Api { sessions: sessions.clone() }.get::<Me>(&["me"]).await?;
    context.format.show(&me.raw, || format!("Signed in to {} as {}", sessions.server, person(&me.value)))
}

pub(crate) async fn logout(context: &Context) -> Result<()> {
    let server = context.server()?;
    let authority = context.certificate_authority(&server)?;
    let sessions = context.sessions(server, authority.as_deref())?;
    let was_signed_in = login::sign_out(&sessions).await?;
    say(&format!("{} {}", if was_signed_in { "Signed out of" } else { "You were not signed in to" }, sessions.server));
    Ok(())
}

pub(crate) async fn whoami(context: &Context) -> Result<()> {
    let api = context.api()?;
    let me = api.get::<Me>(&["me"]).await?;
    context.format.show(&me.raw, || {
        let organizations: Vec<_> = me
            .value
            .organizations
            .iter()
            .map(|membership| format!("{} ({})", membership.name, membership.role))
            .collect();
        fields([
            ("Name", me.value.display_name.clone()),
            ("E-mail", me.value.email.clone().unwrap_or_default()),
            ("Id", me.value.id.to_string()),
            ("Organizations", organizations.join(", ")),
            ("Server", api.server().to_owned()),
        ])
    })
}

fn person(me: &Me) -> String {
    match &me.email {
        Some(email) => format!("{} <{email}>", me.display_name),
        None => format!("{} ({})", me.display_name, me.id),
    }
}
