//! OpenID Connect as protocol, both ways: provider for the platform and the vClusters, client of external identity
//! providers.
//!
//! **Charter.** Parsing, deciding and encoding; nothing else. There is no server framework, no SQL and no clock in
//! here: `now` is an argument (seconds since 1970, UTC). Randomness is drawn in [`random`] and in
//! [`keys::SigningKey::generate`] only. HTTP is spoken in [`client`] only, through [`client::Outbound`].
//!
//! **Invariants**
//! - A token is accepted only when issuer, audience, type, algorithm, key, signature and times were all checked
//!   ([`jwt::verify`] has no "skip" switch, and an empty expectation accepts nothing).
//! - A token that names a `system:` identity or carries too many groups cannot be built ([`claims::WorkspaceClaims`]).
//! - A request to a provider goes to public addresses only, or as far as the operator says ([`client::Reach`]).
//! - A key signs only while the world is known to have fetched it ([`keys::KeyState`]).
//! - An error about the client or its redirect URI is never sent to that redirect URI ([`provider::AuthorizationError`]).
//!
//! ```text
//!  provider   query ─► AuthorizationRequest::parse ─► (caller: sign in, store hash_token(code)) ─► success_location
//!             form  ─► TokenRequest::parse ─► authenticate ─► (caller: redeem) ─► KeyRing::sign ─► TokenResponse
//!  client     LoginAttempt::start ─► authorization_url ─► callback ─► exchange_code ─► validate_id_token ─► Identity
//! ```
//!
//! **To add** a grant: a variant of [`provider::Grant`], its name in [`provider::grant_types`], its parameters in
//! `provider/token.rs`. A claim: the claims type in [`claims`] and the `claims_supported` list in
//! `provider/discovery.rs`. An algorithm: [`keys::Algorithm`] and the three matches the compiler then points at.

pub mod claims;
pub mod client;
mod issuer;
pub mod jwt;
pub mod keys;
mod params;
pub mod provider;
pub mod random;

pub use issuer::{Issuer, IssuerError};
pub use params::{ParamError, Params};
pub use random::{hash_token, hashes_match, opaque_token};
