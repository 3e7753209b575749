//! The rules of sections 8 and 9 that can be broken on purpose, each with the smallest world that
//! shows it and the promise that must be found broken. A few break none: see `worlds`.

use crate::properties::Promise::{
    self, AckNotLost, ConvergesAfterHeal, FloorSafe, FullIsClosed, MarksRise, NoResurrection,
    ReadSeesAcked,
};
use crate::world::World;

/// A rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A replica is full though one member was not pulled.
    FullWithMemberNotPulled,
    /// Pulls count for `full` before every member is known to be closed.
    FullBeforeAllClosed,
    /// A pull counts for `full` that began before every member was closed and ends after.
    PullBegunEarlierCounts,
    /// A pull for `full` leaves out what lies above `closed`.
    PullsOnlyBelowClosed,
    /// The floor rises to the replica's own `full`.
    FloorAtOwnFull,
    /// A peer's floor is taken over above the replica's own `full`.
    FloorAboveOwnFull,
    /// `closed` and `full` are in memory.
    MarksLostByRestart,
    /// A hint at or below `closed` is stored.
    HintBelowClosed,
    /// `closed` is told while a store admitted below it may land.
    ClosedToldBeforeStoresEnd,
    /// A sole member is full while a store admitted below `closed` may land.
    FullBeforeOwnStoresEnd,
    /// Marks told under another fence are believed.
    MarksAcrossFences,
    /// A pull answered under one fence lands under the next.
    PullAcrossFences,
    /// Members pulled under one fence count under the next. Harmless: the text is only careful.
    PulledAcrossFences,
    /// While joint, only the members of `next` are waited for.
    OldSetNotWaitedFor,
    /// A node new to a set keeps what an older layout left, though its marks go.
    NewcomerNotEmptied,
    /// A node new to a set is emptied, and keeps its `full` and floor.
    NewcomerKeepsMarks,
    /// A node that a second joint document makes new is not emptied again.
    EmptiedOnce,
    /// A node empties by the newest document alone, whatever those said that it missed.
    MissedDocumentsForgotten,
    /// A node empties before the document that says so is durable.
    EmptiedBeforeDurable,
    /// A replica admits before "stored" is durable, and empties again after a restart.
    AdmitsBeforeStored,
    /// A newcomer takes its `closed` from a member's `full`.
    FullTakenForClosed,
    /// A newcomer takes `closed` from a member that waits for one itself.
    ClosedFromWaiting,
    /// A newcomer takes over a member's `full` with its `closed`.
    NewcomerTakesFull,
    /// A newcomer takes over a member's floor with its `closed`.
    NewcomerTakesFloor,
    /// A newcomer stores and tells marks before it has taken a `closed`.
    StoresBeforeTakingClosed,
    /// A newer `closed` is followed before the replica is full. Harmless.
    FollowsAtAnyTime,
    /// `closed` is raised where the replica is full, before its floor is there. Harmless alone; with
    /// the one above, a slow replica would never be full.
    RaisesWhenFull,
    /// A refused write-back counts as held.
    RefusalCountsAsHeld,
    /// A replica takes a write-back at or below its `full`.
    WriteBackBelowFull,
    /// A write-back of an older fence is taken.
    WriteBackAcrossFences,
    /// A read answers without writing back.
    NoWriteBack,
    /// A read answers from one replica.
    OneAnswerIsEnough,
    /// `joint` ends though no member of `next` is complete.
    FinishWithoutCompleteness,
    /// A newcomer takes `closed` only when every other member has one.
    NewcomersWaitForEachOther,
    /// The largest version wins, whatever an absence at a floor says.
    AbsenceCoversNothing,
}

/// Every mutant but the harmless ones, with the promise that it breaks in this world.
pub(crate) fn table() -> Vec<(Mutant, Promise, World)> {
    let stay = |writes| World::new("ABC", writes);
    let closed = |writes| stay(writes).acknowledged(1).closed(2).holding("A", 2);
    let grow = || World::new("A A-AB AB", "pd");
    let again = || World::new("A A-AB A A-AB AB", "pd");
    let back = || World::new("AB AB-A A A-AB AB", "pd");
    let three_and_back = || World::new("ABC ABC-AB AB AB-ABC ABC", "pd");
    let swap = || World::new("AB AB-AC AC AC-AB AB", "pd");
    vec![
        (Mutant::FullWithMemberNotPulled, ConvergesAfterHeal, closed("pd")),
        (Mutant::FullBeforeAllClosed, FullIsClosed, stay("pd")),
        (Mutant::PullBegunEarlierCounts, ConvergesAfterHeal, stay("pd")),
        (Mutant::PullsOnlyBelowClosed, FloorSafe, closed("pdp")),
        (Mutant::FloorAtOwnFull, ConvergesAfterHeal, closed("pd")),
        (Mutant::FloorAboveOwnFull, FloorSafe, grow()),
        (Mutant::MarksLostByRestart, FullIsClosed, World::new("AB", "pd").restarts(1)),
        (Mutant::HintBelowClosed, ConvergesAfterHeal, grow()),
        (
            Mutant::ClosedToldBeforeStoresEnd,
            ConvergesAfterHeal,
            World::new("AB", "pd").slow_stores(),
        ),
        (Mutant::FullBeforeOwnStoresEnd, ConvergesAfterHeal, grow().slow_stores()),
        (Mutant::MarksAcrossFences, FullIsClosed, back()),
        (Mutant::PullAcrossFences, ConvergesAfterHeal, back()),
        (Mutant::OldSetNotWaitedFor, FullIsClosed, swap()),
        (Mutant::NewcomerNotEmptied, ConvergesAfterHeal, grow().holding("B", 1)),
        (Mutant::NewcomerKeepsMarks, ConvergesAfterHeal, back()),
        (Mutant::EmptiedOnce, ConvergesAfterHeal, again()),
        (
            Mutant::MissedDocumentsForgotten,
            ConvergesAfterHeal,
            three_and_back().acknowledged(1).closed(2).holding("A", 2),
        ),
        (Mutant::EmptiedBeforeDurable, FullIsClosed, back().slow_storing().restarts(1)),
        (Mutant::AdmitsBeforeStored, ConvergesAfterHeal, grow().slow_storing().restarts(1)),
        (Mutant::FullTakenForClosed, FullIsClosed, swap()),
        (Mutant::ClosedFromWaiting, FullIsClosed, World::new("A A-ABC ABC", "pd")),
        (Mutant::NewcomerTakesFull, ConvergesAfterHeal, grow()),
        (Mutant::NewcomerTakesFloor, ConvergesAfterHeal, grow()),
        (Mutant::StoresBeforeTakingClosed, FullIsClosed, grow()),
        (
            Mutant::RefusalCountsAsHeld,
            NoResurrection,
            World::new("ABC ABC-AB AB", "pd")
                .acknowledged(1)
                .closed(2)
                .holding("AC", 2)
                .reads(1)
                .slow_pulls(0)
                .claiming_when_complete(),
        ),
        (Mutant::WriteBackBelowFull, ConvergesAfterHeal, closed("pd").reads(1)),
        (Mutant::WriteBackAcrossFences, NoResurrection, back().reads(1)),
        (Mutant::NoWriteBack, ReadSeesAcked, stay("pd").reads(2)),
        (Mutant::OneAnswerIsEnough, ReadSeesAcked, stay("pd").reads(1)),
        (Mutant::FinishWithoutCompleteness, AckNotLost, World::new("ABC ABC-ADE ADE", "pd")),
        (Mutant::NewcomersWaitForEachOther, MarksRise, World::new("A A-ABC ABC", "pd")),
        (Mutant::AbsenceCoversNothing, NoResurrection, closed("pd").reads(2)),
    ]
}
