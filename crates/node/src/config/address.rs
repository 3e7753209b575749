//! `HOST` and `HOST:PORT` as they are configured: an IP address or a name, not yet resolved.
//!
//! **Never:** asks a name server; a name may mean another address by the time that it is used.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Longest host name, as in the domain name system.
const MAX_NAME_BYTES: usize = 253;

/// An IP address or a host name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host(Cow<'static, str>);

/// A host and a TCP port; an IPv6 address is written `[::1]:6000`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The port; 0 lets the system choose, where something is bound.
    pub port: u16,
}

impl Host {
    /// `127.0.0.1`.
    pub const LOCAL: Self = Self(Cow::Borrowed("127.0.0.1"));

    /// The checked host; `None` for what can be neither an IP address nor a host name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let label = |l: &str| {
            !l.is_empty()
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        // What ends in digits alone is a mistyped IP address, as in a URL.
        let numeric_end = |t: &str| t.rsplit('.').next().is_some_and(|l| l.parse::<u64>().is_ok());
        let name =
            |t: &str| t.len() <= MAX_NAME_BYTES && t.split('.').all(label) && !numeric_end(t);
        let known = text.parse::<IpAddr>().is_ok() || name(text.strip_suffix('.').unwrap_or(text));
        known.then(|| Self(Cow::Owned(text.to_owned())))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The IP address, where it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// Whether it means every address of the machine (`0.0.0.0` or `::`).
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }
}

impl Address {
    /// The checked address: `HOST:PORT` with a port other than 0.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inner) => Host::parse(inner).filter(|_| inner.parse::<Ipv6Addr>().is_ok())?,
            None => Host::parse(host).filter(|_| !host.contains(':'))?,
        };
        let port = port.parse().ok().filter(|&port| port != 0)?;
        Some(Self { host, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.as_str().contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_reads() {
        for text in ["127.0.0.1:6000", "[::1]:6000", "node-1.example.com:1", "db_a:65535"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_connected_to_is_no_address() {
        for text in
            ["", "a", ":1", "a:0", "a:70000", "::1:6000", "[a]:1", "a b:1", "1.2.3:1", "a..b:1"]
        {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
