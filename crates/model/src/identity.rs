//! Who a node is: the name its operator gave it, and the number the cluster gave it.

use alloc::sync::Arc;
use core::fmt;

use crate::limits::MAX_NODE_ID_BYTES;

/// The name of a node, equal to the common name of its certificate (`NO_STRANGER`).
///
/// 1 to 64 characters of `A-Z a-z 0-9 . _ -`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// A text that cannot be a [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidNodeId {
    /// It has no characters.
    Empty,
    /// It is longer than [`MAX_NODE_ID_BYTES`].
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// It has a character outside `A-Z a-z 0-9 . _ -`.
    Character {
        /// The first such character.
        found: char,
    },
}

impl NodeId {
    /// The checked id.
    ///
    /// # Errors
    /// Says which rule `text` breaks.
    pub fn new(text: &str) -> Result<Self, InvalidNodeId> {
        check_name(text, MAX_NODE_ID_BYTES)?;
        Ok(Self(Arc::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rule that node ids and namespaces share.
pub(crate) fn check_name(text: &str, max_bytes: usize) -> Result<(), InvalidNodeId> {
    if text.is_empty() {
        return Err(InvalidNodeId::Empty);
    }
    if text.len() > max_bytes {
        return Err(InvalidNodeId::TooLong { bytes: text.len() });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text.chars().find(|&c| !allowed(c)) {
        Some(found) => Err(InvalidNodeId::Character { found }),
        None => Ok(()),
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong { bytes } => {
                write!(f, "it has {bytes} bytes, the most is {MAX_NODE_ID_BYTES}")
            }
            Self::Character { found } => {
                write!(f, "it has {found:?}; allowed are letters, digits, '.', '_' and '-'")
            }
        }
    }
}

impl core::error::Error for InvalidNodeId {}

/// The number that the cluster gave a node when it joined. Never reused: a node that lost its disk
/// comes back with a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u32);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_holds_what_a_common_name_may_hold() {
        assert_eq!(NodeId::new("node-1.eu_west").unwrap().as_str(), "node-1.eu_west");
        assert_eq!(NodeId::new(""), Err(InvalidNodeId::Empty));
        assert_eq!(NodeId::new("a b"), Err(InvalidNodeId::Character { found: ' ' }));
        let long = alloc::string::String::from_iter(['x'; 65]);
        assert_eq!(NodeId::new(&long), Err(InvalidNodeId::TooLong { bytes: 65 }));
    }
}
