//! Bringing back a partition whose file was lost: a complete pass through what every other member holds of
//! it, one after the other (semantics, sections 7 and 9).
//!
//! The same machine as a transfer's, with the same paces. **Never:** begins a pass while something that
//! this node acknowledged before the start may still count, or lets the mark go before all are merged
//! under one fence.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use paravon_model::{Detail, Hlc, Ordinal, Part};
use paravon_ring::Partition;

use crate::damage::{Obstacles, Others, Required, Subject};
use crate::damaged::is_given_up;
use crate::event::{Effect, Now};
use crate::marks::PartitionMarks;
use crate::pass::Pass;
use crate::peers::Reach;
use crate::shard::Shard;

/// A lost partition on its way back.
#[derive(Debug)]
struct Restore {
    partition: Partition,
    required: Required,
    merged: Vec<Ordinal>,
    /// Of these, who could not tell all of it.
    in_part: Vec<Ordinal>,
    /// Where an operator has accepted what is lost: those who have lost it too.
    left_out: Vec<Ordinal>,
    /// Likewise: those whose pass came to no end in this attempt.
    failed: Vec<Ordinal>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The choice of the next member.
    Idle,
    Passing(Pass, Source),
    /// The store of this node makes it durable that nothing is lost any more.
    Lifting,
}

/// How much the source of a pass could tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Whole,
    /// Some keys are damaged there.
    Damaged,
    /// Nothing: it has lost the partition too.
    Nothing,
}

/// Whom to pass through next.
enum Next {
    Member(Ordinal),
    /// One that is left alone for a while.
    Later,
    Nobody,
    Obstacles(Obstacles),
}

/// Those under way.
#[derive(Debug, Default)]
pub(crate) struct Restoring {
    restores: Vec<Restore>,
    /// Whom those that rest have merged under this fence.
    rested: BTreeMap<Partition, Vec<Ordinal>>,
}

impl Restoring {
    pub(crate) fn pass(&mut self, partition: Partition) -> Option<&mut Pass> {
        match &mut self.restore(partition)?.stage {
            Stage::Passing(pass, _) => Some(pass),
            Stage::Idle | Stage::Lifting => None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.restores.is_empty()
    }

    pub(crate) fn contains(&self, partition: Partition) -> bool {
        self.restores.iter().any(|restore| restore.partition == partition)
    }

    /// What is pulled from this member.
    pub(crate) fn from(&self, source: Ordinal) -> impl Iterator<Item = Partition> {
        let of_source = move |restore: &&Restore| matches!(&restore.stage, Stage::Passing(pass, _) if pass.source == source);
        self.restores.iter().filter(of_source).map(|restore| restore.partition)
    }

    /// The source of the pass through this partition cannot tell all of it.
    pub(crate) fn source_is_damaged(&mut self, partition: Partition) {
        self.source_tells(partition, Source::Damaged);
    }

    /// The source of the pass through this partition has lost it too.
    pub(crate) fn source_has_lost(&mut self, partition: Partition) {
        self.source_tells(partition, Source::Nothing);
    }

    fn source_tells(&mut self, partition: Partition, tells: Source) {
        if let Some(Restore { stage: Stage::Passing(_, source), .. }) = self.restore(partition) {
            *source = tells;
        }
    }

    fn restore(&mut self, partition: Partition) -> Option<&mut Restore> {
        self.restores.iter_mut().find(|restore| restore.partition == partition)
    }

    fn end(&mut self, partition: Partition) -> Option<Restore> {
        let at = self.restores.iter().position(|restore| restore.partition == partition)?;
        Some(self.restores.swap_remove(at))
    }
}

impl Restore {
    /// Of whom everything was merged.
    fn all_merged(mut self) -> Vec<Ordinal> {
        self.merged.retain(|member| !self.in_part.contains(member));
        self.merged
    }

    /// Whether everything that this member holds was merged.
    fn merged_whole(&self, member: Ordinal) -> bool {
        self.merged.contains(&member) && !self.in_part.contains(&member)
    }

    /// What is next where no other member is left to pass through in this attempt. A loss that was
    /// accepted takes the best that is left, but not nothing while one that could tell is only away, nor
    /// less than what a pass was broken off at.
    fn next_of_nobody(&self, mut silent: Vec<Ordinal>) -> Next {
        let waits = !self.failed.is_empty() || (self.merged.is_empty() && !silent.is_empty());
        if !waits {
            return Next::Nobody;
        }
        silent.retain(|member| !self.failed.contains(member));
        silent.extend(&self.failed);
        Next::Obstacles(Obstacles { silent, ..Obstacles::default() })
    }
}

impl Shard {
    /// Where one is under way, for a partition that was emptied meanwhile, that one goes on.
    pub(crate) fn begin_restore(&mut self, partition: Partition, required: Required) {
        if let Some(restore) = self.restoring.restore(partition) {
            restore.required = required;
            return;
        }
        let merged = self.restoring.rested.remove(&partition).unwrap_or_default();
        let (in_part, left_out, failed) = (Vec::new(), Vec::new(), Vec::new());
        let stage = Stage::Idle;
        let restore = Restore { partition, required, merged, in_part, left_out, failed, stage };
        self.restoring.restores.push(restore);
    }

    /// Does what the paces have room for.
    pub(crate) fn advance_restoring(&mut self, now: Now, out: &mut Vec<Effect>) {
        let restores = self.restoring.restores.iter();
        let under_way: Vec<_> = restores.map(|restore| restore.partition).collect();
        for partition in under_way {
            while self.advance_restore(now, partition, out).is_some() {}
        }
    }

    /// None where an answer or room is to be waited for, or nothing is left to do.
    fn advance_restore(
        &mut self,
        now: Now,
        partition: Partition,
        out: &mut Vec<Effect>,
    ) -> Option<()> {
        match self.restoring.restore(partition)?.stage {
            Stage::Lifting => None,
            Stage::Passing(..) => {
                self.advance_pass(now, partition, out)?;
                self.passed(now, partition);
                Some(())
            }
            Stage::Idle => match self.next_to_restore_from(now, partition)? {
                Next::Member(source) => {
                    let restore = self.restoring.restore(partition)?;
                    // After the first member only what that one did not have comes as a whole.
                    let first = restore.merged.is_empty();
                    let detail = if first { Detail::Record } else { Detail::Listing };
                    let pass = Pass::new(partition, source, detail, Vec::from([Part::Whole]));
                    restore.stage = Stage::Passing(pass, Source::Whole);
                    Some(())
                }
                Next::Later => None,
                Next::Nobody => {
                    self.lift(now, partition, out);
                    None
                }
                Next::Obstacles(obstacles) => {
                    self.rest_restore(now, partition, obstacles);
                    None
                }
            },
        }
    }

    /// Where this node is of no set, or holds nothing that counts, there is nobody to ask. The others must
    /// know first that this node is full at nothing any more: no floor rises then while it goes from one
    /// to the next, and nothing that one of them has dropped is taken from one that was behind
    /// (`NO_RESURRECTION`).
    fn next_to_restore_from(&mut self, now: Now, partition: Partition) -> Option<Next> {
        let Self { restoring, layout, peers, transfer, ordinal, floors, .. } = self;
        let (restore, sets) = (restoring.restore(partition)?, layout.sets(partition));
        if !sets.contains(*ordinal) || restore.required == Required::Nobody {
            return Some(Next::Nobody);
        }
        let others = || sets.all().filter(|member| *member != *ordinal);
        let missing: Vec<_> = others()
            .filter(|member| !restore.merged.contains(member) && !restore.left_out.contains(member))
            .collect();
        let linked = |member: &Ordinal| peers.reach(*member) == Reach::Linked;
        let (linked, mut silent): (Vec<_>, Vec<_>) = missing.into_iter().partition(linked);
        silent.retain(|member| !is_given_up(layout, restore.required, *member));
        if restore.required == Required::All {
            let others = if others().next().is_some() { Others::Some } else { Others::None };
            if !silent.is_empty() || others == Others::None {
                let obstacles = Obstacles { silent, damaged: Vec::new(), others };
                return Some(Next::Obstacles(obstacles));
            }
        }
        if !linked.iter().all(|member| floors.tellers.has_told(*member, partition)) {
            return Some(Next::Later);
        }
        let mut untried =
            linked.iter().filter(|member| !restore.failed.contains(member)).peekable();
        if untried.peek().is_none() {
            return Some(restore.next_of_nobody(silent));
        }
        let ready = untried.find(|member| !transfer.pauses(now.monotonic, **member));
        Some(ready.map_or(Next::Later, |member| Next::Member(*member)))
    }

    /// All that the source told is durable here.
    fn passed(&mut self, now: Now, partition: Partition) {
        let Some(restore) = self.restoring.restore(partition) else { return };
        let Stage::Passing(pass, told) = &restore.stage else { return };
        let source = pass.source;
        if *told != Source::Whole && restore.required == Required::All {
            let obstacles = Obstacles { damaged: Vec::from([source]), ..Obstacles::default() };
            return self.rest_restore(now, partition, obstacles);
        }
        if *told != Source::Whole {
            restore.in_part.push(source);
        }
        restore.merged.push(source);
        restore.stage = Stage::Idle;
    }

    /// The source does not go on with the pass.
    pub(crate) fn restore_failed(&mut self, now: Now, partition: Partition) {
        let Some(restore) = self.restoring.restore(partition) else { return };
        let Stage::Passing(pass, told) = &restore.stage else { return };
        let (source, told) = (pass.source, *told);
        if restore.required != Required::All {
            let lost = told == Source::Nothing;
            let those = if lost { &mut restore.left_out } else { &mut restore.failed };
            those.push(source);
            restore.stage = Stage::Idle;
            return;
        }
        let mut obstacles = Obstacles::default();
        match told {
            Source::Whole => obstacles.silent.push(source),
            Source::Damaged | Source::Nothing => obstacles.damaged.push(source),
        }
        self.rest_restore(now, partition, obstacles);
    }

    /// It is tried again later; whom it has merged stays merged.
    pub(crate) fn rest_restore(&mut self, now: Now, partition: Partition, obstacles: Obstacles) {
        let Some(restore) = self.restoring.end(partition) else { return };
        self.restoring.rested.insert(partition, restore.all_merged());
        self.damage.rest(now.monotonic, &Subject::Partition(partition), obstacles);
    }

    /// What is on its way for this partition is void; whom it has merged stays merged.
    pub(crate) fn void_restore(&mut self, partition: Partition) {
        self.end_operations_of(partition);
        if let Some(restore) = self.restoring.end(partition) {
            self.restoring.rested.insert(partition, restore.all_merged());
        }
    }

    /// Another layout is in use: nothing that was merged under this one counts. The operations end with
    /// those of the transfer.
    pub(crate) fn relayout_restoring(&mut self) {
        self.restoring = Restoring::default();
    }

    /// Where it was not merged with every other member the marks promise no more with the same entry: what
    /// one that was silent holds could not come in any more.
    fn lift(&mut self, now: Now, partition: Partition, out: &mut Vec<Effect>) {
        let Self { restoring, layout, ordinal, floors, .. } = self;
        let Some(restore) = restoring.restore(partition) else { return };
        restore.stage = Stage::Lifting;
        let is_told = |member: &Ordinal| member == ordinal || restore.merged_whole(*member);
        let all_told = layout.sets(partition).all().all(|member| is_told(&member));
        let marks = floors.entry(partition);
        if !all_told {
            marks.fall(Hlc::ZERO);
        }
        if let Some(marks) = marks.lift(now.monotonic) {
            self.set_marks(partition, marks, out);
        }
        self.lifted(now, partition, out);
    }

    /// The disk may know by now that nothing of the partition is lost any more.
    pub(crate) fn lifted(&mut self, now: Now, partition: Partition, out: &mut Vec<Effect>) {
        let lifting = self.restoring.restore(partition);
        let lifting = lifting.is_some_and(|restore| matches!(restore.stage, Stage::Lifting));
        if lifting && !self.floors.get(partition).is_some_and(PartitionMarks::is_lost) {
            self.restoring.end(partition);
            self.damage.healed(&Subject::Partition(partition));
            self.damage_changed(now, partition, out);
            self.transfer.unblock();
            self.advance_transfer(now, out);
        }
    }
}

#[cfg(test)]
#[path = "restoring_tests.rs"]
mod tests;
