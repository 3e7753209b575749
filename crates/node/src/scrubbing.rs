//! How fast a shard's scrubber reads, and what it has found: every record is read again and again, so
//! that none rots unseen (`NO_SILENT_ROT`), and partitions that are not summed up are, so that they can
//! be compared (`CONVERGES_AFTER_HEAL`).
//!
//! **Never:** reads fast for what reading cannot mend: a partition with a damaged record stays without a
//! sum until that is healed.

use std::time::Duration;

use paravon_storage::Scrubbed;

/// A shard that was read to its end in less is not read again at once.
const SHORTEST_ROUND: Duration = Duration::from_secs(60);

/// How long a shard is left alone whose file cannot be read.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

/// What a shard wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// To be read as fast as may be.
    Fast,
    /// To be read at leisure.
    Slow,
    /// Nothing now.
    Rest,
}

/// The scrubber of one shard, as the event loop sees it.
#[derive(Debug, Default)]
pub(crate) struct Scrubbing {
    /// Whether the store keeps sums: before that there is nothing to read for.
    begun: bool,
    unsummed: u32,
    /// Partitions with damaged records, which are not summed up before those are healed.
    damaged: u32,
    round_begun: Duration,
    rests_until: Duration,
    round: Round,
    totals: Totals,
}

/// What came of reading a shard to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) took: Duration,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) mended: u64,
    pub(crate) unsummed: u32,
}

/// What was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rounds: u64,
    pub(crate) last_round: Option<Duration>,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) mended: u64,
    pub(crate) unsummed: u64,
}

impl Scrubbing {
    /// The store keeps sums from now on.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.begun = true;
        // How many are not, the first step says.
        self.unsummed = u32::MAX;
        self.round_begun = now;
        self.rests_until = Duration::ZERO;
    }

    /// So many partitions have damaged records.
    pub(crate) fn note_damaged(&mut self, partitions: u32) {
        self.damaged = partitions;
    }

    /// What it wants.
    pub(crate) fn wants(&self, now: Duration) -> Want {
        if !self.begun || now < self.rests_until {
            Want::Rest
        } else if self.unsummed > self.damaged {
            Want::Fast
        } else {
            Want::Slow
        }
    }

    /// A page was read. What came of the round, where it ended with this.
    pub(crate) fn read(&mut self, now: Duration, done: &Scrubbed) -> Option<Round> {
        self.unsummed = done.unsummed;
        self.round.records += done.records;
        self.round.bytes += done.bytes;
        self.round.mended += done.mended;
        self.totals.records += done.records;
        self.totals.bytes += done.bytes;
        self.totals.mended += done.mended;
        if !done.round {
            return None;
        }
        let took = now.saturating_sub(self.round_begun);
        if self.wants(now) == Want::Slow {
            self.rests_until = self.round_begun.saturating_add(SHORTEST_ROUND);
        }
        self.totals.rounds += 1;
        self.totals.last_round = Some(took);
        let ended = Round { took, unsummed: done.unsummed, ..self.round };
        self.round = Round::default();
        self.round_begun = now.max(self.rests_until);
        Some(ended)
    }

    /// A page could not be read.
    pub(crate) fn failed(&mut self, now: Duration) {
        self.rests_until = now.saturating_add(FAILURE_PAUSE);
    }

    /// What was done since the start.
    pub(crate) fn totals(&self) -> Totals {
        let unsummed = if self.unsummed == u32::MAX { 0 } else { self.unsummed };
        Totals { unsummed: unsummed.into(), ..self.totals }
    }
}

impl Totals {
    /// Adds those of another shard.
    pub(crate) fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.last_round = self.last_round.max(other.last_round);
        self.records += other.records;
        self.bytes += other.bytes;
        self.mended += other.mended;
        self.unsummed += other.unsummed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn page(unsummed: u32) -> Scrubbed {
        Scrubbed { bytes: 10, records: 1, unsummed, ..Scrubbed::default() }
    }

    fn end(unsummed: u32) -> Scrubbed {
        Scrubbed { round: true, ..page(unsummed) }
    }

    #[test]
    fn it_reads_fast_until_all_is_summed_up_and_then_at_leisure() {
        let mut scrubbing = Scrubbing::default();
        assert_eq!(scrubbing.wants(SECOND), Want::Rest, "no sums are kept yet");
        scrubbing.begin(SECOND);
        assert_eq!(scrubbing.wants(SECOND), Want::Fast);
        assert_eq!(scrubbing.read(2 * SECOND, &page(3)), None);
        assert_eq!(scrubbing.wants(2 * SECOND), Want::Fast);
        let round = scrubbing.read(100 * SECOND, &end(0)).expect("it came to the end");
        assert_eq!((round.took, round.records, round.bytes), (99 * SECOND, 2, 20));
        assert_eq!(scrubbing.wants(100 * SECOND), Want::Slow);
        assert_eq!(scrubbing.totals().rounds, 1);
    }

    #[test]
    fn a_small_shard_is_not_read_all_the_time() {
        let mut scrubbing = Scrubbing::default();
        scrubbing.begin(SECOND);
        scrubbing.read(2 * SECOND, &end(0)).expect("a round");
        assert_eq!(scrubbing.wants(60 * SECOND), Want::Rest);
        assert_eq!(scrubbing.wants(61 * SECOND), Want::Slow);
        let round = scrubbing.read(62 * SECOND, &end(0)).expect("a round");
        assert_eq!(round.took, SECOND, "the rest does not count");
    }

    #[test]
    fn what_reading_cannot_mend_is_not_read_fast_for_ever() {
        let mut scrubbing = Scrubbing::default();
        scrubbing.begin(SECOND);
        scrubbing.read(2 * SECOND, &end(2)).expect("a round");
        assert_eq!(scrubbing.wants(2 * SECOND), Want::Fast, "some became unsummed behind it");
        scrubbing.note_damaged(2);
        scrubbing.read(100 * SECOND, &end(2)).expect("a round");
        assert_eq!(scrubbing.wants(100 * SECOND), Want::Slow);
        scrubbing.read(101 * SECOND, &page(3));
        assert_eq!(scrubbing.wants(101 * SECOND), Want::Fast, "one more");
        scrubbing.read(102 * SECOND, &page(2));
        assert_eq!(scrubbing.wants(102 * SECOND), Want::Slow);
        scrubbing.note_damaged(1);
        assert_eq!(scrubbing.wants(102 * SECOND), Want::Fast, "one was healed");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_left_alone_for_a_while() {
        let mut scrubbing = Scrubbing::default();
        scrubbing.begin(SECOND);
        scrubbing.failed(SECOND);
        assert_eq!(scrubbing.wants(2 * SECOND), Want::Rest);
        assert_eq!(scrubbing.wants(SECOND + FAILURE_PAUSE), Want::Fast);
    }
}
