use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hexabase_app::clock::Clock;
use hexabase_backends::store::invitations as rows;
use hexabase_testkit::smtp::{Mail, SmtpServer};
use serde_json::{Value, json};

use crate::invitations::{accept, invite, path};
use crate::support::{Person, Platform, items, pass, problem, soon, text};

/// The token in a mail's text.
fn token(mail: &Mail) -> Result<String> {
    let text = mail.text()?;
    let line = text.lines().find(|line| line.starts_with("hxi_")).with_context(|| format!("no code in {text}"))?;
    Ok(line.to_owned())
}

/// Waits until the mail of the first invitation stands so, and returns the invitation.
async fn mail_state(asker: &Person, state: &str) -> Result<Value> {
    soon(state, async {
        loop {
            let all = items(&asker.api.get(&path(&asker.organization)).await?);
            if all[0]["mail"]["state"] == state {
                return anyhow::Ok(all[0].clone());
            }
            tokio::task::yield_now().await;
        }
    })
    .await?
}

/// The first mail, while time goes on by itself: when it was not taken at first, the time of the next attempt is put down
/// only after a test can know of that.
async fn later(platform: &Platform, smtp: &SmtpServer) -> Result<Mail> {
    let passes = async {
        loop {
            pass(platform, 60);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        mail = smtp.mail(0) => mail,
        () = passes => unreachable!("time does not end"),
    }
}

#[tokio::test]
async fn an_invitation_comes_by_mail_and_its_link_leads_in() -> Result<()> {
    let smtp = SmtpServer::start().await?;
    let platform = Platform::start_with_mail(&smtp, Clock::System).await?;
    let alice = platform.person("alice").await?;
    let rename = json!({ "name": "Alice & Söhne" });
    alice.api.patch(&format!("/api/v1/organizations/{}", alice.organization), &rename).await?.expect(200)?;
    let shop = alice.workspace("shop").await?;
    let body = json!({ "email": "Bob@example.test", "role": "admin", "workspaces": [{ "workspace": shop }] });
    let made = invite(&alice, &alice.organization, &body).await?.expect(201)?;
    assert_eq!(made.json()?["mail"], json!({ "state": "queued", "message": null }));
    assert!(!made.text.contains("accept_url") && !made.text.contains("hxi_"), "{}", made.text);
    let mail = smtp.mail(0).await?;
    assert_eq!((mail.hello.as_str(), mail.from.as_str()), ("localhost", "no-reply@hexabase.test"));
    assert_eq!(mail.to, ["Bob@example.test"]);
    assert_eq!(mail.header("from")?, "Hexabase <no-reply@hexabase.test>");
    assert_eq!(mail.header("to")?, "Bob@example.test");
    assert_eq!(mail.header("subject")?, "Invitation to Alice & Söhne on Hexabase");
    assert_eq!(mail.header("auto-submitted")?, "auto-generated");
    assert_eq!(mail.header("message-id")?, format!("<{}.0@localhost>", text(&made.json()?["id"])));
    assert!(mail.header("content-type")?.starts_with("text/plain; charset=utf-8"), "{}", mail.raw);
    let said = mail.text()?;
    let until = text(&made.json()?["expires_at"]);
    assert!(said.contains("Alice Example invites you to be an admin of the organization \"Alice & Söhne\""), "{said}");
    assert!(said.contains("  - shop (WSUsers)\n"), "{said}");
    assert!(said.contains(&format!(" {}, {} UTC", &until[0..4], &until[11..16])), "{said}");
    let token = token(&mail)?;
    assert!(said.contains(&format!("\n{}/invitation#token={token}\n", platform.url)), "{said}");
    let sent = mail_state(&alice, "sent").await?;
    assert_eq!(sent["mail"], json!({ "state": "sent", "message": null }));
    let bob = platform.person("bob").await?;
    assert_eq!(accept(&bob.api, &token).await?.expect(200)?.json()?["role"], "admin");
    assert_eq!(smtp.taken().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_mail_in_japanese_says_the_same() -> Result<()> {
    let smtp = SmtpServer::start().await?;
    let platform = Platform::start_with_mail(&smtp, Clock::System).await?;
    let alice = platform.person("alice").await?;
    let rename = json!({ "name": "株式会社ヘキサベースの開発部とその他の長い名前の部署" });
    alice.api.patch(&format!("/api/v1/organizations/{}", alice.organization), &rename).await?.expect(200)?;
    let shop = alice.workspace("shop").await?;
    let body = json!({ "email": "bob@example.test", "workspaces": [{ "workspace": shop }], "language": "ja" });
    invite(&alice, &alice.organization, &body).await?.expect(201)?;
    let mail = smtp.mail(0).await?;
    assert!(mail.raw.is_ascii(), "{}", mail.raw);
    assert!(mail.raw.lines().all(|line| line.len() <= 998));
    assert_eq!(mail.header("subject")?, "Hexabase：「株式会社ヘキサベースの開発部とその他の長い名前の部署」への招待");
    let said = mail.text()?;
    assert!(said.contains("にメンバーとしてあなたを招待しています"), "{said}");
    assert!(said.contains("  ・shop（WSUsers）\n"), "{said}");
    let token = token(&mail)?;
    assert!(said.contains(&format!("\n{}/invitation?language=ja#token={token}\n", platform.url)), "{said}");
    let bob = platform.person("bob").await?;
    accept(&bob.api, &token).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_mail_server_that_is_busy_is_asked_again() -> Result<()> {
    let smtp = SmtpServer::start().await?;
    let platform = Platform::start_with_mail(&smtp, Clock::standing_at(Clock::System.now())).await?;
    let alice = platform.person("alice").await?;
    smtp.answer_next("451 4.7.1 greylisted, come back later");
    invite(&alice, &alice.organization, &json!({ "email": "bob@example.test" })).await?.expect(201)?;
    let waiting = soon("the first answer", async {
        loop {
            let waiting = mail_state(&alice, "queued").await?;
            if !waiting["mail"]["message"].is_null() {
                return anyhow::Ok(text(&waiting["mail"]["message"]));
            }
        }
    });
    let waiting = waiting.await??;
    assert!(waiting.contains("451") && waiting.contains("greylisted") && waiting.ends_with("tried again"), "{waiting}");
    assert!(smtp.taken().is_empty(), "not before its time");
    let mail = later(&platform, &smtp).await?;
    let alice = platform.person("alice").await?;
    assert_eq!((smtp.refused(), mail.to.as_slice()), (1, &["bob@example.test".to_owned()][..]));
    assert_eq!(mail_state(&alice, "sent").await?["mail"]["message"], Value::Null);
    let bob = platform.person("bob").await?;
    accept(&bob.api, &token(&mail)?).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_mail_that_is_refused_is_shown_to_the_inviter_and_can_be_sent_again() -> Result<()> {
    let smtp = SmtpServer::start().await?;
    let platform = Platform::start_with_mail(&smtp, Clock::System).await?;
    let alice = platform.person("alice").await?;
    smtp.answer_next("550 5.1.1 nobody lives here");
    let made =
        invite(&alice, &alice.organization, &json!({ "email": "bob@example.test" })).await?.expect(201)?.json()?;
    let failed = mail_state(&alice, "failed").await?;
    let message = text(&failed["mail"]["message"]);
    assert!(message.contains("550") && message.contains("nobody lives here"), "{message}");
    assert_eq!(failed["state"], "pending");
    assert!(smtp.taken().is_empty());
    let again = format!("{}/{}/resend", path(&alice.organization), text(&made["id"]));
    let again = alice.api.post(&again, &json!({})).await?.expect(200)?;
    assert!(!again.text.contains("hxi_"), "{}", again.text);
    let mail = smtp.mail(0).await?;
    assert_eq!(mail.header("message-id")?, format!("<{}.1@localhost>", text(&made["id"])));
    mail_state(&alice, "sent").await?;
    let bob = platform.person("bob").await?;
    accept(&bob.api, &token(&mail)?).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn an_invitation_that_is_taken_back_in_time_is_not_sent_and_a_new_one_has_another_token() -> Result<()> {
    let smtp = SmtpServer::start().await?;
    // The clock stands: what was not taken at first is not tried again until it moves.
    let clock = Clock::standing_at(Clock::System.now());
    let platform = Platform::start_with_mail(&smtp, clock).await?;
    let alice = platform.person("alice").await?;
    smtp.answer_next("421 4.3.2 not now");
    let made =
        invite(&alice, &alice.organization, &json!({ "email": "bob@example.test" })).await?.expect(201)?.json()?;
    let id = text(&made["id"]);
    soon("the first attempt", async {
        while smtp.refused() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    alice.api.delete(&format!("{}/{id}", path(&alice.organization))).await?.expect(204)?;
    let store = platform.store().await?;
    let row = rows::load_for_job(&store, &id.parse()?).await?.context("the invitation")?;
    assert_eq!(row.token_sealed, None, "nothing is sent any more");
    pass(&platform, 120);
    let alice = platform.person("alice").await?;
    invite(&alice, &alice.organization, &json!({ "email": "bob@example.test" })).await?.expect(201)?;
    let mail = smtp.mail(0).await?;
    let bob = platform.person("bob").await?;
    accept(&bob.api, &token(&mail)?).await?.expect(200)?;
    ensure!(smtp.taken().len() == 1, "{:?}", smtp.taken());
    Ok(())
}

#[tokio::test]
async fn the_token_waits_sealed_and_is_forgotten_once_the_mail_is_sent() -> Result<()> {
    let smtp = SmtpServer::start().await?;
    let clock = Clock::standing_at(Clock::System.now());
    let platform = Platform::start_with_mail(&smtp, clock).await?;
    let alice = platform.person("alice").await?;
    smtp.answer_next("451 4.3.0 not now");
    let made =
        invite(&alice, &alice.organization, &json!({ "email": "bob@example.test" })).await?.expect(201)?.json()?;
    let (store, id) = (platform.store().await?, text(&made["id"]).parse()?);
    let row = rows::load_for_job(&store, &id).await?.context("the invitation")?;
    let sealed = row.token_sealed.context("the token is there")?;
    assert!(!sealed.windows(4).any(|window| window == b"hxi_"));
    soon("the first attempt", async {
        while smtp.refused() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    let mail = later(&platform, &smtp).await?;
    let alice = platform.person("alice").await?;
    mail_state(&alice, "sent").await?;
    let row = rows::load_for_job(&store, &id).await?.context("the invitation")?;
    assert_eq!(row.token_sealed, None);
    let bob = platform.person("bob").await?;
    accept(&bob.api, &token(&mail)?).await?.expect(200)?;
    problem(&accept(&bob.api, &token(&mail)?).await?, 409, "invitation_over");
    Ok(())
}
