//! What the store answered, as a caller reads it.
//!
//! **Never:** a choice between conflicting values other than the store's own rule: the larger version.

use std::fmt;

use paravon_model::{Hlc, Value};
use paravon_protocol::{Entry, Replied};

/// The version of a write: when it was stamped, and by which node. No two writes have the same, and
/// the larger one wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The hybrid timestamp.
    pub hlc: Hlc,
    /// The node that stamped it.
    pub node_id: String,
}

/// `milliseconds.counter@node`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{}", self.hlc.physical_ms(), self.hlc.logical(), self.node_id)
    }
}

/// A put or delete was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The version that the write got.
    pub version: Version,
    /// Replicas that had it durably when the server answered, where it says so.
    pub acks: Option<u64>,
    /// Replicas that store the key, where the server says so.
    pub replicas: Option<u64>,
}

/// What a get found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: Value,
    /// The version of the write that left it.
    pub version: Version,
    /// When it stops being visible, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
}

impl Written {
    /// The answer to a write; `None` where the reply names no version.
    pub(crate) fn from_reply(reply: Replied) -> Option<Self> {
        let (acks, replicas) = (reply.acks, reply.replicas);
        newest(reply).map(|entry| Self { version: version(&entry), acks, replicas })
    }
}

impl Found {
    /// The answer to a get; `None` where the key is absent or deleted.
    pub(crate) fn from_reply(reply: Replied) -> Option<Self> {
        let entry = newest(reply).filter(|entry| !entry.is_tombstone)?;
        let (version, expires_ms) = (version(&entry), entry.expires_ms);
        entry.value.map(|value| Self { value, version, expires_ms })
    }
}

fn newest(reply: Replied) -> Option<Entry> {
    reply.versions.into_iter().max_by(|a, b| (a.hlc, &a.node_id).cmp(&(b.hlc, &b.node_id)))
}

fn version(entry: &Entry) -> Version {
    Version { hlc: entry.hlc, node_id: entry.node_id.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ms: u64, node_id: &str, value: Option<&[u8]>) -> Entry {
        Entry {
            value: value.map(Value::bytes),
            hlc: Hlc::new(ms, 0),
            node_id: node_id.to_owned(),
            is_tombstone: value.is_none(),
            expires_ms: None,
        }
    }

    #[test]
    fn of_several_versions_the_largest_counts_even_when_it_is_a_delete() {
        let versions = vec![entry(2, "a", Some(b"old")), entry(2, "b", Some(b"new"))];
        let found = Found::from_reply(Replied { versions, ..Replied::default() }).unwrap();
        assert_eq!(found.value, Value::bytes(b"new"));
        assert_eq!(found.version.to_string(), "2.0@b");

        let versions = vec![entry(2, "a", Some(b"old")), entry(3, "a", None)];
        assert_eq!(Found::from_reply(Replied { versions, ..Replied::default() }), None);
        assert_eq!(Found::from_reply(Replied::default()), None);
    }
}
