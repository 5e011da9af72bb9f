//! The caller's bearer token: read once, from one place, and sent on exactly as it was judged.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};

use super::status::Failure;

/// How a browser, which cannot set headers on a WebSocket, shows its token: as a sub-protocol.
const SUB_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";
const MAX_TOKEN: usize = 32 << 10;

/// A well-formed bearer token (RFC 6750 `b64token`). Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(String);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(…)")
    }
}

impl Bearer {
    /// A token that the platform made itself.
    pub fn new(token: String) -> Self {
        Self(token)
    }

    /// The token.
    pub(super) fn token(&self) -> &str {
        &self.0
    }

    /// The one `Authorization` value that is forwarded.
    pub(super) fn header(&self) -> Result<HeaderValue, Failure> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).map_err(|_| malformed())?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn parse(token: &str) -> Result<Self, Failure> {
        if token.is_empty() {
            return Err(Failure::unauthorized("the bearer token is empty; sign in again with `hxb login`"));
        }
        let body = token.trim_end_matches('=');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        if body.is_empty() || token.len() > MAX_TOKEN || !body.bytes().all(plain) {
            return Err(malformed());
        }
        Ok(Self(token.to_owned()))
    }
}

fn malformed() -> Failure {
    Failure::unauthorized("the Authorization header must be `Bearer` and one token")
}

/// Takes the credential out of `headers`; a token among the WebSocket sub-protocols counts only for `websocket` requests,
/// but is removed from all.
pub(super) fn take(headers: &mut HeaderMap, websocket: bool) -> Result<Bearer, Failure> {
    let offered = take_sub_protocols(headers)?;
    let offered = if websocket { offered } else { Vec::new() };
    let shown: Vec<HeaderValue> = headers.get_all(AUTHORIZATION).iter().cloned().collect();
    headers.remove(AUTHORIZATION);
    match (shown.as_slice(), offered.as_slice()) {
        ([], []) => Err(Failure::no_credential("no bearer token was sent; sign in with `hxb login`")),
        ([value], []) => from_header(value),
        ([], [encoded]) => from_sub_protocol(encoded),
        _ => Err(Failure::unauthorized("more than one credential was sent")),
    }
}

fn from_header(value: &HeaderValue) -> Result<Bearer, Failure> {
    let text = value.to_str().map_err(|_| malformed())?.trim();
    if text.is_empty() {
        return Err(Failure::unauthorized("the Authorization header is empty; sign in with `hxb login`"));
    }
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(malformed());
    }
    Bearer::parse(token.trim_matches(' '))
}

fn from_sub_protocol(encoded: &str) -> Result<Bearer, Failure> {
    let decoded = URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Bearer::parse(&decoded.ok_or_else(malformed)?)
}

/// Removes tokens from the offered sub-protocols and returns them, still encoded.
fn take_sub_protocols(headers: &mut HeaderMap) -> Result<Vec<String>, Failure> {
    let mut tokens = Vec::new();
    let mut kept = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        let text = value.to_str().map_err(|_| Failure::bad_request("Sec-WebSocket-Protocol is malformed"))?;
        for protocol in text.split(',').map(str::trim).filter(|protocol| !protocol.is_empty()) {
            match protocol.split_at_checked(SUB_PROTOCOL.len()) {
                Some((prefix, token)) if prefix.eq_ignore_ascii_case(SUB_PROTOCOL) => tokens.push(token.to_owned()),
                _ => kept.push(protocol.to_owned()),
            }
        }
    }
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if !kept.is_empty() {
        let value = HeaderValue::try_from(kept.join(", "));
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            value.map_err(|_| Failure::bad_request("Sec-WebSocket-Protocol is malformed"))?,
        );
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn one_bearer_token_in_one_header_is_taken() {
        let forms: [&[u8]; 5] =
            [b"Bearer a.b-c_d~e+f/g==", b"bearer x.y", b"BEARER x.y", b"Bearer   x.y", b" Bearer x.y "];
        for value in forms {
            let mut headers = headers(&[("authorization", value)]);
            let bearer = take(&mut headers, false).unwrap();
            assert!(!headers.contains_key(AUTHORIZATION));
            let forwarded = bearer.header().unwrap();
            assert_eq!(forwarded, format!("Bearer {}", bearer.token()));
            assert!(forwarded.is_sensitive());
            assert!(!format!("{bearer:?}{forwarded:?}").contains(bearer.token()));
        }
    }

    #[test]
    fn anything_else_is_401() {
        let cases: [&[(&'static str, &[u8])]; 25] = [
            &[],
            &[("authorization", b"")],
            &[("authorization", b"  ")],
            &[("authorization", b"Bearer")],
            &[("authorization", b"Bearer ")],
            &[("authorization", b"Bearer    ")],
            &[("authorization", b"Bearer\tt")],
            &[("authorization", b"Bearer t x")],
            &[("authorization", b"Bearer t,Bearer x")],
            &[("authorization", b"Bearer t, Basic x")],
            &[("authorization", b"Bearer =")],
            &[("authorization", b"Bearer t=x")],
            &[("authorization", b"Bearer \xff")],
            &[("authorization", b"\xff")],
            &[("authorization", b"Bearer: t")],
            &[("authorization", b"Bearert")],
            &[("authorization", b"Basic dXNlcjpwYXNz")],
            &[("authorization", b"Negotiate t")],
            &[("authorization", b"t")],
            &[("authorization", b"Bearer \"t\"")],
            &[("authorization", b"Bearer t"), ("authorization", b"Bearer t")],
            &[("authorization", b"Bearer t"), ("authorization", b"")],
            &[("authorization", b"Basic x"), ("authorization", b"Bearer t")],
            &[("x-authorization", b"Bearer t")],
            &[("proxy-authorization", b"Bearer t")],
        ];
        for case in cases {
            assert_eq!(take(&mut headers(case), false).map_err(|failure| failure.code()), Err(401), "{case:?}");
        }
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN + 1));
        assert!(take(&mut headers(&[("authorization", long.as_bytes())]), false).is_err());
    }

    #[test]
    fn a_browser_may_show_its_token_as_a_sub_protocol() {
        let offer = format!("v5.channel.k8s.io, {SUB_PROTOCOL}{}, v4.channel.k8s.io", URL_SAFE_NO_PAD.encode("a.b.c"));
        let mut seen = headers(&[("sec-websocket-protocol", offer.as_bytes())]);
        assert_eq!(take(&mut seen, true).unwrap().token(), "a.b.c");
        assert_eq!(seen.get(SEC_WEBSOCKET_PROTOCOL).unwrap(), "v5.channel.k8s.io, v4.channel.k8s.io");

        let mut plain = headers(&[("sec-websocket-protocol", offer.as_bytes())]);
        assert!(take(&mut plain, false).is_err(), "only a WebSocket may use it");
        assert!(!format!("{plain:?}").contains("bearer"), "and it is removed all the same");
    }

    #[test]
    fn a_sub_protocol_token_is_as_strict_as_a_header() {
        let token = |text: &[u8]| format!("{SUB_PROTOCOL}{}", URL_SAFE_NO_PAD.encode(text));
        for offer in [
            format!("{}, {}", token(b"t"), token(b"t")),
            token(b""),
            token(b"a b"),
            token(b"\xff"),
            token(b"t\r\nImpersonate-User: admin"),
            format!("{SUB_PROTOCOL}a=="),
            format!("{SUB_PROTOCOL}*"),
        ] {
            let mut seen = headers(&[("sec-websocket-protocol", offer.as_bytes())]);
            assert!(take(&mut seen, true).is_err(), "{offer}");
        }
        let mut both = headers(&[("authorization", b"Bearer t"), ("sec-websocket-protocol", token(b"t").as_bytes())]);
        assert!(take(&mut both, true).is_err());
    }
}
