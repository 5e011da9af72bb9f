//! The provider's configuration document (OpenID Connect Discovery 1.0 section 3, RFC 8414).

use serde::Serialize;

use super::token::grant_types;
use crate::{Issuer, keys::Algorithm};

/// Where an issuer's endpoints are, relative to the issuer.
pub mod paths {
    /// The configuration document.
    pub const DISCOVERY: &str = "/.well-known/openid-configuration";
    /// The key set.
    pub const JWKS: &str = "/jwks";
    /// The authorisation endpoint.
    pub const AUTHORIZE: &str = "/authorize";
    /// The token endpoint.
    pub const TOKEN: &str = "/token";
    /// The userinfo endpoint.
    pub const USERINFO: &str = "/userinfo";
    /// The device authorisation endpoint (RFC 8628).
    pub const DEVICE_AUTHORIZATION: &str = "/device_authorization";
    /// Token revocation (RFC 7009).
    pub const REVOKE: &str = "/revoke";
    /// Token introspection (RFC 7662).
    pub const INTROSPECT: &str = "/introspect";
    /// RP-initiated logout.
    pub const END_SESSION: &str = "/end_session";
}

/// What this issuer can do. Say no more than is mounted.
#[derive(Debug, Clone, Default)]
pub struct ProviderFeatures {
    /// Algorithms of its ID tokens; RS256 is a must for certification.
    pub algorithms: Vec<Algorithm>,
    /// Another base for `jwks_uri`, where API servers reach us inside the cluster under another name than people do.
    pub jwks_base: Option<String>,
    /// Refresh tokens (`offline_access`).
    pub refresh: bool,
    /// Device grant.
    pub device: bool,
    /// Token exchange.
    pub token_exchange: bool,
    /// The `groups` scope and claim.
    pub groups: bool,
    /// RFC 7009 endpoint.
    pub revocation: bool,
    /// RFC 7662 endpoint.
    pub introspection: bool,
    /// Logout endpoint.
    pub end_session: bool,
    /// Clients with a secret.
    pub confidential_clients: bool,
    /// Clients without a secret.
    pub public_clients: bool,
    /// The `claims` parameter.
    pub claims_parameter: bool,
}

/// The document itself; serve it as JSON.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "each field is the metadata parameter of that name in OpenID Connect Discovery 1.0")]
pub struct DiscoveryDocument {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub userinfo_endpoint: String,
    pub jwks_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_authorization_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_session_endpoint: Option<String>,
    pub response_types_supported: Vec<&'static str>,
    pub response_modes_supported: Vec<&'static str>,
    pub grant_types_supported: Vec<&'static str>,
    pub subject_types_supported: Vec<&'static str>,
    pub id_token_signing_alg_values_supported: Vec<&'static str>,
    pub scopes_supported: Vec<&'static str>,
    pub claims_supported: Vec<&'static str>,
    pub code_challenge_methods_supported: Vec<&'static str>,
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint_auth_methods_supported: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint_auth_methods_supported: Option<Vec<&'static str>>,
    pub prompt_values_supported: Vec<&'static str>,
    pub authorization_response_iss_parameter_supported: bool,
    pub claims_parameter_supported: bool,
    pub request_parameter_supported: bool,
    pub request_uri_parameter_supported: bool,
}

impl DiscoveryDocument {
    /// The document of `issuer`, with the endpoints at [`paths`].
    pub fn new(issuer: &Issuer, features: &ProviderFeatures) -> Self {
        let at = |path: &str| issuer.join(path);
        let optional = |on: bool, path: &str| on.then(|| issuer.join(path));
        let with = |base: &[&'static str], more: &[(bool, &'static str)]| {
            let more = more.iter().filter(|(on, _)| *on).map(|(_, name)| *name);
            base.iter().copied().chain(more).collect::<Vec<_>>()
        };
        let secrets = [
            (features.confidential_clients, "client_secret_basic"),
            (features.confidential_clients, "client_secret_post"),
        ];
        let client_methods = with(&[], &[&secrets[..], &[(features.public_clients, "none")]].concat());
        Self {
            issuer: issuer.as_str().to_owned(),
            authorization_endpoint: at(paths::AUTHORIZE),
            token_endpoint: at(paths::TOKEN),
            userinfo_endpoint: at(paths::USERINFO),
            jwks_uri: match &features.jwks_base {
                Some(base) => format!("{}{}", base.trim_end_matches('/'), paths::JWKS),
                None => at(paths::JWKS),
            },
            device_authorization_endpoint: optional(features.device, paths::DEVICE_AUTHORIZATION),
            revocation_endpoint: optional(features.revocation, paths::REVOKE),
            introspection_endpoint: optional(features.introspection, paths::INTROSPECT),
            end_session_endpoint: optional(features.end_session, paths::END_SESSION),
            response_types_supported: vec!["code"],
            response_modes_supported: vec!["query"],
            grant_types_supported: with(
                &[grant_types::AUTHORIZATION_CODE],
                &[
                    (features.refresh, grant_types::REFRESH_TOKEN),
                    (features.device, grant_types::DEVICE_CODE),
                    (features.token_exchange, grant_types::TOKEN_EXCHANGE),
                ],
            ),
            subject_types_supported: vec!["public"],
            id_token_signing_alg_values_supported: features.algorithms.iter().map(|alg| alg.as_str()).collect(),
            scopes_supported: with(
                &["openid", "profile", "email"],
                &[(features.groups, "groups"), (features.refresh, "offline_access")],
            ),
            claims_supported: with(
                &[
                    "iss",
                    "sub",
                    "aud",
                    "exp",
                    "iat",
                    "auth_time",
                    "nonce",
                    "at_hash",
                    "azp",
                    "sid",
                    "email",
                    "email_verified",
                    "name",
                ],
                &[(features.groups, "groups")],
            ),
            code_challenge_methods_supported: vec!["S256"],
            // A bearer token is the other way to ask what that token is (RFC 8414 section 2 takes such names here).
            introspection_endpoint_auth_methods_supported: features.introspection.then(|| with(&["Bearer"], &secrets)),
            revocation_endpoint_auth_methods_supported: features.revocation.then(|| client_methods.clone()),
            token_endpoint_auth_methods_supported: client_methods,
            prompt_values_supported: vec!["none", "login", "consent", "select_account"],
            authorization_response_iss_parameter_supported: true,
            claims_parameter_supported: features.claims_parameter,
            request_parameter_supported: false,
            request_uri_parameter_supported: false,
        }
    }
}
