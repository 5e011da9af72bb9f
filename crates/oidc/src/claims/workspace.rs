//! The token a workspace's Kubernetes API server believes.

use serde::{Deserialize, Serialize};

use super::{ClaimsError, TokenUse, check_not_empty, check_subject};
use crate::Issuer;

/// The most groups one token may carry.
pub const MAX_GROUPS: usize = 200;
/// The most bytes all group names of one token may have together.
pub const MAX_GROUP_BYTES: usize = 8 * 1024;
/// The longest life of a workspace token, seconds.
pub const MAX_WORKSPACE_TOKEN_LIFE: i64 = 600;

/// What a workspace token is to say; [`WorkspaceClaims::new`] decides whether it may.
#[derive(Debug, Clone)]
pub struct WorkspaceGrant<'a> {
    /// The workspace's own issuer.
    pub issuer: &'a Issuer,
    /// The user's opaque, never reused id. Never a name or an address.
    pub subject: &'a str,
    /// The workspace's own audience: exactly one.
    pub audience: &'a str,
    /// The workspace id; the tenant's API server compares it (CEL).
    pub workspace: &'a str,
    /// The signed-in browser or device the token is for: when that ends, the gateway refuses the token.
    pub session: &'a str,
    /// The user's groups in *this* workspace, computed by the server.
    pub groups: Vec<String>,
    /// Display only; arrives in Kubernetes as `extra`.
    pub email: Option<String>,
    /// Display only.
    pub name: Option<String>,
    /// The client it is issued to.
    pub client: Option<&'a str>,
    /// What an ID token says beside; nothing for an access token.
    pub sign_in: WorkspaceSignIn,
    /// Seconds since 1970.
    pub now: i64,
    /// Seconds the token lives, 1 to [`MAX_WORKSPACE_TOKEN_LIFE`].
    pub life: i64,
    /// Unique id, for example [`crate::random::random_id`].
    pub jti: String,
}

/// What makes a workspace token an ID token of the client that is called like the workspace (OpenID Connect Core 1.0
/// section 2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceSignIn {
    /// The nonce of the authorisation request, unchanged.
    pub nonce: Option<String>,
    /// When the person signed in, seconds since 1970.
    pub auth_time: Option<i64>,
    /// Left half of the access token's hash.
    pub at_hash: Option<String>,
}

/// The claims of a workspace token. Reading one checks what building one checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct WorkspaceClaims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: String,
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    azp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_hash: Option<String>,
    sid: String,
    ws: String,
    token_use: TokenUse,
}

impl WorkspaceClaims {
    /// Refuses what a tenant's API server must never be told: an empty or `system:` subject, a group that is not plain
    /// ASCII or begins with `system`, more than 200 groups or 8 KB of them, a life of more than 600 s. Groups come out
    /// sorted and without repetition.
    pub fn new(grant: WorkspaceGrant<'_>) -> Result<Self, ClaimsError> {
        let WorkspaceGrant {
            issuer,
            subject,
            audience,
            workspace,
            session,
            mut groups,
            email,
            name,
            client,
            sign_in: WorkspaceSignIn { nonce, auth_time, at_hash },
            now,
            life,
            jti,
        } = grant;
        groups.sort();
        groups.dedup();
        let claims = Self {
            iss: issuer.as_str().to_owned(),
            sub: subject.to_owned(),
            aud: audience.to_owned(),
            exp: now.saturating_add(life),
            iat: now,
            nbf: now,
            jti,
            groups,
            email,
            name,
            azp: client.map(str::to_owned),
            nonce,
            auth_time,
            at_hash,
            sid: session.to_owned(),
            ws: workspace.to_owned(),
            token_use: TokenUse::Workspace,
        };
        claims.check()?;
        Ok(claims)
    }

    fn check(&self) -> Result<(), ClaimsError> {
        check_subject(&self.sub)?;
        check_not_empty(&self.aud, "aud")?;
        check_not_empty(&self.ws, "ws")?;
        check_not_empty(&self.jti, "jti")?;
        check_not_empty(&self.sid, "sid")?;
        if self.groups.len() > MAX_GROUPS || self.groups.iter().map(String::len).sum::<usize>() > MAX_GROUP_BYTES {
            return Err(ClaimsError::TooManyGroups);
        }
        for group in &self.groups {
            if group.trim_start().get(..6).is_some_and(|start| start.eq_ignore_ascii_case("system")) {
                return Err(ClaimsError::Reserved);
            }
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            let begins = group.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
            if !begins || group.len() > 63 || !group.bytes().all(plain) {
                return Err(ClaimsError::Group);
            }
        }
        let life = self.exp.checked_sub(self.iat).ok_or(ClaimsError::Life)?;
        // One instant, so that an API server that looks at `nbf` alone refuses a token from the future all the same.
        if !(1..=MAX_WORKSPACE_TOKEN_LIFE).contains(&life) || self.nbf != self.iat {
            return Err(ClaimsError::Life);
        }
        Ok(())
    }

    /// The issuer of the workspace.
    pub fn issuer(&self) -> &str {
        &self.iss
    }

    /// The user's opaque id.
    pub fn subject(&self) -> &str {
        &self.sub
    }

    /// The workspace id.
    pub fn workspace(&self) -> &str {
        &self.ws
    }

    /// The signed-in browser or device.
    pub fn session(&self) -> &str {
        &self.sid
    }

    /// The groups, sorted.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The address, for display.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The client it was issued to, where it says so.
    pub fn client_id(&self) -> Option<&str> {
        self.azp.as_deref()
    }

    /// When it was made, seconds since 1970.
    pub fn issued_at(&self) -> i64 {
        self.iat
    }

    /// When it ends, seconds since 1970.
    pub fn expires_at(&self) -> i64 {
        self.exp
    }

    /// The token's unique id.
    pub fn jti(&self) -> &str {
        &self.jti
    }
}

#[derive(Deserialize)]
struct Raw {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: String,
    groups: Vec<String>,
    email: Option<String>,
    name: Option<String>,
    azp: Option<String>,
    nonce: Option<String>,
    auth_time: Option<i64>,
    at_hash: Option<String>,
    sid: String,
    ws: String,
    token_use: TokenUse,
}

impl TryFrom<Raw> for WorkspaceClaims {
    type Error = ClaimsError;
    fn try_from(raw: Raw) -> Result<Self, ClaimsError> {
        if raw.token_use != TokenUse::Workspace {
            return Err(ClaimsError::TokenUse);
        }
        let Raw { iss, sub, aud, exp, iat, nbf, jti, groups, email, name, azp, nonce, auth_time, at_hash, .. } = raw;
        let Raw { sid, ws, token_use, .. } = raw;
        let claims = Self {
            iss,
            sub,
            aud,
            exp,
            iat,
            nbf,
            jti,
            groups,
            email,
            name,
            azp,
            nonce,
            auth_time,
            at_hash,
            sid,
            ws,
            token_use,
        };
        claims.check()?;
        Ok(claims)
    }
}
