//! In Japanese.

use hexabase_core::roles::OrganizationRole;

use super::{Letter, Written, lines, moment};

pub(super) fn write(letter: &Letter<'_>) -> Written {
    let Letter { organization, inviter, role, workspaces, address, link, token, expires_at, server } = letter;
    let role = match role {
        OrganizationRole::Admin => "管理者",
        OrganizationRole::Member => "メンバー",
    };
    let workspaces = match workspaces {
        [] => String::new(),
        some => {
            let list = lines(some, |name, groups| format!("  ・{name}（{}）\n", groups.join("、")));
            format!("参加すると、次のワークスペースを使えるようになります（かっこ内はグループです）。\n\n{list}")
        }
    };
    let until = moment(*expires_at, "%Y年%-m月%-d日 %H:%M（UTC）");
    let subject = format!("Hexabase：「{organization}」への招待");
    let text = format!(
        "{inviter} さんが、Hexabase の組織「{organization}」に{role}としてあなたを招待しています。\n\
         {workspaces}\n\
         参加するには、次のリンクを開き、このメールアドレス（{address}）のアカウントでサインインしてください。\n\
         \n\
         {link}\n\
         \n\
         ページで招待コードの入力を求められた場合や、コマンドライン（hxb invitation accept）で参加する場合は、\n\
         次のコードを使ってください。\n\
         \n\
         {token}\n\
         \n\
         この招待は、{until}まで、一度だけ使えます。このメールをほかの人に転送しないでください。\n\
         \n\
         {inviter} さんに心当たりがない場合や、参加しない場合は、このメールを無視してください。何も起こりません。\n\
         \n\
         -- \n\
         Hexabase  {server}\n"
    );
    Written { subject, text }
}
