//! Signing in and out.

use std::time::Duration;

use url::Url;

use crate::callback::Callback;
use crate::config::ConfigFile;
use crate::error::{Error, Kind, Result};
use crate::oauth::{self, CLIENT_ID, Endpoints, SCOPE, Tokens};
use crate::output::say;
use crate::session::{self, Sessions};
use crate::{device, random};

const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How the user gets to the sign-in page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A browser of this machine, opened by us.
    Browser,
    /// A browser of this machine, opened by the user.
    Address,
    /// Any device.
    Device,
}

/// Signs in and keeps the session, replacing one that was there.
pub(crate) async fn sign_in(sessions: &Sessions, certificate_authority: Option<String>, way: Way) -> Result<()> {
    let Sessions { file, server, http, .. } = sessions;
    let endpoints = oauth::discover(http, server).await?;
    let tokens = match way {
        Way::Device => device::sign_in(http, server, &endpoints).await?,
        Way::Browser | Way::Address => {
            let signing_in = code_flow(http, server, &endpoints, way == Way::Browser);
            let waited = tokio::time::timeout(PATIENCE, signing_in).await;
            waited.map_err(|_| {
                Error::new(Kind::TimedOut, "nobody signed in within ten minutes").hint("run: hxb login")
            })??
        }
    };
    let session = session::session(tokens, random::token()?);
    let before = file
        .update(|config| {
            let entry = config.servers.entry(server.clone()).or_default();
            entry.certificate_authority = certificate_authority;
            config.current = Some(server.clone());
            entry.session.replace(session)
        })
        .await?;
    forget_workspace_tokens(file, server);
    if let (Some(token), Some(endpoint)) =
        (before.and_then(|session| session.refresh_token), &endpoints.revocation_endpoint)
    {
        // The session that was replaced is of no use to anybody; it ends by itself if this fails.
        let _ = oauth::revoke(http, server, endpoint, &token).await;
    }
    Ok(())
}

/// The authorization code flow with PKCE (RFC 7636, RFC 8252).
async fn code_flow(http: &reqwest::Client, server: &str, endpoints: &Endpoints, open: bool) -> Result<Tokens> {
    let callback = Callback::bind().await?;
    let (state, verifier) = (random::token()?, random::token()?);
    let mut address =
        Url::parse(&endpoints.authorization_endpoint).map_err(|error| crate::http::not_understood(server, error))?;
    address.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", callback.redirect_uri()),
        ("scope", SCOPE),
        ("state", &state),
        ("code_challenge", &random::sha256(&verifier)),
        ("code_challenge_method", "S256"),
    ]);
    say(&format!("Open this address to sign in: {address}"));
    if open && open::that_detached(address.as_str()).is_err() {
        say("No browser could be opened here. On a machine without one, use: hxb login --device");
    }
    let code = callback.code(&state, &endpoints.issuer).await?;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", callback.redirect_uri()),
        ("client_id", CLIENT_ID),
        ("code_verifier", &verifier),
    ];
    let answer = oauth::ask::<Tokens>(http, server, &endpoints.token_endpoint, &form).await?;
    answer.map_err(|refusal| Error::not_signed_in(server, format!("sign-in failed: {}", refusal.sentence())))
}

/// Ends the session here, and at the server if that can be reached. `false` when there was none.
pub(crate) async fn sign_out(sessions: &Sessions) -> Result<bool> {
    let Sessions { file, server, http, .. } = sessions;
    let session = file.update(|config| config.servers.get_mut(server).and_then(|entry| entry.session.take())).await?;
    forget_workspace_tokens(file, server);
    let Some(session) = session else { return Ok(false) };
    if let Some(token) = &session.refresh_token {
        let endpoints = oauth::discover(http, server).await.map_err(kept)?;
        if let Some(endpoint) = &endpoints.revocation_endpoint {
            oauth::revoke(http, server, endpoint, token).await.map_err(kept)?;
        }
    }
    Ok(true)
}

fn kept(error: Error) -> Error {
    Error::new(Kind::Failure, "you are signed out here, but the server could not be told")
        .hint("the server ends the session by itself once it has not been used for 30 days")
        .because(error)
}

fn forget_workspace_tokens(file: &ConfigFile, server: &str) {
    // Tokens of another session are not used even if they stay; removing them is tidiness.
    let _ = std::fs::remove_dir_all(file.tokens_folder(server));
}
