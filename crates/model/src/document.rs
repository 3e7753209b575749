//! The cluster document: who the members are, what is fixed for ever, and who decides its successor
//! (`LAYOUT_AGREES`, `EPOCH_FENCE`).
//!
//! **Never:** says who is up. Liveness never changes the layout.

use alloc::vec::Vec;
use core::fmt;

use crate::identity::{NodeId, Ordinal};
use crate::member::{Address, Member, Size};

/// The identity of a cluster, drawn at random when it is founded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The name of one change of the document, drawn at random by whoever asked for it. The document
/// names the changes that it contains, so that a retry is not done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(pub u128);

impl ChangeId {
    /// The name that is written so: 32 hexadecimal digits.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits { u128::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Which layout a request was made under: raised by every change of a replica set, and by it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// Raised by a rescue.
    pub generation: u64,
    /// Raised by every change of a replica set.
    pub number: u64,
}

/// Which document: later ones compare larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Raised by a rescue.
    pub generation: u64,
    /// Raised by one with every document of a generation.
    pub version: u64,
}

/// Who takes part in one layout: with the document's hash seed and shift it says who stores what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// The members, by ordinal, each once.
    pub members: Vec<Member>,
    /// Copies that the operator asked for, 1 to 7.
    pub replication_factor: u8,
}

impl Roster {
    /// The member of this ordinal.
    #[must_use]
    pub fn member(&self, ordinal: Ordinal) -> Option<&Member> {
        let found = self.members.binary_search_by_key(&ordinal, |member| member.ordinal);
        found.ok().map(|at| &self.members[at])
    }

    /// The size of every replica set: the replication factor, or all members where they are fewer.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.members.len().min(usize::from(self.replication_factor))
    }
}

/// Whether a change of the layout is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// One replica set per partition.
    #[default]
    Stable,
    /// On the way from the current layout to this one.
    Joint(Joint),
    /// The same after a majority of the council was lost for good. What the lost members stored is
    /// given up: sets of the current layout are without them, and every member that is left counts.
    Rescue(Joint),
}

impl Phase {
    /// Its name in documents and in status.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Joint(_) => "joint",
            Self::Rescue(_) => "rescue",
        }
    }

    /// Whether the change can be cancelled. There is no way back from a rescue: the layout before it has
    /// lost its majorities.
    #[must_use]
    pub fn can_be_cancelled(&self) -> bool {
        matches!(self, Self::Joint(_))
    }

    /// Whether the change ends only while every set of the layout to come has a majority that is up. A
    /// rescue has no other layout to go on with meanwhile.
    #[must_use]
    pub fn ends_with_live_majorities(&self) -> bool {
        !matches!(self, Self::Rescue(_))
    }

    /// Whether a majority of a current set is enough to take a partition over from. After a rescue any
    /// copy that is left may be the only one.
    #[must_use]
    pub fn majorities_hold_all(&self) -> bool {
        !matches!(self, Self::Rescue(_))
    }
}

/// The layout that is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joint {
    /// Who will store what.
    pub next: Roster,
    /// Members that leave and are named as dead: nothing is pulled from them, and they are not waited
    /// for. By ordinal.
    pub lost: Vec<Ordinal>,
}

/// A change of layout that has begun: a node that missed it empties what it made the node new to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastChange {
    /// The generation of its `joint` document: a rescue keeps what was before it.
    pub generation: u64,
    /// The fence of its `joint` document.
    pub fence: u64,
    /// The layout before.
    pub from: Roster,
    /// The layout that it led to, or would have led to.
    pub to: Roster,
}

impl PastChange {
    /// What requests under its `joint` document carried.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { generation: self.generation, number: self.fence }
    }
}

/// Something that an operator asked for, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Names it, so that a retry is not done twice.
    pub id: ChangeId,
    /// What is to be done.
    pub kind: OperationKind,
    /// How far it is.
    pub state: OperationState,
}

/// What an operation does to the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// Take this node in.
    Join(Newcomer),
    /// Let this member go, once others have what it stores.
    Drain {
        /// Which.
        member: Ordinal,
    },
    /// Do without this member, which is dead.
    Remove {
        /// Which.
        member: Ordinal,
    },
    /// Take this node in, in place of a member that is dead or has lost its disk.
    Replace {
        /// Which.
        member: Ordinal,
        /// The node that comes; it may bear the same name.
        by: Newcomer,
    },
    /// Keep so many copies from now on, 1 to 7.
    SetReplication {
        /// So many.
        factor: u8,
    },
}

/// A node that is to become a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Its name.
    pub node_id: NodeId,
    /// Its share of the data.
    pub size: Size,
    /// Where it stands.
    pub zone: Option<NodeId>,
    /// Where others reach its peer port.
    pub address: Address,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// It waits until the change under way has ended.
    Pending,
    /// The document is `joint` because of it, among others.
    Running,
    /// It is done.
    Done,
    /// It was given up: an operator cancelled it, a node that joins stayed silent, or the members
    /// that there are by now leave it nothing to do.
    Cancelled,
}

/// The cluster document. Document n+1 is decided by the council that document n names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Whose it is.
    pub cluster_id: ClusterId,
    /// Orders documents together with `version`.
    pub generation: u64,
    /// Tells two rescues of one generation apart; zero before any.
    pub rescue_id: u128,
    /// Orders documents of one generation.
    pub version: u64,
    /// Raised by every change of phase or of a replica set.
    pub fence: u64,
    /// Whether a change of the layout is under way.
    pub phase: Phase,
    /// Keys the hash of every key; fixed at founding.
    pub hash_seed: u64,
    /// The number of partitions as a power of two, 1 to 24; fixed at founding.
    pub shift: u8,
    /// The layout whose sets every read and write needs.
    pub current: Roster,
    /// Changes that have ended, by fence, since the oldest fence that a member has reported as stored.
    pub past: Vec<PastChange>,
    /// Who decides the next document: up to seven members of `current`, by ordinal.
    pub council: Vec<Ordinal>,
    /// The ordinal of the next node that comes.
    pub next_ordinal: u32,
    /// What was asked for, oldest first: all that is not ended, and what ended last.
    pub operations: Vec<Operation>,
}

impl Document {
    /// Orders this document among all of its cluster.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision { generation: self.generation, version: self.version }
    }

    /// What requests under this document carry.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { generation: self.generation, number: self.fence }
    }

    /// The change under way.
    #[must_use]
    pub fn joint(&self) -> Option<&Joint> {
        match &self.phase {
            Phase::Stable => None,
            Phase::Joint(joint) | Phase::Rescue(joint) => Some(joint),
        }
    }

    /// Whether the change on its way names this member as lost for good: nothing that it could tell is
    /// waited for.
    #[must_use]
    pub fn has_lost(&self, member: Ordinal) -> bool {
        self.joint().is_some_and(|joint| joint.lost.contains(&member))
    }

    /// Members of the current layout whose copies are given up.
    #[must_use]
    pub fn given_up(&self) -> &[Ordinal] {
        match &self.phase {
            Phase::Rescue(joint) => &joint.lost,
            Phase::Stable | Phase::Joint(_) => &[],
        }
    }

    /// All members in force, by ordinal: those of `current`, and while `joint` also those of `next`.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        let next = self.joint().map_or(&[][..], |joint| &joint.next.members);
        // New ordinals are larger than all that were given before.
        let new = next.iter().filter(|member| self.current.member(member.ordinal).is_none());
        self.current.members.iter().chain(new)
    }

    /// The member of this ordinal.
    #[must_use]
    pub fn member(&self, ordinal: Ordinal) -> Option<&Member> {
        let in_next = || self.joint()?.next.member(ordinal);
        self.current.member(ordinal).or_else(in_next)
    }

    /// The member of this name: the newest, while one replaces another of the same name.
    #[must_use]
    pub fn member_named(&self, node_id: &NodeId) -> Option<&Member> {
        self.members().filter(|member| member.node_id == *node_id).last()
    }

    /// The name that goes with this number, as long as any layout of the document has it.
    #[must_use]
    pub fn name_of(&self, ordinal: Ordinal) -> Option<&NodeId> {
        let in_past = || {
            let mut past = self.past.iter().rev();
            past.find_map(|change| {
                change.to.member(ordinal).or_else(|| change.from.member(ordinal))
            })
        };
        self.member(ordinal).or_else(in_past).map(|member| &member.node_id)
    }

    /// Members of the current layout that are left: all, but for those whose copies are given up. A
    /// majority of the others decides nothing any more.
    pub fn left(&self) -> impl Iterator<Item = &Member> {
        let given_up = self.given_up();
        self.current.members.iter().filter(|member| !given_up.contains(&member.ordinal))
    }

    /// Whether this member is there only until the change under way has ended.
    #[must_use]
    pub fn is_leaving(&self, ordinal: Ordinal) -> bool {
        self.joint().is_some_and(|joint| joint.next.member(ordinal).is_none())
            && self.current.member(ordinal).is_some()
    }

    /// The operation of this name.
    #[must_use]
    pub fn operation(&self, id: ChangeId) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.id == id)
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
