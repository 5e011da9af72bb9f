//! The request line: which workspace, and what its API server is asked, byte for byte.
//!
//! A path is refused rather than repaired: two programs read it (this one and the tenant's), and every form on which two
//! programs may differ is one an attacker can use.

use http::uri::PathAndQuery;
use http::{Method, Uri, Version};

use super::ServiceAccount;
use super::status::Failure;

const PREFIX: &str = "/k8s/";
const MAX_WORKSPACE: usize = 128;
/// How often an escape may itself be escaped before the path is refused.
const MAX_LAYERS: usize = 4;

/// A request line that may be forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The text that names the workspace.
    pub(super) workspace: String,
    /// Path and query for the API server.
    pub(super) upstream: PathAndQuery,
    /// Whether the answer may take for ever: a watch, logs, exec, attach, port-forward, proxy.
    pub(super) long: bool,
    /// The ServiceAccount of which a good answer is a token.
    pub(super) token_of: Option<ServiceAccount>,
}

/// Reads the request line.
pub(super) fn target(method: &Method, uri: &Uri, version: Version) -> Result<Target, Failure> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Failure::method_not_allowed(format!("the method {method} is not available here")));
    }
    // In HTTP/2 every request names scheme and authority, in pseudo-headers.
    let absolute = uri.scheme().is_some() || uri.authority().is_some();
    if absolute && version <= Version::HTTP_11 {
        return Err(Failure::bad_request("the request target must be a path, not an absolute URL"));
    }
    let raw = uri.path_and_query().map_or("", PathAndQuery::as_str);
    split(raw).map_err(|reason| Failure::bad_request(format!("the request path is refused: {reason}")))
}

fn split(raw: &str) -> Result<Target, &'static str> {
    if raw.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err("it holds characters that must be percent-encoded");
    }
    if raw.contains('#') {
        return Err("it holds a fragment");
    }
    let (path, query) = raw.split_once('?').map_or((raw, None), |(path, query)| (path, Some(query)));
    let rest = path.strip_prefix(PREFIX).ok_or("it does not name a workspace, as in /k8s/<workspace>/api")?;
    let (workspace, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let named = workspace.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if workspace.is_empty() || workspace.len() > MAX_WORKSPACE || !named {
        return Err("it does not name a workspace, as in /k8s/<workspace>/api");
    }
    let decoded = check(path)?;
    let upstream = match query {
        Some(query) => format!("{path}?{query}").parse(),
        None => path.parse(),
    };
    Ok(Target {
        workspace: workspace.to_owned(),
        upstream: upstream.map_err(|_| "it is not a valid path")?,
        long: is_long(&decoded, query),
        token_of: token_of(&decoded),
    })
}

/// Checks `path`, which starts with a slash, as written and as any number of decodings would read it; gives it as it reads when
/// nothing is left to decode.
fn check(path: &str) -> Result<String, &'static str> {
    if !escapes_are_complete(path) {
        return Err("a percent sign is not followed by two hexadecimal digits");
    }
    let mut layer = path.as_bytes().to_vec();
    for depth in 0..=MAX_LAYERS {
        check_layer(&layer, depth)?;
        let next = decode(&layer);
        if next == layer {
            return Ok(String::from_utf8_lossy(&layer).into_owned());
        }
        let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| matches!(byte, b'/' | b'\\')).count();
        if slashes(&next) != slashes(&layer) {
            return Err("it holds an encoded slash or backslash");
        }
        layer = next;
    }
    Err("it is percent-encoded too many times")
}

fn check_layer(path: &[u8], depth: usize) -> Result<(), &'static str> {
    if std::str::from_utf8(path).is_err() {
        return Err("it is not UTF-8");
    }
    if path.iter().any(u8::is_ascii_control) {
        return Err("it holds a control character");
    }
    if path.contains(&b'\\') {
        return Err("it holds a backslash");
    }
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    for (index, segment) in segments.iter().enumerate() {
        if segment.is_empty() && index != last && depth == 0 {
            return Err("it holds an empty segment");
        }
        // Some servers cut parameters (`..;x`) or white space off a segment before they resolve it.
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if name == b"." || name == b".." {
            return Err("it holds a . or .. segment");
        }
    }
    Ok(())
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
}

fn escapes_are_complete(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte != b'%' || (hex(bytes.get(at + 1)).is_some() && hex(bytes.get(at + 2)).is_some()))
}

/// `bytes` with each complete escape replaced once; incomplete ones stand for themselves.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (*byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// What the API server itself counts as long-running, of a decoded path. Decides time limits, the share of streams, and for
/// how long roles are looked at again.
fn is_long(path: &str, query: Option<&str>) -> bool {
    let watches = query.is_some_and(|query| {
        url::form_urlencoded::parse(query.as_bytes())
            .any(|(key, value)| key == "watch" && value != "0" && !value.eq_ignore_ascii_case("false"))
    });
    if watches {
        return true;
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let resources = match segments.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => return false,
    };
    let resources = match resources {
        ["watch" | "proxy", ..] => return true,
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    matches!(resources.get(2), Some(&("exec" | "attach" | "portforward" | "log" | "proxy")))
}

/// Whether a decoded path is the one at which the API server makes tokens. The query has no say: a dry run gives a good token
/// as well. Like the API server, this takes no notice of a slash at the end.
fn token_of(decoded: &str) -> Option<ServiceAccount> {
    let segments: Vec<&str> = decoded.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["api", "v1", "namespaces", namespace, "serviceaccounts", name, "token"] => {
            Some(ServiceAccount { namespace: (*namespace).to_owned(), name: (*name).to_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
