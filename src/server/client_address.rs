//! The headers of the PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): by them a proxy that does not end TLS says
//! whom a connection comes from, before anything else on it. Which proxies are believed is the model's.

use std::net::SocketAddr;

use hyper::HeaderMap;
use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::model::proxies::Proxies;

/// The longest header of version 1, line end included (section 2.1).
const V1: usize = 107;
/// What a header of version 2 begins with (section 2.2).
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The bytes of a header of version 2 before its addresses, the last two of which say how many follow.
const V2_FIXED: usize = 16;
/// The most bytes that may follow: both addresses of a Unix socket, and room for what cloud load balancers add.
const V2_REST: usize = 2048;

/// Who is at the other end of a new connection; reads what the proxy says of it and not a byte more. `None` when a proxy does not say
/// it: the connection cannot be served, since nobody knows whose it is.
pub(super) async fn of_connection(
    proxies: &Proxies,
    stream: &mut (impl AsyncRead + Unpin),
    peer: SocketAddr,
) -> Option<SocketAddr> {
    if !proxies.begin_connections(peer.ip()) {
        return Some(peer);
    }
    let header = read_header(stream).await;
    let client = header.as_deref().and_then(|header| client_of(header, peer));
    if client.is_none() {
        tracing::warn!(proxy = %peer.ip(), "a connection does not begin with a header of the PROXY protocol and is closed");
    }
    client
}

/// Who sent a request over a connection from `peer`.
pub(super) fn of_request(proxies: &Proxies, headers: &HeaderMap, peer: SocketAddr) -> SocketAddr {
    match proxies.header() {
        None => peer,
        Some(header) => {
            let values: Vec<_> = headers.get_all(header).iter().map(|value| value.to_str().unwrap_or_default()).collect();
            proxies.client(peer, &values)
        }
    }
}

/// The header that a connection begins with, of either version.
async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    // No header of version 1 is shorter than this either.
    let mut header = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut header).await.ok()?;
    if header == V2_SIGNATURE {
        header.resize(V2_FIXED, 0);
        stream.read_exact(&mut header[V2_SIGNATURE.len()..]).await.ok()?;
        let rest = usize::from(u16::from_be_bytes([header[V2_FIXED - 2], header[V2_FIXED - 1]]));
        if rest > V2_REST {
            return None;
        }
        header.resize(V2_FIXED + rest, 0);
        stream.read_exact(&mut header[V2_FIXED..]).await.ok()?;
        return Some(header);
    }
    // A line whose length is not told: what follows it is TLS's.
    while !header.ends_with(b"\r\n") {
        if header.len() == V1 {
            return None;
        }
        header.push(stream.read_u8().await.ok()?);
    }
    Some(header)
}

/// Whom a header names; the proxy itself when that speaks for itself, as in a check of its own.
fn client_of(header: &[u8], proxy: SocketAddr) -> Option<SocketAddr> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => match header.addresses {
            v1::Addresses::Tcp4(tcp) => Some(SocketAddr::new(tcp.source_address.into(), tcp.source_port)),
            v1::Addresses::Tcp6(tcp) => Some(SocketAddr::new(tcp.source_address.into(), tcp.source_port)),
            v1::Addresses::Unknown => Some(proxy),
        },
        HeaderResult::V2(Ok(header)) => match (header.command, header.addresses) {
            (v2::Command::Local, _) => Some(proxy),
            (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => Some(SocketAddr::new(ip.source_address.into(), ip.source_port)),
            (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => Some(SocketAddr::new(ip.source_address.into(), ip.source_port)),
            (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => Some(proxy),
        },
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// What the connection is taken for, and what is left of it.
    async fn taken_for(peer: &str, bytes: &[u8]) -> (Option<SocketAddr>, Vec<u8>) {
        let proxies = Proxies::Protocol { addresses: vec!["10.0.0.0/8".parse().unwrap()] };
        let mut stream = bytes;
        let client = of_connection(&proxies, &mut stream, at(peer)).await;
        (client, stream.to_vec())
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[0x20 | command, family], &length[..], rest, b"TLS"].concat()
    }

    #[tokio::test]
    async fn a_header_of_either_version_is_read_and_nothing_behind_it() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];
        let with_more = [&v4[..], &[0x04, 0x00, 0x01, 0x00]].concat();
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db9::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&4711_u16.to_be_bytes());
        for (bytes, client) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\nTLS".to_vec(), "192.0.2.7:4711"),
            (b"PROXY TCP6 2001:db9::7 ::1 4711 443\r\nTLS".to_vec(), "[2001:db9::7]:4711"),
            (b"PROXY UNKNOWN\r\nTLS".to_vec(), "10.0.0.1:1"),
            (version_2(1, 0x11, &v4), "192.0.2.7:4711"),
            (version_2(1, 0x11, &with_more), "192.0.2.7:4711"),
            (version_2(1, 0x21, &v6), "[2001:db9::7]:4711"),
            (version_2(0, 0x00, &[]), "10.0.0.1:1"),
        ] {
            assert_eq!(taken_for("10.0.0.1:1", &bytes).await, (Some(at(client)), b"TLS".to_vec()), "{client}");
        }
    }

    #[tokio::test]
    async fn a_proxy_must_say_whom_it_speaks_for_and_nobody_else_may() {
        let too_long = [&b"PROXY TCP4 "[..], &[b'1'; 200], b"\r\n"].concat();
        let huge = [&V2_SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &[0; 65_535]].concat();
        for bytes in [
            &b""[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client hello that is long enough to be one, and has no line end in it at all",
            b"PROXY TCP4 192.0.2.7\r\n",
            b"PROXY TCP4 a b c d\r\nTLS",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711",
            &V2_SIGNATURE[..],
            &version_2(1, 0x11, &[1, 2, 3])[..],
            &too_long,
            &huge,
        ] {
            assert_eq!(taken_for("10.0.0.1:1", bytes).await.0, None, "{}", String::from_utf8_lossy(bytes));
        }
        let lie = b"PROXY TCP4 10.0.0.9 10.0.0.1 4711 443\r\n";
        assert_eq!(taken_for("192.0.2.9:1", lie).await, (Some(at("192.0.2.9:1")), lie.to_vec()));
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0..3) {
            let begun: &[u8] = [&b""[..], b"PROXY TCP4 ", V2_SIGNATURE][version as usize];
            let bytes = [begun, &bytes].concat();
            let _ = client_of(&bytes, at("10.0.0.1:1"));
        }
    }
}
