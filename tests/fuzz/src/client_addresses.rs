//! Whom a proxy speaks for. Two texts: the values of X-Forwarded-For, with `|` between them, and what a connection begins with: a header
//! of the PROXY protocol, and the rest.

use std::net::{IpAddr, SocketAddr};

use keystead::model::access::parse_source;
use keystead::model::proxies::Proxies;
use keystead::server::in_process;

use super::{Verdict, text};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

pub fn check(input: &[u8]) -> Verdict {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let peer: SocketAddr = "10.0.0.1:1".parse().expect("an address");
    if let Some(values) = text(&input[..at]) {
        forwarded(&values.split('|').collect::<Vec<_>>(), peer);
    }
    let connection = input.get(at + 1..).unwrap_or_default();
    let proxies = Proxies::Protocol { addresses: vec![parse_source("10.0.0.0/8").expect("a block")] };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut rest = connection;
    let client = runtime.block_on(in_process::client_of_connection(&proxies, &mut rest, peer));
    let read = &connection[..connection.len() - rest.len()];
    if let Some(client) = client {
        assert_eq!(client, named_by(read, peer), "{read:?}");
    }
    // Who is no proxy is the client, and nothing of what it sends is taken for a header.
    let stranger: SocketAddr = "192.0.2.9:1".parse().expect("an address");
    let mut rest = connection;
    assert_eq!(runtime.block_on(in_process::client_of_connection(&proxies, &mut rest, stranger)), Some(stranger));
    assert_eq!(rest, connection);
    Verdict::of(client.as_ref())
}

/// The right-most address that is none of our proxies, 10.0.0.0/8; the last proxy that is known when there is none.
fn forwarded(values: &[&str], peer: SocketAddr) {
    let proxies = Proxies::Header {
        addresses: vec![parse_source("10.0.0.0/8").expect("a block")],
        header: "X-Forwarded-For".parse().expect("a name"),
    };
    let ours = |address: IpAddr| matches!(address.to_canonical(), IpAddr::V4(v4) if v4.octets()[0] == 10);
    let mut expected = peer.ip();
    for part in values.join(",").rsplit(',').map(str::trim) {
        let bare = part.strip_prefix('[').and_then(|part| part.strip_suffix(']')).unwrap_or(part);
        let address = bare.parse::<IpAddr>().ok().or_else(|| part.parse::<SocketAddr>().ok().map(|address| address.ip()));
        match address {
            Some(address) if ours(expected) => expected = address,
            Some(_) | None => break,
        }
    }
    assert_eq!(proxies.client(peer, values).ip(), expected, "{values:?}");
    let stranger: SocketAddr = "192.0.2.9:1".parse().expect("an address");
    assert_eq!(proxies.client(stranger, values), stranger);
}

/// The client that a header which was taken names, the proxy when it names none (proxy-protocol.txt, sections 2.1 and 2.2).
fn named_by(header: &[u8], proxy: SocketAddr) -> SocketAddr {
    if let Some(rest) = header.strip_prefix(V2) {
        let (fixed, addresses) = rest.split_at(4);
        assert_eq!(addresses.len(), usize::from(u16::from_be_bytes([fixed[2], fixed[3]])));
        assert_eq!(fixed[0] >> 4, 2);
        let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
        return match (fixed[0] & 15, fixed[1] >> 4) {
            (0, _) | (1, 0 | 3) => proxy,
            (1, 1) => SocketAddr::new(<[u8; 4]>::try_from(&addresses[..4]).expect("4 bytes").into(), port(8)),
            (1, 2) => SocketAddr::new(<[u8; 16]>::try_from(&addresses[..16]).expect("16 bytes").into(), port(32)),
            other => panic!("{other:?}"),
        };
    }
    let line = text(header).and_then(|text| text.strip_suffix("\r\n")).expect("one line");
    let words: Vec<_> = line.split(' ').collect();
    assert_eq!(words[0], "PROXY");
    match words[1] {
        "UNKNOWN" => proxy,
        family @ ("TCP4" | "TCP6") => {
            let address: IpAddr = words[2].parse().expect("an address");
            assert_eq!((words.len(), address.is_ipv4()), (6, family == "TCP4"), "{line:?}");
            SocketAddr::new(address, words[4].parse().expect("a port"))
        }
        other => panic!("{other:?}"),
    }
}
