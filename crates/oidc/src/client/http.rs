//! One way to ask, for all requests to providers.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode, redirect};
use serde::de::DeserializeOwned;

use super::ClientError;

const MAX_BODY: usize = 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A builder with our rules: no redirects, 5 s to connect, 10 s in all. Add a resolver or a proxy to it where the
/// platform restricts outgoing requests.
pub fn http_client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(TIMEOUT)
        .user_agent(concat!("hexabase/", env!("CARGO_PKG_VERSION")))
}

/// The builder's client. Fails only when TLS cannot be set up.
pub fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    http_client_builder().build()
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    pub(super) url: String,
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ClientError::NotUnderstood { url: self.url.clone(), reason: error.to_string() })
    }

    pub(super) fn ok(self) -> Result<Self, ClientError> {
        match self.status {
            StatusCode::OK => Ok(self),
            status => Err(ClientError::Status { url: self.url, status: status.as_u16() }),
        }
    }
}

/// Sends the request and reads at most 1 MB of the answer.
pub(super) async fn send(url: &str, request: RequestBuilder) -> Result<Answer, ClientError> {
    let unreachable =
        |source: reqwest::Error| ClientError::Unreachable { url: url.to_owned(), source: source.without_url() };
    let request = request.header("accept", "application/json").timeout(TIMEOUT);
    let mut response = request.send().await.map_err(unreachable)?;
    let asked = url::Url::parse(url).ok();
    if response.status().is_redirection() || Some(response.url()) != asked.as_ref() {
        return Err(ClientError::Redirected { url: url.to_owned() });
    }
    let too_large = || ClientError::TooLarge { url: url.to_owned() };
    if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), body, url: url.to_owned() })
}
