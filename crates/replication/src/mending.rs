//! Mending a difference from one peer: sixteenths of a partition that differ for good are listed there,
//! and what the peer holds that is newer, or equal with another content, is fetched and stored here.
//!
//! The same machine as a transfer's, with the same paces. Each replica mends itself. **Never:** says that
//! both agree now: the next comparison does.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Detail, Ordinal};
use paravon_ring::Partition;

use crate::event::{Effect, Now};
use crate::floors::LIST_AFTER;
use crate::pass::Pass;
use crate::peers::Reach;
use crate::shard::Shard;
use crate::sixteenths::Sixteenths;

/// Partitions that are mended at once, and that wait for it. Others are found again.
const MAX_MENDS: usize = 16;
const MAX_WAITING: usize = 1024;

/// A difference on its way to be mended.
#[derive(Debug)]
pub(crate) struct Mend {
    pub(crate) partition: Partition,
    sixteenths: Sixteenths,
    pub(crate) pass: Pass,
    /// Where all that the peer holds is listed.
    listing: Option<Listing>,
}

/// A mend that goes through all that the peer holds.
#[derive(Clone, Copy, Debug)]
enum Listing {
    /// Begun then.
    Since(Duration),
    /// The peer cannot tell all of it: it does not count.
    Uncounted,
}

/// Those under way, of different partitions, and what they brought.
#[derive(Debug, Default)]
pub(crate) struct Mending {
    mends: Vec<Mend>,
    /// Not begun.
    waiting: VecDeque<Mend>,
    /// When listings ended that did not count: they are not begun again at once.
    uncounted: BTreeMap<(Partition, Ordinal), Duration>,
    /// Records that the store of this node got, since the start, and the bytes of their keys and values.
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Mending {
    pub(crate) fn pass(&mut self, partition: Partition) -> Option<&mut Pass> {
        let mend = self.mends.iter_mut().find(|mend| mend.partition == partition)?;
        Some(&mut mend.pass)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.mends.is_empty() && self.waiting.is_empty()
    }

    /// Forgets what waits for this member; gives what is under way.
    pub(crate) fn unlinked(&mut self, source: Ordinal) -> Vec<Partition> {
        self.waiting.retain(|mend| mend.pass.source != source);
        self.uncounted.retain(|(_, of), _| *of != source);
        let of_source = self.mends.iter().filter(|mend| mend.pass.source == source);
        of_source.map(|mend| mend.partition).collect()
    }

    /// Forgets it; whether it was being mended.
    pub(crate) fn give_up(&mut self, now: Duration, partition: Partition) -> Option<()> {
        let mend = self.end(partition)?;
        if let Some(Listing::Uncounted) = mend.listing {
            self.rest(now, partition, mend.pass.source);
        }
        Some(())
    }

    /// Another layout is in use: nothing that is on its way counts.
    pub(crate) fn relayout(&mut self) {
        (self.mends, self.waiting) = (Vec::new(), VecDeque::new());
        self.uncounted.clear();
    }

    /// One more record is durable here.
    pub(crate) fn brought(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    fn knows(&self, partition: Partition) -> bool {
        self.mends.iter().chain(&self.waiting).any(|mend| mend.partition == partition)
    }

    /// Begins what there is room for, and gives all partitions under way.
    fn begin(&mut self) -> Vec<Partition> {
        let room = MAX_MENDS.saturating_sub(self.mends.len()).min(self.waiting.len());
        self.mends.extend(self.waiting.drain(..room));
        self.mends.iter().map(|mend| mend.partition).collect()
    }

    /// The source cannot tell all of it: it does not count as pulled.
    pub(crate) fn source_is_damaged(&mut self, partition: Partition) {
        if let Some(mend) = self.mends.iter_mut().find(|mend| mend.partition == partition) {
            mend.listing = mend.listing.map(|_| Listing::Uncounted);
        }
    }

    /// A listing ended that did not count.
    fn rest(&mut self, now: Duration, partition: Partition, source: Ordinal) {
        self.uncounted.retain(|_, ended| now < *ended + LIST_AFTER);
        self.uncounted.insert((partition, source), now);
    }

    /// Whether that was a short while ago.
    fn rests(&self, now: Duration, partition: Partition, source: Ordinal) -> bool {
        let ended = self.uncounted.get(&(partition, source));
        ended.is_some_and(|ended| now < *ended + LIST_AFTER)
    }

    fn end(&mut self, partition: Partition) -> Option<Mend> {
        let at = self.mends.iter().position(|mend| mend.partition == partition)?;
        Some(self.mends.swap_remove(at))
    }
}

impl Shard {
    /// These differ from what the peer holds, and have for long. Where too much is under way they are
    /// found again.
    pub(crate) fn mend(&mut self, peer: Ordinal, partition: Partition, sixteenths: Sixteenths) {
        let mending = &mut self.entropy.mending;
        let room = mending.waiting.len() < MAX_WAITING && !mending.knows(partition);
        if room && self.peers.reach(peer) == Reach::Linked {
            let pass = Pass::new(partition, peer, Detail::Listing, sixteenths.parts());
            mending.waiting.push_back(Mend { partition, sixteenths, pass, listing: None });
        }
    }

    /// Goes through all that the peer holds, from now on: it counts as pulled then (`FLOOR_SAFE`).
    pub(crate) fn list_all(&mut self, now: Now, peer: Ordinal, partition: Partition) {
        let sixteenths = Sixteenths::ALL;
        let rests = self.entropy.mending.rests(now.monotonic, partition, peer);
        if rests || self.transfer.lacks(partition) {
            return;
        }
        self.mend(peer, partition, sixteenths);
        if let Some(mend) = self.entropy.mending.waiting.back_mut()
            && (mend.partition, mend.sixteenths, mend.pass.source) == (partition, sixteenths, peer)
        {
            mend.listing.get_or_insert(Listing::Since(now.monotonic));
        }
    }

    /// Does what the paces have room for.
    pub(crate) fn advance_mending(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut ended = usize::MAX;
        while ended > 0 {
            ended = 0;
            for partition in self.entropy.mending.begin() {
                if self.advance_pass(now, partition, out).is_some() {
                    self.mended(now, partition);
                    ended += 1;
                }
            }
        }
    }

    /// All that the peer listed is durable here.
    fn mended(&mut self, now: Now, partition: Partition) {
        let Some(mend) = self.entropy.mending.end(partition) else { return };
        let source = mend.pass.source;
        match mend.listing {
            Some(Listing::Since(began)) => self.floors.listed(partition, source, began),
            Some(Listing::Uncounted) => self.entropy.mending.rest(now.monotonic, partition, source),
            None => {}
        }
        if let Some(peer) = self.entropy.counterparts.get_mut(source) {
            peer.suspects.forget(partition, mend.sixteenths, now.monotonic);
        }
    }
}
