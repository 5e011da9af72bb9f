//! The doorbell: tells workers and event streams that something happened, so that they look at the database sooner.
//!
//! A ring carries a kind and an id and nothing else. It may be lost: whoever listens also looks every few seconds by
//! itself, so a lost ring costs delay, never work.

use tokio::sync::broadcast;

/// Rings kept for a slow listener before it is told that it missed some.
const CAPACITY: usize = 1024;

/// What happened to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The kind, such as a job's kind.
    pub kind: String,
    /// The id of the subject.
    pub subject: String,
}

/// What a listener heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ring {
    /// One ring.
    Topic(Topic),
    /// Some rings were missed: look at everything.
    Missed,
}

/// The doorbell of one process; clones ring the same bell.
#[derive(Debug, Clone)]
pub struct Bell {
    sender: broadcast::Sender<Topic>,
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

impl Bell {
    /// A bell that nobody listens to yet.
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(CAPACITY) }
    }

    /// Tells everybody who listens; ring after the commit, not before.
    pub fn ring(&self, topic: Topic) {
        // The only error is "nobody listens", which is no error here.
        let _ = self.sender.send(topic);
    }

    /// Hears every ring from now on.
    pub fn subscribe(&self) -> Listener {
        Listener { receiver: self.sender.subscribe() }
    }
}

/// One who hears the bell.
#[derive(Debug)]
pub struct Listener {
    receiver: broadcast::Receiver<Topic>,
}

impl Listener {
    /// The next ring; `None` when the bell is gone. Safe to cancel.
    pub async fn next(&mut self) -> Option<Ring> {
        match self.receiver.recv().await {
            Ok(topic) => Some(Ring::Topic(topic)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Ring::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
