//! The identity providers people can sign in with.

mod discovery;

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use hexabase_app::Error;
use hexabase_core::time::Timestamp;
use hexabase_oidc::Issuer;
use hexabase_oidc::client::{
    Callback, ClientError, Fault, GitHub, Identity, JwksCache, LoginAttempt, Outbound, Reach, RelyingParty,
};

use crate::config::{ProviderConfig, ProviderKind, SignInConfig, secret};
use discovery::Discovery;

/// Client id that the development issuer knows this server by.
pub(crate) const DEVELOPMENT_CLIENT: &str = "hexabase";
/// Its provider's id.
const DEVELOPMENT: &str = "development";

/// One provider, with what was learnt about it.
#[derive(Debug)]
pub struct Provider {
    /// Stable id, part of the redirect address.
    pub id: String,
    /// Name on the button.
    pub display_name: String,
    issuer: Issuer,
    /// Our registration there.
    relying_party: RelyingParty,
    http: Outbound,
    protocol: Protocol,
}

/// How a provider speaks.
#[derive(Debug)]
enum Protocol {
    OpenId { discovery: Discovery, keys: JwksCache },
    GitHub(GitHub),
}

impl Provider {
    /// The issuer of the identities there.
    pub fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    /// Whether it can be asked to have people prove anew who they are, whatever session they have there.
    pub fn signs_in_anew(&self) -> bool {
        matches!(self.protocol, Protocol::OpenId { .. })
    }

    /// Where to send the browser, and what has to be remembered until it comes back. With `anew` the person is to prove who
    /// they are from that moment on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with whether waiting helps, and [`Error::Forbidden`] for what the provider cannot be asked for.
    pub async fn begin(
        &self,
        login_hint: Option<&str>,
        anew: Option<Timestamp>,
    ) -> Result<(String, LoginAttempt), Error> {
        let mut attempt = LoginAttempt::start().map_err(Error::internal)?;
        if let Some(now) = anew {
            if !self.signs_in_anew() {
                return Err(Error::Forbidden(self.cannot_sign_in_anew()));
            }
            attempt = attempt.anew(now.as_seconds());
        }
        let address = match &self.protocol {
            Protocol::OpenId { discovery, .. } => {
                let metadata = discovery.get(&self.http, Instant::now).await.map_err(|cause| self.explain(&cause))?;
                self.relying_party.authorization_url(&metadata, &attempt, login_hint)
            }
            Protocol::GitHub(github) => github.authorization_url(&self.relying_party, &attempt),
        };
        Ok((address.map_err(Error::internal)?, attempt))
    }

    /// Who came back with this query.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it proves nobody, [`Error::Unavailable`] as for [`Self::begin`].
    pub async fn finish(&self, query: &str, attempt: &LoginAttempt, now: i64) -> Result<Identity, Error> {
        let callback = Callback::parse(query).map_err(|cause| self.explain(&cause))?;
        let identity = match &self.protocol {
            Protocol::OpenId { discovery, keys } => {
                let metadata = discovery.get(&self.http, Instant::now).await.map_err(|cause| self.explain(&cause))?;
                self.relying_party.finish(&self.http, keys, &metadata, &callback, attempt, now).await
            }
            Protocol::GitHub(github) => github.finish(&self.relying_party, &self.http, &callback, attempt, now).await,
        };
        identity.map_err(|cause| self.explain(&cause))
    }

    /// What to tell a person who is to sign in anew.
    pub fn cannot_sign_in_anew(&self) -> String {
        let name = &self.display_name;
        format!("{name} cannot be asked to have you sign in again, and that is what is wanted here; choose another way")
    }

    /// What to tell the person, by whose turn it is; the log has the rest.
    fn explain(&self, cause: &ClientError) -> Error {
        tracing::warn!(provider = %self.id, error = %cause, "a sign-in was refused");
        let name = &self.display_name;
        match cause.fault() {
            Fault::Refusal => Error::Unauthenticated(format!("{name} did not confirm the sign-in: {cause}")),
            Fault::Outage => Error::Unavailable(format!("{name} does not answer; try again in a moment")),
            Fault::RateLimit(until) => {
                let until = Timestamp::from_seconds(until);
                Error::Unavailable(format!("{name} answers nothing more to this server until {until}; try again then"))
            }
            Fault::Configuration => Error::Unavailable(format!(
                "signing in with {name} is not set up as it must be, and trying again does not help: {cause}; the operator of \
                 this platform can correct sign_in.providers or the registration with {name}"
            )),
        }
    }
}

/// All providers, in the order of their buttons.
#[derive(Debug, Clone, Default)]
pub struct Providers(Arc<Vec<Provider>>);

impl Providers {
    /// The configured providers, and the development issuer where one runs at `development`.
    ///
    /// # Errors
    /// An issuer or secret that cannot be used, named.
    pub fn new(config: &SignInConfig, development: Option<&str>, public_url: &str) -> Result<Self> {
        let configured = config.providers.iter().map(|provider| configured(provider, public_url));
        let mut providers = configured.collect::<Result<Vec<_>>>()?;
        if let Some(issuer) = development {
            let issuer = Issuer::parse(issuer).context("the development issuer's address cannot be used")?;
            providers.push(Provider {
                id: DEVELOPMENT.to_owned(),
                display_name: "the dev issuer".to_owned(),
                relying_party: RelyingParty {
                    client_id: DEVELOPMENT_CLIENT.to_owned(),
                    client_secret: None,
                    redirect_uri: redirect_uri(public_url, DEVELOPMENT),
                    scopes: OPENID_SCOPES.to_owned(),
                },
                http: outbound(&issuer, false)?,
                protocol: Protocol::OpenId { discovery: Discovery::new(issuer.clone()), keys: JwksCache::new() },
                issuer,
            });
        }
        Ok(Self(Arc::new(providers)))
    }

    /// The provider with this id.
    pub fn find(&self, id: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.id == id)
    }

    /// The provider of identities of this issuer.
    pub fn of_issuer(&self, issuer: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.issuer() == issuer)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }
}

/// Where a provider sends people back to.
pub(crate) fn redirect_uri(public_url: &str, provider: &str) -> String {
    format!("{}/auth/{provider}/callback", public_url.trim_end_matches('/'))
}

const OPENID_SCOPES: &str = "openid email profile";

fn configured(provider: &ProviderConfig, public_url: &str) -> Result<Provider> {
    let (issuer, api) = (provider.issuer()?, provider.api_url()?);
    let (secret_here, secret_file) = (provider.client_secret.as_ref(), provider.client_secret_file.as_deref());
    let (protocol, scopes) = match provider.kind {
        ProviderKind::Oidc | ProviderKind::Google => {
            let discovery = Discovery::new(issuer.clone());
            (Protocol::OpenId { discovery, keys: JwksCache::new() }, OPENID_SCOPES)
        }
        ProviderKind::GitHub => {
            let github = GitHub::new(issuer.clone(), api).context("the addresses of GitHub cannot be used")?;
            (Protocol::GitHub(github), "user:email")
        }
    };
    Ok(Provider {
        id: provider.id.clone(),
        display_name: provider.name().to_owned(),
        relying_party: RelyingParty {
            client_id: provider.client_id.clone(),
            client_secret: secret("sign_in.providers.client_secret", secret_here, secret_file)?,
            redirect_uri: redirect_uri(public_url, &provider.id),
            scopes: scopes.to_owned(),
        },
        http: outbound(&issuer, provider.allow_private_networks)?,
        protocol,
        issuer,
    })
}

/// What requests to a provider go through: to loopback only where the issuer itself is there.
fn outbound(issuer: &Issuer, private_networks: bool) -> Result<Outbound> {
    let reach = Reach { private_networks, loopback: issuer.is_loopback() };
    Outbound::new(reach).context("the HTTP client for identity providers cannot be made")
}
