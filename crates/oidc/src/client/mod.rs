//! The relying party's side: signing people in with somebody else's provider, by OpenID Connect or as GitHub has it.
//!
//! HTTP goes through [`Outbound`]: it connects to public addresses only, unless the operator says otherwise, follows no
//! redirect, and caps answers at 1 MB and 10 s.

mod error;
mod flow;
mod github;
mod id_token;
mod jwks;
mod metadata;
mod outbound;
mod userinfo;

pub use error::{ClientError, Fault};
pub use flow::{Callback, Identity, LoginAttempt, RelyingParty};
pub use github::GitHub;
pub use id_token::{IdTokenExpectation, validate_id_token};
pub use jwks::JwksCache;
pub use metadata::ProviderMetadata;
pub use outbound::{Outbound, Reach, is_public};
pub use userinfo::UserInfo;
