//! Work that is carried out to its end, whether its client waits for the answer or not.

use hexabase_app::Error;
use tokio::task::JoinError;

use super::request_id;
use crate::state::ServerState;

/// Does `work` in a task of its own, because the handler of a client that hangs up is dropped wherever it stands. A server
/// that stops waits a few seconds for it.
///
/// # Errors
/// [`Error::Unavailable`] when the server stops first.
pub(super) async fn to_the_end<T: Send + 'static>(
    state: &ServerState,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    match state.requests.spawn(request_id::kept(work)).await.map_err(JoinError::try_into_panic) {
        Ok(done) => Ok(done),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => Err(Error::Unavailable("the server is stopping; try again in a moment".to_owned())),
    }
}
