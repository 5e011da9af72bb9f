//! The issuers: their keys and their clients.

use std::path::PathBuf;

use hexabase_app::oauth::{HXB, Realms, RegisteredClient};
use hexabase_core::ids::WorkspaceId;
use hexabase_oidc::keys::{Algorithm, RotationPolicy};
use hexabase_oidc::provider::{Client, Pkce, RedirectUri};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::{ConfigError, invalid, secret};

/// Keys and clients of the issuers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// Days for which a key signs before its successor takes over.
    pub rotate_every_days: u32,
    /// Seconds for which verifiers may keep the public keys: how long a new key waits (and a minute more) before it signs,
    /// and how long after its revocation a stolen one may still be believed by a workspace.
    pub jwks_max_age_seconds: u32,
    /// Clients beside `hxb` and kubectl.
    pub clients: Vec<ClientConfig>,
}

/// A client of the issuers, such as a dashboard.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// Its client id.
    pub id: String,
    /// What people know it by; its id when absent.
    pub name: Option<String>,
    /// At least 32 random characters. Without it the client is public and must use PKCE.
    pub secret: Option<SecretString>,
    /// File that holds `secret`.
    pub secret_file: Option<PathBuf>,
    /// Where people are sent back to, exactly; on a loopback host without a port: to any port.
    pub redirect_uris: Vec<String>,
    /// Where people may be sent after signing out, exactly.
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<String>,
    /// `ES256` or `RS256`.
    #[serde(default = "es256")]
    pub id_token_signed_response_alg: String,
    /// `platform`, `workspaces`, or ids of workspaces.
    #[serde(default = "platform")]
    pub realms: Vec<String>,
    /// `required`, `or-nonce` (a nonce will do instead) or `optional`; without a secret always `required`.
    pub pkce: Option<String>,
    /// Whether its access tokens are good for what people may do, at the API or at a workspace's API server, and not only for
    /// learning who they are.
    #[serde(default)]
    pub acts_for_people: bool,
    /// Whether it may introspect tokens of every client.
    #[serde(default)]
    pub introspects: bool,
}

fn es256() -> String {
    Algorithm::Es256.as_str().to_owned()
}

fn platform() -> Vec<String> {
    vec!["platform".to_owned()]
}

impl OidcConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=365).contains(&self.rotate_every_days) {
            return Err(invalid("oidc.rotate_every_days", "must be 1 to 365"));
        }
        if !(60..=3600).contains(&self.jwks_max_age_seconds) {
            return Err(invalid(
                "oidc.jwks_max_age_seconds",
                "must be 60 to 3600: below that anybody could make workspaces ask for the keys at every request",
            ));
        }
        self.registered().map(drop)
    }

    /// How keys are replaced.
    pub fn rotation(&self) -> RotationPolicy {
        RotationPolicy {
            jwks_max_age: self.jwks_max_age_seconds.into(),
            sign_for: i64::from(self.rotate_every_days) * 24 * 3600,
            ..RotationPolicy::DEFAULT
        }
    }

    /// The clients, as the issuers know them.
    ///
    /// # Errors
    /// The first mistake.
    pub fn registered(&self) -> Result<Vec<RegisteredClient>, ConfigError> {
        let mut seen = std::collections::BTreeSet::from([HXB]);
        for client in &self.clients {
            let taken = client.id.starts_with("ws-") || !seen.insert(&client.id);
            if taken || client.id == hexabase_app::issuer::API_AUDIENCE {
                let sentence = format!("\"{}\" is given twice, or is a name that the platform keeps", client.id);
                return Err(invalid("oidc.clients.id", sentence));
            }
        }
        self.clients.iter().map(ClientConfig::registered).collect()
    }
}

impl ClientConfig {
    fn registered(&self) -> Result<RegisteredClient, ConfigError> {
        let mistake = |key: &'static str, sentence: &str| invalid(key, format!("{}: {sentence}", self.id));
        let mut redirect_uris = Vec::new();
        for uri in &self.redirect_uris {
            let parsed = RedirectUri::loopback(uri).or_else(|_| RedirectUri::exact(uri));
            redirect_uris.push(parsed.map_err(|cause| mistake("oidc.clients.redirect_uris", &cause.to_string()))?);
        }
        let secret = secret("oidc.clients.secret", self.secret.as_ref(), self.secret_file.as_deref())?;
        let client = match &secret {
            Some(secret) => Client::confidential(&self.id, redirect_uris, secret.expose_secret()),
            None => Client::public(&self.id, redirect_uris),
        };
        let mut client = client.map_err(|cause| mistake("oidc.clients", &cause.to_string()))?;
        if let Some(uri) = self.post_logout_redirect_uris.iter().find(|uri| !may_return_to(uri)) {
            let sentence = format!("\"{uri}\" must be an https address, or http on a loopback host");
            return Err(mistake("oidc.clients.post_logout_redirect_uris", &sentence));
        }
        let algorithm = Algorithm::from_name(&self.id_token_signed_response_alg)
            .ok_or_else(|| mistake("oidc.clients.id_token_signed_response_alg", "must be ES256 or RS256"))?;
        let pkce = match (self.pkce.as_deref(), &secret) {
            (None | Some("required"), None) | (Some("required"), _) => Pkce::Required,
            (None | Some("or-nonce"), Some(_)) => Pkce::OrNonce,
            (Some("optional"), Some(_)) => Pkce::Optional,
            (Some("optional" | "or-nonce"), None) => {
                return Err(mistake("oidc.clients.pkce", "a client without a secret must use PKCE"));
            }
            (Some(_), _) => return Err(mistake("oidc.clients.pkce", "must be required, or-nonce or optional")),
        };
        if self.introspects && secret.is_none() {
            return Err(mistake("oidc.clients.introspects", "a client without a secret cannot ask about tokens"));
        }
        client = client.named(self.name.as_deref().unwrap_or(&self.id)).signed_with(algorithm).with_pkce(pkce);
        client = client.returning_to(self.post_logout_redirect_uris.clone());
        if self.acts_for_people {
            client = client.acting_for_people();
        }
        if self.introspects {
            client = client.introspecting();
        }
        let realms = self.realms.iter().map(|name| realms(name).ok_or(name)).collect::<Result<_, _>>();
        let realms = realms.map_err(|name| {
            let sentence = format!("\"{name}\" must be platform, workspaces, or a workspace's id");
            mistake("oidc.clients.realms", &sentence)
        })?;
        Ok(RegisteredClient { client, realms })
    }
}

fn realms(name: &str) -> Option<Realms> {
    match name {
        "platform" => Some(Realms::Platform),
        "workspaces" => Some(Realms::Workspaces),
        id => id.parse::<WorkspaceId>().ok().map(Realms::Workspace),
    }
}

fn may_return_to(uri: &str) -> bool {
    let plain = uri.bytes().all(|byte| byte.is_ascii_graphic());
    let Ok(url) = Url::parse(uri) else { return false };
    let loopback = ["127.0.0.1", "[::1]", "localhost"].contains(&url.host_str().unwrap_or_default());
    plain
        && url.fragment().is_none()
        && url.has_host()
        && (url.scheme() == "https" || (url.scheme() == "http" && loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(more: &str) -> Result<RegisteredClient, ConfigError> {
        let text = format!("id = \"web\"\nredirect_uris = [\"https://web.example/cb\"]\n{more}");
        let built = config::Config::builder().add_source(config::File::from_str(&text, config::FileFormat::Toml));
        built.build().unwrap().try_deserialize::<ClientConfig>().unwrap().registered()
    }

    #[test]
    fn a_client_is_registered_as_its_settings_say() {
        let secret = format!("secret = \"{}\"", "s".repeat(32));
        let made = client(&secret).unwrap();
        assert!(!made.client.is_public() && made.client.allows_redirect_to("https://web.example/cb"));
        assert_eq!((made.client.id_token_algorithm(), made.realms), (Algorithm::Es256, vec![Realms::Platform]));
        assert!(!made.client.acts_for_people() && !made.client.introspects());
        let more = "name = \"The web\"\nid_token_signed_response_alg = \"RS256\"\nrealms = [\"workspaces\"]\n\
                    acts_for_people = true\nintrospects = true\npost_logout_redirect_uris = [\"https://web.example/bye\"]";
        let made = client(&format!("{secret}\n{more}")).unwrap();
        assert_eq!((made.client.name(), made.client.id_token_algorithm()), ("The web", Algorithm::Rs256));
        assert!(made.client.acts_for_people() && made.client.introspects());
        assert!(made.client.allows_return_to("https://web.example/bye"));
        let native =
            client("redirect_uris = [\"http://127.0.0.1/cb\"]".replace("redirect", "post_logout_redirect").as_str());
        assert!(native.unwrap().client.is_public());
    }

    #[test]
    fn a_mistake_is_named() {
        for more in [
            "secret = \"short\"",
            "id_token_signed_response_alg = \"none\"",
            "id_token_signed_response_alg = \"HS256\"",
            "realms = [\"everywhere\"]",
            "pkce = \"optional\"",
            "pkce = \"maybe\"",
            "introspects = true",
            "post_logout_redirect_uris = [\"javascript:alert(1)\"]",
            "post_logout_redirect_uris = [\"http://web.example/bye\"]",
        ] {
            assert!(client(more).is_err(), "{more}");
        }
    }
}
