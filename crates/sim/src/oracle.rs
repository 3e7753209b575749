//! Judges every fact by every invariant and remembers the first violation.

use std::fmt;

use crate::fact::Fact;
use crate::invariants::{
    AckAfterStore, AckIsLatest, AckNotLost, BoundedQueues, ComesToRest, ConvergesAfterHeal,
    DeadlinesKept, DiskNotOlder, EpochFence, FloorSafe, HintNotLost, HintOrder, Invariant,
    LayoutAgrees, NoResurrection, NoSilentRot, NoStranger, NothingInvented, ReadSeesAcked,
    ReadsMonotonic, RefusedIsTrue, VersionMonotonic, VersionUnique,
};
use crate::queue::{MICROSECOND, Nanos};
use crate::view::View;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise's name.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
    /// When, in microseconds since the beginning of the world.
    pub at_us: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} violated at {} us: {}", self.invariant, self.at_us, self.what)
    }
}

/// The judge.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) view: View,
    pub(crate) violation: Option<Violation>,
    invariants: Invariants,
}

macro_rules! invariants {
    ($($field:ident: $invariant:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        struct Invariants { $($field: $invariant),* }

        impl Invariants {
            fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), (&'static str, String)> {
                $(self.$field.observe(fact, view).map_err(|what| ($invariant::NAME, what))?;)*
                Ok(())
            }
        }
    };
}

invariants! {
    ack_after_store: AckAfterStore,
    ack_not_lost: AckNotLost,
    ack_is_latest: AckIsLatest,
    no_resurrection: NoResurrection,
    read_sees_acked: ReadSeesAcked,
    reads_monotonic: ReadsMonotonic,
    version_monotonic: VersionMonotonic,
    version_unique: VersionUnique,
    hint_not_lost: HintNotLost,
    hint_order: HintOrder,
    converges_after_heal: ConvergesAfterHeal,
    epoch_fence: EpochFence,
    layout_agrees: LayoutAgrees,
    disk_not_older: DiskNotOlder,
    no_silent_rot: NoSilentRot,
    floor_safe: FloorSafe,
    no_stranger: NoStranger,
    bounded_queues: BoundedQueues,
    deadlines_kept: DeadlinesKept,
    nothing_invented: NothingInvented,
    refused_is_true: RefusedIsTrue,
    comes_to_rest: ComesToRest,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Self { view: View::new(), violation: None, invariants: Invariants::default() }
    }

    /// Judges a fact and takes it in.
    pub(crate) fn observe(&mut self, at: Nanos, fact: &Fact) {
        if self.violation.is_none()
            && let Err((invariant, what)) = self.invariants.observe(fact, &self.view)
        {
            self.violation = Some(Violation { invariant, what, at_us: at / MICROSECOND });
        }
        self.view.apply(fact);
    }
}
