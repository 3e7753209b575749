//! Which nodes there are and which of them store a partition.

use alloc::vec;
use alloc::vec::Vec;

use paravon_model::{Key, NodeId, Ordinal};

use crate::place::{KeyHash, Partition, Shift};

/// How much of the data a node takes, in tickets: doubling from XS with 1 to XXL with 32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// A node of a layout.
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
}

/// Cluster-wide placement: the same object on every node that has stored the same document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    fence: u64,
    seed: u64,
    shift: Shift,
    replication_factor: u8,
    members: Vec<Member>,
    /// The replica set of every partition, while all members store everything.
    everyone: Vec<Ordinal>,
}

impl Layout {
    /// The layout of a cluster of one, which stores every partition.
    #[must_use]
    pub fn sole(member: Member, seed: u64, shift: Shift, replication_factor: u8) -> Self {
        let everyone = vec![member.ordinal];
        let members = vec![member];
        Self { fence: 1, seed, shift, replication_factor, members, everyone }
    }

    /// Raised by every change of a replica set (`EPOCH_FENCE`).
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// The number of partitions as a power of two.
    #[must_use]
    pub fn shift(&self) -> Shift {
        self.shift
    }

    /// How many copies the operator asked for; [`replicas`](Self::replicas) gives those there are.
    #[must_use]
    pub fn replication_factor(&self) -> u8 {
        self.replication_factor
    }

    /// All members, by ordinal.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The name of a member; none for one that has left.
    #[must_use]
    pub fn node_id(&self, ordinal: Ordinal) -> Option<&NodeId> {
        self.members.iter().find(|m| m.ordinal == ordinal).map(|m| &m.node_id)
    }

    /// The position of `key` on this cluster's ring.
    #[must_use]
    pub fn hash(&self, key: &Key) -> KeyHash {
        KeyHash::of(key, self.seed)
    }

    /// The nodes that store `partition`: `min(replication_factor, members)` distinct ones.
    #[must_use]
    pub fn replicas(&self, _partition: Partition) -> &[Ordinal] {
        &self.everyone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_double_and_keep_their_published_names() {
        let tickets: Vec<u32> = Size::NAMES.iter().map(|(_, size)| size.tickets()).collect();
        assert_eq!(tickets, [1, 2, 4, 8, 16, 32]);
        for (name, size) in Size::NAMES {
            assert_eq!((Size::from_name(name), size.name()), (Some(size), name));
        }
        assert_eq!(Size::from_name("l"), None);
    }

    #[test]
    fn a_sole_member_stores_everything_whatever_the_replication_factor() {
        let node_id = NodeId::new("node-1").expect("a valid id");
        let member = Member { ordinal: Ordinal(1), node_id, size: Size::L, zone: None };
        let layout = Layout::sole(member, 0, Shift::DEFAULT, 3);
        for partition in [0, 1, 65_535] {
            assert_eq!(layout.replicas(Partition(partition)), [Ordinal(1)]);
        }
    }
}
