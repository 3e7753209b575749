//! What the invariants are told of what shards and stores do.

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{Body, Fence, Hlc, Ordinal, Purpose, Record, ReplicaReply, Value, Version};
use paravon_replication::{Effect, PeerToken};
use paravon_ring::{HashArc, Partition};

use crate::fact::{Content, Fact, OperationNumber};
use crate::plan::EngineKind;
use crate::queue::MILLISECOND;
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
        let expires_ms = record.expires_ms;
        let stamp = Stamp { key, content, node, shard, expires_ms };
        if self.oracle.view.stamps.get(&version) == Some(&stamp) {
            return;
        }
        let ceiling = self.nodes[usize::from(node)].ceiling;
        self.emit(Fact::Stamped { node, shard, key, version, content, expires_ms, ceiling });
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

    /// A difference is pulled once it was seen twice, further apart than any request lasts.
    pub(crate) fn note_pull(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        let Some(layout) = &process.layout else { return };
        // The clocks of nodes are not right to the millisecond.
        let least = MAX_REQUEST_TIMEOUT.as_nanos() - u128::from(100 * MILLISECOND);
        let served = self.now - process.served_since;
        let is_early = u128::from(served) < least && layout.document().joint().is_none();
        if is_early && self.plan.deletes == 0 {
            let served_ms = served / MILLISECOND;
            self.emit(Fact::PulledEarly { node: small(node), served_ms });
        }
    }

    /// Whether a hint that this node keeps still has somebody to go to: neither of them has left, and
    /// the target stores the key.
    pub(crate) fn hint_counts(&self, node: usize, target: Ordinal, key: u8) -> bool {
        let Some(latest) = self.latest() else { return true };
        let is_member = latest.document().member_named(&self.nodes[node].name).is_some();
        let is_lost = self.nodes.iter().any(|sim| sim.lost == Some(target));
        is_member && !is_lost && latest.sets(self.partition_of(key)).contains(target)
    }

    /// What was dirty for a target is found to be there.
    pub(crate) fn note_cleaned(&mut self, node: usize, target: Ordinal, arc: HashArc, moment: u64) {
        let number = small(node);
        for key in 0..small(self.keys.len()) {
            let known = self.oracle.view.dirty.get(&(number, target, key));
            let is_meant = known.is_some_and(|dirty| dirty.moment <= moment);
            if is_meant && arc.contains(self.keys[usize::from(key)].1) {
                self.note_clean(node, target, key);
            }
        }
    }

    pub(crate) fn note_clean(&mut self, node: usize, target: Ordinal, key: u8) {
        let durable = self.reached(target, key);
        let counts = self.hint_counts(node, target, key) && !self.died_out(node, target, key);
        self.emit(Fact::HintCleaned { node: small(node), target, key, durable, counts });
    }

    /// Whether what was dirty was acknowledged by none but nodes that were killed for good since: as few
    /// copies as its level asked for are lost with them, and all others agree without it.
    fn died_out(&self, node: usize, target: Ordinal, key: u8) -> bool {
        let known = self.oracle.view.dirty.get(&(small(node), target, key));
        let Some(version) = known.map(|dirty| dirty.version) else { return false };
        let holds = |number: usize| self.oracle.view.durable(small(number), key) >= version;
        let mut holders = (0..self.nodes.len()).filter(|&number| holds(number)).peekable();
        holders.peek().is_some() && holders.all(|number| self.nodes[number].killed)
    }

    /// What a member's disk holds of a key, or held before it gave the key up.
    pub(crate) fn reached(&self, target: Ordinal, key: u8) -> Version {
        let Some(node) = self.node_of(target).map(small) else { return NOTHING };
        let (_, given_up) = self.oracle.view.given_up(node, key);
        let dropped = self.oracle.view.dropped_on(node, key);
        let rotten = self.oracle.view.rotten.get(&(node, key)).copied().unwrap_or(NOTHING);
        let reached = self.oracle.view.durable(node, key).max(given_up).max(dropped);
        reached.max(rotten).max(self.refused(node, key))
    }

    /// What a replica admits nothing up to: it pulls that instead.
    fn refused(&self, node: u8, key: u8) -> Version {
        let (_, _, closed) = self.oracle.view.marks(node, self.partition_of(key).0);
        let ordinal = Ordinal(if closed == Hlc::ZERO { 0 } else { u32::MAX });
        Version { hlc: closed, ordinal }
    }

    /// A removal may be durable; something may be stored behind it.
    pub(crate) fn note_forgotten(&mut self, node: usize, key: u8) {
        let (number, slot) = (small(node), usize::from(key));
        let forgetting = &mut self.nodes[node].forgetting[slot];
        *forgetting = forgetting.saturating_sub(1);
        let before = self.oracle.view.durable(number, key);
        if self.held(node, key).0 < before {
            if self.may_drop(node, key, before) {
                self.emit(Fact::Dropped { node: number, key, before });
                return self.note_durable(node, key);
            }
            if self.is_to_store(node, key) {
                self.emit(Fact::ForgottenWrongly { node: number, key, before });
            }
            let document = self.nodes[node].state.document.as_ref();
            let fence = document.map(|document| document.fence()).unwrap_or_default();
            self.emit(Fact::Forgotten { node: number, key, before, fence });
        }
        self.note_damage_forgotten(node, key);
        self.note_durable(node, key);
    }

    /// A node that empties a set which it is new to lacks nothing of a key there any more that it could not
    /// read, although there was nothing else to remove.
    fn note_damage_forgotten(&mut self, node: usize, key: u8) {
        let (number, shard) = (small(node), self.shard_of(key));
        let Some(&before) = self.oracle.view.rotten.get(&(number, key)) else { return };
        let (name, hash) = self.keys[usize::from(key)].clone();
        let is_lost = self.oracle.view.lost.contains_key(&(number, self.partition_of(key).0));
        let is_marked = self.nodes[node].engine.is_marked(shard, &(hash, name));
        let Some(process) = &self.nodes[node].process else { return };
        if is_lost || is_marked || !process.new.contains(&self.partition_of(key)) {
            return;
        }
        let document = self.nodes[node].state.document.as_ref();
        let fence = document.map(|document| document.fence()).unwrap_or_default();
        self.emit(Fact::Forgotten { node: number, key, before, fence });
    }

    /// A record on a disk rots, where it is the only copy of its key that is hurt, of several.
    pub(crate) fn let_rot(&mut self, node: usize, key: u8) {
        let Some(latest) = self.latest().cloned() else { return };
        let sets = latest.sets(self.partition_of(key));
        let view = &self.oracle.view;
        let other = view.rotten.keys().any(|(_, rotten)| *rotten == key) || !view.lost.is_empty();
        let own = latest.document().member_named(&self.nodes[node].name);
        let is_copy = own.is_some_and(|own| sets.contains(own.ordinal));
        let copies = sets.current.len().min(sets.next.map_or(usize::MAX, |next| next.len()));
        if !other && is_copy && copies >= 2 {
            self.rot(node, key);
        }
    }

    /// What a node's disk holds of a key rots.
    pub(crate) fn rot(&mut self, node: usize, key: u8) {
        if self.plan.engine == EngineKind::Disk {
            // What is on its disk is reached while its process does not run.
            self.crash(node, Some(MILLISECOND));
        }
        let (number, shard) = (small(node), self.shard_of(key));
        let held = self.oracle.view.durable(number, key);
        let (name, hash) = self.keys[usize::from(key)].clone();
        if self.nodes[node].engine.rot(shard, hash, &name) {
            self.emit(Fact::Rotted { node: number, key, held });
        }
    }

    /// The file of a shard is lost, where nothing else is.
    pub(crate) fn lose_file(&mut self, node: usize, shard: usize) {
        let Some(latest) = self.latest().cloned() else { return };
        let view = &self.oracle.view;
        let is_member = latest.document().member_named(&self.nodes[node].name).is_some();
        let copies = latest.document().current.copies();
        if !view.rotten.is_empty() || !view.lost.is_empty() || copies < 3 || !is_member {
            return;
        }
        self.lose_shard(node, shard, latest.fence());
    }

    /// The file of a shard of a running process is lost, while the latest layout has this fence.
    pub(crate) fn lose_shard(&mut self, node: usize, shard: usize, fence: Fence) {
        if self.nodes[node].process.is_none() || shard >= usize::from(self.plan.shards) {
            return;
        }
        self.crash(node, Some(MILLISECOND));
        self.nodes[node].engine.lose_file(shard);
        let number = small(node);
        let partitions = self.shift().partitions();
        let (shards, file) = (small(self.plan.shards.into()), small(shard));
        self.emit(Fact::FileLost { node: number, shard: file, shards, partitions, fence });
        for key in 0..small(self.keys.len()) {
            let held = self.oracle.view.durable(number, key);
            if self.shard_of(key) == shard && held != NOTHING {
                self.emit(Fact::Rotted { node: number, key, held });
            }
        }
    }

    /// A partition whose file was lost is whole again.
    pub(crate) fn note_lifted(&mut self, node: usize, partition: Partition) {
        let number = small(node);
        if !self.oracle.view.lost.contains_key(&(number, partition.0)) {
            return;
        }
        self.emit(Fact::Lifted { node: number, partition: partition.0 });
        for key in 0..small(self.keys.len()) {
            let shard = self.shard_of(key);
            let (name, hash) = self.keys[usize::from(key)].clone();
            let is_marked = self.nodes[node].engine.is_marked(shard, &(hash, name));
            if self.partition_of(key) == partition && !is_marked {
                self.note_healed(node, key);
            }
        }
    }

    /// A key can be read again.
    pub(crate) fn note_healed(&mut self, node: usize, key: u8) {
        self.note_durable(node, key);
        let number = small(node);
        let Some(latest) = self.latest().cloned() else { return };
        self.note_loss_taken(node, key);
        let acked = self.oracle.view.acked(key);
        let version = self.oracle.view.durable(number, key);
        let rotten = self.oracle.view.rotten.get(&(number, key)).copied().unwrap_or(NOTHING);
        let mut holders = self.holders_in(&latest, key, acked);
        if version < acked && rotten >= acked {
            // What rotted was counted, and does not count any more.
            holders.current.holding = holders.current.holding.saturating_sub(1);
        }
        self.emit(Fact::Healed { node: number, key, version, acked, holders });
    }

    /// Whether a node stores a key by the layout that it admits requests under, and did before.
    pub(crate) fn is_to_store(&self, node: usize, key: u8) -> bool {
        let Some(process) = &self.nodes[node].process else { return false };
        let Some(layout) = &process.layout else { return false };
        let partition = self.partition_of(key);
        let stores = process.ordinal.is_some_and(|own| layout.sets(partition).contains(own));
        process.admitted == Some(layout.fence()) && stores && !process.new.contains(&partition)
    }

    /// Looks at what a disk holds of a key and notes a change.
    pub(crate) fn note_durable(&mut self, node: usize, key: u8) {
        let (version, content) = self.held(node, key);
        let number = small(node);
        let before = self.oracle.view.durable(number, key);
        if version != before {
            self.judge_entry(node, key, before, version);
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
