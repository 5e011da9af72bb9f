//! The few pages the server shows itself: choosing how to sign in, confirming a device, accepting an invitation, and being
//! done. The console is a program of its own.

pub(crate) mod invitation;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexabase_backends::store::Digest;
use hexabase_core::invitations::Language;

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// Text made safe for HTML content and quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// A page in English. `body` is HTML: whatever people wrote in it has gone through [`escape`].
pub(crate) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    in_language(status, Language::English, title, body)
}

/// As [`page`], in another language.
pub(crate) fn in_language(status: StatusCode, language: Language, title: &str, body: &str) -> Response {
    build(status, language, title, body, None)
}

/// As [`in_language`], with a script of ours at its end. The page allows no other one.
pub(crate) fn with_script(status: StatusCode, language: Language, title: &str, body: &str, script: &str) -> Response {
    build(status, language, title, body, Some(script))
}

fn build(status: StatusCode, language: Language, title: &str, body: &str, script: Option<&str>) -> Response {
    let title = escape(title);
    let (script, policy) = match script {
        None => (String::new(), POLICY.to_owned()),
        Some(script) => {
            let hash = STANDARD.encode(Digest::of(script).as_bytes());
            (format!("<script>{script}</script>"), format!("{POLICY}; script-src 'sha256-{hash}'"))
        }
    };
    let html = format!(
        "<!doctype html><html lang=\"{language}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} · Hexabase</title><style>{STYLE}</style></head>\
         <body><main><p class=\"brand\">⬡ Hexabase</p><h1>{title}</h1>{body}</main>{script}</body></html>"
    );
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// A page that says in a sentence what went wrong and what to do.
pub(crate) fn problem(status: StatusCode, title: &str, sentence: &str) -> Response {
    page(status, title, &format!("<p>{}</p><p><a href=\"/\">Start again</a></p>", escape(sentence)))
}
