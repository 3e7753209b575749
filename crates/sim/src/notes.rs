//! What the invariants are told of what shards and stores do.

use paravon_model::{Body, Ordinal, Purpose, Record, ReplicaReply, Value, Version};
use paravon_replication::{Effect, PeerToken};

use crate::fact::{Content, Fact, OperationNumber};
use crate::shards::asker;
use crate::view::{NOTHING, Stamp};
use crate::world::{World, small};

impl World {
    /// What a replica did for a request, judged by the fences of both (`EPOCH_FENCE`).
    pub(crate) fn judge_admission(
        &mut self,
        node: usize,
        shard: usize,
        token: PeerToken,
        effects: &[Effect],
    ) {
        let Some(process) = &self.nodes[node].process else { return };
        let Some(asker) = asker(process.askers.as_slice(), token).copied() else { return };
        let Some(own) = process.fence(shard) else { return };
        let stored = self.nodes[node].state.stored;
        for effect in effects {
            let refused = match effect {
                Effect::Store { .. } | Effect::Read { .. } | Effect::Scan { .. } => false,
                Effect::Answer { reply, .. } => matches!(
                    reply,
                    ReplicaReply::StaleLayout { .. }
                        | ReplicaReply::StaleFence { .. }
                        | ReplicaReply::LaterLayout { .. }
                ),
                _ => continue,
            };
            if matches!(effect, Effect::Scan { .. }) {
                self.stats.pulls += 1;
            }
            let (fence, stranger) = (asker.fence, asker.stranger);
            let node = small(node);
            self.emit(if refused {
                Fact::FenceRefused { node, fence, own }
            } else {
                Fact::Admitted { node, fence, own, stored, stranger }
            });
        }
    }

    /// What a replica does for its own node is admitted like anybody else's request.
    pub(crate) fn judge_own_work(&mut self, node: usize, shard: usize, effects: &[Effect]) {
        let works = |effect: &Effect| matches!(effect, Effect::Store { .. } | Effect::Read { .. });
        if !effects.iter().any(works) {
            return;
        }
        let stored = self.nodes[node].state.stored;
        let process = self.nodes[node].process.as_ref();
        let Some(own) = process.and_then(|process| process.fence(shard)) else { return };
        if stored != Some(own) {
            let (node, fence) = (small(node), own);
            self.emit(Fact::Admitted { node, fence, own, stored, stranger: false });
        }
    }

    /// A version that a coordinator sends out is new, or it is the one that it gave out before.
    pub(crate) fn note_stamp(&mut self, node: usize, shard: usize, key: u8, record: &Record) {
        let (node, shard) = (small(node), small(shard));
        let (version, content) = (record.version, content_of(record));
        let stamp = Stamp { key, content, node, shard };
        if self.oracle.view.stamps.get(&version) == Some(&stamp) {
            return;
        }
        let ceiling = self.nodes[usize::from(node)].ceiling;
        self.emit(Fact::Stamped { node, shard, key, version, content, ceiling });
    }

    pub(crate) fn note_own_store(&mut self, node: usize, shard: usize, key: u8, record: &Record) {
        let process = self.nodes[node].process.as_ref();
        let own = process.and_then(|process| process.ordinal) == Some(record.version.ordinal);
        if own && !self.oracle.view.stamps.contains_key(&record.version) {
            self.note_stamp(node, shard, key, record);
        }
    }

    pub(crate) fn note_sent(
        &mut self,
        node: usize,
        shard: usize,
        to: Ordinal,
        key: u8,
        record: &Record,
        purpose: Purpose,
    ) {
        if purpose == Purpose::Write {
            return self.note_stamp(node, shard, key, record);
        }
        let (version, content) = (record.version, content_of(record));
        let hint = purpose == Purpose::Hint;
        self.emit(Fact::Spread { node: small(node), to, key, version, content, hint });
    }

    /// Whether a hint that this node keeps still has somebody to go to: neither of them has left, and
    /// the target stores the key.
    pub(crate) fn hint_counts(&self, node: usize, target: Ordinal, key: u8) -> bool {
        let Some(latest) = self.latest() else { return true };
        let is_member = latest.document().member_named(&self.nodes[node].name).is_some();
        let is_lost = self.nodes.iter().any(|sim| sim.lost == Some(target));
        is_member && !is_lost && latest.sets(self.partition_of(key)).contains(target)
    }

    /// What a member's disk holds of a key, or held before it gave the key up.
    pub(crate) fn reached(&self, target: Ordinal, key: u8) -> Version {
        let Some(node) = self.node_of(target).map(small) else { return NOTHING };
        let (_, given_up) = self.oracle.view.given_up(node, key);
        self.oracle.view.durable(node, key).max(given_up)
    }

    /// A removal may be durable; something may be stored behind it.
    pub(crate) fn note_forgotten(&mut self, node: usize, key: u8) {
        let (number, slot) = (small(node), usize::from(key));
        let forgetting = &mut self.nodes[node].forgetting[slot];
        *forgetting = forgetting.saturating_sub(1);
        let before = self.oracle.view.durable(number, key);
        if self.held(node, key).0 < before {
            let document = self.nodes[node].state.document.as_ref();
            let fence = document.map(|document| document.fence()).unwrap_or_default();
            self.emit(Fact::Forgotten { node: number, key, before, fence });
        }
        self.note_durable(node, key);
    }

    /// Looks at what a disk holds of a key and notes a change.
    pub(crate) fn note_durable(&mut self, node: usize, key: u8) {
        let (version, content) = self.held(node, key);
        let number = small(node);
        let before = self.oracle.view.durable(number, key);
        if version != before {
            self.emit(Fact::Durable { node: number, key, before, version, content });
        }
    }

    /// What a disk holds of a key.
    pub(crate) fn held(&mut self, node: usize, key: u8) -> (Version, Content) {
        let shard = self.shard_of(key);
        let (name, hash) = &self.keys[usize::from(key)];
        match self.nodes[node].engine.get(shard, *hash, name) {
            Ok(Some(record)) => (record.version, content_of(&record)),
            Ok(None) => (NOTHING, Content::Tombstone),
            Err(_) => (NOTHING, Content::Foreign),
        }
    }

    /// The node that any layout of this world knows by this ordinal.
    pub(crate) fn node_of(&self, ordinal: Ordinal) -> Option<usize> {
        let name = self.layouts.iter().rev().find_map(|layout| layout.node_id(ordinal))?;
        crate::node::index_of(name)
    }
}

/// The value of a write: its number, again and again; one in sixteen fills several sectors.
pub(crate) fn value_of(operation: OperationNumber) -> Value {
    let times = usize::try_from(operation % 16).unwrap_or(0);
    let times = if times == 0 { 400 } else { times };
    Value::bytes(&operation.to_le_bytes().repeat(times))
}

/// What a record says.
pub(crate) fn content_of(record: &Record) -> Content {
    match &record.body {
        Body::Tombstone => Content::Tombstone,
        Body::Live(value) => content_of_value(value),
    }
}

/// The write that a value comes from.
pub(crate) fn content_of_value(value: &Value) -> Content {
    let Some((first, _)) = value.bytes.split_first_chunk::<4>() else { return Content::Foreign };
    let number = OperationNumber::from_le_bytes(*first);
    if *value == value_of(number) { Content::Of(number) } else { Content::Foreign }
}
