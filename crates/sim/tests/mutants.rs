//! Every rule that is broken on purpose is noticed within a thousand worlds, by the invariant that is
//! there for it.
//!
//! One test, because the broken rule is one of the whole process.
#![cfg(feature = "mutants")]

use paravon_sim::{Mutant, Options, Scenario, choose_mutant, run_seeds};

/// Which invariants a mutant may break first, and where its danger is rare among the drawn worlds, those
/// that were made for it.
fn expected(mutant: Mutant) -> (&'static [&'static str], Option<Scenario>) {
    match mutant {
        Mutant::AckBeforeSync => (&["ACK_AFTER_STORE", "ACK_NOT_LOST"], None),
        Mutant::CountMessages => (&["ACK_NOT_LOST"], None),
        Mutant::FirstSupersededCounts => (&["ACK_IS_LATEST"], None),
        Mutant::QuorumOffByOne => (&["ACK_NOT_LOST", "READS_MONOTONIC"], None),
        Mutant::CeilingNotPersisted => (&["VERSION_MONOTONIC"], None),
        Mutant::TiesByArrival => (&["ACK_AFTER_STORE", "ACK_IS_LATEST"], None),
        Mutant::RepairWithFreshVersion => {
            (&["HINT_ORDER", "VERSION_MONOTONIC", "VERSION_UNIQUE"], None)
        }
        Mutant::HintDroppedBeforeAck => (&["HINT_NOT_LOST"], None),
        // What stands above a newer write was given out for nothing, and is no hint's end either.
        Mutant::HintReplayedOverNewer => (&["NOTHING_INVENTED", "HINT_NOT_LOST"], None),
        Mutant::AbsentBelowQuorum => (&["READ_SEES_ACKED", "READS_MONOTONIC"], None),
        Mutant::OlderFenceAccepted => (&["EPOCH_FENCE"], None),
        Mutant::LogChecksumNotVerified => (&["ACK_NOT_LOST"], Some(Scenario::TornSyncs)),
        Mutant::NoReadRepair => (&["READS_MONOTONIC"], None),
        Mutant::ErrorIsAnswer => (&["ACK_IS_LATEST"], Some(Scenario::RefusedCopies)),
        Mutant::FinishWithoutCompleteness => (&["ACK_NOT_LOST"], None),
        Mutant::RetainedNotLevelled => (&["ACK_NOT_LOST"], Some(Scenario::ShrinkThreeToOne)),
        Mutant::OlderAnswersCounted => (
            &["READ_SEES_ACKED", "ACK_NOT_LOST", "READS_MONOTONIC"],
            Some(Scenario::CopiesDownAndUp),
        ),
        Mutant::PullBeforeSettled => (&["EPOCH_FENCE"], None),
        Mutant::MergedAcrossFences => (&["ACK_NOT_LOST"], Some(Scenario::ChainedChanges)),
        Mutant::NewNotEmptied => (&["NO_RESURRECTION"], None),
        Mutant::JointReadBackToOneSet => (&["READS_MONOTONIC"], None),
        Mutant::AcceptorsOfBothSets => (&["COMES_TO_REST"], Some(Scenario::JoinerKilledOneToTwo)),
        Mutant::RescueCountsTheLost => (&["COMES_TO_REST", "ACK_NOT_LOST"], Some(Scenario::Rescue)),
        Mutant::LeavesEarly => (&["COMES_TO_REST"], None),
        Mutant::AdmitsBeforeStored => (&["EPOCH_FENCE"], None),
        Mutant::ListedAtFirstSight => (&["CONVERGES_AFTER_HEAL"], Some(Scenario::HintsLost)),
        Mutant::AgreedThoughDifferent | Mutant::ExpectedIsEqual => {
            (&["HINT_NOT_LOST", "CONVERGES_AFTER_HEAL"], Some(Scenario::HintsLost))
        }
        Mutant::DamageCounts => (&["NO_SILENT_ROT"], Some(Scenario::Rot)),
        Mutant::FullWithoutMember => (&["FLOOR_SAFE"], Some(Scenario::LonelyDeletes)),
        Mutant::FullBeforeAllClosed => (&["FLOOR_SAFE"], Some(Scenario::LateWrites)),
        Mutant::FloorAtOwnFull | Mutant::PullsOnlyBelowClosed => {
            (&["FLOOR_SAFE"], Some(Scenario::MissedDeletes))
        }
        Mutant::HintBelowClosed => (&["FLOOR_SAFE", "NO_RESURRECTION"], Some(Scenario::LateHints)),
        Mutant::ClosedToldEarly => (&["FLOOR_SAFE"], Some(Scenario::StalledStores)),
        Mutant::RefusedCountsAsHeld => (&["NO_RESURRECTION"], Some(Scenario::SlowReads)),
        Mutant::WriteBackBelowFull => (&["FLOOR_SAFE"], Some(Scenario::LonelyDeletes)),
        Mutant::MarksLostByRestart => (&["FLOOR_SAFE"], Some(Scenario::LonelyDeletes)),
        Mutant::MarksAcrossFences => (&["FLOOR_SAFE"], Some(Scenario::LeaversComeBack)),
        Mutant::OldSetNotWaitedFor => (&["FLOOR_SAFE"], Some(Scenario::MarksAndChanges)),
        Mutant::DamagedMovesMarks => (&["FLOOR_SAFE"], Some(Scenario::MarksAndRot)),
        // A partition that is passed through early is pulled while what it lacks may be under way.
        Mutant::HealedEarly => {
            (&["NO_SILENT_ROT", "CONVERGES_AFTER_HEAL"], Some(Scenario::RotUnderWay))
        }
        // Sums of what a replica cannot read are compared, and found equal, too.
        Mutant::DamagePulledFrom => (
            &["ACK_NOT_LOST", "NO_SILENT_ROT", "COMES_TO_REST", "HINT_NOT_LOST"],
            Some(Scenario::FilesLost),
        ),
    }
}

#[test]
fn every_broken_rule_is_noticed_by_its_invariant() {
    let mut missed = Vec::new();
    for (name, mutant) in Mutant::ALL {
        choose_mutant(Some(mutant));
        let (invariants, scenario) = expected(mutant);
        let options = Options { scenario, twice_every: 0, ..Options::default() };
        let summary = run_seeds(0..1000, options, 1);
        choose_mutant(None);
        // Of worlds that ran side by side a later one may have been violated too, or not have ended: the
        // first is the same in every run.
        let first = summary.violated.first();
        println!("{name}: {:?}", first.map(|outcome| (outcome.seed, &outcome.violation)));
        let noticed = first.and_then(|outcome| outcome.violation.as_ref()).map(|it| it.invariant);
        if noticed.is_none_or(|noticed| !invariants.contains(&noticed)) {
            missed.push((name, noticed));
        }
    }
    assert!(missed.is_empty(), "not noticed, or not by the invariant for it: {missed:?}");
}
