//! The rules of section 9 that can be broken on purpose, each with a small world that shows it and
//! the promise that must be found broken.

use crate::properties::Promise::{
    self, AckIsLatest, AckNotLost, ConvergesAfterHeal, FloorSafe, MarksRise, NoResurrection,
    ReadSeesAcked, ReadsEnd, ReadsMonotonic, WritesEnd,
};
use crate::world::{Clocks, Extent, World, delete, put};

/// A rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// `full` is raised although one member was not pulled.
    OneMemberNotPulled,
    /// Pulls count before every member is known to be closed.
    PullsBeforeAllClosed,
    /// A scan counts if every member is closed when it ends.
    ScanBegunEarly,
    /// A scan begun for a lower mark counts for a higher one.
    ScanOutlivesMark,
    /// What was pulled for a lower mark counts for a higher one.
    PulledCountsAgain,
    /// Pulls wait until every member is closed at the own `closed`, not higher.
    PullsAtEqualClosed,
    /// A pull that counts brings only what is at or below `closed`.
    PullsUpToClosed,
    /// A pull stores also what is at or below `full`.
    EntersBelowFull,
    /// A late store or a hint is admitted at or below `closed`.
    StoresBelowClosed,
    /// `closed` is told while a store that was admitted before may become durable.
    ClosedBeforeStoresEnd,
    /// `closed` is raised to what is younger than the longest request deadline.
    ClosesYoungStamps,
    /// `closed` and `full` are lost by a restart.
    MarksInMemory,
    /// The floor is the own `full`.
    FloorAtOwnFull,
    /// A read's answers carry no floor.
    AnswersWithoutFloor,
    /// A refused write-back fails the read.
    RefusalFailsRead,
    /// A refused write-back counts as held, and answers carry no floor: the floors alone would save
    /// the read.
    RefusalCountsAsHeld,
    /// A write-back is taken at or below `full`.
    WriteBackBelowFull,
    /// A read answers without writing back.
    NoWriteBack,
    /// A damaged replica answers, for reads, stores, pulls and healings.
    DamagedAnswers,
    /// A damaged replica is pulled from.
    DamagedIsPulled,
    /// A damaged replica moves its marks and claims its floor.
    DamagedMovesMarks,
    /// A damaged replica moves its marks by what it pulled before, and its healing does not judge
    /// what it stored since: judging that would mend the marks.
    OwnRecordNotJudged,
    /// A key is healed by one other member.
    HealsByOne,
    /// A key is healed by as many members as meet every acknowledged write.
    HealsByQuorum,
    /// A healing begins before the longest request deadline after the mark.
    HealsAtOnce,
    /// A replica healed by an absence does not take its floor.
    HealsWithoutFloor,
    /// A replica that lost its marks goes on from zero.
    LostMarksAtZero,
    /// A replica that lost its marks takes `closed` from one member, and the others go on counting
    /// what they knew of it.
    ClosedFromOneMember,
    /// A replica that lost its marks takes the largest `closed`, but the others go on counting what
    /// they knew of it.
    LostMarksRemembered,
    /// `below_floor` names `closed` and hides a larger version held.
    BelowFloorNamesClosed,
    /// `below_floor` acknowledges a second stamp.
    BelowFloorAcknowledges,
    /// The second stamp is taken on one answer.
    RestampsOnOneAnswer,
    /// An expiring record goes when its version is at or below the floor.
    ExpiryByVersion,
    /// An expiring record goes when its instant is at or below the floor.
    ExpiryByInstant,
    /// An expiring record goes when its instant has passed by the clock.
    ExpiryByClock,
}

/// Every mutant, with the promise that it breaks in this world.
pub(crate) fn table() -> Vec<(Mutant, Promise, World)> {
    let mut table = of_marks();
    table.extend(of_reads_and_puts());
    table.extend(of_damage());
    table.extend(of_expiry());
    table
}

fn of_marks() -> Vec<(Mutant, Promise, World)> {
    let two = || World::new(2, &[2]).late(put(1)).late(delete(2));
    let rounds = || World::new(2, &[2, 3]).late(put(3));
    let three = || World::new(3, &[2]).held(put(1), "C").held(delete(2), "B").closed(2);
    vec![
        (Mutant::OneMemberNotPulled, ConvergesAfterHeal, two()),
        (Mutant::PullsBeforeAllClosed, ConvergesAfterHeal, two()),
        (Mutant::ScanBegunEarly, ConvergesAfterHeal, two().slow_pullers("A")),
        (Mutant::ScanOutlivesMark, ConvergesAfterHeal, rounds().slow_pullers("A")),
        (Mutant::PulledCountsAgain, ConvergesAfterHeal, rounds()),
        (Mutant::PullsAtEqualClosed, MarksRise, rounds()),
        (Mutant::PullsUpToClosed, FloorSafe, three().late(put(3))),
        (Mutant::EntersBelowFull, FloorSafe, three().slow_pullers("A")),
        (Mutant::StoresBelowClosed, ConvergesAfterHeal, two()),
        (Mutant::ClosedBeforeStoresEnd, ConvergesAfterHeal, two().slow_stores()),
        (Mutant::MarksInMemory, ConvergesAfterHeal, two().restarting("AB")),
        (Mutant::FloorAtOwnFull, ConvergesAfterHeal, three()),
    ]
}

fn of_reads_and_puts() -> Vec<(Mutant, Promise, World)> {
    let deleted = || World::new(3, &[2]).held(put(1), "A").held(delete(2), "BC").closed(2);
    let stamping = |clocks| World::new(3, &[3]).stamping(2, &[4, 6], clocks);
    vec![
        (Mutant::AnswersWithoutFloor, ReadsEnd, deleted().reads(1)),
        (Mutant::RefusalFailsRead, ReadsEnd, deleted().reads(1)),
        (Mutant::RefusalCountsAsHeld, NoResurrection, deleted().reads(1)),
        (
            Mutant::WriteBackBelowFull,
            ConvergesAfterHeal,
            World::new(3, &[2]).held(put(1), "A").held(delete(2), "B").closed(2).reads(1),
        ),
        (Mutant::NoWriteBack, ReadsMonotonic, World::new(3, &[2]).held(put(1), "A").reads(2)),
        (
            Mutant::ClosesYoungStamps,
            WritesEnd,
            World::new(3, &[5]).stamping(2, &[4], Clocks::WithinSkew).held(put(3), "A"),
        ),
        (Mutant::BelowFloorNamesClosed, AckIsLatest, stamping(Clocks::Any).held(put(5), "AB")),
        (
            Mutant::BelowFloorAcknowledges,
            AckNotLost,
            World::new(3, &[5]).stamping(2, &[4], Clocks::Any).held(put(3), "A"),
        ),
        (
            Mutant::RestampsOnOneAnswer,
            AckIsLatest,
            stamping(Clocks::Any).held(put(3), "A").held(put(5), "BC"),
        ),
    ]
}

fn of_damage() -> Vec<(Mutant, Promise, World)> {
    let damaged = || World::new(3, &[2]).damages(1);
    let one = || damaged().held(put(1), "AB");
    let deleted = || damaged().held(put(1), "A").held(delete(2), "B").closed(2);
    let lost = || damaged().late(put(1)).damaging(Extent::FileAndMarks);
    vec![
        (Mutant::DamagedAnswers, ReadSeesAcked, one().reads(1)),
        (Mutant::DamagedIsPulled, ConvergesAfterHeal, damaged().held(put(2), "A").closed(2)),
        (Mutant::DamagedMovesMarks, FloorSafe, damaged().held(put(2), "ABC").full(2)),
        (Mutant::OwnRecordNotJudged, ConvergesAfterHeal, deleted()),
        (Mutant::HealsByOne, ReadSeesAcked, one().reads(1)),
        (
            Mutant::HealsByQuorum,
            ConvergesAfterHeal,
            World::new(4, &[2]).held(put(2), "A").closed(2).damages(1),
        ),
        (Mutant::HealsAtOnce, ReadSeesAcked, damaged().late(put(1)).reads(1)),
        (Mutant::HealsWithoutFloor, ReadsEnd, damaged().held(delete(2), "ABC").full(2).reads(1)),
        (Mutant::LostMarksAtZero, ConvergesAfterHeal, lost().floor(2)),
        (Mutant::ClosedFromOneMember, ConvergesAfterHeal, lost()),
        (Mutant::LostMarksRemembered, ConvergesAfterHeal, lost()),
    ]
}

fn of_expiry() -> Vec<(Mutant, Promise, World)> {
    let expiring = |instant| put(2).until(instant);
    vec![
        (
            Mutant::ExpiryByVersion,
            ReadSeesAcked,
            World::new(3, &[2]).held(expiring(6), "ABC").full(2).reads(1).time(3, 4, ""),
        ),
        (
            Mutant::ExpiryByInstant,
            ConvergesAfterHeal,
            World::new(3, &[3])
                .held(put(1), "AB")
                .held(put(4).until(3), "C")
                .full(3)
                .time(5, 5, ""),
        ),
        (
            Mutant::ExpiryByClock,
            AckNotLost,
            World::new(3, &[3]).held(put(1), "A").held(expiring(3), "BC").time(2, 4, "B"),
        ),
    ]
}
