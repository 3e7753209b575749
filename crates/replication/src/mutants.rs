//! The rules that can be broken on purpose, one at a time, to see that the simulator's checkers notice.
//!
//! Without the feature `mutants` nothing can be broken: [`is`] is a constant. **Never** built into the
//! product.

/// A rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A store is acknowledged when it is queued (`ACK_AFTER_STORE`).
    AckBeforeSync = 1,
    /// Two messages of one replica count as two acknowledgements.
    CountMessages,
    /// `superseded` counts as an acknowledgement of the first stamp (`ACK_IS_LATEST`).
    FirstSupersededCounts,
    /// Half of the replicas pass for a majority.
    QuorumOffByOne,
    /// Stamps are given below a ceiling that is only wanted (`VERSION_UNIQUE`).
    CeilingNotPersisted,
    /// At equal times the record that came first stays. Broken where records are merged.
    TiesByArrival,
    /// Read repair stamps what it writes back anew.
    RepairWithFreshVersion,
    /// A hint is removed when it is sent (`HINT_NOT_LOST`).
    HintDroppedBeforeAck,
    /// A replica stores a hint above whatever it holds (`HINT_ORDER`).
    HintReplayedOverNewer,
    /// The first replica that lacks the key makes the answer "absent".
    AbsentBelowQuorum,
    /// A request of an older layout is served (`EPOCH_FENCE`).
    OlderFenceAccepted,
    /// A batch of the log is believed without its checksum. Broken in storage.
    LogChecksumNotVerified,
    /// A read answers without writing back (`READS_MONOTONIC`).
    NoReadRepair,
    /// A refusal counts as an answer before a second stamp (`ACK_IS_LATEST`).
    ErrorIsAnswer,
    /// While two sets are in force a read writes back to the current one only (`READS_MONOTONIC`).
    JointReadBackToOneSet,
    /// Answers from before a change of fence still count (`EPOCH_FENCE`).
    OlderAnswersCounted,
    /// Requests are admitted under a document that the node has not stored (`EPOCH_FENCE`).
    AdmitsBeforeStored,
    /// A pull is answered by a node that has not stored the layout yet (`EPOCH_FENCE`).
    PullBeforeSettled,
    /// What was merged under one fence counts under another.
    MergedAcrossFences,
    /// A member of both sets counts as complete at once.
    RetainedNotLevelled,
    /// What a node holds of a partition that it is new to stays (`NO_RESURRECTION`).
    NewNotEmptied,
    /// A change of layout ends although members lack what was acknowledged before (`ACK_NOT_LOST`).
    FinishWithoutCompleteness,
    /// A node that leaves is silent before those who decide by then know that (`LAYOUT_AGREES`).
    LeavesEarly,
    /// While `joint` members of both layouts decide (`LAYOUT_AGREES`).
    AcceptorsOfBothSets,
    /// A rescue counts copies that are lost for good, as any other change does.
    RescueCountsTheLost,
    /// What differs is listed after one comparison (`CONVERGES_AFTER_HEAL`).
    ListedAtFirstSight,
    /// Replicas count as agreed although their totals differ: a dirty partition is called clean
    /// (`HINT_NOT_LOST`).
    AgreedThoughDifferent,
    /// What is expected to differ, and does by just that, counts as agreed (`HINT_NOT_LOST`).
    ExpectedIsEqual,
    /// What a replica holds of a damaged key counts in quorums (`NO_SILENT_ROT`).
    DamageCounts,
    /// A damaged key is healed while what the replica acknowledged before may count (`NO_SILENT_ROT`).
    HealedEarly,
    /// A damaged replica is pulled from, and compared with (`NO_SILENT_ROT`).
    DamagePulledFrom,
    /// A replica is full although one member was not pulled (`FLOOR_SAFE`).
    FullWithoutMember,
    /// A replica is full before all members are known to be closed (`FLOOR_SAFE`).
    FullBeforeAllClosed,
    /// The floor rises to the replica's own `full` (`FLOOR_SAFE`).
    FloorAtOwnFull,
    /// A hint at or below `closed` is stored (`NO_RESURRECTION`).
    HintBelowClosed,
    /// `closed` is told before the stores that were admitted below it have ended (`FLOOR_SAFE`).
    ClosedToldEarly,
    /// What lies above `closed` is not pulled on the way to being full (`NO_RESURRECTION`).
    PullsOnlyBelowClosed,
    /// Marks that were told under one fence are believed under another (`EPOCH_FENCE`).
    MarksAcrossFences,
    /// A write-back that a replica refused counts as held there, and nobody looks at the floors that come
    /// with answers: those alone would save the read (`NO_RESURRECTION`).
    RefusedCountsAsHeld,
    /// A write-back is stored where the replica holds all that there is (`FLOOR_SAFE`).
    WriteBackBelowFull,
    /// A process begins without the marks that its disk holds (`FLOOR_SAFE`).
    MarksLostByRestart,
    /// While two sets are in force, only the members of the next one are waited for (`FLOOR_SAFE`).
    OldSetNotWaitedFor,
    /// A replica that cannot read a key calls itself full, and raises its floor (`FLOOR_SAFE`).
    DamagedMovesMarks,
}

impl Mutant {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 43] = [
        ("ack-before-sync", Self::AckBeforeSync),
        ("count-messages", Self::CountMessages),
        ("first-superseded-counts", Self::FirstSupersededCounts),
        ("quorum-off-by-one", Self::QuorumOffByOne),
        ("ceiling-not-persisted", Self::CeilingNotPersisted),
        ("ties-by-arrival", Self::TiesByArrival),
        ("repair-with-fresh-version", Self::RepairWithFreshVersion),
        ("hint-dropped-before-ack", Self::HintDroppedBeforeAck),
        ("hint-replayed-over-newer", Self::HintReplayedOverNewer),
        ("absent-below-quorum", Self::AbsentBelowQuorum),
        ("older-fence-accepted", Self::OlderFenceAccepted),
        ("log-checksum-not-verified", Self::LogChecksumNotVerified),
        ("no-read-repair", Self::NoReadRepair),
        ("error-is-answer", Self::ErrorIsAnswer),
        ("joint-read-back-to-one-set", Self::JointReadBackToOneSet),
        ("older-answers-counted", Self::OlderAnswersCounted),
        ("admits-before-stored", Self::AdmitsBeforeStored),
        ("pull-before-settled", Self::PullBeforeSettled),
        ("merged-across-fences", Self::MergedAcrossFences),
        ("retained-not-levelled", Self::RetainedNotLevelled),
        ("new-not-emptied", Self::NewNotEmptied),
        ("finish-without-completeness", Self::FinishWithoutCompleteness),
        ("leaves-early", Self::LeavesEarly),
        ("acceptors-of-both-sets", Self::AcceptorsOfBothSets),
        ("rescue-counts-the-lost", Self::RescueCountsTheLost),
        ("listed-at-first-sight", Self::ListedAtFirstSight),
        ("agreed-though-different", Self::AgreedThoughDifferent),
        ("expected-is-equal", Self::ExpectedIsEqual),
        ("damage-counts", Self::DamageCounts),
        ("healed-early", Self::HealedEarly),
        ("damage-pulled-from", Self::DamagePulledFrom),
        ("full-without-member", Self::FullWithoutMember),
        ("full-before-all-closed", Self::FullBeforeAllClosed),
        ("floor-at-own-full", Self::FloorAtOwnFull),
        ("hint-below-closed", Self::HintBelowClosed),
        ("closed-told-early", Self::ClosedToldEarly),
        ("pulls-only-below-closed", Self::PullsOnlyBelowClosed),
        ("marks-across-fences", Self::MarksAcrossFences),
        ("refused-counts-as-held", Self::RefusedCountsAsHeld),
        ("write-back-below-full", Self::WriteBackBelowFull),
        ("marks-lost-by-restart", Self::MarksLostByRestart),
        ("old-set-not-waited-for", Self::OldSetNotWaitedFor),
        ("damaged-moves-marks", Self::DamagedMovesMarks),
    ];

    /// The mutant of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|&(_, mutant)| mutant)
    }
}

#[cfg(feature = "mutants")]
mod chosen {
    use super::Mutant;
    use core::sync::atomic::{AtomicU8, Ordering};

    /// The mutant of this process; zero for none.
    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    /// Breaks this rule from now on, in the whole process; none for a product without a broken rule.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.store(mutant.map_or(0, |mutant| mutant as u8), Ordering::Relaxed);
    }

    /// Whether this rule is broken.
    #[must_use]
    pub fn is(mutant: Mutant) -> bool {
        CHOSEN.load(Ordering::Relaxed) == mutant as u8
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{choose, is};

/// Whether this rule is broken: never in a product.
#[cfg(not(feature = "mutants"))]
#[must_use]
pub const fn is(_mutant: Mutant) -> bool {
    false
}
