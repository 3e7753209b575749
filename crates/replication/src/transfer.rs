//! Becoming complete: under a `joint` layout a member of the next set takes over every partition that has
//! one, from the members that were there before (semantics, section 8). After a rescue those that stay
//! take over from each other.
//!
//! ```text
//!  own sum --> empty?  --> pages of records  --> store --+
//!     ^          |                                       +--> merged --> next source, or complete
//!     |          +--> sum of the source: equal? ---------+
//!     |                    |                             |
//!     |                    +--> pages of versions --> read what is older here --> store
//! ```
//!
//! Several partitions at once, from different sources, with a window that yields to everything else.
//! **Never:** pulls before this node has stored the layout, keeps anything of another fence, or believes
//! a source merged before all that it told is durable here. Nothing about it is kept on disk: after a
//! restart sums are compared, which is cheap.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Detail, Digest, Ordinal, Part, Progress};
use paravon_ring::{Layout, Partition};

use crate::damage::Damage;
use crate::event::{Effect, Now};
use crate::mutants::{self, Mutant};
use crate::operation::Operation;
use crate::pace::{Pace, Pause};
use crate::pass::{Item, Pass};
use crate::peers::Reach;
use crate::portion::Portion;
use crate::pull::Wanted;
use crate::shard::Shard;
use crate::sources::{Merged, Sources};
use crate::takeover::{Own, Stage, Takeover};

/// Partitions under way at once.
const MAX_TAKEOVERS: usize = 16;

/// When a source is looked for again, for partitions that found none.
const RETRY: Duration = Duration::from_millis(200);

/// How long a source that has lost a partition is not asked for it.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// How long a partition rests in which too few could tell what a key held: going through it again costs
/// all of it, and helps only once another member can be asked or the key is written anew.
const REST: Duration = Duration::from_secs(3);

/// Progress is told no more often, but for the end.
const TELL: Duration = Duration::from_millis(100);

/// What this shard takes over under the layout in use.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// All of it, by partition.
    shares: Vec<Share>,
    /// Not begun, or to be begun again.
    waiting: VecDeque<Partition>,
    /// Found no source.
    blocked: Vec<Partition>,
    retry_at: Option<Duration>,
    /// Found too few who could tell what a key held, and until when they rest.
    resting: Vec<(Duration, Partition)>,
    takeovers: Vec<Takeover>,
    /// Of what goes to the own store.
    pub(crate) pace: Pace,
    sources: Vec<Source>,
    /// Sources that have lost a partition, and how long they are not asked for it.
    left_alone: BTreeMap<(Partition, Ordinal), Duration>,
    progress: Progress,
    /// What was told last, and when; none under a layout that gives nothing to tell of, or before.
    told: Option<(Duration, Progress)>,
    tells: Tells,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    /// Nobody waits for a stable layout.
    Nothing,
    Progress,
}

#[derive(Debug)]
struct Share {
    partition: Partition,
    merged: Merged,
    lacks: Lacks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    /// Sources are to be merged.
    Something,
    Nothing,
}

/// The pace of what one source is asked for.
#[derive(Debug)]
struct Source {
    ordinal: Ordinal,
    pace: Pace,
}

impl Transfer {
    /// What `layout` gives `own` to take over of this portion. It is complete for nothing that it has lost.
    pub(crate) fn new(layout: &Layout, own: Ordinal, portion: Portion, damage: &Damage) -> Self {
        let joint = layout.document().joint();
        let mut transfer = Self {
            shares: Vec::new(),
            waiting: VecDeque::new(),
            blocked: Vec::new(),
            retry_at: None,
            resting: Vec::new(),
            takeovers: Vec::new(),
            pace: Pace::new(),
            sources: Vec::new(),
            left_alone: BTreeMap::new(),
            progress: Progress::default(),
            told: None,
            tells: if joint.is_some() { Tells::Progress } else { Tells::Nothing },
        };
        if joint.is_none_or(|joint| joint.next.member(own).is_none()) {
            return transfer;
        }
        for partition in portion.partitions(layout.shift()) {
            let Some(sources) = Sources::of(layout, own, partition) else { continue };
            transfer.progress.partitions += 1;
            let retained = layout.sets(partition).current.contains(&own);
            let levelled = retained && mutants::is(Mutant::RetainedNotLevelled);
            let complete = levelled || sources.is_complete(Merged::default());
            let lacks = if complete && !damage.is_lost(partition) {
                transfer.progress.complete += 1;
                Lacks::Nothing
            } else {
                transfer.waiting.push_back(partition);
                Lacks::Something
            };
            transfer.shares.push(Share { partition, merged: Merged::default(), lacks });
        }
        transfer
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// One more record is durable here.
    pub(crate) fn brought(&mut self, bytes: usize) {
        self.progress.records += 1;
        self.progress.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    /// Whether the partition is still to be taken over, so that what is here is not all of it.
    pub(crate) fn lacks(&self, partition: Partition) -> bool {
        let at = self.shares.binary_search_by_key(&partition, |share| share.partition);
        at.is_ok_and(|at| self.shares[at].lacks == Lacks::Something)
    }

    pub(crate) fn pass(&mut self, partition: Partition) -> Option<&mut Pass> {
        self.takeover(partition)?.pass()
    }

    /// Nothing is asked of the source for a while.
    pub(crate) fn pause(&mut self, now: Duration, source: Ordinal, pause: Pause) {
        self.source(source).pause(now, pause);
    }

    pub(crate) fn takeover(&mut self, partition: Partition) -> Option<&mut Takeover> {
        self.takeovers.iter_mut().find(|takeover| takeover.partition == partition)
    }

    fn share(&mut self, partition: Partition) -> Option<&mut Share> {
        let at = self.shares.binary_search_by_key(&partition, |share| share.partition).ok()?;
        self.shares.get_mut(at)
    }

    fn merged(&mut self, partition: Partition) -> Option<&mut Merged> {
        self.share(partition).map(|share| &mut share.merged)
    }

    fn complete(&mut self, partition: Partition) {
        self.progress.complete += 1;
        if let Some(share) = self.share(partition) {
            share.lacks = Lacks::Nothing;
        }
    }

    /// The pace of what this source is asked for.
    pub(crate) fn source(&mut self, ordinal: Ordinal) -> &mut Pace {
        let at = self.sources.iter().position(|source| source.ordinal == ordinal);
        let at = at.unwrap_or_else(|| {
            self.sources.push(Source { ordinal, pace: Pace::new() });
            self.sources.len() - 1
        });
        &mut self.sources[at].pace
    }

    /// The source is not asked for the partition for a while.
    pub(crate) fn leave_alone(&mut self, now: Duration, partition: Partition, source: Ordinal) {
        self.left_alone.insert((partition, source), now + LEFT_ALONE);
    }

    fn is_left_alone(&self, now: Duration, partition: Partition, source: Ordinal) -> bool {
        self.left_alone.get(&(partition, source)).is_some_and(|until| now < *until)
    }

    pub(crate) fn pauses(&self, now: Duration, ordinal: Ordinal) -> bool {
        let source = self.sources.iter().find(|source| source.ordinal == ordinal);
        source.is_some_and(|source| source.pace.pauses(now))
    }

    /// Ends what has paused for long enough.
    fn resume(&mut self, now: Duration) {
        for pace in self.sources.iter_mut().map(|source| &mut source.pace).chain([&mut self.pace]) {
            if !pace.pauses(now) {
                pace.resume();
            }
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.unblock();
        }
        self.rouse(|until| now >= until);
    }

    /// Those go on whose rest ends.
    fn rouse(&mut self, ends: impl Fn(Duration) -> bool) {
        let roused = self.resting.extract_if(.., |(until, _)| ends(*until));
        self.waiting.extend(roused.map(|(_, partition)| partition));
    }

    pub(crate) fn unblock(&mut self) {
        self.retry_at = None;
        self.waiting.extend(self.blocked.drain(..));
    }

    fn block(&mut self, now: Duration, partition: Partition) {
        self.blocked.push(partition);
        self.retry_at.get_or_insert(now + RETRY);
    }

    fn tell(&mut self, now: Duration) -> Option<Progress> {
        if self.tells == Tells::Nothing {
            return None;
        }
        let due = self.told.is_none_or(|(at, told)| {
            let rests = now < at + TELL && !self.progress.is_complete();
            told != self.progress && !rests
        });
        due.then(|| self.told = Some((now, self.progress)))?;
        Some(self.progress)
    }
}

impl Shard {
    /// A layout of a higher fence is in use: nothing that was merged under another counts.
    pub(crate) fn relayout_transfer(&mut self) {
        let ours = |operation: &Operation| {
            matches!(
                operation,
                Operation::Pull(_)
                    | Operation::Fetch(_)
                    | Operation::Heal(_)
                    | Operation::OwnDigest(_)
            )
        };
        for id in self.operations.select(ours) {
            self.operations.remove(id);
        }
        let mut transfer = Transfer::new(&self.layout, self.ordinal, self.portion, &self.damage);
        if mutants::is(Mutant::MergedAcrossFences) {
            let kept = core::mem::take(&mut self.transfer.shares);
            if transfer.shares.is_empty() {
                transfer.shares = kept;
            } else {
                for share in kept {
                    transfer.merged(share.partition).into_iter().for_each(|m| *m = share.merged);
                }
            }
        }
        self.transfer = transfer;
    }

    /// Does what can be done now.
    pub(crate) fn advance_transfer(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.is_admitted() {
            return;
        }
        self.transfer.resume(now.monotonic);
        if !self.transfer.pace.pauses(now.monotonic) {
            let under_way: Vec<_> = self.transfer.takeovers.iter().map(|t| t.partition).collect();
            for partition in under_way {
                self.advance_takeover(now, partition, out);
            }
            self.advance_restoring(now, out);
            self.advance_mending(now, out);
            while self.transfer.takeovers.len() < MAX_TAKEOVERS
                && let Some(partition) = self.transfer.waiting.pop_front()
            {
                self.transfer.takeovers.push(Takeover::new(partition));
                self.advance_takeover(now, partition, out);
            }
        }
        if let Some(progress) = self.transfer.tell(now.monotonic) {
            let fence = self.layout.fence();
            out.push(Effect::Progress { fence, progress });
        }
    }

    fn advance_takeover(&mut self, now: Now, partition: Partition, out: &mut Vec<Effect>) {
        while let Some(takeover) = self.transfer.takeover(partition) {
            let goes_on = match &takeover.stage {
                Stage::Summing | Stage::Comparing(_) => None,
                Stage::Idle => self.advance_idle(now, partition, out),
                Stage::Passing(pass) => {
                    let source = pass.source;
                    let over = self.advance_pass(now, partition, out);
                    over.map(|()| self.source_merged(partition, source))
                }
            };
            if goes_on.is_none() {
                return;
            }
        }
    }

    /// Begins with the next source; none where that is to be waited for, or there is nothing to do.
    fn advance_idle(
        &mut self,
        now: Now,
        partition: Partition,
        out: &mut Vec<Effect>,
    ) -> Option<()> {
        if self.damage.is_lost(partition) {
            // It is restored first; that ends the wait.
            self.transfer.takeovers.retain(|takeover| takeover.partition != partition);
            self.transfer.blocked.push(partition);
            return None;
        }
        if self.end_if_complete(partition) {
            return None;
        }
        if self.floors.awaits_closed(partition) {
            self.transfer.takeovers.retain(|takeover| takeover.partition != partition);
            self.transfer.block(now.monotonic, partition);
            return None;
        }
        let Some(source) = self.choose_source(now, partition) else {
            self.transfer.takeovers.retain(|takeover| takeover.partition != partition);
            self.transfer.block(now.monotonic, partition);
            return None;
        };
        self.begin_source(now, partition, source, out)
    }

    /// Whether everything that the partition needs was merged; it is under way no longer then.
    fn end_if_complete(&mut self, partition: Partition) -> bool {
        let merged = self.transfer.merged(partition).copied().unwrap_or_default();
        let sources = Sources::of(&self.layout, self.ordinal, partition);
        let merged = sources.is_none_or(|sources| sources.is_complete(merged));
        let complete = merged && !self.floors.awaits_closed(partition);
        if complete {
            self.transfer.takeovers.retain(|takeover| takeover.partition != partition);
            self.transfer.complete(partition);
        }
        complete
    }

    fn choose_source(&mut self, now: Now, partition: Partition) -> Option<Ordinal> {
        let merged = self.transfer.merged(partition).copied()?;
        let Self { layout, transfer, peers, ordinal, .. } = self;
        let distance = |member| {
            let asked = peers.reach(member) == Reach::Linked
                && !transfer.pauses(now.monotonic, member)
                && !transfer.is_left_alone(now.monotonic, partition, member);
            asked.then(|| peers.slowness(member))
        };
        Sources::of(layout, *ordinal, partition)?.choose(merged, partition, distance)
    }

    /// Takes the first step with a source; none where an answer or room is to be waited for.
    fn begin_source(
        &mut self,
        now: Now,
        partition: Partition,
        source: Ordinal,
        out: &mut Vec<Effect>,
    ) -> Option<()> {
        let takeover = self.transfer.takeover(partition)?;
        match &takeover.own {
            Own::Unknown => {
                takeover.stage = Stage::Summing;
                self.ask_own_digest(partition, out);
                None
            }
            Own::Told(None) => {
                takeover.stage =
                    takeover.passing(source, Detail::Listing, Vec::from([Part::Whole]));
                Some(())
            }
            Own::Told(Some(own)) if **own == Digest::default() => {
                takeover.stage = takeover.passing(source, Detail::Record, Vec::from([Part::Whole]));
                Some(())
            }
            Own::Told(Some(_)) => {
                self.pull(now, partition, source, Wanted::Digest, out)?;
                self.transfer.takeover(partition)?.stage = Stage::Comparing(source);
                None
            }
        }
    }

    /// Sends what the windows have room for; none where the pass is not over.
    pub(crate) fn advance_pass(
        &mut self,
        now: Now,
        partition: Partition,
        out: &mut Vec<Effect>,
    ) -> Option<()> {
        let source = self.pass(partition)?.source;
        if self.transfer.pauses(now.monotonic, source) {
            return None;
        }
        while let Some(item) = self.next_item(partition) {
            self.fetch(now, partition, source, item, out);
        }
        if let Some(wanted) = self.pass(partition)?.wanted() {
            self.pull(now, partition, source, Wanted::Page(wanted), out)?;
            self.pass(partition)?.asked();
        }
        self.pass(partition)?.is_over().then_some(())
    }

    /// What goes through the partition: a transfer, the mending of a difference, or the restoring of what
    /// was lost, one at a time.
    pub(crate) fn pass(&mut self, partition: Partition) -> Option<&mut Pass> {
        let Self { transfer, entropy, restoring, .. } = self;
        let mending = entropy.mending.pass(partition).or_else(|| restoring.pass(partition));
        mending.or_else(|| transfer.pass(partition))
    }

    /// The next key that the own store has room for; it counts as under way.
    fn next_item(&mut self, partition: Partition) -> Option<Item> {
        let Self { transfer: Transfer { takeovers, pace, .. }, entropy, restoring, .. } = self;
        let mending = entropy.mending.pass(partition).or_else(|| restoring.pass(partition));
        let pass = mending.or_else(|| {
            takeovers.iter_mut().find(|takeover| takeover.partition == partition)?.pass()
        })?;
        pace.send(pass.ready.front()?.weight())?;
        pass.under_way += 1;
        pass.ready.pop_front()
    }

    /// All that the source told is durable here, or both hold the same.
    pub(crate) fn source_merged(&mut self, partition: Partition, source: Ordinal) {
        let Self { layout, transfer, ordinal, .. } = self;
        if let Some(sources) = Sources::of(layout, *ordinal, partition)
            && let Some(merged) = transfer.merged(partition)
        {
            *merged = sources.with(*merged, source);
        }
        if let Some(takeover) = transfer.takeover(partition) {
            if takeover.pass().is_some_and(|pass| pass.stored > 0) {
                takeover.own = Own::Unknown;
            }
            takeover.stage = Stage::Idle;
        }
    }

    /// Whoever took from this member looks for another source.
    pub(crate) fn transfer_unlinked(&mut self, now: Now, peer: Ordinal, out: &mut Vec<Effect>) {
        let takeovers = self.transfer.takeovers.iter();
        let of_peer = takeovers.filter(|takeover| takeover.source() == Some(peer));
        let mut partitions: Vec<_> = of_peer.map(|takeover| takeover.partition).collect();
        let asked = self.operations.iter().filter_map(|operation| match operation {
            Operation::Heal(heal) if heal.asks(peer) => heal.pass().map(|(partition, _)| partition),
            _ => None,
        });
        partitions.extend(asked.chain(self.restoring.from(peer)));
        partitions.extend(self.entropy.mending.unlinked(peer));
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            self.give_up_pass(now, partition);
        }
        self.healing_unlinked(now, peer, out);
        self.transfer.unblock();
        self.advance_transfer(now, out);
    }

    /// This member can be asked.
    pub(crate) fn transfer_linked(&mut self, now: Now, peer: Ordinal, out: &mut Vec<Effect>) {
        self.transfer.source(peer).resume();
        self.damage.linked(now.monotonic, peer);
        self.transfer.unblock();
        self.transfer.rouse(|_| true);
        self.advance_transfer(now, out);
    }

    /// What is on its way for this partition is void; what was merged stays merged, and what differs is
    /// found again.
    pub(crate) fn give_up_pass(&mut self, now: Now, partition: Partition) {
        if self.void_pass(now, partition) {
            self.transfer.block(now.monotonic, partition);
        }
    }

    /// The same, but one that is taken over is tried again after a while, or when another member can be
    /// asked.
    pub(crate) fn rest_pass(&mut self, now: Now, partition: Partition) {
        if self.void_pass(now, partition) {
            self.transfer.resting.push((now.monotonic + REST, partition));
        }
    }

    /// Says whether the partition was being taken over.
    fn void_pass(&mut self, now: Now, partition: Partition) -> bool {
        self.end_operations_of(partition);
        if self.restoring.contains(partition) {
            self.restore_failed(now, partition);
            return false;
        }
        let taken_over = self.entropy.mending.give_up(now.monotonic, partition).is_none();
        if taken_over {
            self.transfer.takeovers.retain(|takeover| takeover.partition != partition);
        }
        taken_over
    }

    /// Ends what a pass through this partition has under way.
    pub(crate) fn end_operations_of(&mut self, partition: Partition) {
        let of_partition = |operation: &Operation| match operation {
            Operation::Pull(pull) => pull.partition == partition,
            Operation::Fetch(fetch) => fetch.partition == partition,
            Operation::Heal(heal) => heal.pass().is_some_and(|(of, _)| of == partition),
            Operation::OwnDigest(own) => own.partition == partition,
            _ => false,
        };
        for id in self.operations.select(of_partition) {
            match self.operations.remove(id) {
                Some(Operation::Pull(pull)) => self.transfer.source(pull.source).ended(0),
                Some(Operation::Fetch(fetch)) => self.transfer.pace.ended(fetch.weight),
                Some(Operation::Heal(heal)) => {
                    let weight = heal.pass().map(|(_, weight)| weight);
                    weight.into_iter().for_each(|weight| self.transfer.pace.ended(weight));
                }
                _ => {}
            }
        }
    }

    /// When there is something to do although nobody answers.
    pub(crate) fn transfer_wake(&self) -> Option<Duration> {
        let transfer = &self.transfer;
        let mends = !self.entropy.mending.is_idle() || !self.restoring.is_idle();
        if !self.is_admitted() || (transfer.shares.is_empty() && !mends) {
            return None;
        }
        let untold =
            |(at, told): &(Duration, Progress)| (*told != transfer.progress).then_some(*at + TELL);
        let paces = transfer.sources.iter().map(|source| &source.pace).chain([&transfer.pace]);
        let under_way = mends || !transfer.takeovers.is_empty() || !transfer.waiting.is_empty();
        let paused = paces.filter_map(Pace::paused_until).filter(|_| under_way).min();
        let told = transfer.told.as_ref().and_then(untold);
        let roused = transfer.resting.iter().map(|&(until, _)| until).min();
        [paused, transfer.retry_at, roused, told].into_iter().flatten().min()
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
pub(crate) mod tests;
