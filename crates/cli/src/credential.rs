//! kubectl's credentials: workspace tokens, exchanged for the session's own token (RFC 8693) and kept while they live.

use hexabase_core::ids::WorkspaceId;
use hexabase_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Kind, Result};
use crate::oauth::{self, CLIENT_ID, Refusal};
use crate::session::Sessions;
use crate::token::ApiToken;
use crate::{clock, files};

/// kubectl asks again this long before the token's end, in seconds; a quarter of its life when that is less.
const MARGIN: i64 = 30;

/// A token for one workspace. Has no `Debug`: it holds a secret.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct WorkspaceToken {
    mark: String,
    token: String,
    use_until: Timestamp,
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
    expires_in: i64,
}

impl WorkspaceToken {
    fn new(mark: &str, token: String, expires_in: i64, now: Timestamp) -> Self {
        let life = expires_in.max(0);
        Self { mark: mark.to_owned(), token, use_until: now.plus_seconds(life - MARGIN.min(life / 4)) }
    }

    fn usable(&self, mark: &str, now: Timestamp) -> bool {
        self.mark == mark && now < self.use_until
    }

    /// The `ExecCredential` that client-go reads (`client.authentication.k8s.io/v1`).
    pub(crate) fn exec_credential(&self) -> Value {
        let until = Timestamp::from_seconds(self.use_until.as_seconds());
        json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "spec": { "interactive": false },
            "status": { "expirationTimestamp": until.to_string(), "token": self.token },
        })
    }
}

/// A token for `workspace`: the kept one, or a new one. Of processes that ask at once, one exchanges.
pub(crate) async fn workspace_token(sessions: &Sessions, workspace: &WorkspaceId) -> Result<WorkspaceToken> {
    let mark = sessions.mark()?;
    let path = sessions.file.tokens_folder(&sessions.server).join(format!("{workspace}.json"));
    let kept = || -> Result<Option<WorkspaceToken>> {
        // A damaged cache is no cache.
        let kept = files::read(&path)?.and_then(|text| serde_json::from_str::<WorkspaceToken>(&text).ok());
        Ok(kept.filter(|kept| kept.usable(&mark, clock::now())))
    };
    if let Some(token) = kept()? {
        return Ok(token);
    }
    let _lock = files::lock(&path).await?;
    if let Some(token) = kept()? {
        return Ok(token);
    }
    let subject = sessions.access_token().await?;
    let exchanged = match exchange(sessions, workspace, &subject).await? {
        Ok(exchanged) => exchanged,
        Err(refusal) if refusal.error == "invalid_grant" && sessions.token.is_some() => {
            let hint = sessions.token.as_ref().map(ApiToken::hint).unwrap_or_default();
            return Err(Error::new(Kind::NotSignedIn, refusal.sentence()).hint(hint));
        }
        Err(refusal) if sessions.token.is_some() => return Err(refused(workspace, &refusal)),
        // The subject token may have been revoked, or the server's keys changed: once more with a new one.
        Err(refusal) if ["invalid_grant", "invalid_request", "invalid_token"].contains(&refusal.error.as_str()) => {
            let subject = sessions.renew(&subject).await?;
            exchange(sessions, workspace, &subject).await?.map_err(|refusal| refused(workspace, &refusal))?
        }
        Err(refusal) => return Err(refused(workspace, &refusal)),
    };
    let token = WorkspaceToken::new(&mark, exchanged.access_token, exchanged.expires_in, clock::now());
    let text = serde_json::to_string(&token)
        .map_err(|error| Error::new(Kind::Failure, "cannot keep the token").because(error))?;
    files::replace_private(&path, &text)?;
    Ok(token)
}

async fn exchange(sessions: &Sessions, workspace: &WorkspaceId, subject: &str) -> Result<Result<Exchanged, Refusal>> {
    let endpoint = format!("{}/oidc/{workspace}/token", sessions.server);
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", CLIENT_ID),
        ("subject_token", subject),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    oauth::ask(&sessions.http, &sessions.server, &endpoint, &form).await.map_err(|error| match error.kind() {
        Kind::NotFound => {
            Error::new(Kind::NotFound, format!("workspace {workspace} does not exist, or you have no access to it"))
                .hint("see what you can use with: hxb workspace list")
                .because(error)
        }
        _ => error,
    })
}

fn refused(workspace: &WorkspaceId, refusal: &Refusal) -> Error {
    Error::new(Kind::Refused, format!("no token for workspace {workspace}: {}", refusal.sentence()))
        .hint("see what you can use with: hxb workspace list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_is_told_to_ask_again_before_the_token_ends() {
        let now = Timestamp::from_seconds(1_790_000_000);
        let token = WorkspaceToken::new("M", "T".to_owned(), 600, now);
        assert_eq!(
            token.exec_credential(),
            json!({
                "apiVersion": "client.authentication.k8s.io/v1",
                "kind": "ExecCredential",
                "spec": { "interactive": false },
                "status": { "expirationTimestamp": "2026-09-21T14:22:50Z", "token": "T" },
            })
        );
        let short = WorkspaceToken::new("M", "T".to_owned(), 20, now);
        assert_eq!(short.use_until, now.plus_seconds(15));
    }

    #[test]
    fn a_kept_token_serves_its_own_session_only_and_only_while_it_lives() {
        let now = Timestamp::from_seconds(1_790_000_000);
        let token = WorkspaceToken::new("M", "T".to_owned(), 600, now);
        assert!(token.usable("M", now.plus_seconds(569)));
        assert!(!token.usable("M", now.plus_seconds(570)));
        assert!(!token.usable("other", now));
    }
}
