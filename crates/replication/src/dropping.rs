//! Letting go of what lies below the floor: deletes, and records whose version and instant both do
//! (`FLOOR_SAFE`).
//!
//! One partition at a time, page by page, in its own time. After a start every partition is looked
//! through once, because what was stored there before is not remembered. **Never:** drops by a clock, above
//! the floor that the disk holds, or anything but the very record that was seen.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::limits::MAX_REQUEST_TIMEOUT;
use paravon_model::{Failure, Hlc, Key, Part, Record, Version};
use paravon_ring::{KeyHash, Partition};

use crate::event::{Effect, Now};
use crate::marks::{droppable_at, is_covered};
use crate::operation::Operation;
use crate::operations::OperationId;
use crate::pulled::PAGE_BYTES;
use crate::shard::Shard;
use crate::stores::Waiter;

/// Records of one page.
const PAGE: usize = 256;

/// Records that are dropped at once.
const WINDOW: usize = 64;

/// The rest after as much as a page.
const REST: Duration = Duration::from_millis(10);

/// What reading a page takes, in records: with many partitions of few records most pages are small.
const READING: usize = 32;

/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// What is to be looked through.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    /// Floors of these were raised.
    wanted: BTreeSet<Partition>,
    under_way: Option<OperationId>,
    looks: Looks,
    /// Records looked at since the last rest, with what reading them took.
    looked_at: usize,
    rests_until: Option<Duration>,
}

/// Once around through all partitions.
#[derive(Clone, Copy, Debug, Default)]
enum Looks {
    /// Before the first tick.
    #[default]
    Unplanned,
    /// Nothing that was stored before the start can be dropped earlier anyway.
    At(Duration),
    /// Those from this number on are left.
    Left(u32),
    Done,
}

/// A partition that is looked through.
#[derive(Debug)]
pub(crate) struct Dropping {
    partition: Partition,
    /// The floor when it began.
    floor: Hlc,
    /// Where the page began, and where it ended.
    page: Option<(KeyHash, Key)>,
    after: Option<(KeyHash, Key)>,
    /// Of this page.
    records: usize,
    ready: VecDeque<(KeyHash, Key, Version)>,
    /// Being dropped.
    under_way: usize,
    /// Of this page, not dropped.
    failed: usize,
    /// The least floor that would let go of what stays; or of what there was before, should this be
    /// given up.
    droppable: Option<Hlc>,
    resume_at: Option<Duration>,
}

impl Drops {
    /// A floor was raised.
    pub(crate) fn want(&mut self, partition: Partition) {
        self.wanted.insert(partition);
    }

    /// A page of so many records was gone through: how long to rest after that, if at all.
    fn rest_after(&mut self, records: usize) -> Option<Duration> {
        self.looked_at += records + READING;
        if self.looked_at < PAGE {
            return None;
        }
        self.looked_at = 0;
        Some(REST)
    }
}

impl Shard {
    /// Goes on where it may.
    pub(crate) fn advance_dropping(&mut self, now: Now, out: &mut Vec<Effect>) {
        let at = now.monotonic;
        let drops = &mut self.floors.drops;
        match drops.looks {
            Looks::Unplanned => drops.looks = Looks::At(at + MAX_REQUEST_TIMEOUT),
            Looks::At(planned) if at >= planned => drops.looks = Looks::Left(0),
            _ => {}
        }
        match drops.under_way {
            Some(id) => self.resume_dropping(now, id, out),
            None if drops.rests_until.is_some_and(|until| at < until) => {}
            None => self.begin_dropping(out),
        }
    }

    /// Where this node is damaged, what is wanted stays so until it is healed.
    fn begin_dropping(&mut self, out: &mut Vec<Effect>) {
        let Self { floors, damage, layout, ordinal, portion, .. } = self;
        let stored = |partition: &Partition| layout.sets(*partition).contains(*ordinal);
        let whole = |partition: &Partition| !damage.touches(*partition, layout.shift());
        floors.drops.rests_until = None;
        floors.drops.wanted.retain(stored);
        if let Some(partition) = floors.drops.wanted.iter().copied().find(whole) {
            floors.drops.wanted.remove(&partition);
            return self.drop_from(partition, out);
        }
        let Looks::Left(first) = floors.drops.looks else { return };
        for partition in portion.partitions_from(first, layout.shift()).filter(stored) {
            if whole(&partition) {
                floors.drops.looks = Looks::Left(partition.0 + 1);
                return self.drop_from(partition, out);
            }
            floors.drops.wanted.insert(partition);
        }
        floors.drops.looks = Looks::Done;
    }

    fn drop_from(&mut self, partition: Partition, out: &mut Vec<Effect>) {
        let floor = self.floors.floor(partition);
        let dropping = Dropping {
            partition,
            floor,
            page: None,
            after: None,
            records: 0,
            ready: VecDeque::new(),
            under_way: 0,
            failed: 0,
            // What is stored from now on is noted anew.
            droppable: self.floors.take_droppable(partition),
            resume_at: None,
        };
        let id = self.begin(Operation::Dropping(dropping));
        self.floors.drops.under_way = Some(id);
        self.scan_droppable(id, out);
    }

    fn scan_droppable(&mut self, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Dropping(dropping)) = self.operations.get_mut(id) else { return };
        dropping.resume_at = None;
        let (partition, after) = (dropping.partition, dropping.page.clone());
        let (part, limit, bytes) = (Part::Whole, PAGE, PAGE_BYTES);
        out.push(Effect::Scan { operation: id, partition, part, after, limit, bytes });
    }

    /// A page was read.
    pub(crate) fn dropping_scanned(
        &mut self,
        now: Now,
        id: OperationId,
        page: Result<Vec<(KeyHash, Key, Record)>, Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Dropping(dropping)) = self.operations.get_mut(id) else { return };
        match page {
            Ok(page) if page.is_empty() => self.end_dropping(now, id, out),
            Ok(page) => {
                if dropping.page.is_none() {
                    dropping.droppable = None;
                }
                dropping.take(page);
                self.advance_drops(now, id, out);
            }
            Err(_) => dropping.resume_at = Some(now.monotonic + PAUSE),
        }
    }

    /// The store of this node has answered: the record is gone, durably, or is not.
    pub(crate) fn dropped(
        &mut self,
        now: Now,
        id: OperationId,
        answer: &Result<(), Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(Operation::Dropping(dropping)) = self.operations.get_mut(id) else { return };
        dropping.under_way -= 1;
        dropping.failed += usize::from(answer.is_err());
        self.advance_drops(now, id, out);
    }

    fn advance_drops(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Self { operations, stores, floors, .. } = self;
        let Some(Operation::Dropping(dropping)) = operations.get_mut(id) else { return };
        while dropping.under_way < WINDOW
            && let Some((hash, key, version)) = dropping.ready.pop_front()
        {
            dropping.under_way += 1;
            let operation = stores.begin(Waiter::Forget(id), hash);
            out.push(Effect::Drop { operation, hash, key, version });
        }
        if dropping.under_way > 0 {
            return;
        }
        let rest = if core::mem::take(&mut dropping.failed) > 0 {
            Some(PAUSE)
        } else {
            dropping.page = dropping.after.clone();
            floors.drops.rest_after(dropping.records)
        };
        match rest {
            Some(rest) => dropping.resume_at = Some(now.monotonic + rest),
            None => self.scan_droppable(id, out),
        }
    }

    fn resume_dropping(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Dropping(dropping)) = self.operations.get(id) else { return };
        if dropping.resume_at.is_some_and(|at| now.monotonic >= at) {
            self.scan_droppable(id, out);
        }
    }

    fn end_dropping(&mut self, now: Now, id: OperationId, out: &mut Vec<Effect>) {
        let Some(Operation::Dropping(dropping)) = self.operations.remove(id) else { return };
        let (found, floor) = (dropping.page.is_some(), dropping.floor);
        let kept = dropping.droppable.filter(|_| found);
        self.floors.drop_ended(dropping.partition, floor, kept);
        let drops = &mut self.floors.drops;
        drops.under_way = None;
        drops.rests_until = drops.rest_after(0).map(|rest| now.monotonic + rest);
        self.advance_dropping(now, out);
    }

    /// Nothing more goes of a partition that this node is damaged in.
    pub(crate) fn stop_dropping(&mut self, partition: Partition) {
        let dropping = self.floors.drops.under_way.and_then(|id| self.operations.get(id));
        if matches!(dropping, Some(Operation::Dropping(dropping)) if dropping.partition == partition)
        {
            self.give_up_dropping();
        }
    }

    /// What is being dropped ends by itself, and the rest is begun anew.
    pub(crate) fn give_up_dropping(&mut self) {
        let Some(id) = self.floors.drops.under_way.take() else { return };
        if let Some(Operation::Dropping(dropping)) = self.operations.remove(id) {
            self.floors.note_droppable(dropping.partition, dropping.droppable);
            self.floors.drops.want(dropping.partition);
        }
    }

    /// When it goes on.
    pub(crate) fn dropping_wake(&self) -> Option<Duration> {
        let drops = &self.floors.drops;
        match (drops.under_way, drops.looks) {
            (Some(id), _) => match self.operations.get(id) {
                Some(Operation::Dropping(dropping)) => dropping.resume_at,
                _ => None,
            },
            (None, _) if drops.rests_until.is_some() => drops.rests_until,
            (None, Looks::At(at)) => Some(at),
            (None, _) => None,
        }
    }
}

impl Dropping {
    fn take(&mut self, page: Vec<(KeyHash, Key, Record)>) {
        self.after = page.last().map(|(hash, key, _)| (*hash, key.clone()));
        self.records = page.len();
        for (hash, key, record) in page {
            if is_covered(&record, self.floor) {
                self.ready.push_back((hash, key, record.version));
            } else if let Some(at) = droppable_at(&record) {
                self.droppable = Some(self.droppable.map_or(at, |known| known.min(at)));
            }
        }
    }
}
