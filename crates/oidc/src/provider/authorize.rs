//! The authorisation request (RFC 6749 section 4.1.1, OpenID Connect Core 1.0 section 3.1.2.1).

use super::{ClaimsRequest, Client, CodeChallenge, OAuthError, OAuthErrorCode, PkceError, Scopes, append_query};
use crate::{Issuer, params::Params};

/// What the person is to be asked, whatever their session (OpenID Connect Core 1.0 section 3.1.2.1, `prompt`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Show nothing; answer `login_required` instead.
    pub none: bool,
    /// Sign in again.
    pub login: bool,
    /// Ask for consent.
    pub consent: bool,
    /// Let the person choose an account.
    pub select_account: bool,
}

/// A request that may be answered: the client is known, the redirect URI is its own, the rest is well-formed.
#[derive(Debug, Clone)]
pub struct AuthorizationRequest {
    /// The client.
    pub client_id: String,
    /// Where the answer goes. Store it with the code: the token request must repeat it.
    pub redirect_uri: String,
    /// To be returned unchanged.
    pub state: Option<String>,
    /// To be put into the ID token unchanged.
    pub nonce: Option<String>,
    /// What is asked for. Unknown scopes are still in it; see [`Scopes::limited_to`].
    pub scopes: Scopes,
    /// To be stored with the code and met by the verifier; only a client with a secret may leave it out.
    pub code_challenge: Option<CodeChallenge>,
    /// What to ask the person.
    pub prompt: Prompt,
    /// Sign in again if the last sign-in is longer ago than this many seconds; then `auth_time` is a must.
    pub max_age: Option<i64>,
    /// Whom the client expects; a suggestion only.
    pub login_hint: Option<String>,
    /// An earlier ID token; verify it before use ([`crate::keys::KeyRing::verify_hint`]).
    pub id_token_hint: Option<String>,
    /// Single claims that were asked for.
    pub claims: ClaimsRequest,
}

/// Why a request cannot be answered, and who is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// Client or redirect URI is wrong: show an error page with status 400. Redirecting would make us an open
    /// redirector (RFC 6749 section 4.1.2.1).
    #[error("{0}")]
    Show(OAuthError),
    /// The client is told: redirect the browser to `location`, which holds error, description, state and `iss`.
    #[error("{error}")]
    Redirect {
        /// The redirect URI with the error in its query.
        location: String,
        /// What it says.
        error: OAuthError,
    },
}

/// Parameters we ignore, which may nevertheless appear once at most (RFC 6749 section 3.1). The others are checked
/// where they are read.
const IGNORED: [&str; 4] = ["display", "ui_locales", "claims_locales", "acr_values"];

/// Bytes of what is only handed back: a browser carries the whole request while its person signs in.
const MOST_ECHOED: usize = 1024;

impl AuthorizationRequest {
    /// Reads and validates a raw query string (or the form body of a POST).
    pub fn parse(query: &str, issuer: &Issuer, clients: &[Client]) -> Result<Self, AuthorizationError> {
        let show = |description: &'static str| {
            AuthorizationError::Show(OAuthError::new(OAuthErrorCode::InvalidRequest, description))
        };
        let params = Params::parse(query).map_err(|error| AuthorizationError::Show(error.into()))?;
        let once = |name| params.one(name).map_err(|error| AuthorizationError::Show(error.into()));
        let client_id = once("client_id")?.ok_or_else(|| show("client_id is missing"))?;
        let client = clients
            .iter()
            .find(|client| client.id() == client_id)
            .ok_or_else(|| show("no client of that client_id is registered here"))?;
        let redirect_uri = once("redirect_uri")?.ok_or_else(|| show("redirect_uri is missing"))?;
        if !client.allows_redirect_to(redirect_uri) {
            return Err(show("redirect_uri is not registered for this client"));
        }
        // From here on the client can be told. A state that came twice is none.
        let state = params.one("state").ok().flatten();
        Self::parse_rest(&params, client, redirect_uri).map_err(|error| AuthorizationError::Redirect {
            location: error_location(redirect_uri, state, issuer, &error),
            error,
        })
    }

    fn parse_rest(params: &Params, client: &Client, redirect_uri: &str) -> Result<Self, OAuthError> {
        let error = |code, description: &'static str| OAuthError::new(code, description);
        let invalid = |description| error(OAuthErrorCode::InvalidRequest, description);
        let state = params.one("state")?;
        for name in IGNORED {
            params.one(name)?;
        }
        if params.one("request")?.is_some() {
            return Err(error(OAuthErrorCode::RequestNotSupported, "request objects are not supported"));
        }
        if params.one("request_uri")?.is_some() {
            return Err(error(OAuthErrorCode::RequestUriNotSupported, "request_uri is not supported"));
        }
        if params.one("registration")?.is_some() {
            return Err(error(OAuthErrorCode::RegistrationNotSupported, "registration is not supported"));
        }
        match params.one("response_type")? {
            Some("code") => {}
            None => return Err(invalid("response_type is missing")),
            Some(_) => return Err(error(OAuthErrorCode::UnsupportedResponseType, "response_type must be code")),
        }
        if params.one("response_mode")?.is_some_and(|mode| mode != "query") {
            return Err(invalid("response_mode must be query"));
        }
        let max_age = match params.one("max_age")?.map(str::parse::<u32>) {
            None => None,
            Some(Ok(seconds)) => Some(i64::from(seconds)),
            Some(Err(_)) => return Err(invalid("max_age must be a number of seconds")),
        };
        let nonce = params.one("nonce")?;
        let code_challenge = challenge(params, client, nonce.is_some())?;
        if [state, nonce].into_iter().flatten().any(|value| value.len() > MOST_ECHOED) {
            return Err(invalid("state and nonce must not be longer than 1024 bytes"));
        }
        let owned = |name| params.one(name).map(|value| value.map(str::to_owned));
        Ok(Self {
            client_id: client.id().to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            state: state.map(str::to_owned),
            nonce: nonce.map(str::to_owned),
            scopes: Scopes::parse(params.one("scope")?.unwrap_or_default())?,
            code_challenge,
            prompt: parse_prompt(params.one("prompt")?.unwrap_or_default())?,
            max_age,
            login_hint: owned("login_hint")?,
            id_token_hint: owned("id_token_hint")?,
            claims: params.one("claims")?.map(ClaimsRequest::parse).transpose()?.unwrap_or_default(),
        })
    }

    /// Where to send the browser with the code; includes `state` and `iss` (RFC 9207).
    pub fn success_location(&self, code: &str, issuer: &Issuer) -> String {
        let pairs = [("code", code)].into_iter().chain(self.state.as_deref().map(|state| ("state", state)));
        append_query(&self.redirect_uri, pairs.chain([("iss", issuer.as_str())]))
    }

    /// Where to send the browser when the answer is no: `access_denied`, `login_required` and the like.
    pub fn error_location(&self, error: &OAuthError, issuer: &Issuer) -> String {
        error_location(&self.redirect_uri, self.state.as_deref(), issuer, error)
    }
}

fn error_location(redirect_uri: &str, state: Option<&str>, issuer: &Issuer, error: &OAuthError) -> String {
    let pairs = [("error", error.code.as_str()), ("error_description", &error.description)];
    let pairs = pairs.into_iter().chain(state.map(|state| ("state", state)));
    append_query(redirect_uri, pairs.chain([("iss", issuer.as_str())]))
}

/// The challenge. A method without one is a mistake, not a request to go without.
fn challenge(params: &Params, client: &Client, has_nonce: bool) -> Result<Option<CodeChallenge>, OAuthError> {
    let invalid = |error: PkceError| OAuthError::new(OAuthErrorCode::InvalidRequest, error.to_string());
    match (params.one("code_challenge")?, params.one("code_challenge_method")?) {
        (None, None) if client.accepts_pkce(false, has_nonce) => Ok(None),
        (challenge, method) => CodeChallenge::parse(challenge, method).map(Some).map_err(invalid),
    }
}

fn parse_prompt(text: &str) -> Result<Prompt, OAuthError> {
    let mut prompt = Prompt::default();
    for value in text.split(' ').filter(|value| !value.is_empty()) {
        match value {
            "none" => prompt.none = true,
            "login" => prompt.login = true,
            "consent" => prompt.consent = true,
            "select_account" => prompt.select_account = true,
            _ => return Err(OAuthError::new(OAuthErrorCode::InvalidRequest, "prompt holds an unknown value")),
        }
    }
    if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
        return Err(OAuthError::new(OAuthErrorCode::InvalidRequest, "prompt=none excludes every other value"));
    }
    Ok(prompt)
}
