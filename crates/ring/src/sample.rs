//! Documents for tests.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use paravon_model::{Address, ClusterId, Document, Member, NodeId, Ordinal, Phase, Roster, Size};

pub(crate) const SIZES: [Size; 6] = [Size::Xs, Size::S, Size::M, Size::L, Size::Xl, Size::Xxl];

/// A member in the zone of this number.
pub(crate) fn member(ordinal: u32, size: Size, zone: Option<u32>) -> Member {
    Member {
        ordinal: Ordinal(ordinal),
        node_id: NodeId::new(&format!("node-{ordinal}")).unwrap(),
        size,
        zone: zone.map(|number| NodeId::new(&format!("zone-{number}")).unwrap()),
        address: Address::new("localhost:1"),
    }
}

/// Equal members without zones.
pub(crate) fn equals(count: u32) -> Vec<Member> {
    (1..=count).map(|ordinal| member(ordinal, Size::L, None)).collect()
}

/// A cluster of `members`, founded with `seed`.
pub(crate) fn document(members: &[Member], shift: u8, factor: u8, seed: u64) -> Arc<Document> {
    Arc::new(Document {
        cluster_id: ClusterId(1),
        generation: 0,
        rescue_id: 0,
        version: 1,
        fence: 1,
        phase: Phase::Stable,
        hash_seed: seed,
        shift,
        current: Roster { members: members.to_vec(), replication_factor: factor },
        past: Vec::new(),
        council: Vec::new(),
        next_ordinal: 1000,
        operations: Vec::new(),
    })
}
