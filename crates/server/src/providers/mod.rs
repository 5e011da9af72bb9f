//! The identity providers people can sign in with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hexabase_oidc::Issuer;
use hexabase_oidc::client::{ClientError, JwksCache, ProviderMetadata, RelyingParty, http_client};
use tokio::sync::Mutex;

use crate::config::{ProviderConfig, SignInConfig, secret};

/// How long a discovery document is believed.
const METADATA_LIFE: Duration = Duration::from_secs(600);

/// Client id that the development issuer knows this server by.
pub(crate) const DEVELOPMENT_CLIENT: &str = "hexabase";

/// One provider, with what was learnt about it.
#[derive(Debug)]
pub struct Provider {
    /// Stable id, part of the redirect address.
    pub id: String,
    /// Name on the button.
    pub display_name: String,
    /// Our registration there.
    pub relying_party: RelyingParty,
    /// For its back channel: no redirects, bounded in time and size.
    pub http: reqwest::Client,
    /// Its public keys.
    pub keys: JwksCache,
    issuer: Issuer,
    metadata: Mutex<Option<(Instant, ProviderMetadata)>>,
}

impl Provider {
    /// Its discovery document, fetched when first needed and kept for a while.
    ///
    /// # Errors
    /// It does not answer, or answers for another issuer.
    pub async fn metadata(&self) -> Result<ProviderMetadata, ClientError> {
        let mut known = self.metadata.lock().await;
        if let Some((fetched, metadata)) = known.as_ref()
            && fetched.elapsed() < METADATA_LIFE
        {
            return Ok(metadata.clone());
        }
        let metadata = ProviderMetadata::discover(&self.http, &self.issuer).await?;
        *known = Some((Instant::now(), metadata.clone()));
        Ok(metadata)
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
        let mut providers = Vec::new();
        for ProviderConfig { id, display_name, issuer, client_id, client_secret, client_secret_file } in
            &config.providers
        {
            let client_secret =
                secret("sign_in.providers.client_secret", client_secret.as_ref(), client_secret_file.as_deref())?;
            let party = RelyingParty {
                client_id: client_id.clone(),
                client_secret,
                redirect_uri: redirect_uri(public_url, id),
                scopes: "openid email profile".to_owned(),
            };
            providers.push(provider(id, display_name, issuer.as_str().trim_end_matches('/'), party)?);
        }
        if let Some(issuer) = development {
            let party = RelyingParty {
                client_id: DEVELOPMENT_CLIENT.to_owned(),
                client_secret: None,
                redirect_uri: redirect_uri(public_url, "development"),
                scopes: "openid email profile".to_owned(),
            };
            providers.push(provider("development", "the dev issuer", issuer, party)?);
        }
        Ok(Self(Arc::new(providers)))
    }

    /// The provider with this id.
    pub fn find(&self, id: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.id == id)
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

fn provider(id: &str, display_name: &str, issuer: &str, relying_party: RelyingParty) -> Result<Provider> {
    Ok(Provider {
        id: id.to_owned(),
        display_name: display_name.to_owned(),
        relying_party,
        http: http_client().context("the HTTP client for identity providers cannot be made")?,
        keys: JwksCache::new(),
        issuer: Issuer::parse(issuer)
            .with_context(|| format!("the issuer of sign_in.providers \"{id}\" cannot be used"))?,
        metadata: Mutex::new(None),
    })
}
