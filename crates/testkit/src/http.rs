//! A plain HTTP client for tests: trusts one authority, follows nothing, and keeps the whole answer.

use std::time::Duration;

use anyhow::{Context, ensure};
pub use reqwest::Method;
use reqwest::header::{HeaderMap, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What an unanswered request costs a test.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A client that trusts the authority in `authority_pem` alone, or nobody, and follows no redirect.
pub fn client(authority_pem: Option<&str>) -> anyhow::Result<reqwest::Client> {
    let trusted =
        authority_pem.map(|pem| Certificate::from_pem_bundle(pem.as_bytes())).transpose()?.unwrap_or_default();
    let builder = reqwest::Client::builder().redirect(Policy::none()).connect_timeout(TIMEOUT).tls_certs_only(trusted);
    builder.build().context("making an HTTP client")
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// Reads `response` to its end.
    pub async fn read(response: Response) -> anyhow::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, text: response.text().await.context("reading an answer")? })
    }

    /// The header called `name`; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The `Set-Cookie` headers.
    pub fn set_cookies(&self) -> impl Iterator<Item = &str> {
        self.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok())
    }

    /// Itself, if it has this status; else an error that shows it.
    pub fn expect(self, status: u16) -> anyhow::Result<Self> {
        ensure!(self.status == status, "the answer is {} instead of {status}: {}", self.status, self.text);
        Ok(self)
    }

    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        self.parse()
    }

    /// The body as a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_str(&self.text)
            .with_context(|| format!("{}, which is not what was expected: {}", self.status, self.text))
    }
}

/// Somebody who talks to one server: with a token, or as nobody.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Http {
    /// Nobody, talking to the server at `base` (an address without a path).
    pub fn new(base: &str, authority_pem: &str) -> anyhow::Result<Self> {
        Ok(Self { client: client(Some(authority_pem))?, base: base.trim_end_matches('/').to_owned(), token: None })
    }

    /// The bearer of `token`.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// The token, or nothing for nobody.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// A request to `path`, or to another server when it is a whole address.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        Answer::read(request.timeout(TIMEOUT).send().await?).await
    }

    /// GET.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// POST of a JSON body.
    pub async fn post(&self, path: &str, body: &(impl Serialize + ?Sized)) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// POST of a form.
    pub async fn post_form(&self, path: &str, form: &[(&str, &str)]) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, path).form(form)).await
    }

    /// PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: &(impl Serialize + ?Sized)) -> anyhow::Result<Answer> {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    /// PUT without a body.
    pub async fn put(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::PUT, path)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::DELETE, path)).await
    }
}
