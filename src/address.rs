//! Where a node is dialled, as people write it: `HOST:PORT`.

use dmdl_audit_ledger::mdca::Peer;
use dmdl_types::id::NodeId;
use serde::Deserialize;
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// Longest host name, and longest part of one between dots.
const HOST_CHARS: usize = 253;
const LABEL_CHARS: usize = 63;

/// A host, by address or name, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// The same as an address of the network, if the host is one.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        self.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, self.port))
    }

    /// The node that is dialled here.
    pub(crate) fn peer(&self, node: NodeId) -> Peer {
        Peer { node, host: self.host.clone(), port: self.port }
    }
}

impl TryFrom<String> for Address {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (host, port) = text.rsplit_once(':').ok_or("an address is HOST:PORT")?;
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or("the port of an address is 1 to 65535")?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => Some(host).filter(|host| host.parse::<Ipv6Addr>().is_ok()),
            None => Some(host).filter(|host| is_host(host)),
        };
        let host = host.ok_or("the host of an address is a name, an IPv4 address, or an IPv6 address in brackets")?;
        if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
            return Err("nobody can be dialled at the address for all addresses: it is for `listen` alone");
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Whether a text is an IPv4 address or a host name (RFC 1123).
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_CHARS).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= HOST_CHARS && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, &'static str> {
        Address::try_from(text.to_owned())
    }

    #[test]
    fn an_address_comes_back_as_it_was_written() {
        for text in ["10.0.0.1:7401", "[2001:db8::1]:7401", "a1.hospital.example:1", "localhost:65535"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("A1.Example:7").unwrap(), parse("a1.example:7").unwrap());
        assert_eq!(parse("[::1]:7").unwrap().socket(), Some("[::1]:7".parse().unwrap()));
        assert_eq!(parse("a1.example:7").unwrap().socket(), None);
    }

    #[test]
    fn what_nobody_can_dial_is_no_address() {
        for text in [
            "",
            "a1",
            "a1:",
            ":7401",
            "a1:0",
            "a1:65536",
            "a1:-1",
            "a 1:7",
            "a1/b:7",
            "a1..b:7",
            "-a1:7",
            "user@a1:7",
            "::1:7",
            "[a1]:7",
            "0.0.0.0:7",
            "[::]:7",
            "a1\n:7",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
