//! The members of a layout as they contest its partitions: all of them, or newcomers against those who
//! hold the seats.
//!
//! **Never:** gives another outcome for another order of coming. Blocks and bars only save time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use paravon_model::{NodeId, Ordinal, Roster};

use crate::place::{Partition, Shift};
use crate::seats::{Newcomer, Rows, Seat, Zone};
use crate::tickets::{Contender, PartitionKey};

/// Partitions that are contested together: 20 KB of rows at three copies.
const ROWS: usize = 256;

/// Everything that decides the replica sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contest {
    seed: u64,
    shift: Shift,
    /// The size of every replica set: the replication factor, or all members where they are fewer.
    copies: usize,
    /// By ordinal.
    contenders: Vec<Contender>,
    /// Of the contender at the same place.
    zones: Vec<Zone>,
}

impl Contest {
    /// The contest among the members of `roster`, in a cluster founded with this seed and shift.
    pub(crate) fn of(roster: &Roster, seed: u64, shift: Shift) -> Self {
        let members = roster.members.iter();
        let mut contenders: Vec<_> = members.map(|member| Contender::of(seed, member)).collect();
        contenders.sort_unstable_by_key(|contender| contender.ordinal);
        let copies = contenders.len().min(usize::from(roster.replication_factor));
        let zones = zones(&contenders);
        Self { seed, shift, copies, contenders, zones }
    }

    /// The size of every replica set.
    pub(crate) fn copies(&self) -> usize {
        self.copies
    }

    /// Every partition, in order.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.shift.partitions()).map(Partition)
    }

    /// Whether the sets of `other` have the same form and the same scores.
    pub(crate) fn continues(&self, other: &Self) -> bool {
        (self.seed, self.shift, self.copies) == (other.seed, other.shift, other.copies)
    }

    /// The members, by ordinal, that `other` does not have with the same size and zone.
    pub(crate) fn missing_from(&self, other: &Self) -> Vec<Ordinal> {
        let is_missing = |own: &&Contender| {
            other.place(own.ordinal).is_none_or(|place| other.contenders[place] != **own)
        };
        self.contenders.iter().filter(is_missing).map(|contender| contender.ordinal).collect()
    }

    /// All members in `partition`, by ordinal.
    pub(crate) fn seats(&self, partition: Partition) -> Vec<Seat> {
        let key = PartitionKey::of(self.seed, partition);
        (0..self.contenders.len()).map(|place| self.seat(place, key)).collect()
    }

    /// Finds the sets of `partitions`, whatever `sets` holds for them.
    pub(crate) fn decide(&self, partitions: impl Iterator<Item = Partition>, sets: &mut [Ordinal]) {
        let everybody = self.newcomers(|_| true, BTreeSet::new());
        in_blocks(partitions, |block| {
            let rows = Rows::free(self.keys(block), self.copies);
            self.contest(block, rows, &everybody, sets);
        });
    }

    /// Finds the sets of `partitions` where `sets` holds those among all members but `new`.
    ///
    /// # Panics
    /// If `sets` holds who is no member.
    pub(crate) fn admit(
        &self,
        new: &[Ordinal],
        partitions: impl Iterator<Item = Partition>,
        sets: &mut [Ordinal],
    ) {
        let is_new = |contender: &Contender| new.contains(&contender.ordinal);
        let newcomers = self.newcomers(is_new, self.zones_of(|contender| !is_new(contender)));
        in_blocks(partitions, |block| {
            let keys = self.keys(block);
            let holders = block.iter().zip(&keys).flat_map(|(partition, &key)| {
                let start = partition.0 as usize * self.copies;
                let held = &sets[start..start + self.copies];
                let place = |&holder| self.place(holder).expect("sets hold members alone");
                held.iter().map(move |holder| self.seat(place(holder), key))
            });
            let holders: Vec<Seat> = holders.collect();
            let rows = Rows::taken(keys, self.copies, &holders);
            self.contest(block, rows, &newcomers, sets);
        });
    }

    /// Whether so many of `members` are together in the set of some partition. They contest each
    /// partition first: who has lost a seat to others never gets it back, so most partitions are done
    /// with after a few of the others, however many there are.
    pub(crate) fn has_set_with(&self, members: &[Ordinal], count: usize) -> bool {
        let is_one = |contender: &Contender| members.contains(&contender.ordinal);
        let first = self.newcomers(is_one, BTreeSet::new());
        let others = self.newcomers(|contender| !is_one(contender), self.zones_of(is_one));
        let is_together = |seats: &[Seat]| {
            let held = seats.iter().filter(|seat| members.contains(&Ordinal(seat.ordinal)));
            held.count() >= count
        };
        let mut is_found = false;
        in_blocks(self.partitions(), |block| {
            if is_found {
                return;
            }
            let mut rows = Rows::free(self.keys(block), self.copies);
            first.iter().for_each(|newcomer| rows.enter(newcomer));
            rows.retain(is_together);
            for newcomer in &others {
                if rows.is_empty() {
                    return;
                }
                rows.enter(newcomer);
                rows.retain(is_together);
            }
            is_found = !rows.is_empty();
        });
        is_found
    }

    /// Lets `newcomers` contest the `rows` of a block, and writes the outcome.
    fn contest(
        &self,
        block: &[Partition],
        mut rows: Rows,
        newcomers: &[Newcomer<'_>],
        sets: &mut [Ordinal],
    ) {
        for newcomer in newcomers {
            rows.enter(newcomer);
        }
        for (partition, row) in block.iter().zip(rows.sets()) {
            let start = partition.0 as usize * self.copies;
            for (holder, seat) in sets[start..start + self.copies].iter_mut().zip(row) {
                *holder = Ordinal(seat.ordinal);
            }
        }
    }

    /// The members that are new, in the order in which they contest what those of the zones `known`
    /// have contested.
    fn newcomers(
        &self,
        is_new: impl Fn(&Contender) -> bool,
        mut known: BTreeSet<Zone>,
    ) -> Vec<Newcomer<'_>> {
        let all = self.contenders.iter().zip(&self.zones);
        let newcomer = |(contender, &zone)| {
            let opens_zone = known.len() < self.copies && !known.contains(&zone);
            known.insert(zone);
            Newcomer { contender, zone, opens_zone }
        };
        all.filter(|(contender, _)| is_new(contender)).map(newcomer).collect()
    }

    /// The zones of those members.
    fn zones_of(&self, is_one: impl Fn(&Contender) -> bool) -> BTreeSet<Zone> {
        let all = self.contenders.iter().zip(&self.zones);
        all.filter(|(contender, _)| is_one(contender)).map(|(_, &zone)| zone).collect()
    }

    fn keys(&self, block: &[Partition]) -> Vec<PartitionKey> {
        block.iter().map(|&partition| PartitionKey::of(self.seed, partition)).collect()
    }

    fn place(&self, ordinal: Ordinal) -> Option<usize> {
        self.contenders.binary_search_by_key(&ordinal, |contender| contender.ordinal).ok()
    }

    fn seat(&self, place: usize, key: PartitionKey) -> Seat {
        Seat::of(&self.contenders[place], self.zones[place], key)
    }
}

/// Cuts `partitions` into blocks of at most [`ROWS`].
fn in_blocks(mut partitions: impl Iterator<Item = Partition>, mut visit: impl FnMut(&[Partition])) {
    loop {
        let block: Vec<Partition> = partitions.by_ref().take(ROWS).collect();
        if block.is_empty() {
            return;
        }
        visit(&block);
    }
}

/// The zone of every contender: the ordinal of the first one that stands there.
fn zones(contenders: &[Contender]) -> Vec<Zone> {
    let mut first: BTreeMap<&NodeId, Zone> = BTreeMap::new();
    let mut zones = Vec::with_capacity(contenders.len());
    for contender in contenders {
        let own = Zone(contender.ordinal.0);
        zones.push(contender.zone().map_or(own, |name| *first.entry(name).or_insert(own)));
    }
    zones
}
