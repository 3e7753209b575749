//! What came about in worlds, counted, so that one sees that they are interesting.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use paravon_model::{Document, OperationKind, OperationState, Ordinal, Version};

use crate::fact::{Code, Content, End, Fact, Verb};
use crate::view::View;

macro_rules! counters {
    ($($field:ident),* $(,)?) => {
        /// Counters, by name.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats { $(
            #[doc = concat!("Counts `", stringify!($field), "`.")]
            pub $field: u64
        ),* }

        impl Stats {
            /// Adds the counters of another world.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            /// Every counter with its name.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field)),*]
            }
        }
    };
}

counters! {
    worlds, events, simulated_ms, disk_worlds,
    operations, puts, deletes, gets,
    written, found, absent, refused, unknown, retries, remembered,
    refused_quorum_unavailable, refused_clock_skew, refused_overloaded, refused_not_serving,
    timed_out,
    stamps, restamps, superseded, repairs, ties,
    hints_kept, hints_replayed, hints_dropped,
    crashes, torn_crashes, starts, pauses, splits, one_ways, clogs, resets, jumps, stalls,
    messages, lost, doubled, voided,
    links, unlinks, deaths, returns, holds,
    layouts, joint_layouts, layouts_stored, fence_refusals, strangers_refused,
    rescues, stray_rescues, bereft, cleared,
    wishes, killed, lost_disks, pulls, forgotten,
    dirty, clean_again, rotted, files_lost, hurt, healed,
    losses_accepted, losses_taken, keys_set_back,
    closes, fulls, floors_raised, dropped, below_floor, hints_below_closed, write_backs_refused,
    marks_restored, partitions_emptied,
    joined, drained, removed, replaced, factors_set, cancelled,
}

impl Stats {
    /// Counts a fact.
    pub(crate) fn count(&mut self, fact: &Fact) {
        use crate::faults::Fault;
        let counter = match *fact {
            Fact::Faulty { fault } => match fault {
                Fault::Crash { .. } | Fault::CrashAll { .. } => return,
                Fault::Pause { .. } => &mut self.pauses,
                Fault::Split { .. } => &mut self.splits,
                Fault::OneWay { .. } => &mut self.one_ways,
                Fault::Clog { .. } => &mut self.clogs,
                Fault::Reset { .. } => &mut self.resets,
                Fault::Jump { .. } => &mut self.jumps,
                Fault::Stall { .. } => &mut self.stalls,
                Fault::Wipe { .. }
                | Fault::Copy { .. }
                | Fault::PutBack { .. }
                | Fault::Rot { .. }
                | Fault::LoseFile { .. }
                | Fault::RotToo { .. }
                | Fault::LoseFileToo { .. }
                | Fault::Delay { .. }
                | Fault::Deaf { .. } => return,
            },
            Fact::Started { .. } => &mut self.starts,
            Fact::Crashed { torn, .. } => {
                self.torn_crashes += u64::from(torn);
                &mut self.crashes
            }
            Fact::Linked { .. } => &mut self.links,
            Fact::Unlinked { .. } => &mut self.unlinks,
            Fact::HelloRefused { .. } => &mut self.strangers_refused,
            Fact::LayoutUsed { next, .. } => {
                self.joint_layouts += u64::from(next != 0);
                &mut self.layouts
            }
            Fact::LayoutStored { .. } => &mut self.layouts_stored,
            Fact::Asked { .. } => &mut self.wishes,
            Fact::Killed { .. } => &mut self.killed,
            Fact::DiskLost { .. } => &mut self.lost_disks,
            Fact::Rescued { is_stray: false, .. } => &mut self.rescues,
            Fact::Rescued { is_stray: true, .. } => &mut self.stray_rescues,
            Fact::Bereft { .. } => &mut self.bereft,
            Fact::DiskCleared { .. } => &mut self.cleared,
            Fact::Forgotten { .. } => &mut self.forgotten,
            Fact::Believed { alive: true, .. } => &mut self.returns,
            Fact::Believed { alive: false, .. } => &mut self.deaths,
            Fact::Permitted { held: true, .. } => &mut self.holds,
            Fact::FenceRefused { .. } => &mut self.fence_refusals,
            Fact::Began { verb, .. } => return self.count_begin(verb),
            Fact::Ended { end, .. } => return self.count_end(end),
            Fact::Superseding { .. } => &mut self.superseded,
            Fact::Spread { hint: true, .. } => &mut self.hints_replayed,
            Fact::Spread { hint: false, .. } => &mut self.repairs,
            Fact::HintMarked { .. } => &mut self.dirty,
            Fact::HintCleaned { .. } => &mut self.clean_again,
            Fact::Marked { emptied: true, .. } => &mut self.partitions_emptied,
            Fact::MarksRestored { .. } => &mut self.marks_restored,
            Fact::BelowFloor { hint: true, .. } => &mut self.hints_below_closed,
            Fact::BelowFloor { hint: false, .. } => &mut self.below_floor,
            Fact::WriteBackRefused { .. } => &mut self.write_backs_refused,
            Fact::Dropped { .. } => &mut self.dropped,
            Fact::Rotted { .. } => &mut self.rotted,
            Fact::FileLost { .. } => &mut self.files_lost,
            Fact::Hurt { .. } => &mut self.hurt,
            Fact::Healed { .. } => &mut self.healed,
            Fact::LossAccepted { .. } => &mut self.losses_accepted,
            Fact::LossTaken { .. } => &mut self.losses_taken,
            Fact::HintKept { .. } => &mut self.hints_kept,
            Fact::HintDropped { .. } => &mut self.hints_dropped,
            _ => return,
        };
        *counter += 1;
    }

    /// Counts what only the history tells of a fact.
    pub(crate) fn count_change(&mut self, fact: &Fact, view: &View) {
        if let Fact::Marked { node, partition, floor, full, closed, emptied: false } = *fact {
            let before = view.marks(node, partition);
            self.floors_raised += u64::from(floor > before.0);
            self.fulls += u64::from(full > before.1);
            self.closes += u64::from(closed > before.2);
        }
        if let Fact::LossTaken { key, left, .. } = *fact {
            self.keys_set_back += u64::from(left < view.acked(key));
        }
        let Fact::Stamped { version, content, .. } = *fact else { return };
        self.stamps += 1;
        if let Content::Of(number) = content
            && view.operation(number).is_some_and(|operation| operation.stamps > 0)
        {
            self.restamps += 1;
        }
        let at = |ordinal| Version { hlc: version.hlc, ordinal: Ordinal(ordinal) };
        if view.stamps.range(at(0)..=at(u32::MAX)).any(|(other, _)| *other != version) {
            self.ties += 1;
        }
    }

    /// Counts what became of everything that the operator asked for, by all documents of a world.
    pub(crate) fn count_operations<'a>(
        &mut self,
        documents: impl Iterator<Item = &'a Arc<Document>>,
    ) {
        let ended: BTreeMap<_, _> = documents
            .flat_map(|document| &document.operations)
            .filter(|operation| {
                matches!(operation.state, OperationState::Done | OperationState::Cancelled)
            })
            .map(|operation| (operation.id, operation))
            .collect();
        for operation in ended.into_values() {
            *match (operation.state, &operation.kind) {
                (OperationState::Cancelled, _) => &mut self.cancelled,
                (_, OperationKind::Join(_)) => &mut self.joined,
                (_, OperationKind::Drain { .. }) => &mut self.drained,
                (_, OperationKind::Remove { .. }) => &mut self.removed,
                (_, OperationKind::Replace { .. }) => &mut self.replaced,
                (_, OperationKind::SetReplication { .. }) => &mut self.factors_set,
            } += 1;
        }
    }

    fn count_begin(&mut self, verb: Verb) {
        self.operations += 1;
        match verb {
            Verb::Put => self.puts += 1,
            Verb::Delete => self.deletes += 1,
            Verb::Get => self.gets += 1,
        }
    }

    fn count_end(&mut self, end: End) {
        let code = match end {
            End::Written { .. } => return self.written += 1,
            End::Found { .. } => return self.found += 1,
            End::Absent => return self.absent += 1,
            End::Refused { code } => {
                self.refused += 1;
                code
            }
            End::Unknown { code } => {
                self.unknown += 1;
                code
            }
        };
        match code {
            Code::QuorumUnavailable => self.refused_quorum_unavailable += 1,
            Code::ClockSkew => self.refused_clock_skew += 1,
            Code::Overloaded => self.refused_overloaded += 1,
            Code::NotServing => self.refused_not_serving += 1,
            Code::QuorumTimeout => self.timed_out += 1,
            Code::TooManyReplicas | Code::Other => {}
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.entries() {
            writeln!(f, "{name:>28} {count}")?;
        }
        Ok(())
    }
}
