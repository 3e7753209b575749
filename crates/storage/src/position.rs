//! A place in the log, as one number that only grows.

use core::fmt;

/// A byte position in the node's log: segment number times segment size, plus the offset within.
///
/// Positions order all batches ever written by a node. They never repeat, also not after a torn tail
/// was cut off: the cut place is written anew only after the old bytes are durably gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before everything.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
