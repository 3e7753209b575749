//! What is known of a world at a moment, for invariants to judge facts by: what disks hold, what was
//! acknowledged and seen, which versions were given out for what.

use std::collections::{BTreeMap, BTreeSet};

use paravon_model::{Fence, Hlc, Ordinal, Version};

use crate::fact::{Content, End, Fact, Holders, Level, OperationNumber, Verb};
use crate::plan::{MAX_KEYS, MAX_NODES};

/// Below every version.
pub(crate) const NOTHING: Version = Version { hlc: Hlc::ZERO, ordinal: Ordinal(0) };

/// An operation of a client, as its coordinator saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) verb: Verb,
    pub(crate) key: u8,
    pub(crate) level: Level,
    pub(crate) node: u8,
    /// How often a coordinator began it: a retry after a crash is a new write of the same value.
    pub(crate) tries: u8,
    /// Versions given out for it since it began last.
    pub(crate) stamps: u8,
    /// The largest version of its key acknowledged at a majority when it began.
    pub(crate) acked_before: Version,
    /// The largest version of its key that a read at a majority had answered when it began.
    pub(crate) seen_before: Version,
    /// Disks that had been lost when it began.
    losses_before: usize,
    pub(crate) end: Option<End>,
}

/// A disk that was lost, or put back to an old copy, and what it held of every key.
#[derive(Clone, Debug)]
struct Loss {
    of: Option<Ordinal>,
    held: [Version; MAX_KEYS],
    /// Its floors, by partition.
    floors: BTreeMap<u32, Hlc>,
}

/// What a version was given out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) key: u8,
    pub(crate) content: Content,
    pub(crate) node: u8,
    pub(crate) shard: u8,
    pub(crate) expires_ms: Option<u64>,
}

/// What is known.
#[derive(Debug)]
pub(crate) struct View {
    durable: [[Version; MAX_KEYS]; MAX_NODES],
    /// What disks held of keys before they gave them up, and what they knew then.
    given_up: [[(Fence, Version); MAX_KEYS]; MAX_NODES],
    /// By number; none where no coordinator was reached.
    operations: Vec<Option<Operation>>,
    pub(crate) stamps: BTreeMap<Version, Stamp>,
    tombstones: [Vec<Version>; MAX_KEYS],
    /// Of every key what expires, and when.
    expiring: [Vec<(Version, u64)>; MAX_KEYS],
    acked: [Version; MAX_KEYS],
    /// All of these versions.
    all_acked: [BTreeSet<Version>; MAX_KEYS],
    seen: [Version; MAX_KEYS],
    /// Keys of which a write used a level that may be below a majority.
    weak: [bool; MAX_KEYS],
    /// Of every key, the generation before which what was acknowledged and seen is excused.
    bereft: [u64; MAX_KEYS],
    /// Disks that were lost, or put back to an old copy: their acknowledgements went with them.
    pub(crate) lost_disks: u8,
    /// What they held, in the order of their losses.
    losses: Vec<Loss>,
    /// Hints on disks, by holder, target and key.
    pub(crate) hints: BTreeMap<(u8, Ordinal, u8), Version>,
    /// What disks held of keys that have rotted since and were not healed, by node and key.
    pub(crate) rotten: BTreeMap<(u8, u8), Version>,
    /// What disks remember of partitions, by node and partition.
    pub(crate) marks: BTreeMap<(u8, u32), (Hlc, Hlc, Hlc)>,
    /// What was dropped at or below a floor, by node and key.
    dropped: [[Version; MAX_KEYS]; MAX_NODES],
    /// Partitions whose files were lost, by node and partition, and under which layout.
    pub(crate) lost: BTreeMap<(u8, u32), Fence>,
    /// What shards cannot answer for, and know.
    pub(crate) hurt: BTreeSet<(u8, u8)>,
    /// Of these, what the operator has accepted as lost, and the partition that it lies in.
    pub(crate) accepted: BTreeMap<(u8, u8), u32>,
    /// What is dirty in place of hints, likewise, and since when.
    pub(crate) dirty: BTreeMap<(u8, Ordinal, u8), Dirty>,
}

/// What a target may lack of a key although there is no hint of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dirty {
    pub(crate) version: Version,
    /// Of the store's process.
    pub(crate) moment: u64,
}

impl View {
    pub(crate) fn new() -> Self {
        Self {
            durable: [[NOTHING; MAX_KEYS]; MAX_NODES],
            given_up: [[(Fence::default(), NOTHING); MAX_KEYS]; MAX_NODES],
            operations: Vec::new(),
            stamps: BTreeMap::new(),
            tombstones: Default::default(),
            expiring: Default::default(),
            acked: [NOTHING; MAX_KEYS],
            all_acked: Default::default(),
            seen: [NOTHING; MAX_KEYS],
            weak: [false; MAX_KEYS],
            bereft: [0; MAX_KEYS],
            lost_disks: 0,
            losses: Vec::new(),
            hints: BTreeMap::new(),
            rotten: BTreeMap::new(),
            marks: BTreeMap::new(),
            dropped: [[NOTHING; MAX_KEYS]; MAX_NODES],
            hurt: BTreeSet::new(),
            accepted: BTreeMap::new(),
            lost: BTreeMap::new(),
            dirty: BTreeMap::new(),
        }
    }

    /// What a disk holds of a key.
    pub(crate) fn durable(&self, node: u8, key: u8) -> Version {
        self.durable[usize::from(node)][usize::from(key)]
    }

    /// What a disk held of a key before it gave the key up, and the fence that its node knew then.
    pub(crate) fn given_up(&self, node: u8, key: u8) -> (Fence, Version) {
        self.given_up[usize::from(node)][usize::from(key)]
    }

    /// Whether a replica holds a version or a newer one, or did for a coordinator that knows no later
    /// layout than this one: a replica that has left a set since may have given the key up.
    pub(crate) fn holds(&self, node: u8, key: u8, version: Version, fence: Fence) -> bool {
        let (later, given_up) = self.given_up(node, key);
        // One copy that rots is what the others are for.
        let rotten = self.rotten.get(&(node, key)).copied().unwrap_or(NOTHING);
        let left = later > fence && given_up >= version;
        let dropped = self.dropped[usize::from(node)][usize::from(key)] >= version;
        self.durable(node, key) >= version || left || dropped || rotten >= version
    }

    /// What any disk dropped of a key at or below a floor: every replica knew it then.
    pub(crate) fn dropped(&self, key: u8) -> Version {
        self.dropped.iter().map(|node| node[usize::from(key)]).max().unwrap_or(NOTHING)
    }

    /// What a disk dropped of a key.
    pub(crate) fn dropped_on(&self, node: u8, key: u8) -> Version {
        self.dropped[usize::from(node)][usize::from(key)]
    }

    /// Whether a version is of a tombstone, or of a record that has expired by `floor`.
    pub(crate) fn goes(&self, version: Version, floor: Hlc) -> bool {
        let expired = |stamp: &Stamp| stamp.expires_ms.is_some_and(|at| Hlc::new(at, 0) <= floor);
        let stamp = self.stamps.get(&version);
        stamp.is_some_and(|stamp| stamp.content == Content::Tombstone || expired(stamp))
    }

    /// Whether a version is of a record that has expired by then.
    pub(crate) fn has_expired(&self, version: Version, wall_ms: u64) -> bool {
        let stamp = self.stamps.get(&version);
        stamp.is_some_and(|stamp| stamp.expires_ms.is_some_and(|at| at <= wall_ms))
    }

    /// What of a key a disk holds at or below a floor, without what goes there; nothing is known where it
    /// holds something newer, or cannot read what it holds.
    pub(crate) fn held_below(&self, node: u8, key: u8, floor: Hlc) -> Option<Option<Version>> {
        let version = self.durable(node, key);
        if version.hlc > floor || self.rotten.contains_key(&(node, key)) {
            return None;
        }
        Some((version != NOTHING && !self.goes(version, floor)).then_some(version))
    }

    /// A node's floor, `full` and `closed` of a partition.
    pub(crate) fn marks(&self, node: u8, partition: u32) -> (Hlc, Hlc, Hlc) {
        self.marks.get(&(node, partition)).copied().unwrap_or_default()
    }

    /// Whether a replica held a version or a newer one when its disk was lost, and that after this
    /// operation had begun: it may have answered before.
    pub(crate) fn lost_since(
        &self,
        number: OperationNumber,
        replica: Ordinal,
        key: u8,
        version: Version,
    ) -> bool {
        self.losses_since(number, replica).any(|loss| loss.held[usize::from(key)] >= version)
    }

    /// The floor of a partition that a replica had when its disk was lost, if that was after this
    /// operation had begun: it may have claimed it before.
    pub(crate) fn floor_lost_since(
        &self,
        number: OperationNumber,
        replica: Ordinal,
        partition: u32,
    ) -> Hlc {
        let floors = self.losses_since(number, replica).map(|loss| loss.floors.get(&partition));
        floors.flatten().max().copied().unwrap_or_default()
    }

    fn losses_since(
        &self,
        number: OperationNumber,
        replica: Ordinal,
    ) -> impl Iterator<Item = &Loss> {
        let before = self.operation(number).map_or(self.losses.len(), |known| known.losses_before);
        self.losses[before..].iter().filter(move |loss| loss.of == Some(replica))
    }

    pub(crate) fn operation(&self, number: OperationNumber) -> Option<&Operation> {
        self.operations.get(number as usize)?.as_ref()
    }

    fn operation_mut(&mut self, number: OperationNumber) -> Option<&mut Operation> {
        self.operations.get_mut(number as usize)?.as_mut()
    }

    /// The largest version of a key that was acknowledged at a majority.
    pub(crate) fn acked(&self, key: u8) -> Version {
        self.acked[usize::from(key)]
    }

    /// The largest version of a key that a read at a majority has answered.
    pub(crate) fn seen(&self, key: u8) -> Version {
        self.seen[usize::from(key)]
    }

    /// The largest of those acknowledged at a majority that is not newer than this.
    pub(crate) fn acked_up_to(&self, key: u8, most: Hlc) -> Version {
        let most = Version { hlc: most, ordinal: Ordinal(u32::MAX) };
        self.all_acked[usize::from(key)].range(..=most).next_back().copied().unwrap_or(NOTHING)
    }

    /// Whether a write of this key used a level that may be below a majority.
    pub(crate) fn is_weak(&self, key: u8) -> bool {
        self.weak[usize::from(key)]
    }

    /// The smallest version that an answer "absent" may stand for where everything up to `floor` must
    /// be seen, by a clock that says `wall_ms`: none where neither a delete explains it nor that something
    /// has expired.
    pub(crate) fn absence(&self, key: u8, floor: Version, wall_ms: u64) -> Option<Version> {
        if floor == NOTHING {
            return Some(NOTHING);
        }
        let dropped = self.dropped(key);
        let gone = |&&(version, at): &&(Version, u64)| at <= wall_ms || version <= dropped;
        let expired = self.expiring[usize::from(key)].iter().filter(gone);
        let tombstones = self.tombstones[usize::from(key)].iter().copied();
        let all = tombstones.chain(expired.map(|(version, _)| *version));
        all.filter(|version| *version >= floor).min()
    }

    /// Takes a fact in, after the invariants have judged it.
    pub(crate) fn apply(&mut self, fact: &Fact) {
        match *fact {
            Fact::Began { operation, node, verb, key, level } => {
                self.began(operation, node, verb, key, level);
            }
            Fact::Ended { operation, end, holders, wall_ms, .. } => {
                self.ended(operation, end, holders, wall_ms);
            }
            Fact::Stamped { node, shard, key, version, content, expires_ms, .. } => {
                self.stamped(version, Stamp { key, content, node, shard, expires_ms });
            }
            Fact::Durable { node, key, version, .. } => {
                self.durable[usize::from(node)][usize::from(key)] = version;
            }
            Fact::Rotted { node, key, held } => {
                self.durable[usize::from(node)][usize::from(key)] = NOTHING;
                self.rotten.insert((node, key), held);
                self.accepted.remove(&(node, key));
            }
            Fact::FileLost { node, shard, shards, partitions, fence } => {
                let own = (0..partitions).skip(shard.into()).step_by(shards.into());
                self.lost.extend(own.map(|partition| ((node, partition), fence)));
            }
            Fact::Lifted { node, partition } => {
                self.lost.remove(&(node, partition));
            }
            Fact::Hurt { node, key } => {
                self.hurt.insert((node, key));
            }
            Fact::LossAccepted { node, key, partition } => {
                self.accepted.insert((node, key), partition);
            }
            Fact::LossTaken { key, left, .. } => self.set_back(key, left),
            Fact::Healed { node, key, .. } | Fact::Restored { node, key } => self.healed(node, key),
            Fact::Crashed { node, .. } => self.hurt.retain(|(known, _)| *known != node),
            Fact::Marked { node, partition, floor, full, closed, .. } => {
                self.marks.insert((node, partition), (floor, full, closed));
            }
            Fact::Dropped { node, key, before } => {
                self.healed(node, key);
                self.durable[usize::from(node)][usize::from(key)] = NOTHING;
                self.dropped[usize::from(node)][usize::from(key)] = before;
            }
            Fact::Forgotten { node, key, before, fence } => {
                self.healed(node, key);
                self.durable[usize::from(node)][usize::from(key)] = NOTHING;
                self.given_up[usize::from(node)][usize::from(key)] = (fence, before);
            }
            Fact::DiskLost { node, of } => {
                self.lost_disks += 1;
                let marks = self.marks.iter().filter(|((holder, _), _)| *holder == node);
                let floors = marks.map(|((_, partition), (floor, _, _))| (*partition, *floor));
                let (held, floors) = (self.durable[usize::from(node)], floors.collect());
                self.losses.push(Loss { of, held, floors });
                self.clear_disk(node);
            }
            Fact::DiskCleared { node } => self.clear_disk(node),
            Fact::Bereft { key, generation, left } => self.bereave(key, generation, left),
            Fact::HintKept { node, target, key, version } => {
                let slot = self.hints.entry((node, target, key)).or_insert(version);
                *slot = version.max(*slot);
            }
            Fact::HintMarked { node, target, key, version, moment } => {
                let marked = Dirty { version, moment };
                let dirty = self.dirty.entry((node, target, key)).or_insert(marked);
                *dirty = Dirty { version: version.max(dirty.version), moment };
            }
            Fact::HintCleaned { node, target, key, .. } => {
                self.dirty.remove(&(node, target, key));
            }
            Fact::Started { node, .. } => {
                let of_node = self.dirty.iter_mut().filter(|((holder, _, _), _)| *holder == node);
                // What a process finds on its disk is older than all that it counts itself.
                of_node.for_each(|(_, dirty)| dirty.moment = 0);
            }
            Fact::HintDropped { node, target, key, version, .. }
                if self.hints.get(&(node, target, key)).is_some_and(|kept| *kept <= version) =>
            {
                self.hints.remove(&(node, target, key));
            }
            Fact::HintSurvived { node, target, key, after, .. } => {
                match after {
                    Some(version) => self.hints.insert((node, target, key), version),
                    None => self.hints.remove(&(node, target, key)),
                };
            }
            _ => {}
        }
    }

    fn healed(&mut self, node: u8, key: u8) {
        self.rotten.remove(&(node, key));
        self.hurt.remove(&(node, key));
        self.accepted.remove(&(node, key));
    }

    /// Whether the operator has accepted a loss in a partition at a node that is not healed yet.
    pub(crate) fn accepts(&self, node: u8, partition: u32) -> bool {
        let own = self.accepted.range((node, 0)..=(node, u8::MAX));
        own.into_iter().any(|(_, accepted)| *accepted == partition)
    }

    /// A majority of the copies of a key is gone.
    fn bereave(&mut self, key: u8, generation: u64, left: Version) {
        self.bereft[usize::from(key)] = generation;
        self.narrow(key, left);
    }

    /// What is lost of a key was accepted as lost: what else was missing on some disk is with it.
    fn set_back(&mut self, key: u8, left: Version) {
        self.narrow(key, left);
        let of_key = self.dirty.iter_mut().filter(|((_, _, dirty), _)| *dirty == key);
        of_key.for_each(|(_, dirty)| dirty.version = left.min(dirty.version));
    }

    /// What was promised of a key is promised of what is left.
    fn narrow(&mut self, key: u8, left: Version) {
        let index = usize::from(key);
        self.acked[index] = left.min(self.acked[index]);
        self.all_acked[index].retain(|version| *version <= left);
        self.seen[index] = left.min(self.seen[index]);
        let under_way =
            |operation: &&mut Operation| operation.key == key && operation.end.is_none();
        for operation in self.operations.iter_mut().flatten().filter(under_way) {
            operation.acked_before = left.min(operation.acked_before);
            operation.seen_before = left.min(operation.seen_before);
        }
    }

    /// A disk is empty, and nothing is promised of what it held.
    fn clear_disk(&mut self, node: u8) {
        self.durable[usize::from(node)] = [NOTHING; MAX_KEYS];
        self.given_up[usize::from(node)] = [(Fence::default(), NOTHING); MAX_KEYS];
        self.marks.retain(|(holder, _), _| *holder != node);
        self.lost.retain(|(holder, _), _| *holder != node);
        self.rotten.retain(|(holder, _), _| *holder != node);
        self.hurt.retain(|(holder, _)| *holder != node);
        self.accepted.retain(|(holder, _), _| *holder != node);
        self.hints.retain(|(holder, _, _), _| *holder != node);
        self.dirty.retain(|(holder, _, _), _| *holder != node);
    }

    fn began(&mut self, number: OperationNumber, node: u8, verb: Verb, key: u8, level: Level) {
        let index = usize::from(key);
        if verb.writes() && matches!(level, Level::One | Level::Count(_)) {
            self.weak[index] = true;
        }
        let mut operation = Operation {
            verb,
            key,
            level,
            node,
            tries: 1,
            stamps: 0,
            acked_before: self.acked[index],
            seen_before: self.seen[index],
            losses_before: self.losses.len(),
            end: None,
        };
        let slot = number as usize;
        if self.operations.len() <= slot {
            self.operations.resize(slot + 1, None);
        }
        if let Some(earlier) = &self.operations[slot] {
            operation.tries = earlier.tries.saturating_add(1);
        }
        self.operations[slot] = Some(operation);
    }

    fn ended(&mut self, number: OperationNumber, end: End, holders: Holders, wall_ms: u64) {
        let Some(operation) = self.operation(number).copied() else { return };
        let (key, index) = (operation.key, usize::from(operation.key));
        let counts = holders.fence.generation >= self.bereft[index];
        if counts && is_strong(operation.level, holders) {
            match end {
                End::Written { version, .. } => {
                    self.acked[index] = self.acked[index].max(version);
                    self.all_acked[index].insert(version);
                }
                End::Found { version, .. } => self.seen[index] = self.seen[index].max(version),
                End::Absent => {
                    let floor = operation.acked_before.max(operation.seen_before);
                    let least = self.absence(key, floor, wall_ms).unwrap_or(floor);
                    self.seen[index] = self.seen[index].max(least);
                }
                End::Refused { .. } | End::Unknown { .. } => {}
            }
        }
        if let Some(operation) = self.operation_mut(number) {
            operation.end = Some(end);
        }
    }

    fn stamped(&mut self, version: Version, stamp: Stamp) {
        if self.stamps.insert(version, stamp).is_some() {
            return;
        }
        if let Some(at) = stamp.expires_ms {
            self.expiring[usize::from(stamp.key)].push((version, at));
        }
        match stamp.content {
            Content::Tombstone => self.tombstones[usize::from(stamp.key)].push(version),
            Content::Of(number) => {
                if let Some(operation) = self.operation_mut(number) {
                    operation.stamps = operation.stamps.saturating_add(1);
                }
            }
            Content::Foreign => {}
        }
    }
}

/// Whether a level reaches a majority of every set in force.
pub(crate) fn is_strong(level: Level, holders: Holders) -> bool {
    holders.sets().all(|set| match level {
        Level::Quorum | Level::All => true,
        Level::One => set.replicas <= 1,
        Level::Count(count) => count > set.replicas / 2,
    })
}

/// Replicas of a set that a level needs.
pub(crate) fn needed(level: Level, replicas: u8) -> u8 {
    match level {
        Level::One => 1,
        Level::Quorum => replicas / 2 + 1,
        Level::All => replicas,
        Level::Count(count) => count,
    }
}
