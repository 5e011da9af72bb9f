//! An API server that takes down what arrives over HTTP/1.1, and reads every request as the standard says.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use super::super::Upstream;
use super::super::testkit::{Tenant, certificates};

/// Headers of a request that would say who asks, where from, or for what: none may arrive.
const CLAIMS: [&str; 14] = [
    "impersonate",
    "x-impersonate",
    "x-remote",
    "x-forwarded",
    "forwarded",
    "cookie",
    "proxy",
    "x-original",
    "x-rewrite",
    "x-http-method",
    "x-method",
    "x-real-ip",
    "http2-settings",
    "trailer",
];

/// What is wrong with a body that is not what was announced: a kind of error that TLS does not have.
const MALFORMED: io::ErrorKind = io::ErrorKind::Unsupported;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    /// Its path and query.
    pub(super) target: String,
    headers: Vec<(String, String)>,
    /// A line of its head ended with half the end of a line, or its body was not what its head announced.
    torn: bool,
}

impl Arrived {
    /// What an API server of the testkit saw.
    pub(super) fn at(tenant: &Tenant) -> Vec<Self> {
        let seen = tenant.seen.lock().unwrap();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        seen.iter()
            .map(|seen| Self {
                target: seen.target.clone(),
                headers: seen.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
                torn: false,
            })
            .collect()
    }

    fn read(head: &str) -> Self {
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let torn = head.replace("\r\n", "").contains(['\r', '\n']);
        Self { target, headers: lines.map(header).collect(), torn }
    }

    /// The values of a header.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Fails if anything in its head claims an identity, or could be read in two ways.
    pub(super) fn assert_clean(&self) {
        assert!(!self.torn, "{self:?}");
        for (name, value) in &self.headers {
            let lenient = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
            let lenient = lenient.trim_matches('-');
            assert!(!CLAIMS.iter().any(|claim| lenient.starts_with(claim)), "{name} in {self:?}");
            assert!(!name.contains(char::is_whitespace) && !name.is_empty(), "{self:?}");
            assert!(!value.contains(['\r', '\n', '\0']), "{self:?}");
        }
        for once in ["host", "content-length", "transfer-encoding"] {
            assert!(self.all(once).len() <= 1, "{once} in {self:?}");
        }
        assert!(self.all("content-length").is_empty() || self.all("transfer-encoding").is_empty(), "{self:?}");
    }
}

/// The API server.
pub(super) struct Recorder {
    pub(super) upstream: Upstream,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Recorder {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (acceptor, ca_pem) = certificates(&[b"http/1.1"]);
        let recorder = Self {
            upstream: Upstream { address, server_name: "kubernetes".to_owned(), ca_pem: ca_pem.into() },
            arrived: Arc::default(),
        };
        let arrived = recorder.arrived.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, arrived) = (acceptor.clone(), arrived.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    if converse(stream, &arrived).await.is_err_and(|error| error.kind() == MALFORMED)
                        && let Some(last) = arrived.lock().unwrap().last_mut()
                    {
                        last.torn = true;
                    }
                });
            }
        });
        recorder
    }

    /// The requests that arrived.
    pub(super) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }
}

/// Reads one request after the other; what follows the end of one is the next, whatever its sender thought it was.
async fn converse(stream: TlsStream<TcpStream>, arrived: &Mutex<Vec<Arrived>>) -> io::Result<()> {
    let mut line = Line { stream, bytes: Vec::new() };
    loop {
        let head = line.until(b"\r\n\r\n").await?;
        let one = Arrived::read(&String::from_utf8_lossy(&head));
        arrived.lock().unwrap().push(one.clone());
        if one.all("transfer-encoding").is_empty() {
            let length = one.all("content-length").first().map_or(Ok(0), |length| length.parse());
            line.take(length.map_err(|_| MALFORMED)?).await?;
        } else {
            while line.chunk().await? {}
        }
        line.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
        line.stream.flush().await?;
    }
}

/// What was received and not yet read.
struct Line {
    stream: TlsStream<TcpStream>,
    bytes: Vec<u8>,
}

impl Line {
    async fn receive(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.bytes.len() < count {
            self.receive().await?;
        }
        Ok(self.bytes.drain(..count).collect())
    }

    async fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.bytes.windows(end.len()).position(|window| window == end) {
                return self.take(at + end.len()).await;
            }
            self.receive().await?;
        }
    }

    /// One chunk; whether there is another one.
    async fn chunk(&mut self) -> io::Result<bool> {
        let size = self.until(b"\r\n").await?;
        let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16);
        let size = size.map_err(|_| MALFORMED)?;
        match self.take(size + 2).await?.ends_with(b"\r\n") {
            true => Ok(size > 0),
            false => Err(MALFORMED.into()),
        }
    }
}
