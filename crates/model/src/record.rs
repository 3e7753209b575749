//! What is stored for a key, and the rule that decides between two records (`CONVERGES`).

use core::cmp::Ordering;

use crate::hlc::Version;
use crate::value::Value;

/// What a write left: a value, or the trace of a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A value.
    Live(Value),
    /// The key was deleted.
    Tombstone,
}

impl Body {
    /// The bytes of the value; none for a tombstone.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        match self {
            Self::Live(value) => value.bytes.len(),
            Self::Tombstone => 0,
        }
    }
}

/// What is stored for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Orders this record against every other of its key.
    pub version: Version,
    /// When it stops being visible, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
    /// The value or the tombstone.
    pub body: Body,
}

impl Record {
    /// Last writer wins: `Greater` where `self` replaces `other`, `Equal` only for identical records.
    ///
    /// Total, so that the larger of any set of records is the same in whatever order they are
    /// merged. At equal versions (a bug, or a restored disk) a tombstone wins, then the larger
    /// content.
    #[must_use]
    pub fn precedence(&self, other: &Self) -> Ordering {
        self.version.cmp(&other.version).then_with(|| self.content().cmp(&other.content()))
    }

    /// The winner of the two.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if other.precedence(&self) == Ordering::Greater { other } else { self }
    }

    /// The value that a reader at `wall_ms` sees: none for a tombstone or past the expiry.
    #[must_use]
    pub fn visible(&self, wall_ms: u64) -> Option<&Value> {
        match &self.body {
            Body::Live(value) if self.expires_ms.is_none_or(|at| wall_ms < at) => Some(value),
            _ => None,
        }
    }

    /// Whether this is the trace of a delete.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        matches!(self.body, Body::Tombstone)
    }

    fn content(&self) -> (bool, Option<&Value>, Option<u64>) {
        match &self.body {
            Body::Tombstone => (true, None, self.expires_ms),
            Body::Live(value) => (false, Some(value), self.expires_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hlc, Ordinal};
    use alloc::vec::Vec;

    /// Every record of a small world: two versions, tombstones, two values, expiry or none.
    fn world() -> Vec<Record> {
        let mut records = Vec::new();
        for ms in [1, 2] {
            for expires_ms in [None, Some(10), Some(20)] {
                let live = |v: &[u8]| Body::Live(Value::bytes(v));
                for body in [Body::Tombstone, live(b""), live(b"a"), live(b"b")] {
                    let version = Version { hlc: Hlc::new(ms, 0), ordinal: Ordinal(1) };
                    records.push(Record { version, expires_ms, body });
                }
            }
        }
        records
    }

    #[test]
    fn merge_is_commutative_associative_and_idempotent() {
        let world = world();
        for a in &world {
            assert_eq!(a.clone().merge(a.clone()), *a);
            for b in &world {
                let ab = a.clone().merge(b.clone());
                assert_eq!(ab, b.clone().merge(a.clone()));
                for c in &world {
                    let bc = b.clone().merge(c.clone());
                    assert_eq!(ab.clone().merge(c.clone()), a.clone().merge(bc));
                }
            }
        }
    }

    #[test]
    fn a_larger_version_wins_and_at_equal_ones_the_tombstone() {
        let world = world();
        for a in &world {
            for b in &world {
                let winner = a.clone().merge(b.clone());
                assert_eq!(winner.version, a.version.max(b.version));
                if a.version == b.version && (a.is_tombstone() || b.is_tombstone()) {
                    assert!(winner.is_tombstone());
                }
            }
        }
    }

    #[test]
    fn an_empty_value_is_a_value_until_it_expires() {
        let version = Version { hlc: Hlc::new(1, 0), ordinal: Ordinal(1) };
        let body = Body::Live(Value::bytes(b""));
        let record = Record { version, expires_ms: Some(100), body };
        assert_eq!(record.visible(99), Some(&Value::bytes(b"")));
        assert_eq!(record.visible(100), None);
    }
}
