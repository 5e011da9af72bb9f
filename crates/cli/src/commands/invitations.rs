//! `hxb invitation`.

use std::io::{IsTerminal as _, stdin};

use hexabase_api::invitations::{
    Invitation, InvitationAccept, InvitationAccepted, InvitationCreate, InvitationWorkspace, InvitationWorkspaceCreate,
};
use hexabase_core::invitations::{InvitationState, Language};

use super::organization_members::role;
use crate::args::{self, MailLanguage};
use crate::client::{Api, Fetched};
use crate::clock;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output::{age, say, table};
use crate::resolve;

pub(crate) async fn run(context: &Context, command: args::Invitation) -> Result<()> {
    let api = context.api()?;
    match command {
        args::Invitation::Create { email, of, role: wanted, workspaces, language } => {
            let organization = resolve::organization(&api, of.org.as_deref()).await?;
            let mut opened = Vec::new();
            for text in &workspaces {
                opened.push(workspace(&api, text).await?);
            }
            let language = match language {
                MailLanguage::En => Language::English,
                MailLanguage::Ja => Language::Japanese,
            };
            let body = InvitationCreate { email, role: role(wanted), workspaces: opened, language };
            let made =
                api.post::<Invitation>(&["organizations", organization.id.as_str(), "invitations"], &body).await?;
            show_made(context, &made, "is invited to", &organization.name)
        }
        args::Invitation::List { of } => {
            let organization = resolve::organization(&api, of.org.as_deref()).await?;
            list(context, &api, organization.id.as_str()).await
        }
        args::Invitation::Resend { invitation, of } => {
            let organization = resolve::organization(&api, of.org.as_deref()).await?;
            let id = resolve::invitation_id(&api, &organization.id, &invitation).await?;
            let path = ["organizations", organization.id.as_str(), "invitations", id.as_str(), "resend"];
            let made = api.post::<Invitation>(&path, &serde_json::json!({})).await?;
            show_made(context, &made, "is invited again to", &organization.name)
        }
        args::Invitation::Revoke { invitation, of } => {
            let organization = resolve::organization(&api, of.org.as_deref()).await?;
            let id = resolve::invitation_id(&api, &organization.id, &invitation).await?;
            api.delete(&["organizations", organization.id.as_str(), "invitations", id.as_str()]).await?;
            say(&format!("The invitation {invitation} is taken back."));
            Ok(())
        }
        args::Invitation::Accept => {
            let token = read_code().await?;
            let accepted =
                api.post::<InvitationAccepted>(&["invitations", "accept"], &InvitationAccept { token }).await?;
            context.format.show(&accepted.raw, || {
                let InvitationAccepted { name, role, workspaces, .. } = &accepted.value;
                let opened = opened(workspaces);
                let workspaces = if opened.is_empty() { opened } else { format!(" You have access to {opened}.") };
                format!("You are {role} of {name} now.{workspaces}")
            })
        }
    }
}

/// `WORKSPACE` or `WORKSPACE:GROUP,…`.
async fn workspace(api: &Api, text: &str) -> Result<InvitationWorkspaceCreate> {
    let (name, groups) = text.split_once(':').unwrap_or((text, ""));
    let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
    Ok(InvitationWorkspaceCreate { workspace: resolve::workspace_id(api, name).await?.to_string(), groups })
}

fn show_made(context: &Context, made: &Fetched<Invitation>, is: &str, organization: &str) -> Result<()> {
    context.format.show(&made.raw, || {
        let Invitation { email, expires_at, accept_url, .. } = &made.value;
        let how = match accept_url {
            Some(url) => format!("This server sends no mail. Pass this link on; it is shown this once:\n{url}"),
            None => "A mail is on its way; see how far with: hxb invitation list".to_owned(),
        };
        format!("{email} {is} {organization}, until {expires_at}.\n{how}")
    })
}

async fn list(context: &Context, api: &Api, organization: &str) -> Result<()> {
    let all = api.list::<Invitation>(&["organizations", organization, "invitations"], &[]).await?;
    context.format.show(&all.raw, || {
        let now = clock::now();
        let rows = all.value.into_iter().map(|one| {
            let workspaces = opened(&one.workspaces);
            let mail = one.mail.as_ref().map(|mail| match &mail.message {
                Some(message) => format!("{}: {message}", mail.state),
                None => mail.state.to_string(),
            });
            // What became of the mail is of no interest once somebody came.
            let mail = mail.filter(|_| one.state == InvitationState::Pending).unwrap_or_default();
            let (role, state, age) = (one.role.to_string(), one.state.to_string(), age(one.created_at, now));
            [one.email, role, workspaces, state, mail, age, one.id.to_string()]
        });
        let header = ["E-MAIL", "ROLE", "WORKSPACES", "STATE", "MAIL", "AGE", "ID"];
        table(header, "Nobody was invited into this organization.", rows)
    })
}

fn opened(workspaces: &[InvitationWorkspace]) -> String {
    let one = |workspace: &InvitationWorkspace| format!("{} ({})", workspace.name, workspace.groups.join(", "));
    workspaces.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The code comes from standard input: an argument could be read by everybody on this machine. A whole link is as good.
async fn read_code() -> Result<String> {
    if stdin().is_terminal() {
        say("Paste the code of your invitation, or its link:");
    }
    let read = || {
        let mut line = String::new();
        stdin().read_line(&mut line).map(|_| line)
    };
    let line = tokio::task::spawn_blocking(read).await.ok().and_then(Result::ok).unwrap_or_default();
    let code = line.rsplit("token=").next().unwrap_or_default().trim();
    if code.is_empty() {
        return Err(Error::new(Kind::Usage, "there is no code").hint("it begins with hxi_, and is in the mail"));
    }
    Ok(code.to_owned())
}
