//! The provider's side: what comes in is parsed into types, what goes out is built from them.
//!
//! Nothing here remembers anything: codes, refresh tokens, device codes and sessions live with the caller, who stores
//! their [`crate::hash_token`] and redeems them once, under a row lock.

mod authorize;
mod bearer;
mod claims_request;
mod client;
mod client_auth;
mod device;
mod discovery;
mod end_session;
mod error;
mod introspect;
mod pkce;
mod redirect;
mod scope;
mod token;

pub use authorize::{AuthorizationError, AuthorizationRequest, Prompt};
pub use bearer::bearer_token;
pub use claims_request::ClaimsRequest;
pub use client::{Client, ClientError, Pkce};
pub use client_auth::ClientCredentials;
pub use device::{DeviceAuthorizationRequest, DeviceAuthorizationResponse, UserCode, UserCodeError};
pub use discovery::{DiscoveryDocument, ProviderFeatures, paths};
pub use end_session::EndSessionRequest;
pub use error::{OAuthError, OAuthErrorCode};
pub use introspect::{Inquirer, IntrospectionRequest, IntrospectionResponse, RevocationRequest};
pub use pkce::{CodeChallenge, CodeVerifier, PkceError};
pub use redirect::{RedirectUri, RedirectUriError, append_query, native_target};
pub use scope::Scopes;
pub use token::{Grant, TokenExchange, TokenRequest, TokenResponse, grant_types, token_types};
