//! What this shard cannot answer for: keys whose records failed their checksum, and partitions whose file
//! was lost (semantics, sections 7 and 9).
//!
//! Whatever was stored over it since, such a key lacks something that this node had acknowledged. It
//! counts in no quorum and is told to nobody until it was healed. **Never:** lets go of a mark before the
//! store has let go of its own.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{Damage as Mark, Key, Marks, Ordinal};
use paravon_ring::{KeyHash, Partition, Shift};

use crate::mutants::{self, Mutant};

/// Between two attempts at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LAST_PAUSE: Duration = Duration::from_secs(600);

/// What is tried at once.
const MAX_TRIED: usize = 16;

/// What one shard lacks, for those who watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damages {
    /// Damaged keys.
    pub keys: u64,
    /// Partitions whose file was lost.
    pub partitions: u64,
    /// Members without which some of that could not be healed at the last attempt, by ordinal.
    pub waiting_for: Vec<Ordinal>,
    /// Keys and partitions that waiting does not heal: another member lacks them too, or there is none.
    pub unhealable: u64,
}

/// What is damaged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Key(KeyHash, Key),
    Partition(Partition),
}

/// Who must have told what they hold before it counts as healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Required {
    /// Every other member.
    All,
    /// Whoever does: an operator has accepted what is lost.
    WhoeverTells,
    /// Nobody: the partition was emptied since.
    Nobody,
}

/// Why an attempt has failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Obstacles {
    /// Members that told nothing.
    pub(crate) silent: Vec<Ordinal>,
    /// Members that lack it too.
    pub(crate) damaged: Vec<Ordinal>,
    pub(crate) others: Others,
}

/// Whether there is anybody to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Others {
    #[default]
    Some,
    None,
}

#[derive(Debug)]
struct Injury {
    /// From then on nothing counts any more that this node acknowledged before the mark.
    not_before: Duration,
    state: State,
    pause: Duration,
    required: Required,
    obstacles: Obstacles,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits { until: Duration },
    Tried,
}

/// The damaged keys and lost partitions of a shard.
#[derive(Debug)]
pub(crate) struct Damage {
    keys: BTreeMap<KeyHash, BTreeMap<Key, Injury>>,
    /// Partitions whose file was lost.
    lost: BTreeMap<Partition, Injury>,
    /// When each that waits is to be tried.
    agenda: BTreeSet<(Duration, Subject)>,
    tried: usize,
    start: Start,
}

/// Whether the shard has been told the time since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    ToCome,
    Was,
}

/// How long what a replica has acknowledged may count for something that is under way.
fn patience() -> Duration {
    if mutants::is(Mutant::HealedEarly) { Duration::ZERO } else { MAX_REQUEST_TIMEOUT }
}

impl Obstacles {
    fn is_hopeless(&self) -> bool {
        self.others == Others::None || !self.damaged.is_empty()
    }
}

impl Injury {
    fn new(not_before: Duration) -> Self {
        let state = State::Waits { until: not_before };
        let (required, obstacles) = (Required::All, Obstacles::default());
        Self { not_before, state, pause: FIRST_PAUSE, required, obstacles }
    }
}

impl Damage {
    /// What the store had marked before this start.
    pub(crate) fn new(keys: Vec<(KeyHash, Key)>, marks: &[(Partition, Marks)]) -> Self {
        let mut known = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (hash, key) in keys {
            known.entry(hash).or_default().insert(key, Injury::new(Duration::ZERO));
        }
        let lost = marks.iter().filter(|(_, marks)| marks.damage == Mark::Lost);
        let lost = lost.map(|&(partition, _)| (partition, Injury::new(Duration::ZERO)));
        let (agenda, start) = (BTreeSet::new(), Start::ToCome);
        Self { keys: known, lost: lost.collect(), agenda, tried: 0, start }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.lost.is_empty()
    }

    /// Whether this node cannot answer for what lies there. Two keys at one place are not told apart.
    pub(crate) fn covers(&self, hash: KeyHash, shift: Shift) -> bool {
        !self.is_empty() && (self.keys.contains_key(&hash) || self.is_lost(hash.partition(shift)))
    }

    /// Whether this node cannot answer for all of the partition.
    pub(crate) fn touches(&self, partition: Partition, shift: Shift) -> bool {
        let arc = partition.arc(shift);
        self.is_lost(partition) || self.keys.range(arc.first..=arc.last).next().is_some()
    }

    pub(crate) fn is_lost(&self, partition: Partition) -> bool {
        self.lost.contains_key(&partition)
    }

    /// The store has found a damaged record.
    pub(crate) fn mark(&mut self, now: Duration, hash: KeyHash, key: Key) {
        self.start(now);
        let subject = Subject::Key(hash, key.clone());
        self.healed(&subject);
        let injury = Injury::new(now + patience());
        self.keys.entry(hash).or_default().insert(key, injury);
        self.wait(now, &subject);
    }

    /// The shard is told the time. Of what was marked before the start no more is known than that.
    pub(crate) fn start(&mut self, now: Duration) {
        if self.start == Start::Was {
            return;
        }
        self.start = Start::Was;
        for subject in self.subjects() {
            if let Some(injury) = self.injury(&subject) {
                injury.not_before = now + patience();
            }
            self.wait(now, &subject);
        }
    }

    /// What is to be tried now, where there is room; it is being tried then.
    pub(crate) fn next(&mut self, now: Duration) -> Option<(Subject, Required)> {
        if self.tried >= MAX_TRIED || self.agenda.first()?.0 > now {
            return None;
        }
        let (_, subject) = self.agenda.pop_first()?;
        let injury = self.injury(&subject)?;
        injury.state = State::Tried;
        let required = injury.required;
        self.tried += 1;
        Some((subject, required))
    }

    /// When there is something to try.
    pub(crate) fn wake(&self) -> Option<Duration> {
        match self.start {
            Start::ToCome => (!self.is_empty()).then_some(Duration::ZERO),
            Start::Was if self.tried >= MAX_TRIED => None,
            Start::Was => self.agenda.first().map(|(at, _)| *at),
        }
    }

    /// It could not be healed; it is tried again after a pause that grows.
    pub(crate) fn rest(&mut self, now: Duration, subject: &Subject, obstacles: Obstacles) {
        let Some(injury) = self.injury(subject) else { return };
        let at = now + injury.pause;
        injury.pause = (injury.pause * 2).min(LAST_PAUSE);
        injury.obstacles = obstacles;
        self.wait(at, subject);
    }

    /// It is whole, and the store has let go of the mark.
    pub(crate) fn healed(&mut self, subject: &Subject) {
        let injury = match subject {
            Subject::Partition(partition) => self.lost.remove(partition),
            Subject::Key(hash, key) => self.keys.get_mut(hash).and_then(|keys| keys.remove(key)),
        };
        if let Subject::Key(hash, _) = subject
            && self.keys.get(hash).is_some_and(BTreeMap::is_empty)
        {
            self.keys.remove(hash);
        }
        match injury.map(|injury| injury.state) {
            Some(State::Waits { until }) => {
                self.agenda.remove(&(until, subject.clone()));
            }
            Some(State::Tried) => self.tried -= 1,
            None => {}
        }
    }

    /// Another layout is in use, and whatever is being tried is void: all is tried anew.
    pub(crate) fn relayout(&mut self, now: Duration) {
        for subject in self.subjects() {
            if let Some(injury) = self.injury(&subject) {
                injury.pause = FIRST_PAUSE;
            }
            self.wait(now, &subject);
        }
    }

    /// Nothing that was stored of the partition is left, and nothing of it counts.
    pub(crate) fn emptied(&mut self, now: Duration, partition: Partition, shift: Shift) {
        for subject in self.of(partition, shift) {
            match self.injury(&subject) {
                Some(injury) if matches!(subject, Subject::Partition(_)) => {
                    (injury.not_before, injury.required) = (now, Required::Nobody);
                    self.wait(now, &subject);
                }
                _ => self.healed(&subject),
            }
        }
    }

    /// An operator takes what is left of a key, or of all in the partition; gives what is tried anew.
    pub(crate) fn accept_loss(
        &mut self,
        now: Duration,
        partition: Partition,
        key: Option<(KeyHash, Key)>,
        shift: Shift,
    ) -> Vec<Subject> {
        self.start(now);
        let subjects = match key {
            Some((hash, key)) => Vec::from([Subject::Key(hash, key)]),
            None => self.of(partition, shift),
        };
        for subject in &subjects {
            if let Some(injury) = self.injury(subject)
                && injury.required == Required::All
            {
                injury.required = Required::WhoeverTells;
            }
            self.wait(now, subject);
        }
        subjects
    }

    /// What waits for this member is tried at once.
    pub(crate) fn linked(&mut self, now: Duration, peer: Ordinal) {
        for subject in self.subjects() {
            let injury = self.injury(&subject);
            let waits = injury.is_some_and(|injury| {
                injury.state != State::Tried && injury.obstacles.silent.contains(&peer)
            });
            if waits {
                self.wait(now, &subject);
            }
        }
    }

    pub(crate) fn damages(&self) -> Damages {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let (mut waiting_for, mut unhealable) = (BTreeSet::new(), 0);
        let of_keys = self.keys.values().flat_map(BTreeMap::values);
        for injury in of_keys.chain(self.lost.values()) {
            let Obstacles { silent, damaged, .. } = &injury.obstacles;
            waiting_for.extend(silent.iter().chain(damaged));
            unhealable += u64::from(injury.obstacles.is_hopeless());
        }
        Damages {
            keys: count(self.keys.values().map(BTreeMap::len).sum()),
            partitions: count(self.lost.len()),
            waiting_for: waiting_for.into_iter().collect(),
            unhealable,
        }
    }

    /// It is tried at that moment, or when it may be.
    fn wait(&mut self, at: Duration, subject: &Subject) {
        let Some(injury) = self.injury(subject) else { return };
        let until = at.max(injury.not_before);
        match core::mem::replace(&mut injury.state, State::Waits { until }) {
            State::Waits { until } => {
                self.agenda.remove(&(until, subject.clone()));
            }
            State::Tried => self.tried -= 1,
        }
        self.agenda.insert((until, subject.clone()));
    }

    fn injury(&mut self, subject: &Subject) -> Option<&mut Injury> {
        match subject {
            Subject::Partition(partition) => self.lost.get_mut(partition),
            Subject::Key(hash, key) => self.keys.get_mut(hash)?.get_mut(key),
        }
    }

    fn subjects(&self) -> Vec<Subject> {
        let keys = self
            .keys
            .iter()
            .flat_map(|(&hash, keys)| keys.keys().map(move |key| Subject::Key(hash, key.clone())));
        keys.chain(self.lost.keys().copied().map(Subject::Partition)).collect()
    }

    fn of(&self, partition: Partition, shift: Shift) -> Vec<Subject> {
        if !self.touches(partition, shift) {
            return Vec::new();
        }
        let is_of = |subject: &Subject| match subject {
            Subject::Key(hash, _) => hash.partition(shift) == partition,
            Subject::Partition(lost) => *lost == partition,
        };
        let mut subjects = self.subjects();
        subjects.retain(is_of);
        subjects
    }
}

#[cfg(test)]
#[path = "damage_tests.rs"]
mod tests;
