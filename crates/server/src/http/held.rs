//! Answers with which something is held until they are sent, so that whoever does not take them gets no more of them.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Json;
use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

/// What is handed to the connection at once. It takes pieces as long as it has room, and a whole answer is one piece.
const PIECE: usize = 16 << 10;

/// JSON, and what is let go of once it is sent.
pub(super) struct Held<T> {
    told: T,
    until_sent: Box<dyn Any + Send>,
}

impl<T> Held<T> {
    /// `told`, with which `until_sent` is kept.
    pub(super) fn new(told: T, until_sent: impl Any + Send) -> Self {
        Self { told, until_sent: Box::new(until_sent) }
    }
}

impl<T: Serialize> IntoResponse for Held<T> {
    fn into_response(self) -> Response {
        let Self { told, until_sent } = self;
        Json(told).into_response().map(|body| Body::new(Pieces { body, left: Bytes::new(), _held: until_sent }))
    }
}

struct Pieces {
    body: Body,
    left: Bytes,
    _held: Box<dyn Any + Send>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.left = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = self.left.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (behind, left) = (self.body.size_hint(), self.left.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(behind.lower() + left);
        if let Some(upper) = behind.upper() {
            hint.set_upper(upper + left);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_held_is_let_go_of_with_the_last_piece() {
        let (held, text) = (Arc::new(()), "x".repeat(2 * PIECE));
        let mut body = Held::new(&text, Arc::clone(&held)).into_response().into_body();
        assert_eq!(body.size_hint().exact(), Some(text.len() as u64 + 2));
        let mut sent = Vec::new();
        while let Some(frame) = body.frame().await {
            assert_eq!(Arc::strong_count(&held), 2);
            sent.push(frame.unwrap().into_data().unwrap());
        }
        assert!(body.is_end_stream() && sent.iter().all(|piece| piece.len() <= PIECE), "{}", sent.len());
        assert_eq!(sent.concat(), format!("\"{text}\"").into_bytes());
        drop(body);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
