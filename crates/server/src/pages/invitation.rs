//! The words of the pages on which an invitation is accepted, in each language of its mail.

use hexabase_app::invitations::{Accepted, InvitedWorkspace, Offer};
use hexabase_core::invitations::Language;
use hexabase_core::roles::OrganizationRole;

use super::escape;

/// Moves the token from behind the `#`, which no server is sent, into the form, and sends that. Without it the person
/// pastes the code.
pub(crate) const SCRIPT: &str = "\
const token = new URLSearchParams(location.hash.slice(1)).get('token');
if (token) {
  history.replaceState(null, '', location.pathname + location.search);
  const form = document.querySelector('form');
  form.elements.token.value = token;
  form.submit();
}
";

/// The words of one language.
pub(crate) struct Words {
    language: Language,
    /// Title of the first page.
    pub(crate) invitation: &'static str,
    paste: &'static str,
    code: &'static str,
    go_on: &'static str,
    organization: &'static str,
    invited_by: &'static str,
    role: &'static str,
    admin: &'static str,
    member: &'static str,
    workspaces: &'static str,
    signed_in_as: &'static str,
    join: &'static str,
    not_you: &'static str,
    /// Title when the invitation was accepted.
    pub(crate) joined: &'static str,
    command_line: &'static str,
    /// Title when it cannot be accepted.
    pub(crate) refused: &'static str,
    sign_out: &'static str,
}

const ENGLISH: Words = Words {
    language: Language::English,
    invitation: "Your invitation",
    paste: "Paste the code from your invitation to go on.",
    code: "Code",
    go_on: "Go on",
    organization: "Organization",
    invited_by: "Invited by",
    role: "Your role",
    admin: "Admin",
    member: "Member",
    workspaces: "Workspaces",
    signed_in_as: "You are signed in as",
    join: "Join",
    not_you: "Not you? Sign out, then open the link again.",
    joined: "You have joined",
    command_line: "Use the command line on your machine:",
    refused: "This invitation cannot be accepted",
    sign_out: "Sign out",
};

const JAPANESE: Words = Words {
    language: Language::Japanese,
    invitation: "招待",
    paste: "続けるには、招待メールのコードを貼り付けてください。",
    code: "招待コード",
    go_on: "続ける",
    organization: "組織",
    invited_by: "招待した人",
    role: "役割",
    admin: "管理者",
    member: "メンバー",
    workspaces: "ワークスペース",
    signed_in_as: "サインイン中のアカウント",
    join: "参加する",
    not_you: "別のアカウントで参加する場合は、サインアウトしてからリンクを開き直してください。",
    joined: "参加しました",
    command_line: "お使いのマシンのコマンドラインから：",
    refused: "この招待は使えません",
    sign_out: "サインアウト",
};

/// The words of a language.
pub(crate) fn words(language: Language) -> &'static Words {
    match language {
        Language::English => &ENGLISH,
        Language::Japanese => &JAPANESE,
    }
}

impl Words {
    /// The form into which [`SCRIPT`] or the person puts the token.
    pub(crate) fn ask(&self) -> String {
        format!(
            "<p>{}</p><form method=\"post\" action=\"/invitation\">\
             <input type=\"hidden\" name=\"language\" value=\"{}\">\
             <label>{}<input name=\"token\" required autocomplete=\"off\" spellcheck=\"false\" placeholder=\"hxi_…\"></label>\
             <button>{}</button></form>",
            self.paste, self.language, self.code, self.go_on
        )
    }

    /// What is offered to whom, and the button that takes it.
    pub(crate) fn offer(&self, offer: &Offer, account: &str) -> String {
        format!(
            "<dl><dt>{}</dt><dd>{}</dd><dt>{}</dt><dd>{}</dd>{}</dl>\
             <p class=\"muted\">{} <strong>{}</strong></p>\
             <form method=\"post\" action=\"/invitation/confirm\"><button>{}</button></form>{}",
            self.organization,
            escape(offer.organization.as_str()),
            self.invited_by,
            escape(offer.inviter.as_str()),
            self.gives(offer.role, &offer.workspaces),
            self.signed_in_as,
            escape(account),
            self.join,
            self.leave()
        )
    }

    /// What was given.
    pub(crate) fn accepted(&self, accepted: &Accepted, server: &str) -> String {
        format!(
            "<dl><dt>{}</dt><dd>{}</dd>{}</dl><p>{}</p><p><code>hxb login {}</code></p>",
            self.organization,
            escape(accepted.organization.name.as_str()),
            self.gives(accepted.role, &accepted.workspaces),
            self.command_line,
            escape(server)
        )
    }

    fn gives(&self, role: OrganizationRole, workspaces: &[InvitedWorkspace]) -> String {
        let role = match role {
            OrganizationRole::Admin => self.admin,
            OrganizationRole::Member => self.member,
        };
        let mut html = format!("<dt>{}</dt><dd>{role}</dd>", self.role);
        for (number, workspace) in workspaces.iter().enumerate() {
            let groups: Vec<&str> = workspace.groups.iter().map(|group| group.as_str()).collect();
            let title = if number == 0 { self.workspaces } else { "" };
            html.push_str(&format!(
                "<dt>{title}</dt><dd>{} <span class=\"muted\">{}</span></dd>",
                escape(workspace.name.as_str()),
                escape(&groups.join(", "))
            ));
        }
        html
    }

    /// The way out for whoever is signed in as somebody else.
    pub(crate) fn leave(&self) -> String {
        format!(
            "<p class=\"muted\">{}</p><form method=\"post\" action=\"/auth/logout\">\
             <button class=\"quiet\">{}</button></form>",
            self.not_you, self.sign_out
        )
    }
}
