//! Where a request came from: the other end of its connection or, behind reverse proxies, what they say.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};

use crate::config::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client. A proxy appends the address it was called from to `X-Forwarded-For`, so that the list is read
/// from its end, and only as far as each address is that of a proxy of ours: what stands before the first other one was
/// written by whoever sent the request.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &[Network]) -> IpAddr {
    let is_ours = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
    let mut nearest = peer.to_canonical();
    let told = headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or_default());
    let told: Vec<&str> = told.flat_map(|value| value.split(',')).collect();
    for text in told.into_iter().rev() {
        if !is_ours(nearest) {
            break;
        }
        // An address that cannot be read hides those before it.
        let Some(address) = address_of(text.trim()) else { break };
        nearest = address.to_canonical();
    }
    nearest
}

/// An address, perhaps with a port, as some proxies write it.
fn address_of(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str], proxies: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let proxies: Vec<Network> = proxies.iter().map(|network| network.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn nobody_but_a_proxy_of_ours_is_believed() {
        assert_eq!(client("192.0.2.1", &["203.0.113.9"], &[]), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &["203.0.113.9"], &["10.0.0.0/8"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &[], &[]), "192.0.2.1");
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_clients() {
        let ours = ["10.0.0.0/8", "fd00::/8"];
        for (forwarded, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            // What the client itself wrote stands before.
            (&["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
            (&["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
            (&["203.0.113.9, 10.1.2.3"], "203.0.113.9"),
            (&["203.0.113.9", "fd00::7 , 10.1.2.3"], "203.0.113.9"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
            // Nobody else is named.
            (&[], "10.0.0.1"),
            (&["10.9.9.9"], "10.9.9.9"),
            // What cannot be read is no address, and hides those before it.
            (&["203.0.113.9, unknown"], "10.0.0.1"),
            (&["203.0.113.9, , 10.1.2.3"], "10.1.2.3"),
            (&[""], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", forwarded, &ours), expected, "{forwarded:?}");
        }
        assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.9"], &ours), "203.0.113.9");
    }
}
