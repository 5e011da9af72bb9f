//! The mail that tells a person of an invitation. One file per language, a function each, no markup: what the inviter and
//! the organisation are called is text like any other.

mod english;
mod japanese;

use hexabase_backends::mail::Mail;
use hexabase_backends::store::invitations::Invitation;
use hexabase_backends::store::{organizations, users};
use hexabase_core::invitations::{InvitedAddress, Language};
use hexabase_core::roles::OrganizationRole;
use hexabase_core::time::Timestamp;
use jiff::tz::TimeZone;

use super::token::link;
use super::{InvitedWorkspace, Known};
use crate::context::App;
use crate::error::Result;

/// What a mail tells.
struct Letter<'a> {
    organization: &'a str,
    inviter: &'a str,
    role: OrganizationRole,
    workspaces: &'a [InvitedWorkspace],
    address: &'a InvitedAddress,
    link: &'a str,
    token: &'a str,
    expires_at: Timestamp,
    server: &'a str,
}

/// Subject and text.
struct Written {
    subject: String,
    text: String,
}

/// The mail for an invitation and its token; `None` when nobody vouches for it any more.
pub(crate) async fn compose(app: &App, row: &Invitation, token: &str) -> Result<Option<Mail>> {
    let scope = organizations::scope_for(&app.store, &row.invited_by, &row.organization_id).await?;
    let scope = scope.filter(|scope| scope.role() == OrganizationRole::Admin);
    let Some(scope) = scope else { return Ok(None) };
    let organization = organizations::get(&app.store, &scope).await?;
    let inviter = users::get(&app.store, scope.user()).await?;
    let (Some(organization), Some(inviter)) = (organization, inviter) else { return Ok(None) };
    let workspaces = Known::new(&app.store, scope.user()).of(row).await?;
    let letter = Letter {
        organization: organization.name.as_str(),
        inviter: inviter.display_name.as_str(),
        role: row.role,
        workspaces: &workspaces,
        address: &row.address,
        link: &link(app, row.language, token),
        token,
        expires_at: row.expires_at,
        server: &app.settings.address(""),
    };
    let Written { subject, text } = match row.language {
        Language::English => english::write(&letter),
        Language::Japanese => japanese::write(&letter),
    };
    let (id, date) = (format!("{}.{}", row.id, row.resent), app.clock.now());
    Ok(Some(Mail { to: row.address.clone(), subject, text, id, date }))
}

/// A moment as people write it, in UTC.
fn moment(at: Timestamp, format: &str) -> String {
    match jiff::Timestamp::from_microsecond(at.as_micros()) {
        Ok(moment) => moment.to_zoned(TimeZone::UTC).strftime(format).to_string(),
        Err(_) => at.to_string(),
    }
}

/// A line for each workspace.
fn lines(workspaces: &[InvitedWorkspace], line: impl Fn(&str, &[&str]) -> String) -> String {
    let one = |workspace: &InvitedWorkspace| {
        let groups: Vec<&str> = workspace.groups.iter().map(|group| group.as_str()).collect();
        line(workspace.name.as_str(), &groups)
    };
    workspaces.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use hexabase_core::ids::{Id as _, WorkspaceId};

    use super::*;

    const NAME: &str = "株式会社ヘキサ & <b>Söhne</b>";

    fn workspaces() -> Vec<InvitedWorkspace> {
        let workspace = |name: &str, groups: &[&str]| InvitedWorkspace {
            id: WorkspaceId::from_parts(Timestamp::from_seconds(0), 0),
            name: name.parse().unwrap(),
            groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        };
        vec![workspace("shop", &["WSUsers"]), workspace("bank", &["WSAdmins", "ops"])]
    }

    fn written(write: fn(&Letter<'_>) -> Written, role: OrganizationRole, workspaces: &[InvitedWorkspace]) -> String {
        let Written { subject, text } = write(&Letter {
            organization: NAME,
            inviter: "Alice Example",
            role,
            workspaces,
            address: &"bob@example.test".parse().unwrap(),
            link: "https://hexabase.example/invitation#token=hxi_TOKEN",
            token: "hxi_TOKEN",
            expires_at: Timestamp::from_seconds(1_790_000_000),
            server: "https://hexabase.example",
        });
        format!("{subject}\n\n{text}")
    }

    #[test]
    fn each_mail_says_what_its_golden_file_says() {
        use OrganizationRole::{Admin, Member};
        let (all, none) = (workspaces(), []);
        for (name, golden, text) in [
            ("english", include_str!("golden/english.txt"), written(english::write, Member, &all)),
            ("english-admin", include_str!("golden/english-admin.txt"), written(english::write, Admin, &none)),
            ("japanese", include_str!("golden/japanese.txt"), written(japanese::write, Member, &all)),
            ("japanese-admin", include_str!("golden/japanese-admin.txt"), written(japanese::write, Admin, &none)),
        ] {
            assert_eq!(text, golden, "{name}");
        }
    }
}
