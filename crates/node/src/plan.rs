//! What a change of the layout would move, for an administrator who wants to know first.
//!
//! **Never:** promises anything: bytes are estimated from what one node stores, time from the bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use paravon_model::{Document, Key, Ordinal, Record};
use paravon_protocol::{PlanReply, PlannedNode};
use paravon_ring::{HashArc, Layout};
use paravon_storage::{PageLimit, Store};

/// What a node takes over in a second: a careful guess, since transfers yield to clients.
const BYTES_PER_SECOND: u64 = 20_000_000;

/// So much of a store is looked at to say how much there is.
const SAMPLE: PageLimit = PageLimit { count: 1000, bytes: 1 << 20 };

/// A change of the layout, in partitions.
#[derive(Debug)]
pub(crate) struct Plan {
    document: Arc<Document>,
    changed: u32,
    moves: BTreeMap<Ordinal, Moves>,
}

/// What a change does to one node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Moves {
    gained: u32,
    lost: u32,
    /// Partitions that others take over from it: a part of each that it shares with other sources.
    given: f64,
}

impl Plan {
    /// What this `joint` document would move. Takes long in large clusters.
    pub(crate) fn of(document: Arc<Document>) -> Self {
        let layout = Layout::of(document.clone());
        let lost = document.joint().map_or(&[][..], |joint| &joint.lost);
        let mut moves: BTreeMap<Ordinal, Moves> = BTreeMap::new();
        let mut changed = 0;
        for partition in layout.partitions() {
            let sets = layout.sets(partition);
            let Some(next) = sets.next else { continue };
            changed += 1;
            let new = next.iter().filter(|member| !sets.current.contains(member));
            let sources = sets.current.iter().filter(|member| !lost.contains(member));
            let part = new.clone().count() as f64 / sources.clone().count().max(1) as f64;
            new.for_each(|&member| moves.entry(member).or_default().gained += 1);
            sources.for_each(|&member| moves.entry(member).or_default().given += part);
            for &member in sets.current.iter().filter(|member| !next.contains(member)) {
                moves.entry(member).or_default().lost += 1;
            }
        }
        Self { document, changed, moves }
    }

    /// For the administrator, where a partition takes so many bytes.
    pub(crate) fn reply(&self, partition_bytes: f64) -> PlanReply {
        let next = self.document.joint().map_or(&self.document.current, |joint| &joint.next);
        let current = &self.document.current;
        #[expect(clippy::cast_possible_truncation, reason = "an estimate, and far below 2^64")]
        let bytes = |partitions: f64| (partitions * partition_bytes) as u64;
        let shown = |(&ordinal, moves): (&Ordinal, &Moves)| {
            let member = self.document.member(ordinal)?;
            Some(PlannedNode {
                node: member.node_id.to_string(),
                ordinal: current.member(ordinal).map(|member| member.ordinal.0),
                partitions_gained: moves.gained.into(),
                partitions_lost: moves.lost.into(),
                bytes_in: bytes(moves.gained.into()),
                bytes_out: bytes(moves.given),
            })
        };
        let nodes: Vec<PlannedNode> = self.moves.iter().filter_map(shown).collect();
        let most = nodes.iter().map(|node| node.bytes_in.max(node.bytes_out)).max();
        PlanReply {
            members_before: current.members.len() as u64,
            members_after: next.members.len() as u64,
            copies_before: current.copies() as u64,
            copies_after: next.copies() as u64,
            partitions_changed: self.changed.into(),
            nodes,
            seconds: most.unwrap_or_default().div_ceil(BYTES_PER_SECOND),
        }
    }
}

/// The bytes of all records of a store, as far as a sample says: places on the ring are even.
pub(crate) fn stored_bytes(store: &mut dyn Store) -> f64 {
    let Ok(page) = store.scan(HashArc::ALL, None, SAMPLE) else { return 0.0 };
    let bytes: usize = page.iter().map(|(_, key, record)| bytes(key, record)).sum();
    let is_whole = page.len() < SAMPLE.count && (bytes as u64) < SAMPLE.bytes;
    match page.last() {
        Some((last, ..)) if !is_whole => {
            let part = (last.0 as f64 + 1.0) / (u64::MAX as f64);
            bytes as f64 / part
        }
        _ => bytes as f64,
    }
}

fn bytes(key: &Key, record: &Record) -> usize {
    key.encoded().len() + record.body.value_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use paravon_model::{Address, ClusterId, Joint, Member, NodeId, Phase, Roster, Size};

    fn roster(ordinals: &[u32]) -> Roster {
        let member = |&ordinal| Member {
            ordinal: Ordinal(ordinal),
            node_id: NodeId::new(&format!("node-{ordinal}")).unwrap(),
            size: Size::L,
            zone: None,
            address: Address::new("a:1"),
        };
        Roster { members: ordinals.iter().map(member).collect(), replication_factor: 3 }
    }

    fn change(current: &[u32], next: &[u32], lost: &[u32]) -> Plan {
        let lost = lost.iter().copied().map(Ordinal).collect();
        Plan::of(Arc::new(Document {
            cluster_id: ClusterId(1),
            generation: 0,
            rescue_id: 0,
            version: 2,
            fence: 2,
            phase: Phase::Joint(Joint { next: roster(next), lost }),
            hash_seed: 7,
            shift: 8,
            current: roster(current),
            past: Vec::new(),
            council: vec![Ordinal(1)],
            next_ordinal: 9,
            operations: Vec::new(),
        }))
    }

    #[test]
    fn a_second_and_a_third_node_take_over_everything() {
        let reply = change(&[1], &[1, 2, 3], &[]).reply(1000.0);
        assert_eq!((reply.members_before, reply.members_after), (1, 3));
        assert_eq!((reply.copies_before, reply.copies_after), (1, 3));
        assert_eq!(reply.partitions_changed, 256);
        let [first, second, third] = &reply.nodes[..] else { panic!("{reply:?}") };
        assert_eq!((first.ordinal, second.ordinal), (Some(1), None));
        assert_eq!((first.partitions_gained, first.partitions_lost), (0, 0));
        assert_eq!((second.partitions_gained, third.partitions_gained), (256, 256));
        assert_eq!((first.bytes_out, second.bytes_in), (512_000, 256_000));
        assert_eq!(reply.seconds, 1);
    }

    #[test]
    fn what_one_gains_another_loses_and_nobody_takes_from_the_dead() {
        let joins = change(&[1, 2, 3], &[1, 2, 3, 4], &[]).reply(0.0);
        let gained: u64 = joins.nodes.iter().map(|node| node.partitions_gained).sum();
        let lost: u64 = joins.nodes.iter().map(|node| node.partitions_lost).sum();
        assert!(gained > 100 && gained == lost && gained == joins.partitions_changed, "{joins:?}");
        assert_eq!((joins.nodes[3].partitions_gained, joins.nodes[3].ordinal), (gained, None));
        let plan = change(&[1, 2, 3], &[1, 2, 5], &[3]).reply(1.0);
        let dead = &plan.nodes[2];
        assert_eq!((dead.partitions_lost, dead.bytes_out), (256, 0), "{plan:?}");
    }
}
