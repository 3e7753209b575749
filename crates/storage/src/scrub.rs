//! The scrubber: reads all of a shard around and around, a page at a time, in the order of (hash, key).
//!
//! ```text
//! partition:  | summed up, compared |  being read  |  not read yet  |
//! a change:     into the sums kept    before the place that was reached: into both,
//!                                     behind it: will be read
//! ```
//! What is read are records under their checksums, through the table over the file, as a get would
//! tell them. When a partition ends, its sum is whole: it is kept where there was none, and held
//! against the one that is kept. Nothing here reads: a store does, between [`Sums::wanted`] and
//! [`Sums::scrubbed`]. It must **never** call a partition read of which a row was left out.

use std::mem;

use paravon_model::{Body, Digest, Key, Record};
use paravon_ring::{HashArc, KeyHash, Partition, Shift};

use crate::page::PageLimit;
use crate::record_stage::Slot;
use crate::store::{ReadError, ScanError, Scrubbed, Store};
use crate::sums::{self, Delta, Reading, Sums};

/// Partitions that one step passes at most: where few hold anything it would take long else.
const PARTITIONS: usize = 1024;

/// How far a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// To the end of the ring: a row that lies elsewhere than its bytes say is noticed by what follows.
    Far,
    /// To the end of the partition, to tell whether such a row is of it.
    Near,
}

type Found = (KeyHash, Key, Record);

/// How far the scrubber has come.
#[derive(Debug)]
pub(crate) struct Scrub {
    shift: Shift,
    /// The partition that it reads.
    partition: Partition,
    /// What is behind it in there, summed up, with the changes since; none where that is not known.
    digest: Option<Digest>,
    /// The last place in the partition that it has read.
    after: Option<(KeyHash, Key)>,
    /// Whether a round ended with an error, and nobody was told.
    untold_round: bool,
    /// A partition that was passed while a row that cannot be read lay somewhere ahead.
    suspect: Option<Partition>,
}

impl Scrub {
    /// At the beginning of a ring of `2^shift` partitions.
    pub(crate) fn new(shift: Shift) -> Self {
        Self {
            shift,
            partition: Partition(0),
            digest: Some(Digest::default()),
            after: None,
            untold_round: false,
            suspect: None,
        }
    }

    /// Takes in a change that has become visible, where it will not be read any more.
    pub(crate) fn change(&mut self, slot: &Slot, delta: Delta) {
        if slot.hash.partition(self.shift) != self.partition || !self.has_read(slot) {
            return;
        }
        match (delta, &mut self.digest) {
            (Delta::Known(delta), Some(digest)) => sums::add(digest, slot.hash, self.shift, delta),
            (Delta::Known(_), None) => {}
            (Delta::Unknown, digest) => *digest = None,
        }
    }

    /// Whether a slot of the partition lies at or before the place that was reached.
    fn has_read(&self, slot: &Slot) -> bool {
        self.after.is_some() && !slot.is_behind(self.after.as_ref())
    }
}

/// A step of the scrubber of `store`, whose `sums` are there.
pub(crate) fn step<S: Store>(
    store: &mut S,
    sums: impl Fn(&mut S) -> &mut Sums,
    limit: PageLimit,
) -> Result<Scrubbed, ReadError> {
    let (arc, after) = sums(store).wanted(Reach::Far);
    let far = store.scan(arc, after.as_ref(), limit);
    if !matches!(far, Err(ScanError { at: None, .. })) {
        return sums(store).scrubbed(Reach::Far, far);
    }
    let (arc, after) = sums(store).wanted(Reach::Near);
    let near = store.scan(arc, after.as_ref(), limit);
    sums(store).scrubbed(Reach::Near, near)
}

impl Sums {
    /// What a step reads, and behind which place.
    fn wanted(&self, reach: Reach) -> (HashArc, Option<(KeyHash, Key)>) {
        let scrub = &self.scrub;
        let arc = scrub.partition.arc(scrub.shift);
        let last = if reach == Reach::Far { HashArc::ALL.last } else { arc.last };
        (HashArc { last, ..arc }, scrub.after.clone())
    }

    /// Takes in what was read of what was wanted.
    fn scrubbed(
        &mut self,
        reach: Reach,
        read: Result<Vec<Found>, ScanError>,
    ) -> Result<Scrubbed, ReadError> {
        let suspect = self.scrub.suspect.take();
        if let Some(suspect) = suspect.filter(|_| reach == Reach::Far) {
            // Nothing is ahead any more: the row lies at the end of that one, or where this one begins.
            self.read_through(suspect, None);
            self.scrub.digest = None;
            return Err(ReadError::Unavailable);
        }
        let round = mem::take(&mut self.scrub.untold_round);
        let mut done = Scrubbed { round, ..Scrubbed::default() };
        match read {
            Ok(page) if page.is_empty() && reach == Reach::Far => self.pass_rest(&mut done),
            Ok(page) if page.is_empty() => {
                self.scrub.suspect = Some(self.scrub.partition);
                self.finish(&mut done);
            }
            Ok(page) => self.pass_all(page, &mut done),
            Err(ScanError { at: Some((hash, key)), .. }) => {
                let slot = Slot { hash, key };
                if self.enter(&slot, &mut 0, &mut done) {
                    self.pass(slot, None, &mut done);
                }
            }
            Err(ScanError { at: None, error }) => {
                self.scrub.digest = None;
                self.finish(&mut done);
                self.scrub.untold_round = done.round;
                return Err(error);
            }
        }
        done.unsummed = self.unsummed();
        Ok(done)
    }

    fn pass_all(&mut self, page: Vec<Found>, done: &mut Scrubbed) {
        let mut passed = 0;
        for (hash, key, record) in page {
            let slot = Slot { hash, key };
            if !self.enter(&slot, &mut passed, done) {
                // The next step reads it again, from there.
                return;
            }
            self.pass(slot, Some(&record), done);
        }
    }

    /// Passes the partitions before that of a slot. Says whether it came there.
    fn enter(&mut self, slot: &Slot, passed: &mut usize, done: &mut Scrubbed) -> bool {
        let partition = slot.hash.partition(self.scrub.shift);
        while self.scrub.partition < partition && *passed < PARTITIONS {
            self.finish(done);
            *passed += 1;
        }
        self.scrub.partition >= partition
    }

    /// Passes what is left of the ring, or a part of it: nothing more is in there.
    fn pass_rest(&mut self, done: &mut Scrubbed) {
        for _ in 0..PARTITIONS {
            self.finish(done);
            if done.round {
                return;
            }
        }
    }

    /// Goes on behind a slot, whose record is none where it cannot be read.
    fn pass(&mut self, slot: Slot, record: Option<&Record>, done: &mut Scrubbed) {
        done.records += 1;
        done.bytes += slot.key.encoded().len() as u64;
        match record {
            Some(record) => {
                if let Body::Live(value) = &record.body {
                    done.bytes += value.bytes.len() as u64;
                }
                let hash = self.hash(&slot, record);
                if let Some(digest) = &mut self.scrub.digest {
                    sums::add(digest, slot.hash, self.scrub.shift, hash);
                }
                self.scrub.after = Some((slot.hash, slot.key));
            }
            None => {
                self.scrub.after = Some((slot.hash, slot.key.clone()));
                self.lose(&slot);
            }
        }
    }

    /// Goes on behind the partition, of which nothing is left to be read.
    fn finish(&mut self, done: &mut Scrubbed) {
        let read = self.scrub.digest.replace(Digest::default());
        let partition = self.scrub.partition;
        if self.read_through(partition, read) == Reading::Differs {
            done.mended += 1;
        }
        self.scrub.after = None;
        self.scrub.partition = Partition(partition.0 + 1);
        if self.scrub.partition.0 == self.scrub.shift.partitions() {
            self.scrub.partition = Partition(0);
            done.round = true;
        }
    }
}
