//! The REST API: every answer is kept as it came, beside its typed reading.

use std::time::Duration;

use hexabase_api::page::Page;
use reqwest::header::{ACCEPT, HeaderName};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::error::{Error, Kind, Result};
use crate::http::{self, REQUEST_TIMEOUT, WORK_TIMEOUT};
use crate::random;
use crate::session::Sessions;

/// What the API answered: read, and as it came.
#[derive(Debug, Clone)]
pub(crate) struct Fetched<T> {
    /// Read.
    pub(crate) value: T,
    /// As it came, with fields this version does not know.
    pub(crate) raw: Value,
}

/// The API of one server.
#[derive(Clone)]
pub(crate) struct Api {
    /// Who asks.
    pub(crate) sessions: Sessions,
}

impl Api {
    /// The server's address.
    pub(crate) fn server(&self) -> &str {
        &self.sessions.server
    }

    fn address(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        let mut url =
            Url::parse(self.server()).map_err(|error| Error::new(Kind::Usage, "bad server address").because(error))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// Sends a request as the user; when the token is refused, once more with a new one.
    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let failed = |error| http::unreachable(self.server(), error);
        let token = self.sessions.access_token().await?;
        let again = request.try_clone();
        let mut response = request.bearer_auth(&token).send().await.map_err(failed)?;
        if response.status() == StatusCode::UNAUTHORIZED
            && self.sessions.token.is_none()
            && let Some(again) = again
        {
            let token = self.sessions.renew(&token).await?;
            response = again.bearer_auth(&token).send().await.map_err(failed)?;
        }
        http::check(self.server(), response).await.map_err(|error| match error.kind() {
            Kind::NotSignedIn => error.hint(match &self.sessions.token {
                Some(token) => token.hint(),
                None => format!("run: hxb login {}", self.server()),
            }),
            _ => error,
        })
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder> {
        Ok(self.sessions.http.request(method, self.address(path, query)?).timeout(REQUEST_TIMEOUT))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<Fetched<T>> {
        let text = response.text().await.map_err(|error| http::unreachable(self.server(), error))?;
        let raw: Value = serde_json::from_str(&text).map_err(|error| http::not_understood(self.server(), error))?;
        let value = T::deserialize(&raw).map_err(|error| http::not_understood(self.server(), error))?;
        Ok(Fetched { value, raw })
    }

    /// One object.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Fetched<T>> {
        self.read(self.send(self.request(Method::GET, path, &[])?).await?).await
    }

    /// One object, by what is asked about it; the server may have to ask the workspace itself.
    pub(crate) async fn get_with<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Fetched<T>> {
        self.read(self.send(self.request(Method::GET, path, query)?.timeout(WORK_TIMEOUT)).await?).await
    }

    /// A list, all pages of it; as it came, it is one page with all items.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Fetched<Vec<T>>> {
        self.pages(path, query, REQUEST_TIMEOUT).await
    }

    /// The same of a list for which the server has to ask the workspace itself.
    pub(crate) async fn list_inside<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Fetched<Vec<T>>> {
        self.pages(path, query, WORK_TIMEOUT).await
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Fetched<Vec<T>>> {
        let (mut value, mut items) = (Vec::new(), Vec::new());
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let request = self.request(Method::GET, path, &query)?.timeout(timeout);
            let page: Fetched<Page<T>> = self.read(self.send(request).await?).await?;
            value.extend(page.value.items);
            if let Some(Value::Array(more)) = page.raw.get("items") {
                items.extend(more.iter().cloned());
            }
            if page.value.next_cursor.is_none() || page.value.next_cursor == cursor {
                return Ok(Fetched { value, raw: json!({ "items": items }) });
            }
            cursor = page.value.next_cursor;
        }
    }

    /// Makes something; a repeated request (an expired token) carries the same key, so nothing is made twice.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<Fetched<T>> {
        let request = self.request(Method::POST, path, &[])?;
        let request = request.header(HeaderName::from_static("idempotency-key"), random::token()?).json(body);
        self.read(self.send(request).await?).await
    }

    /// Has something done for which the server has to wait for somebody else; a repeated request is no second one either.
    pub(crate) async fn have_done<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<Fetched<T>> {
        let request = self.request(Method::POST, path, &[])?.timeout(WORK_TIMEOUT);
        let request = request.header(HeaderName::from_static("idempotency-key"), random::token()?).json(body);
        self.read(self.send(request).await?).await
    }

    /// Changes something.
    pub(crate) async fn patch<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<Fetched<T>> {
        self.read(self.send(self.request(Method::PATCH, path, &[])?.json(body)).await?).await
    }

    /// Puts something in the place of what was there.
    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<Fetched<T>> {
        self.read(self.send(self.request(Method::PUT, path, &[])?.json(body)).await?).await
    }

    /// Makes something so that has no more to it than its address.
    pub(crate) async fn put_nothing(&self, path: &[&str]) -> Result<()> {
        self.send(self.request(Method::PUT, path, &[])?).await.map(|_| ())
    }

    /// Removes something.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<()> {
        self.send(self.request(Method::DELETE, path, &[])?).await.map(|_| ())
    }

    /// Removes something; what ended with it.
    pub(crate) async fn delete_for<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Fetched<T>> {
        self.read(self.send(self.request(Method::DELETE, path, &[])?).await?).await
    }

    /// The same, in the way that the query says.
    pub(crate) async fn delete_with<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Fetched<T>> {
        self.read(self.send(self.request(Method::DELETE, path, query)?).await?).await
    }

    /// An answer of any length, to be read as it comes.
    pub(crate) async fn stream(&self, path: &[&str]) -> Result<Response> {
        self.send(self.sessions.http.get(self.address(path, &[])?)).await
    }

    /// The live feed, from `last` on.
    pub(crate) async fn events(&self, last: Option<&str>) -> Result<Response> {
        let mut request = self.sessions.http.get(self.address(&["events"], &[])?).header(ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header(HeaderName::from_static("last-event-id"), last);
        }
        self.send(request).await
    }
}
