//! Documents and requests that the tests of this folder are made of.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{
    Address, ChangeId, ClusterId, Document, Hlc, JoinRequest, Member, Membership, NodeId, Ordinal,
    PeerHello, Phase, Size,
};

use super::change::council_of;
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
    let current: Vec<Member> = (1..).zip(names).map(member).collect();
    let next_ordinal = current.last().map_or(1, |last| last.ordinal.0 + 1);
    Document {
        cluster_id: ClusterId(1),
        generation: 0,
        rescue_id: 0,
        version: 1,
        fence: 1,
        phase: Phase::Stable,
        hash_seed: 7,
        shift: 16,
        replication_factor: 3,
        council: council_of(&current),
        current,
        next_ordinal,
        operations: Vec::new(),
    }
}

/// A wish to join.
pub(super) fn join_request(text: &str, change: u128) -> JoinRequest {
    JoinRequest {
        change: ChangeId(change),
        node_id: name(text),
        size: Size::L,
        zone: None,
        address: Address::new(text),
    }
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
        holds_records: false,
    }
}
