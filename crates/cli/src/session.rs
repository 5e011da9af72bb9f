//! Access tokens: kept while they live, renewed by one process at a time.

use crate::clock;
use crate::config::{ConfigFile, Session};
use crate::error::{Error, Kind, Result};
use crate::oauth::{self, CLIENT_ID, Tokens};
use crate::token::ApiToken;

/// An access token is renewed this long before it ends, in seconds.
const MARGIN: i64 = 30;

/// The session at one server, as the configuration file has it.
#[derive(Clone)]
pub(crate) struct Sessions {
    /// Where it is kept.
    pub(crate) file: ConfigFile,
    /// Whose it is.
    pub(crate) server: String,
    /// How to reach that.
    pub(crate) http: reqwest::Client,
    /// What is used in place of the session, if anything.
    pub(crate) token: Option<ApiToken>,
}

/// The session that `tokens` begin or, with the mark of the one before, go on.
pub(crate) fn session(tokens: Tokens, mark: String) -> Session {
    let expires_at = clock::now().plus_seconds(tokens.expires_in.max(0));
    Session { mark, access_token: tokens.access_token, refresh_token: tokens.refresh_token, expires_at }
}

fn fresh(session: &Session) -> bool {
    clock::now().plus_seconds(MARGIN) < session.expires_at
}

impl Sessions {
    /// The session as it is now, its access token perhaps too old.
    pub(crate) fn stored(&self) -> Result<Session> {
        let config = self.file.load()?;
        let session = config.servers.get(&self.server).and_then(|server| server.session.clone());
        session.ok_or_else(|| Error::not_signed_in(&self.server, format!("you are not signed in to {}", self.server)))
    }

    /// By what cached workspace tokens know whose they are.
    pub(crate) fn mark(&self) -> Result<String> {
        match &self.token {
            Some(token) => Ok(token.mark()),
            None => Ok(self.stored()?.mark),
        }
    }

    /// An access token that still lives, or the API token that takes its place.
    pub(crate) async fn access_token(&self) -> Result<String> {
        if let Some(token) = &self.token {
            return token.secret().map(str::to_owned);
        }
        let session = self.stored()?;
        if fresh(&session) { Ok(session.access_token) } else { self.renew(&session.access_token).await }
    }

    /// An access token other than `refused`. Refresh tokens are used up by using them, so only one process asks; the
    /// others, who waited for the lock, take what it got.
    pub(crate) async fn renew(&self, refused: &str) -> Result<String> {
        let lock = self.file.lock().await?;
        let session = self.stored()?;
        if session.access_token != refused && fresh(&session) {
            return Ok(session.access_token);
        }
        let ended = || Error::not_signed_in(&self.server, format!("your session at {} has ended", self.server));
        let Some(refresh_token) = session.refresh_token.as_deref() else { return Err(ended()) };
        let endpoints = oauth::discover(&self.http, &self.server).await?;
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("client_id", CLIENT_ID)];
        let answer = oauth::ask::<Tokens>(&self.http, &self.server, &endpoints.token_endpoint, &form).await?;
        let mut config = self.file.load()?;
        let server = config.servers.entry(self.server.clone()).or_default();
        match answer {
            Ok(mut tokens) => {
                tokens.refresh_token = tokens.refresh_token.or(session.refresh_token);
                let renewed = session_token(server, tokens, session.mark);
                self.file.store(&config, &lock)?;
                Ok(renewed)
            }
            Err(refusal) if refusal.error == "invalid_grant" => {
                server.session = None;
                self.file.store(&config, &lock)?;
                Err(ended())
            }
            Err(refusal) => Err(Error::new(Kind::Failure, format!("cannot renew the session: {}", refusal.sentence()))),
        }
    }
}

fn session_token(server: &mut crate::config::Server, tokens: Tokens, mark: String) -> String {
    let token = tokens.access_token.clone();
    server.session = Some(session(tokens, mark));
    token
}
