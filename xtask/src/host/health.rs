//! Small questions to our processes: does it listen, does it say that it is healthy.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

/// True if somebody accepts connections there.
pub(crate) fn listens(address: Ipv4Addr, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE).is_ok()
}

/// True if `/healthz` answers 200 there (plain HTTP).
pub(crate) fn is_healthy(address: Ipv4Addr, port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut start = [0; 32];
        let read = stream.read(&mut start)?;
        Ok(String::from_utf8_lossy(&start[..read]).into_owned())
    };
    ask().is_ok_and(|start| start.split(' ').nth(1) == Some("200"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_200_is_healthy() {
        for (reply, healthy) in [("HTTP/1.0 200 OK\r\n\r\nok", true), ("HTTP/1.0 503 No\r\n\r\n", false)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 128];
                let _ = stream.read(&mut request).unwrap();
                stream.write_all(reply.as_bytes()).unwrap();
            });
            assert_eq!(is_healthy(Ipv4Addr::LOCALHOST, port), healthy);
            server.join().unwrap();
        }
    }
}
