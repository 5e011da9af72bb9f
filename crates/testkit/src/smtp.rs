//! A mail server that keeps what it is sent: SMTP (RFC 5321) as far as a client needs it to hand a mail over, with answers
//! that a test can choose.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long a test waits for a mail.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mail that was taken.
#[derive(Debug, Clone)]
pub struct Mail {
    /// What the client called itself.
    pub hello: String,
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// As it came, without the dots that SMTP adds.
    pub raw: String,
}

#[derive(Debug, Default)]
struct World {
    taken: Vec<Mail>,
    answers: VecDeque<String>,
    refused: usize,
}

#[derive(Debug, Default)]
struct Shared {
    world: Mutex<World>,
    changed: Notify,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running mail server on a free port of the loopback address; ends when dropped.
#[derive(Debug)]
pub struct SmtpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl SmtpServer {
    /// Starts one that takes every mail.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, shared) = (listener.local_addr()?, Arc::new(Shared::default()));
        let world = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let world = Arc::clone(&world);
                // A client that hangs up in the middle has sent nothing.
                tokio::spawn(async move { talk(stream, &world).await.ok() });
            }
        });
        Ok(Self { address, shared, listening })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the next recipient with this line instead of taking it, such as `550 5.1.1 nobody here`.
    pub fn answer_next(&self, line: &str) {
        self.shared.world().answers.push_back(line.to_owned());
    }

    /// The mails that were taken, in order.
    pub fn taken(&self) -> Vec<Mail> {
        self.shared.world().taken.clone()
    }

    /// How many recipients were refused.
    pub fn refused(&self) -> usize {
        self.shared.world().refused
    }

    /// Mail number `number`, counting from 0, once it was taken.
    pub async fn mail(&self, number: usize) -> anyhow::Result<Mail> {
        let waiting = async {
            loop {
                let changed = self.shared.changed.notified();
                if let Some(mail) = self.shared.world().taken.get(number) {
                    return mail.clone();
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.with_context(|| format!("mail {number} did not come"))
    }
}

/// One client, until it quits or hangs up.
async fn talk(stream: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    say(&mut stream, "220 mail.example.test ready").await?;
    let (mut hello, mut from, mut to) = (String::new(), None, Vec::new());
    while let Some(line) = read(&mut stream).await? {
        let upper = line.to_ascii_uppercase();
        let word = upper.split([' ', ':']).next().unwrap_or_default();
        match word {
            "EHLO" | "HELO" => {
                hello = line.split_once(' ').unwrap_or_default().1.to_owned();
                say(&mut stream, "250 mail.example.test").await?;
            }
            "MAIL" => {
                (from, to) = (Some(path(&line)?), Vec::new());
                say(&mut stream, "250 2.1.0 sender ok").await?;
            }
            "RCPT" => {
                let answer = shared.world().answers.pop_front();
                match answer {
                    Some(answer) => {
                        shared.world().refused += 1;
                        shared.changed.notify_waiters();
                        say(&mut stream, &answer).await?;
                    }
                    None => {
                        to.push(path(&line)?);
                        say(&mut stream, "250 2.1.5 recipient ok").await?;
                    }
                }
            }
            "DATA" if from.is_some() && !to.is_empty() => {
                say(&mut stream, "354 go on, end with a dot").await?;
                let raw = data(&mut stream).await?;
                let mail = Mail {
                    hello: hello.clone(),
                    from: from.take().unwrap_or_default(),
                    to: std::mem::take(&mut to),
                    raw,
                };
                shared.world().taken.push(mail);
                shared.changed.notify_waiters();
                say(&mut stream, "250 2.0.0 taken").await?;
            }
            "RSET" => {
                (from, to) = (None, Vec::new());
                say(&mut stream, "250 2.0.0 forgotten").await?;
            }
            "NOOP" => say(&mut stream, "250 2.0.0 ok").await?,
            "QUIT" => {
                say(&mut stream, "221 2.0.0 bye").await?;
                return Ok(());
            }
            "DATA" => say(&mut stream, "503 5.5.1 sender and recipient first").await?,
            _ => say(&mut stream, "502 5.5.1 not known here").await?,
        }
    }
    Ok(())
}

async fn say(stream: &mut BufReader<TcpStream>, line: &str) -> anyhow::Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    Ok(stream.flush().await?)
}

async fn read(stream: &mut BufReader<TcpStream>) -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// What stands between `<` and `>`.
fn path(line: &str) -> anyhow::Result<String> {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    Ok(inner.with_context(|| format!("no address in {line}"))?.0.to_owned())
}

async fn data(stream: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let mut raw = String::new();
    while let Some(line) = read(stream).await? {
        if line == "." {
            return Ok(raw);
        }
        raw.push_str(line.strip_prefix('.').unwrap_or(&line));
        raw.push_str("\r\n");
    }
    bail!("the client hung up in the middle of a mail")
}

impl Mail {
    fn parts(&self) -> (&str, &str) {
        self.raw.split_once("\r\n\r\n").unwrap_or((&self.raw, ""))
    }

    /// The names of its headers, in lower case and in order.
    pub fn header_names(&self) -> Vec<String> {
        let lines = self.parts().0.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
        lines.filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_ascii_lowercase()).collect()
    }

    /// The header of this name as people read it: in one line, with its encoded words decoded (RFC 2047).
    pub fn header(&self, name: &str) -> anyhow::Result<String> {
        let unfolded = self.parts().0.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut found = unfolded.split("\r\n").filter_map(|line| line.split_once(':'));
        let (_, value) = found
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .with_context(|| format!("there is no header {name}"))?;
        decode_words(value.trim())
    }

    /// The text, decoded.
    pub fn text(&self) -> anyhow::Result<String> {
        let (_, body) = self.parts();
        let encoding = self.header("content-transfer-encoding").unwrap_or_else(|_| "7bit".to_owned());
        let bytes = match encoding.to_ascii_lowercase().as_str() {
            "base64" => STANDARD.decode(body.replace("\r\n", ""))?,
            "quoted-printable" => quoted_printable(&body.replace("=\r\n", ""), false)?,
            "7bit" | "8bit" => body.as_bytes().to_vec(),
            other => bail!("an encoding that nobody knows: {other}"),
        };
        Ok(String::from_utf8(bytes)?.replace("\r\n", "\n"))
    }
}

fn decode_words(value: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut after_word = false;
    for word in value.split(' ') {
        let inner = word.strip_prefix("=?").and_then(|word| word.strip_suffix("?="));
        let parts: Vec<&str> = inner.map(|inner| inner.splitn(3, '?').collect()).unwrap_or_default();
        let decoded = match parts.as_slice() {
            [charset, kind, data] if charset.eq_ignore_ascii_case("utf-8") => Some(match *kind {
                "b" | "B" => STANDARD.decode(data)?,
                "q" | "Q" => quoted_printable(data, true)?,
                other => bail!("an encoded word of kind {other}"),
            }),
            _ => None,
        };
        // White space between two encoded words is none.
        if !text.is_empty() && (!after_word || decoded.is_none()) {
            text.push(' ');
        }
        after_word = decoded.is_some();
        match decoded {
            Some(bytes) => text.push_str(&String::from_utf8(bytes)?),
            None => text.push_str(word),
        }
    }
    Ok(text)
}

fn quoted_printable(text: &str, in_header: bool) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'=' => {
                let pair = [rest.next().context("cut off")?, rest.next().context("cut off")?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&pair)?, 16)?);
            }
            b'_' if in_header => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(raw: &str) -> Mail {
        Mail { hello: String::new(), from: String::new(), to: Vec::new(), raw: raw.replace('\n', "\r\n") }
    }

    #[test]
    fn headers_and_texts_are_read_as_people_read_them() -> anyhow::Result<()> {
        let one = mail(
            "Subject: =?utf-8?b?5oub5b6F?= =?utf-8?b?54q2?=\n =?utf-8?q?_=C3=A4?= end\nTo: a@b\n\
             Content-Transfer-Encoding: quoted-printable\n\nS=C3=B6hne, a =\nlong line\n",
        );
        assert_eq!(one.header("subject")?, "招待状 ä end");
        assert_eq!(one.header("TO")?, "a@b");
        assert_eq!(one.header_names(), ["subject", "to", "content-transfer-encoding"]);
        assert_eq!(one.text()?, "Söhne, a long line\n");
        assert!(one.header("bcc").is_err());
        assert_eq!(mail("Content-Transfer-Encoding: base64\n\n5oub\n5b6F\n").text()?, "招待");
        assert_eq!(mail("To: a@b\n\nplain\n").text()?, "plain\n");
        Ok(())
    }
}
