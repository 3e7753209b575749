//! One file per promise, named as in `docs/semantics.md`. An invariant judges facts; it changes
//! nothing, and it never looks into a machine.

mod ack_after_store;
mod ack_is_latest;
mod ack_not_lost;
mod bounded_queues;
mod comes_to_rest;
mod converges_after_heal;
mod deadlines_kept;
mod disk_not_older;
mod epoch_fence;
mod floor_safe;
mod hint_not_lost;
mod hint_order;
mod layout_agrees;
mod no_resurrection;
mod no_silent_rot;
mod no_stranger;
mod nothing_invented;
mod read_sees_acked;
mod reads_monotonic;
mod refused_is_true;
mod version_monotonic;
mod version_unique;

pub(crate) use ack_after_store::AckAfterStore;
pub(crate) use ack_is_latest::AckIsLatest;
pub(crate) use ack_not_lost::AckNotLost;
pub(crate) use bounded_queues::BoundedQueues;
pub(crate) use comes_to_rest::ComesToRest;
pub(crate) use converges_after_heal::ConvergesAfterHeal;
pub(crate) use deadlines_kept::DeadlinesKept;
pub(crate) use disk_not_older::DiskNotOlder;
pub(crate) use epoch_fence::EpochFence;
pub(crate) use floor_safe::FloorSafe;
pub(crate) use hint_not_lost::HintNotLost;
pub(crate) use hint_order::HintOrder;
pub(crate) use layout_agrees::LayoutAgrees;
pub(crate) use no_resurrection::NoResurrection;
pub(crate) use no_silent_rot::NoSilentRot;
pub(crate) use no_stranger::NoStranger;
pub(crate) use nothing_invented::NothingInvented;
pub(crate) use read_sees_acked::ReadSeesAcked;
pub(crate) use reads_monotonic::ReadsMonotonic;
pub(crate) use refused_is_true::RefusedIsTrue;
pub(crate) use version_monotonic::VersionMonotonic;
pub(crate) use version_unique::VersionUnique;

use crate::fact::Fact;
use crate::view::View;

/// A promise.
pub(crate) trait Invariant {
    /// Its name in `docs/semantics.md`, or one of its kind.
    const NAME: &'static str;

    /// Judges a fact by what is known before it.
    ///
    /// # Errors
    /// What broke the promise.
    fn observe(&mut self, fact: &Fact, view: &View) -> Result<(), String>;
}
