//! The rules of section 8 that can be broken on purpose, each with the smallest world that shows it
//! and the promise that must be found broken.

use crate::properties::Promise::{
    self, AckIsLatest, AckNotLost, NoResurrection, ReadSeesAcked, ReadsMonotonic,
};
use crate::world::{Level, Question, World};

/// A rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// `joint` ends though no member of `next` is complete.
    FinishWithoutCompleteness,
    /// Members of both sets count as complete without having merged anything.
    RetainedNotLevelled,
    /// One replica of the old set is enough to be complete.
    OneOldReplicaMerged,
    /// A majority of the old set is enough to be complete, without the replicas that leave.
    LeaverNotMerged,
    /// A leaver drops the partition once `next` is complete, before the finish is decided.
    LeaverExitsEarly,
    /// Reports of an older fence count.
    OlderReportsCount,
    /// Requests of any fence are admitted.
    NoFence,
    /// A cancel gives back the fence that was before `joint`.
    FenceReturns,
    /// A coordinator that learns a newer document keeps the answers of the older one.
    OlderAnswersCount,
    /// A pull is answered before the other has stored the joint document.
    PullBeforeStored,
    /// A node says that it has stored a document while a store of an older one may land.
    StoredBeforeStoresEnd,
    /// The same, while a deletion begun under an older one may land.
    StoredBeforeCleaningEnds,
    /// A document is used before it is durable.
    DocumentNotDurable,
    /// A replica admits before "stored" is durable, and empties again after a crash.
    AdmitsBeforeStored,
    /// What was merged under one fence counts under the next.
    CursorReused,
    /// A node new to a set keeps what an older layout left.
    NewcomerNotEmptied,
    /// Joint writes need the old set alone.
    WriteCurrentOnly,
    /// Joint writes need the next set alone.
    WriteNextOnly,
    /// Joint reads ask the old set alone.
    ReadCurrentOnly,
    /// Joint reads ask the next set alone.
    ReadNextOnly,
    /// Joint reads write back to a majority of the old set alone.
    BackToCurrentOnly,
    /// Joint reads write back to a majority of the next set alone.
    BackToNextOnly,
    /// Reads answer without writing back.
    NoWriteBack,
    /// `superseded` counts as an acknowledgement of the first stamp.
    SupersededIsAcknowledgement,
    /// The second stamp is taken on the first `superseded`.
    FirstSupersededRestamps,
}

/// Every mutant, with the promise that it breaks in this world.
pub(crate) fn table() -> Vec<(Mutant, Promise, World)> {
    let one = |operations| World::new("A", "B", operations);
    let twice = |operations| one(operations).after_cancel("B");
    let three = |operations| World::new("ABC", "BCD", operations);
    vec![
        (Mutant::FinishWithoutCompleteness, ReadSeesAcked, one("r")),
        (Mutant::RetainedNotLevelled, ReadSeesAcked, three("r")),
        (Mutant::OneOldReplicaMerged, ReadSeesAcked, three("r")),
        (Mutant::LeaverNotMerged, AckNotLost, three("w").without_seed().level(Level::One)),
        (Mutant::LeaverExitsEarly, ReadSeesAcked, one("r")),
        (Mutant::OlderReportsCount, ReadSeesAcked, twice("r")),
        (Mutant::NoFence, ReadSeesAcked, three("r")),
        (Mutant::FenceReturns, AckIsLatest, twice("wr")),
        (Mutant::OlderAnswersCount, ReadSeesAcked, three("r")),
        (Mutant::PullBeforeStored, ReadSeesAcked, one("wr")),
        (Mutant::StoredBeforeStoresEnd, AckIsLatest, one("wr").slow_stores()),
        (Mutant::StoredBeforeCleaningEnds, ReadSeesAcked, twice("r").slow_cleaning()),
        (Mutant::DocumentNotDurable, AckIsLatest, one("wr").slow_storing()),
        (Mutant::AdmitsBeforeStored, ReadSeesAcked, one("wr").slow_storing()),
        (Mutant::CursorReused, AckIsLatest, twice("wr")),
        (
            Mutant::NewcomerNotEmptied,
            NoResurrection,
            twice("wr").asking(Question::PromisesWithDelete),
        ),
        (Mutant::WriteCurrentOnly, ReadSeesAcked, one("wr")),
        (Mutant::WriteNextOnly, AckIsLatest, one("wr")),
        (Mutant::ReadCurrentOnly, ReadSeesAcked, one("wr").without_seed()),
        (Mutant::ReadNextOnly, ReadSeesAcked, one("r")),
        (Mutant::BackToCurrentOnly, ReadsMonotonic, one("wrr")),
        (Mutant::BackToNextOnly, ReadsMonotonic, one("wrr")),
        (Mutant::NoWriteBack, ReadsMonotonic, one("wrr")),
        (Mutant::SupersededIsAcknowledgement, AckIsLatest, three("w")),
        (Mutant::FirstSupersededRestamps, AckIsLatest, World::new("ABC", "AB", "ww")),
    ]
}
