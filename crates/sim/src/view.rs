//! What is known of a world at a moment, for invariants to judge facts by: what disks hold, what was
//! acknowledged and seen, which versions were given out for what.

use std::collections::BTreeMap;

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
    pub(crate) end: Option<End>,
}

/// What a version was given out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) key: u8,
    pub(crate) content: Content,
    pub(crate) node: u8,
    pub(crate) shard: u8,
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
    acked: [Version; MAX_KEYS],
    seen: [Version; MAX_KEYS],
    /// Keys of which a write used a level that may be below a majority.
    weak: [bool; MAX_KEYS],
    /// Of every key, the generation before which what was acknowledged and seen is excused.
    bereft: [u64; MAX_KEYS],
    /// Disks that were lost, or put back to an old copy: their acknowledgements went with them.
    pub(crate) lost_disks: u8,
    /// Hints on disks, by holder, target and key.
    pub(crate) hints: BTreeMap<(u8, Ordinal, u8), Version>,
}

impl View {
    pub(crate) fn new() -> Self {
        Self {
            durable: [[NOTHING; MAX_KEYS]; MAX_NODES],
            given_up: [[(Fence::default(), NOTHING); MAX_KEYS]; MAX_NODES],
            operations: Vec::new(),
            stamps: BTreeMap::new(),
            tombstones: Default::default(),
            acked: [NOTHING; MAX_KEYS],
            seen: [NOTHING; MAX_KEYS],
            weak: [false; MAX_KEYS],
            bereft: [0; MAX_KEYS],
            lost_disks: 0,
            hints: BTreeMap::new(),
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
        self.durable(node, key) >= version || (later > fence && given_up >= version)
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

    /// Whether a write of this key used a level that may be below a majority.
    pub(crate) fn is_weak(&self, key: u8) -> bool {
        self.weak[usize::from(key)]
    }

    /// The smallest version that an answer "absent" may stand for where everything up to `floor` must
    /// be seen: none where no delete explains it.
    pub(crate) fn absence(&self, key: u8, floor: Version) -> Option<Version> {
        if floor == NOTHING {
            return Some(NOTHING);
        }
        let tombstones = self.tombstones[usize::from(key)].iter();
        tombstones.copied().filter(|version| *version >= floor).min()
    }

    /// Takes a fact in, after the invariants have judged it.
    pub(crate) fn apply(&mut self, fact: &Fact) {
        match *fact {
            Fact::Began { operation, node, verb, key, level } => {
                self.began(operation, node, verb, key, level);
            }
            Fact::Ended { operation, end, holders, .. } => self.ended(operation, end, holders),
            Fact::Stamped { node, shard, key, version, content, .. } => {
                self.stamped(version, Stamp { key, content, node, shard });
            }
            Fact::Durable { node, key, version, .. } => {
                self.durable[usize::from(node)][usize::from(key)] = version;
            }
            Fact::Forgotten { node, key, before, fence } => {
                self.durable[usize::from(node)][usize::from(key)] = NOTHING;
                self.given_up[usize::from(node)][usize::from(key)] = (fence, before);
            }
            Fact::DiskLost { node } => {
                self.lost_disks += 1;
                self.clear_disk(node);
            }
            Fact::DiskCleared { node } => self.clear_disk(node),
            Fact::Bereft { key, generation, left } => self.bereave(key, generation, left),
            Fact::HintKept { node, target, key, version } => {
                let slot = self.hints.entry((node, target, key)).or_insert(version);
                *slot = version.max(*slot);
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

    /// A majority of the copies of a key is gone: what was promised of it is promised of what is left.
    fn bereave(&mut self, key: u8, generation: u64, left: Version) {
        let index = usize::from(key);
        self.bereft[index] = generation;
        self.acked[index] = left.min(self.acked[index]);
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
        self.hints.retain(|(holder, _, _), _| *holder != node);
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

    fn ended(&mut self, number: OperationNumber, end: End, holders: Holders) {
        let Some(operation) = self.operation(number).copied() else { return };
        let (key, index) = (operation.key, usize::from(operation.key));
        let counts = holders.fence.generation >= self.bereft[index];
        if counts && is_strong(operation.level, holders) {
            match end {
                End::Written { version, .. } => self.acked[index] = self.acked[index].max(version),
                End::Found { version, .. } => self.seen[index] = self.seen[index].max(version),
                End::Absent => {
                    let floor = operation.acked_before.max(operation.seen_before);
                    let least = self.absence(key, floor).unwrap_or(floor);
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
