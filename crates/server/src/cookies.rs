//! Sealing what a browser carries for us, so that it can neither read nor change it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hexabase_backends::seal::{Place, SealError, Sealer};

/// Seals and opens cookie values.
#[derive(Debug)]
pub struct Cookies(Sealer);

/// A value that this server, or one with the same master key, did not seal for this purpose.
#[derive(Debug, thiserror::Error)]
#[error("the cookie was not made by this server")]
pub struct ForeignCookie;

impl Cookies {
    /// Seals under the master key behind `sealer`.
    pub fn new(sealer: Sealer) -> Self {
        Self(sealer)
    }

    /// A cookie value that holds `plain`.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<String, SealError> {
        Ok(URL_SAFE_NO_PAD.encode(self.0.seal(Place { purpose, row: "cookie" }, plain)?))
    }

    /// What a cookie value holds.
    ///
    /// # Errors
    /// It was not sealed here for this purpose.
    pub fn open(&self, purpose: &str, value: &str) -> Result<Vec<u8>, ForeignCookie> {
        let sealed = URL_SAFE_NO_PAD.decode(value).map_err(|_| ForeignCookie)?;
        self.0.open(Place { purpose, row: "cookie" }, &sealed).map(|plain| plain.to_vec()).map_err(|_| ForeignCookie)
    }
}
