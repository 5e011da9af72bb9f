//! Which headers cross the gateway. Everything that could claim an identity, belong to one connection only, or act on the
//! platform's own origin stays behind; the rest passes untouched.

use http::header::{
    ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, LOCATION, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
    UPGRADE, WARNING,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::status::Failure;

/// Of one connection, not of the message (RFC 9110, 7.6.1, and what older software adds).
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// Names (lower-case, every separator a hyphen) with which some server somewhere takes over an identity, an address, a
/// path or a method.
const IDENTITY: [&str; 19] = [
    "cookie",
    "cookie2",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "proxy",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

const IDENTITY_PREFIXES: [&str; 6] =
    ["impersonate", "x-remote", "x-forwarded-", "proxy-", "x-original-", "x-impersonate"];

/// A protocol a request asks to switch to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// RFC 6455, with the `*.channel.k8s.io` sub-protocols.
    WebSocket,
    /// SPDY/3.1, of kubectl before 1.31 and port-forward.
    Spdy,
}

impl Upgrade {
    /// The protocol as the `Upgrade` header names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Spdy => "SPDY/3.1",
        }
    }

    /// The protocol this request asks for. Others, such as `h2c`, are ignored as RFC 9110 allows, and not forwarded.
    pub(super) fn asked(method: &Method, version: Version, headers: &HeaderMap) -> Result<Option<Self>, Failure> {
        let named = connection_names(headers).any(|name| name == UPGRADE.as_str());
        if version != Version::HTTP_11 || !named {
            return Ok(None);
        }
        let Some(upgrade) = Self::read(headers) else { return Ok(None) };
        let allowed = match upgrade {
            Self::WebSocket => *method == Method::GET,
            Self::Spdy => matches!(*method, Method::GET | Method::POST),
        };
        let body = headers.contains_key("transfer-encoding")
            || headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0");
        if !allowed || body {
            return Err(Failure::bad_request("a request to switch protocols must be a GET or POST without a body"));
        }
        Ok(Some(upgrade))
    }

    /// The one protocol the `Upgrade` header names.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(UPGRADE).iter();
        let name = values.next()?.as_bytes().trim_ascii();
        let known = [Self::WebSocket, Self::Spdy];
        let found = known.into_iter().find(|known| name.eq_ignore_ascii_case(known.name().as_bytes()));
        found.filter(|_| values.next().is_none())
    }

    /// Marks a message, cleaned before, as one that switches protocols.
    pub(super) fn mark(self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(self.name()));
    }
}

/// The names listed in `Connection`, lower-case.
fn connection_names(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase())
}

/// `name` as the most lenient reader would see it: `_Impersonate_User` is `impersonate-user`.
fn normalised(name: &HeaderName) -> String {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '-' };
    name.as_str().bytes().map(plain).collect::<String>().trim_matches('-').to_owned()
}

fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

fn claims_identity(name: &str) -> bool {
    IDENTITY.contains(&name) || IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Refuses a request that names several hosts: whoever stands in front of this server may have gone by another one.
pub(super) fn one_host(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get_all(HOST).iter().nth(1) {
        None => Ok(()),
        Some(_) => Err(Failure::bad_request("the request has more than one Host header")),
    }
}

/// Refuses a request made as somebody else. Taking the wish away in silence would let the caller act as themselves where they
/// meant to act as one who may less.
pub(super) fn refuse_impersonation(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.keys().any(|name| normalised(name).starts_with("impersonate")) {
        false => Ok(()),
        true => Err(Failure::forbidden(
            "nobody acts as somebody else through this gateway: leave out --as, --as-group and --as-uid (the Impersonate-* \
             headers), or ask `hxb access explain` what the other person may do",
        )),
    }
}

fn remove_where(headers: &mut HeaderMap, remove: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| remove(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Leaves what a tenant may see of a request, with `authorization` as its only credential.
pub(super) fn clean_request(headers: &mut HeaderMap, authorization: HeaderValue) {
    let named: Vec<String> = connection_names(headers).collect();
    remove_where(headers, |name| {
        let lenient = normalised(name);
        named.iter().any(|named| named == name.as_str())
            || is_hop_by_hop(&lenient)
            || claims_identity(&lenient)
            // Set by the connection to the tenant, from what really happens there.
            || [HOST, CONTENT_LENGTH, EXPECT, AUTHORIZATION].contains(name)
            || lenient == AUTHORIZATION.as_str()
    });
    // Last, so that `Connection: authorization` cannot turn the caller into an anonymous one.
    headers.insert(AUTHORIZATION, authorization);
}

/// Leaves what a caller may see of an answer of the tenant; `workspace` is the text the caller named it by.
pub(super) fn clean_response(headers: &mut HeaderMap, workspace: &str) {
    let named: Vec<String> = connection_names(headers).collect();
    remove_where(headers, |name| {
        // A tenant must not set cookies or policies on the platform's own origin.
        let origin = [SET_COOKIE, ALT_SVC, STRICT_TRANSPORT_SECURITY].contains(name)
            || matches!(name.as_str(), "set-cookie2" | "clear-site-data" | "service-worker-allowed");
        let framing = name == CONTENT_LENGTH;
        origin || is_hop_by_hop(name.as_str()) || (!framing && named.iter().any(|named| named == name.as_str()))
    });
    if let Some(moved) = headers.get(LOCATION).and_then(|location| below(location, workspace)) {
        headers.insert(LOCATION, moved);
    }
}

/// Adds a sentence, without quotes in it, that kubectl prints beside the answer.
pub(super) fn add_warning(headers: &mut HeaderMap, sentence: &str) {
    if let Ok(warning) = HeaderValue::try_from(format!("299 - \"{sentence}\"")) {
        headers.append(WARNING, warning);
    }
}

/// A redirect within the tenant, as seen from outside.
fn below(location: &HeaderValue, workspace: &str) -> Option<HeaderValue> {
    let path = location.to_str().ok().filter(|path| path.starts_with('/') && !path.starts_with("//"))?;
    HeaderValue::try_from(format!("/k8s/{workspace}{path}")).ok()
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
