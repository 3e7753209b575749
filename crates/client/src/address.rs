//! `HOST:PORT` of a server, as its user wrote it.
//!
//! **Never:** asks a name server. A name is resolved anew at each connect, because by then it may mean
//! another address.

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// Where a server listens: `HOST:PORT`, or `[IPv6]:PORT`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    host: Arc<str>,
    port: u16,
}

impl ServerAddress {
    /// The checked address; `None` unless it is a host, a colon and a port from 1 to 65535.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inside) => inside.parse::<Ipv6Addr>().ok().map(|_| inside)?,
            None => Some(host).filter(|host| is_name(host))?,
        };
        let port = port.parse().ok().filter(|&port| port != 0)?;
        Some(Self { host: host.into(), port })
    }

    /// The host: a name or an IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Whether `text` can be a host name or an IPv4 address. The resolver has the last word.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(allowed)
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_reads() {
        for text in ["127.0.0.1:2000", "[::1]:2000", "node-1.example.com:1", "db_a:65535"] {
            assert_eq!(ServerAddress::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_connected_to_is_no_address() {
        for text in ["", "a", ":1", "a:0", "a:70000", "::1:2000", "[a]:1", "a b:1", "http://a:1"] {
            assert_eq!(ServerAddress::parse(text), None, "{text}");
        }
    }
}
