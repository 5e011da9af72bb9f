//! A whole platform in this process, and the people who use it.

mod answers;
mod configuration;
mod person;
mod platform;
mod time;
mod tokens;

pub(crate) use self::answers::{body, changed, items, oauth_error, problem, text};
pub(crate) use self::person::{Person, shop};
pub(crate) use self::platform::Platform;
pub(crate) use self::time::{pass, soon};
pub(crate) use self::tokens::{SECRET, WEB_REDIRECT_URI, broken, claims, exchange, refresh, revoke, web_client};

pub(crate) const SESSION_COOKIE: &str = "__Host-hexabase_session";
pub(crate) const ATTEMPT_COOKIE: &str = "__Host-hexabase_attempt";
/// The host of every platform here, for cookies.
pub(crate) const HOST: &str = "localhost";
