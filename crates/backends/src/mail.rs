//! Mail: sent by SMTP, or not at all where no mail server is set up.

use std::time::{Duration, SystemTime};

use hexabase_core::invitations::InvitedAddress;
use hexabase_core::time::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, SinglePart};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use url::Url;

/// How long one answer of the mail server may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How much of what the mail server says is passed on.
const LONGEST_REASON: usize = 200;

/// A mail to one person, in plain text.
pub struct Mail {
    /// Whom it is for.
    pub to: InvitedAddress,
    /// What it is about, in one line.
    pub subject: String,
    /// What it says.
    pub text: String,
    /// What tells it apart from every other mail, without a host: a mail that is sent twice can be known by it.
    pub id: String,
    /// When it was written.
    pub date: Timestamp,
}

/// Why a mail was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The mail server will never take it.
    #[error("the mail server refused it: {0}")]
    Refused(String),
    /// The mail server did not take it now; trying again later can help.
    #[error("the mail server did not take it: {0}")]
    NotNow(String),
}

/// A setting with which no mail could be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMailSettings {
    /// The server's address.
    #[error("must be smtps://host or smtp://host, with user:password@ and a port where needed, and nothing after that")]
    Server,
    /// The sender.
    #[error("must be an address such as no-reply@example.com or Hexabase <no-reply@example.com>")]
    Sender,
    /// The password would be readable on the way.
    #[error("has a password, which would cross the network in the clear; use smtps:// or STARTTLS")]
    PlainPassword,
}

/// How an SMTP server is spoken to.
pub struct SmtpSettings<'a> {
    /// `smtps://…` for TLS from the first byte on, `smtp://…` else.
    pub url: &'a str,
    /// Whether TLS is demanded of a server at `smtp://…`, with STARTTLS.
    pub starttls: bool,
    /// Who mails are from.
    pub from: &'a str,
    /// What this server is called; also the host in the ids of mails.
    pub hello: &'a str,
}

/// What sends mail, over a connection of its own for each.
#[derive(Clone)]
pub enum Mailer {
    /// Nothing does.
    None,
    /// An SMTP server takes it.
    Smtp(Box<Smtp>),
}

/// Shows the kind, not the password.
impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "Mailer::None",
            Self::Smtp(_) => "Mailer::Smtp",
        })
    }
}

impl Mailer {
    /// Whether mail is sent at all.
    pub fn sends(&self) -> bool {
        matches!(self, Self::Smtp(_))
    }

    /// Hands a mail to the mail server.
    ///
    /// # Errors
    /// As [`MailError`] has it.
    pub async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        match self {
            Self::None => Err(MailError::NotNow("no mail server is set up".to_owned())),
            Self::Smtp(smtp) => smtp.send(mail).await,
        }
    }
}

/// An SMTP server.
#[derive(Clone)]
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    host: String,
}

impl Smtp {
    /// One that is spoken to by these settings; connects when the first mail is sent.
    pub fn new(settings: &SmtpSettings<'_>) -> Result<Self, InvalidMailSettings> {
        let from = settings.from.parse().map_err(|_| InvalidMailSettings::Sender)?;
        let mut url = Url::parse(settings.url).map_err(|_| InvalidMailSettings::Server)?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let known = matches!(url.scheme(), "smtp" | "smtps");
        let whole = url.username().is_empty() != url.password().is_some();
        if !bare || !known || !whole || url.host_str().is_none_or(str::is_empty) {
            return Err(InvalidMailSettings::Server);
        }
        let encrypted = url.scheme() == "smtps" || settings.starttls;
        if url.password().is_some() && !encrypted && !is_loopback(&url) {
            return Err(InvalidMailSettings::PlainPassword);
        }
        if url.scheme() == "smtp" && settings.starttls {
            url.set_query(Some("tls=required"));
        }
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.as_str());
        let transport = transport.map_err(|_| InvalidMailSettings::Server)?;
        let transport = transport.timeout(Some(TIMEOUT)).hello_name(ClientId::Domain(settings.hello.to_owned()));
        Ok(Self { transport: transport.build(), from, host: settings.hello.to_owned() })
    }

    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let message = self.message(mail)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => Err(MailError::Refused(reason(&error))),
            Err(error) => Err(MailError::NotNow(reason(&error))),
        }
    }

    fn message(&self, mail: &Mail) -> Result<Message, MailError> {
        let refused = |why: &dyn std::error::Error| MailError::Refused(reason(why));
        let to: Address = mail.to.as_str().parse().map_err(|error| refused(&error))?;
        let since_epoch = Duration::from_micros(mail.date.as_micros().unsigned_abs());
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            // In one line, whatever somebody managed to write into a name.
            .subject(mail.subject.replace(char::is_control, " "))
            .date(SystemTime::UNIX_EPOCH + since_epoch)
            .message_id(Some(format!("<{}@{}>", mail.id, self.host)))
            .singlepart(SinglePart::plain(mail.text.clone()))
            .map_err(|error| refused(&error))?;
        // RFC 3834: no automatic answers, please.
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
        Ok(message)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        // Hosts of schemes that browsers do not know are kept as they are written.
        Some(url::Host::Domain(name)) => name == "localhost" || name.parse().is_ok_and(is_loopback_ip),
        None => false,
    }
}

fn is_loopback_ip(ip: std::net::IpAddr) -> bool {
    ip.is_loopback()
}

/// What went wrong with its causes, in one short line that can be shown.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp(url: &str, starttls: bool, from: &str) -> Result<Smtp, InvalidMailSettings> {
        Smtp::new(&SmtpSettings { url, starttls, from, hello: "hexabase.example" })
    }

    fn mail(subject: &str, text: &str) -> Mail {
        Mail {
            to: "Alice@example.test".parse().unwrap(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            id: "inv-1.0".to_owned(),
            date: Timestamp::from_seconds(1_790_000_000),
        }
    }

    fn formatted(mail: &Mail) -> String {
        let smtp = smtp("smtp://127.0.0.1:2525", false, "Hexabase <no-reply@hexabase.example>").unwrap();
        String::from_utf8(smtp.message(mail).unwrap().formatted()).unwrap()
    }

    #[test]
    fn a_mail_has_all_the_headers_that_mail_servers_ask_for() {
        let text = formatted(&mail("Hello", "One line\n"));
        for line in [
            "From: Hexabase <no-reply@hexabase.example>",
            "To: Alice@example.test",
            "Subject: Hello",
            "Date: Mon, 21 Sep 2026 14:13:20 +0000",
            "Message-ID: <inv-1.0@hexabase.example>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} is missing in {text}");
        }
    }

    #[test]
    fn no_name_adds_a_header() {
        let text = formatted(&mail("Hi\r\nBcc: eve@example.test\r\n\r\nbody", "text\r\n.\r\nMAIL FROM:<x>\r\n"));
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let starts = |name: &str| head.split("\r\n").any(|line| line.to_lowercase().starts_with(name));
        assert!(!starts("bcc"), "{head}");
        assert!(starts("subject: hi"), "{head}");
        // Japanese becomes encoded words.
        let text = formatted(&mail("「株式会社ヘキサ」への招待", "本文"));
        assert!(text.contains("Subject: =?utf-8?"), "{text}");
        assert!(text.is_ascii());
    }

    #[test]
    fn a_server_that_is_none_and_a_password_in_the_clear_are_refused() {
        let from = "no-reply@hexabase.example";
        for good in
            ["smtps://u:p%40ss@smtp.example.com", "smtps://smtp.example.com:465/", "smtp://u:p@smtp.example.com"]
        {
            assert!(smtp(good, true, from).is_ok(), "{good}");
        }
        assert!(smtp("smtp://u:p@127.0.0.1:25", false, from).is_ok());
        assert!(smtp("smtp://relay.example.com", false, from).is_ok());
        for (bad, why) in [
            ("smtp.example.com", InvalidMailSettings::Server),
            ("https://smtp.example.com", InvalidMailSettings::Server),
            ("smtp://", InvalidMailSettings::Server),
            ("smtp://user@smtp.example.com", InvalidMailSettings::Server),
            ("smtp://smtp.example.com/path", InvalidMailSettings::Server),
            ("smtp://smtp.example.com?tls=opportunistic", InvalidMailSettings::Server),
            ("smtp://u:p@smtp.example.com", InvalidMailSettings::PlainPassword),
        ] {
            assert_eq!(smtp(bad, false, from).err(), Some(why), "{bad}");
        }
        assert_eq!(smtp("smtp://x", false, "nobody").err(), Some(InvalidMailSettings::Sender));
    }

    #[test]
    fn printing_a_mailer_shows_no_password() {
        let smtp = smtp("smtps://user:canary@smtp.example.com", true, "a@b.example").unwrap();
        assert_eq!(format!("{:?}", Mailer::Smtp(Box::new(smtp))), "Mailer::Smtp");
    }
}
