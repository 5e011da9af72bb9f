//! Checking an audit log, without trust in whoever kept it.
//!
//! A log is lines of JSON, one record each. Every record has a hash of everything in it and of the hash before it, so that
//! nothing can be changed, removed or moved without breaking the chain from there to its end. Only the end itself can be cut
//! off unseen, or the whole be made anew: against that helps a [`Head`] that was written down somewhere else.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use hexabase_api::audit::AuditRecord;
use hexabase_core::audit::GENESIS;
use serde::Serialize;

/// A place in a log and the hash of the record there, as it was at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The place.
    pub seq: i64,
    /// The hash.
    pub hash: String,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let head = text.split_once(':').and_then(|(seq, hash)| {
            let seq = seq.parse().ok().filter(|seq| *seq >= 0)?;
            let fits =
                hash.len() == GENESIS.len() && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            fits.then(|| Self { seq, hash: hash.to_owned() })
        });
        head.ok_or_else(|| "write it as SEQ:HASH, the way `hxb audit verify` shows it".to_owned())
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It cannot be read.
    #[error("the line is no record of an audit log: {0}")]
    Unreadable(String),
    /// It belongs to the log of somebody else.
    #[error("the record belongs to another log, {0}")]
    Foreign(String),
    /// Its contents are not those that were hashed.
    #[error("record {0} was changed after it was written")]
    Changed(i64),
    /// Records are not there that were before it.
    #[error("records are missing before record {before}: {from} to {to}")]
    Missing {
        /// The first that is missing.
        from: i64,
        /// The last that is missing.
        to: i64,
        /// What comes in their place.
        before: i64,
    },
    /// It stands after one that is not before it.
    #[error("record {0} stands here out of order, or a second time")]
    Moved(i64),
    /// The record before it is not the one it was written after.
    #[error("record {0} was not written after the record that stands before it: that one was exchanged")]
    Detached(i64),
    /// It is not the record that was there when its hash was written down.
    #[error("record {0} is not the one whose hash was written down: the log was written anew from here or before")]
    Anew(i64),
    /// The log does not reach a place that it once reached.
    #[error("the end is cut off: the log once reached record {once} and ends with record {now}")]
    CutOff {
        /// Where it once ended.
        once: i64,
        /// Where it ends.
        now: i64,
    },
}

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The line, counting from 1.
    pub line: u64,
    /// What is wrong with it.
    pub wrong: Wrong,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.wrong)
    }
}

/// What was found out about a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose log it is; `None` for an empty one.
    pub chain: Option<String>,
    /// Where it ends.
    pub head: Head,
    /// Whether there was a head by which it would be noticed that its end is cut off.
    pub end_checked: bool,
    /// What is wrong with it, in order of lines; nothing when it is whole.
    pub findings: Vec<Finding>,
}

/// Reads a log line by line.
#[derive(Debug)]
pub struct Verifier {
    heads: Vec<Head>,
    chain: Option<String>,
    line: u64,
    last: Head,
    findings: Vec<Finding>,
}

impl Verifier {
    /// For a log that is said to have had these ends at one time or another.
    pub fn new(heads: Vec<Head>) -> Self {
        let last = Head { seq: 0, hash: GENESIS.to_owned() };
        Self { heads, chain: None, line: 0, last, findings: Vec::new() }
    }

    fn found(&mut self, wrong: Wrong) {
        self.findings.push(Finding { line: self.line, wrong });
    }

    /// Checks the next line.
    pub fn line(&mut self, text: &str) {
        self.line += 1;
        match serde_json::from_str(text) {
            Ok(record) => self.record(record),
            Err(error) => self.found(Wrong::Unreadable(error.to_string())),
        }
    }

    fn record(&mut self, record: AuditRecord) {
        if *self.chain.get_or_insert_with(|| record.chain.clone()) != record.chain {
            return self.found(Wrong::Foreign(record.chain));
        }
        let seq = record.seq;
        if sha256(&record.entry().canonical(&record.chain, seq, &record.previous)) != record.hash {
            self.found(Wrong::Changed(seq));
        }
        let expected = self.last.seq + 1;
        if seq < expected {
            return self.found(Wrong::Moved(seq));
        }
        if seq > expected {
            self.found(Wrong::Missing { from: expected, to: seq - 1, before: seq });
        } else if record.previous != self.last.hash {
            self.found(Wrong::Detached(seq));
        }
        if self.heads.iter().any(|head| head.seq == seq && head.hash != record.hash) {
            self.found(Wrong::Anew(seq));
        }
        self.last = Head { seq, hash: record.hash };
    }

    /// Ends with the last line.
    pub fn end(mut self) -> Report {
        let once = self.heads.iter().map(|head| head.seq).max().unwrap_or(0);
        if once > self.last.seq {
            self.found(Wrong::CutOff { once, now: self.last.seq });
        }
        let end_checked = !self.heads.is_empty();
        Report { chain: self.chain, head: self.last, end_checked, findings: self.findings }
    }
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, bytes).as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests;
