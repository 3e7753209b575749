//! Taking back what the marks of this shard promise, before a document of a higher generation counts as
//! stored (semantics, section 9).
//!
//! A rescue goes on from a layout that members may have left behind since: what a mark says of all members
//! was so among others. `closed` stays, because what it refuses was refused. **Never:** lets a layout settle
//! while the disk holds marks that promise more than they should (`FLOOR_SAFE`).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use paravon_ring::Partition;

use crate::event::{Effect, Now};
use crate::floors::Floors;
use crate::marks::PartitionMarks;
use crate::shard::Shard;

/// Marks on their way to the disk at once: each is an entry of the log.
const MAX_VOIDING: usize = 256;

/// Partitions whose marks promise too much.
#[derive(Debug)]
pub(crate) struct Voiding {
    waiting: VecDeque<Partition>,
    /// On their way to the disk.
    under_way: Vec<Partition>,
}

impl Voiding {
    /// Those whose marks have fallen, and not on the disk; not these, which are to be emptied.
    pub(crate) fn of(floors: &Floors, new: &[Partition]) -> Self {
        let waiting = floors.fallen().filter(|partition| !new.contains(partition)).collect();
        Self { waiting, under_way: Vec::new() }
    }

    /// Whether no mark promises too much, durably.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Whether the disk is to answer.
    pub(crate) fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// The disk has answered for this one, if it was waited for.
    pub(crate) fn end(&mut self, partition: Partition) -> Option<()> {
        let at = self.under_way.iter().position(|known| *known == partition)?;
        self.under_way.swap_remove(at);
        Some(())
    }
}

impl Shard {
    /// Begins with as many as there is room for. Called once every store admitted earlier has ended.
    pub(crate) fn advance_voiding(&mut self, now: Now, out: &mut Vec<Effect>) {
        for _ in 0..self.voiding.waiting.len().min(MAX_VOIDING) {
            if self.voiding.under_way.len() >= MAX_VOIDING {
                return;
            }
            let Some(partition) = self.voiding.waiting.pop_front() else { return };
            let marks = self.floors.entry(partition);
            match marks.unset(now.monotonic) {
                Some(marks) => {
                    self.voiding.under_way.push(partition);
                    self.set_marks(partition, marks, out);
                }
                None if marks.has_fallen() => self.voiding.waiting.push_back(partition),
                None => {}
            }
        }
    }

    /// The disk holds the marks by now, or has failed to: then it is asked again.
    pub(crate) fn voided(&mut self, now: Now, partition: Partition, out: &mut Vec<Effect>) {
        if self.floors.get(partition).is_some_and(PartitionMarks::has_fallen) {
            self.voiding.waiting.push_back(partition);
        }
        self.settle(now, out);
    }
}

#[cfg(test)]
#[path = "voiding_tests.rs"]
mod tests;
