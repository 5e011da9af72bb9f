//! The mail server that sends invitations.

use std::path::PathBuf;

use hexabase_backends::mail::{InvalidMailSettings, Mailer, Smtp, SmtpSettings};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::{ConfigError, invalid, secret};

/// How mail is sent. Without `smtp_url` none is, and whoever invites is shown the link to pass on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// `smtps://user:password@host:port`, or `smtp://…`; user, password and port where needed.
    pub smtp_url: Option<SecretString>,
    /// File that holds `smtp_url`.
    pub smtp_url_file: Option<PathBuf>,
    /// Whether a server at `smtp://…` must offer TLS with STARTTLS.
    pub starttls: bool,
    /// Who mails are from, such as `Hexabase <no-reply@example.com>`.
    pub from: Option<String>,
}

impl MailConfig {
    /// What sends mail by these settings.
    ///
    /// # Errors
    /// Names the setting at fault.
    pub(crate) fn mailer(&self, public_url: &Url) -> Result<Mailer, ConfigError> {
        let url = secret("mail.smtp_url", self.smtp_url.as_ref(), self.smtp_url_file.as_deref())?;
        let (url, from) = match (&url, &self.from) {
            (None, None) => return Ok(Mailer::None),
            (Some(url), Some(from)) => (url.expose_secret(), from),
            _ => return Err(invalid("mail.from", "and mail.smtp_url are given together or not at all")),
        };
        let hello = public_url.host_str().unwrap_or("localhost");
        let settings = SmtpSettings { url, starttls: self.starttls, from, hello };
        let key = |error: &InvalidMailSettings| match error {
            InvalidMailSettings::Sender => "mail.from",
            InvalidMailSettings::Server | InvalidMailSettings::PlainPassword => "mail.smtp_url",
        };
        Smtp::new(&settings)
            .map(|smtp| Mailer::Smtp(Box::new(smtp)))
            .map_err(|error| invalid(key(&error), error.to_string()))
    }
}
