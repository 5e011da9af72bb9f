//! Signing in with GitHub, which speaks OAuth 2.0 and not OpenID Connect: no discovery, no ID token, no nonce.
//!
//! ```text
//!  authorization_url ─► callback ─► POST access_token ─► GET /user ─► GET /user/emails ─► Identity
//! ```
//!
//! The person is whom `/user` of our own API address names for the token that we were just given for our own code, so there
//! is no signed statement to check. The numeric id is the key: logins are given up and taken by others. When the person
//! signed in there is not told, and nobody can ask for it to be done anew.

use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;

use super::flow::verifier;
use super::outbound::Answer;
use super::{Callback, ClientError, Identity, LoginAttempt, Outbound, RelyingParty};
use crate::Issuer;

/// Of the REST API: what we read has been there for longer, and will stay as it is under this version.
const API_VERSION: (&str, &str) = ("x-github-api-version", "2022-11-28");
/// Where an answer says "too many" and not for how long (GitHub's documentation of its rate limits).
const DEFAULT_PAUSE: i64 = 60;
/// Longer than any limit of GitHub's.
const LONGEST_PAUSE: i64 = 24 * 3600;

/// github.com, or a GitHub Enterprise server.
#[derive(Debug, Clone)]
pub struct GitHub {
    issuer: Issuer,
    authorization_endpoint: Url,
    token_endpoint: String,
    api: Issuer,
}

/// The token endpoint's answer. A refusal has the status 200 as well.
#[derive(Deserialize)]
struct Redeemed {
    error: Option<String>,
    error_description: Option<String>,
    access_token: Option<String>,
    token_type: Option<String>,
    scope: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    name: Option<String>,
    avatar_url: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    email: String,
    #[serde(default)]
    primary: bool,
    #[serde(default)]
    verified: bool,
}

impl GitHub {
    /// Where people sign in at github.com, and the issuer of the identities there.
    pub const ISSUER: &str = "https://github.com";
    /// The API of github.com.
    pub const API: &str = "https://api.github.com";

    /// The server whose pages are at `issuer`. Its API is at `api`; without one, where github.com or an Enterprise server
    /// has it.
    pub fn new(issuer: Issuer, api: Option<Issuer>) -> Result<Self, crate::IssuerError> {
        let not_a_url = |_| crate::IssuerError::NotAUrl;
        let api = match api {
            Some(api) => api,
            None if issuer.as_str() == Self::ISSUER => Issuer::parse(Self::API)?,
            None => Issuer::parse(&issuer.join("/api/v3"))?,
        };
        Ok(Self {
            authorization_endpoint: Url::parse(&issuer.join("/login/oauth/authorize")).map_err(not_a_url)?,
            token_endpoint: issuer.join("/login/oauth/access_token"),
            issuer,
            api,
        })
    }

    /// Where to send the browser.
    pub fn authorization_url(&self, us: &RelyingParty, attempt: &LoginAttempt) -> Result<String, ClientError> {
        let mut url = self.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("client_id", &us.client_id)
            .append_pair("redirect_uri", &us.redirect_uri)
            .append_pair("scope", &us.scopes)
            .append_pair("state", &attempt.state)
            .append_pair("code_challenge", verifier(attempt)?.challenge().as_str())
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Everything after the browser came back: checks the callback, redeems the code, and asks who it is.
    pub async fn finish(
        &self,
        us: &RelyingParty,
        http: &Outbound,
        callback: &Callback,
        attempt: &LoginAttempt,
        now: i64,
    ) -> Result<Identity, ClientError> {
        // GitHub does not say who it is (RFC 9207). If it begins to, it may be by either name.
        let server = self.issuer.join("/login/oauth");
        let code = callback.code_from(&[self.issuer.as_str(), &server], false, attempt)?;
        let (token, granted) = self.redeem(us, http, code, attempt, now).await?;
        let answer = self.ask(http, "/user", &token, now).await?.ok()?;
        let user: User = answer.json()?;
        // What the person granted can be less than what we asked for. Where neither says anything, asking tells.
        let granted =
            granted.as_deref().or_else(|| answer.header("x-oauth-scopes")).filter(|scopes| !scopes.is_empty());
        let email = match granted {
            Some(scopes) if !shows_addresses(scopes) => None,
            _ => self.address(http, &token, now).await?,
        };
        Ok(Identity {
            issuer: self.issuer.to_string(),
            subject: user.id.to_string(),
            email_verified: email.is_some(),
            email,
            name: user.name.filter(|name| !name.trim().is_empty()).or(Some(user.login)),
            picture: user.avatar_url,
            auth_time: None,
        })
    }

    /// The access token, and the scopes that were granted, if it says.
    async fn redeem(
        &self,
        us: &RelyingParty,
        http: &Outbound,
        code: &str,
        attempt: &LoginAttempt,
        now: i64,
    ) -> Result<(String, Option<String>), ClientError> {
        let verifier = verifier(attempt)?;
        let mut form = vec![
            ("client_id", us.client_id.as_str()),
            ("code", code),
            ("redirect_uri", &us.redirect_uri),
            ("code_verifier", verifier.expose()),
        ];
        form.extend(us.client_secret.as_ref().map(|secret| ("client_secret", secret.expose_secret())));
        let answer = http.send(http.post(&self.token_endpoint).form(&form)).await?;
        let answer = within_limits(answer, now)?.ok()?;
        let Redeemed { error, error_description, access_token, token_type, scope } = answer.json()?;
        if let Some(code) = error {
            return Err(ClientError::CodeRefused { code, description: error_description.unwrap_or_default() });
        }
        if !token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(ClientError::TokenAnswer("a Bearer token"));
        }
        let token = access_token.ok_or(ClientError::TokenAnswer("an access token"))?;
        Ok((token, scope.filter(|scope| !scope.is_empty())))
    }

    async fn ask(&self, http: &Outbound, path: &str, token: &str, now: i64) -> Result<Answer, ClientError> {
        let request = http.get(&self.api.join(path)).bearer_auth(token).header(API_VERSION.0, API_VERSION.1);
        within_limits(http.send(request).await?, now)
    }

    /// The one address that counts: primary, and verified. The public one of the profile is neither.
    async fn address(&self, http: &Outbound, token: &str, now: i64) -> Result<Option<String>, ClientError> {
        let answer = self.ask(http, "/user/emails?per_page=100", token, now).await?;
        // Not granted; which of the two depends on how we are registered.
        if matches!(answer.status.as_u16(), 403 | 404) {
            return Ok(None);
        }
        let addresses: Vec<Address> = answer.ok()?.json()?;
        Ok(addresses.into_iter().find(|address| address.primary && address.verified).map(|address| address.email))
    }
}

fn shows_addresses(scopes: &str) -> bool {
    scopes.split([',', ' ']).any(|scope| matches!(scope.trim(), "user:email" | "user"))
}

/// The answer, unless it says that there were too many requests.
fn within_limits(answer: Answer, now: i64) -> Result<Answer, ClientError> {
    let number = |name| answer.header(name).and_then(|text| text.trim().parse::<i64>().ok());
    let too_many = answer.status.as_u16() == 429;
    if !too_many && answer.status.as_u16() != 403 {
        return Ok(answer);
    }
    let asked = number("retry-after").map(|seconds| now.saturating_add(seconds));
    let spent = number("x-ratelimit-remaining") == Some(0);
    let until = match asked.or_else(|| number("x-ratelimit-reset").filter(|_| spent)) {
        Some(until) => until.clamp(now.saturating_add(1), now.saturating_add(LONGEST_PAUSE)),
        None if spent || too_many => now.saturating_add(DEFAULT_PAUSE),
        None => return Ok(answer),
    };
    Err(ClientError::RateLimited { url: answer.url, until })
}
