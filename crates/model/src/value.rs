//! What a client stores under a key.

use alloc::sync::Arc;
use core::fmt;

/// How a value's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Bytes that the store does not look into.
    Bytes,
    /// One MessagePack value, in the encoding that the client sent.
    Msgpack,
}

/// A stored value. An empty one is a value, never a delete. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// How to read [`bytes`](Self::bytes).
    pub kind: Kind,
    /// The value itself.
    pub bytes: Arc<[u8]>,
}

impl Value {
    /// A value of kind [`Kind::Bytes`].
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Self {
        Self { kind: Kind::Bytes, bytes: bytes.into() }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.kind, self.bytes.escape_ascii())
    }
}
