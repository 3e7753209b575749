//! From a frozen table into redb, in small slices.
//!
//! One applier per shard. Most slices are visible and not durable; every few one is durable, with all
//! before it, which spreads the writing of a checkpoint. It never decides anything: the table holds
//! what won its merge or was forgotten, and is newer than what redb holds, so records are stored and
//! removed unread.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use redb::Durability;

use crate::codec;
use crate::engine::{Engine, EngineError};
use crate::hint::HintSlot;
use crate::hint_table::HintState;
use crate::journal::Shared;
use crate::position::Position;
use crate::record_stage::{RecordState, Slot};
use crate::space::{Grower, SpaceWatch};
use crate::store::Completion;
use crate::table::Frozen;

/// A slice ends after this many records or bytes: a checkpoint waits for no more than that.
const SLICE_RECORDS: usize = 2048;
const SLICE_BYTES: usize = 1 << 20;

/// A slice is made durable after this many since the last that was. redb cannot use pages again that
/// its durable state holds, so this bounds how far its file outgrows its contents, and it keeps single
/// syncs short. Records are applied in order, so no page is written more often for it.
const SLICES_UNTIL_DURABLE: u32 = 4;

/// The applier gives way after this many records: on a busy machine it would keep the log's thread
/// from its core for a whole time slice.
const RECORDS_UNTIL_YIELD: usize = 32;

/// Where the owner of a table and its applier meet.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    letters: Mutex<Letters>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Letters {
    frozen: Option<Arc<Frozen>>,
    /// Tables to be dropped: freeing a million records is no work for an event loop.
    retired: Vec<Arc<Frozen>>,
    stop: bool,
}

impl Mailbox {
    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a table to the applier.
    pub(crate) fn apply(&self, frozen: Arc<Frozen>) {
        let before = self.letters().frozen.replace(frozen);
        assert!(before.is_none(), "one frozen table at a time");
        self.arrived.notify_one();
    }

    /// Gives an applied table back, to be dropped.
    pub(crate) fn retire(&self, frozen: Arc<Frozen>) {
        self.letters().retired.push(frozen);
        self.arrived.notify_one();
    }

    /// Tells the applier to end when it has applied what it was given.
    pub(crate) fn stop(&self) {
        self.letters().stop = true;
        self.arrived.notify_one();
    }

    /// Waits until there is a table or nothing more will come; `false` at the end.
    pub(crate) fn wait(&self) -> bool {
        let mut letters = self.letters();
        loop {
            let retired = std::mem::take(&mut letters.retired);
            if !retired.is_empty() {
                drop(letters);
                drop(retired);
                letters = self.letters();
            } else if letters.frozen.is_some() {
                return true;
            } else if letters.stop {
                return false;
            } else {
                letters = self.arrived.wait(letters).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Waits a while, or less when told to stop. For a disk that has no space now.
    pub(crate) fn pause(&self, how_long: std::time::Duration) -> bool {
        let letters = self.letters();
        if letters.stop {
            return false;
        }
        let waited = self.arrived.wait_timeout(letters, how_long);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }
}

/// How far a shard's redb file has followed the log.
#[derive(Debug)]
pub(crate) struct Progress {
    applied: AtomicU64,
    durable: AtomicU64,
    tables: AtomicU64,
}

impl Progress {
    /// Everything before `applied` is in redb, durably.
    pub(crate) fn new(applied: Position) -> Self {
        Self {
            applied: AtomicU64::new(applied.0),
            durable: AtomicU64::new(applied.0),
            tables: AtomicU64::new(0),
        }
    }

    /// redb holds everything before it.
    pub(crate) fn applied(&self) -> Position {
        Position(self.applied.load(Ordering::Acquire))
    }

    /// redb holds everything before it, durably.
    pub(crate) fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// How many frozen tables of this shard redb holds since the start.
    pub(crate) fn tables(&self) -> u64 {
        self.tables.load(Ordering::Acquire)
    }

    fn set_applied(&self, frozen: &Frozen) {
        self.applied.fetch_max(frozen.through.0, Ordering::AcqRel);
        self.tables.store(frozen.sequence, Ordering::Release);
    }

    /// Notes a checkpoint.
    pub(crate) fn set_durable(&self, position: Position) {
        self.durable.fetch_max(position.0, Ordering::AcqRel);
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is nothing to apply.
    Idle,
    /// A slice was applied; there is more.
    Working,
    /// The table is applied as a whole.
    Applied,
    /// The file lacks space. Nothing was done; step again later.
    Full,
    /// redb failed and takes nothing more.
    Broken,
}

/// Applies the frozen tables of one shard, slice by slice.
pub(crate) struct Applier {
    shard: u16,
    shards: u16,
    engine: Arc<Engine>,
    mailbox: Arc<Mailbox>,
    progress: Arc<Progress>,
    shared: Arc<Shared>,
    space: Arc<SpaceWatch>,
    work: Option<Work>,
    slices: u32,
}

#[derive(Debug)]
struct Work {
    frozen: Arc<Frozen>,
    /// In the order of redb's keys, so that neighbours share a page.
    order: Vec<Slot>,
    next: usize,
    hints: Hints,
}

/// How far the hints of a table are applied. They follow the records.
#[derive(Debug)]
enum Hints {
    /// Those up to this slot are.
    Behind(Option<HintSlot>),
    /// All are, and the marks.
    Done,
}

impl Applier {
    /// The applier of `shard`, which tells all `shards` when it lacks space.
    pub(crate) fn new(
        (shard, shards): (u16, u16),
        engine: Arc<Engine>,
        mailbox: Arc<Mailbox>,
        progress: Arc<Progress>,
        shared: Arc<Shared>,
        space: Arc<SpaceWatch>,
    ) -> Self {
        Self { shard, shards, engine, mailbox, progress, shared, space, work: None, slices: 0 }
    }

    /// Applies one slice and tells the loops what they must know of it.
    pub(crate) fn step(&mut self) -> Step {
        let step = self.apply_slice();
        let shard = self.shard;
        if matches!(step, Step::Working | Step::Applied | Step::Full)
            && let Some(full) = self.space.report(Grower::Shard(shard), step == Step::Full)
        {
            let space = |shard| Completion::Space { shard, full };
            self.shared.deliver((0..self.shards).map(space).collect());
        }
        match step {
            Step::Applied => self.shared.deliver(vec![Completion::Applied { shard }]),
            Step::Broken => self.shared.deliver(vec![Completion::Broken { shard }]),
            Step::Idle | Step::Working | Step::Full => {}
        }
        step
    }

    fn apply_slice(&mut self) -> Step {
        if self.work.is_none() {
            self.work = self.mailbox.letters().frozen.take().map(Work::new);
        }
        let Some(work) = &mut self.work else { return Step::Idle };
        self.slices += 1;
        let durability = if self.slices.is_multiple_of(SLICES_UNTIL_DURABLE) {
            Durability::Immediate
        } else {
            Durability::None
        };
        let applied = if work.next < work.order.len() {
            work.apply_records(&self.engine, durability)
        } else {
            work.apply_hints(&self.engine, durability)
        };
        match applied {
            Ok(()) => {}
            Err(EngineError::Full) => return Step::Full,
            Err(EngineError::Broken) => return Step::Broken,
        }
        if !work.is_done() {
            return Step::Working;
        }
        self.progress.set_applied(&work.frozen);
        self.work = None;
        Step::Applied
    }

    /// Waits for a table; `false` when there will be none.
    pub(crate) fn wait(&self) -> bool {
        self.work.is_some() || self.mailbox.wait()
    }

    /// Waits for space; `false` when told to stop.
    pub(crate) fn pause(&self, how_long: std::time::Duration) -> bool {
        self.mailbox.pause(how_long)
    }
}

/// Applies the table that waits, as an applier of its own would.
#[cfg(test)]
pub(crate) fn apply_at_once(mailbox: &Mailbox, engine: &Engine, progress: &Progress) {
    let mut work = Work::new(mailbox.letters().frozen.take().expect("a table waits"));
    while work.next < work.order.len() {
        work.apply_records(engine, Durability::None).expect("a healthy engine");
    }
    while !work.is_done() {
        work.apply_hints(engine, Durability::None).expect("a healthy engine");
    }
    progress.set_applied(&work.frozen);
}

fn give_way(at: usize) {
    if at.is_multiple_of(RECORDS_UNTIL_YIELD) {
        thread::yield_now();
    }
}

impl Work {
    fn new(frozen: Arc<Frozen>) -> Self {
        let order = frozen.records.sorted_slots();
        let hints = if frozen.hints.is_empty() { Hints::Done } else { Hints::Behind(None) };
        Self { frozen, order, next: 0, hints }
    }

    fn is_done(&self) -> bool {
        self.next == self.order.len() && matches!(self.hints, Hints::Done)
    }

    fn apply_records(
        &mut self,
        engine: &Engine,
        durability: Durability,
    ) -> Result<(), EngineError> {
        let end = self.slice_end();
        let slice = self.order[self.next..end].iter();
        let records = slice.enumerate().map(|(at, slot)| {
            give_way(at);
            (slot, self.state(slot))
        });
        engine.apply(records, durability)?;
        self.next = end;
        Ok(())
    }

    fn apply_hints(&mut self, engine: &Engine, durability: Durability) -> Result<(), EngineError> {
        let Hints::Behind(after) = &self.hints else { return Ok(()) };
        let (slice, is_last) = self.hint_slice(after.as_ref());
        let last = slice.last().map(|(slot, _)| (*slot).clone());
        let slots = slice.into_iter().enumerate().map(|(at, hint)| {
            give_way(at);
            hint
        });
        let rest = is_last.then_some(&self.frozen.hints);
        let removed = engine.apply_hints(slots, rest, durability)?;
        if is_last {
            self.frozen.removed.get_or_init(|| removed);
        }
        self.hints = if is_last { Hints::Done } else { Hints::Behind(last) };
        Ok(())
    }

    /// The next slice of hints, and whether it is the last.
    fn hint_slice(&self, after: Option<&HintSlot>) -> (Vec<(&HintSlot, &HintState)>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest =
            self.frozen.hints.slots.range::<HintSlot, _>((from, Bound::Unbounded)).peekable();
        let (mut slice, mut bytes) = (Vec::new(), 0);
        while slice.len() < SLICE_RECORDS && bytes < SLICE_BYTES {
            let Some((slot, state)) = rest.next() else { break };
            bytes += state.as_ref().map_or(0, codec::encoded_len);
            slice.push((slot, state));
        }
        (slice, rest.peek().is_none())
    }

    fn state(&self, slot: &Slot) -> &RecordState {
        self.frozen.records.get(slot).expect("the order has the slots of the table")
    }

    fn slice_end(&self) -> usize {
        let last = (self.next + SLICE_RECORDS).min(self.order.len());
        let mut bytes = 0;
        for at in self.next..last {
            bytes += self.state(&self.order[at]).as_ref().map_or(0, codec::encoded_len);
            if bytes >= SLICE_BYTES {
                return at + 1;
            }
        }
        last
    }
}
