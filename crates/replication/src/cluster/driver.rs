//! Which change of the layout is to be proposed now, seen from a member of the council: what waits
//! begins, what is complete ends, what cannot be done is given up.
//!
//! Every member of the council works it out alone. The first of those that are up proposes at once, the
//! next a second later, and so on: whoever is slow or cut off blocks nothing.
//!
//! **Never:** ends a change before every live member of the next layout has said, under this fence,
//! that it is complete; liveness alone begins and cancels, but moves nobody.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use paravon_model::{ChangeId, Document, Fence, Joint, Ordinal, Revision};

use super::change::{Change, Fate, lost_member, newcomer, waiting};
use super::view::{View, may_miss};
use crate::mutants::{self, Mutant};

/// How long operations gather in the document before they begin together.
const GATHER: Duration = Duration::from_millis(300);

/// How long a newcomer that is not reached is waited for before others begin without it.
const LINK_PATIENCE: Duration = Duration::from_secs(2);

/// How much later the next one of the council proposes the same.
const RANK_DELAY: Duration = Duration::from_secs(1);

/// How often it is looked whether something is to be done, while there may be.
const LOOK: Duration = Duration::from_millis(100);

/// A council member's part in driving changes.
#[derive(Debug)]
pub(super) struct Driver {
    join_timeout: Duration,
    next_look: Duration,
    document: Since<Option<Revision>>,
    fence: Since<Option<Fence>>,
    /// Since when newcomers of the change under way are down.
    silent: BTreeMap<Ordinal, Duration>,
    /// Since when newcomers that wait are not reached.
    unreached: BTreeMap<ChangeId, Duration>,
    /// Since when sets of the next layout may lack a majority that is up.
    without_majority: Option<Duration>,
    /// What is wanted.
    wanted: Since<Option<Step>>,
}

/// A value, and since when it is that.
#[derive(Debug)]
struct Since<T> {
    value: T,
    at: Duration,
}

impl<T: PartialEq> Since<T> {
    fn new(value: T) -> Self {
        Self { value, at: Duration::ZERO }
    }

    /// Whether it has become another.
    fn is(&mut self, now: Duration, value: T) -> bool {
        let has_changed = self.value != value;
        if has_changed {
            *self = Self { value, at: now };
        }
        has_changed
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    Finish,
    Cancel,
    Drop,
}

impl Driver {
    /// Nothing seen yet. Nodes that are silent are waited for so long.
    pub(super) fn new(join_timeout: Duration) -> Self {
        Self {
            join_timeout,
            next_look: Duration::ZERO,
            document: Since::new(None),
            fence: Since::new(None),
            silent: BTreeMap::new(),
            unreached: BTreeMap::new(),
            without_majority: None,
            wanted: Since::new(None),
        }
    }

    /// Whether this document leaves anything to do.
    pub(super) fn has_work(document: &Document) -> bool {
        document.joint().is_some() || waiting(document).next().is_some()
    }

    /// Something has changed that a change may have waited for.
    pub(super) fn look_now(&mut self) {
        self.next_look = Duration::ZERO;
    }

    /// When to look again.
    pub(super) fn next_wake(&self) -> Duration {
        self.next_look
    }

    /// What is to be proposed now.
    pub(super) fn look(&mut self, view: &View<'_>) -> Option<Change> {
        self.watch(view);
        let change = rank(view).and_then(|rank| Some((rank, self.change(view)?)));
        let step = change.as_ref().map(|(_, change)| step_of(change));
        self.wanted.is(view.now, step);
        let (rank, change) = change?;
        (view.now >= self.wanted.at.saturating_add(RANK_DELAY * rank)).then_some(change)
    }

    /// Keeps in mind since when things are as they are.
    fn watch(&mut self, view: &View<'_>) {
        let (now, document) = (view.now, view.document);
        self.next_look =
            if Self::has_work(document) { now.saturating_add(LOOK) } else { Duration::MAX };
        self.document.is(now, Some(document.revision()));
        if self.fence.is(now, Some(document.fence())) {
            self.silent.clear();
            self.without_majority = None;
        }
        let unreached = waiting(document).filter(|operation| {
            let newcomer = newcomer(&operation.kind);
            newcomer.is_some_and(|newcomer| !view.linked.contains(&newcomer.node_id))
        });
        let unreached: BTreeSet<ChangeId> = unreached.map(|operation| operation.id).collect();
        keep_since(&mut self.unreached, now, &unreached);
        let Some(joint) = document.joint() else { return };
        let is_silent_newcomer = |ordinal: &Ordinal| {
            document.current.member(*ordinal).is_none() && !view.alive.contains(ordinal)
        };
        let next = joint.next.members.iter().map(|member| member.ordinal);
        keep_since(&mut self.silent, now, &next.filter(is_silent_newcomer).collect());
        if view.has_live_majorities(document) {
            self.without_majority = None;
        } else {
            self.without_majority.get_or_insert(now);
        }
    }

    fn change(&self, view: &View<'_>) -> Option<Change> {
        let is_late = |since: &Duration| view.now.saturating_sub(*since) >= self.join_timeout;
        let late = self.unreached.iter().filter(|(_, since)| is_late(since));
        let late: Vec<ChangeId> = late.map(|(&id, _)| id).collect();
        if !late.is_empty() {
            return Some(Change::Drop { operations: late });
        }
        let fence = view.document.fence;
        let Some(joint) = view.document.joint() else { return self.begin_together(view) };
        if is_overtaken(view) {
            return Some(Change::Cancel { fence, fate: Fate::Overtaken });
        }
        if self.may_finish(view, joint) {
            let next = joint.next.members.iter().map(|member| member.ordinal);
            let stored = view.reports.smallest_stored(view.document, next);
            return Some(Change::Finish { fence, stored: stored.map_or(0, |(number, _)| number) });
        }
        let is_given_up =
            self.silent.values().any(is_late) || self.without_majority.iter().any(is_late);
        is_given_up.then_some(Change::Cancel { fence, fate: Fate::GivenUp })
    }

    /// Begins what waits, a moment after the last one came.
    fn begin_together(&self, view: &View<'_>) -> Option<Change> {
        let age = view.now.saturating_sub(self.document.at);
        let patience = if self.unreached.is_empty() { GATHER } else { LINK_PATIENCE };
        if age < patience {
            return None;
        }
        begin(view, view.document)
    }

    /// Whether the next layout holds everything that was acknowledged under the current one, and
    /// nobody who leaves keeps what others lack.
    fn may_finish(&self, view: &View<'_>, joint: &Joint) -> bool {
        let fence = view.document.fence();
        let is_done = |member: Ordinal| {
            let progress = view.reports.progress(member, fence);
            progress.is_some_and(|progress| {
                progress.is_complete() || mutants::is(Mutant::FinishWithoutCompleteness)
            })
        };
        let next = joint.next.members.iter().map(|member| member.ordinal);
        let others: Vec<Ordinal> = next.filter(|&member| !is_done(member)).collect();
        let are_down = others.iter().all(|member| !view.alive.contains(member));
        let waits_for_hints = view.now.saturating_sub(self.fence.at) < self.join_timeout;
        let has_handed_over = |member: Ordinal| match view.reports.hints(member, fence) {
            // Anti-entropy repairs what is not handed over in time.
            Some(hints) => hints == 0 || !waits_for_hints,
            None => false,
        };
        let members = view.document.current.members.iter().map(|member| member.ordinal);
        let mut leavers = members
            .filter(|&member| joint.next.member(member).is_none() && !joint.lost.contains(&member));
        // Those that are complete and have died since would be a majority that decides nothing.
        let can_go_on = !view.document.phase.ends_with_live_majorities()
            || view.has_live_majorities(view.document);
        can_go_on
            && are_down
            && others.len() <= may_miss(joint.next.copies())
            && leavers.all(has_handed_over)
    }
}

/// Those of `now` since when they were first seen, and no others.
fn keep_since<K: Ord + Copy>(since: &mut BTreeMap<K, Duration>, at: Duration, now: &BTreeSet<K>) {
    since.retain(|key, _| now.contains(key));
    for &key in now {
        since.entry(key).or_insert(at);
    }
}

/// How many of the council that are up go before this one; none where it is not of the council.
fn rank(view: &View<'_>) -> Option<u32> {
    let council = &view.document.council;
    if !council.contains(&view.own) {
        return None;
    }
    let first = council.iter().filter(|&&member| member < view.own && view.alive.contains(&member));
    u32::try_from(first.count()).ok()
}

fn step_of(change: &Change) -> Step {
    match change {
        Change::Begin { .. } => Step::Begin,
        Change::Finish { .. } => Step::Finish,
        Change::Cancel { .. } => Step::Cancel,
        Change::Enqueue(_) | Change::Drop { .. } => Step::Drop,
    }
}

/// The change that begins what waits in `document`: the first choice that can begin.
fn begin(view: &View<'_>, document: &Document) -> Option<Change> {
    let stored = view.smallest_stored();
    choices(view, document).into_iter().find_map(|operations| {
        let change = Change::Begin { operations, stored };
        let after = change.successor(document)?;
        let may_begin = view.has_live_majorities(&after)
            && view.too_far_behind(&after).is_none()
            && !view.cannot_end(&after);
        may_begin.then_some(change)
    })
}

/// What of that which waits, and whose newcomers are reached, may begin together, the best first: what
/// replaces dead members alone, together or one by one; else all; else what replaces none, which does
/// not wait for a removal that cannot begin. Each once: the sets of a removal cost some milliseconds.
fn choices(view: &View<'_>, document: &Document) -> Vec<Vec<ChangeId>> {
    let is_ready = |kind| newcomer(kind).is_none_or(|n| view.linked.contains(&n.node_id));
    let (mut urgent, mut others) = (Vec::new(), Vec::new());
    for operation in waiting(document).filter(|operation| is_ready(&operation.kind)) {
        let is_urgent = lost_member(&operation.kind).is_some();
        if is_urgent { &mut urgent } else { &mut others }.push(operation.id);
    }
    let mut choices = Vec::from([urgent.clone()]);
    if urgent.len() > 1 {
        choices.extend(urgent.iter().map(|&id| Vec::from([id])));
    }
    if !urgent.is_empty() && !others.is_empty() {
        choices.push([&urgent[..], &others].concat());
    }
    choices.push(others);
    choices.retain(|operations| !operations.is_empty());
    choices
}

/// Whether something waits that replaces a dead member, and could begin if the change under way were
/// cancelled.
fn is_overtaken(view: &View<'_>) -> bool {
    let urgent = || waiting(view.document).filter(|o| lost_member(&o.kind).is_some());
    if urgent().next().is_none() {
        return false;
    }
    let cancel = Change::Cancel { fence: view.document.fence, fate: Fate::Overtaken };
    let cancelled = cancel.successor(view.document);
    let Some(Change::Begin { operations, stored }) =
        cancelled.as_ref().and_then(|cancelled| begin(view, cancelled))
    else {
        return false;
    };
    // One that leaves nothing to do overtakes nobody.
    let after = cancelled.and_then(|c| Change::Begin { operations, stored }.successor(&c));
    let begins = |id| {
        let joint = after.as_ref().filter(|after| after.joint().is_some());
        joint
            .and_then(|after| after.operation(id))
            .is_some_and(|o| o.state == paravon_model::OperationState::Running)
    };
    urgent().any(|operation| begins(operation.id))
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
