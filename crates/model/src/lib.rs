//! The vocabulary of Paravon: what a key, a value, a version, a record and a request are.
//!
//! Row 0, pure. Everything else is built on these types, so this crate depends on nothing.
//!
//! **Architecture invariant:** no I/O, no clock, no randomness, no serialisation format. A value of a
//! checked type ([`Key`], [`NodeId`], [`Consistency`]) cannot be wrong: it is checked once, where it
//! is made.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod cluster;
mod consistency;
mod digest;
mod document;
mod failure;
mod hlc;
mod identity;
mod key;
pub mod limits;
mod marks;
mod member;
mod record;
mod replica;
mod request;
mod value;

pub use cluster::{
    Accepted, Ballot, ClusterMessage, ClusterState, CouncilMessage, Membership, OperationRefusal,
    PeerHello, Progress, RememberedDisk, Report, VoteSlot,
};
pub use consistency::{Consistency, majority};
pub use digest::{Class, Compare, Compared, Digest, Moment, PARTS, Part, Unlisted};
pub use document::{
    ChangeId, ClusterId, Document, Fence, Joint, Newcomer, Operation, OperationKind,
    OperationState, PastChange, Phase, Revision, Roster,
};
pub use failure::{Failure, Outcome};
pub use hlc::{Hlc, Version};
pub use identity::{InvalidNodeId, NodeId, Ordinal};
pub use key::{InvalidKey, Key};
pub use marks::{Damage, Marks};
pub use member::{Address, Member, Size};
pub use record::{Body, Record};
pub use replica::{
    Command, Detail, Listed, Merged, Pull, Pulled, Purpose, ReplicaReply, ReplicaRequest, Rest,
};
pub use request::{Delete, Found, Get, Put, Reading, Request, Written};
pub use value::{Kind, Value};
