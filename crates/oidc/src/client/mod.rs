//! The relying party's side: signing people in with somebody else's provider.
//!
//! HTTP goes through the [`reqwest::Client`] handed in: build it with [`http_client`], or with
//! [`http_client_builder`] where the platform's own rules for outgoing requests must be added. Whatever it is, answers
//! are capped at 1 MB, every request has a timeout, and an answer that arrives from another URL than the one asked is
//! refused, so a client that follows redirects does not weaken anything.

mod error;
mod flow;
mod http;
mod id_token;
mod jwks;
mod metadata;
mod userinfo;

pub use error::ClientError;
pub use flow::{Callback, Identity, LoginAttempt, RelyingParty};
pub use http::{http_client, http_client_builder};
pub use id_token::{IdTokenExpectation, validate_id_token};
pub use jwks::JwksCache;
pub use metadata::ProviderMetadata;
pub use userinfo::UserInfo;
