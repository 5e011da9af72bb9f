//! The HTTP client, and what its failures mean to a person.

use std::env::consts::{ARCH, OS};
use std::error::Error as StdError;
use std::time::Duration;

use hexabase_api::problem::{MEDIA_TYPE, Problem};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Response};
use rustls::CertificateError;

use crate::error::{Error, Kind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one request may take; the event stream has no such limit.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for one for which the server waits for somebody else, such as a workspace that wakes: longer than it lets that
/// take.
pub(crate) const WORK_TIMEOUT: Duration = Duration::from_secs(90);

/// A client for the server at `server`, trusting `certificate_authority` alone when there is one. Redirects are not
/// followed: they would carry secrets to an address that nobody chose.
pub(crate) fn client(server: &str, certificate_authority: Option<&str>) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(format!("hxb/{} ({OS}; {ARCH})", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none());
    if let Some(pem) = certificate_authority {
        let certificates = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|error| Error::new(Kind::Failure, "the stored certificate authority is damaged").because(error))?;
        builder = builder.tls_certs_only(certificates);
    } else if server.starts_with("http://") {
        // A machine without any certificate authorities can still talk to itself.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| {
        Error::new(Kind::Failure, "cannot set up TLS")
            .hint("install the system's certificate authorities, or give --certificate-authority FILE to hxb login")
            .because(error)
    })
}

/// The certificates of a PEM file, and nothing else that may be in it.
pub(crate) fn certificates_of(pem: &str) -> Result<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut kept = String::new();
    for part in pem.split(BEGIN).skip(1) {
        if let Some((body, _)) = part.split_once(END) {
            kept.push_str(&format!("{BEGIN}{body}{END}\n"));
        }
    }
    let parsed = Certificate::from_pem_bundle(kept.as_bytes()).ok().filter(|certificates| !certificates.is_empty());
    let usable = parsed.and_then(|certificates| reqwest::Client::builder().tls_certs_only(certificates).build().ok());
    match usable {
        Some(_) => Ok(kept),
        None => Err(Error::new(Kind::Failure, "the certificate authority file holds no certificate in PEM form")),
    }
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        // An `io::Error` passes over the error it wraps when asked for its source.
        let wrapped = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    None
}

/// A request that got no answer.
pub(crate) fn unreachable(server: &str, error: reqwest::Error) -> Error {
    let own_authority = format!("if the server has its own authority: hxb login {server} --certificate-authority FILE");
    let (message, hint) = match find::<rustls::Error>(&error) {
        Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                format!("the certificate of {server} is for another name"),
                "use the address that the certificate names".to_owned(),
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                format!("the certificate of {server} has expired"),
                "check this machine's clock, or tell the server's administrator".to_owned(),
            ),
            _ => (
                format!("the certificate of {server} is not signed by an authority that is trusted here"),
                own_authority,
            ),
        },
        Some(_) => (format!("{server} does not speak TLS as expected"), "check the address and the port".to_owned()),
        None if error.is_timeout() => {
            (format!("{server} did not answer in time"), "try again, or check the network".to_owned())
        }
        None => match find::<std::io::Error>(&error).map(std::io::Error::kind) {
            Some(std::io::ErrorKind::ConnectionRefused) => (
                format!("nothing answers at {server}: connection refused"),
                "check the address, and that the server runs".to_owned(),
            ),
            _ if error.is_connect() => (
                format!("cannot reach {server}"),
                "check the address and the network; --verbose shows the cause".to_owned(),
            ),
            _ => (format!("the connection to {server} broke"), "try again".to_owned()),
        },
    };
    Error::new(Kind::Failure, message).hint(hint).because(error)
}

/// An answer of 2xx or, if it is another one, what the server said.
pub(crate) async fn check(server: &str, response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let headers = response.headers().clone();
    let text = response.text().await.unwrap_or_default();
    let is_problem = header(&headers, CONTENT_TYPE.as_str()).is_some_and(|media| media.starts_with(MEDIA_TYPE));
    if is_problem && let Ok(problem) = serde_json::from_str::<Problem>(&text) {
        let error = Error::from_problem(problem);
        return Err(match header(&headers, "retry-after") {
            Some(seconds) if seconds.bytes().all(|byte| byte.is_ascii_digit()) => {
                error.hint(format!("try again in {seconds} s"))
            }
            _ => error,
        });
    }
    if let (true, Some(location)) = (status.is_redirection(), header(&headers, LOCATION.as_str())) {
        return Err(Error::new(Kind::Failure, format!("{server} sends to another address: {location}"))
            .hint("use that server's address instead"));
    }
    let kind = match status.as_u16() {
        401 => Kind::NotSignedIn,
        404 => Kind::NotFound,
        _ => Kind::Failure,
    };
    Err(Error::new(kind, format!("{server} answered {status} without saying why"))
        .hint("check that the address is that of a Hexabase server"))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An answer that is not what was asked for.
pub(crate) fn not_understood(server: &str, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::new(Kind::Failure, format!("the answer of {server} is not understood"))
        .hint("either it is not a Hexabase server, or hxb and the server are of very different versions")
        .because(cause)
}
