//! Deletes that go by agreement: the marks of all partitions of a shard, and what each of them waits for
//! (semantics, section 9).
//!
//! ```text
//!  stores of deletes --> something to drop --> close --+
//!  what members told --------------------------------->+--> SetMarks --> told, claimed, dropped
//!  agreements of anti-entropy, listings -------------->+
//! ```
//!
//! A partition of which nothing is known that matters has no entry. **Never:** raises a mark before this
//! node has stored the layout, tells or claims one that the disk does not hold, or lets anything at or
//! below `closed` in but what is pulled (`NO_RESURRECTION`, `FLOOR_SAFE`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use paravon_model::{Class, Failure, Hlc, Marks, Ordinal, Version};
use paravon_ring::{Layout, Partition, Sets};

use crate::dropping::Drops;
use crate::event::{Effect, Now};
use crate::marks::{Closing, Health, PartitionMarks};
use crate::mutants::{self, Mutant};
use crate::peers::Reach;
use crate::shard::Shard;
use crate::stores::Waiter;
use crate::telling::Tellers;

/// The marks are looked through no more often.
const LOOK: Duration = Duration::from_secs(1);

/// How long equal sums are waited for: some rounds of comparisons.
pub(crate) const LIST_AFTER: Duration = Duration::from_secs(35);

/// Most marks on their way to the disk at a look: each is a small entry of the log.
const MAX_SETTING: usize = 2048;

/// Most partitions on their way to a higher floor, of those whose members can all be asked: what lies
/// between `closed` and its drop is compared with effort. A quarter of what a shard may hold goes at once.
const MAX_OPEN: usize = 8192;

/// The same with those that are held up by a member that cannot be asked. These take no place from the
/// others, but a member that comes and goes must not open everything.
const MAX_OPEN_OR_HELD_UP: usize = 2 * MAX_OPEN;

/// The marks of a shard.
#[derive(Debug)]
pub(crate) struct Floors {
    partitions: BTreeMap<Partition, PartitionMarks>,
    /// Counts what has changed of what is told.
    changes: u64,
    /// On their way to the disk.
    setting: usize,
    /// When to look next; none before the first tick.
    look_at: Option<Duration>,
    /// Where the next look begins.
    look_from: Partition,
    /// How the marks stood at the last look.
    found: Found,
    pub(crate) drops: Drops,
    pub(crate) tellers: Tellers,
}

/// A look through all partitions, one after the other, while their marks change.
#[derive(Debug)]
struct Turn {
    /// From where it begins up to the end, and from the first one up to there.
    left: [Range<Partition>; 2],
    looked_at: usize,
}

/// Sums over all partitions of this node.
#[derive(Clone, Debug, Default)]
struct Found {
    /// Between `closed` and floor.
    open: usize,
    /// Those of them whose other members cannot all be asked.
    held_up: usize,
    /// Members that cannot be asked, and for which partitions do not even begin to close.
    down: Vec<Ordinal>,
    /// With something to drop.
    droppable: usize,
    /// New here, and without a `closed`.
    awaiting: usize,
}

/// The marks of a shard in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FloorStatus {
    /// Partitions that hold deletes or records that expire, as far as that is known.
    pub droppable: usize,
    /// Partitions that are on their way to a higher floor.
    pub open: usize,
    /// The lowest floor among these.
    pub lowest: Option<Hlc>,
    /// Members that these wait for, and those that were to begin.
    pub waiting_for: Vec<Ordinal>,
}

impl Found {
    /// Something is to go, and these hold it up.
    fn waits_for(&mut self, members: impl Iterator<Item = Ordinal>) {
        for member in members {
            if !self.down.contains(&member) {
                self.down.push(member);
            }
        }
    }
}

impl Floors {
    /// As the disk remembers them; in these partitions it remembers damaged keys besides.
    pub(crate) fn new(
        marks: &[(Partition, Marks)],
        damaged: impl Iterator<Item = Partition>,
    ) -> Self {
        let partitions = marks.iter().map(|&(number, marks)| (number, PartitionMarks::new(marks)));
        let mut floors = Self {
            partitions: partitions.collect(),
            changes: 0,
            setting: 0,
            look_at: None,
            look_from: Partition(0),
            found: Found::default(),
            drops: Drops::default(),
            tellers: Tellers::default(),
        };
        damaged.for_each(|partition| floors.fare(partition, Health::Damaged));
        let let_go = floors.partitions.iter().filter(|(_, marks)| marks.drops);
        let_go.for_each(|(&partition, _)| floors.drops.want(partition));
        floors
    }

    /// Something of the partition is damaged, or nothing is any more: it is told otherwise from now on.
    pub(crate) fn fare(&mut self, partition: Partition, health: Health) {
        self.changes += 1;
        let changes = self.changes;
        let marks = self.entry(partition);
        marks.fare(health);
        marks.changed = changes;
    }

    pub(crate) fn get(&self, partition: Partition) -> Option<&PartitionMarks> {
        self.partitions.get(&partition)
    }

    pub(crate) fn entry(&mut self, partition: Partition) -> &mut PartitionMarks {
        let unmarked = || PartitionMarks::new(Marks::default());
        self.partitions.entry(partition).or_insert_with(unmarked)
    }

    /// Those of a class of which something is known, from this number on, in order.
    pub(crate) fn of_class(
        &self,
        class: Class,
        first: Partition,
    ) -> impl Iterator<Item = (Partition, &PartitionMarks)> {
        let known = self.partitions.range(first..).map(|(&number, marks)| (number, marks));
        known.filter(move |(partition, _)| class.contains(partition.0))
    }

    /// Whether the partition was emptied and has not taken `closed` from a member.
    pub(crate) fn awaits_closed(&self, partition: Partition) -> bool {
        self.get(partition).is_some_and(PartitionMarks::awaits_closed)
    }

    /// Whether a write or a hint of this version may be stored.
    pub(crate) fn admits(&self, partition: Partition, version: Version) -> bool {
        self.get(partition).is_none_or(|marks| marks.admits(version))
    }

    /// Whether nothing of this version enters any more, pulled or written back.
    pub(crate) fn is_full_at(&self, partition: Partition, version: Version) -> bool {
        self.get(partition).is_some_and(|marks| marks.is_full_at(version))
    }

    /// The floor that the disk holds.
    pub(crate) fn floor(&self, partition: Partition) -> Hlc {
        self.get(partition).map(PartitionMarks::floor).unwrap_or_default()
    }

    /// The floor that this node claims in its answers.
    pub(crate) fn claimed(&self, partition: Partition) -> Hlc {
        self.get(partition).map(PartitionMarks::claimed).unwrap_or_default()
    }

    /// Whether what is stored of the partition may be compared: not while it holds what its floor has
    /// let go of.
    pub(crate) fn is_comparable(&self, partition: Partition) -> bool {
        self.get(partition).is_none_or(|marks| !marks.drops && !marks.awaits_closed())
    }

    /// Whether this member told another floor than this node's: what both hold need not be equal.
    pub(crate) fn differs_from(&self, partition: Partition, member: Ordinal) -> bool {
        let differs = |marks: &PartitionMarks| marks.heard_of(member).floor != marks.floor();
        self.get(partition).is_some_and(differs)
    }

    /// How many more partitions may begin to close, as of the last look.
    fn room(&self) -> usize {
        let Found { open, held_up, .. } = self.found;
        let room = MAX_OPEN.saturating_sub(open - held_up);
        room.min(MAX_OPEN_OR_HELD_UP.saturating_sub(open))
    }

    /// Begins at another one at each look: none is always the last to find room.
    fn begin_turn(&mut self) -> Turn {
        let (first, end) = (Partition(0), Partition(u32::MAX));
        let from = core::mem::replace(&mut self.look_from, first);
        Turn { left: [from..end, first..from], looked_at: 0 }
    }

    /// Nothing is copied of so many: each is found anew behind the one before.
    fn next_in_turn(&mut self, turn: &mut Turn) -> Option<Partition> {
        let next = turn.left.iter_mut().filter(|left| !left.is_empty()).find_map(|left| {
            let next = self.partitions.range(left.clone()).next().map(|(&next, _)| next);
            left.start = next.map_or(left.end, |next| Partition(next.0 + 1));
            next
        })?;
        if turn.looked_at == MAX_OPEN {
            self.look_from = next;
        }
        turn.looked_at += 1;
        Some(next)
    }

    /// Something is stored that a floor will let go of.
    pub(crate) fn note_droppable(&mut self, partition: Partition, at: Option<Hlc>) {
        if let Some(at) = at {
            self.entry(partition).note_droppable(at);
        }
    }

    /// Whether something of the partition is missing here.
    pub(crate) fn is_damaged(&self, partition: Partition) -> bool {
        self.get(partition).is_some_and(PartitionMarks::is_damaged)
    }

    /// A damaged key was healed: with a record that some floor will let go of, or this one has.
    pub(crate) fn healed(&mut self, partition: Partition, droppable: Option<Hlc>) {
        if let Some(at) = droppable {
            let marks = self.entry(partition);
            marks.note_droppable(at);
            marks.drops |= at <= marks.floor();
        }
    }

    /// The partition is about to be looked through: what is noted from now on is what is stored since.
    pub(crate) fn take_droppable(&mut self, partition: Partition) -> Option<Hlc> {
        self.partitions.get_mut(&partition)?.droppable.take()
    }

    /// The partition was looked through at this floor; no lower one than `kept` lets go of what is left.
    pub(crate) fn drop_ended(&mut self, partition: Partition, floor: Hlc, kept: Option<Hlc>) {
        self.note_droppable(partition, kept);
        if let Some(marks) = self.partitions.get_mut(&partition)
            && marks.floor() == floor
        {
            marks.drops = false;
        }
    }

    /// Everything that this member listed is durable here, in a pass that began then.
    pub(crate) fn listed(&mut self, partition: Partition, member: Ordinal, began: Duration) {
        if let Some(marks) = self.partitions.get_mut(&partition) {
            marks.listed(member, began);
        }
    }

    /// What the marks of a generation promise is not so in the next one.
    pub(crate) fn fall(&mut self) {
        self.partitions.values_mut().for_each(|marks| marks.fall(Hlc::ZERO));
    }

    /// Those that promise less than the disk says.
    pub(crate) fn fallen(&self) -> impl Iterator<Item = Partition> {
        let fallen = self.partitions.iter().filter(|(_, marks)| marks.has_fallen());
        fallen.map(|(&partition, _)| partition)
    }

    /// A member cannot be heard any more.
    pub(crate) fn unhear(&mut self, member: Ordinal) {
        self.partitions.values_mut().for_each(|marks| marks.unhear(member));
    }

    /// How many changes there have been of what is told.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether a partition is on its way to a higher floor, and none of its members is down, as of the
    /// last look.
    pub(crate) fn is_rising(&self) -> bool {
        self.found.open > self.found.held_up
    }

    /// Whether a partition waits for a `closed`, as of the last look.
    pub(crate) fn awaits(&self) -> bool {
        self.found.awaiting > 0
    }
}

impl Shard {
    /// How the marks of this shard stand.
    #[must_use]
    pub fn floors(&self) -> FloorStatus {
        let Floors { partitions, found, .. } = &self.floors;
        let mut status = FloorStatus {
            droppable: found.droppable,
            waiting_for: found.down.clone(),
            ..FloorStatus::default()
        };
        let open = partitions.iter().filter(|(_, marks)| marks.is_open());
        for (&partition, marks) in open.filter(|(partition, _)| self.stores(**partition)) {
            status.open += 1;
            let lowest = status.lowest.map_or(marks.floor(), |lowest| lowest.min(marks.floor()));
            status.lowest = Some(lowest);
            let slow = |member: &Ordinal| marks.waits_for(*member);
            for member in others(&self.layout, self.ordinal, partition).filter(slow) {
                if !status.waiting_for.contains(&member) {
                    status.waiting_for.push(member);
                }
            }
        }
        status.waiting_for.sort_unstable();
        status
    }

    /// The floor that this node claims for a partition.
    #[must_use]
    pub fn floor_of(&self, partition: Partition) -> Hlc {
        self.floors.floor(partition)
    }

    /// A layout of a higher fence is in use: what was told and pulled under the one before is void.
    pub(crate) fn relayout_floors(&mut self) {
        let Floors { partitions, tellers, look_at, .. } = &mut self.floors;
        partitions.values_mut().for_each(PartitionMarks::relayout);
        tellers.relayout();
        *look_at = None;
        self.give_up_hearing();
        self.give_up_dropping();
    }

    /// Raises whatever may rise, in its time.
    pub(crate) fn advance_floors(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.is_admitted() {
            return;
        }
        if self.floors.look_at.is_none_or(|at| now.monotonic >= at) {
            self.floors.look_at = Some(now.monotonic + LOOK);
            self.look_at_marks(now, out);
        }
        self.advance_hearing(now, out);
        self.advance_dropping(now, out);
    }

    fn look_at_marks(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut found = Found::default();
        let mut room = self.floors.room();
        let settled = self.clock.settled_before(now);
        let unlinked = self.unlinked();
        let mut turn = self.floors.begin_turn();
        while let Some(partition) = self.floors.next_in_turn(&mut turn) {
            let Some(marks) = self.floors.get(partition) else { continue };
            if marks.is_blank() {
                self.floors.partitions.remove(&partition);
                continue;
            }
            if !self.stores(partition) {
                // What the disk remembers of a partition of others says nothing of this node.
                self.judge_marks(now, partition, Closing::Follows, out);
                continue;
            }
            let others = || others(&self.layout, self.ordinal, partition);
            let held_up_by = || others().filter(|member| unlinked.contains(member));
            let (was_open, is_held_up) = (marks.is_open(), held_up_by().next().is_some());
            found.droppable += usize::from(marks.droppable.is_some());
            found.awaiting += usize::from(marks.awaits_closed());
            if is_held_up && settled.is_some_and(|settled| marks.is_worth_closing(settled)) {
                found.waits_for(held_up_by());
            }
            if marks.awaits_closed() && self.has_nobody_to_ask(partition) {
                self.take_closed(now, partition, Hlc::ZERO, out);
            } else if self.floors.setting < MAX_SETTING {
                let begins = room > 0 && !is_held_up;
                let closing = if begins { Closing::Begins } else { Closing::Follows };
                self.judge_marks(now, partition, closing, out);
            }
            if self.floors.get(partition).is_some_and(PartitionMarks::is_open) {
                found.open += 1;
                found.held_up += usize::from(is_held_up);
                room = room.saturating_sub(usize::from(!was_open));
            }
        }
        self.floors.found = found;
    }

    /// Whether this node is a member of the partition, in either set.
    pub(crate) fn stores(&self, partition: Partition) -> bool {
        self.layout.sets(partition).contains(self.ordinal)
    }

    /// Other members of any partition that cannot be asked: with one of them no mark of it gets through.
    fn unlinked(&self) -> Vec<Ordinal> {
        let others = self.entropy.counterparts.iter().map(|counterpart| counterpart.peer);
        others.filter(|member| self.peers.reach(*member) != Reach::Linked).collect()
    }

    /// Raises the next mark of a partition.
    fn judge_marks(
        &mut self,
        now: Now,
        partition: Partition,
        closing: Closing,
        out: &mut Vec<Effect>,
    ) {
        let is_member = self.stores(partition);
        let Self { layout, ordinal, clock, entropy, floors, .. } = self;
        let settled = clock.settled_before(now);
        let agreed = |member| entropy.counterparts.agreed_at(partition, member);
        let others = || others(layout, *ordinal, partition);
        let Some(marks) = floors.partitions.get_mut(&partition) else { return };
        let at = now.monotonic;
        let next = if let Some(unset) = marks.unset(at) {
            Some(unset)
        } else if !is_member {
            None
        } else if let Some(floor) = marks.raise_floor(at, others()) {
            Some(floor)
        } else if let Some(since) = marks.all_closed(at, others()) {
            let full = marks.fill(at, others(), agreed);
            if full.is_none() {
                self.pull_the_rest(now, partition, since);
            }
            full
        } else {
            settled.and_then(|settled| marks.close(at, settled, closing))
        };
        if let Some(next) = next {
            self.set_marks(partition, next, out);
        }
    }

    /// Has the members compared that are left to be pulled, soon, and goes through the listings of those
    /// that will not be found equal: their floor is another one, or constant writes keep the sums apart.
    fn pull_the_rest(&mut self, now: Now, partition: Partition, since: Duration) {
        let late = now.monotonic >= since + LIST_AFTER;
        let others: Vec<_> = others(&self.layout, self.ordinal, partition).collect();
        for member in others {
            let agreed = self.entropy.counterparts.agreed_at(partition, member);
            let marks = self.floors.get(partition);
            let pulled = marks.is_some_and(|marks| marks.is_pulled(member, agreed));
            if !pulled && since == now.monotonic {
                self.hasten_round(member);
            }
            if !pulled && (late || self.floors.differs_from(partition, member)) {
                self.list_all(now, member, partition);
            }
        }
    }

    /// Makes the marks of a partition durable.
    pub(crate) fn set_marks(&mut self, partition: Partition, marks: Marks, out: &mut Vec<Effect>) {
        self.floors.setting += 1;
        let first = partition.arc(self.layout.shift()).first;
        let operation = self.stores.begin(Waiter::Marks(partition), first);
        out.push(Effect::SetMarks { operation, partition, marks });
    }

    /// The store of this node has answered: they are durable, with all that was queued before, or not.
    pub(crate) fn marks_set(
        &mut self,
        now: Now,
        partition: Partition,
        answer: &Result<(), Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Floors { partitions, changes, setting, .. } = &mut self.floors;
        *setting -= 1;
        let Some(marks) = partitions.get_mut(&partition) else { return };
        let awaited = marks.awaits_closed();
        marks.set(now.monotonic, answer.as_ref().map(drop).map_err(drop));
        *changes += 1;
        marks.changed = *changes;
        if marks.drops {
            self.floors.drops.want(partition);
        }
        self.lifted(now, partition, out);
        if self.emptying.end_marking(partition).is_some() {
            return self.emptied(now, partition, answer, out);
        }
        if self.voiding.end(partition).is_some() {
            return self.voided(now, partition, out);
        }
        if !self.is_admitted() {
            return;
        }
        if awaited && !self.floors.awaits_closed(partition) {
            self.reachable(now, self.ordinal, out);
        }
        self.judge_marks(now, partition, Closing::Follows, out);
        self.heal_marked(partition, out);
        self.clear_abandoned(now, partition, out);
        self.advance_dropping(now, out);
    }

    /// Everything that the partition held is gone: gives up its marks, too.
    pub(crate) fn forget_marks(&mut self, partition: Partition, out: &mut Vec<Effect>) {
        let marks = self.floors.entry(partition).empty();
        self.set_marks(partition, marks, out);
    }

    /// A member told its marks of a partition under the fence in use.
    pub(crate) fn heard(
        &mut self,
        now: Now,
        member: Ordinal,
        partition: Partition,
        told: Marks,
        out: &mut Vec<Effect>,
    ) {
        if told == Marks::default() && self.floors.get(partition).is_none() {
            return;
        }
        let marks = self.floors.entry(partition);
        marks.hear(member, told);
        if marks.awaits_closed() {
            return self.take_closed(now, partition, told.closed, out);
        }
        self.judge_marks(now, partition, Closing::Follows, out);
    }

    fn take_closed(&mut self, now: Now, partition: Partition, closed: Hlc, out: &mut Vec<Effect>) {
        if let Some(taken) = self.floors.entry(partition).take_closed(now.monotonic, closed) {
            self.set_marks(partition, taken, out);
        }
    }

    /// Whether a newcomer comes after nobody who is left: those who told all that they tell, and nothing of
    /// the partition, await a `closed` too. After a rescue all may do.
    fn has_nobody_to_ask(&self, partition: Partition) -> bool {
        let document = self.layout.document();
        let current = self.layout.sets(partition).current;
        let awaits = |member: &Ordinal| self.floors.tellers.has_heard(*member, partition);
        let mut before = current.iter().filter(|member| **member != self.ordinal);
        self.stores(partition) && before.all(|member| document.has_lost(*member) || awaits(member))
    }

    /// Whether members of the partition are being pulled for `full`.
    pub(crate) fn is_filling(&self, partition: Partition) -> bool {
        self.floors.get(partition).is_some_and(PartitionMarks::is_filling)
    }

    /// When the marks are to be looked at.
    pub(crate) fn floors_wake(&self) -> Option<Duration> {
        if !self.is_admitted() {
            return None;
        }
        let look = self.floors.look_at.filter(|_| !self.floors.partitions.is_empty());
        [look, self.dropping_wake()].into_iter().flatten().min()
    }
}

/// The other members of both sets.
fn others(
    layout: &Layout,
    own: Ordinal,
    partition: Partition,
) -> impl Iterator<Item = Ordinal> + use<'_> {
    let Sets { current, next } = layout.sets(partition);
    let current = match next {
        Some(next) if mutants::is(Mutant::OldSetNotWaitedFor) => next,
        _ => current,
    };
    let added = next.unwrap_or_default().iter().filter(|member| !current.contains(member));
    current.iter().chain(added).copied().filter(move |member| *member != own)
}

#[cfg(test)]
#[path = "floors_tests.rs"]
mod tests;
