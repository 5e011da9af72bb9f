//! Connections that switch protocols: exec, attach and port-forward.

use http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::gateway::testkit::*;
use crate::gateway::*;

#[tokio::test]
async fn a_websocket_carries_bytes_both_ways() {
    let world = World::start(GatewaySettings::default()).await;
    let lines = format!(
        "Upgrade: websocket\r\nAuthorization: Bearer {TOKEN}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Remote-User: admin\r\n"
    );
    let (mut tunnel, head) = world.exec(&lines).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
    assert!(head.contains("sec-websocket-protocol: v5.channel.k8s.io") && !head.contains("set-cookie"), "{head}");
    let mut greeting = [0; 6];
    within(tunnel.read_exact(&mut greeting)).await.unwrap();
    assert_eq!(&greeting, b"hello:");
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let (mut reader, mut writer) = tunnel.split();
    let mut received = vec![0; sent.len()];
    let (wrote, read) = within(futures::future::join(writer.write_all(&sent), reader.read_exact(&mut received))).await;
    assert!(wrote.is_ok() && read.is_ok());
    assert!(received == sent);
    let seen = world.tenant.last();
    assert_eq!((seen.version, seen.target.as_str()), (Version::HTTP_11, EXEC));
    assert_eq!(seen.authority, world.tenant.upstream.address);
    assert!(seen.headers.contains_key("sec-websocket-key") && !seen.headers.contains_key("x-remote-user"));
    writer.shutdown().await.unwrap();
    assert_eq!(within(reader.read(&mut received)).await.unwrap(), 0, "the tenant closes after the caller");
}

#[tokio::test]
async fn spdy_is_carried_as_well() {
    let world = World::start(GatewaySettings::default()).await;
    let request = format!(
        "POST /k8s/ws-1{EXEC} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         Content-Length: 0\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let (mut tunnel, head) = world.raw(request.as_bytes()).await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("SPDY/3.1"), "{head}");
    tunnel.write_all(b"ping").await.unwrap();
    let mut received = [0; 10];
    within(tunnel.read_exact(&mut received)).await.unwrap();
    assert_eq!(&received, b"hello:ping");
    assert_eq!(world.tenant.last().headers["x-stream-protocol-version"], "v4.channel.k8s.io");
}

#[tokio::test]
async fn a_browser_shows_its_token_as_a_sub_protocol_which_the_tenant_does_not_see() {
    use base64::Engine;
    let world = World::start(GatewaySettings::default()).await;
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(TOKEN);
    let protocols = format!("base64url.bearer.authorization.k8s.io.{token}, v5.channel.k8s.io");
    let (_, head) = world.exec(&format!("Upgrade: websocket\r\nSec-WebSocket-Protocol: {protocols}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let seen = world.tenant.last();
    assert_eq!(seen.headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(seen.headers["sec-websocket-protocol"], "v5.channel.k8s.io");
}

#[tokio::test]
async fn an_upgrade_the_tenant_declines_is_an_ordinary_answer_and_h2c_is_none() {
    let world = World::start(GatewaySettings::default()).await;
    for upgrade in ["websocket", "h2c"] {
        let request = format!(
            "GET /k8s/ws-1/api HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\nUpgrade: {upgrade}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        let (mut stream, head) = world.raw(request.as_bytes()).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut body = [0; 6];
        within(stream.read_exact(&mut body)).await.unwrap();
        assert_eq!(&body, b"answer");
        assert_eq!(world.tenant.last().headers.contains_key("upgrade"), upgrade == "websocket");
    }
}
