//! OAuth 2.0 as a public client: discovery, token requests, revocation.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};
use crate::http::{self, REQUEST_TIMEOUT};

/// This program's client id.
pub(crate) const CLIENT_ID: &str = "hxb";
/// What a sign-in asks for.
pub(crate) const SCOPE: &str = "openid offline_access";

/// The endpoints of the platform's own realm (OpenID Connect Discovery 1.0 section 3).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Endpoints {
    /// The realm.
    pub(crate) issuer: String,
    /// For the browser.
    pub(crate) authorization_endpoint: String,
    /// For codes and refresh tokens.
    pub(crate) token_endpoint: String,
    /// For machines without a browser (RFC 8628).
    pub(crate) device_authorization_endpoint: Option<String>,
    /// For signing out (RFC 7009).
    pub(crate) revocation_endpoint: Option<String>,
}

/// What the token endpoint gives (RFC 6749 section 5.1). Has no `Debug`: it holds secrets.
#[derive(Clone, Deserialize)]
pub(crate) struct Tokens {
    /// For the API.
    pub(crate) access_token: String,
    /// For the next access token.
    pub(crate) refresh_token: Option<String>,
    /// How long the access token lives, in seconds.
    pub(crate) expires_in: i64,
}

/// Why the token endpoint gave none (RFC 6749 section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Refusal {
    /// The word for programs.
    pub(crate) error: String,
    /// The sentence for people.
    pub(crate) error_description: Option<String>,
}

impl Refusal {
    /// What to show to a person.
    pub(crate) fn sentence(&self) -> &str {
        self.error_description.as_deref().unwrap_or(&self.error)
    }
}

/// Finds the endpoints of the platform's realm at `server`.
pub(crate) async fn discover(http: &reqwest::Client, server: &str) -> Result<Endpoints> {
    let issuer = format!("{server}/oidc/platform");
    let not_hexabase = || {
        Error::new(Kind::Failure, format!("{server} answers, but is not a Hexabase server"))
            .hint("check the address and the port")
    };
    let address = format!("{issuer}/.well-known/openid-configuration");
    let response =
        http.get(&address).timeout(REQUEST_TIMEOUT).send().await.map_err(|error| http::unreachable(server, error))?;
    let response = match http::check(server, response).await {
        Err(error) if error.kind() == Kind::NotFound => return Err(not_hexabase().because(error)),
        other => other?,
    };
    let text = response.text().await.map_err(|error| http::unreachable(server, error))?;
    let endpoints: Endpoints = serde_json::from_str(&text).map_err(|error| not_hexabase().because(error))?;
    if endpoints.issuer != issuer {
        let known_as = endpoints.issuer.strip_suffix("/oidc/platform").unwrap_or(&endpoints.issuer);
        return Err(Error::new(Kind::Failure, format!("the server at {server} calls itself {known_as}"))
            .hint(format!("use that address: hxb login {known_as}")));
    }
    let Endpoints {
        authorization_endpoint, token_endpoint, device_authorization_endpoint, revocation_endpoint, ..
    } = &endpoints;
    let optional = [device_authorization_endpoint, revocation_endpoint].into_iter().flatten();
    let insecure = [authorization_endpoint, token_endpoint]
        .into_iter()
        .chain(optional)
        .any(|address| !address.starts_with("https://"));
    if server.starts_with("https://") && insecure {
        return Err(Error::new(
            Kind::Failure,
            format!("{server} names an endpoint without TLS; nothing was sent to it"),
        ));
    }
    Ok(endpoints)
}

/// Sends a form to an OAuth endpoint: what it gives, or its refusal.
pub(crate) async fn ask<T: DeserializeOwned>(
    http: &reqwest::Client,
    server: &str,
    endpoint: &str,
    form: &[(&str, &str)],
) -> Result<Result<T, Refusal>> {
    let response = http.post(endpoint).timeout(REQUEST_TIMEOUT).form(form).send().await;
    let response = response.map_err(|error| http::unreachable(server, error))?;
    if response.status().is_client_error() {
        let status = response.status();
        let text = response.text().await.map_err(|error| http::unreachable(server, error))?;
        return match serde_json::from_str::<Refusal>(&text) {
            Ok(refusal) => Ok(Err(refusal)),
            Err(error) if status == reqwest::StatusCode::NOT_FOUND => {
                Err(Error::new(Kind::NotFound, format!("{server} has nothing at {endpoint}")).because(error))
            }
            Err(error) => Err(http::not_understood(server, error)),
        };
    }
    let response = http::check(server, response).await?;
    let text = response.text().await.map_err(|error| http::unreachable(server, error))?;
    serde_json::from_str(&text).map(Ok).map_err(|error| http::not_understood(server, error))
}

/// Ends a session at the server (RFC 7009).
pub(crate) async fn revoke(http: &reqwest::Client, server: &str, endpoint: &str, refresh_token: &str) -> Result<()> {
    let form = [("token", refresh_token), ("token_type_hint", "refresh_token"), ("client_id", CLIENT_ID)];
    let response = http.post(endpoint).timeout(REQUEST_TIMEOUT).form(&form).send().await;
    http::check(server, response.map_err(|error| http::unreachable(server, error))?).await.map(|_| ())
}
