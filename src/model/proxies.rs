//! The proxies before a listener, and whom they speak for: what they say is believed from configured addresses only.
//!
//! Either a proxy does not end TLS and begins each connection with a header of the PROXY protocol, or it does and adds a header to
//! each request, as X-Forwarded-For. From any other address the peer is the client, and what it says of itself is not looked at.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::base::{Error, Result, excerpt};
use crate::model::access::lists;

/// What stands before a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxies {
    /// Nothing that is believed.
    #[default]
    None,
    /// Connections from these begin with a header of the PROXY protocol, without exception.
    Protocol {
        /// The proxies.
        addresses: Vec<IpNet>,
    },
    /// Requests from these have a header in which each proxy added the address that it was called from.
    Header {
        /// The proxies.
        addresses: Vec<IpNet>,
        /// The header.
        header: HeaderName,
    },
}

/// The name of a header: a token (RFC 9110, section 5.6.2), in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(String);

impl FromStr for HeaderName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !text.is_empty() && text.bytes().all(valid) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(Error::invalid(format!("{:?} is no name of a header.", excerpt(text))))
        }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Proxies {
    /// Whether connections from this address begin with a header of the PROXY protocol.
    pub fn begin_connections(&self, peer: IpAddr) -> bool {
        match self {
            Self::Protocol { addresses } => lists(addresses, peer),
            Self::None | Self::Header { .. } => false,
        }
    }

    /// The header of requests that is looked at, if one is.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Header { header, .. } => Some(&header.0),
            Self::None | Self::Protocol { .. } => None,
        }
    }

    /// Who sent a request over a connection from `peer`, by the values of the header: the right-most address in them that is no proxy
    /// of ours. What stands further left was written by whoever that is. The last proxy that is known, when no address stands there.
    pub fn client(&self, peer: SocketAddr, values: &[&str]) -> SocketAddr {
        let Self::Header { addresses, .. } = self else { return peer };
        let mut named = values.iter().rev().flat_map(|value| value.rsplit(','));
        let mut client = peer;
        while lists(addresses, client.ip()) {
            match named.next().and_then(|text| address(text.trim())) {
                Some(next) => client = next,
                None => break,
            }
        }
        client
    }
}

/// With or without a port, which some proxies add.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 0)).or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::access::parse_source;

    fn of_request(peer: &str, values: &[&str]) -> IpAddr {
        let addresses = ["10.0.0.0/8", "2001:db8::/32"].map(|text| parse_source(text).unwrap()).to_vec();
        let proxies = Proxies::Header { addresses, header: "X-Forwarded-For".parse().unwrap() };
        assert_eq!(proxies.header(), Some("x-forwarded-for"));
        proxies.client(SocketAddr::new(peer.parse().unwrap(), 1), values).ip()
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_client() {
        for (peer, values, client) in [
            ("10.0.0.1", &["192.0.2.7"][..], "192.0.2.7"),
            ("10.0.0.1", &["127.0.0.1, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["127.0.0.1", "192.0.2.7,10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7"),
            ("2001:db8::1", &["[2001:db9::7]:4711"], "2001:db9::7"),
            ("2001:db8::1", &["[2001:db9::7]"], "2001:db9::7"),
            // Whoever is no proxy may write what it likes.
            ("192.0.2.9", &["192.0.2.7"], "192.0.2.9"),
            // All that is known is the proxy.
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7, _hidden, 10.0.0.3"], "10.0.0.3"),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
        ] {
            assert_eq!(of_request(peer, values), client.parse::<IpAddr>().unwrap(), "{peer} {values:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics_and_strangers_are_who_they_are(value in "[ -~]{0,60}") {
            prop_assert_eq!(of_request("192.0.2.9", &[&value]), "192.0.2.9".parse::<IpAddr>().unwrap());
            let _ = of_request("10.0.0.1", &[&value]);
            let _ = value.parse::<HeaderName>();
        }
    }
}
