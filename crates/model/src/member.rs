//! Who belongs to a cluster: a node's share of the data, where it stands, how to reach it.

use alloc::sync::Arc;
use core::fmt;

use crate::identity::{NodeId, Ordinal};

/// How much of the data a node takes, in tickets: doubling from XS with 1 to XXL with 32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// 1 ticket.
    Xs,
    /// 2 tickets.
    S,
    /// 4 tickets.
    M,
    /// 8 tickets, the published default.
    #[default]
    L,
    /// 16 tickets.
    Xl,
    /// 32 tickets.
    Xxl,
}

impl Size {
    /// Every size with its name, smallest first.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("XS", Self::Xs),
        ("S", Self::S),
        ("M", Self::M),
        ("L", Self::L),
        ("XL", Self::Xl),
        ("XXL", Self::Xxl),
    ];

    /// The size of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, size)| size)
    }

    /// Its name in configuration and status.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// Its share against other nodes.
    #[must_use]
    pub fn tickets(self) -> u32 {
        1 << (self as u32)
    }
}

/// Where a node's peer port is reached: `host:port`, as its operator wrote it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

impl Address {
    /// The address of this text. Whether anybody answers there, only dialling tells.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number, never reused.
    pub ordinal: Ordinal,
    /// Its name.
    pub node_id: NodeId,
    /// Its share of the data.
    pub size: Size,
    /// Where it stands; replicas of a partition avoid sharing a zone.
    pub zone: Option<NodeId>,
    /// Where its peer port was reached when it joined.
    pub address: Address,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn sizes_double_and_keep_their_published_names() {
        let tickets: Vec<u32> = Size::NAMES.iter().map(|(_, size)| size.tickets()).collect();
        assert_eq!(tickets, [1, 2, 4, 8, 16, 32]);
        for (name, size) in Size::NAMES {
            assert_eq!((Size::from_name(name), size.name()), (Some(size), name));
        }
        assert_eq!(Size::from_name("l"), None);
    }
}
