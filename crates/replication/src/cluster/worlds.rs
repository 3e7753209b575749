//! Documents and requests that the tests of this folder are made of.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Address, ChangeId, ClusterId, Document, Hlc, Member, Membership, Newcomer, NodeId,
    OperationKind, Ordinal, PeerHello, Phase, Roster, Size,
};

use super::change::{Change, council_of};
use super::settings::ClusterSettings;

/// A checked name.
pub(super) fn name(text: &str) -> NodeId {
    NodeId::new(text).expect("a name")
}

/// The first document of a cluster in which these nodes have the numbers from 1 on.
pub(super) fn document_of(names: &[&str]) -> Document {
    let member = |(ordinal, text): (u32, &&str)| Member {
        ordinal: Ordinal(ordinal),
        node_id: name(text),
        size: Size::L,
        zone: None,
        address: Address::new(text),
    };
    let members: Vec<Member> = (1..).zip(names).map(member).collect();
    let next_ordinal = members.last().map_or(1, |last| last.ordinal.0 + 1);
    Document {
        cluster_id: ClusterId(1),
        generation: 0,
        rescue_id: 0,
        version: 1,
        fence: 1,
        phase: Phase::Stable,
        hash_seed: 7,
        shift: 16,
        council: council_of(&members),
        current: Roster { members, replication_factor: 3 },
        past: Vec::new(),
        next_ordinal,
        operations: Vec::new(),
    }
}

/// A node that comes.
pub(super) fn newcomer(text: &str) -> Newcomer {
    Newcomer { node_id: name(text), size: Size::L, zone: None, address: Address::new(text) }
}

/// The join of a node.
pub(super) fn join(text: &str) -> OperationKind {
    OperationKind::Join(newcomer(text))
}

/// The document after these operations waited and began together.
pub(super) fn begun(document: &Document, operations: &[(u128, OperationKind)]) -> Document {
    let named = operations.iter().map(|(id, kind)| (ChangeId(*id), kind.clone()));
    let enqueued = Change::Enqueue(named.collect()).successor(document).expect("they wait");
    let operations = operations.iter().map(|(id, _)| ChangeId(*id)).collect();
    Change::Begin { operations, stored: 0 }.successor(&enqueued).expect("they begin")
}

/// The document after the change under way has ended.
pub(super) fn finished(document: &Document) -> Document {
    let change = Change::Finish { fence: document.fence, stored: 0 };
    change.successor(document).expect("it ends")
}

/// What a node without a place in a cluster says of itself.
pub(super) fn hello_of(text: &str) -> PeerHello {
    PeerHello {
        node_id: name(text),
        address: Address::new(text),
        membership: None,
        start: 1,
        run: 1,
        ceiling: Hlc::ZERO,
    }
}

/// A place in the cluster of [`document_of`].
pub(super) fn membership(ordinal: u32) -> Membership {
    Membership { cluster_id: ClusterId(1), generation: 0, rescue_id: 0, ordinal: Ordinal(ordinal) }
}

/// The settings of a node that is reached at its own name.
pub(super) fn settings_of(text: &str, seeds: &[&str]) -> ClusterSettings {
    ClusterSettings {
        node_id: name(text),
        address: Address::new(text),
        size: Size::L,
        zone: None,
        seeds: seeds.iter().map(|seed| Address::new(seed)).collect(),
        auto_join: false,
        found_anyway: false,
        shift: 16,
        replication_factor: 3,
        new_cluster_id: ClusterId(u128::from(text.as_bytes()[0])),
        new_hash_seed: 7,
        max_skew: Duration::from_millis(500),
        start: 1,
        run: 1,
        ceiling: Hlc::ZERO,
        seed: u128::from(text.as_bytes()[0]),
        join_timeout: Duration::from_secs(60),
    }
}
