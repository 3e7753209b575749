//! Who gets the seats of a partition: the best scores, in distinct zones where there are enough zones.
//!
//! A partition's members are ranked in two classes: first the best node of every zone, then all
//! others; each class by score, the largest first, and equal scores by ordinal. The replica set is the
//! first N of that ranking.
//!
//! What makes an increment cheap: a newcomer enters the ranking and moves at most one other node back,
//! the one that was the best of its zone. So the new replica set lies within the old one plus the
//! newcomer, and ranking these alone decides it. Members can therefore be added one by one, in any
//! order, and N + 1 seats are all that must be known of a partition. And a node that leaves from beside
//! a set changes nothing in it: where it was the best of its zone, N better ones of other zones hold
//! the seats, and elsewhere nobody moves up but who stood behind it.

use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::tickets::{Contender, PartitionKey};

/// The zone of a contender by number. A node without a zone has one of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Zone(pub(crate) u32);

/// A contender in one partition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seat {
    pub(crate) score: u64,
    pub(crate) ordinal: u32,
    pub(crate) zone: Zone,
}

impl Seat {
    /// `contender`, which stands in `zone`, in the partition of `key`.
    pub(crate) fn of(contender: &Contender, zone: Zone, key: PartitionKey) -> Self {
        Self { score: contender.score(key), ordinal: contender.ordinal.0, zone }
    }
}

/// Orders seats by score alone: the preference order.
pub(crate) fn sort(seats: &mut [Seat]) {
    seats.sort_unstable_by_key(|seat| (Reverse(seat.score), seat.ordinal));
}

/// Orders seats by score, the best of each zone before all others.
pub(crate) fn rank(seats: &mut [Seat]) {
    sort(seats);
    let mut zones = 0;
    for next in 0..seats.len() {
        let zone = seats[next].zone;
        if seats[..zones].iter().all(|seat| seat.zone != zone) {
            seats[zones..=next].rotate_right(1);
            zones += 1;
        }
    }
}

/// A member that is about to contest the seats.
pub(crate) struct Newcomer<'a> {
    pub(crate) contender: &'a Contender,
    pub(crate) zone: Zone,
    /// Whether its zone is new while there are fewer zones than copies: then it gets a seat everywhere,
    /// whatever its score.
    pub(crate) opens_zone: bool,
}

/// The seats of some partitions, few enough for the nearest caches.
pub(crate) struct Rows {
    keys: Vec<PartitionKey>,
    /// Per row, what a newcomer must reach to change it: the lowest score among its seats, 0 while
    /// seats are free.
    bars: Vec<u64>,
    /// Per row `copies` seats and one more for the newcomer.
    seats: Vec<Seat>,
    copies: usize,
    /// Seats that are taken, the same number in every row.
    taken: usize,
}

impl Rows {
    /// Rows with `copies` free seats each, one row per key.
    pub(crate) fn free(keys: Vec<PartitionKey>, copies: usize) -> Self {
        let rows = keys.len();
        let seats = vec![Seat::default(); rows * (copies + 1)];
        Self { keys, bars: vec![0; rows], seats, copies, taken: 0 }
    }

    /// Rows whose seats are all taken, by `holders`: `copies` for every key, in any order.
    pub(crate) fn taken(keys: Vec<PartitionKey>, copies: usize, holders: &[Seat]) -> Self {
        let mut rows = Self::free(keys, copies);
        let each = rows.seats.chunks_exact_mut(copies + 1).zip(holders.chunks_exact(copies));
        for ((seats, holders), bar) in each.zip(&mut rows.bars) {
            seats[..copies].copy_from_slice(holders);
            *bar = lowest_score(holders);
        }
        rows.taken = copies;
        rows
    }

    /// Lets `newcomer` contest every row.
    pub(crate) fn enter(&mut self, newcomer: &Newcomer<'_>) {
        for row in 0..self.keys.len() {
            let score = newcomer.contender.score(self.keys[row]);
            if score >= self.bars[row] || newcomer.opens_zone {
                let ordinal = newcomer.contender.ordinal.0;
                self.seat(row, Seat { score, ordinal, zone: newcomer.zone });
            }
        }
        self.taken = self.copies.min(self.taken + 1);
    }

    /// Ranks `seat` among those of `row`; who comes last beyond `copies` is out.
    fn seat(&mut self, row: usize, seat: Seat) {
        let start = row * (self.copies + 1);
        let seats = &mut self.seats[start..=start + self.taken];
        seats[self.taken] = seat;
        rank(seats);
        if seats.len() >= self.copies {
            self.bars[row] = lowest_score(&seats[..self.copies]);
        }
    }

    /// Forgets the rows whose seats are not held so.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&[Seat]) -> bool) {
        let width = self.copies + 1;
        let mut kept = 0;
        for row in 0..self.keys.len() {
            let start = row * width;
            if is_kept(&self.seats[start..start + self.taken]) {
                self.keys[kept] = self.keys[row];
                self.bars[kept] = self.bars[row];
                self.seats.copy_within(start..start + width, kept * width);
                kept += 1;
            }
        }
        self.keys.truncate(kept);
        self.bars.truncate(kept);
        self.seats.truncate(kept * width);
    }

    /// Whether no row is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Who holds the seats of every row, in the order of the ranking.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &[Seat]> {
        self.seats.chunks_exact(self.copies + 1).map(|row| &row[..self.taken])
    }
}

fn lowest_score(seats: &[Seat]) -> u64 {
    seats.iter().map(|seat| seat.score).min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(seats: &[(u64, u32, u32)]) -> Vec<u32> {
        let seat = |&(score, ordinal, zone)| Seat { score, ordinal, zone: Zone(zone) };
        let mut seats: Vec<Seat> = seats.iter().map(seat).collect();
        rank(&mut seats);
        seats.iter().map(|seat| seat.ordinal).collect()
    }

    #[test]
    fn larger_scores_come_first_and_equal_ones_by_ordinal() {
        assert_eq!(ranked(&[(5, 3, 3), (9, 2, 2), (5, 1, 1)]), [2, 1, 3]);
    }

    #[test]
    fn the_best_of_every_zone_comes_before_all_others() {
        let seats = [(90, 1, 7), (80, 2, 7), (70, 3, 7), (10, 4, 8), (5, 5, 8), (20, 6, 9)];
        assert_eq!(ranked(&seats), [1, 6, 4, 2, 3, 5]);
    }
}
