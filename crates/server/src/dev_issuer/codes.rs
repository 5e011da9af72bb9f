//! Authorisation codes, in memory: bounded, single use, 60 seconds.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use hexabase_oidc::{
    hash_token, opaque_token,
    provider::{AuthorizationRequest, Grant, OAuthError, OAuthErrorCode},
};

use super::DevIdentity;

const LIFE: i64 = 60;
const MAX: usize = 1000;

/// What a code stands for.
pub(super) struct Issued {
    pub(super) request: AuthorizationRequest,
    pub(super) identity: DevIdentity,
    pub(super) signed_in_at: i64,
}

/// The codes that have not been redeemed, by hash.
#[derive(Default)]
pub(super) struct Codes(Mutex<HashMap<String, Issued>>);

impl Codes {
    pub(super) fn issue(&self, issued: Issued) -> Result<String, OAuthError> {
        let code = opaque_token("dev_")?;
        let now = issued.signed_in_at;
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, code| now < code.signed_in_at + LIFE);
        if codes.len() >= MAX {
            return Err(OAuthError::new(OAuthErrorCode::TemporarilyUnavailable, "too many sign-ins at once"));
        }
        codes.insert(hash_token(&code), issued);
        Ok(code)
    }

    /// Takes the code out, whatever comes of it, and checks everything it was bound to.
    pub(super) fn redeem(&self, client_id: &str, grant: &Grant, now: i64) -> Result<Issued, OAuthError> {
        use secrecy::ExposeSecret;
        let Grant::AuthorizationCode { code, redirect_uri, code_verifier } = grant else {
            let code = OAuthErrorCode::UnsupportedGrantType;
            return Err(OAuthError::new(code, "the development issuer redeems authorization codes only"));
        };
        let hash = hash_token(code.expose_secret());
        let issued = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
        let bad = |description| OAuthError::new(OAuthErrorCode::InvalidGrant, description);
        let issued = issued.ok_or_else(|| bad("the code is unknown or was used before"))?;
        if now >= issued.signed_in_at + LIFE {
            return Err(bad("the code has expired"));
        }
        if issued.request.client_id != client_id || issued.request.redirect_uri != *redirect_uri {
            return Err(bad("the code was issued to another client or redirect_uri"));
        }
        let met = issued.request.code_challenge.as_ref().zip(code_verifier.as_ref());
        if !met.is_some_and(|(challenge, verifier)| challenge.is_met_by(verifier)) {
            return Err(bad("code_verifier does not meet the code_challenge"));
        }
        Ok(issued)
    }
}
