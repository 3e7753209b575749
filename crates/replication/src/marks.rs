//! The marks of one partition: a pure object that says when each may rise (semantics, section 9).
//!
//! ```text
//!  close(t) --> all closed? --> pulled each? --> full --> all full? --> floor
//! ```
//!
//! `closed` stops admission the moment that it is raised here; it is told, like every mark, only when the
//! store has made it durable, and with it whatever was admitted before (`FLOOR_SAFE`). What `full` and the
//! floor promise is taken back in one place, after a loss that not everybody could make good.
//! **Never:** lets a mark fall but there, counts what was told under another fence, or counts a member as
//! pulled by what began before all members were known to be closed.

use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{Damage, Hlc, Marks, Ordinal, Record, Version};

use crate::mutants::{self, Mutant};

/// What a partition that was emptied is closed at until it has taken `closed` from a member. No stamp
/// lies so low, and nothing else that is told.
const AWAITS: Hlc = Hlc::from_u64(1);

/// A newcomer is closed no lower, so that a restart knows that it awaits nothing.
const TAKEN: Hlc = Hlc::from_u64(2);

/// The marks of a partition that is to be emptied or was: it awaits `closed`.
pub(crate) const EMPTIED: Marks =
    Marks { floor: Hlc::ZERO, full: Hlc::ZERO, closed: AWAITS, damage: Damage::None };

/// A partition closes no sooner after it closed last.
const REST: Duration = Duration::from_secs(60);

/// How long a mark that the store did not take is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether the floor lets go of a record: a delete, or one that has expired, at or below it.
pub(crate) fn is_covered(record: &Record, floor: Hlc) -> bool {
    droppable_at(record).is_some_and(|at| at <= floor)
}

/// The least floor that lets go of a record; none where it lives for good.
pub(crate) fn droppable_at(record: &Record) -> Option<Hlc> {
    let version = record.version.hlc;
    if record.is_tombstone() {
        return Some(version);
    }
    record.expires_ms.map(|at| version.max(Hlc::new(at, 0)))
}

/// What a replica at this floor tells of a record.
pub(crate) fn shown(record: Option<Record>, floor: Hlc) -> Option<Record> {
    record.filter(|record| !is_covered(record, floor))
}

/// Whether this replica answers for all of the partition (`NO_SILENT_ROT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Whole,
    /// Keys are marked, or the file was lost.
    Damaged,
}

/// Whether a partition may begin to close now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Where there is something to drop.
    Begins,
    /// Only behind a member that has closed.
    Follows,
}

/// Whether the store is making marks durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    No,
    /// These, whatever was wanted since.
    UnderWay(Marks),
    /// It failed to, and is asked again then.
    Rests(Duration),
}

/// What this node knows of the marks of one partition.
#[derive(Clone, Debug)]
pub(crate) struct PartitionMarks {
    /// What is refused by now.
    own: Marks,
    /// What the disk holds.
    durable: Marks,
    setting: Setting,
    health: Health,
    /// What the other members told under this fence.
    heard: Vec<(Ordinal, Marks)>,
    /// Since when all of them are known to be closed at `closed`.
    all_closed: Option<Duration>,
    /// Members whose listing was gone through since then.
    listed: Vec<Ordinal>,
    /// The least floor that would let go of something.
    pub(crate) droppable: Option<Hlc>,
    /// What the floor let go of is still here.
    pub(crate) drops: bool,
    closed_at: Option<Duration>,
    /// When, in changes of the shard, this one was last another to tell.
    pub(crate) changed: u64,
}

impl PartitionMarks {
    /// Of a start, or of a partition that nothing was remembered of.
    pub(crate) fn new(marks: Marks) -> Self {
        let lost = marks.damage == Damage::Lost;
        let forgets = mutants::is(Mutant::MarksLostByRestart) && marks != EMPTIED;
        let marks =
            if forgets { Marks { damage: marks.damage, ..Marks::default() } } else { marks };
        Self {
            own: marks,
            durable: marks,
            setting: Setting::No,
            health: if lost { Health::Damaged } else { Health::Whole },
            heard: Vec::new(),
            all_closed: None,
            listed: Vec::new(),
            droppable: None,
            // What it had let go of before a start may still be here.
            drops: marks.floor > Hlc::ZERO,
            closed_at: None,
            changed: 0,
        }
    }

    /// Whether it was emptied and has not taken `closed` from a member: nothing is admitted, told or
    /// pulled before that.
    pub(crate) fn awaits_closed(&self) -> bool {
        self.durable.closed == AWAITS
    }

    /// Whether a write or hint of this version may be stored.
    pub(crate) fn admits(&self, version: Version) -> bool {
        version.hlc > self.own.closed
    }

    /// Whether what is refused of this version stays refused after a restart.
    pub(crate) fn is_closed_for_good(&self, version: Version) -> bool {
        version.hlc <= self.durable.closed
    }

    /// What is refused up to.
    pub(crate) fn closed(&self) -> Hlc {
        self.own.closed
    }

    /// The same where it was raised to a time; a newcomer whose members were closed nowhere is not.
    fn line(&self) -> Hlc {
        if self.own.closed <= TAKEN { Hlc::ZERO } else { self.own.closed }
    }

    /// Whether all that there is at this version is here: nothing so old enters any more.
    pub(crate) fn is_full_at(&self, version: Version) -> bool {
        version.hlc <= self.own.full
    }

    /// The floor that the disk holds.
    pub(crate) fn floor(&self) -> Hlc {
        self.durable.floor
    }

    /// The floor that answers may claim: none while something is missing.
    pub(crate) fn claimed(&self) -> Hlc {
        if self.is_damaged() { Hlc::ZERO } else { self.durable.floor }
    }

    /// Whether something of the partition is missing here.
    pub(crate) fn is_damaged(&self) -> bool {
        self.health == Health::Damaged
    }

    /// Whether the disk says that the file was lost, and nothing that says otherwise is durable.
    pub(crate) fn is_lost(&self) -> bool {
        self.durable.damage == Damage::Lost
    }

    /// What everything is held up to, for good.
    #[cfg(test)]
    pub(crate) fn durable_full(&self) -> Hlc {
        self.durable.full
    }

    /// What may be told; none while it awaits `closed`. While this replica is damaged the floors of the
    /// others wait for it: no tombstone goes that it has lost and has not seen again.
    pub(crate) fn told(&self) -> Option<Marks> {
        if self.awaits_closed() {
            return None;
        }
        let early = mutants::is(Mutant::ClosedToldEarly);
        let told = if early { self.own } else { self.durable };
        let closed = if told.closed <= TAKEN { Hlc::ZERO } else { told.closed };
        match self.is_damaged() {
            true => Some(Marks { closed, floor: Hlc::ZERO, full: Hlc::ZERO, ..told }),
            false => Some(Marks { closed, ..told }),
        }
    }

    /// Whether something is on its way from `closed` to the floor.
    pub(crate) fn is_open(&self) -> bool {
        self.own.floor < self.line()
    }

    /// Whether nothing is known of it that a new one would not know.
    pub(crate) fn is_blank(&self) -> bool {
        let unmarked = self.own == Marks::default() && self.durable == Marks::default();
        let unmarked = unmarked && self.health == Health::Whole;
        let unheard = self.heard.iter().all(|(_, marks)| *marks == Marks::default());
        unmarked && unheard && self.setting == Setting::No && self.droppable.is_none()
    }

    /// Whether a mark may be raised: no other one is on its way to the disk, and the replica counts.
    fn may_rise(&self, now: Duration) -> bool {
        let is_whole = !self.is_damaged() || mutants::is(Mutant::DamagedMovesMarks);
        self.is_free(now) && is_whole && !self.awaits_closed()
    }

    fn is_free(&self, now: Duration) -> bool {
        match self.setting {
            Setting::No => true,
            Setting::UnderWay(_) => false,
            Setting::Rests(until) => now >= until,
        }
    }

    /// A member told its marks under this fence.
    pub(crate) fn hear(&mut self, member: Ordinal, marks: Marks) {
        match self.heard.iter_mut().find(|(known, _)| *known == member) {
            // As if they could only have risen since.
            Some((_, known)) if mutants::is(Mutant::MarksAcrossFences) => {
                known.closed = known.closed.max(marks.closed);
                known.full = known.full.max(marks.full);
                known.floor = known.floor.max(marks.floor);
            }
            Some((_, known)) => *known = marks,
            None => self.heard.push((member, marks)),
        }
    }

    /// A member cannot be heard any more. It may come back after a loss, and full at less.
    pub(crate) fn unhear(&mut self, member: Ordinal) {
        if let Some((_, known)) = self.heard.iter_mut().find(|(known, _)| *known == member) {
            known.full = Hlc::ZERO;
        }
    }

    /// Whether something follows from what this member tells now.
    pub(crate) fn is_news(&self, member: Ordinal, told: Marks) -> bool {
        self.awaits_closed() || self.heard_of(member) != told
    }

    /// What this member told.
    pub(crate) fn heard_of(&self, member: Ordinal) -> Marks {
        let heard = self.heard.iter().find(|(known, _)| *known == member);
        heard.map(|(_, marks)| *marks).unwrap_or_default()
    }

    /// The fence is another: nothing that was told or pulled under the one before counts.
    pub(crate) fn relayout(&mut self) {
        if !mutants::is(Mutant::MarksAcrossFences) {
            self.heard.clear();
        }
        self.forget_pulls();
    }

    /// Nothing that was pulled counts for `full`.
    fn forget_pulls(&mut self) {
        self.all_closed = None;
        self.listed.clear();
    }

    /// Something of the partition is damaged, or nothing is any more. What was pulled before it was
    /// damaged may be what is missing.
    pub(crate) fn fare(&mut self, health: Health) {
        self.health = health;
        self.forget_pulls();
    }

    /// A key is about to be healed with nothing, because a member at this floor lacks it. Whoever shows
    /// that absence must claim the floor, too: else a read would find the winner of others neither held
    /// nor covered.
    pub(crate) fn take_absence(&mut self, absence: Hlc) {
        self.own.floor = self.own.floor.max(absence.min(self.own.full));
    }

    /// Something that is lost is about to count as healed, although not every other member has told what
    /// it holds of it: beyond this floor, which one that has told is at, nothing is promised any more. A
    /// mark that stayed would refuse what those who were silent still hold, and call it absent.
    pub(crate) fn fall(&mut self, floor: Hlc) {
        self.own.floor = self.own.floor.min(floor);
        self.own.full = self.own.floor;
        self.forget_pulls();
    }

    /// Whether the disk holds the marks of now.
    pub(crate) fn is_durable(&self) -> bool {
        self.own == self.durable && self.setting == Setting::No
    }

    /// Nothing of the partition is lost any more: gives what is to be made durable, where nothing else
    /// is on its way. The marks are those of now, not those of the start.
    pub(crate) fn lift(&mut self, now: Duration) -> Option<Marks> {
        self.own.damage = Damage::None;
        self.unset(now)
    }

    /// The store has made the marks durable, or has not.
    pub(crate) fn set(&mut self, now: Duration, answer: Result<(), ()>) {
        let Setting::UnderWay(sent) = self.setting else { return };
        self.setting = match answer {
            Ok(()) => {
                self.drops |= sent.floor > self.durable.floor;
                self.durable = sent;
                Setting::No
            }
            Err(()) => Setting::Rests(now + PAUSE),
        };
    }

    /// Marks that the disk lacks although none are on their way there.
    pub(crate) fn unset(&mut self, now: Duration) -> Option<Marks> {
        (self.own != self.durable && self.is_free(now)).then(|| self.begin())
    }

    fn begin(&mut self) -> Marks {
        self.setting = Setting::UnderWay(self.own);
        self.own
    }

    /// It was emptied: gives the marks to make durable.
    pub(crate) fn empty(&mut self) -> Marks {
        let under_way = matches!(self.setting, Setting::UnderWay(_));
        assert!(!under_way, "every store of an earlier layout has ended");
        let changed = self.changed;
        *self = Self { changed, ..Self::new(EMPTIED) };
        self.begin()
    }

    /// What it held is about to be forgotten although no change waits for that: gives the marks to make
    /// durable first, where nothing else is on its way. What was lost stays so until all is forgotten.
    pub(crate) fn abandon(&mut self, now: Duration) -> Option<Marks> {
        if self.own.closed != AWAITS {
            let own = Marks { damage: self.own.damage, ..EMPTIED };
            let Self { durable, setting, health, changed, .. } = *self;
            *self = Self { own, durable, setting, health, changed, ..Self::new(EMPTIED) };
        }
        self.unset(now)
    }

    /// Whether the disk says that it promises nothing of what it held.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.durable.closed == AWAITS
    }

    /// Whether it promises less than the disk says.
    pub(crate) fn has_fallen(&self) -> bool {
        self.own.floor < self.durable.floor || self.own.full < self.durable.full
    }

    /// The newcomer takes what a member is closed at.
    pub(crate) fn take_closed(&mut self, now: Duration, closed: Hlc) -> Option<Marks> {
        if !self.awaits_closed() || !self.is_free(now) {
            return None;
        }
        let heard = self.heard.iter().map(|(_, marks)| marks.closed).fold(closed, Hlc::max);
        self.own.closed = self.own.closed.max(heard).max(TAKEN);
        Some(self.begin())
    }

    /// Whether a floor at `oldest` would let go of something, and no lower one is on its way.
    pub(crate) fn is_worth_closing(&self, oldest: Hlc) -> bool {
        let worth = self.droppable.is_some_and(|droppable| droppable <= oldest);
        worth && self.own.floor == self.line()
    }

    /// Raises `closed` where there is something to drop and all earlier drops are through, or follows a
    /// member that did. `oldest` is older than anything that may still be on its way.
    pub(crate) fn close(&mut self, now: Duration, oldest: Hlc, closing: Closing) -> Option<Marks> {
        if !self.may_rise(now) || self.own != self.durable {
            return None;
        }
        let rested = self.closed_at.is_none_or(|at| now >= at + REST);
        let may_begin = closing == Closing::Begins && rested && !self.drops;
        let begins = may_begin && self.is_worth_closing(oldest);
        let followed = self.heard.iter().map(|(_, marks)| marks.closed);
        let followed = followed.filter(|closed| *closed <= oldest).max().unwrap_or_default();
        let closed = if begins {
            oldest
        } else if self.own.full == self.line() {
            followed
        } else {
            return None;
        };
        if closed <= self.own.closed {
            return None;
        }
        (self.own.closed, self.closed_at) = (closed, Some(now));
        self.forget_pulls();
        Some(self.begin())
    }

    /// Since when everything that any member holds at or below `closed` can be pulled: all are closed
    /// there, this replica durably.
    pub(crate) fn all_closed(
        &mut self,
        now: Duration,
        others: impl Iterator<Item = Ordinal>,
    ) -> Option<Duration> {
        let settled = self.durable.closed == self.own.closed && self.own.full < self.line();
        if !settled || !self.may_rise(now) {
            return None;
        }
        let closed = |member| self.heard_of(member).closed >= self.own.closed;
        let early = mutants::is(Mutant::FullBeforeAllClosed);
        if self.all_closed.is_none() && (early || others.into_iter().all(closed)) {
            self.all_closed = Some(now);
        }
        self.all_closed
    }

    /// Everything that this member listed is durable here, in a pass that began then.
    pub(crate) fn listed(&mut self, member: Ordinal, began: Duration) {
        let counts = self.all_closed.is_some_and(|since| began >= since);
        if counts && !self.listed.contains(&member) {
            self.listed.push(member);
        }
    }

    /// Whether all are closed, and some members left to be pulled.
    pub(crate) fn is_filling(&self) -> bool {
        self.all_closed.is_some()
    }

    /// Whether this member was pulled since all were closed: by a listing, or because both were found
    /// equal, at the latest when `agreed` says.
    pub(crate) fn is_pulled(&self, member: Ordinal, agreed: Option<Duration>) -> bool {
        self.all_closed.is_some_and(|since| {
            self.listed.contains(&member) || agreed.is_some_and(|at| at >= since)
        })
    }

    /// Whether what it is open for needs something of this member.
    pub(crate) fn waits_for(&self, member: Ordinal) -> bool {
        let heard = self.heard_of(member);
        if self.own.full < self.line() {
            return heard.closed < self.line();
        }
        self.is_open() && heard.full < self.line()
    }

    /// Raises `full` where every other member was pulled since all were closed. `agreed` says when each was
    /// last found equal.
    pub(crate) fn fill(
        &mut self,
        now: Duration,
        others: impl Iterator<Item = Ordinal>,
        agreed: impl Fn(Ordinal) -> Option<Duration>,
    ) -> Option<Marks> {
        self.all_closed.filter(|_| self.may_rise(now))?;
        let missing = others.filter(|member| !self.is_pulled(*member, agreed(*member))).count();
        if missing > usize::from(mutants::is(Mutant::FullWithoutMember)) {
            return None;
        }
        (self.own.full, self.all_closed) = (self.own.closed, None);
        Some(self.begin())
    }

    /// Raises the floor to what every member is full at, or to what one of them knows to be so.
    pub(crate) fn raise_floor(
        &mut self,
        now: Duration,
        others: impl Iterator<Item = Ordinal>,
    ) -> Option<Marks> {
        if !self.may_rise(now) {
            return None;
        }
        let full = self.durable.full;
        let least = others.map(|member| self.heard_of(member).full).fold(full, Hlc::min);
        let claimed = self.heard.iter().map(|(_, marks)| marks.floor);
        let claimed = claimed.max().unwrap_or_default();
        let mut floor = least.max(claimed.min(full));
        if mutants::is(Mutant::FloorAtOwnFull) {
            floor = full;
        }
        if floor <= self.own.floor {
            return None;
        }
        self.own.floor = floor;
        Some(self.begin())
    }

    /// The least that would let go of something, of what was stored and of what a scan saw.
    pub(crate) fn note_droppable(&mut self, at: Hlc) {
        self.droppable = Some(self.droppable.map_or(at, |known| known.min(at)));
    }
}

#[cfg(test)]
#[path = "marks_tests.rs"]
mod tests;
