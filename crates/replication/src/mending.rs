//! Mending a difference from one peer: sixteenths of a partition that differ for good are listed there,
//! and what the peer holds that is newer, or equal with another content, is fetched and stored here.
//!
//! The same machine as a transfer's, with the same paces. Each replica mends itself. **Never:** says that
//! both agree now: the next comparison does.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use paravon_model::{Detail, Ordinal};
use paravon_ring::Partition;

use crate::event::{Effect, Now};
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
}

/// Those under way, of different partitions, and what they brought.
#[derive(Debug, Default)]
pub(crate) struct Mending {
    mends: Vec<Mend>,
    /// Not begun.
    waiting: VecDeque<Mend>,
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
        let of_source = self.mends.iter().filter(|mend| mend.pass.source == source);
        of_source.map(|mend| mend.partition).collect()
    }

    /// Forgets it; whether it was being mended.
    pub(crate) fn give_up(&mut self, partition: Partition) -> Option<()> {
        self.end(partition).map(drop)
    }

    /// Another layout is in use: nothing that is on its way counts.
    pub(crate) fn relayout(&mut self) {
        (self.mends, self.waiting) = (Vec::new(), VecDeque::new());
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
            mending.waiting.push_back(Mend { partition, sixteenths, pass });
        }
    }

    /// Does what the paces have room for.
    pub(crate) fn advance_mending(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut ended = usize::MAX;
        while ended > 0 {
            ended = 0;
            for partition in self.entropy.mending.begin() {
                if self.advance_pass(now, partition, out).is_some() {
                    self.mended(partition);
                    ended += 1;
                }
            }
        }
    }

    /// All that the peer listed is durable here.
    fn mended(&mut self, partition: Partition) {
        let Some(mend) = self.entropy.mending.end(partition) else { return };
        if let Some(peer) = self.entropy.counterparts.get_mut(mend.pass.source) {
            peer.suspects.forget(partition, mend.sixteenths);
        }
    }
}
