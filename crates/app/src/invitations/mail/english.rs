//! In English.

use hexabase_core::roles::OrganizationRole;

use super::{Letter, Written, lines, moment};

pub(super) fn write(letter: &Letter<'_>) -> Written {
    let Letter { organization, inviter, role, workspaces, address, link, token, expires_at, server } = letter;
    let role = match role {
        OrganizationRole::Admin => "an admin",
        OrganizationRole::Member => "a member",
    };
    let workspaces = match workspaces {
        [] => String::new(),
        some => {
            let list = lines(some, |name, groups| format!("  - {name} ({})\n", groups.join(", ")));
            format!("It gives you access to these workspaces, in these groups:\n\n{list}")
        }
    };
    let until = moment(*expires_at, "%-d %B %Y, %H:%M UTC");
    let subject = format!("Invitation to {organization} on Hexabase");
    let text = format!(
        "Hello,\n\
         \n\
         {inviter} invites you to be {role} of the organization \"{organization}\" on Hexabase.\n\
         {workspaces}\n\
         To accept, open this link and sign in with an account that has this address, {address}:\n\
         \n\
         {link}\n\
         \n\
         If the page asks for the code of the invitation, or if you accept it on the command line\n\
         with \"hxb invitation accept\", this is the code:\n\
         \n\
         {token}\n\
         \n\
         The invitation is good once, until {until}. Do not pass this mail on.\n\
         \n\
         If you do not know {inviter}, or do not want to join, ignore this mail: nothing happens then.\n\
         \n\
         -- \n\
         Hexabase, {server}\n"
    );
    Written { subject, text }
}
