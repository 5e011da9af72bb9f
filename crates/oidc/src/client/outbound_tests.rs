//! Every way to write an address that must not be connected to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::*;

/// Hosts as a URL has them. Each is loopback, private, shared, link-local, reserved or a metadata service, whatever way it
/// is written.
const REFUSED: [&str; 95] = [
    // Loopback, as browsers and `url` read it.
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7F.1",
    "0x7f.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "00000177.1",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "１２７.0.0.1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "localhost",
    "LOCALHOST",
    "ⓛocalhost",
    "ｌｏｃａｌｈｏｓｔ",
    // An IPv4 address inside of an IPv6 address.
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:8.8.8.8]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::8.8.8.8]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a00:1::1]",
    "[2002:a9fe:a9fe::]",
    "[2001::1]",
    "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    // Unspecified.
    "0.0.0.0",
    "0",
    "0x0",
    "00.0",
    "0.0.0.1",
    "[::]",
    // Private and shared.
    "10.0.0.1",
    "10.255.255.255",
    "0xa.1",
    "167772161",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "0300.0250.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "[fc00::1]",
    "[fd00::1]",
    "[fdff:ffff::1]",
    "[fec0::1]",
    // Link-local and metadata services.
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[fe80::1]",
    "[febf::1]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    // Reserved, documentation, benchmarking, multicast.
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[100::1]",
    "[2001:2::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[ff02::1]",
    "[5f00::1]",
];

#[tokio::test]
async fn no_way_to_write_an_address_that_is_not_public_leads_to_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let met = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&met);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let http = Outbound::new(Reach::default()).unwrap();
    for host in REFUSED {
        for scheme in ["http", "https"] {
            let refused = http.send(http.get(&format!("{scheme}://{host}:{port}/"))).await.map(|answer| answer.url);
            assert!(matches!(refused, Err(ClientError::OutOfReach { .. })), "{scheme}://{host}: {refused:?}");
        }
    }
    // Resolvers disagree on this one; wherever it leads, it is not there.
    let refused =
        http.send(http.get(&format!("http://localhost.:{port}/"))).await.map(|answer| answer.url).unwrap_err();
    assert!(matches!(refused, ClientError::OutOfReach { .. } | ClientError::Unreachable { .. }), "{refused}");
    assert_eq!(met.load(Ordering::Relaxed), 0, "nobody came");
    // The listener would have noticed.
    let loopback = Outbound::new(Reach { loopback: true, ..Reach::default() }).unwrap();
    assert!(loopback.send(loopback.get(&format!("http://127.1:{port}/"))).await.is_err(), "it hangs up");
    assert_eq!(met.load(Ordering::Relaxed), 1);
}

#[test]
fn addresses_of_the_internet_are_public() {
    for ip in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "140.82.121.3",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "192.0.3.1",
        "192.88.98.1",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.112.1",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700::1111",
        "2a00:1450::1",
        "3ffe::1",
        "3fff:1000::1",
    ] {
        assert!(is_public(ip.parse().unwrap()), "{ip}");
    }
}

#[test]
fn each_permission_opens_what_it_names_and_nothing_else() {
    let permits = |reach: Reach, ip: &str| reach.permits(ip.parse().unwrap());
    let (public, private, loopback) = (
        Reach::default(),
        Reach { private_networks: true, ..Reach::default() },
        Reach { loopback: true, ..Reach::default() },
    );
    for (ip, expected) in [
        ("1.1.1.1", [true, true, true]),
        ("10.1.2.3", [false, true, false]),
        ("172.20.0.1", [false, true, false]),
        ("192.168.7.7", [false, true, false]),
        ("100.64.0.9", [false, true, false]),
        ("fd12::1", [false, true, false]),
        ("127.0.0.1", [false, false, true]),
        ("127.8.8.8", [false, false, true]),
        ("::1", [false, false, true]),
        ("::ffff:127.0.0.1", [false, false, false]),
        ("::ffff:10.0.0.1", [false, false, false]),
        ("0.0.0.0", [false, false, false]),
        ("169.254.169.254", [false, false, false]),
        ("fe80::1", [false, false, false]),
        ("100.100.100.200", [false, false, false]),
        ("fd00:ec2::254", [false, false, false]),
        ("168.63.129.16", [false, false, false]),
    ] {
        assert_eq!([public, private, loopback].map(|reach| permits(reach, ip)), expected, "{ip}");
    }
}
