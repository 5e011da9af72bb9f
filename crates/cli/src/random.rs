//! Random text: state, code verifiers, idempotency keys, session marks.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Error, Kind, Result};

/// 43 characters of base64url: 256 random bits, and a valid PKCE code verifier (RFC 7636 section 4.1).
pub(crate) fn token() -> Result<String> {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes).map_err(|_| Error::new(Kind::Failure, "the system gives no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// SHA-256 of `text` in base64url; of a code verifier, its S256 challenge.
pub(crate) fn sha256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_rfc_7636_appendix_b() {
        assert_eq!(
            sha256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert_eq!(token().unwrap().len(), 43);
    }
}
