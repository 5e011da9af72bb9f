//! How many bytes of one workspace pass per second, both ways together. Bodies and tunnels that are ahead of it wait a
//! little before their next piece; none is refused, and none of another workspace waits with them.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Seconds' worth of bytes that pass at once after a pause: what a person or a starting controller asks for is not slowed down, what
/// goes on and on is.
pub(super) const BURST: f64 = 8.0;
/// Seconds that a piece waits at most. Many short answers may owe more together; the rest of that is given to them, so that
/// nobody who comes long afterwards pays for it.
const MOST_DEBT: f64 = 5.0;

/// What one workspace may still send and receive.
#[derive(Debug)]
pub(super) struct Pace {
    rate: f64,
    left: Mutex<Left>,
}

#[derive(Debug, Clone, Copy)]
struct Left {
    /// Below nothing when more has passed than was earned.
    bytes: f64,
    at: Instant,
}

impl Pace {
    /// `rate` bytes per second, and a pause that has lasted long enough.
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        let rate = rate.max(1) as f64;
        Self { rate, left: Mutex::new(Left { bytes: rate * BURST, at: now }) }
    }

    /// Notes that `bytes` pass, and tells how long those after them have to wait.
    pub(super) fn pass(&self, bytes: usize, now: Instant) -> Duration {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.bytes = (self.refilled(*left, now) - bytes as f64).max(-self.rate * MOST_DEBT);
        left.at = now;
        self.wait(left.bytes)
    }

    /// How long whatever begins now has to wait for what has passed before.
    fn owed(&self, now: Instant) -> Duration {
        let left = *self.left.lock().unwrap_or_else(PoisonError::into_inner);
        self.wait(self.refilled(left, now))
    }

    fn wait(&self, bytes: f64) -> Duration {
        match bytes < 0.0 {
            true => Duration::from_secs_f64(-bytes / self.rate),
            false => Duration::ZERO,
        }
    }

    /// Whether nothing is known of it any more that a new one would not know.
    pub(super) fn is_rested(&self, now: Instant) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        self.refilled(*left, now) >= self.rate * BURST
    }

    fn refilled(&self, left: Left, now: Instant) -> f64 {
        let earned = now.saturating_duration_since(left.at).as_secs_f64() * self.rate;
        (left.bytes + earned).min(self.rate * BURST)
    }
}

/// One direction of one body or tunnel, in step with its workspace.
pub(super) struct Step {
    pace: Arc<Pace>,
    wait: Option<Pin<Box<Sleep>>>,
    waited: Waited,
}

/// How long one direction has been made to wait by its workspace's pace.
#[derive(Debug, Clone, Default)]
pub(super) struct Waited(Arc<AtomicU64>);

impl Waited {
    /// All of it together.
    pub(super) fn so_far(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl Step {
    /// In step with `pace`; the first piece waits as well, or many short answers would never wait.
    pub(super) fn new(pace: Arc<Pace>) -> Self {
        let owed = pace.owed(Instant::now());
        let mut step = Self { pace, wait: None, waited: Waited::default() };
        step.wait_for(owed);
        step
    }

    fn wait_for(&mut self, time: Duration) {
        if !time.is_zero() {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            self.waited.0.fetch_add(millis, Ordering::Relaxed);
            self.wait = Some(Box::pin(tokio::time::sleep(time)));
        }
    }

    /// How long it is made to wait, also from now on.
    pub(super) fn waited(&self) -> Waited {
        self.waited.clone()
    }

    /// Ready when the next piece may pass.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(context));
            self.wait = None;
        }
        Poll::Ready(())
    }

    /// Notes a piece that passes.
    pub(super) fn passed(&mut self, bytes: usize) {
        let wait = self.pace.pass(bytes, Instant::now());
        self.wait_for(wait);
    }
}

/// One side of a tunnel, in step with its workspace both ways.
pub(super) struct Paced<T> {
    inner: T,
    reading: Step,
    writing: Step,
}

impl<T> Paced<T> {
    /// `inner`, in step with `pace`.
    pub(super) fn new(inner: T, pace: &Arc<Pace>) -> Self {
        Self { inner, reading: Step::new(Arc::clone(pace)), writing: Step::new(Arc::clone(pace)) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.reading.poll_ready(context));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        this.reading.passed(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.writing.poll_ready(context));
        let written = ready!(Pin::new(&mut this.inner).poll_write(context, bytes))?;
        this.writing.passed(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn a_burst_passes_and_then_no_more_than_is_earned() {
        let start = Instant::now();
        let pace = Pace::new(1_000, start);
        let after = |millis: u64| start + Duration::from_millis(millis);
        assert_eq!(pace.pass(8_000, start), Duration::ZERO, "all that a pause has earned");
        assert_eq!(pace.pass(500, start), Duration::from_millis(500));
        assert_eq!(pace.pass(500, start), Duration::from_secs(1), "whoever comes later waits longer");
        assert!(!pace.is_rested(after(8_999)));
        assert_eq!(pace.pass(0, after(1_000)), Duration::ZERO);
        assert!(pace.is_rested(after(9_000)));
        assert_eq!(pace.pass(8_001, after(3_600_000)), Duration::from_millis(1), "nothing is saved beyond that");
    }

    #[test]
    fn nobody_waits_for_long_after_a_flood_of_short_answers() {
        let start = Instant::now();
        let pace = Pace::new(1_000, start);
        let most = Duration::from_secs_f64(MOST_DEBT);
        for _ in 0..2_000 {
            pace.pass(16_384, start);
        }
        assert_eq!(pace.owed(start), most);
        assert_eq!(pace.owed(start + most), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_first_piece_of_a_body_waits_for_those_of_others() {
        let begun = Instant::now();
        let pace = Arc::new(Pace::new(1_000_000, begun));
        let behind = pace.pass(8_050_000, begun);
        let mut step = Step::new(Arc::clone(&pace));
        std::future::poll_fn(|context| step.poll_ready(context)).await;
        assert!(begun.elapsed() >= behind, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_tunnel_waits_and_loses_nothing() {
        let begun = Instant::now();
        let pace = Arc::new(Pace::new(1_000_000, begun));
        let behind = Duration::from_millis(50);
        assert_eq!(pace.pass(8_050_000, begun), behind);
        let (one, mut other) = tokio::io::duplex(64);
        let mut paced = Paced::new(one, &pace);
        paced.write_all(b"first").await.unwrap();
        paced.write_all(b"second").await.unwrap();
        assert!(begun.elapsed() >= behind, "{:?}", begun.elapsed());
        let mut received = [0; 11];
        other.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"firstsecond");
    }
}
