//! One sign-in, from the first redirect to an identity.

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use url::form_urlencoded;

use super::{ClientError, IdTokenExpectation, JwksCache, Outbound, ProviderMetadata, UserInfo, validate_id_token};
use crate::{
    claims::IdTokenClaims,
    jwt,
    params::Params,
    provider::{CodeVerifier, TokenResponse, grant_types},
    random::{RandomError, opaque_token},
};

/// How far the provider's clock may be behind when it says when somebody signed in.
const SKEW: i64 = 30;

/// The three secrets of one attempt to sign in, and what it demands. Keep it server-side, or sealed, bound to the browser
/// by a `__Host-` cookie, for ten minutes and one use.
#[derive(Clone, Serialize, Deserialize)]
pub struct LoginAttempt {
    /// Comes back in the callback.
    pub state: String,
    /// Comes back in the ID token.
    pub nonce: String,
    /// Goes to the token endpoint.
    pub code_verifier: String,
    /// The person is to prove anew who they are: not before this, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
}

impl LoginAttempt {
    /// Draws all three, 256 bits each.
    pub fn start() -> Result<Self, RandomError> {
        Ok(Self {
            state: opaque_token("")?,
            nonce: opaque_token("")?,
            code_verifier: CodeVerifier::generate()?.expose().to_owned(),
            since: None,
        })
    }

    /// The same, to be met by a sign-in from `now` on, whatever session the person has at the provider. For OpenID providers:
    /// nobody else knows how to ask for it.
    #[must_use]
    pub fn anew(self, now: i64) -> Self {
        Self { since: Some(now), ..self }
    }
}

impl std::fmt::Debug for LoginAttempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LoginAttempt")
    }
}

/// What the provider sent back through the browser, read but not yet believed.
#[derive(Clone)]
pub struct Callback(Params);

impl Callback {
    /// Reads a raw query string.
    pub fn parse(query: &str) -> Result<Self, ClientError> {
        Params::parse(query).map(Self).map_err(|error| ClientError::BadCallback(error.to_string()))
    }

    fn one(&self, name: &'static str) -> Result<Option<&str>, ClientError> {
        self.0.one(name).map_err(|error| ClientError::BadCallback(error.to_string()))
    }

    /// The code, once `state` and `iss` have been found to belong to this attempt and this provider.
    pub fn code(&self, attempt: &LoginAttempt, metadata: &ProviderMetadata) -> Result<&str, ClientError> {
        let announced = metadata.authorization_response_iss_parameter_supported;
        self.code_from(&[metadata.issuer.as_str()], announced, attempt)
    }

    /// The same for a provider that calls itself one of `issuers`, and has `announced` that it always says so.
    pub(super) fn code_from(
        &self,
        issuers: &[&str],
        announced: bool,
        attempt: &LoginAttempt,
    ) -> Result<&str, ClientError> {
        let state = self.one("state")?.unwrap_or_default();
        if attempt.state.is_empty() || !bool::from(state.as_bytes().ct_eq(attempt.state.as_bytes())) {
            return Err(ClientError::StateMismatch);
        }
        match self.one("iss")? {
            Some(iss) if !issuers.contains(&iss) => return Err(ClientError::CallbackIssuer),
            None if announced => return Err(ClientError::CallbackIssuer),
            _ => {}
        }
        if let Some(code) = self.one("error")? {
            let description = self.one("error_description")?.unwrap_or_default().to_owned();
            return Err(ClientError::Refused { code: code.to_owned(), description });
        }
        self.one("code")?.ok_or_else(|| ClientError::BadCallback("code is missing".to_owned()))
    }
}

/// Who signed in. The key is (`issuer`, `subject`); the address is for display and, if verified, for invitations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// The person there.
    pub subject: String,
    /// Their address.
    pub email: Option<String>,
    /// Whether the provider vouches for the address.
    pub email_verified: bool,
    /// Their name.
    pub name: Option<String>,
    /// Their portrait.
    pub picture: Option<String>,
    /// When they proved who they are, as far as it is known: by the provider's word, or by what the attempt demanded.
    /// Seconds since 1970.
    pub auth_time: Option<i64>,
}

/// Us, as registered with one provider.
#[derive(Debug, Clone)]
pub struct RelyingParty {
    /// Our id there.
    pub client_id: String,
    /// Our secret there; none for a public client.
    pub client_secret: Option<SecretString>,
    /// Our callback: one per provider, so that answers cannot be mixed up.
    pub redirect_uri: String,
    /// Usually `openid email profile`; for GitHub `user:email`.
    pub scopes: String,
}

impl RelyingParty {
    /// Where to send the browser.
    pub fn authorization_url(
        &self,
        metadata: &ProviderMetadata,
        attempt: &LoginAttempt,
        login_hint: Option<&str>,
    ) -> Result<String, ClientError> {
        let verifier = verifier(attempt)?;
        // `max_age` makes the provider say in the ID token when it was, which `prompt` alone does not.
        let anew = attempt.since.map(|_| [("prompt", "login"), ("max_age", "0")]);
        let mut url = metadata.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &self.scopes)
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", verifier.challenge().as_str())
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(login_hint.map(|hint| ("login_hint", hint)))
            .extend_pairs(anew.into_iter().flatten());
        Ok(url.into())
    }

    /// Redeems the code.
    pub async fn exchange_code(
        &self,
        http: &Outbound,
        metadata: &ProviderMetadata,
        code: &str,
        attempt: &LoginAttempt,
    ) -> Result<TokenResponse, ClientError> {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
            #[serde(default)]
            error_description: String,
        }
        let verifier = verifier(attempt)?;
        let mut form = vec![
            ("grant_type", grant_types::AUTHORIZATION_CODE),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier.expose()),
        ];
        let mut request = http.post(metadata.token_endpoint.as_str());
        match &self.client_secret {
            Some(secret) if !metadata.wants_secret_in_form() => {
                let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encode(&self.client_id), encode(secret.expose_secret()));
                request = request.header("authorization", format!("Basic {}", STANDARD.encode(pair)));
            }
            secret => {
                form.push(("client_id", &self.client_id));
                form.extend(secret.as_ref().map(|secret| ("client_secret", secret.expose_secret())));
            }
        }
        let answer = http.send(request.form(&form)).await?;
        if answer.status.is_client_error()
            && let Ok(Refusal { error, error_description }) = answer.json()
        {
            return Err(ClientError::CodeRefused { code: error, description: error_description });
        }
        let tokens: TokenResponse = answer.ok()?.json()?;
        if !tokens.token_type.eq_ignore_ascii_case("bearer") {
            return Err(ClientError::TokenAnswer("a Bearer token"));
        }
        Ok(tokens)
    }

    /// Everything after the browser came back: checks the callback, redeems the code, validates the ID token and the age of
    /// the sign-in, and asks userinfo when the ID token has no address.
    pub async fn finish(
        &self,
        http: &Outbound,
        cache: &JwksCache,
        metadata: &ProviderMetadata,
        callback: &Callback,
        attempt: &LoginAttempt,
        now: i64,
    ) -> Result<Identity, ClientError> {
        let code = callback.code(attempt, metadata)?;
        let tokens = self.exchange_code(http, metadata, code, attempt).await?;
        let id_token = tokens.id_token.as_deref().ok_or(ClientError::TokenAnswer("an ID token"))?;
        let keys = cache.get(http, metadata, jwt::key_id(id_token)?.as_deref(), now).await?;
        let claims = validate_id_token(
            id_token,
            &keys,
            &IdTokenExpectation {
                issuer: &metadata.issuer,
                client_id: &self.client_id,
                nonce: &attempt.nonce,
                algorithms: &metadata.algorithms(),
                access_token: Some(&tokens.access_token),
                now,
            },
        )?;
        let auth_time = signed_in_at(claims.auth_time, attempt.since, now)?;
        if claims.email.is_some() || metadata.userinfo_endpoint.is_none() {
            return Ok(identity(claims, auth_time));
        }
        let info = UserInfo::fetch(http, metadata, &tokens.access_token, &claims.sub).await?;
        let UserInfo { sub: _, email, email_verified, name, picture } = info;
        let (name, picture) = (claims.name.or(name), claims.picture.or(picture));
        Ok(identity(IdTokenClaims { email, email_verified, name, picture, ..claims }, auth_time))
    }
}

/// When the person signed in there. A provider that was to have them do so anew and says that it did not is refused; one that
/// says nothing is believed.
fn signed_in_at(said: Option<i64>, since: Option<i64>, now: i64) -> Result<Option<i64>, ClientError> {
    match (said, since) {
        (Some(said), Some(since)) if said < since - SKEW => Err(ClientError::NotAnew),
        (said, since) => Ok(said.max(since).map(|at| at.min(now))),
    }
}

fn identity(claims: IdTokenClaims, auth_time: Option<i64>) -> Identity {
    Identity {
        issuer: claims.iss,
        subject: claims.sub,
        email_verified: claims.email.is_some() && claims.email_verified == Some(true),
        email: claims.email,
        name: claims.name,
        picture: claims.picture,
        auth_time,
    }
}

pub(super) fn verifier(attempt: &LoginAttempt) -> Result<CodeVerifier, ClientError> {
    CodeVerifier::parse(&attempt.code_verifier).map_err(|error| ClientError::BadCallback(error.to_string()))
}
