//! Discovery.

use serde::Deserialize;
use url::Url;

use super::{ClientError, Outbound};
use crate::{Issuer, issuer::is_secure_or_loopback, keys::Algorithm};

/// A provider's published configuration (OpenID Connect Discovery 1.0 section 3), checked.
#[derive(Debug, Clone, Deserialize)]
pub struct ProviderMetadata {
    /// Equal to the issuer it was fetched from.
    pub issuer: Issuer,
    /// Where the browser is sent.
    pub authorization_endpoint: Url,
    /// Where the code is redeemed.
    pub token_endpoint: Url,
    /// Where the keys are.
    pub jwks_uri: Url,
    /// Where more about the person can be asked.
    #[serde(default)]
    pub userinfo_endpoint: Option<Url>,
    #[serde(default)]
    response_types_supported: Vec<String>,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
    /// Whether the callback must carry `iss` (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl ProviderMetadata {
    /// Fetches and checks the configuration. Keep it for an hour or so; it changes rarely.
    pub async fn discover(http: &Outbound, issuer: &Issuer) -> Result<Self, ClientError> {
        let answer = http.send(http.get(&issuer.discovery_url())).await?.ok()?;
        Self::from_json(answer.body(), issuer)
    }

    /// Reads and checks a configuration that was fetched for `issuer`: issuer equality, endpoints https or loopback,
    /// code flow, PKCE with S256 unless it says nothing of PKCE at all, and an ID token algorithm of ours.
    pub fn from_json(json: &[u8], issuer: &Issuer) -> Result<Self, ClientError> {
        let metadata: Self = serde_json::from_slice(json)
            .map_err(|error| ClientError::NotUnderstood { url: issuer.discovery_url(), reason: error.to_string() })?;
        if metadata.issuer != *issuer {
            return Err(ClientError::IssuerMismatch {
                expected: issuer.to_string(),
                found: metadata.issuer.to_string(),
            });
        }
        let endpoints = [
            ("authorization_endpoint", Some(&metadata.authorization_endpoint)),
            ("token_endpoint", Some(&metadata.token_endpoint)),
            ("jwks_uri", Some(&metadata.jwks_uri)),
            ("userinfo_endpoint", metadata.userinfo_endpoint.as_ref()),
        ];
        for (name, url) in endpoints {
            // An issuer on the internet must not send us to a service on our own loopback either.
            if url.is_some_and(|url| {
                !is_secure_or_loopback(url) || (crate::issuer::is_loopback(url) && !issuer.is_loopback())
            }) {
                return Err(ClientError::InsecureEndpoint(name));
            }
        }
        if !metadata.response_types_supported.iter().any(|kind| kind == "code") {
            return Err(ClientError::Unsupported("the code flow"));
        }
        // Many providers know S256 and do not say so; with one that ignores it the nonce still binds the code to us. One that
        // lists methods without S256 would refuse our challenge, or read it as another.
        if metadata
            .code_challenge_methods_supported
            .as_ref()
            .is_some_and(|known| !known.iter().any(|one| one == "S256"))
        {
            return Err(ClientError::Unsupported("PKCE with S256"));
        }
        if metadata.algorithms().is_empty() {
            return Err(ClientError::Unsupported("ID tokens signed with ES256 or RS256"));
        }
        Ok(metadata)
    }

    /// The algorithms its ID tokens may have: what it announces and we accept.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        self.id_token_signing_alg_values_supported.iter().filter_map(|name| Algorithm::from_name(name)).collect()
    }

    /// Whether the secret goes into the form rather than the header; the header is the default (Discovery section 3).
    pub(super) fn wants_secret_in_form(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let has = |method: &str| methods.iter().any(|supported| supported == method);
        has("client_secret_post") && !has("client_secret_basic")
    }
}
