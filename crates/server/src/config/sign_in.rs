//! How people sign in: external identity providers only.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use hexabase_oidc::Issuer;
use hexabase_oidc::client::GitHub;
use secrecy::SecretString;
use serde::Deserialize;

use super::{ConfigError, ServerConfig, StoreConfig, invalid, secret};

/// The identity providers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInConfig {
    /// Identity providers, by order of their buttons.
    pub providers: Vec<ProviderConfig>,
    /// The development issuer.
    pub development: DevIssuerConfig,
}

/// How a provider speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// OpenID Connect.
    #[default]
    Oidc,
    /// OpenID Connect, with Google's issuer and name.
    Google,
    /// OAuth 2.0 as GitHub has it.
    GitHub,
}

/// One identity provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Lower-case letters, digits, hyphens; part of the redirect address `/auth/<id>/callback`.
    pub id: String,
    /// How it speaks.
    #[serde(default)]
    pub kind: ProviderKind,
    /// Name on the button. Google and GitHub have one.
    pub display_name: Option<String>,
    /// Issuer, exactly as it calls itself, down to a slash at the end. Google has one. For GitHub the address of its pages.
    pub issuer: Option<String>,
    /// Where GitHub's API is, if it is neither github.com's nor below `/api/v3` of the issuer.
    pub api_url: Option<String>,
    /// Client id registered there.
    pub client_id: String,
    /// Client secret registered there.
    pub client_secret: Option<SecretString>,
    /// File that holds `client_secret`.
    pub client_secret_file: Option<PathBuf>,
    /// The provider is in a private network, so that requests to it may go there.
    #[serde(default)]
    pub allow_private_networks: bool,
}

impl ProviderConfig {
    /// Name on the button.
    pub fn name(&self) -> &str {
        let preset = match self.kind {
            ProviderKind::Oidc => self.id.as_str(),
            ProviderKind::Google => "Google",
            ProviderKind::GitHub => "GitHub",
        };
        self.display_name.as_deref().unwrap_or(preset)
    }

    /// The issuer.
    ///
    /// # Errors
    /// There is none, or it is not one.
    pub fn issuer(&self) -> Result<Issuer, ConfigError> {
        let preset = match self.kind {
            ProviderKind::Oidc => None,
            ProviderKind::Google => Some("https://accounts.google.com"),
            ProviderKind::GitHub => Some(GitHub::ISSUER),
        };
        let issuer = self.issuer.as_deref().or(preset);
        let issuer = issuer.ok_or_else(|| self.wrong("issuer", "is missing: name it exactly as the provider does"))?;
        Issuer::parse(issuer).map_err(|cause| self.wrong("issuer", &format!("cannot be used: {cause}")))
    }

    /// Where GitHub's API is, if that is set.
    ///
    /// # Errors
    /// It is not an address that can be used.
    pub fn api_url(&self) -> Result<Option<Issuer>, ConfigError> {
        let parsed = self.api_url.as_deref().map(Issuer::parse).transpose();
        parsed.map_err(|cause| self.wrong("api_url", &format!("cannot be used: {cause}")))
    }

    fn wrong(&self, what: &str, sentence: &str) -> ConfigError {
        invalid("sign_in.providers", format!("{what} of the provider \"{}\" {sentence}", self.id))
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.id.is_empty() || !self.id.bytes().all(plain) {
            return Err(self.wrong("id", "must be lower-case letters, digits and hyphens"));
        }
        self.issuer()?;
        if self.api_url()?.is_some() && self.kind != ProviderKind::GitHub {
            return Err(self.wrong("api_url", "is for the kind \"github\" only"));
        }
        let has_secret = self.client_secret.is_some() || self.client_secret_file.is_some();
        if self.kind != ProviderKind::Oidc && !has_secret {
            return Err(self.wrong("client_secret", "is missing: Google and GitHub redeem no code without it"));
        }
        Ok(())
    }
}

/// The compiled-in identity provider, for a laptop and for tests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevIssuerConfig {
    /// Loopback address to listen on; absent turns it off. Anybody on this machine can then sign in as anybody.
    pub listen: Option<SocketAddr>,
}

impl SignInConfig {
    pub(super) fn validate(&self, server: &ServerConfig, store: &StoreConfig) -> Result<(), ConfigError> {
        let mut ids = BTreeSet::from(["development"]);
        let mut issuers = BTreeSet::new();
        for provider in &self.providers {
            provider.validate()?;
            if !ids.insert(&provider.id) {
                return Err(provider.wrong("id", "is used twice, or is that of the development issuer"));
            }
            // A callback says which issuer it comes from; with two of the same name nobody could tell them apart.
            if !issuers.insert(provider.issuer()?) {
                return Err(provider.wrong("issuer", "is that of another provider as well"));
            }
        }
        for ProviderConfig { client_secret, client_secret_file, .. } in &self.providers {
            secret("sign_in.providers.client_secret", client_secret.as_ref(), client_secret_file.as_deref())?;
        }
        let Some(listen) = self.development.listen else {
            return Ok(());
        };
        let key = "sign_in.development.listen";
        if !listen.ip().is_loopback() {
            return Err(invalid(key, "the development issuer lets anybody in, so it listens on loopback only"));
        }
        if !server.is_loopback() {
            return Err(invalid(
                key,
                "the development issuer is refused because server.listen is not a loopback address",
            ));
        }
        if store.is_external()? {
            return Err(invalid(key, "the development issuer is refused because store.url names an external database"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError};

    /// The settings with these providers, or why they are refused.
    fn load(providers: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("[sign_in]\n{providers}")).unwrap();
        Config::load(Some(file.path()))
    }

    #[test]
    fn google_and_github_need_no_more_than_a_registration() {
        let config = load(
            "[[sign_in.providers]]\nid = \"google\"\nkind = \"google\"\nclient_id = \"1\"\nclient_secret = \"s\"\n\
             [[sign_in.providers]]\nid = \"hub\"\nkind = \"github\"\nclient_id = \"2\"\nclient_secret = \"s\"\n\
             [[sign_in.providers]]\nid = \"acme\"\nissuer = \"https://acme.eu.auth0.com/\"\nclient_id = \"3\"\n",
        )
        .unwrap();
        let shown =
            |provider: &super::ProviderConfig| (provider.name().to_owned(), provider.issuer().unwrap().to_string());
        let shown: Vec<_> = config.sign_in.providers.iter().map(shown).collect();
        let expected = [
            ("Google", "https://accounts.google.com"),
            ("GitHub", "https://github.com"),
            ("acme", "https://acme.eu.auth0.com/"),
        ];
        assert_eq!(shown, expected.map(|(name, issuer)| (name.to_owned(), issuer.to_owned())));
    }

    #[test]
    fn a_provider_that_cannot_work_is_refused_with_its_name() {
        let one = |more: &str| format!("[[sign_in.providers]]\nid = \"acme\"\nclient_id = \"1\"\n{more}\n");
        for (providers, sentence) in [
            (one(""), "issuer of the provider \"acme\" is missing"),
            (one("issuer = \"acme.example\""), "issuer of the provider \"acme\" cannot be used"),
            (one("issuer = \"http://acme.example\""), "must use https"),
            (one("kind = \"google\""), "client_secret of the provider \"acme\" is missing"),
            (one("kind = \"github\""), "client_secret of the provider \"acme\" is missing"),
            (one("issuer = \"https://a.example\"\napi_url = \"https://b.example\""), "for the kind \"github\" only"),
            (
                one("kind = \"github\"\nclient_secret = \"s\"\napi_url = \"x\""),
                "api_url of the provider \"acme\" cannot be used",
            ),
            (one("issuer = \"https://a.example\"").replace("acme", "Acme"), "must be lower-case letters"),
            (one("issuer = \"https://a.example\"").repeat(2), "is used twice"),
            (one("issuer = \"https://a.example\"").replace("acme", "development"), "is that of the development issuer"),
            (
                one("issuer = \"https://a.example\"") + &one("issuer = \"https://a.example\"").replace("acme", "other"),
                "issuer of the provider \"other\" is that of another provider as well",
            ),
            (one("kind = \"saml\""), "saml"),
            (one("issuer = \"https://a.example\"\npassword = \"x\""), "password"),
        ] {
            let refused = load(&providers).unwrap_err().to_string();
            assert!(refused.contains(sentence), "{providers}{refused}");
        }
    }
}
