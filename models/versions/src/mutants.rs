//! The rules of sections 2 to 6 that can be broken on purpose, each with a small world that shows
//! it and the promise that must be found broken.

use crate::properties::Promise::{
    self, AckIsLatest, AckNotLost, HintNotLost, ReadSeesAcked, ReadsMonotonic, RefusedIsTrue,
    WritesEnd,
};
use crate::world::{Claim, World};

/// A rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// `superseded` counts as an acknowledgement of the first stamp: plain last-writer-wins.
    FirstSupersededCounts,
    /// A replica acknowledges what it has only in memory.
    AckBeforeDurable,
    /// `superseded` is answered from memory.
    SupersededBeforeDurable,
    /// A read is answered from memory.
    ReadBeforeDurable,
    /// A write-back is confirmed from memory.
    WriteBackBeforeDurable,
    /// A read answers without writing back.
    NoWriteBack,
    /// "Absent" is answered from fewer than R replicas.
    AbsentBelowQuorum,
    /// Acknowledgements of the first stamp go on counting after the second.
    LateAcknowledgementCounts,
    /// Any answer to the first stamp counts for the second.
    LateAnswerCounts,
    /// The second stamp is taken on the first `superseded`.
    RestampAtOnce,
    /// The second stamp waits for a majority, also at lower levels.
    RestampNeedsMajority,
    /// The second stamp is taken from the own clock, not past the answers.
    RestampFromOwnClock,
    /// The second stamp is taken after the client was answered.
    RestampAfterAnswer,
    /// A refusal is an answer when a second stamp is waited for.
    ErrorIsAnswer,
    /// Two messages of one replica count twice.
    MessagesCount,
    /// A hint counts towards W.
    HintCounts,
    /// The answer to a replayed hint removes whatever the slot holds now.
    HintRemovedByKey,
    /// A hint is removed when it is sent.
    HintDroppedWhenSent,
    /// Half of the replicas pass for a majority.
    HalfIsMajority,
    /// `refused` is answered although a copy was sent again.
    RefusedAfterResending,
    /// `refused` is answered although a hint is kept.
    RefusedDespiteHint,
}

/// Every mutant, with the promise that it breaks in this world.
pub(crate) fn table() -> Vec<(Mutant, Promise, World)> {
    let two = || World::new(3, &[2, 2], &[]);
    let three = || World::new(3, &[2, 2, 2], &[]);
    vec![
        (Mutant::FirstSupersededCounts, AckIsLatest, two()),
        (Mutant::AckBeforeDurable, AckNotLost, two().crashing(1)),
        (Mutant::SupersededBeforeDurable, AckNotLost, three().crashing(1)),
        (Mutant::ReadBeforeDurable, ReadsMonotonic, World::new(3, &[2], &[2, 2]).crashing(1)),
        (Mutant::WriteBackBeforeDurable, ReadsMonotonic, World::new(3, &[2], &[2, 2]).crashing(1)),
        (Mutant::NoWriteBack, ReadsMonotonic, World::new(3, &[2], &[2, 2])),
        (Mutant::AbsentBelowQuorum, ReadSeesAcked, World::new(3, &[2], &[2])),
        (Mutant::LateAcknowledgementCounts, AckNotLost, two()),
        (Mutant::LateAnswerCounts, AckNotLost, two()),
        (Mutant::RestampAtOnce, AckIsLatest, three()),
        (
            Mutant::RestampNeedsMajority,
            WritesEnd,
            World::new(3, &[2, 1], &[]).claiming(Claim::WritesEnd),
        ),
        (Mutant::RestampFromOwnClock, AckIsLatest, three()),
        (Mutant::RestampAfterAnswer, AckIsLatest, two()),
        (Mutant::ErrorIsAnswer, AckIsLatest, three().refusing(1)),
        (Mutant::MessagesCount, AckNotLost, two()),
        (Mutant::HintCounts, AckNotLost, World::new(3, &[2], &[]).hinting()),
        (Mutant::HintRemovedByKey, HintNotLost, World::new(3, &[2, 2], &[]).hinting()),
        (Mutant::HintDroppedWhenSent, HintNotLost, World::new(3, &[2], &[]).hinting()),
        (Mutant::HalfIsMajority, AckNotLost, World::new(2, &[2, 2], &[])),
        (Mutant::RefusedAfterResending, RefusedIsTrue, World::new(3, &[2], &[]).refusing(3)),
        (
            Mutant::RefusedDespiteHint,
            RefusedIsTrue,
            World::new(3, &[2], &[]).one_copy().refusing(3),
        ),
    ]
}
