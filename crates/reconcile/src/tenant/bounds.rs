//! How much is read of what a tenant's API server answers, and for how long. Its administrators may put a server of their own
//! behind any of its APIs, and all workspaces share this process.

use std::io;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use http::Response;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use kube::client::{ClientBuilder, DynBody};
use kube::{Client, Config, Error};
use tokio::time::{Instant, timeout_at};
use tower::BoxError;
use tower::timeout::TimeoutLayer;
use tower::util::MapResponseLayer;

/// Most bytes of one answer.
const MOST_BYTES: usize = 8 << 20;
/// Most commas and brackets of one answer: two or three bytes of it can become hundreds of memory.
const MOST_PARTS: usize = 1 << 19;
/// Longest time until an answer begins, and from then on until it is over.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer of which no more is read.
#[derive(Debug, thiserror::Error)]
#[error("the answer is too long to be read")]
struct TooLong;

/// Whether a call failed because the answer was too long: of fewer objects it may be short enough.
pub(crate) fn is_too_long(error: &Error) -> bool {
    matches!(error, Error::Service(source) if source.is::<TooLong>())
}

/// A client that reads no more than that of any answer, refusals included.
pub(super) fn client(mut config: Config) -> Result<Client, Error> {
    // What is short on its way may be long when it is here.
    config.disable_compression = true;
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder
        .with_layer(&MapResponseLayer::new(within::<Box<DynBody>>))
        .with_layer(&TimeoutLayer::new(PATIENCE))
        .build())
}

struct Left<B> {
    body: BodyStream<B>,
    bytes: usize,
    parts: usize,
}

fn within<B>(response: Response<B>) -> Response<impl BodyExt<Data = B::Data, Error = BoxError>>
where
    B: BodyExt + Unpin,
    B::Data: AsRef<[u8]>,
    B::Error: Into<BoxError>,
{
    let until = Instant::now() + PATIENCE;
    response.map(|body| {
        let left = Left { body: BodyStream::new(body), bytes: MOST_BYTES, parts: MOST_PARTS };
        StreamBody::new(stream::try_unfold(left, move |mut left| async move {
            let next = match timeout_at(until, left.body.next()).await {
                Ok(Some(next)) => next.map_err(Into::<BoxError>::into)?,
                Ok(None) => return Ok(None),
                Err(_) => return Err(BoxError::from(io::Error::from(io::ErrorKind::TimedOut))),
            };
            if let Some(data) = next.data_ref() {
                let data: &[u8] = data.as_ref();
                let parts = data.iter().filter(|letter| matches!(letter, b',' | b'{' | b'[')).count();
                match (left.bytes.checked_sub(data.len()), left.parts.checked_sub(parts)) {
                    (Some(bytes), Some(parts)) => (left.bytes, left.parts) = (bytes, parts),
                    _ => return Err(BoxError::from(TooLong)),
                }
            }
            Ok(Some((next, left)))
        }))
    })
}

#[cfg(test)]
mod tests {
    use hexabase_testkit::tenant::FakeTenant;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::error::ReconcileError;
    use crate::manifest::Kind;

    async fn read(bytes: Vec<u8>) -> Result<usize, String> {
        let body = within(Response::new(Body::from(bytes))).into_body();
        body.collect().await.map(|all| all.to_bytes().len()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn neither_more_bytes_nor_more_parts_of_an_answer_are_read() {
        assert_eq!(read(vec![b'x'; MOST_BYTES]).await, Ok(MOST_BYTES));
        assert_eq!(read(vec![b'x'; MOST_BYTES + 1]).await, Err(TooLong.to_string()));
        assert_eq!(read(b"{}".repeat(MOST_PARTS)).await, Ok(2 * MOST_PARTS));
        assert_eq!(read(b"{},".repeat(MOST_PARTS / 2 + 1)).await, Err(TooLong.to_string()));
    }

    #[tokio::test]
    async fn a_tenant_that_answers_without_end_is_left_and_is_asked_for_nothing_compressed() {
        let server = FakeTenant::start().await.unwrap();
        let user = json!({ "token": "administrator" });
        let tenant = crate::tenant::client(&server.address(), "kubernetes", &server.ca_pem, &user).await.unwrap();
        let (roles, role) = ("/apis/rbac.authorization.k8s.io/v1/clusterroles", "edit");
        let long = || Value::String("x".repeat(MOST_BYTES + 1));
        server.answer("GET", roles, 200, long());
        server.answer("GET", &format!("{roles}/{role}"), 403, long());
        let found = [
            tenant.list(Kind::ClusterRole, None, "").await.map(drop),
            tenant.get(Kind::ClusterRole, None, role).await.map(drop),
        ];
        for found in found {
            let Err(ReconcileError::Unreachable { source, .. }) = found else { panic!("{found:?}") };
            assert!(is_too_long(&source), "{source:?}");
        }
        assert!(server.asked("GET").iter().all(|asked| asked.encoding.is_empty()));

        // Fewer may be short enough: 1,000, 500, 250, 125, 62, 31, 15, 7, 3, and one by one.
        assert!(tenant.each_object(Kind::ClusterRole, "", drop).await.is_err());
        assert_eq!(server.asked("GET").iter().filter(|asked| asked.path == roles).count(), 1 + 10);
        let mine = json!({ "apiVersion": "v1", "kind": "List", "metadata": { "continue": "more" },
            "items": [{ "metadata": { "name": "mine" } }] });
        server.answer("GET", roles, 200, mine);
        let mut read = 0;
        let is_all = tenant.each_object(Kind::ClusterRole, "", |_| read += 1).await.unwrap();
        assert_eq!((is_all, read), (false, 500), "there is no end to it");
    }
}
