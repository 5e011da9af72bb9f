//! The browser's way back from sign-in: a listener on a loopback port of this machine (RFC 8252 section 7.3).

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::Url;

use crate::error::{Error, Kind, Result};

const PATH: &str = "/callback";
const MOST_BYTES: usize = 16 * 1024;
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for the one callback that carries our state.
pub(crate) struct Callback {
    listener: TcpListener,
    redirect_uri: String,
}

/// What a request to the listener is.
#[derive(Debug, PartialEq, Eq)]
enum Visit {
    /// Some other page, such as the browser's search for an icon.
    Elsewhere,
    /// A callback that is not an answer to our request.
    Foreign,
    /// Sign-in succeeded; the code to be exchanged.
    Code(String),
    /// Sign-in was refused, and why.
    Refused(String),
}

impl Callback {
    /// Listens on a free port.
    pub(crate) async fn bind() -> Result<Self> {
        let failed = |error| {
            Error::new(Kind::Failure, "cannot listen on 127.0.0.1")
                .hint("sign in with: hxb login --device")
                .because(error)
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, redirect_uri: format!("http://127.0.0.1:{port}{PATH}") })
    }

    /// Where the browser is to be sent back to.
    pub(crate) fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Waits for the code. Requests that do not belong to this sign-in are answered with a refusal and change nothing.
    pub(crate) async fn code(&self, state: &str, issuer: &str) -> Result<String> {
        let (sender, mut visits) = mpsc::channel(4);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Ok((stream, _)) = self.listener.accept() => {
                    let (sender, state, issuer) = (sender.clone(), state.to_owned(), issuer.to_owned());
                    connections.spawn(async move {
                        if let Ok(Some(visit)) = tokio::time::timeout(READ_TIMEOUT, serve(stream, &state, &issuer)).await {
                            let _ = sender.send(visit).await;
                        }
                    });
                }
                Some(visit) = visits.recv() => match visit {
                    Visit::Code(code) => return Ok(code),
                    Visit::Refused(why) => return Err(Error::new(Kind::NotSignedIn, format!("sign-in was refused: {why}"))),
                    Visit::Elsewhere | Visit::Foreign => {}
                },
            }
        }
    }
}

fn read_request(head: &str, state: &str, issuer: &str) -> Visit {
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (Some("GET"), Some(target)) = (words.next(), words.next()) else { return Visit::Elsewhere };
    let Ok(url) = Url::parse("http://127.0.0.1").and_then(|base| base.join(target)) else { return Visit::Elsewhere };
    if url.path() != PATH {
        return Visit::Elsewhere;
    }
    let one = |name: &str| {
        let mut values = url.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let first = values.next();
        if values.next().is_some() { None } else { first }
    };
    // RFC 9207: an answer of another issuer is not ours.
    if one("state").as_deref() != Some(state) || one("iss").is_some_and(|from| from != issuer) {
        return Visit::Foreign;
    }
    match (one("code"), one("error")) {
        (Some(code), None) => Visit::Code(code),
        (_, Some(error)) => Visit::Refused(one("error_description").unwrap_or(error)),
        (None, None) => Visit::Foreign,
    }
}

async fn serve(mut stream: TcpStream, state: &str, issuer: &str) -> Option<Visit> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MOST_BYTES || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let visit = read_request(&String::from_utf8_lossy(&head), state, issuer);
    let (status, text) = match &visit {
        Visit::Elsewhere => ("404 Not Found", "There is nothing here."),
        Visit::Foreign => {
            ("400 Bad Request", "This sign-in was not started by the hxb that is waiting. Start again with: hxb login")
        }
        Visit::Code(_) => ("200 OK", "You are signed in. Go back to the terminal; this window can be closed."),
        Visit::Refused(_) => ("200 OK", "You are not signed in. The terminal says why; this window can be closed."),
    };
    let page =
        format!("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>hxb</title><p>{text}</p></html>\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         content-security-policy: default-src 'none'\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    let _ = stream.shutdown().await;
    Some(visit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(target: &str) -> Visit {
        read_request(&format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), "S", "https://a/oidc/platform")
    }

    #[test]
    fn only_an_answer_with_our_state_counts() {
        assert_eq!(visit("/callback?code=C&state=S"), Visit::Code("C".to_owned()));
        assert_eq!(
            visit("/callback?code=C&state=S&iss=https%3A%2F%2Fa%2Foidc%2Fplatform"),
            Visit::Code("C".to_owned())
        );
        for foreign in [
            "?code=C&state=T",
            "?code=C",
            "",
            "?code=C&state=S&state=S",
            "?state=S",
            "?code=C&state=S&iss=https%3A%2F%2Fb",
        ] {
            assert_eq!(visit(&format!("/callback{foreign}")), Visit::Foreign, "{foreign}");
        }
        assert_eq!(visit("/favicon.ico"), Visit::Elsewhere);
        assert_eq!(read_request("POST /callback?code=C&state=S HTTP/1.1", "S", ""), Visit::Elsewhere);
    }

    #[test]
    fn a_refusal_is_passed_on_in_the_servers_words() {
        assert_eq!(visit("/callback?error=access_denied&state=S"), Visit::Refused("access_denied".to_owned()));
        assert_eq!(
            visit("/callback?error=x&error_description=Not+you.&state=S"),
            Visit::Refused("Not you.".to_owned())
        );
    }
}
