//! Reads what the stores hold, page by page, while the loop has nothing else to do; and tells shards and
//! operators which keys were found damaged, by whatever has read them (`NO_SILENT_ROT`).
//!
//! **Never:** reads more than a page at once, or keeps to itself what is damaged: the shard hears of it
//! before it hears of anything that the store says after that.

use std::collections::BTreeSet;
use std::time::Duration;

use paravon_model::Key;
use paravon_replication::{Event, Now};
use paravon_ring::{KeyHash, Partition};
use paravon_storage::{PageLimit, Scrubbed};

use super::Core;
use crate::scrubbing::{Round, Want};

/// A page: what is read before others get their turn, some tenths of a millisecond.
const PAGE: PageLimit = PageLimit { count: 256, bytes: 128 * 1024 };

/// A round that took so long is worth a line in the log.
const LONG_ROUND: Duration = Duration::from_secs(600);

/// Damaged keys that the log names within [`NAMING_SPAN`]; of the others it tells how many there are.
const MOST_NAMED: u64 = 10;
const NAMING_SPAN: Duration = Duration::from_secs(60);

/// What the stores of a loop have told of damage since the start.
#[derive(Debug, Default)]
pub(super) struct DamageFound {
    /// Scratch; empty between calls.
    keys: Vec<(KeyHash, Key)>,
    /// Keys that were found.
    pub(super) total: u64,
    /// Keys of this span, and when it ends.
    noted: u64,
    span_ends: Duration,
}

/// What the log says of a damaged key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    naming: Naming,
    /// Keys of the span before that were not named.
    unnamed_before: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Named,
    Counted,
}

impl DamageFound {
    /// Counts a key.
    fn note(&mut self, now: Duration) -> Noted {
        self.total += 1;
        let mut unnamed_before = 0;
        if now >= self.span_ends {
            unnamed_before = self.noted.saturating_sub(MOST_NAMED);
            (self.noted, self.span_ends) = (0, now.saturating_add(NAMING_SPAN));
        }
        self.noted += 1;
        let naming = if self.noted <= MOST_NAMED { Naming::Named } else { Naming::Counted };
        Noted { naming, unnamed_before }
    }
}

impl Core {
    /// Reads one page of the shard that wants it most. What it wanted.
    pub(crate) fn scrub_one(&mut self, now: Now) -> Want {
        let Some((local, want)) = self.next_to_scrub(now.monotonic) else { return Want::Rest };
        let read = self.shards[local].store.scrub(PAGE);
        self.tell_damage(now, local);
        self.follow(now, local);
        match read {
            Ok(done) => self.scrubbed(now, local, &done),
            Err(error) => {
                let shard = self.shards[local].store.shard();
                tracing::warn!(shard, %error, "a page of a shard could not be read");
                self.shards[local].scrubbing.failed(now.monotonic);
            }
        }
        want
    }

    /// Those that are to be read fast come first, each in its turn.
    fn next_to_scrub(&mut self, now: Duration) -> Option<(usize, Want)> {
        let shards = self.shards.len();
        let turns = (1..=shards).map(|step| (self.scrubbed_last + step) % shards);
        let wants = turns.map(|local| (local, self.shards[local].scrubbing.wants(now)));
        let (local, want) = wants
            .filter(|(_, want)| *want != Want::Rest)
            .min_by_key(|(_, want)| *want != Want::Fast)?;
        self.scrubbed_last = local;
        Some((local, want))
    }

    fn scrubbed(&mut self, now: Now, local: usize, done: &Scrubbed) {
        let owned = &mut self.shards[local];
        let shard = owned.store.shard();
        if done.mended > 0 {
            let partitions = done.mended;
            tracing::error!(
                shard,
                partitions,
                "sums were wrong and are corrected; please report it"
            );
        }
        let is_first = owned.scrubbing.totals().rounds == 0;
        let Some(round) = owned.scrubbing.read(now.monotonic, done) else { return };
        let Round { took, records, bytes, mended, unsummed } = round;
        // A small shard is read every minute.
        if is_first || took >= LONG_ROUND || mended > 0 {
            tracing::info!(shard, ?took, records, bytes, mended, unsummed, "read all of a shard");
        } else {
            tracing::debug!(shard, ?took, records, bytes, mended, unsummed, "read all of a shard");
        }
        self.count_damaged(local);
    }

    /// Tells a shard which keys its store has found damaged, and leaves what follows from it to the caller.
    /// Each was marked with that, so there is something for the log.
    pub(super) fn tell_damage(&mut self, now: Now, local: usize) {
        let mut keys = std::mem::take(&mut self.damage_found.keys);
        self.shards[local].store.take_damaged(&mut keys);
        if !keys.is_empty() {
            self.uncommitted.changes += 1;
            self.count_damaged(local);
        }
        for (hash, key) in keys.drain(..) {
            self.name_damaged(now.monotonic, &key);
            self.feed(now, local, Event::Damaged { hash, key });
        }
        self.damage_found.keys = keys;
    }

    /// Says in the log which key is damaged, if it has not said that of many just now.
    fn name_damaged(&mut self, now: Duration, key: &Key) {
        let Noted { naming, unnamed_before } = self.damage_found.note(now);
        if unnamed_before > 0 {
            tracing::error!(keys = unnamed_before, "more records failed their checksums");
        }
        if naming == Naming::Named {
            let (namespace, key) = (key.namespace(), key.bytes().escape_ascii());
            tracing::error!(
                namespace,
                %key,
                "a record fails its checksum; it counts in no quorum until other replicas have healed it"
            );
        }
    }

    /// What is damaged stays without a sum, and is not to be read fast for that.
    pub(super) fn count_damaged(&mut self, local: usize) {
        let Some(layout) = &self.layout else { return };
        let owned = &mut self.shards[local];
        let damaged = owned.store.damaged();
        let partitions: BTreeSet<Partition> =
            damaged.iter().map(|(hash, _)| hash.partition(layout.shift())).collect();
        owned.scrubbing.note_damaged(u32::try_from(partitions.len()).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_damaged_keys_some_are_named_and_the_others_counted() {
        let mut found = DamageFound::default();
        let named = |naming, unnamed_before| Noted { naming, unnamed_before };
        for _ in 0..MOST_NAMED {
            assert_eq!(found.note(Duration::ZERO), named(Naming::Named, 0));
        }
        for _ in 0..3 {
            assert_eq!(found.note(NAMING_SPAN / 2), named(Naming::Counted, 0));
        }
        assert_eq!(found.note(NAMING_SPAN), named(Naming::Named, 3));
        assert_eq!(found.note(NAMING_SPAN), named(Naming::Named, 0));
        assert_eq!(found.total, MOST_NAMED + 5);
    }
}
