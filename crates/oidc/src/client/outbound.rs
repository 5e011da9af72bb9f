//! The way out: requests to addresses that somebody else chose.
//!
//! A provider's configuration names further addresses, and a name leads wherever its owner says. So that nobody can make
//! this server talk to what only it can reach (the cloud's metadata service, the host cluster, a database), a name is
//! resolved once, addresses that are not public are thrown away, and the connection goes to what is left of that answer.
//! Redirects are not followed, proxies of the environment are not used, answers are capped in size and time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{RequestBuilder, StatusCode, redirect};
use serde::de::DeserializeOwned;
use url::Host;

use super::ClientError;

const MAX_BODY: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Services that give credentials to whoever can reach them, at addresses that are private or even public.
const METADATA_SERVICES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Whether anybody on the internet could reach the address as well: then connecting to it gives nothing away.
///
/// False for loopback, unspecified, private, shared (carrier-grade NAT), link-local, multicast, documentation and
/// benchmarking addresses, for those that carry an IPv4 address inside (mapped, compatible, NAT64, 6to4, Teredo), and for
/// metadata services.
pub fn is_public(ip: IpAddr) -> bool {
    let reserved = match ip {
        IpAddr::V4(ip) => is_reserved_v4(ip),
        IpAddr::V6(ip) => is_reserved_v6(ip),
    };
    !reserved && !METADATA_SERVICES.contains(&ip)
}

/// The IANA registry of special-purpose IPv4 addresses, and multicast.
fn is_reserved_v4(ip: Ipv4Addr) -> bool {
    match ip.octets() {
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] => true,
        [100, second, ..] => (64..128).contains(&second),
        [172, second, ..] => (16..32).contains(&second),
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        [first, ..] => first >= 224,
    }
}

/// Everything but global unicast, and of that what the IANA registry gives a special purpose.
fn is_reserved_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    match first {
        0x2001 => second < 0x0200 || second == 0x0db8,
        0x2002 => true,
        0x3fff => second < 0x1000,
        _ => first & 0xe000 != 0x2000,
    }
}

/// The networks of companies and data centres: RFC 1918, RFC 6598, and unique local addresses.
fn is_private_network(ip: IpAddr) -> bool {
    let private = match ip {
        IpAddr::V4(ip) => ip.is_private() || matches!(ip.octets(), [100, 64..128, ..]),
        IpAddr::V6(ip) => ip.is_unique_local(),
    };
    private && !METADATA_SERVICES.contains(&ip)
}

/// Where requests to one provider may lead. Public addresses always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// Also into private networks: the operator says that the provider is there.
    pub private_networks: bool,
    /// Also to this computer itself: the provider's issuer is a loopback address.
    pub loopback: bool,
}

impl Reach {
    fn permits(self, ip: IpAddr) -> bool {
        is_public(ip) || (self.loopback && ip.is_loopback()) || (self.private_networks && is_private_network(ip))
    }
}

/// A host that leads where requests must not go.
#[derive(Debug, thiserror::Error)]
#[error("the host leads to no address that may be connected to")]
struct OutOfReach;

/// Resolves a name and keeps of the answer what is within reach.
#[derive(Debug, Clone, Copy)]
struct Resolver(Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self(reach) = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let within: Vec<SocketAddr> = found.filter(|address| reach.permits(address.ip())).collect();
            if within.is_empty() {
                return Err(OutOfReach.into());
            }
            Ok(Box::new(within.into_iter()) as Addrs)
        })
    }
}

/// What requests to one provider go through.
#[derive(Debug, Clone)]
pub struct Outbound {
    client: reqwest::Client,
    reach: Reach,
}

impl Outbound {
    /// A way out that leads as far as `reach`. Fails only when TLS cannot be set up.
    pub fn new(reach: Reach) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Resolver(reach))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("hexabase/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, reach })
    }

    pub(super) fn get(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }

    pub(super) fn post(&self, url: &str) -> RequestBuilder {
        self.client.post(url)
    }

    /// Sends the request and reads at most 1 MB of the answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, ClientError> {
        let (client, request) = request.header("accept", "application/json").build_split();
        let request = request.map_err(|source| unreachable(String::new(), source))?;
        let url = request.url().to_string();
        // Literals are not resolved, so the resolver does not see them.
        let literal = match request.url().host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) | None => None,
        };
        if literal.is_some_and(|ip| !self.reach.permits(ip)) {
            return Err(ClientError::OutOfReach { url });
        }
        let mut response = client.execute(request).await.map_err(|source| unreachable(url.clone(), source))?;
        if response.status().is_redirection() {
            return Err(ClientError::Redirected { url });
        }
        if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
            return Err(ClientError::TooLarge { url });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| unreachable(url.clone(), source))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(ClientError::TooLarge { url });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: response.status(), headers: response.headers().clone(), body, url })
    }
}

fn unreachable(url: String, source: reqwest::Error) -> ClientError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
    while let Some(error) = cause {
        if error.is::<OutOfReach>() {
            return ClientError::OutOfReach { url };
        }
        cause = error.source();
    }
    ClientError::Unreachable { url, source: source.without_url() }
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    pub(super) url: String,
}

impl Answer {
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get(HeaderName::from_static(name)).and_then(|value| value.to_str().ok())
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ClientError::NotUnderstood { url: self.url.clone(), reason: error.to_string() })
    }

    pub(super) fn ok(self) -> Result<Self, ClientError> {
        match self.status {
            StatusCode::OK => Ok(self),
            status => Err(ClientError::Status { url: self.url, status: status.as_u16() }),
        }
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
